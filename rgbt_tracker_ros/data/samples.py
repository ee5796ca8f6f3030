"""Training samples: a template crop, a search crop, and where the target is in it.

Sample `i` of a seed is the same on every machine and in every process, so that a run can be
stopped anywhere and resumed.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch.utils.data import Dataset

from rgbt_tracker_ros.data import degrade, objects
from rgbt_tracker_ros.data.objects import Patch, Rng
from rgbt_tracker_ros.data.training_set import Clip, Track, box_at
from rgbt_tracker_ros.tracking.geometry import Crop
from rgbt_tracker_ros.types import Box

_OFF, _FAR = 0.2, 20.0
"""Share of the samples whose thermal image lies off RGB, and how far at most, px of the crop."""


@dataclass(slots=True)
class View:
    """One crop in both modalities: `rgb` (n, n, 3), `thermal` (n, n), uint8, which of the two are
    `present`, and the target's `box` in crop px.
    """

    rgb: NDArray[np.uint8]
    thermal: NDArray[np.uint8]
    box: Box
    present: tuple[float, float] = (1.0, 1.0)
    inside: tuple[slice, slice] = (slice(None), slice(None))  # the part that shows the image


@dataclass(frozen=True, slots=True)
class SampleConfig:
    """Sizes of the crops (those of the network), and how often what is drawn."""

    template_size: int = 96
    search_size: int = 192
    template_factor: float = 2.0
    search_factor: float = 4.0
    max_gap: int = 60           # frames of a clip between template and search
    synthetic: float = 0.25     # share of made-up targets on real or made-up backgrounds
    absent: float = 0.08        # share of search crops without the target


class Samples(Dataset[dict[str, torch.Tensor]]):
    """`count` samples of `seed`, drawn from `clips`, or from made-up scenes alone without any."""

    def __init__(self, clips: list[Clip], count: int, seed: int,
                 config: SampleConfig | None = None) -> None:
        self.clips = clips
        self.count = count
        self.seed = seed
        self.config = config or SampleConfig()
        self.tracked = [c for c in clips if c.tracks]
        # video of people says most; every clip counts, but not by its length alone
        weights = np.array([_weight(c) for c in self.tracked])
        self.weights = weights / weights.sum() if len(weights) else weights
        self.cutouts = [(c, t) for c in self.tracked for t in c.tracks if t.masks is not None]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.seed, index))
        template, search = self.views(rng)
        absent = rng.random() < self.config.absent
        if absent:  # the template of another object
            template, _ = self.views(rng)
        crops = {}
        for name, view in (('template', template), ('search', search)):
            crops[f'{name}_rgb'] = torch.from_numpy(
                np.ascontiguousarray(view.rgb.transpose(2, 0, 1)))
            crops[f'{name}_thermal'] = torch.from_numpy(np.ascontiguousarray(view.thermal)[None])
            crops[f'{name}_present'] = torch.tensor(view.present)
            crops[f'{name}_box'] = torch.tensor(view.box.as_tuple())
        crops['visible'] = torch.tensor(0.0 if absent else 1.0)
        return crops

    def views(self, rng: Rng) -> tuple[View, View]:
        """Draw a template and a search view of one object, as two cameras would give them."""
        if not self.tracked or rng.random() < self.config.synthetic:
            views = self._made_up(rng)
        else:
            views = self._real(rng)
        self._distract(rng, views[1], rng.poisson(0.7))
        self._occlude(rng, views[1])
        _degrade(rng, *views)
        for view in views:
            _blacken(view)
        if rng.random() < 0.5:
            for view in views:
                _flip(view)
        return views

    def _windows(self, rng: Rng, first: Box, second: Box) -> tuple[Crop, Crop]:
        """Place the template's crop on `first`, the search crop about where `second` was."""
        c = self.config
        shift = rng.normal(0, 0.04, 2) * np.sqrt(first.area)
        x, y = first.center
        template = Crop.around(_resized(first, np.exp(rng.normal(0, 0.05, 2))),
                               c.template_factor, c.template_size, (x + shift[0], y + shift[1]))
        reach = rng.normal(0, 0.3, 2) if rng.random() < 0.6 else rng.uniform(-1.5, 1.5, 2)
        guess = _resized(second, np.exp(np.clip(rng.normal(0, 0.2), -0.5, 0.5)
                                        + rng.normal(0, 0.08, 2)))
        side = np.sqrt(guess.area)
        x, y = second.center
        search = Crop.around(guess, c.search_factor, c.search_size,
                             (x + reach[0] * side, y + reach[1] * side))
        return template, search

    def _real(self, rng: Rng) -> tuple[View, View]:
        clip = self.tracked[rng.choice(len(self.tracked), p=self.weights)]
        lengths = np.array([len(t.frames) for t in clip.tracks], dtype=np.float64) ** 0.5
        track = clip.tracks[rng.choice(len(lengths), p=lengths / lengths.sum())]
        a = int(rng.integers(len(track.frames)))
        near = np.flatnonzero(np.abs(track.frames - track.frames[a]) <= self.config.max_gap)
        b = int(rng.choice(near))
        windows = self._windows(rng, box_at(track, a), box_at(track, b))
        seed = int(rng.integers(2 ** 31))
        views = []
        for window, i in zip(windows, (a, b), strict=True):
            frame = int(track.frames[i])
            thermal = window.cut(np.asarray(clip.thermal[frame]))
            box = window.to_crop(box_at(track, i))
            inside = _inside(window, *clip.thermal.shape[1:])
            if clip.rgb is not None:
                rgb = window.cut(np.asarray(clip.rgb[frame]))
            else:
                # the same seed: both views get the same colours
                rgb = degrade.coloured(np.random.default_rng(seed), thermal)
                if track.masks is not None:
                    patch = self._cutout(clip, track, i, seed)
                    blank = np.zeros_like(thermal)
                    objects.paste(rgb, blank, patch, box.as_tuple())
            views.append(View(rgb, thermal, box, inside=inside))
        if clip.rgb is None and len(track.frames) == 1:
            _shake(rng, views[1])
        return views[0], views[1]

    def _cutout(self, clip: Clip, track: Track, i: int, seed: int) -> Patch:
        x, y, w, h = (int(v) for v in track.boxes[i])
        frame = int(track.frames[i])
        area = (slice(y, y + h), slice(x, x + w))
        size = (objects.SIDE, objects.SIDE)
        thermal = cv2.resize(np.asarray(clip.thermal[frame][area]), size)
        rgb = None if clip.rgb is None else cv2.resize(np.asarray(clip.rgb[frame][area]), size)
        assert track.masks is not None
        return objects.clothed(thermal, track.masks[i], w / h, seed, rgb)

    def _any_cutout(self, rng: Rng) -> tuple[Patch, Patch]:
        """Return two moments of one person, in the same clothes."""
        clip, track = self.cutouts[rng.integers(len(self.cutouts))]
        seed = int(rng.integers(2 ** 31))
        a, b = (int(v) for v in rng.integers(len(track.frames), size=2))
        return self._cutout(clip, track, a, seed), self._cutout(clip, track, b, seed)

    def _pair_of_patches(self, rng: Rng) -> tuple[Patch, Patch]:
        if self.cutouts and rng.random() < 0.5:
            return self._any_cutout(rng)
        patch = objects.made_up(rng)
        return patch, patch

    def _backdrop(self, rng: Rng, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return an RGB and a thermal background crop."""
        if not self.clips or rng.random() < 0.3:
            rgb = objects.texture(rng, size, 3)
            thermal = objects.texture(rng, size, 1)[..., 0]
            thermal = cv2.GaussianBlur(thermal, (0, 0), rng.uniform(1, 4))
            return rgb, (thermal * np.float32(rng.uniform(0.1, 0.7))).astype(np.uint8)
        clip = self.clips[rng.integers(len(self.clips))]
        frame = int(rng.integers(len(clip.thermal)))
        height, width = clip.thermal.shape[1:]
        side = float(np.exp(rng.uniform(np.log(60), np.log(min(height, 480)))))
        window = Crop(rng.uniform(0, max(width - side, 1)), rng.uniform(0, max(height - side, 1)),
                      side, size)
        thermal = window.cut(np.asarray(clip.thermal[frame]))
        rgb = (window.cut(np.asarray(clip.rgb[frame])) if clip.rgb is not None
               else degrade.coloured(rng, thermal))
        return rgb, thermal

    def _made_up(self, rng: Rng) -> tuple[View, View]:
        """Draw one object on a background: the same scene for both views, seen a moment apart."""
        c = self.config
        patches = self._pair_of_patches(rng)
        rgb, thermal = self._backdrop(rng, c.search_size)
        unit = c.search_size / c.search_factor  # sqrt(w * h) of the target in a crop
        views = []
        for patch, size, reach in zip(patches, (c.template_size, c.search_size),
                                      (0.04, 1.4), strict=True):
            scale = np.exp(rng.normal(0, 0.05 if size == c.template_size else 0.2))
            aspect = patch.aspect * np.exp(rng.normal(0, 0.05))
            w, h = unit * scale * np.sqrt(aspect), unit * scale / np.sqrt(aspect)
            w, h = min(w, 3 * unit), min(h, 3 * unit)
            cx, cy = size / 2 + rng.uniform(-reach, reach, 2) * unit
            start = (int(rng.integers(c.search_size - size + 1)),
                     int(rng.integers(c.search_size - size + 1)))
            area = (slice(start[1], start[1] + size), slice(start[0], start[0] + size))
            view = View(rgb[area].copy(), thermal[area].copy(), Box.from_center(cx, cy, w, h))
            objects.paste(view.rgb, view.thermal, patch, view.box.as_tuple())
            views.append(view)
        return views[0], views[1]

    def _distract(self, rng: Rng, view: View, count: int) -> None:
        """Put other objects of a similar size beside the target, at most grazing it."""
        size = view.rgb.shape[0]
        for _ in range(count):
            patch = self._pair_of_patches(rng)[0]
            h = view.box.h * float(np.exp(rng.normal(0, 0.15)))
            w = min(h * patch.aspect, float(size))
            for _ in range(8):
                box = Box.from_center(rng.uniform(0, size), rng.uniform(0, size), w, h)
                if box.iou(view.box) < 0.12:
                    objects.paste(view.rgb, view.thermal, patch, box.as_tuple(),
                                  flip=bool(rng.random() < 0.5))
                    break

    def _occlude(self, rng: Rng, view: View) -> None:
        """Cover part of the target now and then."""
        if rng.random() > 0.25:
            return
        patch = self._pair_of_patches(rng)[0]
        box = view.box
        h = box.h * rng.uniform(0.4, 1.1)
        w = max(h * patch.aspect, 2.0)
        side = rng.choice([-1, 1])
        cover = rng.uniform(0.1, 0.6) * box.w
        cx = box.center[0] + side * (box.w / 2 + w / 2 - cover)
        cy = box.y + box.h - h / 2 + rng.normal(0, 0.1) * box.h
        objects.paste(view.rgb, view.thermal, patch,
                      Box.from_center(cx, cy, w, h).as_tuple(), flip=bool(rng.random() < 0.5))


def _weight(clip: Clip) -> float:
    boxes = sum(len(t.frames) for t in clip.tracks)
    paired = 3.0 if clip.rgb is not None else 1.0
    drone = 0.25 if clip.name.startswith('drone_ir') else 1.0
    return float(boxes) ** 0.5 * paired * drone


def _resized(box: Box, factor: NDArray[np.float64]) -> Box:
    fx, fy = (float(factor[0]), float(factor[-1]))
    return Box.from_center(*box.center, box.w * fx, box.h * fy)


def _inside(window: Crop, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a crop that lie inside the image."""
    s, n = window.scale, window.size
    top, left = -window.y0 * s, -window.x0 * s
    return (slice(*(int(np.clip(round(v), 0, n)) for v in (top, top + height * s))),
            slice(*(int(np.clip(round(v), 0, n)) for v in (left, left + width * s))))


def _blacken(view: View) -> None:
    """Set to 0 what lies outside the image, as the tracker's crops have it."""
    for image in (view.rgb, view.thermal):
        kept = image[view.inside].copy()
        image[:] = 0
        image[view.inside] = kept


def _flip(view: View) -> None:
    size = view.rgb.shape[0]
    view.rgb, view.thermal = view.rgb[:, ::-1].copy(), view.thermal[:, ::-1].copy()
    view.box = Box(size - view.box.x - view.box.w, view.box.y, view.box.w, view.box.h)


def _shake(rng: Rng, view: View) -> None:
    """Turn a view a little: a still image has no second moment."""
    size = view.rgb.shape[0]
    m = cv2.getRotationMatrix2D(view.box.center, float(rng.normal(0, 5)), 1.0)
    view.rgb = cv2.warpAffine(view.rgb, m, (size, size))
    view.thermal = cv2.warpAffine(view.thermal, m, (size, size))


def _degrade(rng: Rng, template: View, search: View) -> None:
    """Spoil at most one modality badly, both a little; drop one now and then."""
    both = (template, search)
    if rng.random() < 0.15:  # black-hot
        for view in both:
            view.thermal = 255 - view.thermal
    for view in both:
        view.rgb = degrade.jitter(rng, view.rgb)
        view.thermal = degrade.jitter(rng, view.thermal)
        if rng.random() < 0.2:
            view.rgb = degrade.noisy(rng, view.rgb, rng.uniform(1, 8))
        if rng.random() < 0.2:
            view.thermal = degrade.noisy(rng, view.thermal, rng.uniform(1, 6))
        if rng.random() < 0.15:
            view.rgb = degrade.blurred(rng, view.rgb)
        if rng.random() < 0.15:
            view.thermal = degrade.blurred(rng, view.thermal)
    if rng.random() < _OFF:  # thermal lies off RGB, by as much in both
        x, y = rng.uniform(-_FAR, _FAR, 2)
        move = np.array([[1, 0, x], [0, 1, y]])
        for view in both:
            view.thermal = cv2.warpAffine(view.thermal, move, view.thermal.shape[:2],
                                          borderMode=cv2.BORDER_REPLICATE)
    view = search
    if rng.random() < 0.5:  # the cameras are a hand's breadth apart
        m = np.array([[1, 0, rng.normal(0, 2.5)], [0, 1, rng.normal(0, 1.5)]])
        view.rgb = cv2.warpAffine(view.rgb, m, view.rgb.shape[:2],
                                  borderMode=cv2.BORDER_REPLICATE)
    event = rng.random()
    # the camera was bad all along, has just failed, or has just recovered
    spoiled = (both, (search,), (template,))[rng.choice(3, p=(0.5, 0.4, 0.1))]
    if event < 0.16:
        density = rng.uniform(0.4, 1.1)
        for view in spoiled:
            view.rgb = degrade.smoke(rng, view.rgb, density)
    elif event < 0.28:
        for view in spoiled:
            view.rgb = degrade.dark(rng, view.rgb)
    elif event < 0.42:
        for view in spoiled:
            view.rgb = np.zeros_like(view.rgb)
            view.present = (0.0, 1.0)
    elif event < 0.52:
        for view in spoiled:
            view.thermal = np.zeros_like(view.thermal)
            view.present = (1.0, 0.0)
    elif event < 0.60:
        for view in spoiled:
            view.thermal = degrade.low_contrast(rng, view.thermal)
