"""Accuracy, robustness and EAO against VOT's definition in loops, and by hand."""
from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
import pytest

from rgbt_tracker_ros.evaluation import vot

NAN = math.nan
Floats = NDArray[np.float64]


# overlaps: frames before failure, accuracy
@pytest.mark.parametrize(('overlaps', 'progress', 'accuracy'), [
    ([0.5] * 30, 30, 0.5),
    ([0.5] * 20 + [0.1] * 10, 20, 0.5),  # at the threshold is a failure
    ([0.5] * 20 + [0.11] * 10, 30, (10 + 1.1) / 30),
    ([0.5] * 20 + [0.0] * 9, 29, 10 / 29),  # one frame short of a failure
    ([0.5] * 20 + [0.0] * 9 + [0.5] + [0.0] * 9, 39, 10.5 / 39),
    ([0.5] * 10 + [0.0] * 25 + [0.9] * 10, 10, 0.5),  # what comes after does not count
    ([0.5] * 20 + [0.0] * 5 + [NAN] + [0.0] * 9, 35, 10 / 35),  # an absent target ends the row
    ([0.5] * 10 + [NAN] * 20 + [0.5] * 10, 40, 10 / 40),
    ([0.0] * 10, 0, 0.0),
    ([0.7], 1, 0.7),
])
def test_single_run(overlaps: list[float], progress: int, accuracy: float) -> None:
    t = vot.single_run(np.array(overlaps))
    assert t.progress == progress == vot.progress(np.array(overlaps))
    assert t.accuracy == pytest.approx(accuracy)
    assert t.robustness == pytest.approx(progress / len(overlaps))


def test_run_overlaps() -> None:
    truth = np.array([[10, 10, 20, 20], [0, 0, 0, 0], [30, 10, 20, 20], [-10, 10, 20, 20]], float)
    shifted = truth + np.array([10, 0, 0, 0])
    np.testing.assert_allclose(vot.run_overlaps(shifted[1:], truth, 1), [NAN, 1 / 3, 1 / 3])
    np.testing.assert_allclose(vot.run_overlaps(shifted[2::-1], truth, 2, backward=True),
                               [1 / 3, NAN, 1 / 3])
    # bounded to the image, half of the last truth is left, and its shifted box touches it no more
    np.testing.assert_allclose(vot.run_overlaps(truth[3:], truth, 3, size=(640, 480)), [1.0])
    np.testing.assert_allclose(vot.run_overlaps(shifted[3:], truth, 3, size=(640, 480)), [0.5])
    np.testing.assert_allclose(vot.run_overlaps(np.full((1, 4), NAN), truth, 3), [0.0])
    with pytest.raises(ValueError, match='run back from frame 2: 2 boxes, but 3 frames'):
        vot.run_overlaps(shifted[:2], truth, 2, backward=True)


def random_runs(rng: np.random.Generator) -> tuple[int, list[Floats]]:
    """A sequence of 60 to 200 frames with runs from three anchors, some of which fail."""
    length = int(rng.integers(60, 200))
    runs = []
    for n in (length, length // 2, length // 3):
        o = np.clip(rng.normal(0.5, 0.25, n), 0, 1)
        if rng.random() < 0.5:
            o[int(rng.integers(5, n)):] *= 0.1
        o[rng.random(n) < 0.03] = NAN
        runs.append(o)
    return length, runs


def in_loops(run: Floats) -> int:
    grace = 10
    for j, o in enumerate(run):
        grace = grace - 1 if not math.isnan(o) and o <= 0.1 else 10
        if grace == 0:
            return j + 1 - 10
    return len(run)


def test_multistart_in_loops() -> None:
    rng = np.random.default_rng(0)
    sequences = [random_runs(rng) for _ in range(20)]
    top_a = bottom_a = top_r = bottom_r = 0.0
    for length, runs in sequences:
        kept = [(run[:in_loops(run)], len(run)) for run in runs]
        frames = sum(len(k) for k, _ in kept)
        top_a += sum(float(np.nansum(k)) for k, _ in kept)
        bottom_a += frames
        top_r += frames / sum(n for _, n in kept) * length
        bottom_r += length
    assert any(in_loops(r) < len(r) for _, runs in sequences for r in runs)
    assert vot.multistart(sequences) == pytest.approx((top_a / bottom_a, top_r / bottom_r))


def test_eao_in_loops() -> None:
    rng = np.random.default_rng(1)
    runs = [r for _ in range(15) for r in random_runs(rng)[1]]
    low, high = 20, 90
    phi, active = np.zeros(high), np.zeros(high)
    for run in runs:
        stop = in_loops(run)
        o = np.nan_to_num(run)
        o[stop:] = 0
        for j in range(1, high):
            if j < len(o):
                phi[j] += np.mean(o[1:j + 1])
                active[j] += 1
            elif stop < len(o):
                phi[j] += np.sum(o[1:]) / (j - 1)
                active[j] += 1
    expected = float(np.mean((phi / np.maximum(active, 1))[low:]))
    assert vot.expected_average_overlap(runs, low, high) == pytest.approx(expected)


def test_eao_of_simple_runs() -> None:
    assert vot.expected_average_overlap([np.full(800, 0.6)]) == pytest.approx(0.6)
    assert vot.expected_average_overlap([np.full(50, 0.6)]) == 0.0  # no run gets so far
    failed = np.r_[np.full(101, 0.8), np.zeros(700)]
    curve = [0.8 * 100 / j for j in range(115, 755)]
    assert vot.expected_average_overlap([failed]) == pytest.approx(np.mean(curve))


@pytest.mark.parametrize('call', [
    lambda: vot.expected_average_overlap([np.ones(5)], 10, 10),
    lambda: vot.expected_average_overlap([np.ones(5)], 0, 10),
    lambda: vot.multistart([]), lambda: vot.multistart([(5, [])])])
def test_refuses(call: object) -> None:
    with pytest.raises(ValueError, match=r'low and high|no sequences|no runs'):
        call()  # type: ignore[operator]
