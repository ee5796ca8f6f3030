"""Paired differences, their intervals, and when a claim holds."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
import math
import statistics

Results = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Arm -> seed -> metric -> value."""
Get = Callable[[str, str], float]
"""(arm, metric) -> value, of one seed."""

# 97.5 % points of Student's t for 1 to 30 degrees of freedom
_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010,
      2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739,
      2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423)
FEWEST = 3
"""Seeds that a verdict needs."""
MOST = len(_T) + 1


@dataclass(frozen=True)
class Interval:
    """Mean of some values and its 95 % interval; NaN limits where there is one value alone."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of values, one for each seed, with the interval of Student's t.

    Of differences between arms that share their seeds it is the paired t interval.

    :raises ValueError: no value, or more than the table of t goes to.
    """
    n = len(values)
    if not 1 <= n <= MOST:
        raise ValueError(f'{n} values; 1 to {MOST} can be judged')
    mean = statistics.fmean(values)
    if n == 1:
        return Interval(mean, math.nan, math.nan, tuple(values))
    half = _T[n - 2] * statistics.stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, tuple(values))


class Verdict(Enum):
    """What can be said of a claim, best first."""

    HOLDS = 'holds'
    ON_THE_MEAN = 'held on the mean only'
    NOT_HELD = 'not held'
    REPORTED = 'reported only'
    OPEN = 'not judged yet'


@dataclass(frozen=True)
class Part:
    """One figure of a claim: computed for each seed, and compared with a bar.

    The claim holds where the interval's end on the bad side clears the bar; `strict`: does more
    than reach it. Without a bar the figure is reported only.
    """

    label: str
    figure: Callable[[Get], float]
    bar: float | None = None
    at_most: bool = False
    unit: str = ''
    strict: bool = False

    def reached(self, value: float) -> bool:
        """Return whether a value clears the bar."""
        assert self.bar is not None
        above = self.bar - value if self.at_most else value - self.bar
        return above > 0 if self.strict else above >= 0


@dataclass(frozen=True)
class Claim:
    """A claim of a recipe: it holds if all of its parts do.

    `required`: a bar that this package sets itself; `tried`: what was tried where it does not
    hold, or what there is to know about the figure.
    """

    id: str
    text: str
    parts: tuple[Part, ...]
    required: bool = False
    tried: str = ''

    @property
    def system(self) -> str:
        """Return whose claim it is, as the arms' names begin; 'cross' for those about all."""
        return {'B1': 'cmd_tir', 'B2': 'mutual_prompt', 'B3': 'ckd', 'B4': 'cmd_rgbt',
                'S1': 'shipped', 'D1': 'adapt'}.get(self.id.split('.')[0], 'cross')


@dataclass(frozen=True)
class Judged:
    """A part with its interval (None before there is a result) and what can be said of it."""

    part: Part
    interval: Interval | None
    verdict: Verdict


def arms_of(claims: Iterable[Claim]) -> set[str]:
    """Return the arms that claims need, found by asking their figures."""
    asked: list[str] = []

    def get(arm: str, metric: str) -> float:
        asked.append(arm)
        return float(len(asked))  # no two alike, so that no figure divides by 0

    for claim in claims:
        for part in claim.parts:
            part.figure(get)
    return set(asked)


def judge(part: Part, results: Results) -> Judged:
    """Judge a part by the seeds for which all of its arms have a result."""
    values = []
    seeds = sorted({seed for arm in results.values() for seed in arm})
    for seed in seeds:
        def get(arm: str, metric: str, seed: int = seed) -> float:
            return results[arm][seed][metric]
        try:
            values.append(part.figure(get))
        except (KeyError, ZeroDivisionError):
            continue  # an arm is missing, or a ratio has no meaning for this seed
    found = interval(values) if values else None
    return Judged(part, found, _verdict(part, found))


def _verdict(part: Part, found: Interval | None) -> Verdict:
    if found is None:
        return Verdict.OPEN
    if part.bar is None:
        return Verdict.REPORTED
    if len(found.values) < FEWEST:
        return Verdict.OPEN
    if part.reached(found.high if part.at_most else found.low):
        return Verdict.HOLDS
    return Verdict.ON_THE_MEAN if part.reached(found.mean) else Verdict.NOT_HELD


def overall(parts: Sequence[Judged]) -> Verdict:
    """Return the verdict of a claim: that of its worst part; what is only reported counts last."""
    barred = [j.verdict for j in parts if j.part.bar is not None]
    for verdict in (Verdict.NOT_HELD, Verdict.OPEN, Verdict.ON_THE_MEAN, Verdict.HOLDS):
        if verdict in barred:
            return verdict
    return Verdict.OPEN if any(j.verdict is Verdict.OPEN for j in parts) else Verdict.REPORTED
