"""RoI pooling against means worked out by hand, and its gradients."""
from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
import torch

from rgbt_tracker_ros.models.roi import cell_cover, roi_pool


def ramp(size: int, stride: int) -> torch.Tensor:
    """Two channels that hold the x and the y of every cell's centre, in crop px."""
    at = (torch.arange(size, dtype=torch.float32) + 0.5) * stride
    return torch.stack((at.expand(size, size), at[:, None].expand(size, size)))[None]


def test_mean_of_cells() -> None:
    # a box over 2 x 2 whole cells, one point in the middle of each: the cells themselves
    x = torch.arange(16, dtype=torch.float32).view(1, 1, 4, 4)
    box = torch.tensor([[[8., 16., 16., 16.]]])
    assert roi_pool(x, box, 2, 8, samples=1)[0, 0, 0].tolist() == [[9, 10], [13, 14]]
    assert roi_pool(x, box, 1, 8, samples=2).item() == pytest.approx((9 + 10 + 13 + 14) / 4)


@settings(max_examples=40, deadline=None)
@given(x=st.floats(5, 30), y=st.floats(5, 30), w=st.floats(1, 25), h=st.floats(1, 25),
       bins=st.integers(1, 5))
def test_mean_of_a_ramp_is_at_the_middle_of_the_bin(x: float, y: float, w: float, h: float,
                                                    bins: int) -> None:
    pooled = roi_pool(ramp(16, 4), torch.tensor([[[x, y, w, h]]]), bins, 4)[0, 0]
    middle = (torch.arange(bins) + 0.5) / bins
    torch.testing.assert_close(pooled[0], (x + w * middle).expand(bins, bins), rtol=0, atol=1e-3)
    torch.testing.assert_close(pooled[1], (y + h * middle)[:, None].expand(bins, bins), rtol=0,
                               atol=1e-3)


def test_outside_is_zero() -> None:
    x = torch.ones(1, 1, 4, 4)
    boxes = torch.tensor([[[-40., 0., 32., 32.], [0., 0., 32., 32.], [-32., 0., 64., 32.]]])
    inside = roi_pool(x, boxes, 1, 8, samples=32).flatten()
    # the interpolation runs down to 0 from half a cell inside the edge to half a cell outside
    expected = torch.tensor([0., 15 / 16 * 15 / 16, 31 / 64 * 15 / 16])
    torch.testing.assert_close(inside, expected, rtol=0, atol=1e-3)


def test_gradients_of_features_and_boxes() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 6, 6)
    boxes = torch.tensor([[[9.3, 11.7, 17.9, 13.1], [5.2, 8.1, 30.3, 25.9]]])
    weight = torch.randn(2, 2, 3, 3)

    def loss(features: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return (roi_pool(features, at, 3, 8)[0] * weight).sum()

    at = boxes.clone().requires_grad_()
    features = x.clone().requires_grad_()
    loss(features, at).backward()
    assert at.grad is not None and features.grad is not None
    step = 1e-2
    for k in range(2):
        for i in range(4):
            move = torch.zeros_like(boxes)
            move[0, k, i] = step
            slope = (loss(x, boxes + move) - loss(x, boxes - move)) / (2 * step)
            assert at.grad[0, k, i].item() == pytest.approx(slope.item(), abs=5e-3)
    # linear in the features
    direction = torch.randn_like(x)
    change = loss(x + direction, boxes) - loss(x, boxes)
    assert (features.grad * direction).sum().item() == pytest.approx(change.item(), rel=1e-3)


def test_bfloat16_is_pooled_in_float32() -> None:
    x = torch.rand(2, 3, 8, 8)
    boxes = torch.tensor([[[8., 8., 20., 30.]], [[3., 6., 40., 9.]]])
    with torch.autocast('cpu', torch.bfloat16):
        pooled = roi_pool(x.bfloat16(), boxes, 3, 8)
    assert pooled.dtype == torch.bfloat16
    expected = roi_pool(x.bfloat16().float(), boxes, 3, 8)
    torch.testing.assert_close(pooled.float(), expected, rtol=8e-3, atol=1e-3)


def test_cover() -> None:
    cover = cell_cover(torch.tensor([[4., 8., 8., 12.], [-100., 0., 50., 50.]]), 3, 8)
    assert cover[0, 0].tolist() == [[0, 0, 0], [0.5, 0.5, 0], [0.25, 0.25, 0]]
    assert cover[1].sum() == 0
