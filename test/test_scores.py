"""Sequences together: means, attributes, JSON, intervals."""
from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rgbt_tracker_ros.evaluation.conventions import CONVENTIONS, ResultError
from rgbt_tracker_ros.evaluation.scores import (
    Run,
    SequenceResult,
    SequenceScores,
    by_attribute,
    load,
    mean_interval,
    paired_difference,
    save,
    score_sequence,
    summarise,
    to_json,
)

TRUTH = np.array([10.0, 20.0, 40.0, 20.0])


def scored(name: str, frames: int, on: int, rules: str = 'plain', attributes: tuple[str, ...] = (),
           **fields: Any) -> SequenceScores:
    """Score a tracker that is exact for `on` frames and 100 px off in the others."""
    boxes = np.tile(TRUTH, (frames, 1))
    boxes[on:, 0] += 100
    truth = np.tile(TRUTH, (frames, 1))
    return score_sequence(SequenceResult(name, boxes, **fields), truth, rules,
                          truth if CONVENTIONS[rules].truths == 'both' else None, attributes)


@pytest.mark.parametrize(('rules', 'expected'), [
    ('plain', (0.5 + 0.9) / 2), ('rgbt234', 0.7), ('gtot', (50 + 9) / 110)])
def test_sequences_weigh_the_same_but_for_gtot(rules: str, expected: float) -> None:
    mean = summarise([scored('a', 100, 50, rules), scored('b', 10, 9, rules)])
    assert mean.PR == pytest.approx(expected)
    assert mean.SR == pytest.approx(expected * (0.99 if rules == 'gtot' else 20 / 21))
    assert (mean.sequences, mean.frames) == (2, 110)
    assert mean.precision_curve[-1] == pytest.approx(expected)
    assert mean.MPR == (None if rules == 'plain' else mean.PR)


def test_lasher_leaves_out_a_success_curve_of_zeros() -> None:
    # its truth is on the border in frame 1, which then does not count as a success
    truth = np.tile([0.0, 20, 40, 20], (4, 1))
    nothing = score_sequence(SequenceResult('a', truth), truth, 'lasher')
    half = scored('b', 10, 5, 'lasher')
    assert (nothing.SR, nothing.PR) == (0, 1)
    mean = summarise([nothing, half])
    assert mean.SR == half.SR
    assert mean.PR == 0.75
    assert mean_interval([nothing, half]).value == pytest.approx(mean.SR)
    assert summarise([nothing]).SR == 0


def test_summary_refuses() -> None:
    with pytest.raises(ValueError, match='at least one sequence'):
        summarise([])
    with pytest.raises(ValueError, match=r"\['lasher', 'plain'\]"):
        summarise([scored('a', 5, 5), scored('b', 5, 5, 'lasher')])


def test_attributes() -> None:
    scores = [scored('a', 10, 5, attributes=('LI', 'OCC')), scored('b', 10, 9, attributes=('LI',)),
              scored('c', 10, 1)]
    groups = by_attribute(scores)
    assert list(groups) == ['LI', 'OCC']
    assert {a: (s.sequences, round(s.PR, 9)) for a, s in groups.items()} == {
        'LI': (2, 0.7), 'OCC': (1, 0.5)}


@pytest.mark.parametrize(('seconds', 'fps'), [
    (None, None), ([1.0, 0.1, 0.1], 10.0), ([1.0, 0.1, math.nan], 10.0), ([0.5], None),
    ([0.0, 0.0], None), ([math.nan, math.nan], None)])
def test_frames_per_second(seconds: list[float] | None, fps: float | None) -> None:
    s = scored('a', 5, 5, seconds=seconds and np.array([*seconds, *[math.nan] * 5])[:5])
    assert s.fps == pytest.approx(fps)


def test_per_frame_figures_of_a_missing_target_and_a_missing_answer() -> None:
    truth = [TRUTH, [0, 0, 0, 0], TRUTH]
    boxes = np.array([TRUTH, TRUTH, [math.nan] * 4])
    s = score_sequence(SequenceResult('a', boxes), truth, 'plain')
    np.testing.assert_array_equal(s.iou, [1, math.nan, 0])
    np.testing.assert_array_equal(s.center_error, [0, math.nan, math.inf])
    assert s.frames == 2


def test_robot_metrics_follow_the_rows_of_a_sparse_truth() -> None:
    rows = 21
    states = np.full(rows, 4)
    states[::10] = 2
    s = score_sequence(
        SequenceResult('a', np.tile(TRUTH, (rows, 1)), np.linspace(0, 1, rows), states,
                       stamps=np.arange(rows) / 10), np.tile(TRUTH, (3, 1)), 'vtuav',
        np.tile(TRUTH, (3, 1)))
    assert (s.robot.frames, s.robot.tracked, s.robot.outages) == (2, 2, ())
    assert s.robot.calibration is not None
    assert s.robot.calibration.count.sum() == 2


@pytest.mark.parametrize('field', ['confidences', 'states', 'stamps'])
def test_refuses_values_that_do_not_fit_the_boxes(field: str) -> None:
    with pytest.raises(ResultError, match=f'a: 4 {field} for 5 boxes'):
        scored('a', 5, 5, **{field: np.ones(4)})


