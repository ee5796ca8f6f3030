"""Recorded RGB-thermal pairs without labels, as pairs of crops for CMD-TIR.

Nothing here reads a sequence's boxes. See `unlabelled` for the same with made-up pictures.
"""
from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Numbers
import csv
from dataclasses import dataclass, field
from functools import partial
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rgbt_tracker_ros.data.crops import collate, cut, inside_major
from rgbt_tracker_ros.data.jitter import CropView, jittered
from rgbt_tracker_ros.data.layouts.table import FOLDER_LAYOUTS
from rgbt_tracker_ros.data.options import OptionError, number, one_of
from rgbt_tracker_ros.data.pair_sources import Batch, CropSizes, PairSource
from rgbt_tracker_ros.data.pseudo_boxes import BOXES, Detections, pseudo_boxes
from rgbt_tracker_ros.data.random import Draws
from rgbt_tracker_ros.data.sequence import Frames, Sequence
from rgbt_tracker_ros.data.video_pairs import open_sequences
from rgbt_tracker_ros.tracking.geometry import Crop
from rgbt_tracker_ros.types import Box, Pair

_log = logging.getLogger(__name__)
_PUBLISHED = 6.0  # crop factor that the published jitter is for


class Detection(NamedTuple):
    """One thing that a detector found, in either modality, in px of the reference image."""

    x: float
    y: float
    w: float
    h: float
    score: float = 1.0
    person: bool = True


Detector = Callable[[str, int, Pair], Numbers[Detection]]
"""(name of the sequence, frame, pair) -> what is in it, both modalities together."""


@dataclass(frozen=True, slots=True)
class UnlabelledVideoOptions:
    """Where the videos are, how regions are chosen and crops are varied.

    `layout`, `root`, `layout_options`, `sequences`: as of videos. `generator`: of the pseudo
    boxes. `detections`: for `detector`, a CSV file with the columns sequence, frame, x, y, w, h,
    score and person (1 or 0; the last two may be missing), of both modalities together. The rest:
    as of unlabelled_scenes, `border` as of videos.
    """

    layout: str = ''
    root: str = ''
    layout_options: dict[str, Any] = field(default_factory=dict)
    sequences: tuple[str, ...] = ()
    generator: str = one_of('random', 'center', 'detector')
    detections: str = ''
    template_jitter: float = number(3.0, 0, 6)
    search_jitter: float = number(5.5, 0, 6)
    template_scale_jitter: float = number(0.25, 0, 1)
    search_scale_jitter: float = number(0.5, 0, 1)
    border: str = one_of('inside_major', 'constant')
    flip: float = number(0.5, 0, 1)
    brightness: float = number(0.2, 0, 1)


def read_detections(path: str | Path) -> dict[tuple[str, int], list[Detection]]:
    """Read a CSV file of detections: see UnlabelledVideoOptions.

    :returns: (name of the sequence, frame from 0) -> what is there.
    :raises OptionError: if the file can't be read, a column is missing or a value is no number.
    """
    found: dict[tuple[str, int], list[Detection]] = {}
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            rows = csv.DictReader(file)
            missing = {'sequence', 'frame', 'x', 'y', 'w', 'h'} - set(rows.fieldnames or ())
            if missing:
                raise OptionError(f'{path}: no column {", ".join(sorted(missing))}')
            for row in rows:
                x, y, w, h = (float(row[name]) for name in 'xywh')
                if not (np.isfinite((x, y, w, h)).all() and w > 0 and h > 0):
                    raise ValueError(f'box {x:g}, {y:g}, {w:g}, {h:g} has no area')
                found.setdefault((row['sequence'], int(row['frame'])), []).append(Detection(
                    x, y, w, h, float(row.get('score') or 1),
                    bool(int(row.get('person') or 1))))
    except OptionError:
        raise
    except UnicodeDecodeError as error:
        raise OptionError(f'{path} is not UTF-8: {error}') from error
    except (TypeError, ValueError, csv.Error) as error:
        raise OptionError(f'{path}, line {rows.line_num}: {error}') from error
    except OSError as error:
        raise OptionError(f"unlabelled_videos: detections: {path} can't be read: "
                          f'{error.strerror}') from error
    return found


def _looked_up(table: dict[tuple[str, int], list[Detection]], name: str, frame: int,
               pair: Pair) -> list[Detection]:
    return table.get((name, frame), [])


class Unlabelled(NamedTuple):
    """What is kept of a sequence: there is no place for its boxes."""

    name: str
    frames: Frames


