"""How the rows of box files belong to frames; tables with a header (frame, x, y, w, h)."""
from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.layouts.text import read_lines
from rgbt_tracker_ros.data.sequence import Boxes, LayoutError

_log = logging.getLogger(__name__)
COLUMNS = ('x', 'y', 'w', 'h')
# A table's numbers below these; there is a row in memory for every frame up to the last
_MOST = {'frame': 10**7, 'stamp': 2**63}


@dataclass(frozen=True)
class Track:
    """Boxes of one target: (N, 4) x, y, w, h, and the 0-based frame of each, ascending.

    `rows`: line of the file that each is from. `video`: which video the frames are counted in,
    where the file tells. `key`: 'stamp' where `frames` are stamps in ns instead.
    """

    boxes: Boxes
    frames: NDArray[np.int64]
    rows: NDArray[np.int64]
    video: str | None = None
    key: str = 'frame'

    def check(self, file: Path, count: int, holder: str) -> None:
        """Compare with the `count` frames of `holder`, before `filled`.

        :raises LayoutError: with the row, if one is for a frame that is not there.
        """
        if self.frames[-1] >= count:
            at = int(np.searchsorted(self.frames, count))
            raise LayoutError(file, f'a box for frame {self.frames[at]} (counted from 0), but '
                              f'{holder}', int(self.rows[at]))

    def filled(self) -> tuple[Boxes, NDArray[np.int64]]:
        """Return a box for every frame from the first to the last: zeros where there is no row.

        In these files a frame without a row is one without the target.
        """
        frames = np.arange(self.frames[0], self.frames[-1] + 1)
        boxes = np.zeros((len(frames), 4))
        boxes[self.frames - self.frames[0]] = self.boxes
        return boxes, frames


def fit_rows(path: Path, rows: int, frames: int, step: int, strict: bool, hint: str = '',
             ) -> tuple[int, int]:
    """Return how many rows and frames to keep, where row k is for frame `step` * k.

    :raises LayoutError: if `strict` and there are more or fewer rows than the frames ask for (the
        last, incomplete step may have one or not).
    """
    if not rows:
        raise LayoutError(path, 'no boxes')
    fewest, most = max(frames // step, 1), -(-frames // step)
    if fewest <= rows <= most:
        return rows, frames
    if strict:
        row = most + 1 if rows > most else rows
        each = '' if step == 1 else f', of which every {step}th has a row'
        raise LayoutError(path, f'{rows} rows for {frames} frames{each}'
                          + (': from this row on there is no frame' if rows > most else
                             ': this is the last row') + hint, row)
    _log.warning('%s: %d rows for %d frames, cut to the shorter', path, rows, frames)
    return min(rows, most), min(frames, rows * step)


def read_tracks(path: Path, stamps: bool = False) -> list[Track]:
    """Read a CSV with the columns frame, x, y, w, h and perhaps video: one track per video.

    :param stamps: whether a column `stamp` may stand for `frame`: whole ns, or s with a point.
    :raises LayoutError: with the row, if a column is missing, a value is no number, a frame is
        no whole number, is negative, comes twice or is more than any video has.
    """
    lines = read_lines(path)
    reader = csv.reader(lines)
    header = [name.strip().lower() for name in next(reader, [])]
    key = 'stamp' if stamps and 'stamp' in header else 'frame'
    missing = [c for c in (key, *COLUMNS) if c not in header]
    if missing:
        wanted = ','.join(('frame (or stamp)' if stamps else 'frame', *COLUMNS))
        raise LayoutError(path, f'no column {", ".join(missing)}; the first line must name '
                          f'{wanted} separated by commas', 1)
    at = {c: header.index(c) for c in header}
    tracks: dict[str | None, dict[int, tuple[int, list[float]]]] = {}
    for row, fields in enumerate(reader, 2):
        try:
            frame, box = _key(fields[at[key]], key), [float(fields[at[c]]) for c in COLUMNS]
        except (ValueError, ArithmeticError, IndexError) as error:
            raise LayoutError(path, f'{lines[row - 1][:60]!r} does not give '
                              f'{", ".join(header)} separated by commas: {error}', row) from error
        boxes = tracks.setdefault(fields[at['video']].strip() if 'video' in at else None, {})
        if frame < 0 or frame in boxes:
            raise LayoutError(path, f'{key} {frame} is '
                              + ('negative' if frame < 0 else 'there twice'), row)
        if frame >= _MOST[key]:
            raise LayoutError(path, f'{key} {frame} is too large; ' + (
                'frames are counted from 0, and stamps belong in a column stamp'
                if key == 'frame' else 'give whole ns, or s with a point'), row)
        boxes[frame] = row, box
    if not tracks:
        raise LayoutError(path, 'no boxes')
    return [Track(np.array([t[f][1] for f in sorted(t)]), np.array(sorted(t), np.int64),
                  np.array([t[f][0] for f in sorted(t)], np.int64), video, key)
            for video, t in tracks.items()]


def _key(text: str, key: str) -> int:
    """Read a frame number or a stamp in ns; with a decimal point a stamp in s, exactly.

    :raises ValueError: no number, or no whole one for a frame. :raises ArithmeticError: no number.
    """
    if '.' not in text:
        return int(text)
    number = Decimal(text)
    if key == 'stamp':
        return int(number * 10**9)
    if number % 1:
        raise ValueError(f'frame {text} is no whole number')
    return int(number)
