"""Things to paste into a scene: made-up objects, and silhouettes cut from real thermal frames.

One object has one geometry and two appearances, RGB and thermal, that share nothing but the
silhouette, so that neither modality can be guessed from the other.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
SIDE = 64  # px of a patch


@dataclass(slots=True)
class Patch:
    """`rgb` (SIDE, SIDE, 3) uint8, `thermal` (SIDE, SIDE) uint8, `alpha` (SIDE, SIDE) float32 in
    [0, 1]; the silhouette fills the square, `aspect` is the object's width over height.
    """

    rgb: NDArray[np.uint8]
    thermal: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    aspect: float


def smooth_noise(rng: Rng, size: int, cells: int, channels: int = 1) -> NDArray[np.float32]:
    """Return (size, size, channels) of smooth noise in [0, 1] with `cells` bumps a side."""
    coarse = rng.random((cells, cells, channels), dtype=np.float32)
    field = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(field.reshape(size, size, channels), 0, 1)


def texture(rng: Rng, size: int, channels: int) -> NDArray[np.uint8]:
    """Return a (size, size, channels) texture: patches of a few colours, stripes, mottling."""
    palette = rng.integers(0, 256, (rng.integers(2, 5), channels)).astype(np.float32)
    kind = rng.random()
    if kind < 0.4:  # horizontal zones, as clothes are
        cuts = np.sort(rng.random(len(palette) - 1))
        index = np.searchsorted(cuts, np.linspace(0, 1, size))
        out = np.repeat(palette[index][:, None], size, 1)
    elif kind < 0.65:  # stripes
        angle, period = rng.random() * np.pi, rng.uniform(4, 24)
        v, u = np.mgrid[:size, :size].astype(np.float32)
        phase = (u * np.cos(angle) + v * np.sin(angle)) / period
        out = palette[(phase % 1 * len(palette)).astype(int) % len(palette)]
    else:
        level = smooth_noise(rng, size, int(rng.integers(2, 8)))[..., 0]
        out = palette[np.minimum((level * len(palette)).astype(int), len(palette) - 1)]
    mottle = smooth_noise(rng, size, int(rng.integers(6, 24))) - 0.5
    out = out + rng.uniform(0, 70) * mottle
    return np.clip(out, 0, 255).astype(np.uint8)


def silhouette(rng: Rng) -> NDArray[np.float32]:
    """Return a (SIDE, SIDE) random shape in [0, 1]: a super-ellipse with lobes and bites."""
    v, u = np.mgrid[:SIDE, :SIDE].astype(np.float32) / (SIDE - 1) * 2 - 1
    power = rng.choice([1.3, 2.0, 4.0, 8.0])
    angle = np.arctan2(v, u)
    lobes = 1 + rng.uniform(0, 0.25) * np.sin(rng.integers(2, 6) * angle + rng.random() * 6.28)
    radius = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    return _filled(np.clip((lobes - radius) * 12, 0, 1))


def _filled(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stretch a silhouette so that it touches all four sides."""
    rows, cols = np.where(alpha.max(1) > 0.5)[0], np.where(alpha.max(0) > 0.5)[0]
    if len(rows) < 4 or len(cols) < 4:
        return np.ones((SIDE, SIDE), np.float32)
    cut = alpha[rows[0]:rows[-1] + 1, cols[0]:cols[-1] + 1]
    return np.clip(cv2.resize(cut, (SIDE, SIDE)), 0, 1)


def made_up(rng: Rng) -> Patch:
    """Return an object nobody has seen: random shape, unrelated textures in the two modalities."""
    thermal = texture(rng, SIDE, 1)[..., 0].astype(np.float32)
    # most things of interest are warmer than what is behind them
    thermal = rng.uniform(0.2, 0.9) * thermal + rng.uniform(0, 120)
    thermal = cv2.GaussianBlur(np.clip(thermal, 0, 255), (0, 0), rng.uniform(0.5, 3))
    return Patch(texture(rng, SIDE, 3), thermal.astype(np.uint8), silhouette(rng),
                 float(np.exp(rng.normal(-0.3, 0.5))))


def clothed(thermal: NDArray[np.uint8], mask: NDArray[np.bool_], aspect: float, seed: int,
            rgb: NDArray[np.uint8] | None = None) -> Patch:
    """Return a real silhouette with its thermal appearance, and colours from `rgb`, or, where
    there is no RGB, made-up clothes that depend on `seed` alone: the same person keeps them.
    """
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0)
    if rgb is None:
        rng = np.random.default_rng(seed)
        shade = 0.6 + 0.4 * thermal[..., None].astype(np.float32) / max(int(thermal.max()), 1)
        rgb = np.clip(texture(rng, SIDE, 3) * shade, 0, 255).astype(np.uint8)
    return Patch(rgb, thermal, alpha, aspect)


def paste(rgb: NDArray[np.uint8], thermal: NDArray[np.uint8], patch: Patch,
          box: tuple[float, float, float, float], opacity: float = 1.0,
          flip: bool = False) -> None:
    """Draw `patch` over the box (x, y, w, h) of an RGB and a thermal image, in place."""
    x, y, w, h = box
    size = rgb.shape[0]
    m = np.array([[w / SIDE, 0, x + (0.5 * w / SIDE) - 0.5],
                  [0, h / SIDE, y + (0.5 * h / SIDE) - 0.5]])
    x1, y1 = max(int(x) - 1, 0), max(int(y) - 1, 0)
    x2, y2 = min(int(x + w) + 2, size), min(int(y + h) + 2, size)
    if x2 <= x1 or y2 <= y1 or w < 1 or h < 1:
        return
    m[:, 2] -= (x1, y1)
    stack = np.dstack((patch.rgb.astype(np.float32), patch.thermal.astype(np.float32),
                       patch.alpha))
    if flip:
        stack = np.ascontiguousarray(stack[:, ::-1])
    drawn = cv2.warpAffine(stack[..., :4], m, (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(stack[..., 4], m, (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR)
    alpha = alpha[..., None] * opacity
    area = (slice(y1, y2), slice(x1, x2))
    rgb[area] = (rgb[area] * (1 - alpha) + drawn[..., :3] * alpha).astype(np.uint8)
    thermal[area] = (thermal[area] * (1 - alpha[..., 0])
                     + drawn[..., 3] * alpha[..., 0]).astype(np.uint8)
