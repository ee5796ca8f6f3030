"""Bootstrap intervals over sequences: how far a mean or a difference can be trusted.

Sequences are drawn with replacement; frames of one sequence hang together and are never split.
Percentile intervals, after Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.conventions import convention
from rgbt_tracker_ros.evaluation.metrics import Floats
from rgbt_tracker_ros.evaluation.score_types import SequenceScores

CURVES = {'PR': 'precision_curve', 'NPR': 'normalised_precision_curve', 'SR': 'success_curve',
          'MPR': 'precision_curve', 'MSR': 'success_curve'}
_AT_ONCE = 1 << 22  # sequences drawn in one array: 32 MB


@dataclass(frozen=True)
class Interval:
    """A figure with its interval; `sequences` is how many it was drawn from."""

    value: float
    low: float
    high: float
    sequences: int


def mean_interval(scores: Sequence[SequenceScores], metric: str = 'SR', level: float = 0.95,
                  samples: int = 10_000, seed: int = 0) -> Interval:
    """Return the mean of PR, NPR or SR over sequences with its interval.

    :raises ValueError: if there are no sequences, or the metric or the level is not known.
    """
    values, weights = _values(scores, metric)
    return _interval(values * weights, weights, None, None, level, samples, seed)


def paired_difference(a: Sequence[SequenceScores], b: Sequence[SequenceScores],
                      metric: str = 'SR', level: float = 0.95, samples: int = 10_000,
                      seed: int = 0) -> Interval:
    """Return mean of `a` minus mean of `b` with its interval; both on the same drawn sequences.

    Sequences are matched by name. An interval that holds 0 says that the two can't be told apart.

    :raises ValueError: as `mean_interval`, or if the two don't have the same sequences.
    """
    if sorted(s.name for s in a) != sorted(s.name for s in b):
        other = sorted({s.name for s in a} ^ {s.name for s in b})
        raise ValueError('a paired difference needs the same sequences of both trackers; only one '
                         f'has: {", ".join(other[:5])}{" ..." if len(other) > 5 else ""}')
    by_name = {s.name: s for s in b}
    values_a, weights_a = _values(a, metric)
    values_b, weights_b = _values([by_name[s.name] for s in a], metric)
    return _interval(values_a * weights_a, weights_a, values_b * weights_b, weights_b, level,
                     samples, seed)


def _values(scores: Sequence[SequenceScores], metric: str) -> tuple[Floats, Floats]:
    """Return each sequence's figure and its weight in the mean of its convention."""
    if metric not in CURVES:
        raise ValueError(f'metric {metric!r} is not known; choose one of: {", ".join(CURVES)}')
    if not scores:
        raise ValueError('an interval needs at least one sequence')
    if any(getattr(s, metric) is None for s in scores):
        raise ValueError(f'{metric} is a figure of two truths; these sequences have one')
    rules = convention(scores[0].convention)
    weights = np.array([s.frames if rules.pooled else 1.0 for s in scores])
    if rules.drop_zero_curves:
        kept = np.array([getattr(s, CURVES[metric]).any() for s in scores])
        weights = weights * kept if kept.any() else weights
    return np.array([getattr(s, metric) for s in scores], np.float64), weights


def _interval(top_a: Floats, weight_a: Floats, top_b: Floats | None, weight_b: Floats | None,
              level: float, samples: int, seed: int) -> Interval:
    if not 0 < level < 1 or samples < 1:
        raise ValueError(f'level must be between 0 and 1 and samples at least 1, got {level} and '
                         f'{samples}')
    n, rng = len(top_a), np.random.default_rng(seed)

    def mean(rows: NDArray[np.int64]) -> Floats:
        with np.errstate(invalid='ignore'):  # a draw of nothing but dropped sequences
            difference = _ratio(top_a, weight_a, rows)
            if top_b is not None and weight_b is not None:
                difference = difference - _ratio(top_b, weight_b, rows)
        return difference

    step = max(1, _AT_ONCE // n)
    drawn = np.concatenate([mean(rng.integers(0, n, (min(step, samples - k), n)))
                            for k in range(0, samples, step)])
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(mean(np.arange(n)[None])[0]), float(low), float(high), n)


def _ratio(top: Floats, weight: Floats, rows: NDArray[np.int64]) -> Floats:
    return np.asarray(top[rows].sum(axis=1) / weight[rows].sum(axis=1), np.float64)
