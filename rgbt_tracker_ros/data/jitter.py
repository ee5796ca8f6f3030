"""What is varied between a true box and a training crop: place, size, light, mirror image.

Every draw is made once and applied to both modalities.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rgbt_tracker_ros.data.ieee import exp
from rgbt_tracker_ros.data.random import Draws
from rgbt_tracker_ros.data.render_objects import View
from rgbt_tracker_ros.types import Box

_LARGEST = 2.5  # side of a box that crops of made-up scenes are cut for, in targets


def window(draws: Draws, name: str, cx: Tensor, cy: Tensor, scale: Tensor, k: float,
           sigma: float, factor: float, size: int) -> View:
    """Return the crops of made-up scenes around boxes as a tracker's last box would have them.

    The jitter of DiMP (Bhat et al., 2019) and OSTrack (Ye et al., 2022): sides times e^(sigma n),
    then the centre moved by up to k / 2 of the box's side.

    :param scale: (B,) sqrt(w h) of the boxes around (cx, cy), in targets.
    :param factor: side of the crop over that of the box. :param size: px of the crop.
    """
    stretch = (draws.normal(f'{name} stretch', 2) * sigma).clamp(-0.8, 0.8)
    side = (scale * exp((stretch[:, 0] + stretch[:, 1]) * 0.5)).clamp(0.3, _LARGEST)
    off = draws.uniform(f'{name} centre', 2, low=-0.5, high=0.5) * k - 0.5 * factor
    return View(cx + off[:, 0] * side, cy + off[:, 1] * side, side * (factor / size), size, size,
                _LARGEST * factor)


def jittered(rng: np.random.Generator, box: Box, k: float, sigma: float) -> Box:
    """Return a box whose sides are multiplied by e^(sigma n) and whose centre is moved by up to
    k / 2 of its side: see `window`.
    """
    w, h = np.array((box.w, box.h)) * np.exp(sigma * rng.standard_normal(2))
    off = np.sqrt(w * h) * k * (rng.random(2) - 0.5)
    cx, cy = box.center
    return Box.from_center(float(cx + off[0]), float(cy + off[1]), float(w), float(h))


@dataclass(slots=True)
class CropView:
    """One crop in both modalities: `rgb` (n, n, 3), `thermal` (n, n), uint8, black where there is
    none; the `box` in px of the crop, and which modalities are `present`.
    """

    rgb: NDArray[np.uint8]
    thermal: NDArray[np.uint8]
    box: Box
    present: tuple[float, float]

    def flip(self) -> None:
        """Mirror it left to right, with its box."""
        self.rgb, self.thermal = self.rgb[:, ::-1], self.thermal[:, ::-1]
        b = self.box
        self.box = Box(self.rgb.shape[1] - b.x - b.w, b.y, b.w, b.h)

    def to_gray(self) -> None:
        """Leave of RGB its brightness alone (ITU-R BT.601)."""
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        gray = self.rgb.astype(np.float32) @ weights
        self.rgb = np.repeat(np.clip(gray + 0.5, 0, 255).astype(np.uint8)[..., None], 3, axis=2)

    def brighten(self, factor: float) -> None:
        """Multiply both modalities with a factor."""
        self.rgb, self.thermal = (
            np.clip(image * np.float32(factor) + np.float32(0.5), 0, 255).astype(np.uint8)
            for image in (self.rgb, self.thermal))
