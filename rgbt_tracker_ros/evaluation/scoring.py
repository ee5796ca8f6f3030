"""From answers, or rows of a file, to scores: whoever recorded them, and however."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.evaluation.cache import Answers
from rgbt_tracker_ros.evaluation.conventions import Convention, ResultError
from rgbt_tracker_ros.evaluation.conventions import convention as named
from rgbt_tracker_ros.evaluation.score_types import SequenceResult, SequenceScores
from rgbt_tracker_ros.evaluation.scores import score_sequence
from rgbt_tracker_ros.evaluation.timing import Timing


def result_of(sequence: Sequence, answers: Answers) -> SequenceResult:
    """Return answers as a row for every frame of the sequence; NaN where there is none.

    Frames before `answers.first` and after the last answer have none; answers may hold NaN rows
    themselves, where a frame was dropped on its way.
    """
    frames = len(sequence)
    count = min(len(answers), frames - answers.first)

    def spread(values: NDArray[Any], empty: float) -> NDArray[Any]:
        full = np.full((frames, *values.shape[1:]), empty, values.dtype)
        full[answers.first:answers.first + count] = values[:count]
        return full

    return SequenceResult(
        sequence.name, spread(answers.boxes, np.nan), spread(answers.confidence, 0.0),
        spread(answers.states, 0), spread(answers.seconds, np.nan), _stamps(answers, frames))


def score_answers(sequence: Sequence, answers: Answers, convention: str | Convention,
                  ) -> tuple[SequenceResult, SequenceScores]:
    """Score answers to a sequence: see `result_of`, `score_result`.

    `fps` is that of all updates, of annotated frames or not. A frame without an answer is a box of
    zeros for a convention that refuses NaN, as its own trackers write it.
    """
    rules, whole = named(convention), result_of(sequence, answers)
    if 'nan' in rules.refuse:
        whole = replace(whole, boxes=np.nan_to_num(whole.boxes))
    rows = sequence.annotated
    at_rows = _taken(whole, rows) if len(rows) and rows[-1] < len(whole.boxes) else whole
    scores = _score(sequence, whole, at_rows, rules)
    timing = Timing.of(answers.seconds)
    return at_rows, replace(scores, fps=timing.fps if timing else None)


def score_result(sequence: Sequence, result: SequenceResult, convention: str | Convention,
                 ) -> tuple[SequenceResult, SequenceScores]:
    """Score a result of one row per frame, or one row per annotated frame.

    :returns: the rows of the annotated frames, and their scores.
    :raises ResultError: if the rows or the truth are not what the convention allows.
    """
    at_rows = _at_rows(result, sequence)
    return at_rows, _score(sequence, result, at_rows, named(convention))


def _score(sequence: Sequence, whole: SequenceResult, at_rows: SequenceResult,
           rules: Convention) -> SequenceScores:
    if not len(sequence.annotated):
        raise ResultError(sequence.name, 'the sequence has no annotation; nothing can be scored')
    # such a convention takes its rows itself, and has its own idea of what is too short
    given = whole if rules.stride > 1 else at_rows
    return score_sequence(given, sequence.raw_truth, rules, sequence.raw_truth_thermal,
                          sequence.attributes)


def _at_rows(result: SequenceResult, sequence: Sequence) -> SequenceResult:
    """Return the rows of the annotated frames; all of them where every frame is annotated, as a
    convention has its own idea of what is too long.
    """
    rows, annotated = len(result.boxes), sequence.annotated
    if rows in (0, len(annotated)) or rows <= annotated[-1]:
        return result
    if len(annotated) == annotated[-1] + 1 and rows != len(sequence):
        return result
    return _taken(result, annotated)


def _taken(result: SequenceResult, annotated: NDArray[np.int64]) -> SequenceResult:
    def taken(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else values[annotated]

    return SequenceResult(
        result.name, result.boxes[annotated], taken(result.confidences), taken(result.states),
        taken(result.seconds), taken(result.stamps), result.source)


def _stamps(answers: Answers, frames: int) -> NDArray[np.float64]:
    """Seconds of every frame; those without an answer lie on the line through the others."""
    known = np.arange(answers.first, min(answers.first + len(answers), frames))
    seconds = (answers.stamps[:len(known)] - answers.stamps[0]) * 1e-9
    step = (seconds[-1] - seconds[0]) / max(len(known) - 1, 1)
    full = (np.arange(frames) - answers.first) * step
    full[known] = seconds
    after = np.arange(known[-1] + 1, frames)
    full[after] = seconds[-1] + (after - known[-1]) * step
    return np.asarray(full, np.float64)
