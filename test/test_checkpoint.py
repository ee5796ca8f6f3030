"""Weights files: the same bytes for the same weights, and what is refused, with the reason."""
from __future__ import annotations

import json
import os
from pathlib import Path

import convnet_kit
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
import torch
import transformer_kit

from rgbt_tracker_ros import __version__
from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.checkpoint import FORMAT, SHIPPED, STUDENTS, CheckpointError
from rgbt_tracker_ros.models.registry import NETWORKS, build

SMALL = {'stem': 8, 'width8': 16, 'width16': 16, 'blocks8': 1, 'blocks16': 1, 'head': 16}
SIZES = {'student': SMALL, 'twin': SMALL | {'prompt_width': 8},
         'siamese': convnet_kit.SIAMESE, 'dimp': convnet_kit.DIMP,
         **dict.fromkeys(('one_stream', 'two_stream', 'coupled'), transformer_kit.TINY)}
INFO = {'note': 'Grüße', 'calibration': {'scale': 2.0, 'bias': 1.0}, 'seed': 3}


def make(name: str = 'student'):
    torch.manual_seed(0)
    network = build(name, **SIZES[name]).eval()
    for module in network.modules():  # norms that do something
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


def answer(network):
    batch = transformer_kit.batch_of([1, 2], network.config.template_size,
                                     network.config.search_size)
    return transformer_kit.track(network, batch)


@pytest.fixture
def path(tmp_path):
    checkpoint.save(make(), tmp_path / 'a.safetensors')
    return tmp_path / 'a.safetensors'


@torch.no_grad()
@pytest.mark.parametrize('name', NETWORKS)
def test_every_network_comes_back_as_it_was(name, tmp_path):
    network, path = make(name), tmp_path / 'a.safetensors'
    checkpoint.save(network, path, **INFO)
    loaded, info = checkpoint.load(path, checkpoint.sha256_of(path))
    assert type(loaded) is type(network) and loaded.config == network.config and info == INFO
    assert not any(m.training for m in loaded.modules())
    for ours, theirs in zip(answer(network), answer(loaded), strict=True):
        assert torch.equal(ours, theirs)


def test_the_same_weights_give_the_same_file(tmp_path):
    for i in range(8):
        checkpoint.save(make(), tmp_path / f'{i}.safetensors', **INFO)
    assert len({checkpoint.sha256_of(p) for p in tmp_path.iterdir()}) == 1


def test_the_description_can_be_read_without_this_package(path):
    with safe_open(path, 'pt') as file:
        meta = file.metadata()
    assert meta['format'] == FORMAT and meta['version'] == __version__
    assert meta['network'] == 'student' and json.loads(meta['config'])['width8'] == 16


def test_files_of_the_first_format_hold_students(tmp_path):
    with safe_open(SHIPPED, 'pt') as file:
        metadata = dict(file.metadata())
    assert metadata.pop('network') == 'student'
    save_file(load_file(SHIPPED), tmp_path / 'first.safetensors',
              metadata=metadata | {'format': STUDENTS})
    network, info = checkpoint.load(tmp_path / 'first.safetensors')
    assert network.config.search_size == 192 and info['calibration']['scale'] > 0


