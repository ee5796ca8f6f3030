"""Score sequences, take means, give intervals: what the runner calls and the report reads.

All figures are fractions in [0, 1]; errors are pixels; times are seconds. The types, the JSON and
the intervals live in modules of their own and are named here for their users.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgbt_tracker_ros.evaluation import metrics, vot
from rgbt_tracker_ros.evaluation.bootstrap import Interval, mean_interval, paired_difference
from rgbt_tracker_ros.evaluation.conventions import Convention, ResultError
from rgbt_tracker_ros.evaluation.conventions import convention as find_convention
from rgbt_tracker_ros.evaluation.frame_errors import FrameErrors, frame_errors
from rgbt_tracker_ros.evaluation.metrics import Floats
from rgbt_tracker_ros.evaluation.robot_metrics import judge
from rgbt_tracker_ros.evaluation.score_json import from_json, load, save, to_json
from rgbt_tracker_ros.evaluation.score_types import (
    Run,
    Scores,
    SequenceResult,
    SequenceScores,
    Summary,
)
from rgbt_tracker_ros.evaluation.summary import by_attribute, figures, summarise
from rgbt_tracker_ros.evaluation.timing import Timing

__all__ = ['Interval', 'ResultError', 'Run', 'Scores', 'SequenceResult', 'SequenceScores',
           'Summary', 'by_attribute', 'from_json', 'load', 'mean_interval',
           'paired_difference', 'save', 'score_sequence', 'summarise', 'to_json']


def score_sequence(result: SequenceResult, truth: ArrayLike, convention: str | Convention,
                   truth_thermal: ArrayLike | None = None, attributes: Sequence[str] = (),
                   ) -> SequenceScores:
    """Score one sequence.

    `truth`: (N, 4) boxes in the RGB image, or the only ones; a row that is NaN or has no area is a
    frame without target. `truth_thermal`: (N, 4) in the thermal image, for conventions that use
    both; others leave it aside.

    :raises ResultError: if the result or the truth is not what the convention allows.
    :raises ValueError: if the convention is not known.
    """
    rules, source = find_convention(convention), result.source or result.name
    truths = [np.asarray(t, np.float64) for t in (truth, truth_thermal) if t is not None]
    errors = frame_errors(result.boxes, truths, rules, source)
    seen = len(errors.answered)

    def rows(values: NDArray[Any] | None, what: str) -> NDArray[Any] | None:
        if values is None:
            return None
        if len(values) != len(result.boxes):
            raise ResultError(source, f'{len(values)} {what} for {len(result.boxes)} boxes; give '
                              'one for each')
        kept = np.asarray(values, np.float64)[::rules.stride][:seen]
        return np.pad(kept, (0, seen - len(kept)), constant_values=np.nan)

    timing = Timing.of(result.seconds)
    return SequenceScores(
        name=result.name, frames=len(errors.overlap), iou=errors.all_overlaps,
        center_error=errors.all_errors, vot=vot.single_run(errors.all_overlaps),
        robot=judge(errors.all_overlaps, errors.answered, rows(result.confidences, 'confidences'),
                    rows(result.states, 'states'), rows(result.stamps, 'stamps')),
        two_truths=rules.truths != 'one' and len(truths) > 1, attributes=tuple(attributes),
        fps=timing.fps if timing else None, **figures(*_curves(errors, rules), rules))


def _curves(errors: FrameErrors, rules: Convention) -> tuple[Floats, Floats, Floats]:
    return (metrics.share_within(errors.distance, rules.center_thresholds, rules.center_strict),
            metrics.share_within(errors.normalised, rules.normalised_thresholds),
            metrics.share_above(errors.overlap, rules.overlap_thresholds))