def _compare(path: str, table: dict[tuple[str, int], list[Detection]],
             sequences: Numbers[Unlabelled]) -> None:
    """Compare what detections are of with the sequences: random boxes take the place of those that
    are not found. Warn of those that are of no frame.

    :raises OptionError: if none is of a frame, or there is none.
    """
    lengths = {s.name: len(s.frames) for s in sequences}
    if not table:
        raise OptionError(f'unlabelled_videos: detections: {path} has no row')
    unknown = [key for key in table if not 0 <= key[1] < lengths.get(key[0], 0)]
    if not unknown:
        return
    (name, frame), known = unknown[0], sequences[0]
    text = f'frame {frame} of {name!r}'
    if len(unknown) == len(table):
        raise OptionError(f'unlabelled_videos: detections: {path} has none of the frames; it has '
                          f'such as {text}, and there is {known.name!r} of {len(known.frames)} '
                          'frames, counted from 0')
    _log.warning('%s: %d of %d frames with detections are of no sequence here, such as %s', path,
                 len(unknown), len(table), text)


class UnlabelledVideos(PairSource):
    """Crops of one region of a recorded pair, in both modalities; see UnlabelledVideoOptions."""

    Options = UnlabelledVideoOptions
    kind = 'unlabelled_videos'
    options: UnlabelledVideoOptions

    def __init__(self, seed: int, crops: CropSizes, opened: list[Sequence] | None = None,
                 detector: Detector | None = None, **options: Any) -> None:
        """Open the data set, or take sequences that were `opened` already.

        :param detector: for the generator `detector`, in place of a file.
        :raises OptionError: if an option is wrong, or there are no detections to use.
        :raises LayoutError: if the data on the disk is not as it should be.
        """
        super().__init__(seed, crops, **options)
        o = self.options
        if opened is None:
            # labels are not needed, and not looked for
            truth = {'truth': False} if o.layout in FOLDER_LAYOUTS else {}
            opened = open_sequences(self.kind, o.layout, o.root, truth | o.layout_options,
                                    o.sequences)
        self._sequences = [Unlabelled(s.name, s.frames) for s in opened if len(s.frames)]
        if not self._sequences:
            raise OptionError('unlabelled_videos: there is no frame in any sequence')
        if o.generator == 'detector' and detector is None:
            if not o.detections:
                raise OptionError("unlabelled_videos: option 'detections' must be given for the "
                                  'generator detector: a CSV file')
            table = read_detections(o.detections)
            _compare(o.detections, table, self._sequences)
            detector = partial(_looked_up, table)
        self._detector = detector

    def batch(self, indices: Numbers[int], device: str | torch.device = 'cpu') -> Batch:
        """Return the samples of these numbers (0 or more) as one batch on `device`; the boxes in
        it are pseudo boxes.

        :raises LayoutError: if an image can't be decoded.
        """
        return collate(indices, [self.sample(int(i)) for i in indices], self.crops, device)

    def sample(self, index: int) -> tuple[CropView, CropView]:
        """Return the template and the search view of sample `index`.

        :raises OptionError: if a pair lacks a modality: neither could teach the other.
        """
        o, c = self.options, self.crops
        rng = np.random.default_rng((self.seed, index))
        sequence = self._sequences[rng.integers(len(self._sequences))]
        frame = int(rng.integers(len(sequence.frames)))
        pair = sequence.frames.pair(frame)
        if pair.rgb is None or pair.thermal is None:
            raise OptionError(f'unlabelled_videos: frame {frame} of {sequence.name} lacks RGB or '
                              'thermal; both must be there')
        boxes = self._boxes(index, sequence.name, frame, pair)
        box = Box(*map(float, boxes[int(rng.integers(BOXES))]))
        views = []
        for size, factor, k, sigma in (
                (c.template_size, c.template_factor, o.template_jitter, o.template_scale_jitter),
                (c.search_size, c.search_factor, o.search_jitter, o.search_scale_jitter)):
            crop = Crop.around(jittered(rng, box, k * factor / _PUBLISHED, sigma), factor, size)
            if o.border == 'inside_major':
                crop = inside_major(crop, *pair.size)
            view = cut(pair, crop, box)
            view.brighten(rng.uniform(1 - o.brightness, 1 + o.brightness))
            views.append(view)
        if rng.random() < o.flip:
            for view in views:
                view.flip()
        return views[0], views[1]

    def _boxes(self, index: int, name: str, frame: int, pair: Pair) -> torch.Tensor:
        draws = Draws(self.seed, torch.tensor([index]))
        size = torch.tensor([pair.size], dtype=torch.float32)
        found = None
        if self.options.generator == 'detector':
            assert self._detector is not None
            rows = list(self._detector(name, frame, pair))
            table = torch.tensor([r[:5] for r in rows], dtype=torch.float32).reshape(-1, 5)[None]
            person = torch.tensor([bool(r[5]) for r in rows], dtype=torch.bool)[None]
            found = Detections(table[..., :4], table[..., 4], person, torch.ones_like(person))
        return pseudo_boxes(self.options.generator, draws, size, found)[0]
