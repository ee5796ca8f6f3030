"""A run's scores as JSON and back.

`{"tracker", "convention", "unit": "fraction", "thresholds": {...}, "sequences": {name: {"PR",
"NPR", "SR", "fps", ...}}, "mean": {...}, "attributes": {name: {...}}}`. What is not known or not
finite is null; an infinite centre error, a frame without an answer, is null beside an overlap
of 0. `mean` and `attributes` are for readers; `from_json` takes the sequences alone.
"""
from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from rgbt_tracker_ros.data.sinks import write_file
from rgbt_tracker_ros.evaluation.conventions import convention
from rgbt_tracker_ros.evaluation.metrics import Floats
from rgbt_tracker_ros.evaluation.robot_metrics import (
    Calibration,
    Episode,
    RobotMetrics,
    median_time,
)
from rgbt_tracker_ros.evaluation.score_types import Run, Scores, SequenceScores
from rgbt_tracker_ros.evaluation.summary import by_attribute, summarise
from rgbt_tracker_ros.evaluation.vot import Tally

_CURVES = {'precision': 'precision_curve', 'normalised_precision': 'normalised_precision_curve',
           'success': 'success_curve'}
_NUMBERS = ('PR', 'NPR', 'SR', 'NPR_value', 'NPR_area', 'frames', 'fps')


def to_json(run: Run, frames: bool = True) -> dict[str, Any]:
    """Return the run as numbers, strings, lists and dicts.

    `frames`: with overlap and centre error of every frame; without them the report has no
    filmstrips and `from_json` gives empty arrays.
    """
    rules = convention(run.convention)
    return {
        'tracker': run.tracker, 'convention': run.convention, 'unit': 'fraction',
        'thresholds': {'precision': rules.center_thresholds.tolist(),
                       'normalised_precision': rules.normalised_thresholds.tolist(),
                       'success': rules.overlap_thresholds.tolist()},
        'sequences': {s.name: _of_sequence(s, frames) for s in run.sequences},
        'mean': {'sequences': len(run.sequences), **_of_scores(summarise(run.sequences))}
        if run.sequences else {},
        'attributes': {name: {'sequences': s.sequences, **_of_scores(s)}
                       for name, s in by_attribute(run.sequences).items()}}


def from_json(data: dict[str, Any]) -> Run:
    """Return the run that `to_json` wrote.

    :raises ValueError: if it is not such a run; names the key that is missing.
    """
    try:
        name = convention(data['convention']).name
        return Run(data['tracker'], name, tuple(
            _to_sequence(key, name, s) for key, s in data['sequences'].items()))
    except (KeyError, TypeError) as e:
        raise ValueError('not the scores of a run as `rgbt evaluate --json` writes them: '
                         f'{type(e).__name__} {e}') from e


def save(run: Run, path: Path | str, frames: bool = True) -> None:
    """Write `to_json` to a file; one that is there is replaced only once the new one is whole.

    :raises SinkError: if it can't be written; names the file.
    """
    write_file(path, json.dumps(to_json(run, frames), allow_nan=False))


def load(path: Path | str) -> Run:
    """Read what `save` wrote.

    :raises ValueError: if the file does not hold a run; names the file.
    :raises OSError: if it can't be read.
    """
    try:
        return from_json(json.loads(Path(path).read_text(encoding='utf-8')))
    except ValueError as e:
        raise ValueError(f'{path}: {e}') from e


def _of_scores(s: Scores) -> dict[str, Any]:
    numbers = {key: _number(getattr(s, key)) for key in _NUMBERS}
    if s.two_truths:
        numbers |= {'MPR': s.MPR, 'MSR': s.MSR}
    return {**numbers, 'accuracy': s.accuracy, 'robustness': s.robustness,
            'vot': {'overlap': s.vot.overlap, 'progress': s.vot.progress, 'length': s.vot.length},
            'robot': _of_robot(s.robot),
            'curves': {key: getattr(s, name).tolist() for key, name in _CURVES.items()}}


def _of_sequence(s: SequenceScores, frames: bool) -> dict[str, Any]:
    data = {**_of_scores(s), 'attributes': list(s.attributes)}
    if frames:
        data['iou'], data['center_error'] = _list(s.iou), _list(s.center_error)
    return data


def _to_sequence(name: str, rules: str, d: dict[str, Any]) -> SequenceScores:
    # null is NaN, but for the error of a frame that shows the target: there was no answer
    iou, error = (np.array(d.get(key, []), np.float64) for key in ('iou', 'center_error'))
    error = np.where(np.isnan(error) & ~np.isnan(iou), np.inf, error)
    curves: dict[str, Any] = {field: np.array(d['curves'][key], np.float64)
                              for key, field in _CURVES.items()}
    numbers: dict[str, Any] = {key: d[key] for key in _NUMBERS}
    return SequenceScores(
        name=name, convention=rules, iou=iou, center_error=error, vot=Tally(**d['vot']),
        robot=_to_robot(d['robot']), two_truths='MPR' in d, attributes=tuple(d['attributes']),
        **numbers, **curves)


def _of_robot(m: RobotMetrics) -> dict[str, Any]:
    def times(episodes: tuple[Episode, ...]) -> dict[str, Any]:
        frames, seconds = median_time(episodes)
        return {'closed': sum(e.closed for e in episodes),
                'open': sum(not e.closed for e in episodes),
                'median_frames': _number(frames), 'median_seconds': _number(seconds),
                'episodes': [[e.start, e.frames, e.closed, e.seconds] for e in episodes]}

    c = m.calibration
    return {'frames': m.frames, 'present': m.present, 'tracked': m.tracked,
            'false_holds': m.false_holds, 'longest_false_hold': m.longest_false_hold,
            'tracked_share': _number(m.tracked_share),
            'false_hold_share': _number(m.false_hold_share),
            'time_to_declare': times(m.losses), 'time_to_reacquire': times(m.outages),
            'calibration': None if c is None else {
                'ECE': c.expected_error, 'brier': c.brier, 'count': c.count.tolist(),
                'confidence': _list(c.confidence), 'good': _list(c.good),
                'bins': c.bins.tolist(), 'squares': c.squares}}


def _to_robot(d: dict[str, Any]) -> RobotMetrics:
    losses, outages = (tuple(Episode(*e) for e in d[key]['episodes'])
                       for key in ('time_to_declare', 'time_to_reacquire'))
    c = d['calibration']
    return RobotMetrics(
        d['frames'], d['present'], d['tracked'], d['false_holds'], d['longest_false_hold'],
        losses, outages, None if c is None else Calibration(
            np.array(c['bins'], np.float64), c['squares']))


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _list(values: Floats) -> list[float | None]:
    return [_number(v) for v in values.tolist()]
