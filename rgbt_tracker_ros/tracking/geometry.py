"""Crops and their exact inverses, and the registration of thermal to RGB.

A crop is a square of `side` image pixels around a point, scaled to `size` x `size` px. It is the
affine map u = (x - x0) * scale in continuous coordinates (pixel i covers [i, i + 1)), without the
rounding to whole pixels of OSTrack's crops, so that boxes survive the round trip exactly.
"""
from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.types import Box

Matrix = NDArray[np.float64]
Pixel = TypeVar('Pixel', np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, slots=True)
class Crop:
    """A square window of the reference image: left edge `x0`, top edge `y0`, `side` px of the
    image, shown as `size` x `size` px.
    """

    x0: float
    y0: float
    side: float
    size: int

    @classmethod
    def around(cls, box: Box, factor: float, size: int,
               center: tuple[float, float] | None = None) -> Crop:
        """Return the crop of side factor * sqrt(w * h) around `center` (default: the box's)."""
        cx, cy = center if center is not None else box.center
        side = max(factor * math.sqrt(box.area), 2.0)
        return cls(cx - side / 2, cy - side / 2, side, size)

    @property
    def scale(self) -> float:
        """Crop pixels per image pixel."""
        return self.size / self.side

    def to_crop(self, box: Box) -> Box:
        """Map a box from image pixels to crop pixels."""
        s = self.scale
        return Box((box.x - self.x0) * s, (box.y - self.y0) * s, box.w * s, box.h * s)

    def from_crop(self, box: Box) -> Box:
        """Map a box from crop pixels to image pixels; the inverse of `to_crop`."""
        s = self.scale
        return Box(box.x / s + self.x0, box.y / s + self.y0, box.w / s, box.h / s)

    def matrix(self) -> Matrix:
        """Return the 3x3 map from continuous image coordinates to crop coordinates."""
        s = self.scale
        return np.array([[s, 0, -self.x0 * s], [0, s, -self.y0 * s], [0, 0, 1]])

    def cut(self, image: NDArray[Pixel], homography: Matrix | None = None) -> NDArray[Pixel]:
        """Cut the crop out of an image; what lies outside is 0.

        :param image: (H, W) or (H, W, C), uint8, uint16 or float32.
        :param homography: 3x3 map from this image's continuous pixels to those of the reference
            image; None where this is the reference image.
        :returns: (size, size) or (size, size, C), dtype of the image.
        """
        m = self.matrix() if homography is None else self.matrix() @ homography
        # Bilinear sampling aliases when it shrinks by more than 2: shrink by whole factors first.
        shrink = int(_shrink_factor(m, image.shape[1], image.shape[0]))
        if shrink > 1:
            h, w = image.shape[0] // shrink * shrink, image.shape[1] // shrink * shrink
            if h and w:
                image = cv2.resize(image[:h, :w], (w // shrink, h // shrink),
                                   interpolation=cv2.INTER_AREA)
                m = m @ np.diag([shrink, shrink, 1.0])
        m = _TO_INDEX @ m @ _FROM_INDEX
        size = (self.size, self.size)
        if abs(m[2, 0]) < 1e-12 and abs(m[2, 1]) < 1e-12:
            return cv2.warpAffine(image, m[:2] / m[2, 2], size, flags=cv2.INTER_LINEAR)
        return cv2.warpPerspective(image, m, size, flags=cv2.INTER_LINEAR)


# OpenCV puts pixel centres at whole numbers, we put them at halves.
_FROM_INDEX = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
_TO_INDEX = np.linalg.inv(_FROM_INDEX)


def _shrink_factor(m: Matrix, width: int, height: int) -> float:
    """How many source pixels fall on one crop pixel at the crop's centre, at least 1."""
    # derivative of the homography at the middle of the source
    x, y = width / 2, height / 2
    u, v, w = m @ (x, y, 1.0)
    jac = (m[:2, :2] * w - np.outer((u, v), m[2, :2])) / (w * w)
    scale = math.sqrt(abs(np.linalg.det(jac)))
    return max(1.0, 1.0 / scale) if scale > 1e-9 else 1.0


def thermal_to_rgb(homography: tuple[float, ...], thermal_size: tuple[int, int],
                   rgb_size: tuple[int, int]) -> Matrix:
    """Return the 3x3 map from thermal pixels to RGB pixels.

    :param homography: 9 numbers, row by row, or () to scale the whole thermal image to the RGB's.
    :param thermal_size: (width, height) of the thermal image, px.
    :param rgb_size: (width, height) of the RGB image, px.
    :raises ValueError: if the homography can't be inverted.
    """
    if not homography:
        return np.diag([rgb_size[0] / thermal_size[0], rgb_size[1] / thermal_size[1], 1.0])
    m = np.array(homography, dtype=np.float64).reshape(3, 3)
    if not np.isfinite(m).all() or abs(np.linalg.det(m)) < 1e-12:
        raise ValueError(f'homography {homography} is singular or not finite; it must be '
                         'invertible (check that the 9 numbers are row by row)')
    return m


def map_box(box: Box, m: Matrix) -> Box:
    """Return the bounding box of `box` after the 3x3 map `m`."""
    corners = np.array([[box.x, box.y, 1], [box.x + box.w, box.y, 1],
                        [box.x, box.y + box.h, 1], [box.x + box.w, box.y + box.h, 1]]) @ m.T
    xy = corners[:, :2] / corners[:, 2:]
    (x1, y1), (x2, y2) = xy.min(0), xy.max(0)
    return Box(float(x1), float(y1), float(x2 - x1), float(y2 - y1))
