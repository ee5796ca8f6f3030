"""How students are judged: windows and stretches, intervals, and how often chance is taken for a
gain.
"""
from __future__ import annotations

from dataclasses import asdict
import json
from pathlib import Path

from adaptation_kit import BOX, SIZES, fresh, measured, sequence, walk, write_student
import numpy as np
import pytest
from tracker_kit import scene

from rgbt_tracker_ros.adaptation import judging, run
from rgbt_tracker_ros.adaptation.evidence import by_stretch, chances, difference, student_t
from rgbt_tracker_ros.adaptation.judging import Judge, JudgingSettings, Measured, Verdict
from rgbt_tracker_ros.adaptation.stretches import ENOUGH, LEAST, Stretch, cut
from rgbt_tracker_ros.models.registry import build

SHARES = run.SHARES


# --- stretches

def lengths(*spans: int, length: int = 16) -> list[tuple[int, int]]:
    """Return place and pairs of each stretch of spans of so many pairs."""
    return [(s.place, len(s.pairs)) for s in cut([range(5, 5 + n) for n in spans], length)]


def test_few_recordings_are_cut_and_many_stand_for_themselves():
    assert lengths(400) == [(0, 40)] * ENOUGH
    assert lengths(200, 200) == [(0, 40)] * 5 + [(1, 40)] * 5
    assert lengths(60, 60) == [(0, 20)] * 3 + [(1, 20)] * 3     # no shorter than a window
    # longer ones would be too few
    assert lengths(*[58] * 7) == [(i, 29) for i in range(7) for _ in range(2)]
    assert lengths(*[50] * 8) == [(i, 50) for i in range(LEAST)]
    assert lengths(*[10] * 40) == [(i, 10) for i in range(40)]
    # one that is longer than all the others would be all that counts
    assert lengths(300, *[4] * 7)[6:] == [(0, 43), *((i, 4) for i in range(1, 8))]
    assert lengths(3, 15, 31) == [(1, 15), (2, 31)] and lengths(3) == []
    assert cut([range(0), range(7, 107)], 40) == [
        Stretch(1, range(7, 57)), Stretch(1, range(57, 107))]


# --- what chance does

def null(rng: np.random.Generator, stretches: int, gain: float = 0.0, scenes: int = 0,
         spread: float = 0.06) -> tuple[Measured, dict[float, Measured]]:
    """Return overlaps of the old student and of those on the way to one that is better by `gain`
    on the whole, and by N(0, spread) more or less from stretch to stretch; where `scenes` are
    given, from scene to scene, too.
    """
    windows, samples = np.arange(48) % stretches, rng.integers(stretches, size=512)
    effects = rng.normal(0, spread, (2, stretches))
    noise = [rng.normal(0, 0.2, n) for n in (48, 512)]
    if scenes:
        seen = rng.integers(scenes, size=512)
        samples, noise[1] = seen % stretches, noise[1] + rng.normal(0, 0.2, scenes)[seen]
    old = Measured(np.zeros(48), np.zeros(512), np.zeros(8), windows, samples)
    return old, {share: Measured(
        share * (gain + effects[0][windows] + noise[0]) + rng.normal(0, 0.06, 48),
        share * (gain + effects[1][samples] + noise[1]) + rng.normal(0, 0.06, 512),
        np.zeros(8), windows, samples) for share in SHARES}


def accepted(judge: Judge, times: int, *args: object, **options: object) -> float:
    """Return how often one of the students on the way is found better."""
    rng = np.random.default_rng(5)
    return sum(any(v.better for v in judge.verdicts(*null(rng, *args, **options)).values())
               for _ in range(times)) / times


# by the rule before, of samples that were taken for independent, each of three students at 5 %:
# 42, 33, 29, 23 and 16 % of 1, 4, 8, 16, 40 stretches; 25 to 39 % with scenes
@pytest.mark.parametrize('stretches, scenes', [
    (1, 0), (4, 0), (8, 0), (10, 0), (16, 0), (40, 0), (8, 8), (10, 40), (16, 200)])
