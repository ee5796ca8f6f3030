"""Precision and success of one sequence, as the RGB-T benchmarks define them.

Boxes are rows of x, y, w, h in pixels, (N, 4). The functions in the first half take clean truth
and say so when it is not; a predicted row that is not finite or has no area is a frame without an
answer: a miss by every measure. The second half holds the bare formulas, which pass NaN on; what
a benchmark makes of odd rows is written in `conventions`.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

SUCCESS_THRESHOLDS: Floats = np.arange(21) / 20
"""Overlaps 0, 0.05 .. 1 over which the success curve is averaged."""


def precision(predicted: ArrayLike, truth: ArrayLike, threshold: float = 20.0) -> float:
    """Share of the frames whose centre is at most `threshold` px away.

    :raises ValueError: if the boxes don't fit: see `center_error`.
    """
    return float(np.mean(center_error(predicted, truth) <= threshold))


def normalised_precision(predicted: ArrayLike, truth: ArrayLike, threshold: float = 0.2) -> float:
    """Share of the frames whose centre is at most `threshold` of the target's size away.

    :raises ValueError: if the boxes don't fit: see `center_error`.
    """
    p, t = _boxes(predicted, truth)
    return float(np.mean(normalised_distances(p, t) <= threshold))


def success(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Area under the success curve: mean of `success_curve`; 20/21 is the most there is.

    :raises ValueError: if the boxes don't fit: see `center_error`.
    """
    return float(success_curve(predicted, truth).mean())


def success_curve(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """Share of the frames with an overlap above (not at) each threshold, (21,).

    :raises ValueError: if the boxes don't fit: see `center_error`.
    """
    return share_above(iou(predicted, truth), SUCCESS_THRESHOLDS)


def iou(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """Intersection over union, (N,) in [0, 1]; 0 without an answer.

    :raises ValueError: if the boxes don't fit: see `center_error`.
    """
    return np.asarray(np.nan_to_num(overlaps(*_boxes(predicted, truth))), np.float64)


def center_error(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """Distance between the centres in px, (N,); infinite without an answer.

    :raises ValueError: if the two are not (N, 4) with one N of at least 1, or a true box is not
        finite or has no area.
    """
    distance = center_distances(*_boxes(predicted, truth))
    return np.where(np.isnan(distance), np.inf, distance)


def overlaps(predicted: NDArray[Any], truth: NDArray[Any]) -> Floats:
    """Intersection over union of (N, 4) and (N, 4), (N,); NaN where a row holds NaN.

    A row without area overlaps nothing.
    """
    low = np.maximum(predicted[:, :2], truth[:, :2])
    high = np.minimum(predicted[:, :2] + predicted[:, 2:], truth[:, :2] + truth[:, 2:])
    side = np.maximum(high - low, 0)
    inter = side[:, 0] * side[:, 1]
    union = predicted[:, 2] * predicted[:, 3] + truth[:, 2] * truth[:, 3] - inter
    # where nothing is shared the union may be 0 or less: boxes without area
    share = np.divide(inter, union, out=np.zeros(len(inter)), where=inter > 0)
    share = np.minimum(share, 1)  # rounding leaves a third of identical boxes a hair above
    return np.asarray(np.where(np.isnan(inter + union), np.nan, share), np.float64)


def center_distances(predicted: NDArray[Any], truth: NDArray[Any]) -> Floats:
    """Distance of the centres in px, (N,); NaN where a row holds NaN."""
    step = _centers(predicted) - _centers(truth)
    return np.asarray(np.sqrt(step[:, 0] ** 2 + step[:, 1] ** 2), np.float64)


def normalised_distances(predicted: NDArray[Any], truth: NDArray[Any], eps: float = 0.0,
                         ) -> Floats:
    """Distance of the centres in widths and heights of the truth, (N,).

    Both centres are divided before they are subtracted, as the toolkits do: the other order rounds
    differently at a threshold. `eps` is added to the sizes. NaN or infinite where the truth has
    no area.
    """
    size = truth[:, 2:] + eps
    with np.errstate(divide='ignore', invalid='ignore'):
        step = _centers(predicted) / size - _centers(truth) / size
        return np.asarray(np.sqrt(step[:, 0] ** 2 + step[:, 1] ** 2), np.float64)


def share_above(values: NDArray[Any], thresholds: NDArray[Any]) -> Floats:
    """Share of (N,) values above each of (T,) thresholds, (T,); NaN is above none."""
    return np.asarray((values[:, None] > thresholds).mean(axis=0), np.float64)


def share_within(values: NDArray[Any], thresholds: NDArray[Any], strict: bool = False) -> Floats:
    """Share of (N,) values at or below each of (T,) thresholds, below if `strict`, (T,)."""
    v = values[:, None]
    return np.asarray((v < thresholds if strict else v <= thresholds).mean(axis=0), np.float64)


def _centers(boxes: NDArray[Any]) -> NDArray[Any]:
    # (w - 1) / 2, as the toolkits write it; the 1 cancels, but the rounding is theirs
    return boxes[:, :2] + (boxes[:, 2:] - 1) / 2


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
