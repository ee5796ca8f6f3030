"""Pseudo tracks: boxes that nobody drew, in a CSV file with the columns track, sequence, frame,
x, y, w, h (px of the reference image, frames from 0) and confidence.
"""
from __future__ import annotations

from collections.abc import Iterable
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.options import OptionError
from rgbt_tracker_ros.types import Box

COLUMNS = ('track', 'sequence', 'frame', 'x', 'y', 'w', 'h', 'confidence')


@dataclass(frozen=True, eq=False)
class PseudoTrack:
    """One target of a sequence: `frames` (N,) int64, ascending, `boxes` (N, 4) float64 x, y, w, h
    in px, `confidence` (N,) float64 in [0, 1].
    """

    sequence: str
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]
    confidence: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frames)

    def box(self, row: int) -> Box:
        """Return box number `row`."""
        return Box(*map(float, self.boxes[row]))

    def within(self, span: range) -> PseudoTrack:
        """Return the part of it that lies in a span of frames; it may have no box."""
        rows = (self.frames >= span.start) & (self.frames < span.stop)
        return PseudoTrack(self.sequence, self.frames[rows], self.boxes[rows],
                           self.confidence[rows])


def write_tracks(path: Path, tracks: Iterable[PseudoTrack]) -> None:
    """Write tracks. :raises OSError: if that can't be done."""
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, track in enumerate(tracks):
            for frame, box, sure in zip(track.frames, track.boxes, track.confidence, strict=True):
                writer.writerow((number, track.sequence, int(frame),
                                 *(f'{v:.3f}' for v in box), f'{sure:.4f}'))


def read_tracks(path: str | Path) -> list[PseudoTrack]:
    """Read what `write_tracks` wrote, or somebody else in the same columns.

    :raises OptionError: if the file can't be read, a column is missing, or a value makes no sense
        or is out of order; the text names the line.
    """
    rows: dict[tuple[str, str], list[list[float]]] = {}
    line = 1
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            if missing := sorted(set(COLUMNS) - set(reader.fieldnames or ())):
                raise ValueError(f'no column {", ".join(missing)}')
            for row in reader:
                line = reader.line_num
                values = _numbers(row)
                found = rows.setdefault((row['track'], row['sequence']), [])
                if found and values[0] <= found[-1][0]:
                    raise ValueError(f'frame {values[0]:g} after frame {found[-1][0]:g}')
                found.append(values)
    except OSError as error:
        raise OptionError(f"tracks: {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f'{path} is not UTF-8: {error}') from error
    except (csv.Error, ValueError) as error:
        raise OptionError(f'{path}, line {line}: {error}') from error
    tables = ((name, np.array(values)) for (_, name), values in rows.items())
    return [PseudoTrack(name, t[:, 0].astype(np.int64), t[:, 1:5], t[:, 5])
            for name, t in tables]


def _numbers(row: dict[str, str | None]) -> list[float]:
    """Return frame, x, y, w, h, confidence of a row. :raises ValueError: one makes no sense."""
    texts = [row[c] or '' for c in COLUMNS[2:]]
    values = [float(t) for t in texts]
    frame, _, _, w, h, sure = values
    if not (np.isfinite(values).all() and frame >= 0 and frame.is_integer() and min(w, h) > 0
            and 0 <= sure <= 1):
        raise ValueError(f'{", ".join(texts)} is no frame, box and confidence')
    return values
