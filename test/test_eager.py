"""The runtime: every network by one door, batch norms folded, whatever is missing; in bfloat16 and
with packed weights it answers the same.
"""
from __future__ import annotations

import numpy as np
import pytest
from test_checkpoint import make
import torch
from torch import nn

from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
from rgbt_tracker_ros.data.sources import PairSource
from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.norm import BatchNorm2d
from rgbt_tracker_ros.models.registry import NETWORKS
from rgbt_tracker_ros.models.resnet import ResNet, shape_of
from rgbt_tracker_ros.runtime import eager, precision
from rgbt_tracker_ros.runtime.eager import EagerStudent
from rgbt_tracker_ros.runtime.folding import Folded, fold_batch_norms, stacks
from rgbt_tracker_ros.runtime.packing import PackedConv2d, can_pack, pack_convolutions
from rgbt_tracker_ros.runtime.precision import cpu_has_bf16, resolve_precision, to_bf16
from rgbt_tracker_ros.tracking.confidence import Calibration
from rgbt_tracker_ros.tracking.geometry import Crop
from rgbt_tracker_ros.types import Box


@pytest.fixture(params=NETWORKS)
def network(request):
    return make(request.param)


def crops(size: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 256, (size, size, 3), np.uint8),
            rng.integers(0, 256, (size, size), np.uint8))


@pytest.mark.parametrize('names', ['rgb thermal', 'rgb', 'thermal'])
def test_every_network_runs_with_either_modality(network, tmp_path, names):
    checkpoint.save(network, tmp_path / 'a.safetensors')
    runtime = EagerStudent(tmp_path / 'a.safetensors', 'cpu')
    c = runtime.config

    def shown(size: int, seed: int):
        rgb, thermal = crops(size, seed)
        return rgb if 'rgb' in names else None, thermal if 'thermal' in names else None

    n = c.template_size
    template = runtime.encode(*shown(n, 1), Box(n / 4, n / 4, n / 2, n / 2))
    assert template.weights.shape == (1, 2) and float(template.weights.sum()) == pytest.approx(1)
    response = runtime.search(template, *shown(c.search_size, 2))
    assert response.logits.shape == (c.cells, c.cells) == response.boxes.shape[1:]
    assert len(response.boxes) == 4
    for array in response:
        assert array.dtype == np.float32 and np.isfinite(array).all()
    if c.modalities == ('rgb', 'thermal') and names != 'rgb thermal':
        assert (response.weight_thermal == float(names == 'thermal')).all()
        assert float(template.weights[0, 1]) == float(names == 'thermal')


@torch.no_grad()
def test_folding_leaves_no_norm_and_changes_nothing(network):
    c = network.config
    images = [torch.from_numpy(x)[None] for n in (c.template_size, c.search_size)
              for x in crops(n)]
    images = [x.permute(0, 3, 1, 2) if x.ndim == 4 else x[None] for x in images]
    there, n = torch.ones(1, 2), c.template_size
    box = torch.tensor([[n / 4, n / 4, n / 2, n / 2]])

    def answer():
        return network(network.encode_template(*images[:2], there, box), *images[2:], there)

    before = answer()
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert fold_batch_norms(network) == norms > 0
    after = answer()
    torch.testing.assert_close(before.logits, after.logits, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(before.boxes, after.boxes, atol=1e-2, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize('name', ['resnet18', 'resnet50', 'small', 'tiny'])
def test_residual_networks_are_folded_whole(name):
    network = ResNet(shape_of(name, stages=3), stride=8).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    x = torch.rand(1, 3, 64, 64)
    before = network(x)
    fold_batch_norms(network)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    for a, b in zip(before, network(x), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize('module, folded', [
    (nn.Sequential(nn.Conv2d(1, 2, 1), BatchNorm2d(2), nn.ReLU()), 1),
    (nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), BatchNorm2d(2)), 0),
    (nn.Sequential(BatchNorm2d(1), nn.Conv2d(1, 2, 1)), 0),
    (nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)), 0),
    (nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2)), 0)])
