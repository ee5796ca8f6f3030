"""Made-up scenes as training pairs: a template and a search crop of one scene at two instants.

Between the two the target, the camera and everything else have moved and changed their size, the
light and the thermal offset are others, and something may have come in between. Distractors are
of half the target's code. At most one camera is degraded: RGB in the dark (5 % of the light, and
noise), or thermal at crossover (target and distractors as warm as what is behind them).
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rgbt_tracker_ros.data.ieee import exp
from rgbt_tracker_ros.data.jitter import window
from rgbt_tracker_ros.data.options import OptionError, number
from rgbt_tracker_ros.data.pair_sources import Batch, Condition, CropSizes, RenderedSource
from rgbt_tracker_ros.data.random import Draws
from rgbt_tracker_ros.data.render import Cameras, render
from rgbt_tracker_ros.data.render_objects import CODE, Objects, View

CLUTTER, DISTRACTORS = 4, 3
TARGET = CLUTTER + DISTRACTORS
OCCLUDER = TARGET + 1
"""Places of the objects of a scene, the last in front."""


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """What made-up scenes are like.

    `rgb_degraded`, `thermal_degraded`: shares of the samples in which one camera is bad (together
    at most 1), `template_degraded`: in how many of these the template was already; `missing`:
    share of them in which it sends nothing at all. `dark`: light left in the dark; `crossover`:
    contrast left at crossover. `similarity`: how much of the target's code a distractor has, 0 to
    1; `distractors`: chance that each of 3 is there; `clutter`: the same for 4 other objects;
    `occlusion`: chance that something covers part of the target. `difficulty`: scales noise,
    change of the light and contrast of the ground; 1 is what the other numbers are set for.
    `registration_error`: thermal against RGB, at most, px of the crop. `jitter`, `scale_jitter`:
    how badly the search crop is centred (OSTrack's k) and sized (sigma). `edge`: share of search
    crops that the edge of the picture goes through.
    """

    rgb_degraded: float = number(0.25, 0, 1)
    thermal_degraded: float = number(0.25, 0, 1)
    template_degraded: float = number(0.25, 0, 1)
    missing: float = number(0.0, 0, 1)
    dark: float = number(0.05, 0, 1)
    crossover: float = number(0.1, 0, 1)
    similarity: float = number(0.5, 0, 1)
    distractors: float = number(0.5, 0, 1)
    clutter: float = number(0.35, 0, 1)
    occlusion: float = number(0.1, 0, 1)
    difficulty: float = number(1.0, 0, 3)
    registration_error: float = number(0.0, 0, 8)
    jitter: float = number(3.0, 0, 3)
    scale_jitter: float = number(0.25, 0, 0.5)
    edge: float = number(0.05, 0, 1)


@dataclass(frozen=True, slots=True)
class Scene:
    """B scenes at one instant: what `render` needs, and the target's box in px (B, 4)."""

    view: View
    objects: Objects
    cameras: Cameras
    box: Tensor


def codes(draws: Draws, similarity: float) -> Tensor:
    """Return (B, K, CODE) codes of a scene's objects: clutter, distractors, target, occluder."""
    code = draws.uniform('codes', OCCLUDER + 1, CODE)
    like = slice(CLUTTER, TARGET)
    code[:, like] = code[:, like] * (1.0 - similarity) + code[:, TARGET, None] * similarity
    return code


def on_square(turn: Tensor) -> tuple[Tensor, Tensor]:
    """Return x, y on the edge of the square [-1, 1]^2 for turns: 1 is once around."""
    def wave(t: Tensor) -> Tensor:
        t = t - t.floor()
        return ((t * 2.0 - 1.0).abs() * 4.0 - 2.0).clamp(-1.0, 1.0)
    return wave(turn), wave(turn + 0.25)


class ScenePairs(RenderedSource):
    """Pairs of crops of made-up scenes; see SceneOptions."""

    Options = SceneOptions
    kind = 'scenes'
    options: SceneOptions

    def __init__(self, seed: int, crops: CropSizes, stream: int = 0, **options: object) -> None:
        """Check the options. `stream`: another one has other samples for every seed.

        :raises OptionError: if an option is unknown or can't be used.
        """
        super().__init__(seed, crops, **options)
        o = self.options
        if o.rgb_degraded + o.thermal_degraded > 1:
            raise OptionError(f'scenes: rgb_degraded {o.rgb_degraded:g} and thermal_degraded '
                              f'{o.thermal_degraded:g} add up to more than 1; both cameras are '
                              'never bad at once')
        self.stream = stream

    def draw(self, index: Tensor) -> Batch:
        """Return the samples of the numbers (B,) int64, on their device."""
        draws = Draws(self.seed, index, self.stream)
        condition = self._condition(draws)
        out: Batch = {'index': index, 'condition': condition,
                      'visible': torch.ones(len(index), device=index.device)}
        for name, scene in self.scenes(draws, condition).items():
            rgb, thermal = render(draws, scene.view, scene.objects, scene.cameras, name,
                                  contrast=self.options.difficulty)
            out[f'{name}_rgb'], out[f'{name}_thermal'] = rgb, thermal
            out[f'{name}_box'] = scene.box
            out[f'{name}_present'] = torch.stack((scene.cameras.rgb_present,
                                                  scene.cameras.thermal_present), 1)
        return out

    def _condition(self, draws: Draws) -> Tensor:
        o, u = self.options, draws.uniform('condition')
        rgb = (u < o.rgb_degraded).long() * int(Condition.RGB_DEGRADED)
        thermal = (u >= 1.0 - o.thermal_degraded).long() * int(Condition.THERMAL_DEGRADED)
        return rgb + thermal * (rgb == 0)

    def scenes(self, draws: Draws, condition: Tensor) -> dict[str, Scene]:
        """Lay out the scenes of `draws` (B) at the instants `template` and `search`."""
        o, c = self.options, self.crops
        code = codes(draws, o.similarity)
        zero = torch.zeros(len(draws), device=code.device)
        aspect = draws.normal('aspect', OCCLUDER + 1) * 0.25 - 0.1
        aspect[:, CLUTTER:TARGET] = (aspect[:, CLUTTER:TARGET] + aspect[:, TARGET, None]) * 0.5
        out = {}
        for name, size, factor in (('template', c.template_size, c.template_factor),
                                   ('search', c.search_size, c.search_factor)):
            searching = name == 'search'
            grown = draws.normal('grown') * (0.15 if searching else 0.0)
            turned = draws.normal(f'{name} turned', OCCLUDER + 1) * (0.06 if searching else 0.0)
            w, h = _sizes(draws, grown, aspect + turned)
            moved = draws.uniform('moved', 2, low=-1.5, high=1.5)
            tx, ty = (moved[:, 0], moved[:, 1]) if searching else (zero, zero)
            objects = self._objects(draws, name, code, w, h, tx, ty)
            k, sigma = (o.jitter, o.scale_jitter) if searching else (0.0, 0.0)
            view = window(draws, name, tx, ty, exp(grown), k, sigma, factor, size)
            bad = (condition if searching else
                   condition * draws.chance('template degraded', o.template_degraded))
            cameras = self._cameras(draws, name, bad, (tx, ty))
            heat = torch.where(bad == Condition.THERMAL_DEGRADED, o.crossover, 1.0)
            objects.heat[:, CLUTTER:OCCLUDER] = heat[:, None]
            box = view.box(tx, ty, w[:, TARGET], h[:, TARGET])
            out[name] = Scene(view, objects, cameras, box)
        return out

    def _objects(self, draws: Draws, name: str, code: Tensor, w: Tensor, h: Tensor, tx: Tensor,
                 ty: Tensor) -> Objects:
        """Put everything in its place around the target at (tx, ty)."""
        o = self.options
        # distractors beside the target, in no order; a template's are seen at its edge
        x, y = on_square(draws.uniform(f'{name} around', DISTRACTORS))
        reach = draws.uniform(f'{name} reach', DISTRACTORS, low=1.15, high=2.4)
        places = [draws.uniform('clutter x', CLUTTER, low=-4.0, high=4.0),
                  x * reach + tx[:, None], tx[:, None]]
        heights = [draws.uniform('clutter y', CLUTTER, low=-4.0, high=4.0),
                   y * reach + ty[:, None], ty[:, None]]
        # what is in front covers a fifth to a half of the target, from one of its sides
        side = draws.integers('occluder side', 4)
        cover = draws.uniform('occluder cover', low=0.2, high=0.5)
        sign = torch.where(side % 2 == 0, 1.0, -1.0)
        off_x = (w[:, TARGET] + w[:, OCCLUDER]) * 0.5 - cover * w[:, TARGET]
        off_y = (h[:, TARGET] + h[:, OCCLUDER]) * 0.5 - cover * h[:, TARGET]
        places.append((tx + sign * off_x * (side < 2))[:, None])
        heights.append((ty + sign * off_y * (side >= 2))[:, None])
        shown = torch.cat((draws.chance('clutter there', o.clutter, CLUTTER),
                           draws.chance('distractor there', o.distractors, DISTRACTORS),
                           torch.ones_like(tx[:, None], dtype=torch.bool),
                           draws.chance('occluder there', o.occlusion, 1)
                           & (name == 'search')), 1)
        return Objects(torch.cat(places, 1), torch.cat(heights, 1), w, h, code,
                       draws.chance('square', 0.5, OCCLUDER + 1), shown, torch.ones_like(w))

    def _cameras(self, draws: Draws, name: str, bad: Tensor,
                 target: tuple[Tensor, Tensor]) -> Cameras:
        o = self.options
        d = o.difficulty
        bright = draws.uniform(f'{name} light', 3, low=-1.0, high=1.0) * d
        noise = draws.uniform(f'{name} noise level', 2, low=2.0, high=6.0) * d
        gone = draws.chance('missing', o.missing)
        dark, cross = bad == Condition.RGB_DEGRADED, bad == Condition.THERMAL_DEGRADED
        gain = (bright[:, 0] * 0.2 + 1.0) * torch.where(dark, o.dark, 1.0)
        bounds = torch.tensor([-1e9, -1e9, 1e9, 1e9], device=bad.device).repeat(len(bad), 1)
        if name == 'search':
            side = draws.integers('edge side', 4)[:, None]
            near = draws.uniform('edge near', low=0.3, high=1.5)
            edges = torch.stack((target[0] - near, target[1] - near, target[0] + near,
                                 target[1] + near), 1)
            here = torch.arange(4, device=bad.device) == side
            bounds = torch.where(here & draws.chance('edge', o.edge, 1), edges, bounds)
        shift = None
        if o.registration_error:
            off = draws.uniform('registration', 2, low=-1.0, high=1.0) * o.registration_error
            shift = (off[:, 0], off[:, 1])
        return Cameras(
            gain, torch.zeros_like(gain), noise[:, 0] + torch.where(dark, 4.0, 0.0) * d,
            bright[:, 1] * 0.12 + 1.0, bright[:, 2] * 18.0, noise[:, 1],
            torch.where(dark & gone, 0.0, 1.0), torch.where(cross & gone, 0.0, 1.0), bounds, shift)


def _sizes(draws: Draws, grown: Tensor, aspect: Tensor) -> tuple[Tensor, Tensor]:
    """Return width and height (B, K) of a scene's objects; the target's area is e^(2 grown)."""
    size = draws.normal('size', OCCLUDER + 1)
    spread = torch.tensor([0.4] * CLUTTER + [0.12] * DISTRACTORS + [0.0, 0.25],
                          device=size.device)
    mean = torch.tensor([-0.3] * CLUTTER + [0.0] * (DISTRACTORS + 2), device=size.device)
    scale = size * spread + mean + grown[:, None]
    return exp(scale + aspect), exp(scale - aspect)
