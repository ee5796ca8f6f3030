"""Regions of a pair that could be a target, found without labels and without a trained detector.

Maximally stable extremal regions (Matas et al., BMVC 2002; OpenCV's) of the thermal and of the
RGB image: what is brighter or darker than all around it, over a range of thresholds. They take
the place of the detectors with which CMD-TIR chooses regions of unlabelled pairs.
"""
from __future__ import annotations

from itertools import zip_longest

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.crops import to_8_bits
from rgbt_tracker_ros.tracking.geometry import Matrix, thermal_to_rgb
from rgbt_tracker_ros.types import Box, Pair

LEAST, MOST = 8.0, 0.4  # px of the shorter side; part of the picture's height of the longer
_DUPLICATE = 0.5        # IoU above which two regions are one
_WORKING = 320          # px of the longer side that regions are looked for at
_THINNEST = 0.2         # shorter side over the longer


def regions_of(pair: Pair, homography: tuple[float, ...] = ()) -> list[Box]:
    """Return what stands out in either image, in px of the reference image; thermal and RGB in
    turn, what stands out most first.
    """
    of_rgb: list[Box] = []
    of_thermal: list[Box] = []
    width, height = pair.size
    if pair.rgb is not None:
        of_rgb = find_regions(np.asarray(cv2.cvtColor(pair.rgb, cv2.COLOR_RGB2GRAY)), 4)
    if pair.thermal is not None:
        levels = to_8_bits(pair.thermal)
        of_thermal = find_regions(levels, 4)
        if pair.rgb is not None:
            m = thermal_to_rgb(homography, (levels.shape[1], levels.shape[0]), pair.size)
            of_thermal = [_mapped(m, b) for b in of_thermal]
    return [b for two in zip_longest(of_thermal, of_rgb) for b in two if b is not None
            # the thermal camera may see farther than the other
            and 0 <= b.center[0] < width and 0 <= b.center[1] < height]


def find_regions(gray: NDArray[np.uint8], count: int = 8) -> list[Box]:
    """Return up to `count` regions of a picture, those that stand out most first.

    :param gray: (H, W) uint8. :returns: boxes in px, at least 8 px wide and high, at most 0.4 of
        the picture's height, no two of which overlap by more than a half.
    """
    height, width = gray.shape
    scale = min(1.0, _WORKING / max(height, width))
    if min(width * scale, height * scale) < 3 or MOST * height < LEAST:
        return []   # none fits
    small = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) \
        if scale < 1 else gray
    # a sensor's noise makes regions of its own
    small = cv2.GaussianBlur(cv2.medianBlur(small, 5), (0, 0), 1.0)
    area = (int((0.5 * LEAST * scale) ** 2) + 1, int((MOST * small.shape[0]) ** 2))
    _, boxes = cv2.MSER.create(delta=4, min_area=area[0], max_area=area[1]).detectRegions(small)
    rated = []
    for x, y, w, h in np.asarray(boxes, np.float64).reshape(-1, 4):
        if min(w, h) < LEAST * scale or max(w, h) > MOST * small.shape[0] \
                or min(w, h) < _THINNEST * max(w, h):
            continue
        rated.append((_contrast(small, int(x), int(y), int(w), int(h)),
                      Box(x / scale, y / scale, w / scale, h / scale)))
    kept: list[Box] = []
    for _, box in sorted(rated, key=lambda r: (-r[0], r[1].as_tuple())):
        if all(box.iou(other) <= _DUPLICATE for other in kept):
            kept.append(box)
        if len(kept) == count:
            break
    return kept


def _contrast(image: NDArray[np.uint8], x: int, y: int, w: int, h: int) -> float:
    """How far the middle of a box is from what surrounds it, in deviations of the picture."""
    middle = image[y + h // 4:y + h - h // 4, x + w // 4:x + w - w // 4]
    top, left = max(y - h // 4, 0), max(x - w // 4, 0)
    around = image[top:y + h + h // 4, left:x + w + w // 4].astype(np.float64)
    outside = around.sum() - float(image[y:y + h, x:x + w].sum())
    pixels = around.size - image[y:y + h, x:x + w].size
    return abs(float(middle.mean()) - outside / max(pixels, 1)) / (float(image.std()) + 1.0)


def _mapped(m: Matrix, box: Box) -> Box:
    """Return the box around a box's corners, taken through a homography."""
    xs, ys = (box.x, box.x + box.w), (box.y, box.y + box.h)
    points = np.array([[x, y, 1.0] for x in xs for y in ys]) @ m.T
    points = points[:, :2] / points[:, 2:]
    low, high = points.min(0), points.max(0)
    return Box(float(low[0]), float(low[1]), *(float(v) for v in high - low))