def test_only_a_norm_right_behind_a_convolution_is_folded(module, folded):
    assert fold_batch_norms(module.eval()) == folded


# --- precision

@pytest.mark.parametrize('vendor, flags, capability, has', [
    ('AuthenticAMD', 'fpu avx512f avx512_bf16 clzero', 'AVX512', True),
    ('GenuineIntel', 'fpu avx512f avx512_bf16', 'AVX512', False),
    ('GenuineIntel', 'fpu avx512_bf16 amx_bf16 amx_tile', 'AVX512', True),
    ('AuthenticAMD', 'fpu avx512f avx512_vnni', 'AVX512', False),
    ('AuthenticAMD', 'fpu bf16', 'AVX512', False),
    ('AuthenticAMD', 'fpu avx512f avx512_bf16', 'AVX2', False), ('', None, 'AVX512', False)])
def test_the_cpu_says_whether_bfloat16_is_quick(vendor, flags, capability, has, tmp_path,
                                                monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: capability)
    monkeypatch.setattr(precision, 'has_onednn', lambda: True)
    info = tmp_path / 'cpuinfo'
    if flags is not None:
        info.write_text(f'processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n'
                        'bugs\t\t: none\n\n' * 2)
    assert cpu_has_bf16(info) == has
    monkeypatch.setattr(precision, 'has_onednn', lambda: False)
    assert not cpu_has_bf16(info)


@pytest.mark.parametrize('name, device, bf16, wanted', [
    ('auto', 'cpu', True, 'bf16'), ('auto', 'cpu', False, 'float32'),
    ('auto', 'cuda:0', True, 'float32'), ('bf16', 'cpu', False, 'bf16'),
    ('bf16', 'cuda:0', False, 'bf16'), ('float32', 'cpu', True, 'float32')])
def test_auto_is_what_the_device_is_quicker_in(name, device, bf16, wanted, monkeypatch):
    monkeypatch.setattr(precision, 'cpu_has_bf16', lambda: bf16)
    assert resolve_precision(name, torch.device(device)) == wanted


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"'fp16' is unknown; use one of auto, float32, bf16"):
        EagerStudent(device='cpu', precision='fp16')


def answers(path, **options):
    """Return logits, boxes and weights of a file's network for random crops."""
    runtime = EagerStudent(path, 'cpu', **options)
    n = runtime.config.template_size
    template = runtime.encode(*crops(n, 1), Box(n / 4, n / 4, n / 2, n / 2))
    return runtime.search(template, *crops(runtime.config.search_size, 2))


def test_every_network_answers_alike_in_bfloat16(network, tmp_path):
    """Random weights: what a trained network shows is in the next test."""
    checkpoint.save(network, tmp_path / 'a.safetensors')
    exact, rough = (answers(tmp_path / 'a.safetensors', precision=p) for p in ('float32', 'bf16'))
    assert exact.logits.dtype == rough.logits.dtype == np.float32
    assert np.corrcoef(exact.logits.ravel(), rough.logits.ravel())[0, 1] > 0.97
    # a cell may choose another of several proposals (DiMP)
    assert np.quantile(np.abs(exact.boxes - rough.boxes).max(0), 0.95) < 0.5
    assert np.abs(exact.weight_thermal - rough.weight_thermal).max() < 0.01
    assert not np.array_equal(exact.logits, rough.logits)


def test_the_shipped_student_finds_the_same_in_bfloat16():
    exact, rough = (EagerStudent(device='cpu', precision=p) for p in ('float32', 'bf16'))
    c, boxes = exact.config, read_boxes(SMOKE.groundtruth)
    calibrated = Calibration.from_info(exact.info)
    for number, pair in enumerate(PairSource(SMOKE.rgb, SMOKE.thermal)):
        box = boxes[number]
        if number == 0:
            crop = Crop.around(box, c.template_factor, c.template_size)
            seen = crop.cut(pair.rgb), crop.cut(pair.thermal), crop.to_crop(box)
            templates = exact.encode(*seen), rough.encode(*seen)
        elif number % 12 == 0:
            cx, cy = box.center
            crop = Crop.around(box, c.search_factor, c.search_size, (cx + 11, cy - 7))
            a, b = (r.search(t, crop.cut(pair.rgb), crop.cut(pair.thermal))
                    for r, t in zip((exact, rough), templates, strict=True))
            row, column = np.unravel_index(a.logits.argmax(), a.logits.shape)
            assert np.abs((a.boxes - b.boxes)[:, row, column]).max() < 0.5
            assert abs(calibrated(a.logits.max()) - calibrated(b.logits.max())) < 0.02
            assert np.abs(a.weight_thermal - b.weight_thermal).max() < 0.02


