"""Samples of several sources in one batch, each source where it is made best: worker processes
decode and cut real images while made-up scenes are drawn on the training device.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from rgbt_tracker_ros.data.options import OptionError, number
from rgbt_tracker_ros.data.pair_sources import (
    Batch,
    CropSizes,
    PairSource,
    build_source,
    source_class,
)

_KEYS = ('source', 'share', 'options')
_MOST = 10**5  # slots that are tried out for a message


@dataclass(frozen=True, slots=True)
class MixedOptions:
    """`parts`: by name, each with `source`, a kind of source, `share`, how many of the samples it
    makes (of any sum), and its `options`. `root`, `cache`: of all parts that have such options.
    `slots`: samples in a row of which each part has its share, to the nearest whole number.
    """

    parts: dict[str, Any] = field(default_factory=dict)
    root: str = ''
    cache: str = ''
    slots: int = number(32, 1)


class MixedPairs(PairSource):
    """Sample i is made by the part that i modulo `slots` belongs to; it is sample i there."""

    Options = MixedOptions
    kind = 'mixed'
    on_device = False
    options: MixedOptions

    def __init__(self, seed: int, crops: CropSizes, **options: Any) -> None:
        """Make the parts.

        :raises OptionError: if an option is wrong, also of a part. :raises ValueError: data on
            the disk that can't be used.
        """
        super().__init__(seed, crops, **options)
        o = self.options
        if not o.parts:
            raise OptionError('mixed: parts is empty; give name: {source, share, options}')
        for name, part in o.parts.items():
            if not isinstance(part, dict) or not {'source', 'share'} <= part.keys() <= set(_KEYS):
                raise OptionError(f'mixed: parts.{name} is {part!r}; it must have source and '
                                  'share, and may have options')
        shares = {name: part['share'] for name, part in o.parts.items()}
        wrong = [n for n, s in shares.items() if isinstance(s, bool)
                 or not isinstance(s, int | float) or not 0 <= s < float('inf')]
        if wrong or not sum(shares.values()):
            raise OptionError(f'mixed: the shares are {shares}; they must be numbers of 0 or '
                              'more, not all of them 0')
        self.sources = {name: self._part(name, part) for name, part in o.parts.items()
                        if part['share']}
        own = [shares[n] for n in self.sources]
        self._slots = _dealt(own, o.slots)
        lost = [n for k, n in enumerate(self.sources) if k not in self._slots]
        if lost:
            raise OptionError(f'mixed: parts.{lost[0]} has a share of {shares[lost[0]]:g} in '
                              f'{sum(own):g} and makes no sample with slots={o.slots}; use '
                              f'slots={_needed(own)} or more, or a share of 0')

    def _part(self, name: str, part: dict[str, Any]) -> PairSource:
        given = dict(part.get('options') or {})
        try:
            known = {f.name for f in fields(source_class(part['source']).Options)}
            for key in ('root', 'cache'):
                if key in known and (value := getattr(self.options, key)):
                    given.setdefault(key, value)
            return build_source(part['source'], self.seed, self.crops, **given)
        except OptionError as error:
            raise OptionError(f'mixed: parts.{name}: {error}') from error

    def _own(self, k: int, indices: Iterable[int]) -> list[int]:
        return [int(i) for i in indices if self._slots[int(i) % len(self._slots)] == k]

    def batch(self, indices: Sequence[int], device: str | torch.device = 'cpu') -> Batch:
        """Return the samples of these numbers (0 or more) as one batch on `device`, part by
        part.
        """
        return _joined([s.batch(self._own(k, indices), device)
                        for k, s in enumerate(self.sources.values())])

    def iterate(self, index_batches: Iterable[Sequence[int]], device: str | torch.device = 'cpu',
                workers: int = 0) -> Iterator[Batch]:
        """Yield a batch for each list of sample numbers, in their order; see PairSource."""
        lists = list(index_batches)
        streams = [s.iterate(_Own(self, k, lists), device, workers)
                   for k, s in enumerate(self.sources.values())]
        for parts in zip(*streams, strict=True):
            yield _joined(parts)


class _Own:
    """The numbers of one part, list by list: what a DataLoader takes for a sampler."""

    def __init__(self, mixed: MixedPairs, part: int, lists: Sequence[Sequence[int]]) -> None:
        self.mixed, self.part, self.lists = mixed, part, lists

    def __len__(self) -> int:
        return len(self.lists)

    def __iter__(self) -> Iterator[list[int]]:
        return (self.mixed._own(self.part, indices) for indices in self.lists)


def _dealt(shares: Sequence[float], slots: int) -> list[int]:
    """Deal `slots` places to parts by their shares, spread evenly: the part that is the furthest
    behind its share gets the next one.
    """
    total, given, out = sum(shares), [0] * len(shares), []
    for n in range(1, slots + 1):
        behind = [n * s / total - g for s, g in zip(shares, given, strict=True)]
        k = behind.index(max(behind))
        given[k] += 1
        out.append(k)
    return out


def _needed(shares: Sequence[float]) -> int:
    """Return how many slots it takes until each part has one."""
    slots = len(shares)
    while len(set(dealt := _dealt(shares, slots))) < len(shares) and slots < _MOST:
        slots *= 2
    return max(dealt.index(k) + 1 if k in dealt else slots for k in range(len(shares)))


def _joined(parts: Sequence[Batch]) -> Batch:
    keys = [k for k in parts[0] if all(k in p for p in parts)]
    return {k: torch.cat([p[k] for p in parts]) for k in keys}
