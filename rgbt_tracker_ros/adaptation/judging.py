"""Is the new student better? Decided on recordings that it was not trained on, without labels.

Three measures, of the old and the new student on the same crops and windows:

- `tracking`: a region is followed through a window of pairs and back again; how far the box where
  that ends overlaps the region (forward-backward error, Kalal et al., ICPR 2010);
- `finding`: template and search crop of two neighbouring pairs: how far the box found overlaps
  the region;
- `kept`: the same on made-up scenes, as the shipped student was trained with: what was forgotten.

A student that never moved its box would come back to every region: `finding` tells.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as List
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from rgbt_tracker_ros.adaptation.evidence import (
    LEVEL,
    Difference,
    Floats,
    Ints,
    by_stretch,
    chances,
    difference,
)
from rgbt_tracker_ros.adaptation.mining import Fresh, follow, in_order, returned
from rgbt_tracker_ros.adaptation.stretches import LEAST, SHORTEST, cut
from rgbt_tracker_ros.data.pair_sources import CropSizes
from rgbt_tracker_ros.data.recorded_pairs import RecordedPairs, part_of
from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.distillation.calibrate import outcomes
from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.runtime.eager import EagerStudent
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box

MEASURES = ('tracking', 'finding', 'kept')
RULE = 2
"""Number of the rule by which verdicts are found: those of another rule are not taken up."""


@dataclass(frozen=True)
class JudgingSettings:
    """`windows` of `length` pairs are followed there and back, `samples` are looked at once, as
    many made-up ones; `loss`: of `kept`, in parts of 1, that is put up with. `seed` draws them.
    """

    windows: int = 48
    length: int = 16
    samples: int = 512
    loss: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (('windows', 0), ('length', 2), ('samples', 1), ('loss', 0),
                            ('seed', 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f'{name} is {getattr(self, name)}; it must be {least} or more')


@dataclass(frozen=True)
class Measured:
    """Overlaps of one student: one per window, per sample, per made-up sample; `windows` and
    `samples`: the number of the stretch that each is of.
    """

    tracking: Floats
    finding: Floats
    kept: Floats
    windows: Ints
    samples: Ints


@dataclass(frozen=True)
class Verdict:
    """What the measures say; `better`, or a `reason` why not.

    `chance`: how often, were no student better that is judged, one of them would seem to gain as
    much as this one in what was kept aside, which makes so many `stretches`.
    """

    tracking: Difference
    finding: Difference
    kept: Difference
    better: bool
    reason: str = ''
    chance: float = 1.0
    stretches: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Verdict:
        """Return what `as_dict` was made of."""
        return cls(**{**values, **{k: Difference(**values[k]) for k in MEASURES}})


class _KeptAside(RecordedPairs):
    """Regions of what is kept aside; a sample's number alone says which pair it is of."""

    def moment(self, index: int) -> tuple[int, int]:
        """Return the place of the sequence that a sample is of, and the pair."""
        return super()._moment(np.random.default_rng((self.seed, index, 2)), index)

    def _moment(self, rng: np.random.Generator, index: int) -> tuple[int, int]:
        return self.moment(index)


class _Window(NamedTuple):
    """A region, and the pairs of a sequence that it is followed through; all are of a stretch."""

    sequence: Sequence
    pairs: range
    region: Box
    stretch: int


