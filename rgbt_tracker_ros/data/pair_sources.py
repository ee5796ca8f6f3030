"""What the trainer feeds on: sources of template and search pairs, by name.

    source = build_source('scenes', seed=3, crops=CropSizes(32, 64), rgb_degraded=0.25)
    for batch in source.iterate(index_batches, device, workers=1):
        ...

A batch is a dict of tensors on the training device:

- `template_rgb`, `search_rgb` (B, 3, n, n), `template_thermal`, `search_thermal` (B, 1, n, n):
  uint8, or float32 in [0, 1];
- `template_box`, `search_box` (B, 4) float32: x, y, w, h in px of the crop, not cut at its edges;
- `template_present`, `search_present` (B, 2) float32: 1 where RGB, thermal are there;
- `index` (B,) int64: sample numbers; `condition` (B,) int64: see Condition;
- `visible` (B,) float32: 1 where the target is in the search crop.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rgbt_tracker_ros.data.options import OptionError, parse

Batch = dict[str, Tensor]


class Condition(IntEnum):
    """What is wrong with the cameras in a sample; never both at once."""

    CLEAN = 0
    RGB_DEGRADED = 1
    THERMAL_DEGRADED = 2


@dataclass(frozen=True, slots=True)
class CropSizes:
    """Crops of a network: px of the square crops, and their side over sqrt(w h) of the box."""

    template_size: int = 128
    search_size: int = 256
    template_factor: float = 2.0
    search_factor: float = 4.0

    def __post_init__(self) -> None:
        for name in ('template_size', 'search_size'):
            if getattr(self, name) < 8:
                raise OptionError(f'crops: {name} is {getattr(self, name)!r}; it must be 8 px '
                                  'or more')
        for name in ('template_factor', 'search_factor'):
            if not 1 <= getattr(self, name) <= 16:
                raise OptionError(f'crops: {name} is {getattr(self, name)!r}; it must be from 1 '
                                  'to 16')


class PairSource(ABC):
    """Samples by number: sample i of a seed is the same in every process and every grouping.

    A subclass names its `Options`, a dataclass, and makes batches.
    """

    Options: ClassVar[type]
    kind: ClassVar[str]
    on_device: ClassVar[bool] = False
    """Whether batches are made on the training device: then workers are of no use on a GPU."""

    def __init__(self, seed: int, crops: CropSizes, **options: Any) -> None:
        """Check the options.

        :raises OptionError: if one is unknown or has a value that can't be used.
        """
        self.seed = seed
        self.crops = crops
        self.options: Any = parse(self.kind, self.Options, options)

    @abstractmethod
    def batch(self, indices: Sequence[int], device: str | torch.device = 'cpu') -> Batch:
        """Return the samples of these numbers (0 or more) as one batch on `device`."""

    def iterate(self, index_batches: Iterable[Sequence[int]], device: str | torch.device = 'cpu',
                workers: int = 0) -> Iterator[Batch]:
        """Yield a batch for each list of sample numbers, in their order.

        :param workers: processes that make batches ahead of time. 0 makes them here, and so does
            a source of made-up scenes on a GPU, which needs none.
        """
        device = torch.device(device)
        if workers == 0 or (self.on_device and device.type != 'cpu'):
            for indices in index_batches:
                yield self.batch(indices, device)
            return
        loader: DataLoader[Batch | _Failure] = DataLoader(
            _Batches(self), batch_size=None, sampler=index_batches, num_workers=workers,
            prefetch_factor=3, worker_init_fn=_one_thread, pin_memory=device.type == 'cuda')
        for batch in _started(loader):
            if isinstance(batch, _Failure):
                raise batch.error
            yield {k: v.to(device, non_blocking=True) for k, v in batch.items()}


class RenderedSource(PairSource):
    """A source whose pictures are made up on the training device, by tensor operations."""

    on_device = True

    @abstractmethod
    def draw(self, index: Tensor) -> Batch:
        """Return the samples of the numbers (B,) int64, on their device."""

    def batch(self, indices: Sequence[int], device: str | torch.device = 'cpu') -> Batch:
        """Return the samples of these numbers (0 or more) as one batch on `device`."""
        index = torch.tensor(list(indices), dtype=torch.int64).to(device)
        if index.device.type != 'cpu':
            return self.draw(index)
        # as many at a time as a CPU's cache can hold
        step = max(1, _CACHED // self.crops.search_size ** 2)
        parts = [self.draw(index[k:k + step]) for k in range(0, max(len(index), 1), step)]
        return {k: torch.cat([p[k] for p in parts]) for k in parts[0]} if parts[1:] else parts[0]


_CACHED = 2 ** 18  # px of pictures drawn at a time


class _Failure(NamedTuple):
    """What a process ran into. DataLoader itself would make another error of it."""

    error: Exception


class _Batches(Dataset['Batch | _Failure']):
    """A source as DataLoader wants it: what it calls an index is a list of sample numbers."""

    def __init__(self, source: PairSource) -> None:
        self.source = source

    def __getitem__(self, index: Any) -> Batch | _Failure:
        try:
            return self.source.batch(index, 'cpu')
        except (ValueError, OSError) as error:  # what the user can put right
            return _Failure(error)


def _started(loader: DataLoader[Batch | _Failure]) -> Iterator[Batch | _Failure]:
    """Start a loader's processes with one thread each.

    OpenCV's threads are stopped here, before the fork: a child that tried to would wait for ever
    for threads that it does not have.
    """
    import cv2
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return iter(loader)
    finally:
        cv2.setNumThreads(threads)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


_ROOM = 'rgbt_tracker_ros.data'
SOURCES: dict[str, str] = {
    'scenes': f'{_ROOM}.scene_pairs:ScenePairs',
    'unlabelled_scenes': f'{_ROOM}.unlabelled:UnlabelledScenes',
    'videos': f'{_ROOM}.video_pairs:VideoPairs',
    'unlabelled_videos': f'{_ROOM}.unlabelled_videos:UnlabelledVideos',
    'images': f'{_ROOM}.image_samples:ImageSamples',
    'recorded': f'{_ROOM}.recorded_pairs:RecordedPairs',
    'varied_scenes': f'{_ROOM}.varied_scenes:VariedScenes',
    'mixed': f'{_ROOM}.mixed_pairs:MixedPairs',
}
"""Kind of source -> its class."""


def source_class(kind: str) -> type[PairSource]:
    """Return the class of a kind of source; its `Options` are the options of `build_source`.

    :raises OptionError: if there is no such kind.
    """
    if kind not in SOURCES:
        raise OptionError(f'there is no data source {kind!r}; there are: {", ".join(SOURCES)}')
    module, name = SOURCES[kind].split(':')
    found: type[PairSource] = getattr(import_module(module), name)
    return found


def build_source(kind: str, seed: int, crops: CropSizes, **options: Any) -> PairSource:
    """Make a source of one of the kinds of SOURCES.

    :raises OptionError: if there is no such kind, or an option is wrong; the text names it.
    :raises ValueError: if data on the disk can't be used (LayoutError names the file).
    """
    return source_class(kind)(seed, crops, **options)
