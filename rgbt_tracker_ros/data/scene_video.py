"""Made-up RGB-thermal videos of one target, with truth: for tests of online tracking.

The same scenes as `scene_pairs`, in motion: smooth random walks, drifting sizes, something that
comes in between now and then, and spells in which one camera is bad.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from rgbt_tracker_ros.data.options import number, parse
from rgbt_tracker_ros.data.pair_sources import Condition
from rgbt_tracker_ros.data.random import Draws
from rgbt_tracker_ros.data.render import Cameras, render
from rgbt_tracker_ros.data.render_objects import Objects, View
from rgbt_tracker_ros.data.scene_pairs import CLUTTER, OCCLUDER, TARGET, codes
from rgbt_tracker_ros.types import Pair

_STREAM = 3
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VideoSceneOptions:
    """What a made-up video is like.

    `frames`, `width` x `height` px, `fps`. `target`: sqrt(w h) at the start, px. `speed`: of the
    target, its own sizes per frame (standard deviation). `drift`: of its size, in the logarithm,
    over 100 frames. `degraded`: share of the frames in which one camera is bad, in spells of
    `spell` frames, in turn. `occlusions`: how many times something passes in front of it in 100
    frames. `similarity`, `distractors`, `clutter`, `dark`, `crossover`, `difficulty`,
    `registration_error`: as of scenes.
    """

    frames: int = number(100, 2)
    width: int = number(320, 32)
    height: int = number(240, 32)
    fps: float = number(30.0, 0.1)
    target: float = number(28.0, 8)
    speed: float = number(0.12, 0, 1)
    drift: float = number(0.25, 0, 0.7)
    degraded: float = number(0.4, 0, 1)
    spell: int = number(20, 1)
    occlusions: float = number(1.0, 0, 5)
    similarity: float = number(0.5, 0, 1)
    distractors: float = number(0.5, 0, 1)
    clutter: float = number(0.35, 0, 1)
    dark: float = number(0.05, 0, 1)
    crossover: float = number(0.1, 0, 1)
    difficulty: float = number(1.0, 0, 3)
    registration_error: float = number(0.0, 0, 8)


class SceneVideo:
    """A video that is the same for a seed everywhere; frames can be had in any order.

    It has what a `Sequence` has: `name`, `pair(i)`, `truth`, `truth_thermal`, `len`, iteration.

    >>> video = SceneVideo(seed=1, frames=50)
    >>> for pair, box in zip(video, video.truth):
    ...     ...
    """

    def __init__(self, seed: int, **options: float) -> None:
        """Lay out the video; frames are drawn when they are asked for.

        :raises OptionError: if an option is unknown or can't be used; see VideoSceneOptions.
        """
        self.seed = seed
        self.options = parse('scene video', VideoSceneOptions, options)
        self.name = f'scene{seed:06d}'
        self._draws = Draws(seed, torch.tensor([0]), _STREAM)

    def __len__(self) -> int:
        return self.options.frames

    def __iter__(self) -> Iterator[Pair]:
        return (self.pair(i) for i in range(len(self)))

    def _walk(self, name: str, count: int, low: Floats, high: Floats, start: Floats,
              speed: float) -> Floats:
        """Return (T, count, 2) places: random walks with momentum that turn back at the walls."""
        push = self._draws.normal(name, len(self), count, 2)[0].double().numpy()
        place, pace = start.copy(), np.zeros((count, 2))
        out = np.empty((len(self), count, 2))
        for t in range(len(self)):
            out[t] = place
            pace = pace * 0.9 + push[t] * (speed * 0.44)  # 0.44 = sqrt(1 - 0.9^2)
            place = place + pace
            pace = np.where((place < low) | (place > high), -pace, pace)
            place = np.clip(place, low, high)
        return out

    @cached_property
    def _motion(self) -> tuple[Floats, Floats, Floats]:
        """Places in the picture (T, K, 2) and sizes (T, K, 2) of all objects, and where the camera
        looks (T, 2), in targets.
        """
        o, d = self.options, self._draws
        area = np.array([o.width, o.height]) / o.target
        k = OCCLUDER + 1
        start = d.uniform('start', k, 2, low=0.15, high=0.85)[0].double().numpy() * area
        low = np.full((k, 2), 0.6)
        high = np.maximum(area - 0.6, low)
        place = self._walk('walk', k, low, high, np.clip(start, low, high), o.speed)
        pan = self._walk('pan', 1, np.full((1, 2), -3.0), np.full((1, 2), 3.0), np.zeros((1, 2)),
                         0.5 * o.speed)
        place[:, :CLUTTER] = place[:1, :CLUTTER] - pan  # stays where it is on the ground
        aspect = (d.normal('aspect', k)[0].double().numpy() * 0.25 - 0.1)[None]
        spread = np.array([0.4] * CLUTTER + [0.12] * (TARGET - CLUTTER) + [0.0, 0.15])
        scale = d.normal('size', k)[0].double().numpy() * spread
        drift = self._walk('drift', 1, np.full((1, 2), -0.6), np.full((1, 2), 0.6),
                           np.zeros((1, 2)), o.drift * 0.05)[:, :, 0]
        size = np.exp(np.stack((scale + drift + aspect, scale + drift - aspect), -1))
        self._cross(place, size)
        return place, size, pan[:, 0]

    def _cross(self, place: Floats, size: Floats) -> None:
        """Send the occluder past the target, at its own times, and out of the way otherwise."""
        o, d = self.options, self._draws
        times = int(o.occlusions * len(self) / 100 + d.uniform('occlusions').item())
        at = np.sort(d.uniform('occluded at', max(times, 1), low=0.15, high=0.95)[0].numpy())
        from_left = bool(d.chance('from left', 0.5)[0])
        frames = np.arange(len(self))
        offset = np.full(len(self), 1e6)
        for moment in at[:times] * len(self):
            passing = (frames - moment) * 0.15 * (1 if from_left else -1)
            offset = np.where(np.abs(passing) < np.abs(offset), passing, offset)
        place[:, OCCLUDER, 0] = place[:, TARGET, 0] + offset
        place[:, OCCLUDER, 1] = place[:, TARGET, 1] + 0.2 * size[:, TARGET, 1]

    @cached_property
    def conditions(self) -> NDArray[np.int64]:
        """(T,) the Condition of every frame; the first is clean."""
        o, d = self.options, self._draws
        spells = -(-len(self) // o.spell)
        bad = d.chance('bad', o.degraded, spells)[0].numpy()
        which = np.where(d.chance('which', 0.5, spells)[0].numpy(), Condition.RGB_DEGRADED,
                         Condition.THERMAL_DEGRADED)
        kind = np.where(bad, which, Condition.CLEAN)
        offset = o.spell // 2  # so that the target is shown undisturbed first
        out = np.concatenate((np.zeros(offset, np.int64), np.repeat(kind, o.spell)))
        return out[:len(self)].astype(np.int64)

    @cached_property
    def truth(self) -> Floats:
        """(T, 4) x, y, w, h in px; never absent."""
        place, size, _ = self._motion
        box = np.concatenate((place[:, TARGET] - size[:, TARGET] / 2, size[:, TARGET]), 1)
        return box * self.options.target

    @property
    def truth_thermal(self) -> Floats:
        """(T, 4) the same in the thermal image, off by the registration error."""
        return self.truth + np.array([*self._shift, 0, 0])

    @cached_property
    def _shift(self) -> Floats:
        error = self.options.registration_error
        return self._draws.uniform('registration', 2, low=-error, high=error)[0].double().numpy()

    def pair(self, index: int) -> Pair:
        """Draw pair `index`: (H, W, 3) and (H, W) uint8.

        :raises IndexError: if there is no such frame.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'{self.name}: no frame {index}; there are {len(self)}')
        o = self.options
        place, size, pan = (_tensor(v[index])[None] for v in self._motion)
        place = place + pan[:, None]
        k = OCCLUDER + 1
        condition = int(self.conditions[index])
        heat = torch.ones(1, k)
        if condition == Condition.THERMAL_DEGRADED:
            heat[:, CLUTTER:OCCLUDER] = o.crossover
        d = self._draws
        shown = torch.cat((d.chance('clutter there', o.clutter, CLUTTER),
                           d.chance('distractor there', o.distractors, TARGET - CLUTTER),
                           torch.ones(1, 2, dtype=torch.bool)), 1)
        objects = Objects(place[..., 0], place[..., 1], size[..., 0], size[..., 1],
                          codes(d, o.similarity), d.chance('square', 0.5, k), shown, heat)
        zero, one = torch.zeros(1), torch.ones(1)
        view = View(pan[:, 0], pan[:, 1], one / o.target, o.width, o.height,
                    max(o.width, o.height) / o.target)
        perfect = Cameras.perfect(1)
        dark = condition == Condition.RGB_DEGRADED
        noise = one * (4.0 * o.difficulty)
        rgb_noise = noise + (4.0 * o.difficulty if dark else 0.0)
        x, y = _tensor(self._shift)[:, None].unbind(0)
        cameras = Cameras(one * (o.dark if dark else 1.0), zero, rgb_noise, one, zero, noise, one,
                          one, perfect.bounds, (x, y) if o.registration_error else None)
        rgb, thermal = render(d, view, objects, cameras, f'frame {index}', contrast=o.difficulty)
        return Pair(rgb[0].permute(1, 2, 0).contiguous().numpy(), thermal[0, 0].numpy(),
                    stamp=int(index * 1e9 / o.fps))


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(values).float()
