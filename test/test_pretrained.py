"""Starting from a user's RGB tracker."""
from __future__ import annotations

import sys
import types

import pytest
import safetensors.torch
import torch
from transformer_kit import TEACHER, batch_of, tiny

from rgbt_tracker_ros.models.pretrained import initialise
from rgbt_tracker_ros.models.public_files import PretrainedError, read

OURS = {'score': 'ctr', 'size': 'size', 'offset': 'offset'}


def public(net):
    """Name the tensors of a unimodal tracker as OSTrack's checkpoints do."""
    state = {}
    for key, value in net.state_dict().items():
        part, _, rest = key.partition('.')
        if part == 'vit':
            state[f'backbone.{rest}'] = value
        else:
            tower, number, last = rest.split('.', 2)
            state[f'box_head.conv{int(number) + 1}_{OURS[tower]}.{last}'] = value
    state['backbone.cls_token'] = torch.zeros(1, 1, 48)
    return {k: v.clone() for k, v in state.items()}


@pytest.fixture
def source():
    return tiny('one_stream', seed=5, fusion='rgb')


@pytest.fixture
def checkpoint(source):
    return public(source)


def test_the_same_tracker_comes_back(source, checkpoint):
    net = tiny('one_stream', fusion='rgb')
    report = initialise(net, checkpoint)
    batch = batch_of([1, 2])
    assert torch.equal(net.eval().taps(batch)['score'], source.eval().taps(batch)['score'])
    assert report.unused == ('backbone.cls_token',)
    assert report.fresh == ()
    assert set(report.loaded) == {k for k in net.state_dict() if 'num_batches' not in k}


@pytest.mark.parametrize(('name', 'config', 'fresh'), [
    ('two_stream', {}, ()), ('two_stream', TEACHER, ('prompts', 'fuse')), ('coupled', {}, ()),
    ('one_stream', {'fusion': 'concat_linear'}, ('join',))])
def test_all_branches_start_alike(source, checkpoint, name, config, fresh):
    net = tiny(name, **config)
    report = initialise(net, checkpoint)
    assert {k.split('.')[0] for k in report.fresh} == set(fresh)
    kernel = source.head.score[0][0].weight
    for key, value in net.state_dict().items():
        if key.endswith('blocks.3.attn.qkv.weight'):
            assert torch.equal(value, source.vit.blocks[3].attn.qkv.weight)
        if key.endswith('score.0.0.weight'):
            # a head on two maps has the kernel twice along the input channels
            times = 2 if value.shape[1] == 96 else 1
            assert torch.equal(value, torch.cat([kernel] * times, 1))
    if name == 'coupled':
        batch = batch_of([1, 2])
        teacher = net.eval().taps(batch)['rgb_teacher.score']
        assert torch.equal(teacher, source.eval().taps(batch)['score'])


def test_biases_before_batch_norms_go_into_the_means(source, checkpoint):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(48, 48, 3, padding=1)
    checkpoint['box_head.conv1_ctr.0.bias'] = conv.bias.detach()
    checkpoint['box_head.conv1_ctr.0.weight'] = conv.weight.detach()
    checkpoint['box_head.conv1_ctr.1.running_mean'] = torch.randn(48)
    net = tiny('one_stream', fusion='rgb').eval()
    report = initialise(net, checkpoint)
    x = torch.randn(2, 48, 8, 8)
    norm = torch.nn.BatchNorm2d(48).eval()
    norm.running_mean.copy_(checkpoint['box_head.conv1_ctr.1.running_mean'])
    torch.testing.assert_close(net.head.score[0](x), norm(conv(x)).relu())
    assert report.unused == ('backbone.cls_token',)


def test_our_own_trackers_and_bare_backbones(source, checkpoint):
    net = tiny('one_stream', fusion='sum')
    assert initialise(net, source.state_dict()).fresh == ()
    bare = {k.removeprefix('backbone.'): v for k, v in checkpoint.items() if 'head' not in k}
    bare['pos_embed'] = torch.cat((torch.full((1, 1, 48), 9.0), bare.pop('pos_embed_x')), 1)
    del bare['pos_embed_z']
    report = initialise(net, bare)
    assert {k.split('.')[0] for k in report.fresh} == {'head'}
    assert torch.equal(net.vit.pos_embed_x, source.vit.pos_embed_x)
    assert net.vit.pos_embed_z.abs().max() < 6      # the class token's position is left out


def test_a_distilled_backbone_has_two_tokens_more(source, checkpoint):
    bare = {k.removeprefix('backbone.'): v for k, v in checkpoint.items() if 'head' not in k}
    bare['pos_embed'] = torch.cat((torch.full((1, 2, 48), 9.0), bare.pop('pos_embed_x')), 1)
    del bare['pos_embed_z']
    net = tiny('one_stream', fusion='rgb')
    initialise(net, bare)
    assert torch.equal(net.vit.pos_embed_x, source.vit.pos_embed_x)


