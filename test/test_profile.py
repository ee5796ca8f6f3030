"""Costs of the published sizes, counted on the meta device."""
from __future__ import annotations

import pytest
import torch
from torch import nn
from transformer_kit import TEACHER, tiny

from rgbt_tracker_ros.models.profile import (
    count,
    on_meta,
    parameters,
    tracking_macs,
    training_macs,
)

ALL = {'two_stream': {}, 'pruned': {'elimination': 'mce'}, 'teacher': TEACHER,
       'unprompted': TEACHER | {'prompts': 'none'}}


@pytest.fixture(scope='module')
def two_stream():
    nets = {}

    def get(kind):
        if kind not in nets:
            nets[kind] = on_meta('two_stream', **ALL[kind])
        return nets[kind]

    return get


@pytest.mark.parametrize(('kind', 'pattern', 'trained', 'millions', 'tolerance'), [
    ('two_stream', '', False, 183.9, 0.01),      # CKD's students and head
    ('teacher', 'prompts.', False, 11.25, 5e-4),
    ('teacher', 'prompts.', True, 10.37, 5e-4),
    ('teacher', 'fuse.', False, 10.62, 5e-4),
])
def test_parameters_at_full_scale(two_stream, kind, pattern, trained, millions, tolerance):
    """P8, P10."""
    found = parameters(two_stream(kind), pattern, trained)
    assert found / 1e6 == pytest.approx(millions, rel=tolerance)


@pytest.mark.parametrize(('kind', 'giga', 'tolerance'), [
    ('two_stream', 57.75, 1e-3), ('pruned', 42.70, 1e-3), ('unprompted', 59.1, 1e-3),
    ('teacher', 59.1, 2e-3)])
def test_macs_of_two_streams_at_full_scale(two_stream, kind, giga, tolerance):
    """P8, P10: linear layers and convolutions."""
    assert tracking_macs(two_stream(kind)).layers / 1e9 == pytest.approx(giga, rel=tolerance)


def test_elimination_saves_a_quarter(two_stream):
    """P8."""
    plain, pruned = (tracking_macs(two_stream(k)) for k in ('two_stream', 'pruned'))
    assert pruned.layers / plain.layers == pytest.approx(0.739, abs=5e-4)
    assert pruned.products < 0.75 * plain.products


@pytest.mark.parametrize('fusion', ['sum', 'prompt0'])
def test_macs_of_the_one_stream_student(fusion):
    """P10."""
    # 29.0 G are one ViT with its head; the second modality's patches come on top
    macs = tracking_macs(on_meta('one_stream', fusion=fusion)).layers / 1e9
    assert macs == pytest.approx(29.0, rel=0.01)
    unimodal = tracking_macs(on_meta('one_stream', fusion='rgb')).layers / 1e9
    assert unimodal == pytest.approx(29.02, rel=1e-3)


def test_the_training_graph_has_four_branches():
    net = on_meta('coupled')
    assert parameters(net) / 1e6 == pytest.approx(368.9, rel=0.01)
    assert training_macs(net).layers / 1e9 == pytest.approx(57.75 + 2 * 29.02, rel=1e-3)
    assert tracking_macs(net.tracking_network()) == tracking_macs(net)


def test_counting_leaves_a_network_as_it_was():
    net = tiny('coupled')
    net.student.vit('rgb').eval()
    modes = [m.training for m in net.modules()]
    before = {k: v.clone() for k, v in net.state_dict().items()}
    training_macs(net)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())
    assert training_macs(net) == training_macs(on_meta('coupled', **net.config.as_dict()))


@pytest.mark.parametrize(('module', 'shape', 'macs'), [
    (nn.Linear(3, 5), (2, 7, 3), 2 * 7 * 5 * 3),
    (nn.Conv2d(4, 6, 3, padding=1), (1, 4, 8, 8), 64 * 6 * 4 * 9),
    (nn.Conv2d(4, 4, 3, groups=4), (1, 4, 8, 8), 36 * 4 * 9),
    (nn.Sequential(nn.Conv2d(1, 2, (1, 3)), nn.ReLU()), (1, 1, 1, 5), 3 * 2 * 3),
])
def test_layers_by_hand(module, shape, macs):
    assert count(module, lambda: module(torch.zeros(shape))) == (macs, 0)