def test_a_student_that_is_no_better_is_seldom_accepted(judge, stretches, scenes):
    found = accepted(judge, 400, stretches, scenes=scenes)
    assert found <= 0.05 + 1.96 * (0.05 * 0.95 / 400) ** 0.5    # of what 400 draws can tell
    assert stretches < LEAST or found > 0.01                    # and not by refusing all


def test_a_student_that_is_better_is_accepted(judge):
    """By 5 points, while stretches differ by 5: of 2,000 pairs in a few recordings; where whole
    ones are kept aside, by 8.
    """
    assert accepted(judge, 200, ENOUGH, gain=0.05, spread=0.05) > 0.8
    assert accepted(judge, 200, LEAST, gain=0.08) > 0.85


def test_too_few_stretches_are_told(judge):
    old, new = null(np.random.default_rng(0), LEAST - 1, gain=0.5)
    verdict = judge.verdicts(old, new)[1.0]
    assert not verdict.better and verdict.stretches == LEAST - 1
    assert 'make 7 stretches, too few to judge by; 8 are the least: record more' in verdict.reason


def test_chances_by_hand():
    # all of 8 stretches gain: of 256 flips no other is as good
    gains = np.linspace(0.02, 0.03, 8)[None]
    assert chances([gains]) == [1 / 256]
    assert chances([-gains]) == [1.0] and chances([0 * gains]) == [1.0]
    # one that loses 1, where the others gain 1 each: as good are itself and one of the others
    assert chances([np.array([[-0.1] + [0.1] * 7])]) == [9 / 256]
    # of two that are the same none has the better luck; a third one that is apart has its own
    assert chances([gains, gains]) == [1 / 256] * 2
    apart = np.array([[-0.1] + [0.1] * 7])
    assert chances([apart, np.roll(apart, 1)])[0] > 1.5 * chances([apart])[0]


def test_a_measure_that_never_changes_does_not_outweigh_the_other():
    rng = np.random.default_rng(2)
    gain = rng.normal(0.1, 0.05, 16)
    for constant in (0.0, 1e-4, -1e-4):
        assert chances([np.stack([np.full(16, constant), gain])])[0] < 0.01
        assert chances([np.stack([np.full(16, constant), -gain])])[0] > 0.9


def test_samples_of_a_stretch_count_once():
    d, of = np.array([1.0, 3.0, -2.0, 4.0]), np.array([7, 7, 9, 2])
    assert by_stretch([(d, of)]).tolist() == [[3.0, 3.0, -1.5]]
    assert by_stretch([(d, of), (np.empty(0), of[:0])]).shape == (1, 3)
    # an interval of 400 samples in 8 stretches is that of 8 values
    values = np.random.default_rng(0).normal(0.02, 0.1, 8)
    found = difference(np.zeros(400), np.repeat(values, 50), np.repeat(np.arange(8), 50))
    half = 2.365 * 100 * values.std(ddof=1) / 8 ** 0.5
    assert (found.low, found.high) == pytest.approx(
        (100 * values.mean() - half, 100 * values.mean() + half), abs=0.01)
    alone = difference(np.zeros(9), np.full(9, 0.1), np.zeros(9, np.int64))
    assert (alone.low, alone.high) == (-90.0, 100.0)


@pytest.mark.parametrize('freedom, expected', [(3, 3.182), (7, 2.365), (15, 2.131), (400, 1.966)])
def test_quantiles_of_students_t(freedom, expected):
    assert student_t(0.975, freedom) == pytest.approx(expected, rel=0.01)


# --- the judge

