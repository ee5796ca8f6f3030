"""What happens in a made-up video, before it is drawn: where all is, what is bad, the truth."""
from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from rgbt_tracker_ros.data.pair_sources import Condition
from rgbt_tracker_ros.data.random import Draws
from rgbt_tracker_ros.data.scene_options import VideoSceneOptions
from rgbt_tracker_ros.data.scene_pairs import CLUTTER, OCCLUDER, TARGET
from rgbt_tracker_ros.data.scene_paths import (
    Floats,
    crossings,
    dashes,
    folded,
    hiding,
    spells,
)

_STREAM = 3


class SceneMotion:
    """The course of a video: paths, sizes, truth, and the state of the cameras in every frame."""

    def __init__(self, seed: int, options: VideoSceneOptions) -> None:
        """Take the seed that all of it follows from."""
        self.seed, self.options = seed, options
        self._draws = Draws(seed, torch.tensor([0]), _STREAM)

    def __len__(self) -> int:
        return self.options.frames

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
        if o.dashes:
            self._dash(place, pan, low, high)
        place[:, :CLUTTER] = place[:1, :CLUTTER] - pan  # stays where it is on the ground
        if o.crossings:
            place[:, CLUTTER:TARGET] = crossings(d, place[:, TARGET], TARGET - CLUTTER,
                                                 o.crossings)
        aspect = (d.normal('aspect', k)[0].double().numpy() * o.aspect - 0.1)[None]
        if o.crossings:     # who crosses is like it in shape, too
            aspect[:, CLUTTER:TARGET] = (aspect[:, CLUTTER:TARGET] + aspect[:, TARGET, None]) / 2
        spread = np.array([0.4] * CLUTTER + [0.12] * (TARGET - CLUTTER) + [0.0, 0.15])
        scale = d.normal('size', k)[0].double().numpy() * spread
        drift = self._walk('drift', 1, np.full((1, 2), -0.6), np.full((1, 2), 0.6),
                           np.zeros((1, 2)), o.drift * 0.05)[:, :, 0]
        size = np.exp(np.stack((scale + drift + aspect, scale + drift - aspect), -1))
        if o.hidden:
            self._hide(place, size)
        else:
            self._cross(place, size)
        return place, size, pan[:, 0]

    def _dash(self, place: Floats, pan: Floats, low: Floats, high: Floats) -> None:
        """Move the target suddenly, or the camera: then what is near moves in its picture."""
        o, d = self.options, self._draws
        carried = place[:, TARGET] + dashes(d, len(self), o.dashes, o.dash)
        moved = folded(carried, low[TARGET], high[TARGET]) - place[:, TARGET]
        place[:, TARGET] += moved
        if bool(d.chance('camera dashes', 0.5)[0]):
            place[:, CLUTTER:TARGET] += moved[:, None]
            pan -= moved[:, None]

    def _hide(self, place: Floats, size: Floats) -> None:
        """Let what is in front pass slowly and cover all of the target for a while."""
        o = self.options
        offset, wider = hiding(self._draws, len(self), o.occlusions, o.hidden)
        size[:, OCCLUDER] = size[:, TARGET] * np.array([1.1, 1.35])
        size[:, OCCLUDER, 0] += wider
        place[:, OCCLUDER] = place[:, TARGET]
        place[:, OCCLUDER, 0] += offset

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
        """(T,) the Condition of every frame; the first is clean, unless `clean` is 0."""
        o, d = self.options, self._draws
        count = -(-len(self) // o.spell)
        bad = d.chance('bad', o.degraded, count)[0].numpy()
        which = np.where(d.chance('which', o.rgb_share, count)[0].numpy(), Condition.RGB_DEGRADED,
                         Condition.THERMAL_DEGRADED)
        out = self._by_spell(np.where(bad, which, Condition.CLEAN)).astype(np.int64)
        faulty = self.sources != np.arange(len(self))[:, None]
        for camera, condition in enumerate((Condition.THERMAL_DEGRADED, Condition.RGB_DEGRADED)):
            out[faulty[:, camera] & (out == condition)] = Condition.CLEAN   # one is always good
        return out

    def _by_spell(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the value of each frame's spell; 0 before the first one."""
        o = self.options
        before = np.zeros(self._undisturbed, values.dtype)
        return np.concatenate((before, np.repeat(values, o.spell)))[:len(self)]

    @property
    def _undisturbed(self) -> int:
        o = self.options
        return o.spell // 2 if o.clean is None else o.clean

    @cached_property
    def _hazy(self) -> NDArray[np.bool_]:
        count = -(-len(self) // self.options.spell)
        return self._by_spell(self._draws.chance('haze', self.options.haze, count)[0].numpy())

    @cached_property
    def sources(self) -> NDArray[np.int64]:
        """(T, 2) which frame RGB and thermal show in every frame: its own, an earlier one where
        the camera is frozen, -1 where it sends nothing.
        """
        o, d = self.options, self._draws
        out = np.repeat(np.arange(len(self))[:, None], 2, axis=1)
        first = max(1, self._undisturbed)
        for name, share in (('frozen', o.frozen), ('missing', o.missing)):
            found = spells(d, name, len(self), share, o.outage, first) if share else []
            which = d.integers(f'{name} which', 2, max(len(found), 1))[0].tolist()
            for (start, stop), camera in zip(found, which, strict=False):
                out[start:stop] = np.arange(start, stop)[:, None]
                out[start:stop, int(camera)] = -1 if name == 'missing' else start - 1
        return out

    @cached_property
    def truth(self) -> Floats:
        """(T, 4) x, y, w, h in px; never absent."""
        place, size, _ = self._motion
        box = np.concatenate((place[:, TARGET] - size[:, TARGET] / 2, size[:, TARGET]), 1)
        return box * self.options.target

    @cached_property
    def visible(self) -> Floats:
        """(T,) share of the target that nothing is in front of, in [0, 1]."""
        place, size, _ = self._motion
        square = self._draws.chance('square', 0.5, OCCLUDER + 1)[0].numpy()
        square[OCCLUDER] |= bool(self.options.hidden)
        shown = self._shown[0].numpy()
        line = (np.arange(16) + 0.5) / 8 - 1
        points = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
        points = points[_inside(points, bool(square[TARGET]))]
        points = place[:, TARGET, None] + points * size[:, TARGET, None] / 2    # (T, P, 2)
        free = np.ones(points.shape[:2], bool)
        for k in self._order[self._order.index(TARGET) + 1:]:
            if shown[k]:
                away = (points - place[:, k, None]) / (size[:, k, None] / 2)
                free &= ~_inside(away, bool(square[k]))
        return np.asarray(free.mean(1))

    @cached_property
    def _shown(self) -> Tensor:
        o, d = self.options, self._draws
        return torch.cat((d.chance('clutter there', o.clutter, CLUTTER),
                          d.chance('distractor there', o.distractors, TARGET - CLUTTER),
                          torch.ones(1, 2, dtype=torch.bool)), 1)

    @cached_property
    def _order(self) -> list[int]:
        """Numbers of the objects, the one in front last."""
        order = list(range(OCCLUDER + 1))
        if self.options.crossings:
            before = self._draws.chance('before it', 0.5, TARGET - CLUTTER)[0].tolist()
            for k, front in enumerate(before, CLUTTER):
                if front:
                    order.remove(k)
                    order.insert(order.index(OCCLUDER), k)
        return order

    @property
    def truth_thermal(self) -> Floats:
        """(T, 4) the same in the thermal image, off by the registration error."""
        return self.truth + np.array([*self._shift, 0, 0])

    @cached_property
    def _shift(self) -> Floats:
        error = self.options.registration_error
        return self._draws.uniform('registration', 2, low=-error, high=error)[0].double().numpy()


def _inside(points: Floats, square: bool) -> NDArray[np.bool_]:
    """Whether (..., 2) places are within an object of [-1, 1] x [-1, 1]; see Objects."""
    powers = points * points
    if square:
        powers = powers * powers
    return np.asarray(powers.sum(-1) < 1)
