"""Real clips with tracks, and made-up targets on them: the data that the shipped student is
trained with, as a source of pairs.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
import fcntl
from pathlib import Path
import sys
from typing import Any

import torch

from rgbt_tracker_ros.data import training_set
from rgbt_tracker_ros.data.crops import missing_condition
from rgbt_tracker_ros.data.options import OptionError, number
from rgbt_tracker_ros.data.pair_sources import Batch, CropSizes, PairSource
from rgbt_tracker_ros.data.samples import SampleConfig, Samples
from rgbt_tracker_ros.data.training_set import Clip


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """`root`: folder that holds m3svd, hit_uav or drone_ir; nothing for made-up scenes alone.
    `cache`: folder for the decoded clips (gigabytes), '' for `root`/cache. `held_out`: the tenth
    that is kept aside. `max_gap`, `synthetic`, `absent`: see SampleConfig.
    """

    root: str = ''
    cache: str = ''
    held_out: bool = False
    max_gap: int = number(60, 0)
    synthetic: float = number(0.25, 0, 1)
    absent: float = number(0.08, 0, 1)


class ImageSamples(PairSource):
    """`data.samples.Samples` as batches: sample i of a seed is the same as there.

    `condition` tells of modalities that are missing; weaker faults are not told apart.
    """

    Options = ImageOptions
    kind = 'images'
    options: ImageOptions

    def __init__(self, seed: int, crops: CropSizes, clips: list[Clip] | None = None,
                 **options: Any) -> None:
        """Decode the clips under `root` unless they are in the cache, or take `clips`.

        :raises OptionError: if an option is wrong, or nothing under `root` can be used.
        """
        super().__init__(seed, crops, **options)
        o = self.options
        if clips is None:
            clips = self._load() if o.root else []
        sizes = {f.name: getattr(crops, f.name) for f in fields(crops)}
        self.samples = Samples(clips, sys.maxsize, seed, SampleConfig(
            **sizes, max_gap=o.max_gap, synthetic=o.synthetic, absent=o.absent))

    def _load(self) -> list[Clip]:
        root = Path(self.options.root).expanduser()
        cache = Path(self.options.cache).expanduser() if self.options.cache else root / 'cache'
        try:
            with _locked(cache):
                training_set.build(root, cache)
        except (OSError, ValueError) as error:
            raise OptionError(f'images: root: {error}') from error
        return training_set.split(training_set.load(cache), self.options.held_out)

    def batch(self, indices: Sequence[int], device: str | torch.device = 'cpu') -> Batch:
        """Return the samples of these numbers (0 or more) as one batch on `device`."""
        # of no sample: the shapes of one
        drawn = [self.samples[int(i)] for i in indices] or [self.samples[0]]
        out = {key: torch.stack([d[key] for d in drawn])[:len(indices)] for key in drawn[0]}
        # made-up targets' boxes come in double precision
        out = {k: v.float() if v.is_floating_point() else v for k, v in out.items()}
        out['index'] = torch.tensor(list(indices), dtype=torch.int64)
        out['condition'] = missing_condition(out['search_present'])
        return {k: v.to(device) for k, v in out.items()}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes, such as the other ranks of a training, waiting."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
