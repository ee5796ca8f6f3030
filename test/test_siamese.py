"""The Siamese tracker of RGB and thermal, its fusions and its backbone."""
from __future__ import annotations

from typing import Any

from convnet_kit import STUDENT, TEACHER, batch_for, siamese, track
import pytest
import torch
import torch.nn.functional as F

from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.models.paths import EXCHANGES, CrossAttention, SimpleFusion, ThreePaths
from rgbt_tracker_ros.models.profile import on_meta, parameters, tracking_macs
from rgbt_tracker_ros.models.registry import build, name_of
from rgbt_tracker_ros.models.resnet import ResNet, shape_of
from rgbt_tracker_ros.models.xcorr import depthwise_xcorr

NETWORKS: dict[str, dict[str, Any]] = {
    'attention': TEACHER, 'gate': TEACHER | {'exchange': 'gate'}, 'conv': STUDENT,
    'sum': STUDENT | {'fusion': 'sum'}}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    return siamese(**NETWORKS[request.param])


def test_taps_and_their_shapes(network: Network) -> None:
    taps = network.taps(batch_for(network, [0, 1, 2]), path_heads=True)
    shapes = {k: tuple(v.shape) for k, v in taps.items()}
    assert shapes['score'] == (3, 1, 8, 8)
    assert shapes['size'] == shapes['offset'] == (3, 2, 8, 8)
    assert shapes['fused'] == (3, 16, 8, 8)
    for m in ('rgb', 'thermal'):
        assert [shapes[f'stages.{k}.{m}'] for k in range(3)] == [
            (3, 8, 32, 32), (3, 12, 16, 16), (3, 16, 8, 8)]
    paths = 'vtf' if network.config.as_dict()['fusion'] == 'paths' else 'f'
    assert {k for k in taps if k.startswith('paths.')} == {
        f'paths.{p}{end}' for p in paths for end in ('', '.score', '.size', '.offset')}
    assert torch.equal(taps['paths.f.score'], taps['score'])
    weights = taps['weights'].sum(1)
    torch.testing.assert_close(weights, torch.ones_like(weights))


def test_tracking_pass_is_the_training_pass(network: Network) -> None:
    """P14."""
    batch = batch_for(network, [0, 1])
    network.taps(batch_for(network, [5, 6, 7, 8]))  # move the running statistics
    network.eval()
    with torch.inference_mode():
        taps = network.taps(batch)
        out = track(network.tracking_network(), batch)
    torch.testing.assert_close(out.logits, taps['score'])
    # nothing that only training needs is exported
    assert {k.split('.')[0] for k in network.tracking_network().state_dict()} == {
        'backbone', 'neck', 'fusion', 'matcher', 'head'} - (
        {'fusion'} if network.config.as_dict()['fusion'] == 'sum' else set())
    size, offset = taps['size'][0, :, 3, 5], taps['offset'][0, :, 3, 5]
    x, y = ((torch.tensor([5., 3.]) + offset) * 8).tolist()
    w, h = (size * 64).tolist()
    assert out.boxes[0, :, 3, 5].tolist() == pytest.approx(
        [x - w / 2, y - h / 2, x + w / 2, y + h / 2], abs=1e-3)


@pytest.mark.parametrize('name', NETWORKS)
def test_every_parameter_learns(name: str) -> None:
    # data-parallel training waits for the gradients of all
    network = siamese(**NETWORKS[name])
    taps = network.taps(batch_for(network, [0, 1, 2, 3]))
    sum(taps[k].square().mean() for k in ('score', 'size', 'offset')).backward()
    assert [k for k, p in network.named_parameters() if p.grad is None] == []


def test_uint8_and_float_are_the_same(network: Network) -> None:
    network.eval()
    batch = batch_for(network, [3, 4])
    whole = {k: (v * 255).round().to(torch.uint8) if 'rgb' in k or 'thermal' in k else v
             for k, v in batch.items()}
    unit = {k: v.float() / 255 if v.dtype == torch.uint8 else v for k, v in whole.items()}
    torch.testing.assert_close(track(network, whole).logits, track(network, unit).logits)


def test_bfloat16(network: Network) -> None:
    batch = batch_for(network, [0, 1, 2])
    with torch.autocast('cpu', torch.bfloat16):
        taps = network.taps(batch)
        loss = taps['score'].square().mean() + taps['size'].mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all()
               for k, p in network.named_parameters() if not k.startswith('head.offset'))
    assert taps['score'].dtype == torch.float32


@pytest.mark.parametrize('missing', [0, 1])
def test_missing_modality_makes_no_difference_whatever_it_holds(network: Network,
                                                                missing: int) -> None:
    network.eval()
    batch = batch_for(network, [0, 1])
    for crop in ('template', 'search'):
        batch[f'{crop}_present'][:, missing] = 0
    name = ('rgb', 'thermal')[missing]
    out = track(network, batch)
    assert out.weights[:, missing].abs().max() == 0
    other = batch | {f'{c}_{name}': torch.zeros_like(batch[f'{c}_{name}'])
                     for c in ('template', 'search')}
    torch.testing.assert_close(track(network, other).logits, out.logits)


def test_shared_extractor_is_one_run_of_both() -> None:
    network = siamese(**STUDENT).eval()
    batch = batch_for(network, [0, 1])
    taps = network.taps(batch)
    grey = batch['search_thermal'].expand(-1, 3, -1, -1)
    swapped = network.taps(batch | {'search_rgb': grey})
    for k in range(3):
        torch.testing.assert_close(swapped[f'stages.{k}.rgb'], taps[f'stages.{k}.thermal'])
    assert not any('thermal' in k for k in network.state_dict())