def test_a_difference_by_hand():
    found = difference(np.array([0.5, 0.3, 0.4]), np.array([0.6, 0.4, 0.5]))
    assert asdict(found) == pytest.approx(
        {'old': 40, 'new': 50, 'gain': 10, 'low': 10, 'high': 10})
    # of means of n values with deviation s, 95 % lie within 1.960 s / sqrt(n)
    d = np.random.default_rng(0).normal(0.02, 0.1, 400)
    found = difference(np.full(400, 0.5), 0.5 + d)
    assert found.gain == pytest.approx(100 * d.mean())
    assert found.high - found.low == pytest.approx(2 * 1.960 * 100 * d.std() / 20, rel=0.05)
    assert set(asdict(difference(np.empty(0), np.empty(0))).values()) == {0.0}


@pytest.fixture(scope='module')
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp('student') / 'old.safetensors')


@pytest.fixture(scope='module')
def judge() -> Judge:
    return Judge([sequence(walk(16), 'a'), sequence(walk(20), 'b')], run.crops_of(
        'adapt', {'s': build('student', **SIZES.as_dict())}),
        JudgingSettings(windows=6, length=8, samples=6), part=(0.5, 1.0))


@pytest.mark.parametrize('new, reason', [
    (measured(0.6, 0.6), ''), (measured(0.6, 0.5), ''), (measured(0.5, 0.6), ''),
    (measured(0.6, 0.6, 0.792), ''),
    (measured(0.6, 0.6, spread=0.1), ''),
    (measured(), 'not better beyond doubt: tracking [+]0.0, finding [+]0.0 points'),
    (measured(0.4, 0.4), 'not better beyond doubt: tracking -10.0'),
    (measured(0.51, 0.51, spread=0.1), 'not better beyond doubt'),
    (measured(0.6, 0.45), 'better in one and worse in the other: tracking [+]10.0, finding -5.0'),
    (measured(0.5, 0.6, 0.78), r'it forgets: -2.0 points on made-up scenes, where -1.0 are put')])
def test_verdicts_and_their_reasons(judge, new, reason):
    found = judge.verdicts(measured(), {1.0: new})[1.0]
    assert found.better == (reason == '')
    if reason:
        with pytest.raises(ValueError, match=reason):
            raise ValueError(found.reason)
    assert Verdict.of(json.loads(json.dumps(found.as_dict()))) == found


def test_all_students_are_judged_by_the_same_windows(judge, student, tmp_path):
    assert 4 <= len(judge._windows) <= 6
    assert len({(w.sequence.name, w.pairs, w.region) for w in judge._windows}) == len(
        judge._windows)
    assert {w.stretch for w in judge._windows} == {0, 1}
    for held, window, region, number in judge._windows:
        stretch = judge.stretches[number]
        assert held.name == 'ab'[stretch.place]
        assert {*window} <= {*stretch.pairs} and stretch.pairs.start >= len(held) // 2
        assert len(window) == 8 and region.x >= 0 and region.x + region.w <= 320
    first, again = judge.measure(student), judge.measure(student)
    assert all(np.array_equal(a, b) for a, b in zip(
        asdict(first).values(), asdict(again).values(), strict=True))
    assert first.windows.tolist() == [w.stretch for w in judge._windows]
    assert len(first.finding) == len(first.kept) == 6
    # as the shipped student was trained with, not as the recorded cameras show them
    assert judge._made_up.batch(range(8))['made_up'].all()
    verdict = judge.verdicts(first, {1.0: again})[1.0]
    assert not verdict.better and verdict.tracking.gain == verdict.finding.gain == 0
    other = judge.measure(write_student(tmp_path / 'other.safetensors', 1))
    assert not np.array_equal(other.kept, first.kept)


def test_a_tracker_that_comes_back_scores_one():
    pairs = walk(8)
    there = judging._there_and_back
    assert there(fresh(), sequence(pairs), range(8), BOX) > 0.8
    assert there(fresh(), sequence(pairs[:4] + [scene(BOX, (300, 200))] * 2), range(6), BOX) == 0
