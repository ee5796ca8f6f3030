"""Overlap and centre error of every frame of a result, as its convention wants them."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgbt_tracker_ros.evaluation import metrics
from rgbt_tracker_ros.evaluation.conventions import Convention, ResultError
from rgbt_tracker_ros.evaluation.metrics import Floats


@dataclass(frozen=True, eq=False)
class FrameErrors:
    """What is counted, (n,) each: overlap, centre error in px and in sizes of the target.

    `all_overlaps`, `all_errors`: (N,) for every row of the truth, NaN where it has no area; the
    error is infinite without an answer. `answered`: (N,) whether the result had a box there,
    before any repair. A result that is cut short has shorter ones.
    """

    overlap: Floats
    distance: Floats
    normalised: Floats
    all_overlaps: Floats
    all_errors: Floats
    answered: NDArray[np.bool_]


def frame_errors(boxes: ArrayLike, truths: list[NDArray[Any]], rules: Convention, source: str = '',
                 ) -> FrameErrors:
    """Score every frame of a result against one or two truths, (N, 4) each.

    :raises ResultError: if the result or the truth is not what the convention allows; it begins
        with `source`, a file or a sequence.
    """
    truths = _pick(truths, rules, source)
    rows = fit_rows(boxes, truths[0], rules, source)
    answered = np.zeros(len(rows), bool)
    given = _has_area(np.asarray(boxes, np.float64)[::rules.stride][:len(rows)])
    answered[:len(given)] = given
    truths = [t[:len(rows)] for t in truths]
    overlap, distance, normalised = (
        best.reduce([_masked(measure(rows, t), t, rules) for t in truths])
        for measure, best in (
            (metrics.overlaps, np.fmax), (metrics.center_distances, np.fmin),
            (lambda p, t: metrics.normalised_distances(p, t, rules.normalised_eps), np.fmin)))
    seen = np.logical_or.reduce([_has_area(t) for t in truths])
    every = (np.where(seen, np.nan_to_num(overlap), np.nan),
             np.where(seen, np.where(np.isfinite(distance), distance, np.inf), np.nan))
    valid = {'all': np.ones(len(rows), bool), 'size': seen,
             'positive': np.logical_or.reduce([(t > 0).all(axis=1) for t in truths])}[rules.valid]
    if rules.invalid is None:
        overlap, distance, normalised = overlap[valid], distance[valid], normalised[valid]
        if not len(overlap):
            raise ResultError(source, f'the target is in none of the {len(rows)} rows of the '
                              'truth; nothing can be scored')
    else:
        overlap, distance, normalised = (
            np.where(valid, values, sentinel) for values, sentinel
            in zip((overlap, distance, normalised), rules.invalid, strict=True))
    return FrameErrors(overlap, distance, normalised, *every, answered)


def fit_rows(boxes: ArrayLike, truth: NDArray[Any], rules: Convention, source: str = '') -> Floats:
    """Bring a result to the rows of its truth and repair what the convention repairs, (n, 4).

    :raises ResultError: as `frame_errors`; rows are counted from 1.
    """
    rows = np.array(boxes, np.float64)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ResultError(source, f'boxes must be (N, 4) x, y, w, h, got {rows.shape}')
    rows, missing = _cut(rows, len(truth), rules, source)
    for what, bad, legal in (
            ('nan', np.isnan(rows).any(axis=1), 'numbers'),
            ('negative', (rows[:, 2:] < 0).any(axis=1), 'sizes of 0 or more')):
        if what in rules.refuse and bad.any():
            k = int(np.flatnonzero(bad)[0])
            raise ResultError(source, f'{rows[k].tolist()}; convention {rules.name} wants {legal}',
                              k * rules.stride + 1)
    if rules.first == 'truth early':
        rows[0] = truth[0]
    bad = np.zeros(len(rows), bool)
    for what, mask in (('nan', np.isnan(rows).any(axis=1)),
                       ('all nan', np.isnan(rows).all(axis=1)),
                       ('no area', (rows[:, 2:] <= 0).any(axis=1)),
                       ('zero', (rows[:, 2:] == 0).any(axis=1))):
        bad |= mask & (what in rules.repeat)
    last_good = np.maximum.accumulate(np.where(bad, 0, np.arange(len(rows))))
    rows = rows[last_good]
    if rules.short == 'zeros':
        rows = np.vstack([rows, np.zeros((missing, 4))])  # after the repair: they stay zero
    if rules.first == 'truth':
        rows[0] = truth[0]
    unanswered = ~np.isfinite(rows).all(axis=1)
    if rules.no_area_misses:
        unanswered |= (rows[:, 2:] <= 0).any(axis=1)
    rows[unanswered] = np.nan
    return rows


def _cut(rows: Floats, count: int, rules: Convention, source: str) -> tuple[Floats, int]:
    """Return the rows that face a row of the truth, and how many of those have none."""
    # the last step may be incomplete, and may then have a row in the truth or not
    wanted, most = (count - 1) * rules.stride + 1, (count + 1) * rules.stride - 1
    about = (f'{len(rows)} rows for {count} rows of truth, of which convention {rules.name} has '
             + ('one per frame' if rules.stride == 1 else f'one per {rules.stride} frames'))
    if len(rows) < wanted:
        if rules.short == 'error' or not len(rows):
            raise ResultError(source, f'{about}: the result ends here', len(rows))
    elif len(rows) > most and rules.extra == 'error':
        raise ResultError(source, f'{about}: from this row on there is no frame', most + 1)
    rows = rows[::rules.stride][:count]
    return rows, count - len(rows)


def _pick(truths: list[NDArray[Any]], rules: Convention, source: str) -> list[NDArray[Any]]:
    checked = [np.asarray(t, np.float64) for t in truths]
    for t in checked:
        if t.ndim != 2 or t.shape[1] != 4 or not len(t):
            raise ResultError(source, f'truth must be (N, 4) x, y, w, h, got {t.shape}')
    if rules.truths == 'one':
        return checked[:1]
    if rules.truths == 'both' and len(checked) < 2:
        raise ResultError(source, f'convention {rules.name} needs the truth of RGB and of '
                          'thermal; only one was given')
    if len({len(t) for t in checked}) > 1:
        raise ResultError(source, f'the truth of RGB has {len(checked[0])} rows, that of thermal '
                          f'{len(checked[1])}; they must agree')
    return checked


def _masked(values: Floats, truth: Floats, rules: Convention) -> Floats:
    """Leave out, where any truth may be used, a modality that does not show the target."""
    return np.where(_has_area(truth), values, np.nan) if rules.truths == 'any' else values


def _has_area(boxes: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1), bool)
