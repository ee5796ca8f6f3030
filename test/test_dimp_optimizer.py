"""DiMP's filter optimiser: its operators, its step and its objective."""
from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
import torch.nn.functional as F

from rgbt_tracker_ros.models.dimp_classifier import Classifier, best_corner, gaussian_label
from rgbt_tracker_ros.models.dimp_optimizer import (
    FilterOptimizer,
    apply_filter,
    apply_transpose,
    node_distance,
    unfold,
)
from rgbt_tracker_ros.models.dimp_tracker import best_nodes, subnode_peaks, to_logits


def problem(seed: int, images: int = 3, size: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Patches, a filter and distances of two samples with random features and targets."""
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(2, images, 5, 8, 8, generator=g) / math.sqrt(5 * size ** 2)
    boxes = torch.rand(2, images, 4, generator=g) * torch.tensor([40., 40., 20., 20.]) + 4
    weight = torch.randn(2, 5 * size ** 2, generator=g) * 0.1
    nodes = 9 - size % 2
    return unfold(features, size), weight, node_distance(boxes, nodes, 8, 0.5 * (size % 2))


@pytest.mark.parametrize('size', [1, 3, 4])
def test_unfolded_product_is_the_convolution(size: int) -> None:
    """P11."""
    g = torch.Generator().manual_seed(size)
    features = torch.randn(2, 3, 5, 8, 8, generator=g)
    weight = torch.randn(2, 5, size, size, generator=g)
    scores = apply_filter(unfold(features, size), weight.flatten(1))
    expected = torch.stack([F.conv2d(x, f[None], padding=size // 2)[:, 0]
                            for x, f in zip(features, weight, strict=True)])
    torch.testing.assert_close(scores, expected.flatten(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('seed', range(3))
def test_transpose_and_gradient_agree_with_autograd(seed: int) -> None:
    """P11."""
    patches, weight, distance = problem(seed)
    residual = torch.randn(2, patches.shape[2], generator=torch.Generator().manual_seed(9))
    product = (apply_filter(patches, weight) * residual).sum(1)
    torch.testing.assert_close((apply_transpose(patches, residual) * weight).sum(1), product,
                               rtol=1e-4, atol=1e-4)
    # the step goes along half the objective's gradient
    optimizer = FilterOptimizer(sigma=0.5)
    maps = optimizer.maps(distance)
    f = weight.clone().requires_grad_()
    slope, = torch.autograd.grad(optimizer.objective(patches, f, maps).sum(), f)
    moved = weight - optimizer.step(patches, weight, maps)
    cosine = F.cosine_similarity(moved, slope, dim=1)
    torch.testing.assert_close(cosine, torch.ones(2), rtol=0, atol=1e-4)


def test_gradient_through_the_unrolled_steps() -> None:
    """P11."""
    patches, weight, distance = problem(5)
    optimizer = FilterOptimizer(sigma=0.7)
    with torch.no_grad():
        optimizer.mask.fill_(50.0)  # without the hinge, whose jumps differences can't see
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))

    def loss(p: Tensor) -> Tensor:
        return (optimizer(p, weight, distance, 3)[-1] * direction).sum()

    p = patches.clone().requires_grad_()
    loss(p).backward()
    assert p.grad is not None
    move = torch.randn(patches.shape, generator=torch.Generator().manual_seed(3)) * 1e-3
    with torch.no_grad():
        change = loss(patches + move) - loss(patches - move)
    assert change.item() == pytest.approx(2 * (p.grad * move).sum().item(), rel=2e-2)


def test_all_that_is_learned_gets_a_gradient() -> None:
    patches, weight, distance = problem(5)
    optimizer = FilterOptimizer(sigma=0.7)
    optimizer(patches, weight, distance, 3)[-1].square().sum().backward()
    for name, parameter in optimizer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('size', [3, 4])
def test_objective_never_rises(seed: int, size: int) -> None:
    """P11: on random features."""
    patches, weight, distance = problem(seed, size=size)
    optimizer = FilterOptimizer(sigma=0.7)
    maps = optimizer.maps(distance)
    values = torch.stack([optimizer.objective(patches, f, maps)
                          for f in optimizer(patches, weight, distance, 10)])
    assert (values.diff(dim=0) <= 1e-6).all(), values
    assert (values[-1] < 0.9 * values[0]).all(), values


def test_step_is_the_closed_form_on_a_quadratic() -> None:
    # with a mask of 1 everywhere and one image the objective is least squares:
    # |v (X f - y)|^2 + l^2 |f|^2, whose best step along the gradient g is |g|^2 / g^T H g
    patches, weight, distance = problem(1, images=1)
    optimizer = FilterOptimizer(sigma=0.7, regulariser=0.3, step=1.0)
    with torch.no_grad():
        optimizer.mask.fill_(50.0)
        optimizer.weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(0))
    maps = optimizer.maps(distance)
    stepped = optimizer.step(patches, weight, maps)
    for x, f, y, v, found in zip(patches.double(), weight.double(), maps.label.double(),
                                 maps.weight.double(), stepped, strict=True):
        a = (x * v).T
        hessian = a.T @ a + 0.09 * torch.eye(len(f), dtype=torch.float64)
        gradient = hessian @ f - a.T @ (v * y)
        best = f - (gradient @ gradient) / (gradient @ hessian @ gradient) * gradient
        torch.testing.assert_close(found.double(), best, rtol=1e-4, atol=1e-5)


def test_many_steps_reach_the_least_squares_solution() -> None:
    patches, weight, distance = problem(1, images=1)
    optimizer = FilterOptimizer(sigma=0.7, regulariser=1.0, step=0.9)
    with torch.no_grad():
        optimizer.mask.fill_(50.0)
    found = optimizer(patches, weight, distance, 100)[-1]
    label = optimizer.maps(distance).label
    for x, y, f in zip(patches, label, found, strict=True):
        solution = torch.linalg.solve(x @ x.T + torch.eye(len(x)), x @ y)
        torch.testing.assert_close(f, solution, rtol=1e-2, atol=1e-4)


def test_initial_functions() -> None:
    optimizer = FilterOptimizer(sigma=11 / 12)
    maps = optimizer.maps(torch.tensor([[[[0.0, 1.0], [2.0, 50.0]]]]))
    label = [1, math.exp(-0.5 * (12 / 11) ** 2), math.exp(-0.5 * (24 / 11) ** 2), 0]
    assert maps.label[0].tolist() == pytest.approx(label, abs=1e-5)
    assert maps.mask[0, 2].item() == pytest.approx(0.5, abs=1e-5)
    assert maps.mask[0, 3].item() == pytest.approx(1 / (1 + math.exp(3)), abs=1e-4)
    assert maps.weight[0].tolist() == [1, 1, 1, 1]
    # halfway between two knots is the mean of both
    between = optimizer.maps(torch.full((1, 1, 1, 1), 0.55)).label.item()
    assert between == pytest.approx((optimizer.label[5] + optimizer.label[6]).item() / 2, rel=1e-5)


@pytest.mark.parametrize(('size', 'first', 'node'), [(4, 0.0, (4, 3)), (3, 0.5, (4, 2))])
def test_label_peaks_at_the_node_of_the_centre(size: int, first: float,
                                               node: tuple[int, int]) -> None:
    # the centre is at x = 24, y = 32 px with an even filter, half a cell further with an odd one
    shift = first * 8
    box = torch.tensor([[24 + shift - 8 * (size % 2) - 5, 32 + shift - 4, 10., 8.]])
    classifier = Classifier(6, 5, size, 8, sigma=0.5)
    assert classifier.first_node == first
    nodes = classifier.nodes(torch.zeros(1, 5, 8, 8))
    label = gaussian_label(box, nodes, 8, first, 0.5)
    assert label.shape == (1, 1, 9 - size % 2, 9 - size % 2)
    assert label.max().item() == pytest.approx(1.0)
    assert divmod(int(label.argmax()), nodes) == node


def test_a_filter_finds_its_own_target() -> None:
    # a bright blob of features at the box: after the steps the score peaks at its centre
    torch.manual_seed(0)
    classifier = Classifier(6, 8, 4, 8, sigma=0.5)
    x = 0.1 * torch.randn(1, 6, 8, 8)
    x[..., 2:4, 4:6] += torch.randn(6, 1, 1)  # px 32 to 48 and 16 to 32
    box = torch.tensor([[[32., 16., 16., 16.]]])
    features = classifier.features(x)
    filters = classifier.filters(features[:, None], box, 8)
    score = classifier(features, filters)[-1]
    assert divmod(int(score.argmax()), 9) == (3, 5)


def test_features_have_one_length() -> None:
    classifier = Classifier(6, 5, 4, 8, sigma=0.5)
    x = torch.randn(3, 6, 8, 8) * torch.tensor([0.1, 1.0, 30.0])[:, None, None, None]
    norm = (classifier.features(x) ** 2).sum((1, 2, 3))
    torch.testing.assert_close(norm, torch.full((3,), 8 * 8 / 16.), rtol=1e-3, atol=0)


def test_cells_take_the_best_of_their_corners() -> None:
    scores = torch.zeros(1, 1, 4, 4)
    scores[0, 0, 1, 2] = 0.7
    best, node = best_corner(scores, 0.0)
    assert best[0, 0].tolist() == [[0, pytest.approx(0.7), pytest.approx(0.7)]] * 2 + [[0, 0, 0]]
    assert node[0, 0, 1] == node[0, 1, 2] == 6
    same, node = best_corner(scores, 0.5)
    assert torch.equal(same, scores) and node[0].flatten().tolist() == list(range(16))


def test_peaks_between_nodes() -> None:
    at = torch.arange(7.0)
    scores = torch.exp(-((at - 3.3) ** 2)[None, :] / 8 - ((at - 1.8) ** 2)[:, None] / 8)
    offset = subnode_peaks(scores[None, None])[0, :, 2, 3]
    assert offset.tolist() == pytest.approx([0.3, -0.2], abs=0.02)
    scores[6, 0] = 0.9
    assert best_nodes(scores[None, None], 2).tolist() == [[2 * 7 + 3, 6 * 7]]


def test_logits_are_of_the_clamped_score() -> None:
    scores = torch.tensor([-3.0, 0.0, 0.2, 0.9999, 7.0])
    torch.testing.assert_close(torch.sigmoid(to_logits(scores)),
                               torch.tensor([1e-4, 1e-4, 0.2, 0.9999, 0.9999]), rtol=1e-4,
                               atol=1e-6)
