"""DiMP: both branches, its taps and its tracking pass."""
from __future__ import annotations

from typing import Any

from convnet_kit import batch_for, dimp, track
import pytest
import torch

from rgbt_tracker_ros.models.dimp_tracker import template_views
from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.models.profile import on_meta, training_macs
from rgbt_tracker_ros.models.registry import build, name_of

BOXES = ('iou_net', 'center')


@pytest.fixture(params=BOXES)
def network(request: pytest.FixtureRequest) -> Network:
    return dimp(box=request.param)


def test_taps_and_their_shapes(network: Network) -> None:
    batch = batch_for(network, [0, 1, 2])
    shapes = {k: tuple(v.shape) for k, v in network.taps(batch).items()}
    assert [k for k in shapes if k.startswith('scores.')] == [f'scores.{i}' for i in range(4)]
    assert shapes['scores.3'] == shapes['label'] == (3, 1, 9, 9)
    assert shapes['stages.2'] == shapes['stages.2.reference'] == (3, 16, 8, 8)
    if 'iou' in shapes:
        assert {shapes[k] for k in ('iou', 'iou_density', 'iou_target')} == {(3, 8)}
        assert shapes['iou_boxes'] == (3, 8, 4)
    else:
        assert shapes['score'] == (3, 1, 8, 8) and shapes['size'] == (3, 2, 8, 8)


def test_branches_see_the_modality_they_are_given(network: Network) -> None:
    network.eval()
    batch = batch_for(network, [0, 1])
    taps = network.taps(batch, reference='rgb', test='thermal')
    same = {k for k, v in network.taps(batch | {
        'template_thermal': torch.zeros_like(batch['template_thermal']),
        'search_rgb': torch.zeros_like(batch['search_rgb'])},
        reference='rgb', test='thermal').items() if torch.equal(v, taps[k])}
    assert same == taps.keys()
    thermal = network.taps(batch)  # config.modality
    assert torch.equal(thermal['stages.2'], taps['stages.2'])
    assert not torch.equal(thermal['stages.2.reference'], taps['stages.2.reference'])
    assert not torch.equal(thermal['scores.3'], taps['scores.3'])
    with pytest.raises(ValueError, match="modality 'depth' is unknown"):
        network.taps(batch, reference='depth')


def test_scores_improve_on_the_reference_itself() -> None:
    # the filter is learned from the picture it is then tried on
    network = dimp(steps=6).eval()
    batch = batch_for(network, [0, 1, 2, 3])
    for what in ('thermal', 'box'):
        batch[f'search_{what}'] = batch[f'template_{what}']
    taps = network.taps(batch)
    errors = [(taps[f'scores.{i}'] - taps['label']).square().mean().item() for i in range(7)]
    assert errors[-1] < 0.6 * errors[0], errors


