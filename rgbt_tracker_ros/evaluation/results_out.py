"""Write results in the formats that the benchmarks' own toolkits read: one table, `FORMATS`."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
import math
from pathlib import Path
from typing import Literal

import numpy as np

from rgbt_tracker_ros.data.sinks import write_file
from rgbt_tracker_ros.evaluation.metrics import Floats
from rgbt_tracker_ros.evaluation.results_io import COMPANIONS, file_name
from rgbt_tracker_ros.evaluation.score_types import SequenceResult


@dataclass(frozen=True)
class ResultFormat:
    """How a toolkit wants its files.

    `path`: with {tracker} and {sequence}. `form`: `ltwh` or `corners` (x1 y1 .. x4 y4 from the top
    left, clockwise). `beside`: fields of SequenceResult that get a file of their own. `no_answer`:
    what stands in every column of a frame without a box.
    """

    about: str
    path: str
    delimiter: str = ','
    form: Literal['ltwh', 'corners'] = 'ltwh'
    beside: tuple[str, ...] = ()
    no_answer: str = 'nan'


FORMATS: dict[str, ResultFormat] = {
    'plain': ResultFormat('ours: with time, confidence and state', '{sequence}.txt',
                          beside=tuple(COMPANIONS)),
    'lasher': ResultFormat('LasHeR toolkit (MATLAB)',
                           'tracking_results/{tracker}_tracking_result/{sequence}.txt'),
    'rgbt234': ResultFormat('RGBT234 toolkit (MATLAB), which rounds to whole pixels',
                            '{tracker}_{sequence}.txt', ' ', 'corners'),
    'rgbt210': ResultFormat('RGBT210 toolkit (MATLAB), which rounds to whole pixels',
                            '{tracker}_{sequence}.txt', ' ', 'corners'),
    'gtot': ResultFormat('GTOT toolkit (MATLAB), which rounds to whole pixels',
                         'BBresults/{tracker}/{tracker}_{sequence}.txt', ' ', 'corners'),
    'vtuav': ResultFormat('VTUAV toolkit: one row per frame', '{tracker}_{sequence}.txt', ' '),
    'rgbt': ResultFormat('Python package rgbt: bbox_type ltwh; it rounds to whole pixels',
                         '{tracker}/{sequence}.txt'),
    'otb': ResultFormat('pysot toolkit, for LSOTB-TIR and PTB-TIR', '{tracker}/{sequence}.txt'),
    'pytracking': ResultFormat('pytracking, OSTrack and descendants, whose trackers are called '
                               'name/parameters', '{tracker}/{sequence}.txt', '\t',
                               beside=('seconds',), no_answer='0'),
}
"""Every format by name; the names are those of the conventions where there is one."""


def write_results(results: Iterable[SequenceResult], folder: Path | str, tracker: str,
                  form: str = 'plain') -> list[Path]:
    """Write one file per sequence below `folder`, the toolkit's own; return the boxes' paths.

    Numbers are written in full, so that scores do not depend on the detour. MATLAB and numpy read
    `nan`.

    :raises ValueError: if the format is not known, or a name is not one of a file.
    :raises SinkError: if a file can't be written.
    :raises OSError: if a folder can't be made.
    """
    if form not in FORMATS:
        raise ValueError(f'result format {form!r} is not known; choose one of: '
                         f'{", ".join(FORMATS)}')
    how, written = FORMATS[form], []
    for result in results:
        for part in (*tracker.split('/'), file_name(result.name)):
            if part in ('', '.', '..') or '\\' in part:
                raise ValueError(f'{part!r} in tracker {tracker!r}, sequence {result.name!r} is '
                                 'no name for a file; give it another')
        path = Path(folder) / how.path.format(tracker=tracker, sequence=file_name(result.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        boxes = np.asarray(result.boxes, np.float64)
        _write(path, corners(boxes) if how.form == 'corners' else boxes, how)
        for field in how.beside:
            values = getattr(result, field)
            if values is not None:
                _write(path.with_name(f'{path.stem}{COMPANIONS[field]}.txt'),
                       np.asarray(values, np.float64)[:, None], how)
        written.append(path)
    return written


def corners(boxes: Floats) -> Floats:
    """Return (N, 4) x, y, w, h as (N, 8): top left, top right, bottom right, bottom left."""
    x1, y1, w, h = boxes.T
    x2, y2 = x1 + w, y1 + h
    return np.stack([x1, y1, x2, y1, x2, y2, x1, y2], axis=1)


def _write(path: Path, table: Floats, how: ResultFormat) -> None:
    gap = how.delimiter.join([how.no_answer] * table.shape[1])
    lines = [how.delimiter.join(repr(v).removesuffix('.0') for v in row)
             if all(map(math.isfinite, row)) else gap for row in table.tolist()]
    write_file(path, '\n'.join(lines) + '\n')
