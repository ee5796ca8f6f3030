"""Losses against cases worked out by hand."""
import math

import numpy as np
import pytest
import torch

from rgbt_tracker_ros.distillation.calibrate import expected_calibration_error, platt
from rgbt_tracker_ros.distillation.losses import box_loss, center_target, focal, giou, task_loss


def test_center_target_peaks_at_the_nearest_cell():
    target = center_target(torch.tensor([[40.0, 20, 20, 20], [0, 0, 8, 8]]), 12, 8)
    # centres (50, 30) and (4, 4): cells (50 / 8 - 0.5, 30 / 8 - 0.5) = (5.75, 3.25) and (0, 0)
    assert target.shape == (2, 1, 12, 12)
    assert target[0, 0, 3, 6] == 1 and target[1, 0, 0, 0] == 1
    assert (target == 1).sum() == 2
    # one cell off, sigma at its least, 0.6 cells
    assert target[1, 0, 0, 1].item() == pytest.approx(math.exp(-0.5 / 0.36))


def test_focal_by_hand():
    logits = torch.tensor([[[[0.0, 0.0]]]])
    target = torch.tensor([[[[1.0, 0.5]]]])
    # p = 1/2: hit 0.5^2 log 2, miss (1 - 0.5)^4 0.5^2 log 2
    expected = 0.25 * math.log(2) + 0.0625 * 0.25 * math.log(2)
    assert focal(logits, target).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('a, b, expected', [
    ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
    ((0, 0, 1, 1), (2, 0, 3, 1), -1 / 3),       # union 2, hull 3
    ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3 - 0.0),  # union 6 is the hull
    ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7 - 2 / 9)])
def test_giou_by_hand(a, b, expected):
    value = giou(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
    assert value.item() == pytest.approx(expected, abs=1e-6)


def test_a_perfect_answer_costs_next_to_nothing():
    boxes = torch.tensor([[40.0, 40, 16, 16]])
    target = center_target(boxes, 12, 8)
    logits = torch.where(target == 1, 20.0, -20.0)
    corners = torch.tensor([40.0, 40, 56, 56]).view(1, 4, 1, 1).expand(1, 4, 12, 12)
    losses = task_loss(logits, corners, boxes, torch.ones(1), 8)
    assert losses['loss'].item() < 1e-3


def test_an_absent_target_asks_for_an_empty_map_and_no_box():
    boxes = torch.tensor([[40.0, 40, 16, 16]])
    corners = torch.zeros(1, 4, 12, 12)
    empty = task_loss(torch.full((1, 1, 12, 12), -20.0), corners, boxes, torch.zeros(1), 8)
    full = task_loss(torch.full((1, 1, 12, 12), 5.0), corners, boxes, torch.zeros(1), 8)
    assert empty['loss'] < 1e-3 < 100 < full['loss']
    assert box_loss(corners, boxes, torch.zeros(1, 1, 12, 12)) == 0


def test_platt_finds_the_curve_that_made_the_data():
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 40_000)
    hit = rng.random(40_000) < 1 / (1 + np.exp(-(1.7 * logit + 0.6)))
    fit = platt(logit, hit)
    assert fit['scale'] == pytest.approx(1.7, abs=0.06)
    assert fit['bias'] == pytest.approx(0.6, abs=0.04)
    assert fit['ece'] < 0.01


def test_platt_stays_finite_on_separable_data_and_refuses_one_class():
    fit = platt(np.array([-2.0, -1, 1, 2]), np.array([False, False, True, True]))
    assert np.isfinite(list(fit.values())).all()
    with pytest.raises(ValueError, match='0 of 3'):
        platt(np.zeros(3), np.zeros(3, bool))


def test_calibration_error_by_hand():
    p = np.array([0.95, 0.95, 0.15, 0.15])
    hit = np.array([True, False, False, False])
    assert expected_calibration_error(p, hit) == pytest.approx(0.5 * 0.45 + 0.5 * 0.15)