def test_what_needs_its_digits_keeps_them():
    network = make('student')
    fold_batch_norms(network)
    assert to_bf16(network) == len(list(stacks(network))) > 8
    narrow = {name for name, p in network.named_parameters() if p.dtype == torch.bfloat16}
    wide = {name for name, p in network.named_parameters() if p.dtype == torch.float32}
    for name in ('stage8', 'stage16', 'rgb_stem', 'neck', 'join', 'head.score.0', 'head.edges.1'):
        assert any(n.startswith(name) for n in narrow)
        assert not any(n.startswith(name) for n in wide)
    last = [f'head.{n}.{len(getattr(network.head, n)) - 1}' for n in ('score', 'edges')]
    for name in ('key', 'value', 'temperature', *last):
        assert any(n.startswith(name) for n in wide)
        assert not any(n.startswith(name) for n in narrow)


# --- packed weights

packs = pytest.mark.skipif(not can_pack(), reason="torch here has no oneDNN, or not Inductor's "
                                                  'operators for it')


@packs
@pytest.mark.parametrize('name', ['float32', 'bf16'])
def test_every_network_answers_the_same_with_packed_weights(network, name, tmp_path, monkeypatch):
    checkpoint.save(network, tmp_path / 'a.safetensors')
    packed = answers(tmp_path / 'a.safetensors', precision=name)
    monkeypatch.setattr(eager, 'can_pack', lambda: False)
    plain = answers(tmp_path / 'a.safetensors', precision=name)
    least = 1e-4 if name == 'float32' else 1e-2
    for a, b in zip(packed, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=least * max(float(np.abs(b).max()), 1))


@packs
@torch.inference_mode()
@pytest.mark.parametrize('layers, left', [
    ((nn.Conv2d(3, 8, 3, 2, 1), Folded(), nn.ReLU(), nn.Conv2d(8, 4, 1)), 2),
    ((nn.Conv2d(3, 8, 3), nn.ReLU()), 1), ((nn.Conv2d(3, 8, 3), Folded()), 1),
    ((nn.Conv2d(3, 8, 3), nn.Sigmoid(), nn.ReLU()), 3), ((nn.Conv2d(3, 8, 3),), 1),
    ((nn.Conv2d(3, 6, 3, dilation=2, groups=3), Folded(), nn.Tanh()), 2),
    ((nn.Conv2d(3, 8, 3, padding=1, padding_mode='reflect'), nn.ReLU()), 2)])
def test_what_follows_a_packed_convolution_is_taken_in(layers, left):
    stack = nn.Sequential(*layers).eval()
    x = [torch.rand(1, 3, n, n) for n in (12, 20, 12)]
    before = [stack(v) for v in x]
    pack_convolutions(stack)
    assert len(stack) == left
    for a, v in zip(before, x, strict=True):
        torch.testing.assert_close(stack(v), a, atol=1e-5, rtol=1e-4)


@packs
def test_a_packed_convolution_has_a_slope():
    """DiMP refines its boxes by gradients while it tracks."""
    stack = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())
    x = torch.rand(1, 2, 8, 8, requires_grad=True)
    wanted, = torch.autograd.grad(stack(x).sum(), x)
    assert pack_convolutions(stack) == 1 and isinstance(stack[0], PackedConv2d)
    found, = torch.autograd.grad(stack(x).sum(), x)
    torch.testing.assert_close(found, wanted)
