"""IoU-Net: candidates, their densities, and boxes moved by the gradient of a score."""
from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rgbt_tracker_ros.models.dimp_tracker import ascend, refine
from rgbt_tracker_ros.models.iou_net import (
    IoUNet,
    draw_candidates,
    from_relative,
    to_relative,
)
from rgbt_tracker_ros.models.resnet import Stage

BOX = torch.tensor([[20., 10., 16., 24.], [3., 5., 30., 8.]])


def test_candidates_depend_on_seed_and_index_alone() -> None:
    both = draw_candidates(BOX, torch.tensor([7, 8]), 16, seed=3)
    alone = draw_candidates(BOX[1:], torch.tensor([8]), 16, seed=3)
    for a, b in zip(both, alone, strict=True):
        assert torch.equal(a[1:], b)
    other = draw_candidates(BOX, torch.tensor([7, 8]), 16, seed=4)
    assert not torch.isclose(both.boxes, other.boxes).any()


def test_candidates_have_the_densities_they_claim() -> None:
    index = torch.arange(400)
    drawn = draw_candidates(BOX[:1].expand(400, 4), index, 32)
    relative = to_relative(drawn.boxes, BOX[:1].expand(400, 4)[:, None]).flatten(0, 1)
    # half of them narrow, half wide: variance is the mean of both
    assert relative.mean(0).abs().max() < 0.02
    expected = math.sqrt((0.05 ** 2 + 0.5 ** 2) / 2)
    torch.testing.assert_close(relative.std(0), torch.full((4,), expected), rtol=0.05, atol=0)
    # importance sampling of a density must add up to 1
    ratio = (drawn.target / drawn.density).mean()
    assert ratio.item() == pytest.approx(1.0, abs=0.03)
    narrow = math.prod([1 / (math.sqrt(2 * math.pi) * 0.05)] * 4)
    assert drawn.target.max() <= narrow and drawn.density.min() >= 0


def test_relative_boxes_come_back() -> None:
    other = torch.tensor([[18., 13., 20., 20.], [1., 7., 25., 9.]])
    relative = to_relative(other, BOX)
    torch.testing.assert_close(from_relative(relative, BOX), other, rtol=1e-5, atol=1e-4)
    assert relative[0].tolist() == pytest.approx([0., 1 / 24, math.log(20 / 16),
                                                  math.log(20 / 24)], abs=1e-6)


def test_score_has_a_gradient_in_the_boxes() -> None:
    torch.manual_seed(0)
    net = IoUNet(Stage(6, 4), Stage(8, 8), width=8).eval()
    fine, coarse = torch.randn(2, 6, 16, 16), torch.randn(2, 8, 8, 8)
    modulation = net.modulation(fine, coarse, BOX)
    features = net.features(fine, coarse)
    boxes = (BOX[:, None] + torch.tensor([[0.], [3.]])).requires_grad_()
    score = net(modulation, features, boxes)
    assert score.shape == (2, 2)
    slope, = torch.autograd.grad(score.sum(), boxes)
    assert (slope.abs().sum(-1) > 0).all()
    step = 0.05
    for i in range(4):
        move = torch.zeros(4)
        move[i] = step
        with torch.no_grad():
            change = net(modulation, features, boxes + move) - net(modulation, features,
                                                                   boxes - move)
        torch.testing.assert_close(slope[..., i], change / (2 * step), rtol=0.1, atol=2e-3)
    # boxes are scored one by one
    torch.testing.assert_close(net(modulation, features, boxes[:, 1:]), score[:, 1:])


def hill(boxes: Tensor) -> Tensor:
    """Score that is best for the box (24, 20, 12, 16)."""
    best = torch.tensor([24., 20., 12., 16.])
    return -(to_relative(boxes, best) ** 2).sum(-1)


@pytest.mark.parametrize('inference', [False, True])
def test_boxes_climb(inference: bool) -> None:
    with torch.inference_mode(inference):
        start = torch.tensor([[[22., 21., 14., 13.], [24., 20., 12., 16.]]])
        found = ascend(hill, start, steps=10, rate=0.3)
        assert found.shape == (1, 2, 5)
        assert (found[..., 4] >= hill(start)).all()
        assert found[0, 0, :4].tolist() == pytest.approx([24., 20., 12., 16.], abs=0.3)
        assert found[0, 1, :4].tolist() == pytest.approx([24., 20., 12., 16.], abs=1e-3)


def test_boxes_that_would_fall_stay() -> None:
    start = torch.tensor([[[23., 21., 13., 15.]]])
    # far too long steps, cut to a tenth of the box each, jump over the top and back
    found = ascend(hill, start, steps=1, rate=1e6)
    assert (found[..., 4] >= hill(start)).all()


def test_refined_box_is_the_mean_of_the_best_starts() -> None:
    start = torch.tensor([[[22., 21., 14., 13.]]])
    found = refine(hill, start, proposals=8, steps=10, rate=0.3)
    assert found.shape == (1, 1, 4)
    assert found[0, 0].tolist() == pytest.approx([24., 20., 12., 16.], abs=0.5)
    assert torch.equal(found, refine(hill, start, proposals=8, steps=10, rate=0.3))


def test_long_boxes_are_left_out() -> None:
    start = torch.tensor([[[10., 10., 40., 4.]]])
    found = refine(lambda b: b.sum(-1), start, proposals=1, steps=2, rate=0.0)
    assert torch.equal(found, start)  # nothing better was found: the box as it came
