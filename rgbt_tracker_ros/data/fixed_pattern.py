"""The fixed pattern of a thermal sensor, found in recordings: what all of its pictures have.

The mean of pictures of many places keeps what the sensor adds to each of them, and of the scenes
little (the constant statistics of scene-based non-uniformity correction: Harris & Chiang, 1999).
A camera that stands still has the same scene in all of them: then there is no telling.
"""
from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_SMOOTH = 20.0      # px: what varies less is of the scenes
_LEAST = 30         # pictures
_ALIKE = 0.7        # correlation of what two halves of the pictures have


def estimate_pattern(pictures: Iterable[NDArray[np.uint8]]) -> Floats | None:
    """Return the pattern (H, W), in levels, of thermal pictures (H, W) of one size in the order in
    which they were recorded; those of other sizes than the first are left out.

    :returns: None where there are too few, their halves do not agree, or the camera stood still.
    """
    kept: list[NDArray[np.uint8]] = []
    for picture in pictures:
        if not kept or picture.shape == kept[0].shape:
            kept.append(picture)
    if len(kept) < _LEAST:
        return None
    halves = [np.asarray(np.mean(part, axis=0), np.float32)
              for part in (kept[:len(kept) // 2], kept[len(kept) // 2:])]
    first, second = (_rough(h) for h in halves)
    power = np.sqrt((first ** 2).mean() * (second ** 2).mean())
    if power == 0 or (first * second).mean() < _ALIKE * power:
        return None
    # how the large parts of scenes differ from picture to picture, and from place to place in all
    large = np.stack([_smooth(p.astype(np.float32) - p.mean()) for p in kept[::4]])
    if large.std(0).mean() < large.mean(0).std():
        return None
    return _rough(np.asarray((halves[0] + halves[1]) / 2, np.float32))


def _smooth(image: Floats) -> Floats:
    # small enough that a wide blur costs nothing
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), _SMOOTH / 4)
    return np.asarray(cv2.resize(wide, image.shape[::-1]), np.float32)


def _rough(image: Floats) -> Floats:
    return np.asarray(image - _smooth(image), np.float32)
