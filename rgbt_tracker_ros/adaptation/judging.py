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
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from tqdm import tqdm

from rgbt_tracker_ros.adaptation.mining import Fresh, follow, in_order, returned
from rgbt_tracker_ros.data.pair_sources import CropSizes
from rgbt_tracker_ros.data.recorded_pairs import RecordedPairs, part_of
from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.distillation.calibrate import outcomes
from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.runtime.eager import EagerStudent
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box

_SHORTEST = 4  # pairs of a window
MEASURES = ('tracking', 'finding', 'kept')
Floats = NDArray[np.float64]
LEVEL = 0.95
"""Of the intervals, and of the decision: that both measures together gain by chance alone is 5 %
likely."""


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
    """Overlaps of one student: one per window, per sample, per made-up sample."""

    tracking: Floats
    finding: Floats
    kept: Floats


@dataclass(frozen=True)
class Difference:
    """New less old, over the same windows or samples: mean and its 95 % interval, in points, and
    the two means.
    """

    old: float
    new: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What the measures say; `better`, or a `reason` why not."""

    tracking: Difference
    finding: Difference
    kept: Difference
    better: bool
    reason: str = ''

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Verdict:
        """Return what `as_dict` was made of."""
        return cls(**{**values, **{k: Difference(**values[k]) for k in MEASURES}})


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
        self._source = RecordedPairs(settings.seed, crops, list(held_out), tracked=0, replay=0,
                                     instant=1, part=part, **options)
        self._made_up = RecordedPairs(settings.seed, crops, list(held_out), tracked=0, instant=0,
                                      replay=1, dressed=0)
        self._windows = list(self._choose(part))

    def _choose(self, part: tuple[float, float]) -> Iterator[tuple[Sequence, range, Box]]:
        rng = np.random.default_rng((self.settings.seed, 7))
        spans = [(s, part_of(s, part)) for s in self._source.sequences]
        long = [(s, span) for s, span in spans if len(span) >= _SHORTEST]
        shares = np.array([len(span) for _, span in long], np.float64)
        for number in range(self.settings.windows if long else 0):
            sequence, span = long[rng.choice(len(long), p=shares / shares.sum())]
            start = span.start + int(rng.integers(
                max(len(span) - self.settings.length, 0) + 1))
            pair = sequence.pair(start)
            width, height = pair.size
            inside = [b for b in self._source.regions(pair, number) if b.x >= 0 and b.y >= 0
                      and b.x + b.w <= width and b.y + b.h <= height]
            if inside:
                stop = min(start + self.settings.length, span.stop)
                yield sequence, range(start, stop), inside[int(rng.integers(len(inside)))]

    def measure(self, file: Path, name: str = '') -> Measured:
        """Measure the student of a file, on the CPU; bars say its `name`.

        :raises CheckpointError: see `checkpoint.load`. :raises LayoutError: if an image can't be
            decoded.
        """
        fresh = partial(Tracker, EagerStudent(file, 'cpu'), self.config)
        network, _ = checkpoint.load(file)
        with torch.random.fork_rng(devices=[]):
            finding, kept = (outcomes(network, source, self.settings.samples,
                                      what=f'judging {name}: {what}').overlap
                             for source, what in ((self._source, 'finding'),
                                                  (self._made_up, 'made-up scenes')))
        tracking = [_there_and_back(fresh, *window)
                    for window in tqdm(self._windows, f'judging {name}: tracking', unit='window',
                                       disable=None)]
        return Measured(np.array(tracking, np.float64), finding, kept)

    def verdict(self, old: Measured, new: Measured) -> Verdict:
        """Compare two students that were measured here."""
        tracking, finding, kept = (difference(getattr(old, k), getattr(new, k))
                                   for k in MEASURES)
        reason = ''
        if least_gain(*((new_ - old_) for old_, new_ in (
                (old.tracking, new.tracking), (old.finding, new.finding)) if len(old_))) <= 0:
            reason = ('on the recordings kept aside it is not better beyond doubt: tracking '
                      f'{tracking.gain:+.1f}, finding {finding.gain:+.1f} points')
        elif min(tracking.high, finding.high) < 0:
            reason = ('on the recordings kept aside it is better in one and worse in the other: '
                      f'tracking {tracking.gain:+.1f}, finding {finding.gain:+.1f} points')
        elif kept.gain < -100 * self.settings.loss:
            reason = (f'it forgets: {kept.gain:+.1f} points on made-up scenes, where '
                      f'{-100 * self.settings.loss:+.1f} are put up with')
        return Verdict(tracking, finding, kept, not reason, reason)


def _there_and_back(fresh: Fresh, sequence: Sequence, window: range, region: Box) -> float:
    pairs = in_order(sequence.pairs(window.start, window.stop))
    ahead, _ = follow(fresh, pairs, region, 0.0)
    return returned(fresh, pairs, ahead) if len(ahead) == len(pairs) else 0.0


def least_gain(*gains: Floats) -> float:
    """Return what several measures gain together, at least: their means weighed by how sure each
    is (inverse variance), less what chance may have added.

    :param gains: of each measure, by sample.
    """
    weights = [len(g) / max(float(g.var()), 1e-12) for g in gains]
    if not weights:
        return 0.0
    mean = sum(w * float(g.mean()) for w, g in zip(weights, gains, strict=True)) / sum(weights)
    return mean - NormalDist().inv_cdf(LEVEL) / sum(weights) ** 0.5


def difference(old: Floats, new: Floats, draws: int = 4000) -> Difference:
    """Return new less old in points, with a percentile bootstrap interval over the pairs."""
    if not len(old):
        return Difference(0.0, 0.0, 0.0, 0.0, 0.0)
    d = 100 * (new - old)
    rng = np.random.default_rng(0)
    means = d[rng.integers(len(d), size=(draws, len(d)))].mean(1)
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Difference(float(100 * old.mean()), float(100 * new.mean()), float(d.mean()),
                      float(low), float(high))
