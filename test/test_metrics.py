"""The measures against cases worked out by hand."""
from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from rgbt_tracker_ros.evaluation import metrics
from rgbt_tracker_ros.types import Box

NAN = math.nan
TRUTH = (10.0, 20.0, 40.0, 20.0)  # centre (30, 30), area 800

# predicted, overlap with TRUTH, distance of the centres
CASES = {
    'same': (TRUTH, 1.0, 0.0),
    'half width': ((10, 20, 20, 20), 0.5, 10.0),
    'twice as large': ((10, 20, 40, 40), 0.5, 10.0),
    'moved by its half': ((30, 20, 40, 20), 1 / 3, 20.0),
    'touching': ((50, 20, 40, 20), 0.0, 40.0),
    'same centre': ((20, 25, 20, 10), 0.25, 0.0),
    'no answer': ((NAN, NAN, NAN, NAN), 0.0, math.inf),
    'half an answer': ((10, 20, NAN, 20), 0.0, math.inf),
    'no area': ((10, 20, 0, 20), 0.0, math.inf),
}


@pytest.mark.parametrize(('predicted', 'overlap', 'distance'), CASES.values(), ids=CASES)
def test_one_box(predicted: tuple[float, ...], overlap: float, distance: float) -> None:
    assert metrics.iou([predicted], [TRUTH]) == pytest.approx([overlap])
    assert metrics.center_error([predicted], [TRUTH]) == pytest.approx([distance])


def test_precision_counts_the_threshold_itself() -> None:
    predicted = [TRUTH, (30, 20, 40, 20), (30.1, 20, 40, 20), (NAN,) * 4]  # 0, 20, 20.1, none
    truth = [TRUTH] * 4
    assert metrics.precision(predicted, truth) == 0.5
    assert metrics.precision(predicted, truth, threshold=19.9) == 0.25
    assert metrics.precision(predicted, truth, threshold=50) == 0.75


def test_normalised_precision_measures_in_sizes_of_the_target() -> None:
    # 8 px are a fifth of the width, 5 px a quarter of the height
    predicted = [(18, 20, 40, 20), (10, 25, 40, 20), (18.1, 20, 40, 20), (NAN,) * 4]
    assert metrics.normalised_precision(predicted, [TRUTH] * 4) == 0.25
    assert metrics.normalised_precision(predicted, [TRUTH] * 4, threshold=0.25) == 0.75


@pytest.mark.parametrize(('predicted', 'overlap'), [
    ((10, 20, -5, 20), 0.0), ((10, 20, 0, 0), 0.0), ((15, 25, -40, -20), 0.0),
    ((10, 20, NAN, 20), NAN), ((10, 20, math.inf, 20), 0.0)])
def test_bare_overlaps_of_odd_boxes(predicted: tuple[float, ...], overlap: float) -> None:
    got = metrics.overlaps(np.array([predicted], float), np.array([TRUTH]))
    np.testing.assert_array_equal(got, [overlap])


def test_success_leaves_the_threshold_itself_out() -> None:
    # 0.5 is above 0, 0.05 .. 0.45: 10 of the 21 thresholds
    curve = metrics.success_curve([(10, 20, 20, 20)], [TRUTH])
    assert curve.tolist() == [1.0] * 10 + [0.0] * 11
    assert metrics.success([(10, 20, 20, 20)], [TRUTH]) == pytest.approx(10 / 21)
    # a perfect frame scores 20 of 21, a touching or missing one none
    assert metrics.success([TRUTH, (50, 20, 40, 20)], [TRUTH] * 2) == pytest.approx(10 / 21)
    assert metrics.success([(NAN,) * 4], [TRUTH]) == 0.0


@given(*(st.tuples(*[st.floats(-50, 50)] * 2, *[st.floats(1, 90)] * 2) for _ in range(2)))
def test_iou_agrees_with_box(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    assert metrics.iou([a], [b])[0] == pytest.approx(Box(*a).iou(Box(*b)), abs=1e-12)


@pytest.mark.parametrize(('predicted', 'truth', 'reason'), [
    (np.zeros((0, 4)), np.zeros((0, 4)), r'\(N, 4\)'),
    (np.ones((3, 4)), np.ones((2, 4)), r'\(3, 4\) and \(2, 4\)'),
    (np.ones(4), np.ones(4), r'\(N, 4\)'),
    (np.ones((2, 4)), [[0, 0, 1, 1], [0, 0, 0, 1]], r'true box 1 is \[0.0, 0.0, 0.0, 1.0\]'),
    (np.ones((1, 4)), [[NAN, 0, 1, 1]], 'true box 0'),
])
def test_refuses(predicted: object, truth: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        metrics.precision(predicted, truth)


def test_leaves_its_input_alone() -> None:
    predicted = np.array([[1.0, 2.0, 0.0, 4.0]])
    metrics.success(predicted, [TRUTH])
    assert predicted.tolist() == [[1.0, 2.0, 0.0, 4.0]]
