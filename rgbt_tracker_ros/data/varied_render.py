"""How the scenes of `varied_scenes` differ from those of `scene_pairs`."""
from __future__ import annotations

from dataclasses import asdict, fields, replace

import torch
from torch import Tensor

from rgbt_tracker_ros.data.pair_sources import Batch, Condition, CropSizes
from rgbt_tracker_ros.data.random import Draws
from rgbt_tracker_ros.data.render import Cameras, render
from rgbt_tracker_ros.data.render_objects import Objects
from rgbt_tracker_ros.data.scene_pairs import CLUTTER, OCCLUDER, TARGET, Scene, ScenePairs
from rgbt_tracker_ros.data.varied_options import VariedOptions

_HAZE_GAIN, _HAZE_LIGHT = 0.06, 165.0
_CELLS = (0.7, 3.0)


class VariedRenderer(ScenePairs):
    """Samples of VariedOptions with crops of any size; `visible` is 0 for no target in sight."""

    Options = VariedOptions
    kind = 'varied_scenes'
    options: VariedOptions

    def __init__(self, seed: int, crops: CropSizes, stream: int, options: VariedOptions) -> None:
        """Take options that were checked."""
        super().__init__(seed, crops, stream, **asdict(options))

    def draw(self, index: Tensor) -> Batch:
        """Return the samples of the numbers (B,) int64, on their device."""
        o = self.options
        draws = Draws(self.seed, index, self.stream)
        condition = self._condition(draws)
        gone = self._gone(draws)
        out: Batch = {'index': index, 'condition': condition,
                      'visible': (~(gone[0] | gone[1])).float()}
        for name, scene in self.scenes(draws, condition).items():
            rgb, thermal = render(draws, scene.view, scene.objects, scene.cameras, name,
                                  contrast=o.difficulty)
            rgb = _toned(draws, rgb)
            for image, key in ((rgb, 'rgb'), (thermal, 'thermal')):
                soft = draws.chance(f'{key} blurred', o.blurred)
                out[f'{name}_{key}'] = torch.where(soft[:, None, None, None], _soft(image), image)
            out[f'{name}_box'] = scene.box
            out[f'{name}_present'] = torch.stack((scene.cameras.rgb_present,
                                                  scene.cameras.thermal_present), 1)
        return out

    def _gone(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return (B,) whether the target is not there, and whether all of it is covered."""
        o, u = self.options, draws.uniform('gone')
        return u < o.absent, u >= 1.0 - o.hidden

    def scenes(self, draws: Draws, condition: Tensor) -> dict[str, Scene]:
        """Lay out the scenes of `draws` (B) at the instants `template` and `search`."""
        cells = draws.uniform('cells', low=_CELLS[0], high=_CELLS[1])
        out = {}
        for name, scene in super().scenes(draws, condition).items():
            o = scene.objects
            o = self._met(draws, name, self._covered(draws, name, o))
            heat = draws.uniform('crossover', low=0.03, high=self.options.crossover + 0.03)
            o.heat[:] = torch.where(o.heat < 1.0, heat[:, None], o.heat)
            # a coarser ground under the same objects
            c = cells[:, None]
            objects = replace(o, cx=o.cx / c, cy=o.cy / c, w=o.w / c, h=o.h / c)
            v = scene.view
            view = v._replace(x=v.x / cells, y=v.y / cells, pixel=v.pixel / cells,
                              span=v.span / _CELLS[0])
            cameras = replace(scene.cameras, bounds=scene.cameras.bounds / c)
            out[name] = Scene(view, objects, cameras, scene.box)
        return out

    def _covered(self, draws: Draws, name: str, o: Objects) -> Objects:
        """Let others look more like the target, what is in front now and then; let that cover all
        of it, or leave the target out.
        """
        code = o.code.clone()
        near = draws.uniform('alike', low=0.3, high=0.7) * draws.chance('is alike',
                                                                      self.options.alike)
        near = near[:, None]
        code[:, OCCLUDER] = code[:, OCCLUDER] * (1.0 - near) + code[:, TARGET] * near
        more = draws.uniform('more alike', 1, 1, low=0.0, high=0.45)
        code[:, CLUTTER:TARGET] = code[:, CLUTTER:TARGET] * (1.0 - more) \
            + code[:, TARGET, None] * more
        o = replace(o, code=code)
        if name != 'search':
            return o
        absent, hidden = self._gone(draws)
        o.shown[:, TARGET] &= ~absent
        o.shown[:, OCCLUDER] |= hidden
        o.square[:, OCCLUDER] |= hidden
        wider = draws.uniform('wider', low=1.1, high=2.5)
        for place, side, factor in ((o.cx, o.w, wider), (o.cy, o.h, torch.full_like(wider, 1.35))):
            place[:, OCCLUDER] = torch.where(hidden, place[:, TARGET], place[:, OCCLUDER])
            side[:, OCCLUDER] = torch.where(hidden, side[:, TARGET] * factor, side[:, OCCLUDER])
        return o

    def _met(self, draws: Draws, name: str, o: Objects) -> Objects:
        """Let the last of those like it come close to the target, before it or behind it."""
        k = TARGET - 1
        meets = draws.chance('crossing', self.options.crossing) & (name == 'search')
        closer = torch.where(meets, draws.uniform('closer', low=0.4, high=0.9), 1.0)
        for place in (o.cx, o.cy):
            place[:, k] = (place[:, k] - place[:, TARGET]) * closer + place[:, TARGET]
        o.shown[:, k] |= meets
        front = meets & draws.chance('in front', 0.5)
        order = torch.arange(OCCLUDER + 1, device=front.device).repeat(len(front), 1)
        order[:, k] = torch.where(front, TARGET, k)
        order[:, TARGET] = torch.where(front, k, TARGET)
        rows = torch.arange(len(front), device=front.device)[:, None]
        return Objects(*(getattr(o, f.name)[rows, order] for f in fields(Objects)))

    def _cameras(self, draws: Draws, name: str, bad: Tensor,
                 target: tuple[Tensor, Tensor]) -> Cameras:
        o = self.options
        found = super()._cameras(draws, name, bad, target)
        dark, one = bad == Condition.RGB_DEGRADED, torch.ones_like(found.rgb_gain)
        haze = dark & draws.chance('haze', o.haze)
        light = draws.uniform('dark', low=0.01, high=o.dark)
        change = draws.uniform(f'{name} change', 4, low=-1.0, high=1.0)
        gain = change[:, 0] * 0.25 + 1.0
        gain = torch.where(haze, _HAZE_GAIN, gain * torch.where(dark, light, 1.0))
        bias = torch.where(haze, _HAZE_LIGHT + change[:, 1] * 40.0, change[:, 1] * 15.0)
        # black-hot: the picture of a camera does not change its polarity
        hot = torch.where(draws.chance('inverted', o.inverted), -1.0, 1.0)
        look = draws.uniform('look', 2, low=-1.0, high=1.0)
        warm = (look[:, 0] * 0.35 + 1.0) * (change[:, 2] * 0.1 + 1.0)
        level = look[:, 1] * 25.0 + change[:, 3] * 10.0
        noise = draws.uniform('noise', 2, low=0.5, high=2.0)
        lost = self._lost(draws, name)
        error = draws.uniform('registration', 2, low=-1.0, high=1.0) * (
            o.registration_error * draws.chance('misaligned', o.misaligned, 1))
        return Cameras(
            gain, bias * torch.where(dark & ~haze, 0.2, 1.0), found.rgb_noise * noise[:, 0],
            warm * hot, torch.where(hot < 0, 255.0 - level, level),
            found.thermal_noise * noise[:, 1],
            one * ~lost[0], one * ~lost[1], found.bounds, (error[:, 0], error[:, 1]))

    def _lost(self, draws: Draws, name: str) -> tuple[Tensor, Tensor]:
        """Return (B,) whether RGB and thermal send nothing: always, from now on, until now."""
        lost = draws.chance('lost', self.options.lost)
        when = draws.uniform('lost when')
        lost &= (when < 0.9) if name == 'search' else (when < 0.4) | (when >= 0.9)
        rgb = draws.chance('lost which', 0.55)
        return lost & rgb, lost & ~rgb


def _toned(draws: Draws, rgb: Tensor) -> Tensor:
    """Give RGB (B, 3, H, W) uint8 colours of its own: paler, tinted, of another gamma."""
    keep = draws.uniform('saturation', 1, 1, 1, low=0.05, high=1.0)
    tint = draws.uniform('tint', 3, 1, 1, low=0.65, high=1.1)
    gamma = draws.uniform('gamma', 1, 1, 1, low=0.7, high=1.5)
    x = rgb.float()
    x = (x - x.mean(1, keepdim=True)) * keep + x.mean(1, keepdim=True)
    x = (x.clamp(0, 255) / 255) ** gamma * (tint * 255)
    return x.add_(0.5).clamp_(0, 255).to(torch.uint8)


def _soft(image: Tensor) -> Tensor:
    """Blur (B, C, H, W) uint8 by about one px."""
    x = torch.nn.functional.pad(image.float(), (1, 1, 1, 1), mode='replicate')
    return torch.nn.functional.avg_pool2d(x, 3, 1).add_(0.5).to(torch.uint8)