def make_run(rules: str) -> Run:
    rng = np.random.default_rng(0)
    every = 10 if rules == 'vtuav' else 1
    scores = []
    for k in range(4):
        n = 30 + 10 * k
        truth = np.tile(TRUTH, (n, 1))
        if rules == 'plain':
            truth[5:9] = 0
        rows = every * (n - 1) + 1
        boxes = np.tile(TRUTH, (rows, 1)) + rng.normal(0, 3, (rows, 4))
        if rules != 'pytracking':
            boxes[12] = math.nan
        odd = k % 2 == 0
        scores.append(score_sequence(SequenceResult(
            f's{k}', boxes, rng.random(rows) if odd else None,
            rng.integers(1, 5, rows) if odd else None, rng.random(rows) / 100 if odd else None,
            np.arange(rows) / 30 if odd else None), truth, rules, truth, ('OCC',) if odd else ()))
    return Run('X', rules, tuple(scores))


@pytest.mark.parametrize('rules', CONVENTIONS)
def test_json_there_and_back(rules: str, tmp_path: Path) -> None:
    run = make_run(rules)
    save(run, tmp_path / 'run.json')
    back = load(tmp_path / 'run.json')
    assert to_json(back) == to_json(run)
    for a, b in zip(run.sequences, back.sequences, strict=True):
        np.testing.assert_array_equal(a.iou, b.iou)
        np.testing.assert_array_equal(a.center_error, b.center_error)
        assert (a.robot.losses, a.robot.outages) == (b.robot.losses, b.robot.outages)
        assert (a.MPR, a.attributes, a.fps) == (b.MPR, b.attributes, b.fps)
    assert not list(tmp_path.glob('*.part'))


def test_json_says_what_readers_look_for() -> None:
    data = json.loads(json.dumps(to_json(make_run('rgbt234')), allow_nan=False))
    assert (data['tracker'], data['convention'], data['unit']) == ('X', 'rgbt234', 'fraction')
    first, mean = data['sequences']['s0'], data['mean']
    assert {'PR', 'NPR', 'SR', 'MPR', 'MSR', 'NPR_value', 'NPR_area', 'fps', 'frames', 'accuracy',
            'robustness', 'robot', 'curves'} <= set(first) & set(mean)
    assert mean['PR'] == pytest.approx(np.mean([s['PR'] for s in data['sequences'].values()]))
    assert all(0 <= first[key] <= 1 for key in ('PR', 'NPR', 'SR', 'MPR', 'MSR', 'accuracy'))
    assert first['fps'] > 0
    assert data['sequences']['s1']['fps'] is None
    assert len(first['curves']['success']) == len(data['thresholds']['success']) == 21
    assert data['attributes']['OCC']['sequences'] == 2
    assert 'MPR' not in to_json(make_run('lasher'))['mean']
    assert 'iou' not in to_json(make_run('plain'), frames=False)['sequences']['s0']
    assert to_json(Run('X', 'plain', ()))['mean'] == {}


@pytest.mark.parametrize(('text', 'message'), [
    ('{}', "KeyError 'convention'"), ('[]', 'not the scores of a run'), ('{', 'Expecting'),
    ('{"convention": "x"}', "convention 'x' is not known"),
    ('{"convention": "plain", "tracker": "X", "sequences": {"a": {}}}', "KeyError 'iou|curves")])
def test_load_names_the_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / 'run.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


def family(shares: list[float], rules: str = 'plain') -> list[SequenceScores]:
    return [scored(f's{k}', 100, round(100 * p), rules) for k, p in enumerate(shares)]


def test_intervals() -> None:
    rng = np.random.default_rng(0)
    a = rng.uniform(0.2, 0.9, 60)
    scores = family(a.tolist())
    got = mean_interval(scores, 'PR')
    assert got.value == pytest.approx(summarise(scores).PR)
    # the normal approximation is good for sixty sequences
    spread = 1.96 * np.std([s.PR for s in scores]) / math.sqrt(60)
    assert (got.low, got.high) == pytest.approx((got.value - spread, got.value + spread), abs=0.01)
    assert mean_interval(scores, 'PR') == got
    assert mean_interval(scores, 'PR', seed=1) != got
    wide = mean_interval(scores, 'PR', level=0.99)
    assert wide.low < got.low < got.high < wide.high
    one = mean_interval(scores[:1])
    assert one.low == one.value == one.high


def test_a_paired_difference_sees_what_two_intervals_do_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.1, 0.8, 60)
    worse, better = family(base.tolist()), family((base + 0.05).tolist())
    d = paired_difference(better, list(reversed(worse)), 'PR')
    assert d.value == pytest.approx(0.05, abs=0.01)
    assert d.low > 0.03
    a, b = mean_interval(better, 'PR'), mean_interval(worse, 'PR')
    assert a.low < b.high
    same = paired_difference(worse, worse)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_pooled_mean_has_a_pooled_interval() -> None:
    scores = [scored('a', 1000, 900, 'gtot'), scored('b', 10, 0, 'gtot')]
    assert mean_interval(scores, 'MPR').value == pytest.approx(summarise(scores).PR)


@pytest.mark.parametrize(('call', 'message'), [
    (lambda s: mean_interval(s, 'XR'), "'XR' is not known; choose one of: PR"),
    (lambda s: mean_interval(s, 'MSR'), 'figure of two truths'),
    (lambda s: mean_interval([]), 'at least one'),
    (lambda s: mean_interval(s, level=1.0), 'level must be'),
    (lambda s: paired_difference(s, s[1:]), 'only one has: s0')])
def test_intervals_refuse(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(family([0.5, 0.6]))
