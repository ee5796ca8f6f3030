"""Precision and success of one sequence, as the RGB-T benchmarks define them.

Boxes are rows of x, y, w, h in pixels, (N, 4). A predicted row that is not finite is a frame
without an answer: a miss by every measure.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SUCCESS_THRESHOLDS: NDArray[np.float64] = np.arange(21) / 20
"""Overlaps 0, 0.05 .. 1 over which the success curve is averaged."""


def precision(predicted: ArrayLike, truth: ArrayLike, threshold: float = 20.0) -> float:
    """Share of the frames whose centre is at most `threshold` px away.

    :raises ValueError: if the boxes don't fit: see `center_error`.
    """
    return float(np.mean(center_error(predicted, truth) <= threshold))


def success(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Area under the success curve: mean of `success_curve`; 20/21 is the most there is.

    :raises ValueError: if the boxes don't fit: see `center_error`.
    """
    return float(success_curve(predicted, truth).mean())


def success_curve(predicted: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Share of the frames with an overlap above (not at) each threshold, (21,).

    :raises ValueError: if the boxes don't fit: see `center_error`.
    """
    overlap = iou(predicted, truth)
    return np.asarray((overlap[:, None] > SUCCESS_THRESHOLDS).mean(axis=0), np.float64)


def iou(predicted: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union, (N,) in [0, 1]; 0 without an answer.

    :raises ValueError: if the boxes don't fit: see `center_error`.
    """
    p, t = _boxes(predicted, truth)
    low = np.maximum(p[:, :2], t[:, :2])
    high = np.minimum(p[:, :2] + p[:, 2:], t[:, :2] + t[:, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=1)
    union = p[:, 2] * p[:, 3] + t[:, 2] * t[:, 3] - inter
    return np.asarray(np.nan_to_num(inter / union), np.float64)


def center_error(predicted: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Distance between the centres in px, (N,); infinite without an answer.

    :raises ValueError: if the two are not (N, 4) with one N of at least 1, or a true box is not
        finite or has no area.
    """
    p, t = _boxes(predicted, truth)
    distance = np.linalg.norm(p[:, :2] + p[:, 2:] / 2 - t[:, :2] - t[:, 2:] / 2, axis=1)
    return np.where(np.isnan(distance), np.inf, distance)


def _boxes(predicted: ArrayLike, truth: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    p, t = np.array(predicted, np.float64), np.array(truth, np.float64)
    if p.ndim != 2 or p.shape != t.shape or p.shape[1] != 4 or len(p) == 0:
        raise ValueError(f'boxes must be (N, 4), as many predicted as true and at least one; '
                         f'got {p.shape} and {t.shape}')
    bad = np.flatnonzero(~np.isfinite(t).all(axis=1) | (t[:, 2:] <= 0).any(axis=1))
    if bad.size:
        raise ValueError(f'true box {bad[0]} is {t[bad[0]].tolist()}; it must be finite with an '
                         'area; leave out frames in which the target is absent')
    p[~np.isfinite(p).all(axis=1) | (p[:, 2:] <= 0).any(axis=1)] = np.nan
    return p, t
