"""Made-up scenes with all that goes wrong in the field, as small as cameras show their targets.

As `scene_pairs`, and beyond it: crops are drawn with as many pixels as a camera of the field has
on such a target, and brought to the network's size as the tracker does; thermal lies off RGB;
smoke, inverted polarity, pale colours, coarse and fine grounds; others cross the target's path,
look like it, cover all of it; a camera sends nothing; the target is not there.

Deterministic per seed and sample, but not to the last bit between devices: the resampling is not.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
import torch.nn.functional as F

from rgbt_tracker_ros.data.options import OptionError
from rgbt_tracker_ros.data.pair_sources import Batch, CropSizes, PairSource
from rgbt_tracker_ros.data.varied_options import VariedOptions
from rgbt_tracker_ros.data.varied_render import VariedRenderer

TARGETS = (9.0, 11.0, 14.0, 18.0, 24.0, 32.0, 40.0, 48.0)
"""sqrt(w h) of the targets in the image, px; each as often as the others."""
BLOCK = 4
"""Samples in a row with targets of one size."""
AHEAD = 8192
"""Samples drawn at a time on a GPU, which takes about as long for many as for few."""


class VariedScenes(PairSource):
    """Pairs of crops of made-up scenes; see VariedOptions."""

    Options = VariedOptions
    kind = 'varied_scenes'
    on_device = True
    options: VariedOptions

    def __init__(self, seed: int, crops: CropSizes, stream: int = 0, **options: Any) -> None:
        """Check the options. `stream`: another one has other samples for every seed.

        :raises OptionError: if an option is unknown or can't be used.
        """
        super().__init__(seed, crops, **options)
        if self.options.missing:
            raise OptionError(f'varied_scenes: missing is {self.options.missing:g}, which would '
                              'do nothing here; use lost')
        if self.options.absent + self.options.hidden > 1:
            raise OptionError(f'varied_scenes: absent {self.options.absent:g} and hidden '
                              f'{self.options.hidden:g} add up to more than 1')
        self.stream = stream
        self._renderers = {t: VariedRenderer(seed, _seen(crops, t), stream, self.options)
                           for t in TARGETS}

    def batch(self, indices: Sequence[int], device: str | torch.device = 'cpu') -> Batch:
        """Return the samples of these numbers (0 or more) as one batch on `device`."""
        by_size: dict[float, list[int]] = {}
        for at, i in enumerate(indices):
            by_size.setdefault(TARGETS[int(i) // BLOCK % len(TARGETS)], []).append(at)
        parts = [self._enlarged(self._renderers[t].batch([indices[k] for k in places], device))
                 for t, places in (by_size or {TARGETS[0]: []}).items()]
        # drawn size by size: back in the order that was asked for
        order = torch.tensor([k for places in by_size.values() for k in places],
                             dtype=torch.int64).argsort().to(device)
        return {k: torch.cat([p[k] for p in parts])[order] for k in parts[0]}

    def iterate(self, index_batches: Iterable[Sequence[int]], device: str | torch.device = 'cpu',
                workers: int = 0) -> Iterator[Batch]:
        """Yield a batch for each list of sample numbers, in their order; see PairSource."""
        if torch.device(device).type == 'cpu':
            yield from super().iterate(index_batches, device, workers)
            return
        waiting: list[Sequence[int]] = []
        for indices in index_batches:
            waiting.append(indices)
            if sum(map(len, waiting)) >= AHEAD:
                yield from self._many(waiting, device)
                waiting = []
        yield from self._many(waiting, device)

    def _many(self, lists: list[Sequence[int]], device: str | torch.device) -> Iterator[Batch]:
        """Draw several batches at once, then hand them out."""
        drawn = self.batch([i for indices in lists for i in indices], device)
        start = 0
        for indices in lists:
            yield {k: v[start:start + len(indices)] for k, v in drawn.items()}
            start += len(indices)

    def _enlarged(self, batch: Batch) -> Batch:
        """Bring crops and boxes to the network's sizes."""
        out = dict(batch)
        for name, size in (('template', self.crops.template_size),
                           ('search', self.crops.search_size)):
            small = batch[f'{name}_rgb'].shape[-1]
            if small == size:
                continue
            for modality in ('rgb', 'thermal'):
                out[f'{name}_{modality}'] = _resized(batch[f'{name}_{modality}'], size)
            out[f'{name}_box'] = batch[f'{name}_box'] * (size / small)
        return out


def _seen(crops: CropSizes, target: float) -> CropSizes:
    """Return the crops with as many pixels as the image has there, none larger than they are."""
    return replace(crops, **{f'{n}_size': min(
        max(round(target * getattr(crops, f'{n}_factor')), 8), getattr(crops, f'{n}_size'))
        for n in ('template', 'search')})


def _resized(image: Tensor, size: int) -> Tensor:
    if not len(image):
        return image.new_zeros(0, image.shape[1], size, size)
    return F.interpolate(image.float(), size=(size, size), mode='bilinear',
                         align_corners=False).add_(0.5).to(torch.uint8)
