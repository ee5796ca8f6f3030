"""The runtime: every network by one door, batch norms folded, whatever is missing."""
from __future__ import annotations

import numpy as np
import pytest
from test_checkpoint import make
import torch
from torch import nn

from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.norm import BatchNorm2d
from rgbt_tracker_ros.models.registry import NETWORKS
from rgbt_tracker_ros.models.resnet import ResNet, shape_of
from rgbt_tracker_ros.runtime.eager import EagerStudent
from rgbt_tracker_ros.runtime.folding import fold_batch_norms
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
