"""How far the thermal image lies from the RGB image, found without labels or a target.

What is in both images has edges in both. The correlation of the edges' strengths over all small
shifts, summed over many pairs, has its peak where the images lie on one another; what only one
camera sees adds noise that does not add up.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.crops import to_8_bits
from rgbt_tracker_ros.tracking.geometry import thermal_to_rgb
from rgbt_tracker_ros.types import Pair

_WORKING = 320      # px of the longer side
_REACH = 16         # px there, that are searched each way
_LEAST = 3 * _REACH  # px there, of the shorter side
_SURE = 5.0         # deviations of the correlation by which its peak stands out
_BLUR = 1.5

Floats = NDArray[np.float32]


class Offset(NamedTuple):
    """`x`, `y`: px of the RGB image by which thermal lies right and down of where RGB has it;
    `sharpness`: how far the peak stands out, in deviations; `sure`: whether that is enough.
    """

    x: float
    y: float
    sharpness: float
    sure: bool


def estimate_offset(pairs: Iterable[Pair], homography: tuple[float, ...] = ()) -> Offset:
    """Return how far thermal lies off, beyond what the homography (see TrackerConfig) says.

    :param pairs: of which those with both images count, unless they are very long and low; a
        hundred of different places are plenty.
    """
    total: NDArray[np.float64] | None = None
    scale = 1.0
    for pair in pairs:
        if pair.rgb is None or pair.thermal is None or _scale(pair) * min(pair.size) < _LEAST:
            continue
        rgb, thermal, scale = _edges(pair, homography)
        found = _correlation(rgb, thermal)
        total = found if total is None else total + found
    if total is None:
        return Offset(0.0, 0.0, 0.0, False)
    peak = total.argmax()
    row, column = (int(v) for v in np.unravel_index(int(peak), total.shape))
    rest = np.abs(np.add.outer((np.arange(len(total)) - row) ** 2,
                               (np.arange(len(total)) - column) ** 2)) > 16
    sharpness = float((total.max() - total[rest].mean()) / max(float(total[rest].std()), 1e-12))
    x = (column + _between(total[row], column) - _REACH) / scale
    y = (row + _between(total[:, column], row) - _REACH) / scale
    return Offset(float(x), float(y), sharpness, sharpness >= _SURE)


def _scale(pair: Pair) -> float:
    return min(1.0, _WORKING / max(pair.size))


def _edges(pair: Pair, homography: tuple[float, ...]) -> tuple[Floats, Floats, float]:
    assert pair.rgb is not None and pair.thermal is not None
    height, width = pair.rgb.shape[:2]
    scale = _scale(pair)
    size = (round(width * scale), round(height * scale))
    thermal = to_8_bits(pair.thermal)
    m = np.diag([scale, scale, 1.0]) @ thermal_to_rgb(
        homography, (thermal.shape[1], thermal.shape[0]), pair.size)
    gray = cv2.resize(np.asarray(cv2.cvtColor(pair.rgb, cv2.COLOR_RGB2GRAY)), size,
                      interpolation=cv2.INTER_AREA)
    return _strength(gray), _strength(cv2.warpPerspective(
        thermal, m, size, borderMode=cv2.BORDER_REPLICATE)), scale


def _strength(image: NDArray[np.uint8]) -> Floats:
    """Return how strong the edges are, without the picture's own scale."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), _BLUR)
    x, y = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    # columns and rows of a sensor's fixed pattern are no edges of the scene
    x, y = x - x.mean(0, keepdims=True), y - y.mean(1, keepdims=True)
    strength = np.sqrt(np.hypot(x, y))
    return np.asarray((strength - strength.mean()) / (strength.std() + 1e-6), np.float32)


def _correlation(rgb: Floats, thermal: Floats) -> NDArray[np.float64]:
    """Return the correlation for shifts of -16 to 16 px, rows y, columns x."""
    inner = rgb[_REACH:-_REACH, _REACH:-_REACH]
    found = cv2.matchTemplate(thermal, np.ascontiguousarray(inner), cv2.TM_CCORR)
    return found.astype(np.float64) / inner.size


def _between(line: NDArray[np.float64], peak: int) -> float:
    """Return where between the samples a parabola through the peak has its top."""
    if not 0 < peak < len(line) - 1:
        return 0.0
    a, b, c = line[peak - 1:peak + 2]
    return float(0.5 * (a - c) / (a - 2 * b + c)) if a - 2 * b + c else 0.0
