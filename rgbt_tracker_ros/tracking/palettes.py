"""Recover the order of temperatures from a thermal image in false colours."""
from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

# Anchor colours (RGB) of palettes that OpenCV lacks, evenly spaced from cold to hot.
_ANCHORS = {
    'ironbow': ((0, 0, 0), (28, 0, 96), (95, 0, 158), (160, 10, 150), (208, 50, 80),
                (235, 100, 20), (250, 150, 0), (254, 205, 50), (255, 255, 255)),
}
_OPENCV = {name: getattr(cv2, f'COLORMAP_{name.upper()}')
           for name in ('inferno', 'magma', 'plasma', 'viridis', 'hot', 'jet', 'turbo')}
PALETTES = (*_ANCHORS, *_OPENCV)

# A colour is looked up by the upper 6 bits of its channels: finer than video coding keeps.
_BITS = 6
_SAMPLES = 1024
# Mean distance to the nearest colour of the palette, in 8-bit RGB units. Real thermal images in
# these palettes stay below 10 after JPEG of quality 70, street scenes of a colour camera are above
# 65; the room between is for a vendor's own shade of a palette.
_MAX_RESIDUAL = 24.0
# Below this difference between channels a pixel is gray; coding noise reaches about 8.
_MIN_CHROMA = 24


def palette(name: str) -> NDArray[np.uint8]:
    """Return the 256 RGB colours, cold to hot, of one of PALETTES as (256, 3) uint8."""
    if name in _ANCHORS:
        anchors = np.array(_ANCHORS[name], np.float64)
        at = np.linspace(0, 255, len(anchors))
        return np.stack([np.interp(np.arange(256), at, c).round() for c in anchors.T],
                        axis=1).astype(np.uint8)
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    return np.ascontiguousarray(cv2.applyColorMap(ramp, _OPENCV[name])[:, 0, ::-1])


def detect_palette(image: NDArray[np.uint8]) -> str | None:
    """Tell which palette an (H, W, 3) uint8 RGB image was drawn with.

    :return: one of PALETTES; '' for colours that fit none of them; None for a gray picture, which
        could still be the start of any.
    """
    step = max(1, int((image.shape[0] * image.shape[1] / _SAMPLES) ** 0.5))
    colours = image[::step, ::step].reshape(-1, 3)
    if np.mean(np.ptp(colours, axis=1) > _MIN_CHROMA) < 0.1:
        return None
    residual = {name: float(_nearest(colours, palette(name))[1].mean()) for name in PALETTES}
    best = min(residual, key=residual.__getitem__)
    return best if residual[best] <= _MAX_RESIDUAL else ''


def to_levels(image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Return the palette index (H, W), 0 cold to 255 hot, of each pixel of an RGB image."""
    shift = 8 - _BITS
    index = (image[..., 0] >> shift).astype(np.uint32)
    for channel in (1, 2):
        index <<= _BITS
        index |= image[..., channel] >> shift
    return _lookup(name).take(index)


def _nearest(colours: NDArray[np.uint8],
             table: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return for (N, 3) colours the index of the nearest row of the table, and its distance."""
    points, rows = colours.astype(np.float32), table.astype(np.float32)
    square = (rows ** 2).sum(1) - 2 * points @ rows.T       # without the points' own term
    index = square.argmin(1)
    rest = square[np.arange(len(index)), index] + (points ** 2).sum(1)
    return index.astype(np.uint8), np.sqrt(np.maximum(rest, 0))


@lru_cache(maxsize=2)
def _lookup(name: str) -> NDArray[np.uint8]:
    """Return the palette index of every colour of 3 x 6 bits: (2 ** 18,) uint8; takes 0.05 s."""
    side = (np.arange(1 << _BITS) << (8 - _BITS)) + (1 << (7 - _BITS))
    colours = np.stack(np.meshgrid(side, side, side, indexing='ij'), -1).astype(np.uint8)
    table = palette(name)
    return np.concatenate([_nearest(plane.reshape(-1, 3), table)[0] for plane in colours])