def test_positional_tables_are_resized_and_shifted(source, checkpoint):
    ramp = torch.linspace(0, 1, 16)[None, :, None].expand(1, -1, 16)
    checkpoint['backbone.pos_embed_x'] = ramp.reshape(1, 256, 1).repeat(1, 1, 48)
    checkpoint['backbone.temporal_pos_embed_x'] = torch.full((1, 1, 48), 3.0)
    net = tiny('one_stream', fusion='rgb')
    report = initialise(net, checkpoint)
    grid = net.vit.pos_embed_x[0, :, 0].view(8, 8)
    assert torch.equal(grid, grid[:, :1].expand(8, 8))
    torch.testing.assert_close(grid[2:6, 0], 3 + torch.linspace(0.5, 14.5, 8)[2:6] / 15)
    assert 'backbone.temporal_pos_embed_x' not in report.unused


def drop(key):
    return lambda state: {k: v for k, v in state.items() if key not in k}


def put(key, *shape):
    return lambda state: state | {key: torch.zeros(shape)}


@pytest.mark.parametrize(('change', 'said'), [
    (drop('backbone'), 'no vision transformer'),
    (drop('blocks.2.mlp.fc1.bias'), r'lacks blocks\.2\.mlp\.fc1\.bias'),
    (drop('blocks.3.'), 'has 3 blocks, the network 4'),
    (lambda s: {k.replace('backbone.norm.', 'backbone.fc_norm.'): v for k, v in s.items()},
     'has fc_norm in place of norm: .* take the checkpoint of its pre-training'),
    (lambda s: put('backbone.pos_embed', 1, 67, 48)(drop('pos_embed_')(s)),
     r'pos_embed.*\(1, 67, 48\)'),
    (put('backbone.blocks.0.attn.qkv.weight', 36, 12), r'qkv.*\(36, 12\).*\(144, 48\)'),
    (put('backbone.pos_embed_z', 1, 16, 12), r'pos_embed_z has shape \(1, 16, 12\)'),
    (put('backbone.pos_embed_z', 1, 15, 48), r'pos_embed_z has shape \(1, 15, 48\)'),
    (drop('pos_embed_z'), 'lacks pos_embed'),
    (drop('conv2_size.0.weight'), r'lacks size\.1\.0\.weight'),
    (put('box_head.conv2_size.0.bias', 7), r'conv2_size\.0\.bias has shape \(7,\)'),
    (put('box_head.conv1_ctr.0.weight', 48, 24, 3, 3), r'conv1_ctr.*\(48, 24, 3, 3\)'),
    (put('other.patch_embed.proj.weight', 48, 3, 8, 8), 'several trackers'),
])
def test_what_does_not_fit_is_named_and_nothing_is_copied(checkpoint, change, said):
    net = tiny('one_stream', fusion='rgb')
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(PretrainedError, match=said):
        initialise(net, change(checkpoint))
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


class Settings:
    """Something a training code keeps beside the weights."""

    def __init__(self):
        self.lr = 1e-4


@pytest.fixture
def files(tmp_path, checkpoint, monkeypatch):
    module = types.ModuleType('lib_of_somebody')
    module.Settings = Settings
    monkeypatch.setitem(sys.modules, 'lib_of_somebody', module)
    monkeypatch.setattr(Settings, '__module__', 'lib_of_somebody')
    torch.save({'net': checkpoint, 'settings': Settings(), 'epoch': 3}, tmp_path / 'full.pth')
    torch.save({'net': checkpoint}, tmp_path / 'tensors.pth.tar')
    torch.save(checkpoint, tmp_path / 'bare.pth')
    safetensors.torch.save_file(checkpoint, tmp_path / 'net.safetensors')
    monkeypatch.delitem(sys.modules, 'lib_of_somebody')
    return tmp_path


@pytest.mark.parametrize('name', ['full.pth', 'tensors.pth.tar', 'bare.pth', 'net.safetensors'])
def test_files(files, checkpoint, name):
    state = read(files / name)
    assert state.keys() == checkpoint.keys()
    assert all(torch.equal(state[k], v) for k, v in checkpoint.items())
    assert initialise(tiny('one_stream', fusion='rgb'), files / name).loaded


class Malicious:
    """Unpickling it would run code."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code of a checkpoint ran')",)


def test_nothing_in_a_file_is_run(files, checkpoint):
    path = files / 'evil.pth'
    torch.save({'net': checkpoint, 'x': Malicious()}, path)
    try:
        assert read(path).keys() == checkpoint.keys()
    except PretrainedError as error:
        assert 'not trusted' in str(error)


@pytest.mark.parametrize(('name', 'content', 'said'), [
    ('gone.pth', None, 'does not exist'), ('text.pth', b'weights', 'text.pth'),
    ('script.sh', b'export A=1; b\n', 'not a readable'),
    ('cut.safetensors', b'\x08\0\0\0', 'not a readable'), ('empty.pth', b'', 'empty.pth')])
def test_unreadable_files(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PretrainedError, match=said):
        read(tmp_path / name)


def test_files_without_usable_tensors(tmp_path, checkpoint):
    torch.save({'epoch': 3}, tmp_path / 'none.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    checkpoint['backbone.norm.bias'][0] = float('nan')
    torch.save(checkpoint, tmp_path / 'nan.pth')
    for name, said in (('none', 'no tensors'), ('list', 'holds a list'), ('nan', 'norm.bias')):
        with pytest.raises(PretrainedError, match=said):
            read(tmp_path / f'{name}.pth')
