"""Cameras with a style of their own: the same scene as another pair of cameras would show it.

What differs between two makes of cameras and does not change where things are: the palette and
gain of the thermal image, its fixed pattern, blur and noise, the colours of the RGB image, and
how far the two images are off one another. For tests of what adaptation to a camera brings.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.types import Pair

Rng = np.random.Generator


@dataclass(frozen=True)
class CameraStyle:
    """How a pair of cameras shows a scene; the defaults change nothing.

    `curve`: the thermal camera's levels at evenly spaced levels of the scene, cold to hot, in
    [0, 255]; it may fall as well as rise, as the brightness of a false-colour palette does.
    `thermal_blur`, `rgb_blur`: standard deviation, px. `thermal_noise`, `rgb_noise`: of every
    frame, levels. `columns`, `pixels`: fixed pattern of the thermal sensor, levels.
    `offset`: (x, y) px by which the thermal image is shifted right and down. `tint`: factors of
    red, green, blue; `gamma`: of RGB. `seed`: of the fixed pattern and the noise.
    """

    curve: tuple[float, ...] = (0.0, 255.0)
    thermal_blur: float = 0.0
    thermal_noise: float = 0.0
    columns: float = 0.0
    pixels: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    rgb_blur: float = 0.0
    rgb_noise: float = 0.0
    seed: int = 0

    def apply(self, pair: Pair, index: int, sequence: str = '') -> Pair:
        """Return a pair as these cameras show it; stamp and skew stay.

        :param pair: thermal of 8 bits, one channel, where there is any.
        :param index: its number in the `sequence`; both choose the noise.
        :raises ValueError: the thermal image has another dtype or three channels.
        """
        name = int.from_bytes(hashlib.sha256(sequence.encode()).digest()[:4], 'little')
        rng = np.random.default_rng((self.seed, name, index))
        rgb = None if pair.rgb is None else self._rgb(pair.rgb, rng)
        if pair.thermal is None:
            return replace(pair, rgb=rgb)
        if pair.thermal.dtype != np.uint8 or pair.thermal.ndim != 2:
            raise ValueError(f'a camera style is for (H, W) uint8 thermal images; this one is '
                             f'{pair.thermal.shape} {pair.thermal.dtype}')
        return replace(pair, rgb=rgb, thermal=self._thermal(pair.thermal.view(np.uint8), rng))

    def _thermal(self, image: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
        at = np.linspace(0, 255, len(self.curve))
        levels = np.interp(np.arange(256), at, self.curve).astype(np.float32)
        out = levels[image]
        if any(self.offset):
            move = np.array([[1, 0, self.offset[0]], [0, 1, self.offset[1]]], np.float64)
            out = cv2.warpAffine(out, move, out.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        out = _blurred(out, self.thermal_blur) + self._pattern(out.shape)
        return _to_8_bits(out, self.thermal_noise, rng)

    def _pattern(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the sensor's fixed pattern: the same in all of its frames."""
        rng = np.random.default_rng((self.seed, *shape))
        columns = rng.standard_normal(shape[1], np.float32) * np.float32(self.columns)
        return columns + rng.standard_normal(shape, np.float32) * np.float32(self.pixels)

    def _rgb(self, image: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
        ramp = 255 * np.linspace(0, 1, 256, dtype=np.float32) ** self.gamma
        out = ramp[image] * np.array(self.tint, np.float32)
        return _to_8_bits(_blurred(out, self.rgb_blur), self.rgb_noise, rng)


def _blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.float32) if sigma else image


def _to_8_bits(image: NDArray[np.float32], noise: float, rng: Rng) -> NDArray[np.uint8]:
    if noise:
        image = image + rng.standard_normal(image.shape, np.float32) * np.float32(noise)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


STYLES: dict[str, CameraStyle] = {
    # a palette whose brightness rises, falls and rises again, seen in gray; a cheap microbolometer
    # beside a small RGB sensor in artificial light
    'restyled': CameraStyle(curve=(200, 250, 120, 15, 60, 140), thermal_blur=1.2,
                            thermal_noise=10.0, columns=8.0, pixels=6.0, offset=(5.0, -3.0),
                            tint=(1.0, 0.72, 0.4), gamma=1.8, rgb_blur=0.8, rgb_noise=14.0,
                            seed=1),
    # a black-hot thermal camera of fixed range and deep stripes, whose scene has a seventh of the
    # levels; an RGB camera at dusk, its gain turned up
    'dusk': CameraStyle(curve=(140, 105), thermal_blur=1.2, thermal_noise=6.0, columns=8.0,
                        pixels=5.0, offset=(5.0, -3.0), tint=(1.0, 0.72, 0.4), gamma=3.5,
                        rgb_blur=1.2, rgb_noise=24.0, seed=1),
}
"""Name -> style, of the cameras that adaptation is tested on."""


def style(name: str) -> CameraStyle:
    """Return a style by name. :raises ValueError: there is none of that name."""
    if name not in STYLES:
        raise ValueError(f'there is no camera style {name!r}; there are: {", ".join(STYLES)}')
    return STYLES[name]
