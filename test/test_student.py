"""The network: what is cached, what is missing, what is refused."""
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import pytest
from safetensors.torch import load_file, save_file
import torch

from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.checkpoint import CheckpointError
from rgbt_tracker_ros.models.convnet import fuse_batch_norm
from rgbt_tracker_ros.models.student import Student, StudentConfig, box_mask
from rgbt_tracker_ros.runtime.device import DeviceError, resolve_device

SMALL = StudentConfig(stem=8, width8=16, width16=16, blocks8=1, blocks16=1, head=16)


@pytest.fixture
def student():
    torch.manual_seed(0)
    net = Student(SMALL).eval()
    for module in net.modules():  # norms that do something
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net


def crops(size, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (torch.randint(0, 256, (1, 3, size, size), generator=g, dtype=torch.uint8),
            torch.randint(0, 256, (1, 1, size, size), generator=g, dtype=torch.uint8))


def template_of(net, present=(1.0, 1.0)):
    return net.encode_template(*crops(96), torch.tensor([present]),
                               box_mask((24, 30, 48, 36), 96, 8))


@torch.inference_mode()
def test_shapes_and_weights(student):
    out = student(template_of(student), *crops(192, 1), torch.ones(1, 2))
    assert out.logits.shape == (1, 1, 24, 24) and out.boxes.shape == (1, 4, 24, 24)
    assert out.weights.shape == (1, 2, 48, 48)
    assert torch.allclose(out.weights.sum(1), torch.ones(1, 48, 48), atol=1e-6)
    x1, y1, x2, y2 = out.boxes[0]
    assert (x2 > x1).all() and (y2 > y1).all()


@torch.inference_mode()
@pytest.mark.parametrize('present, missing', [((0.0, 1.0), 0), ((1.0, 0.0), 1)])
def test_a_missing_modality_has_no_say(student, present, missing):
    """Whatever its pixels hold, nothing changes, and its weight is 0."""
    template = template_of(student)
    flags = torch.tensor([present])
    rgb, thermal = crops(192, 1)
    noise = list(crops(192, 2))
    noise[1 - missing] = (rgb, thermal)[1 - missing]
    a = student(template, rgb, thermal, flags)
    b = student(template, *noise, flags)
    assert torch.equal(a.logits, b.logits) and torch.equal(a.boxes, b.boxes)
    assert (a.weights[:, missing] == 0).all() and (a.weights[:, 1 - missing] == 1).all()


@torch.inference_mode()
def test_folding_batch_norms_changes_nothing(student):
    template = template_of(student)
    before = student(template, *crops(192, 1), torch.ones(1, 2))
    fuse_batch_norm(student)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in student.modules())
    after = student(template, *crops(192, 1), torch.ones(1, 2))
    assert torch.allclose(before.logits, after.logits, atol=1e-4)
    assert torch.allclose(before.boxes, after.boxes, atol=1e-2)


@given(st.floats(0, 80), st.floats(0, 80), st.floats(1, 96), st.floats(1, 96))
def test_box_mask_has_the_area_of_the_box(x, y, w, h):
    mask = box_mask((x, y, w, h), 96, 8)
    inside = min(w, 96 - x) * min(h, 96 - y)
    assert mask.shape == (1, 1, 12, 12) and mask.max() <= 1 + 1e-5
    assert mask.sum().item() * 64 == pytest.approx(inside, rel=1e-3, abs=1e-2)


def test_size_of_the_shipped_network():
    net = Student()
    macs = 0

    def count(module, _, out):
        nonlocal macs
        macs += out.numel() * module.weight[0].numel()

    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    net.eval()
    with torch.inference_mode():
        template = template_of(net)
        macs = 0
        net(template, *crops(192), torch.ones(1, 2))
    assert 1e6 < sum(p.numel() for p in net.parameters()) < 6e6
    assert macs < 1e9


