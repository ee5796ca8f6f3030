"""Made-up RGB-thermal pictures without labels, and pairs of crops of them for CMD-TIR.

A picture holds several objects, none of which is the target, and nobody outside this module is
told where they are. A pseudo box (pseudo_boxes) says what is cut out: the same region in both
modalities, at the same instant, for the template and the search crop, which differ by jitter,
light and noise alone.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rgbt_tracker_ros.data.ieee import exp, sqrt
from rgbt_tracker_ros.data.jitter import window
from rgbt_tracker_ros.data.options import number, one_of
from rgbt_tracker_ros.data.pair_sources import Batch, RenderedSource
from rgbt_tracker_ros.data.pseudo_boxes import BOXES, SIDE, Detections, pseudo_boxes
from rgbt_tracker_ros.data.random import Draws
from rgbt_tracker_ros.data.render import Cameras, render
from rgbt_tracker_ros.data.render_objects import CODE, Objects, View

OBJECTS = 7
_WIDTH, _HEIGHT = 1.25 / SIDE, 1 / SIDE  # of a picture, 5:4, in units of a pseudo box's side
_PUBLISHED = 6.0  # crop factor that the published jitter is for


@dataclass(frozen=True, slots=True)
class UnlabelledOptions:
    """How regions are chosen and crops are varied.

    `generator`: of the pseudo boxes. The detector is emulated on the true boxes: each side and
    place off by `detector_noise` of the size (standard deviation), `detector_misses`: chance that
    an object is not found in one modality, `detector_duplicates`: chance that it is found twice.
    `objects`: chance that each of 7 is there; `similarity`: part of the code that three of them
    share with a fourth. `template_jitter`, `search_jitter`: DiMP's k, for crops of 6 times the
    box; for smaller crops it is reduced in proportion, so that the box stays in sight.
    `template_scale_jitter`, `search_scale_jitter`: sigma. `flip`: chance, both crops and both
    modalities alike. `brightness`: 0.2 is a factor of 0.8 to 1.2 of RGB and 0.88 to 1.12 of
    thermal for each crop; thermal's level is shifted, too, by up to 18 times `difficulty`. That
    and `registration_error`: as of scenes.
    """

    generator: str = one_of('detector', 'random', 'center')
    detector_noise: float = number(0.1, 0, 0.5)
    detector_misses: float = number(0.2, 0, 1)
    detector_duplicates: float = number(0.3, 0, 1)
    objects: float = number(0.75, 0, 1)
    similarity: float = number(0.5, 0, 1)
    template_jitter: float = number(3.0, 0, 6)
    search_jitter: float = number(5.5, 0, 6)
    template_scale_jitter: float = number(0.25, 0, 1)
    search_scale_jitter: float = number(0.5, 0, 1)
    flip: float = number(0.5, 0, 1)
    brightness: float = number(0.2, 0, 1)
    difficulty: float = number(1.0, 0, 3)
    registration_error: float = number(0.0, 0, 8)


class UnlabelledScenes(RenderedSource):
    """Pairs of crops of made-up pictures around pseudo boxes; see UnlabelledOptions."""

    Options = UnlabelledOptions
    kind = 'unlabelled_scenes'
    options: UnlabelledOptions

    def draw(self, index: Tensor) -> Batch:
        """Return samples by their numbers (B,) int64, on their device; boxes are pseudo boxes."""
        o, c = self.options, self.crops
        draws = Draws(self.seed, index)
        objects = self._objects(draws)
        box = self._region(draws, objects)
        x, y, w, h = box.unbind(1)
        cx, cy, scale = x + w * 0.5, y + h * 0.5, sqrt(w * h)
        one = torch.ones(len(index), device=index.device)
        flip = draws.chance('flip', o.flip)
        out: Batch = {'index': index, 'condition': torch.zeros_like(index), 'visible': one}
        for name, size, factor, k, sigma in (
                ('template', c.template_size, c.template_factor, o.template_jitter,
                 o.template_scale_jitter),
                ('search', c.search_size, c.search_factor, o.search_jitter,
                 o.search_scale_jitter)):
            view = window(draws, name, cx, cy, scale, k * factor / _PUBLISHED, sigma, factor, size)
            rgb, thermal = render(draws, view, objects, self._cameras(draws, name), name,
                                  contrast=o.difficulty)
            seen = view.box(cx, cy, w, h)
            out[f'{name}_rgb'] = _mirrored(rgb, flip)
            out[f'{name}_thermal'] = _mirrored(thermal, flip)
            seen[:, 0] = torch.where(flip, size - seen[:, 0] - seen[:, 2], seen[:, 0])
            out[f'{name}_box'] = seen
            out[f'{name}_present'] = torch.stack((one, one), 1)
        return out

    def pictures(self, indices: Sequence[int], device: str | torch.device = 'cpu',
                 height: int = 512) -> tuple[Tensor, Tensor]:
        """Return the whole pictures of these samples, 5:4: RGB (B, 3, H, W) and thermal
        (B, 1, H, W), uint8. No box is known of them.
        """
        index = torch.tensor(list(indices), dtype=torch.int64).to(device)
        draws = Draws(self.seed, index)
        zero = torch.zeros(len(index), device=index.device)
        view = View(zero, zero, zero + _HEIGHT / height, round(height * 1.25), height, _WIDTH)
        return render(draws, view, self._objects(draws), self._cameras(draws, 'picture'),
                      'picture', contrast=self.options.difficulty)

    def pseudo_boxes(self, indices: Sequence[int],
                     device: str | torch.device = 'cpu') -> Tensor:
        """Return all pseudo boxes of these samples, (B, 5, 4) x, y, w, h in parts of the
        picture's height.
        """
        index = torch.tensor(list(indices), dtype=torch.int64).to(device)
        draws = Draws(self.seed, index)
        return self._pseudo(draws, self._objects(draws)) * SIDE

    def _objects(self, draws: Draws) -> Objects:
        o = self.options
        code = draws.uniform('codes', OBJECTS, CODE)
        code[:, :3] = code[:, :3] * (1.0 - o.similarity) + code[:, 3:4] * o.similarity
        scale, aspect = draws.normal('size', OBJECTS) * 0.15, draws.normal('aspect', OBJECTS)
        aspect = aspect * 0.25 - 0.1
        return Objects(draws.uniform('x', OBJECTS, low=0.5, high=_WIDTH - 0.5),
                       draws.uniform('y', OBJECTS, low=0.5, high=_HEIGHT - 0.5),
                       exp(scale + aspect), exp(scale - aspect), code,
                       draws.chance('square', 0.5, OBJECTS),
                       draws.chance('there', o.objects, OBJECTS), torch.ones_like(scale))

    def _region(self, draws: Draws, objects: Objects) -> Tensor:
        boxes = self._pseudo(draws, objects)
        number_ = draws.integers('which box', BOXES)[:, None, None].expand(-1, 1, 4)
        return boxes.gather(1, number_)[:, 0]

    def _pseudo(self, draws: Draws, objects: Objects) -> Tensor:
        size = torch.tensor([_WIDTH, _HEIGHT], device=draws.index.device).repeat(len(draws), 1)
        found = self._detect(draws, objects) if self.options.generator == 'detector' else None
        return pseudo_boxes(self.options.generator, draws, size, found)

    def _detect(self, draws: Draws, objects: Objects) -> Detections:
        """Emulate detectors that look at both modalities: the only use of the true boxes."""
        o = self.options
        shape = (2, 2, OBJECTS)  # modality, first or duplicate, object
        off = draws.normal('detector off', 4, *shape) * o.detector_noise
        w = (objects.w[:, None, None] * exp(off[:, 2]))
        h = (objects.h[:, None, None] * exp(off[:, 3]))
        cx = objects.cx[:, None, None] + objects.w[:, None, None] * off[:, 0]
        cy = objects.cy[:, None, None] + objects.h[:, None, None] * off[:, 1]
        there = objects.shown[:, None, None] \
            & ~draws.chance('missed', o.detector_misses, 2, 1, OBJECTS)
        again = draws.chance('duplicate', o.detector_duplicates, 2, 1, OBJECTS)
        there = torch.cat((there, there & again), 2)
        person = (objects.h > objects.w)[:, None, None].expand(-1, 2, 2, -1)
        boxes = torch.stack((cx - w * 0.5, cy - h * 0.5, w, h), -1)
        score = draws.uniform('score', *shape, low=0.3)
        return Detections(boxes.flatten(1, 3), score.flatten(1), person.flatten(1),
                          there.flatten(1))

    def _cameras(self, draws: Draws, name: str) -> Cameras:
        o = self.options
        b = len(draws)
        light = draws.uniform(f'{name} light', 3, low=-1.0, high=1.0)
        noise = draws.uniform(f'{name} noise level', 2, low=2.0, high=6.0) * o.difficulty
        one = torch.ones(b, device=light.device)
        bounds = torch.tensor([0.0, 0.0, _WIDTH, _HEIGHT], device=light.device).repeat(b, 1)
        shift = None
        if o.registration_error:
            # the cameras do not move between two crops of one instant
            off = draws.uniform('registration', 2, low=-1.0, high=1.0) * o.registration_error
            shift = (off[:, 0], off[:, 1])
        return Cameras(light[:, 0] * o.brightness + 1.0, one * 0.0, noise[:, 0],
                       light[:, 1] * (0.6 * o.brightness) + 1.0,
                       light[:, 2] * (18.0 * o.difficulty), noise[:, 1], one, one, bounds, shift)


def _mirrored(image: Tensor, flip: Tensor) -> Tensor:
    return torch.where(flip[:, None, None, None], image.flip(3), image)
