"""A fixed set of held-out pairs of made-up scenes, for one-shot localisation tests."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from rgbt_tracker_ros.data.pair_sources import Batch, CropSizes
from rgbt_tracker_ros.data.scene_pairs import ScenePairs

HELD_OUT = 1
"""Stream of the held-out samples; training draws from stream 0 of every seed."""


class LocaliseSet:
    """`count` pairs that no training ever sees, in batches; iterate it as often as needed.

    The samples come from a stream of random numbers of their own, so that they differ from those
    of `scenes` for every seed, this one's included. `batch['condition']` tells what is degraded.

    >>> for batch in LocaliseSet(CropSizes(32, 64), rgb_degraded=0.25):
    ...     ...
    """

    def __init__(self, crops: CropSizes, count: int = 2000, seed: int = 0, batch: int = 100,
                 device: str | torch.device = 'cpu', **options: Any) -> None:
        """Check the options, which are those of `scenes`.

        :raises OptionError: if an option is unknown or can't be used.
        """
        self.source = ScenePairs(seed, crops, stream=HELD_OUT, **options)
        self.count, self.size, self.device = count, batch, device

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.count, self.size):
            yield self.source.batch(range(start, min(start + self.size, self.count)), self.device)
