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
        rows, columns = image.shape[0] // shrink, image.shape[1] // shrink
        if shrink > 1 and rows and columns:
            x1, y1, x2, y2 = _region(m, self.size, shrink, columns, rows)
            image = cv2.resize(image[y1 * shrink:y2 * shrink, x1 * shrink:x2 * shrink],
                               (x2 - x1, y2 - y1), interpolation=cv2.INTER_AREA)
            m = m @ np.array([[shrink, 0, x1 * shrink], [0, shrink, y1 * shrink], [0, 0, 1.0]])
        m = of_indices(m)
        size = (self.size, self.size)
        if abs(m[2, 0]) < 1e-12 and abs(m[2, 1]) < 1e-12:
            return cv2.warpAffine(image, m[:2] / m[2, 2], size, flags=cv2.INTER_LINEAR)
        return cv2.warpPerspective(image, m, size, flags=cv2.INTER_LINEAR)


# OpenCV puts pixel centres at whole numbers, we put them at halves.
_FROM_INDEX = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
_TO_INDEX = np.linalg.inv(_FROM_INDEX)


def of_indices(m: Matrix) -> Matrix:
    """Return a map between continuous pixels (pixel i covers [i, i + 1)) as OpenCV has it: between
    indices of pixels, whose middles are at whole numbers.
    """
    return np.asarray(_TO_INDEX @ m @ _FROM_INDEX, np.float64)


def _shrink_factor(m: Matrix, width: int, height: int) -> float:
    """How many source pixels a side fall on one crop pixel in the image's middle, at least 1."""
    # derivative of the homography
    x, y = width / 2, height / 2
    u, v, w = m @ (x, y, 1.0)
    jac = (m[:2, :2] * w - np.outer((u, v), m[2, :2])) / (w * w)
    scale = math.sqrt(abs(np.linalg.det(jac)))
    return max(1.0, 1.0 / scale) if scale > 1e-9 else 1.0


def _region(m: Matrix, size: int, block: int, columns: int,
            rows: int) -> tuple[int, int, int, int]:
    """Blocks of the source, of `block` px a side, that a crop of `size` px can show: x1, y1, x2,
    y2 within (columns, rows), with room for interpolation; never empty.
    """
    corners = np.linalg.inv(m) @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]])
    if corners[2].min() * corners[2].max() <= 0:  # the horizon crosses the crop
        return 0, 0, columns, rows
    xy = corners[:2] / corners[2] / block
    last = (columns - 1, rows - 1)
    x1, y1 = np.clip(np.floor(xy.min(1)) - 2, 0, last)
    x2, y2 = np.clip(np.ceil(xy.max(1)) + 1, (x1, y1), last) + 1
    return int(x1), int(y1), int(x2), int(y2)


def thermal_to_rgb(homography: tuple[float, ...], thermal_size: tuple[int, int],
                   rgb_size: tuple[int, int]) -> Matrix:
    """Return the 3x3 map from continuous thermal pixels to continuous RGB pixels.

    :param homography: 9 numbers, row by row, between indices of pixels as OpenCV's
        findHomography finds it, or () to scale the whole thermal image to the RGB's.
    :param thermal_size: (width, height) of the thermal image, px.
    :param rgb_size: (width, height) of the RGB image, px.
    :raises ValueError: if the homography can't be inverted.
    """
    if not homography:
        return np.diag([rgb_size[0] / thermal_size[0], rgb_size[1] / thermal_size[1], 1.0])
    m = np.array(homography, dtype=np.float64).reshape(3, 3)
    # the scale of a homography means nothing, so its determinant says nothing
    if not np.isfinite(m).all() or np.linalg.cond(m) > 1e12:
        raise ValueError(f'homography {homography} is singular or not finite; it must be '
                         'invertible (check that the 9 numbers are row by row)')
    return np.asarray(_FROM_INDEX @ m @ _TO_INDEX, np.float64)
