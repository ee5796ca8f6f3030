"""Pairs of frames of labelled videos: what LasHeR and the other data sets are trained with.

Sampling and augmentation of OSTrack (Ye et al., 2022), with every draw made once for both
modalities, and crops that are the tracker's own.
"""
from __future__ import annotations

from collections.abc import Sequence as Numbers
from dataclasses import dataclass, field
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from rgbt_tracker_ros.data.crops import collate, cut, inside_major, shows_image
from rgbt_tracker_ros.data.jitter import CropView, jittered
from rgbt_tracker_ros.data.layouts import ROOTLESS, open_layout
from rgbt_tracker_ros.data.options import OptionError, number, one_of
from rgbt_tracker_ros.data.pair_sources import Batch, CropSizes, PairSource
from rgbt_tracker_ros.data.sequence import Dataset, Sequence, shorten
from rgbt_tracker_ros.tracking.geometry import Crop
from rgbt_tracker_ros.types import Box

_log = logging.getLogger(__name__)
_LEAST_FRAMES, _LEAST_VISIBLE = 20, 5
_ASIDE = 20  # one sequence in so many
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """Where the videos are, and how they are sampled.

    `layout`, `root`: as `open_layout` takes them, with `layout_options`; or several in `datasets`:
    each a mapping with layout, root, and perhaps layout_options and ratio (how often it is drawn,
    1). `sequences`: names, if not all, of whichever data set has them. `part`: of these every
    twentieth is kept aside (of fewer, the last): `train` has the others, `aside` them alone.
    `max_gap`: frames from template to search, at most. `template_jitter`, `search_jitter`: k;
    `template_scale_jitter`, `search_scale_jitter`: sigma; see jitter.window. `border`: 'constant'
    (black) or 'inside_major'. `grayscale`, `flip` (both crops), `view_flip` (each crop): chances.
    `brightness`: 0.2 is a factor of 0.8 to 1.2.
    """

    layout: str = ''
    root: str = ''
    layout_options: dict[str, Any] = field(default_factory=dict)
    datasets: tuple[Any, ...] = ()
    sequences: tuple[str, ...] = ()
    part: str = one_of('all', 'train', 'aside')
    max_gap: int = number(200, 1)
    template_jitter: float = number(0.0)
    search_jitter: float = number(3.0)
    template_scale_jitter: float = number(0.0, 0, 2)
    search_scale_jitter: float = number(0.25, 0, 2)
    border: str = one_of('constant', 'inside_major')
    grayscale: float = number(0.05, 0, 1)
    flip: float = number(0.5, 0, 1)
    view_flip: float = number(0.5, 0, 1)
    brightness: float = number(0.2, 0, 1)


_DATASET_KEYS = ('layout', 'root', 'layout_options', 'ratio')


def open_sequences(kind: str, layout: str, root: str, layout_options: dict[str, Any],
                   names: Numbers[str]) -> list[Sequence]:
    """Open the sequences of a data set; no image is read. Warn of those that its list has and the
    disk has not.

    :param names: which; all if empty.
    :raises OptionError: if layout or root is missing, or there is no sequence of that name.
    :raises LayoutError: if the data on the disk is not as it should be.
    """
    return _named(kind, [_dataset(kind, layout, root, layout_options, bool(names))], names)[0]


def _dataset(kind: str, layout: str, root: str, layout_options: dict[str, Any],
             named: bool) -> Dataset:
    for key, value in (('layout', layout), ('root', root)):
        if not value and not (key == 'root' and layout in ROOTLESS):
            raise OptionError(f'{kind}: option {key!r} must be given')
    dataset = open_layout(layout, root, **layout_options)
    if dataset.missing and not named:
        _log.warning('%s: %d of the %d sequences of the official list are not there: %s%s', root,
                     len(dataset.missing), len(dataset.missing) + len(dataset.sequence_names),
                     ', '.join(dataset.missing[:3]), ', ...' if dataset.missing[3:] else '')
    return dataset


def _named(kind: str, datasets: Numbers[Dataset], names: Numbers[str]) -> list[list[Sequence]]:
    """Open of each data set the sequences that are named: each name must be in one or more."""
    unknown = sorted(set(names).difference(*(d.sequence_names for d in datasets)))
    if unknown:
        places = ' or '.join(str(d.root) for d in datasets)
        raise OptionError(f'{kind}: sequences: {places} has no {", ".join(unknown)}; it has '
                          f'{sum(map(len, datasets))} others')
    found = [[d[name] for name in (names or d.sequence_names) if name in d] for d in datasets]
    for dataset, sequences in zip(datasets, found, strict=True):
        if names and not sequences:
            raise OptionError(f'{kind}: datasets: {dataset.root} has none of the sequences '
                              f'{shorten(tuple(names))}; leave it out')
    return found


def part_of(sequences: list[Sequence], part: str) -> list[Sequence]:
    """Return the sequences of a part: see VideoOptions.

    :raises OptionError: one sequence alone can't be divided.
    """
    if part == 'all':
        return sequences
    if len(sequences) < 2:
        raise OptionError(f'videos: part is {part!r}, but there is only the sequence '
                          f'{sequences[0].name!r}; use all')
    aside = sequences[_ASIDE - 1::_ASIDE] or sequences[-1:]
    if part == 'aside':
        return aside
    names = {s.name for s in aside}
    return [s for s in sequences if s.name not in names]


