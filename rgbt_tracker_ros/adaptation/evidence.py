"""What measured differences say: how sure they are, and how often chance alone does as well.

Samples of one stretch of a recording (see `stretches`) are not independent of one another:
intervals and the decision go by stretches, however many samples each has.
"""
from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEVEL = 0.95
"""Of the intervals, and of the decision: where no student is better, one of them is taken for
better in 5 % of all cases."""
_ALL, _DRAWN = 12, 4096     # stretches of which all flips are tried; how many of more
_FLOOR = 0.01   # overlap, the least deviation of stretches: no measure outweighs all others


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


def difference(old: Floats, new: Floats, of: Ints | None = None) -> Difference:
    """Return new less old in points, with an interval of Student's t over clusters of samples.

    :param of: (N,) the cluster of each sample; without it each stands for itself.
    """
    if not len(old):
        return Difference(0.0, 0.0, 0.0, 0.0, 0.0)
    d = 100 * (new - old)
    mean = float(d.mean())
    of = np.arange(len(d)) if of is None else np.unique(of, return_inverse=True)[1]
    sums = np.bincount(of, d - mean)
    count, half = len(sums), 100.0
    if count > 1:
        error = float((sums ** 2).sum() * count / (count - 1)) ** 0.5 / len(d)
        half = student_t((1 + LEVEL) / 2, count - 1) * error
    return Difference(float(100 * old.mean()), float(100 * new.mean()), mean,
                      max(mean - half, -100.0), min(mean + half, 100.0))


def student_t(share: float, freedom: int) -> float:
    """Return the quantile of Student's t (the expansion of Cornish and Fisher: from 3 degrees of
    freedom on to a hundredth, of fewer it is too small).
    """
    z = NormalDist().inv_cdf(share)
    return (z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3))


def by_stretch(differences: List[tuple[Floats, Ints]]) -> Floats:
    """Return (M, K): what each of M measures gains in each of K stretches, in such a way that the
    mean over stretches is the mean over samples.

    :param differences: of each measure, by sample, and the stretch that each sample is of;
        measures without a sample are left out.
    """
    names = np.unique(np.concatenate([of for _, of in differences]))
    return np.array([np.bincount(np.searchsorted(names, of), d, len(names)) * len(names) / len(d)
                     for d, of in differences if len(d)])


def chances(gains: List[Floats]) -> list[float]:
    """Return of each of several students how often, were none of them better, the best of them
    would seem to gain as surely as it does.

    A student that is no better gains in as many stretches as it loses in, and as much: either
    sign is as likely. So the signs of whole stretches are flipped, of all measures and students
    alike, in all ways or in many, and the best student of each flip is what is compared with
    (single-step max-T: Westfall & Young, 1993). That counts the choice among students, and as no
    more than it is where they are alike, as those are whose weights lie on a line. It holds for
    any number of stretches, of any variances; that a flip is as likely is all that is assumed.

    :param gains: of each student, (M, K) as `by_stretch` returns them.
    """
    stacked = np.array(gains)
    students, measures, count = stacked.shape
    means = _flips(count) @ stacked.reshape(-1, count).T / count
    means = means.reshape(-1, students, measures)
    # measures are added by how sure each is; no flip changes the mean square
    weights = 1 / np.maximum((stacked ** 2).mean(2) - means ** 2, _FLOOR ** 2)
    sure = (weights * means).sum(2) / np.sqrt(weights.sum(2))
    best = sure.max(1)
    return [float((best >= value - 1e-9).mean()) for value in sure[0]]


@lru_cache(maxsize=4)
def _flips(count: int) -> Floats:
    """Return signs (F, count); the first row is as it was."""
    if count <= _ALL:
        flipped = np.arange(2 ** count)[:, None] >> np.arange(count) & 1
        return np.asarray(1 - 2 * flipped, np.float64)
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (_DRAWN, count))
    signs[0] = 1.0
    return signs
