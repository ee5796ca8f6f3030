"""Made-up scenes: one target and others like it on smooth paths, with exact ground truth."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.objects import Patch, Rng, made_up, paste, texture
from rgbt_tracker_ros.types import Box, Pair


class SceneFrame(NamedTuple):
    """A pair, the target's box in it, and whether the target is to be seen."""

    pair: Pair
    box: Box
    visible: bool


@dataclass(frozen=True, slots=True)
class SceneConfig:
    """What a scene is like.

    `side`: the image is side x side px. `target`: sqrt(w * h), px. `speed`: px per frame.
    `distractors`: how many others move about. `hidden`: frames [start, stop) in which the target
    is behind something. `fps` gives the stamps.
    """

    frames: int = 90
    side: int = 320
    target: float = 40.0
    speed: float = 3.0
    distractors: int = 2
    hidden: tuple[int, int] = (0, 0)
    fps: float = 30.0


class Scene:
    """A sequence that is the same for a seed on every machine; iterate it as often as needed.

    >>> for pair, box, visible in Scene(seed=1):
    ...     ...
    """

    def __init__(self, seed: int, config: SceneConfig | None = None) -> None:
        self.seed = seed
        self.config = config or SceneConfig()

    def __len__(self) -> int:
        return self.config.frames

    def __iter__(self) -> Iterator[SceneFrame]:
        c = self.config
        rng = np.random.default_rng(self.seed)
        back_rgb = texture(rng, c.side, 3)
        back_rgb = cv2.addWeighted(back_rgb, 0.5, np.full_like(back_rgb, 110), 0.5, 0)
        back_thermal = (texture(rng, c.side, 1)[..., 0] * np.float32(0.2)).astype(np.uint8)
        back_thermal = cv2.GaussianBlur(back_thermal, (0, 0), 3)
        movers = [(_warm(rng), _path(rng, c)) for _ in range(c.distractors + 1)]
        for i in range(c.frames):
            rgb, thermal = back_rgb.copy(), back_thermal.copy()
            visible = not c.hidden[0] <= i < c.hidden[1]
            # the target last: nothing is in front of it but what hides it
            for number in reversed(range(len(movers))):
                if number == 0 and not visible:
                    continue
                patch, path = movers[number]
                paste(rgb, thermal, patch, _box(patch, path[i], c.target).as_tuple())
            noise = np.random.default_rng((self.seed, i))
            rgb = _noisy(noise, rgb)
            thermal = _noisy(noise, thermal)
            yield SceneFrame(Pair(rgb, thermal, stamp=int(i * 1e9 / c.fps)),
                             _box(movers[0][0], movers[0][1][i], c.target), visible)


def _warm(rng: Rng) -> Patch:
    """Return an object that is warmer than any background of a scene."""
    patch = made_up(rng)
    warm = np.clip(patch.thermal.astype(np.int16) // 2 + 110, 0, 255).astype(np.uint8)
    return Patch(patch.rgb, warm, patch.alpha, float(np.clip(patch.aspect, 0.4, 1.6)))


def _path(rng: Rng, c: SceneConfig) -> NDArray[np.float64]:
    """Return (frames, 2) centres on a smooth walk that stays inside the image."""
    margin = c.target
    position = rng.uniform(margin, c.side - margin, 2)
    angle, points = rng.uniform(0, 2 * np.pi), []
    for _ in range(c.frames):
        points.append(position.copy())
        angle += rng.normal(0, 0.08)
        step = c.speed * np.array([np.cos(angle), np.sin(angle)])
        outside = (position + step < margin) | (position + step > c.side - margin)
        step[outside] *= -1
        angle = float(np.arctan2(step[1], step[0]))
        position += step
    return np.array(points)


def _box(patch: Patch, center: NDArray[np.float64], size: float) -> Box:
    root = float(np.sqrt(patch.aspect))
    return Box.from_center(float(center[0]), float(center[1]), size * root, size / root)


def _noisy(rng: Rng, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
