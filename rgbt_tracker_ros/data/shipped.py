"""The clip that comes with the package, and the boxes that come with clips."""
from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from rgbt_tracker_ros.types import Box

ASSETS = Path(__file__).resolve().parents[1] / 'assets'


@dataclass(frozen=True, slots=True)
class ShippedClip:
    """Files of a clip: two videos of equal length, and the true boxes."""

    rgb: Path
    thermal: Path
    groundtruth: Path


SMOKE = ShippedClip(*(ASSETS / 'smoke' / n for n in ('rgb.mp4', 'thermal.mp4', 'groundtruth.csv')))
"""A person crosses a yard full of smoke: see assets/smoke/README.md."""


def read_boxes(path: str | Path) -> dict[int, Box]:
    """Read a CSV file with the columns frame, x, y, w, h; others are ignored.

    Frames without the target have no row.

    :raises ValueError: if a column is missing, a value is no number, or a frame comes twice.
    :raises OSError: if the file can't be read.
    """
    boxes: dict[int, Box] = {}
    with open(path, newline='', encoding='utf-8-sig') as file:
        rows = csv.DictReader(file)
        try:
            missing = {'frame', 'x', 'y', 'w', 'h'} - set(rows.fieldnames or ())
            if missing:
                raise ValueError(f'no column {", ".join(sorted(missing))}; '
                                 'the first line must name frame,x,y,w,h')
            for row in rows:
                frame = int(row['frame'])
                if frame in boxes:
                    raise ValueError(f'frame {frame} is there twice')
                boxes[frame] = Box(*(float(row[name]) for name in 'xywh'))
        except (TypeError, ValueError, csv.Error) as error:     # not UTF-8 is a ValueError, too
            raise ValueError(f'{path}, line {rows.line_num}: {error}') from error
    return boxes