@dataclass(frozen=True, slots=True, eq=False)
class _Clip:
    """A sequence, and the frames in which its target is seen, with the boxes."""

    sequence: Sequence
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]


def _clip(sequence: Sequence) -> _Clip:
    truth = sequence.truth
    seen = np.flatnonzero(np.isfinite(truth).all(axis=1))
    return _Clip(sequence, sequence.annotated[seen], truth[seen])


class VideoPairs(PairSource):
    """Template and search crops of two frames of one video; see VideoOptions."""

    Options = VideoOptions
    kind = 'videos'
    options: VideoOptions

    def __init__(self, seed: int, crops: CropSizes, opened: list[Sequence] | None = None,
                 **options: Any) -> None:
        """Open the data sets, or take sequences that were `opened` already.

        Sequences of fewer than 20 frames, or with the target in fewer than 5, are left out.

        :raises OptionError: if an option is wrong or no sequence is long enough.
        :raises LayoutError: if the data on the disk is not as it should be.
        """
        super().__init__(seed, crops, **options)
        groups = self._open() if opened is None else [(1.0, opened)]
        self.groups: list[list[_Clip]] = []
        ratios = []
        for ratio, group in groups:
            clips = [c for c in map(_clip, group)
                     if len(c.sequence) >= _LEAST_FRAMES and len(c.frames) >= _LEAST_VISIBLE]
            if not clips:
                raise OptionError(f'videos: none of {len(group)} sequences has {_LEAST_FRAMES} '
                                  f'frames with the target in {_LEAST_VISIBLE} or more')
            self.groups.append(clips)
            ratios.append(ratio)
        self._ratios = np.array(ratios) / sum(ratios)

    def _open(self) -> list[tuple[float, list[Sequence]]]:
        o = self.options
        datasets = list(o.datasets) or [
            {'layout': o.layout, 'root': o.root, 'layout_options': o.layout_options}]
        ratios, opened = [], []
        for entry in datasets:
            if not isinstance(entry, dict) or not set(entry) <= set(_DATASET_KEYS):
                raise OptionError(f'videos: datasets: {entry!r} must be a mapping of '
                                  f'{", ".join(_DATASET_KEYS)}')
            ratio = entry.get('ratio', 1.0)
            if not isinstance(ratio, int | float) or not ratio > 0:
                raise OptionError(f'videos: datasets: ratio is {ratio!r}, it must be above 0')
            ratios.append(float(ratio))
            opened.append(_dataset(self.kind, entry.get('layout', ''), entry.get('root', ''),
                                   entry.get('layout_options', {}), bool(o.sequences)))
        return [(ratio, part_of(group, o.part)) for ratio, group in zip(
            ratios, _named(self.kind, opened, o.sequences), strict=True)]

    def batch(self, indices: Numbers[int], device: str | torch.device = 'cpu') -> Batch:
        """Return the samples of these numbers (0 or more) as one batch on `device`.

        :raises LayoutError: if an image can't be decoded.
        """
        return collate(indices, [self.sample(int(i)) for i in indices], self.crops, device)

    def frames(self, rng: np.random.Generator) -> tuple[_Clip, int, int]:
        """Draw a clip and two of its visible frames: the search frame comes after the template's,
        by `max_gap` at most; where there is none, the gap is widened by 5 until there is.
        """
        clips = self.groups[rng.choice(len(self.groups), p=self._ratios)]
        clip = clips[rng.integers(len(clips))]
        base = int(rng.integers(len(clip.frames) - 1))
        later = clip.frames[base + 1:]
        gap = self.options.max_gap
        while not (near := np.flatnonzero(later <= clip.frames[base] + gap)).size:
            gap += 5
        return clip, base, base + 1 + int(rng.choice(near))

    def sample(self, index: int) -> tuple[CropView, CropView]:
        """Return the template and the search view of sample `index`.

        :raises OptionError: if the boxes lie outside their images time after time.
        """
        o, c = self.options, self.crops
        rng = np.random.default_rng((self.seed, index))
        clip = None
        for _ in range(_ATTEMPTS):
            clip, *numbers = self.frames(rng)
            drawn = []
            for number_, size, factor, k, sigma in (
                    (numbers[0], c.template_size, c.template_factor,
                     o.template_jitter, o.template_scale_jitter),
                    (numbers[1], c.search_size, c.search_factor,
                     o.search_jitter, o.search_scale_jitter)):
                pair = clip.sequence.pair(int(clip.frames[number_]))
                box = Box(*map(float, clip.boxes[number_]))
                crop = Crop.around(jittered(rng, box, k, sigma), factor, size)
                if o.border == 'inside_major':
                    crop = inside_major(crop, *pair.size)
                if not shows_image(crop, *pair.size):
                    break
                drawn.append((pair, crop, box))
            else:
                views = [cut(*d) for d in drawn]
                self._augment(rng, views)
                return views[0], views[1]
        assert clip is not None
        raise OptionError(f'videos: {_ATTEMPTS} draws in a row gave crops outside the images, '
                          f'the last from {clip.sequence.name}; are its boxes in px of its RGB '
                          'images?')

    def _augment(self, rng: np.random.Generator, views: list[CropView]) -> None:
        o = self.options
        gray, flip = rng.random() < o.grayscale, rng.random() < o.flip
        for view in views:
            if gray:
                view.to_gray()
            if flip != (rng.random() < o.view_flip):
                view.flip()
            view.brighten(rng.uniform(1 - o.brightness, 1 + o.brightness))