def test_a_split_batch_is_the_whole_batch(network: Network) -> None:
    network.eval()
    batch = batch_for(network, [4, 5, 6])
    whole = network.taps(batch, seed=3)
    part = network.taps({k: v[1:] for k, v in batch.items()}, seed=3)
    for key, value in part.items():
        torch.testing.assert_close(value, whole[key][1:], rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize('box', BOXES)
def test_every_parameter_learns(box: str) -> None:
    network = dimp(box=box)
    taps = network.taps(batch_for(network, [0, 1, 2, 3]), reference='rgb', test='thermal')
    names = ['iou'] if box == 'iou_net' else ['size', 'offset']
    names += [k for k in taps if k.startswith('scores.')]
    sum(taps[k].square().mean() for k in names).backward()
    assert [k for k, p in network.named_parameters() if p.grad is None] == []
    assert {k.split('.')[0] for k, _ in network.named_parameters()} == {
        'backbone', 'classifier', 'box'}


def test_bfloat16(network: Network) -> None:
    batch = batch_for(network, [0, 1, 2])
    with torch.autocast('cpu', torch.bfloat16):
        taps = network.taps(batch)
        loss = sum(v.float().square().mean() for k, v in taps.items() if v.requires_grad)
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    assert taps['scores.3'].dtype == torch.float32
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    network.eval()
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        out = track(network, batch)
    assert out.logits.isfinite().all() and out.boxes.isfinite().all()


def test_tracking_pass_is_the_training_pass(network: Network) -> None:
    """P14."""
    # one view of the template and as many steps as in training: the same score
    config = network.config.as_dict() | {'augment': False, 'template_steps': 3}
    tracker = build(name_of(network), **config)
    network.taps(batch_for(network, [5, 6, 7, 8]))  # move the running statistics
    tracker.load_state_dict(network.state_dict())
    network.eval()
    tracker.eval()
    batch = batch_for(network, [0, 1])
    with torch.inference_mode():
        scores = network.taps(batch)['scores.3'].clamp(1e-4, 1 - 1e-4)
        out = track(tracker.tracking_network(), batch)
    assert out.logits.shape == (2, 1, 8, 8) and out.boxes.shape == (2, 4, 8, 8)
    corners = torch.nn.functional.max_pool2d(scores, 2, 1)
    torch.testing.assert_close(torch.sigmoid(out.logits), corners, rtol=1e-3, atol=1e-5)
    assert tracker.tracking_network().state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize('steps', [0, 3])
def test_boxes_under_inference_mode(steps: int) -> None:
    network = dimp(refine_steps=steps).eval()
    batch = batch_for(network, [0, 1])
    with torch.inference_mode():
        out = track(network, batch)
    free = track(network, batch)
    torch.testing.assert_close(free.boxes.detach(), out.boxes.clone(), rtol=1e-4, atol=1e-3)
    size = out.boxes[:, 2:] - out.boxes[:, :2]
    assert (size > 0).all()
    # the template's proportions, at the scale of the search crop: 64 px / 4
    box = batch['template_box']
    expected = box[:, 2:] / box[:, 2:].prod(1, keepdim=True).sqrt() * 16
    kept = (size - expected[:, :, None, None]).abs().amax(1) < 1e-3
    assert kept.all() if steps == 0 else 0 < (~kept).sum() <= 2 * 3 * 4


def test_a_missing_image_is_not_a_target(network: Network) -> None:
    network.eval()
    batch = batch_for(network, [0, 1])
    batch['search_present'][0, 1] = 0
    out = track(network, batch)
    assert torch.sigmoid(out.logits[0]).max().item() == pytest.approx(1e-4, rel=1e-3)
    assert torch.sigmoid(out.logits[1]).max() > 0.01
    assert out.weights.flatten(1).tolist() == [[0, 1], [0, 1]]


def test_views_of_the_template() -> None:
    g = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 32, 32, generator=g)
    box = torch.tensor([[12., 13., 8., 6.], [10., 12., 12., 9.]])
    views, boxes = template_views(image, box)
    assert views.shape == (2, 13, 3, 32, 32) and boxes.shape == (2, 13, 4)
    assert torch.equal(views[:, 0], image) and torch.equal(boxes[:, 0], box)

    def content(n: int, k: int) -> torch.Tensor:
        x, y, w, h = (int(v) for v in boxes[n, k])
        return views[n, k, :, max(y, 0):y + h, max(x, 0):x + w]

    for n in range(2):
        for k in range(1, 5):  # shifted: what of the box is still in the crop is the same
            found = content(n, k)
            x, y = (int(v) for v in boxes[n, k, :2])
            cut = content(n, 0)[:, max(-y, 0):, max(-x, 0):]
            assert torch.equal(found, cut[:, :found.shape[1], :found.shape[2]])
            assert found.numel() > 0
        assert torch.equal(content(n, 5).flip(2), content(n, 0))  # mirrored
        for k in range(9, 13):  # turned around the middle of the box, which stays
            x, y = (boxes[n, k, :2] + boxes[n, k, 2:] / 2).tolist()
            assert views[n, k].isfinite().all() and (x, y) == pytest.approx(
                (box[n, :2] + box[n, 2:] / 2).tolist())
    flat = template_views(torch.full_like(image, 0.3), box)[0]
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))  # nothing black comes in


def test_turned_views_turn() -> None:
    image = torch.zeros(1, 3, 65, 65)
    image[..., 32, 42:52] = 1  # a bar to the right of the middle
    views, _ = template_views(image, torch.tensor([[22.5, 22.5, 20., 20.]]))
    for k, angle in zip(range(9, 13), (10, -10, 45, -45), strict=True):
        y, x = (views[0, k, 0] > 0.2).nonzero().float().mean(0).tolist()
        turned = torch.atan2(torch.tensor(y - 32), torch.tensor(x - 32)).rad2deg().abs().item()
        assert turned == pytest.approx(abs(angle), abs=3)


@pytest.mark.parametrize(('config', 'text'), [
    ({'modality': 'depth'}, "modality 'depth' is unknown"),
    ({'box': 'corners'}, "box 'corners' is unknown"),
    ({'template_factor': 2.0}, 'show a target at 32.0 and 16.0 px'),
    ({'box': 'center', 'filter_size': 3}, "is 3 cells; with box 'center' it must be even"),
    ({'filter_size': 0}, 'filter_size is 0 cells'),
    ({'search_size': 60}, 'search_size is 60; it must be a multiple of stride 8'),
    ({'stages': 1, 'widths': [8], 'stride': 2}, 'DiMP needs the maps of two stages'),
])
def test_wrong_sizes_are_named(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        dimp(**config)


def test_box_estimation_does_not_train_on_one_sample() -> None:
    """A pooled box is one value a channel: torch's own message tells of its size."""
    with pytest.raises(ValueError, match=r'one value for each of \d+ channels.*batch of 2 or mor'):
        dimp().train().taps(batch_for(dimp(), [1]))
    network = dimp().eval()
    assert network.taps(batch_for(network, [1]))['iou'].shape == (1, 8)


def test_full_scale_is_superdimps() -> None:
    network = on_meta('dimp')
    shapes = {k: tuple(p.shape) for k, p in network.named_parameters()}
    assert shapes['classifier.feature.weight'] == (512, 1024, 3, 3)
    assert shapes['box.fine_test.0.0.weight'] == (256, 512, 3, 3)
    assert network.config.cells == 22
    assert network.config.sigma == pytest.approx(11 / 12)
    assert training_macs(network).layers > 1e10