class Judge:
    """Held-out windows and samples, the same for every student that is measured."""

    def __init__(self, held_out: List[Sequence], crops: CropSizes, settings: JudgingSettings,
                 config: TrackerConfig | None = None,
                 part: tuple[float, float] = (0.0, 1.0), **options: Any) -> None:
        """Choose the windows.

        :param part: of each sequence that is kept aside. :param options: of the source
            `recorded`: homography, thermal_range.
        :raises LayoutError: if an image can't be decoded.
        """
        self.settings, self.config = settings, config or TrackerConfig()
        held_out = [s for s in held_out if len(part_of(s, part)) >= SHORTEST]
        self._source = _KeptAside(settings.seed, crops, held_out, tracked=0, replay=0, instant=1,
                                  part=part, **options)
        self._made_up = RecordedPairs(settings.seed, crops, held_out, tracked=0, instant=0,
                                      replay=1, dressed=0)
        self.stretches = cut([part_of(s, part) for s in held_out], settings.length)
        self._windows = list(self._choose())

    def _choose(self) -> Iterator[_Window]:
        """Yield windows all over the stretches, by their lengths; none is there twice."""
        rng = np.random.default_rng((self.settings.seed, 7))
        lengths = [len(s.pairs) for s in self.stretches]
        until = np.cumsum([0, *lengths]) * self.settings.windows // sum(lengths)
        for number, (place, pairs) in enumerate(self.stretches):
            sequence, count = self._source.sequences[place], int(until[number + 1] - until[number])
            room = max(len(pairs) - self.settings.length, 0) + 1
            taken: set[tuple[int, Box]] = set()
            for k in range(count):
                first = pairs.start + (2 * k + 1) * room // (2 * count)
                pair = sequence.pair(first)
                free = [b for b in self._source.regions(pair, int(until[number]) + k)
                        if _inside(b, pair.size) and (first, b) not in taken]
                if free:
                    region = free[int(rng.integers(len(free)))]
                    taken.add((first, region))
                    yield _Window(sequence, range(first, min(first + self.settings.length,
                                                             pairs.stop)), region, number)

    def _stretch_of(self, sample: int) -> int:
        place, pair = self._source.moment(sample)
        return next(number for number, stretch in enumerate(self.stretches)
                    if stretch.place == place and pair in stretch.pairs)

    def measure(self, file: Path, name: str = '') -> Measured:
        """Measure the student of a file, on the CPU; bars say its `name`.

        :raises CheckpointError: see `checkpoint.load`. :raises LayoutError: if an image can't be
            decoded.
        """
        fresh = partial(Tracker, EagerStudent(file, 'cpu'), self.config)
        network, _ = checkpoint.load(file)
        count = self.settings.samples
        with torch.random.fork_rng(devices=[]):
            finding, kept = (outcomes(network, source, count,
                                      what=f'judging {name}: {what}').overlap
                             for source, what in ((self._source, 'finding'),
                                                  (self._made_up, 'made-up scenes')))
        tracking = [_there_and_back(fresh, w.sequence, w.pairs, w.region)
                    for w in tqdm(self._windows, f'judging {name}: tracking', unit='window',
                                  disable=None)]
        return Measured(np.array(tracking, np.float64), finding, kept,
                        np.array([w.stretch for w in self._windows], np.int64),
                        np.array([self._stretch_of(i) for i in range(count)], np.int64))

    def verdicts(self, old: Measured, new: Mapping[float, Measured]) -> dict[float, Verdict]:
        """Compare students that were measured here with the old one, all of those that one may be
        chosen of: the more there are, the easier one of them has luck.
        """
        gains = [by_stretch([(m.tracking - old.tracking, old.windows),
                             (m.finding - old.finding, old.samples)]) for m in new.values()]
        return {share: self._verdict(old, measured, chance, gains[0].shape[1])
                for (share, measured), chance in zip(new.items(), chances(gains), strict=True)}

    def _verdict(self, old: Measured, new: Measured, chance: float, stretches: int) -> Verdict:
        tracking = difference(old.tracking, new.tracking, old.windows)
        finding = difference(old.finding, new.finding, old.samples)
        kept = difference(old.kept, new.kept)
        both = f'tracking {tracking.gain:+.1f}, finding {finding.gain:+.1f} points'
        reason = ''
        if stretches < LEAST:
            reason = (f'the recordings kept aside make {stretches} stretches, too few to judge '
                      f'by; {LEAST} are the least: record more')
        elif chance > 1 - LEVEL:
            reason = (f'on the recordings kept aside it is not better beyond doubt: {both}, and '
                      f'by chance alone as much in {chance:.0%} of cases, where '
                      f'{1 - LEVEL:.0%} are put up with')
        elif min(tracking.high, finding.high) < 0:
            reason = ('on the recordings kept aside it is better in one and worse in the other: '
                      f'{both}')
        elif kept.gain < -100 * self.settings.loss:
            reason = (f'it forgets: {kept.gain:+.1f} points on made-up scenes, where '
                      f'{-100 * self.settings.loss:+.1f} are put up with')
        return Verdict(tracking, finding, kept, not reason, reason, chance, stretches)


def _inside(box: Box, size: tuple[int, int]) -> bool:
    return box.x >= 0 and box.y >= 0 and box.x + box.w <= size[0] and box.y + box.h <= size[1]


def _there_and_back(fresh: Fresh, sequence: Sequence, window: range, region: Box) -> float:
    pairs = in_order(sequence.pairs(window.start, window.stop))
    ahead, _ = follow(fresh, pairs, region, 0.0)
    return returned(fresh, pairs, ahead) if len(ahead) == len(pairs) else 0.0
