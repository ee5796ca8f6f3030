"""Means over sequences, overall and by attribute, weighed as the convention does."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.conventions import Convention, convention
from rgbt_tracker_ros.evaluation.metrics import Floats
from rgbt_tracker_ros.evaluation.robot_metrics import RobotMetrics
from rgbt_tracker_ros.evaluation.score_types import SequenceScores, Summary
from rgbt_tracker_ros.evaluation.vot import Tally


def summarise(scores: Iterable[SequenceScores], name: str = 'mean') -> Summary:
    """Take the mean over sequences, all of one convention.

    :raises ValueError: if there are none, or of several conventions.
    """
    items = list(scores)
    names = sorted({s.convention for s in items})
    if len(names) != 1:
        raise ValueError(f'{name}: {len(items)} sequences of conventions {names}; a mean needs at '
                         'least one sequence, and one convention')
    rules = convention(names[0])
    weights = np.array([s.frames if rules.pooled else 1.0 for s in items])
    curves = [_mean([getattr(s, key) for s in items], weights, rules)
              for key in ('precision_curve', 'normalised_precision_curve', 'success_curve')]
    rates = [s.fps for s in items if s.fps is not None]
    return Summary(
        name=name, sequences=len(items), frames=sum(s.frames for s in items),
        vot=Tally.total(s.vot for s in items),
        robot=RobotMetrics.total(s.robot for s in items),
        two_truths=all(s.two_truths for s in items),
        fps=float(np.mean(rates)) if rates else None,
        **figures(curves[0], curves[1], curves[2], rules))


def by_attribute(scores: Iterable[SequenceScores]) -> dict[str, Summary]:
    """Take the mean over the sequences that carry each attribute, in order of first appearance."""
    items = list(scores)
    names = dict.fromkeys(a for s in items for a in s.attributes)
    return {a: summarise([s for s in items if a in s.attributes], a) for a in names}


def figures(precision: Floats, normalised: Floats, success: Floats, rules: Convention,
             ) -> dict[str, Any]:
    """Return the fields of `Scores` that follow from the three curves."""
    value, area = float(normalised[20]), float(normalised.mean())
    sr = (success[1:] + success[:-1]) / 2 if rules.trapezoid else success
    return {'convention': rules.name, 'PR': float(precision[rules.center_at]),
            'NPR': area if rules.normalised_area else value, 'SR': float(sr.mean()),
            'NPR_value': value, 'NPR_area': area, 'precision_curve': precision,
            'normalised_precision_curve': normalised, 'success_curve': success}


def _mean(curves: list[Floats], weights: NDArray[Any], rules: Convention) -> Floats:
    table = np.stack(curves)
    keep = table.sum(axis=1) > np.finfo(float).eps
    if rules.drop_zero_curves and keep.any():
        table, weights = table[keep], weights[keep]
    return np.asarray(weights @ table / weights.sum(), np.float64)
