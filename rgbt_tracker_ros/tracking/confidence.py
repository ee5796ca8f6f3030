"""From the network's score map to one place and an honest confidence."""
from __future__ import annotations

from dataclasses import dataclass
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
VOTING_OVERLAP, VOTING_POWER = 0.6, 3  # tried: 0.5 to 0.7, 1 to 4


@dataclass(frozen=True, slots=True)
class Calibration:
    """Logistic map from the score at the peak to the chance of an overlap of half or more.

    Platt (1999): p = 1 / (1 + exp(-(scale * logit + bias))), fitted to held-out sequences and
    kept with the weights.
    """

    scale: float = 1.0
    bias: float = 0.0

    def __call__(self, logit: float) -> float:
        """Return the confidence in [0, 1] for the network's raw score at the peak."""
        z = self.scale * logit + self.bias
        return 1 / (1 + math.exp(-z)) if z > -700 else 0.0

    @classmethod
    def from_info(cls, info: dict[str, object]) -> Calibration:
        """Read the calibration that was saved with the weights; without one, none is applied."""
        stored = info.get('calibration')
        if not isinstance(stored, dict):
            return cls()
        return cls(float(stored['scale']), float(stored['bias']))


class Peak(NamedTuple):
    """The chosen cell (`row`, `column`), the network's raw score there, and the (S, S) scores that
    it was chosen by.
    """

    row: int
    column: int
    logit: float
    score: Map


def motion_prior(size: int, stride: int, center: tuple[float, float],
                 spread: tuple[float, float], offset: float = 0.5) -> Map:
    """Gaussian around where the target should be, 1 at its centre.

    :param size: cells a side. :param stride: crop px per cell.
    :param center: (x, y) in crop px. :param spread: standard deviation (x, y) in crop px.
    :param offset: place of a score in its cell, in cells (`NetworkConfig.cell_offset`).
    :returns: (size, size) float32.
    """
    at = (np.arange(size, dtype=np.float32) + offset) * stride
    gx = np.exp(-0.5 * ((at - center[0]) / spread[0]) ** 2)
    gy = np.exp(-0.5 * ((at - center[1]) / spread[1]) ** 2)
    return np.outer(gy, gx).astype(np.float32)


def agreed_box(boxes: Map, score: Map, row: int, column: int) -> tuple[float, ...]:
    """Return the mean of the boxes that overlap the one at a cell by VOTING_OVERLAP or more, each
    with the weight score ** VOTING_POWER: box voting (Gidaris and Komodakis, ICCV 2015).

    Neighbouring cells see the same target; their errors differ.

    :param boxes: (4, S, S) corners. :param score: (S, S), see `find_peak`.
    :returns: the corners; not finite where those at the cell are not.
    """
    box = boxes[:, row, column, None, None]
    size = np.maximum(boxes[2:] - boxes[:2], 0)
    inter = np.maximum(np.minimum(boxes[2:], box[2:]) - np.maximum(boxes[:2], box[:2]), 0).prod(0)
    union = np.maximum(size.prod(0) + (box[2:] - box[:2]).prod(0) - inter, 1e-6)
    weight = score ** VOTING_POWER * (inter >= VOTING_OVERLAP * union)
    weight[row, column] = max(weight[row, column], 1e-12)  # it agrees with itself, whatever it is
    kept = weight > 0
    mean = (boxes[:, kept] * weight[kept]).sum(1) / weight[kept].sum()
    return tuple(float(v) for v in mean)


def find_peak(logits: Map, prior: Map, influence: float) -> Peak:
    """Pick the best cell: score * (1 - influence + influence * prior), in [0, 1].

    The prior only decides between candidates; the score returned is the network's own.
    """
    # cut off where exp would overflow; such cells differ in nothing that matters
    score = 1 / (1 + np.exp(-np.clip(logits, -80, 80))) * (1 - influence + influence * prior)
    row, column = np.unravel_index(int(np.argmax(score)), score.shape)
    return Peak(int(row), int(column), float(logits[row, column]), score)