@torch.inference_mode()
def test_saved_and_loaded_is_the_same(student, tmp_path):
    path = tmp_path / 'a.safetensors'
    checkpoint.save(student, path, note='n', calibration={'scale': 2.0, 'bias': 1.0})
    loaded, info = checkpoint.load(path, checkpoint.sha256_of(path))
    a = student(template_of(student), *crops(192, 1), torch.ones(1, 2))
    b = loaded(template_of(loaded), *crops(192, 1), torch.ones(1, 2))
    assert torch.equal(a.logits, b.logits) and info['note'] == 'n'
    assert loaded.config == SMALL


def test_the_same_weights_give_the_same_file(student, tmp_path):
    info = {'note': 'Grüße', 'calibration': {'scale': 2.0, 'bias': 1.0}}
    for i in range(8):
        checkpoint.save(student, tmp_path / f'{i}.safetensors', **info)
    assert len({checkpoint.sha256_of(p) for p in tmp_path.iterdir()}) == 1
    loaded, kept = checkpoint.load(tmp_path / '0.safetensors')
    assert kept == info
    ours, theirs = student.state_dict(), loaded.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in ours.items())


def spoil_shape(path):
    state = load_file(path)
    state['key.weight'] = state['key.weight'][:3].clone()
    save_file(state, path, metadata={'format': checkpoint.FORMAT,
                                     'config': json.dumps(SMALL.as_dict())})


def spoil_name(path):
    state = load_file(path)
    del state['key.weight']
    save_file(state, path, metadata={'format': checkpoint.FORMAT,
                                     'config': json.dumps(SMALL.as_dict())})


def spoil_value(path):
    state = load_file(path)
    state['key.weight'][0, 0] = float('nan')
    save_file(state, path, metadata={'format': checkpoint.FORMAT,
                                     'config': json.dumps(SMALL.as_dict())})


def described(**texts):
    """Return what writes the file again with other texts in its metadata."""
    def spoil(path):
        meta = {'format': checkpoint.FORMAT, 'config': json.dumps(SMALL.as_dict())}
        save_file(load_file(path), path, metadata=meta | texts)
    return spoil


@pytest.mark.parametrize('spoil, sha256, text', [
    (lambda p: p.unlink(), '', 'does not exist'),
    (lambda p: p.write_bytes(b'no tensors'), '', 'not a readable safetensors'),
    (lambda p: p.write_bytes(p.read_bytes()[:-100]), '', 'not a readable safetensors'),
    (lambda p: None, '0' * 64, 'expected 0000'),
    (lambda p: None, '12', 'expected 12'),
    (lambda p: save_file({'a': torch.zeros(1)}, p), '', 'has format None'),
    (lambda p: save_file({}, p, metadata={'format': checkpoint.FORMAT, 'config': '{"stem": -1}'}),
     '', 'broken description'),
    (spoil_shape, '', r'key.weight has shape \(3, '),
    (spoil_name, '', 'key.weight has shape missing'),
    (spoil_value, '', 'key.weight has values that are not finite'),
    *[(described(config=c), '', 'broken description') for c in ('[1]', '{"stride": 0}', '{')],
    *[(described(info=i), '', 'broken description') for i in (
        '{"calibration": {"scale": 1}}', '{"calibration": {"scale": NaN, "bias": 0}}',
        '{"calibration": [1, 2]}', '7')],
])
def test_bad_files_are_refused_with_the_reason(student, tmp_path, spoil, sha256, text):
    path = tmp_path / 'a.safetensors'
    checkpoint.save(student, path)
    spoil(path)
    with pytest.raises(CheckpointError, match=text):
        checkpoint.load(path, sha256)


@pytest.mark.parametrize('name, text', [
    ('gpu', "device 'gpu' is unknown"), ('cuda:x', 'unknown'), ('cuda:99', 'asked for'),
    ('', 'unknown')])
def test_devices_that_are_not_there_are_refused(name, text):
    with pytest.raises(DeviceError, match=text):
        resolve_device(name)


def test_auto_is_a_device():
    assert resolve_device('auto').type in ('cpu', 'cuda')
    assert resolve_device('cpu').type == 'cpu'


def test_a_full_disk_leaves_the_file_before(student, tmp_path, monkeypatch):
    path = tmp_path / 'a.safetensors'
    checkpoint.save(student, path)
    before = path.read_bytes()

    def full(part, data):
        part.touch()
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match='No space left'):
        checkpoint.save(student, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