def test_half_precision_on_disk_is_read_as_single(path):
    state = {k: v.half() for k, v in load_file(path).items()}
    save_file(state, path, metadata=described_as())
    loaded, _ = checkpoint.load(path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def described_as(**texts):
    return {'format': FORMAT, 'network': 'student', 'config': json.dumps(SMALL)} | texts


def described(**texts):
    """Return what writes the file again with other texts in its metadata."""
    return lambda path: save_file(load_file(path), path, metadata=described_as(**texts))


def spoiled(change):
    """Return what writes the file again with its tensors changed."""
    def spoil(path):
        state = load_file(path)
        change(state)
        save_file(state, path, metadata=described_as())
    return spoil


def with_value(value, place):
    def change(state):
        state['key.weight'].view(-1)[place] = value
    return spoiled(change)


def cut_to(size):
    return lambda path: path.write_bytes(path.read_bytes()[:size])


def config(**values):
    return described(config=json.dumps(SMALL | values))


def info(text):
    return described(info=text)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize('spoil, text', [
    (lambda p: p.unlink(), 'does not exist; give the path'),
    (lambda p: (p.unlink(), p.mkdir()), 'is a folder.*rgbt export'),
    (lambda p: p.write_bytes(b'no tensors'), 'not a readable safetensors'),
    (lambda p: p.write_bytes(b''), 'not a readable safetensors'),
    (lambda p: torch.save({'a': Bomb(p.parent / 'bomb')}, p), 'not a readable safetensors'),
    *[(cut_to(n), 'not a readable safetensors') for n in (4, 8, 300, 3000, -100, -1)],
    (lambda p: save_file({'a': torch.zeros(1)}, p), 'has format None'),
    (described(format='rgbt-network-9'), "has format 'rgbt-network-9', expected"),
    (described(network='resnet'), "network 'resnet', which this version does not know.*student"),
    (described(network='rgbt_tracker_ros.models.student:Student'), 'does not know'),
    (lambda p: save_file(load_file(p), p, metadata={'format': FORMAT, 'network': 'student'}),
     "broken description.*'config'"),
    *[(described(config=c), 'broken description') for c in ('[1]', '{', 'null', '"a"')],
    (config(colour=1), "no field 'colour'; was it made by a newer version"),
    (config(stem=-1), 'broken description'), (config(stem='8'), 'it must be like its default'),
    (config(stem=1 << 40), 'broken description|has shape'),
    *[(config(**{k: v}), f'{k} is {v}; it must be from') for k, v in (
        ('stride', 0), ('search_size', 1_000_000), ('template_size', -96),
        ('search_factor', 0), ('template_factor', 1e9))],
    (config(search_factor=float('nan')), 'search_factor is nan'),
    (config(search_size=None), 'broken description'),
    (config(search_size=100), 'search_size is 100; it must be a multiple of 16'),
    *[(info(i), 'broken description') for i in (
        '{"calibration": {"scale": 1}}', '{"calibration": {"scale": NaN, "bias": 0}}',
        '{"calibration": {"scale": 1%s, "bias": 0}}' % ('0' * 400),
        '{"calibration": [1, 2]}', '7', '[' * 100_000)],
    (described(network='siamese'), 'broken description'),
    (described(network='one_stream', config='{}'), r'has shape missing|none of that name'),
    (config(width8=24), r'tensor fusion.merge.0.weight|has shape'),
    (spoiled(lambda s: s.update({'key.weight': s['key.weight'][:3].clone()})),
     r'key.weight has shape \(3, .*needs \(16, 16, 1, 1\)'),
    (spoiled(lambda s: s.pop('key.weight')), 'key.weight has shape missing'),
    (spoiled(lambda s: s.pop('temperature')), r'temperature has shape missing.*needs \(\)'),
    (spoiled(lambda s: s.update(more=torch.zeros(2))), 'more has shape .*none of that name'),
    (spoiled(lambda s: s.update({'key.weight': s['key.weight'].int()})), 'holds torch.int32'),
    (spoiled(lambda s: s.update({'key.weight': s['key.weight'].double() + 1e300})),
     'key.weight has values that are not finite'),
    (spoiled(lambda s: s.update({k: v - 9 for k, v in s.items() if k.endswith('running_var')})),
     'running_var has a variance below 0'),
    *[(with_value(float(v), i), 'key.weight has values that are not finite')
      for v in ('nan', 'inf', '-inf') for i in (0, -1)],
])
def test_bad_files_are_refused_with_the_reason(path, spoil, text):
    spoil(path)
    with pytest.raises(CheckpointError, match=text) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)
    assert not (path.parent / 'bomb').exists()


@pytest.mark.parametrize('sha256', ['0' * 64, '12', 'z' * 64])
def test_another_sha256_is_refused(path, sha256):
    with pytest.raises(CheckpointError, match=f'expected {sha256}'):
        checkpoint.load(path, sha256)


@pytest.mark.parametrize('digits', [8, 12, 64])
def test_the_first_digits_of_the_sha256_will_do(path, digits):
    checkpoint.load(path, checkpoint.sha256_of(path)[:digits].upper())


def test_a_full_disk_leaves_the_file_before(path, monkeypatch):
    before = path.read_bytes()

    def full(part, data):
        part.touch()
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match='No space left'):
        checkpoint.save(make(), path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_numbers_that_are_none_are_not_written(tmp_path):
    with pytest.raises(ValueError, match='not JSON compliant'):
        checkpoint.save(make(), tmp_path / 'a.safetensors', loss=float('nan'))
    assert not list(tmp_path.iterdir())