def test_paths_without_exchange() -> None:
    torch.manual_seed(0)
    for kind in EXCHANGES:
        fusion = ThreePaths(8, kind).eval()
        rgb, thermal = torch.randn(2, 2, 8, 4, 4)
        maps, weights = fusion(rgb, thermal, torch.tensor([[1., 0.], [1., 1.]]))
        assert torch.equal(maps['v'][0], rgb[0])  # nothing to hear from the other
        assert not torch.isclose(maps['v'][1], rgb[1]).all()
        assert weights[0, 0].min() == 1 and weights[0, 1].max() == 0


def test_sum_keeps_its_loudness() -> None:
    fusion = SimpleFusion(4, 'sum')
    x = torch.randn(1, 4, 3, 3)
    both = fusion(x, x, torch.ones(1, 2)).maps['f']
    alone = fusion(x, torch.zeros_like(x), torch.tensor([[1., 0.]])).maps['f']
    torch.testing.assert_close(both, alone)


def test_correlation_is_a_sliding_mean_of_products() -> None:
    x, kernel = torch.randn(2, 3, 6, 6), torch.randn(2, 3, 3, 3)
    out = depthwise_xcorr(x, kernel)
    padded = F.pad(x, (1, 1, 1, 1))
    for b, c, i, j in ((0, 0, 0, 0), (1, 2, 3, 4), (0, 1, 5, 5)):
        expected = (padded[b, c, i:i + 3, j:j + 3] * kernel[b, c]).mean()
        assert out[b, c, i, j].item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_template_is_found_where_it_is() -> None:
    # features of the template, moved: the correlation peaks at the cell of its centre
    network = siamese(**STUDENT).eval()
    matcher = network.matcher
    matcher.template = torch.nn.Sequential(torch.nn.Conv2d(17, 16, 1, bias=False))
    with torch.no_grad():
        matcher.template[0].weight.copy_(torch.eye(16, 17)[..., None, None])
    x = torch.zeros(1, 16, 4, 4)
    x[..., 1:3, 1:3] = torch.randn(1, 16, 2, 2, generator=torch.Generator().manual_seed(0))
    # a box centred on cell (1, 1) of the template, whose middle is at 12 px
    kernel = matcher.encode(x, torch.tensor([[8., 8., 8., 8.]]))
    torch.testing.assert_close(kernel, x[..., 0:3, 0:3])
    search = torch.zeros(1, 16, 8, 8)
    search[..., 4:6, 5:7] = x[..., 1:3, 1:3]
    response = depthwise_xcorr(search, kernel).sum(1)
    assert divmod(int(response.argmax()), 8) == (4, 5)


@pytest.mark.parametrize(('config', 'text'), [
    ({'streams': 'three'}, "streams 'three' is unknown"),
    ({'fusion': 'magic'}, "fusion 'magic' is unknown"),
    ({'exchange': 'none'}, "exchange 'none' is unknown"),
    ({'backbone': 'resnet7'}, "backbone 'resnet7' is unknown; known are resnet18"),
    (TEACHER | {'width': 18}, "width is 18; it must be a multiple of 4.* use exchange 'gate'"),
    ({'template_size': 0}, 'template_size is 0'),
    ({'stride': 0}, 'stride is 0; it must be 1 px or more'),
    ({'kernel': 4}, 'kernel is 4 cells; use an odd number'),
    ({'stages': 5}, '5 stages'),
    ({'stride': 16}, 'ends at stride 8, not 16'),
])
def test_wrong_sizes_are_named(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        siamese(**config)


def test_other_widths_do_without_heads() -> None:
    for config in ({'exchange': 'gate'}, STUDENT):
        assert siamese(**TEACHER | {'width': 18} | config).config.width == 18
    with pytest.raises(RuntimeError):   # not scrambled, wherever it is used
        CrossAttention(18)(torch.zeros(2, 18, 4, 4), torch.zeros(2, 18, 4, 4))


def test_config_comes_back_from_its_fields() -> None:
    network = siamese(**TEACHER)
    again = build(name_of(network), **network.config.as_dict())
    assert again.config == network.config
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize(('name', 'millions', 'names'), [
    ('resnet18', 11.177, ['conv1.weight', 'bn1.running_var', 'layer1.0.conv2.weight',
                          'layer2.0.downsample.0.weight', 'layer4.1.bn2.bias']),
    ('resnet50', 23.508, ['layer1.0.downsample.1.weight', 'layer3.5.conv3.weight',
                          'layer4.2.bn3.running_mean']),
])
def test_backbones_are_torchvisions(name: str, millions: float, names: list[str]) -> None:
    # parameters of torchvision's networks without the last, fully connected layer
    with torch.device('meta'):
        net = ResNet(shape_of(name), 16)
    assert parameters(net) / 1e6 == pytest.approx(millions, abs=5e-4)
    assert set(names) <= net.state_dict().keys()


@pytest.mark.parametrize(('stride', 'strides'), [(32, [4, 8, 16, 32]), (16, [4, 8, 16, 16]),
                                                 (8, [4, 8, 8, 8])])
def test_dilated_instead_of_strided(stride: int, strides: list[int]) -> None:
    net = ResNet(shape_of('resnet18', widths=(4, 4, 6, 8)), stride).eval()
    maps = net(torch.randn(1, 3, 64, 64))
    assert [64 // m.shape[-1] for m in maps] == [s.stride for s in net.stages] == strides
    assert [m.shape[1] for m in maps] == [s.channels for s in net.stages] == [4, 4, 6, 8]


def test_full_student_is_small() -> None:
    teacher = on_meta('siamese')
    student = on_meta('siamese', backbone='resnet18', stages=3, **STUDENT)
    assert parameters(student) <= parameters(teacher) / 3
    assert tracking_macs(student).layers <= tracking_macs(teacher).layers / 2
