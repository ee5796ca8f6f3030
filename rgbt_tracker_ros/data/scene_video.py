"""Made-up RGB-thermal videos of one target, with truth: for tests of online tracking.

The same scenes as `scene_pairs`, in motion: smooth random walks, drifting sizes, something that
comes in between now and then, and spells in which one camera is bad. On request also sudden fast
motion, others that cross the target's path, full occlusion, and cameras that send nothing or the
same picture again. `suites` says which of it makes a benchmark.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
import math

import numpy as np
import torch
from torch import Tensor

from rgbt_tracker_ros.data.options import parse
from rgbt_tracker_ros.data.pair_sources import Condition
from rgbt_tracker_ros.data.render import Cameras, render
from rgbt_tracker_ros.data.render_objects import Objects, View
from rgbt_tracker_ros.data.scene_motion import SceneMotion
from rgbt_tracker_ros.data.scene_options import VideoSceneOptions
from rgbt_tracker_ros.data.scene_pairs import CLUTTER, OCCLUDER, TARGET, codes
from rgbt_tracker_ros.data.scene_paths import Floats
from rgbt_tracker_ros.types import Pair

_HAZE_GAIN, _HAZE_LIGHT = 0.06, 165.0

Look = Callable[[Pair, int, str], Pair]
"""What makes a pair look as other cameras would show it: (pair, its number, name) -> pair."""


class SceneVideo(SceneMotion):
    """A video that is the same for a seed everywhere; frames can be had in any order.

    It has what a `Sequence` has: `name`, `pair(i)`, `truth`, `truth_thermal`, `len`, iteration.

    >>> video = SceneVideo(seed=1, frames=50)
    >>> for pair, box in zip(video, video.truth):
    ...     ...
    """

    def __init__(self, seed: int, look: Look | None = None, **options: float) -> None:
        """Lay out the video; frames are drawn when they are asked for.

        :param look: of other cameras, such as CameraStyle.apply.
        :raises OptionError: if an option is unknown or can't be used; see VideoSceneOptions.
        """
        super().__init__(seed, parse('scene video', VideoSceneOptions, options))
        self.look = look
        self.name = f'scene{seed:06d}'

    def __iter__(self) -> Iterator[Pair]:
        return (self.pair(i) for i in range(len(self)))

    def pair(self, index: int) -> Pair:
        """Draw pair `index`: (H, W, 3) and (H, W) uint8, or as `look` makes them.

        :raises IndexError: if there is no such frame.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'{self.name}: no frame {index}; there are {len(self)}')
        drawn = {int(i): self._drawn(int(i)) for i in self.sources[index] if i >= 0}
        rgb, thermal = (drawn.get(int(i)) for i in self.sources[index])
        return Pair(None if rgb is None else rgb.rgb,
                    None if thermal is None else thermal.thermal,
                    stamp=int(index * 1e9 / self.options.fps))

    def contrast(self, index: int) -> tuple[float, float]:
        """Return by how much the target stands out in RGB and thermal: the mean change of its box
        where it is drawn there, less the standard deviation of the ground around it; grey levels,
        with good cameras and nothing else around.
        """
        place, size, pan = (v[index] for v in self._motion)
        cells = self.options.cells
        x, y = _tensor((place[TARGET] + pan - size[TARGET]) / cells)[:, None].unbind(0)
        cell = float(size[TARGET].max()) / cells / 12
        w, h = (max(int(2 * side / cells / cell + 0.5), 1) for side in size[TARGET].tolist())
        view = View(x, y, torch.tensor([cell]), w, h, 24 * cell)
        objects = self._objects(index, heat=1.0)
        pictures = []
        for shown in (False, True):
            objects.shown[:] = False
            objects.shown[:, self._order.index(TARGET)] = shown
            drawn = render(self._draws, view, objects, Cameras.perfect(1),
                           contrast=self.options.difficulty)
            pictures.append((_pale(drawn[0][0], self.options.saturation), drawn[1][0]))
        rgb, thermal = (_standing_out(*two) for two in zip(*pictures, strict=True))
        return rgb, thermal

    def _objects(self, index: int, heat: float) -> Objects:
        """Return what is in a frame; `heat`: how far target and distractors stand out."""
        o, d, k = self.options, self._draws, OCCLUDER + 1
        place, size, pan = (_tensor(v[index])[None] for v in self._motion)
        place, size = (place + pan[:, None]) / o.cells, size / o.cells
        heats = torch.ones(1, k)
        heats[:, CLUTTER:OCCLUDER] = heat
        square = d.chance('square', 0.5, k)
        square[:, OCCLUDER] |= bool(o.hidden)
        objects = Objects(place[..., 0], place[..., 1], size[..., 0], size[..., 1],
                          codes(d, o.similarity), square, self._shown, heats)
        return Objects(*(getattr(objects, f)[:, self._order] for f in Objects.__slots__))

    def _drawn(self, index: int) -> Pair:
        """Draw both pictures of a frame as if no camera were out."""
        o, d = self.options, self._draws
        condition = int(self.conditions[index])
        objects = self._objects(
            index, o.crossover if condition == Condition.THERMAL_DEGRADED else 1.0)
        zero, one = torch.zeros(1), torch.ones(1)
        pan = _tensor(self._motion[2][index])[None] / o.cells
        unit = o.target * o.cells
        view = View(pan[:, 0], pan[:, 1], one / unit, o.width, o.height,
                    max(o.width, o.height) / unit)
        perfect = Cameras.perfect(1)
        dark = condition == Condition.RGB_DEGRADED
        gain, light = (o.dark, 0.0) if dark else (1.0, 0.0)
        if dark and self._hazy[index]:
            gain, light = _HAZE_GAIN, _HAZE_LIGHT
        noise = one * (4.0 * o.difficulty)
        rgb_noise = noise + (4.0 * o.difficulty if dark else 0.0)
        x, y = _tensor(self._shift)[:, None].unbind(0)
        cameras = Cameras(one * gain, zero + light, rgb_noise, one, zero, noise, one,
                          one, perfect.bounds, (x, y) if o.registration_error else None)
        rgb, thermal = render(d, view, objects, cameras, f'frame {index}', contrast=o.difficulty)
        rgb = _pale(rgb, o.saturation)
        pair = Pair(rgb[0].permute(1, 2, 0).contiguous().numpy(), thermal[0, 0].numpy())
        return self.look(pair, index, self.name) if self.look else pair


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(values).float()


def _pale(rgb: Tensor, saturation: float) -> Tensor:
    """Mix (..., 3, H, W) uint8 with its grey, in whole numbers: the same on every machine."""
    keep = int(saturation * 256 + 0.5)
    if keep == 256:
        return rgb
    wide = rgb.int()
    grey = wide.sum(-3, keepdim=True) // 3
    return ((wide * keep + grey * (256 - keep)) >> 8).to(torch.uint8)


def _standing_out(without: Tensor, there: Tensor) -> float:
    """Return the mean change of (C, H, W) uint8 pictures over their middle quarter, less the mean
    standard deviation of their channels; sums are of whole numbers, the same on every machine.
    """
    a, b = without.numpy().astype(np.int64), there.numpy().astype(np.int64)
    n = a[0].size
    squares = n * (a * a).sum((1, 2)) - a.sum((1, 2)) ** 2
    spread = sum(math.sqrt(v / (n * (n - 1))) for v in squares.tolist()) / len(a)
    return int(np.abs(b - a).sum()) * 4 / a.size - spread
