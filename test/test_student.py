"""The shipped network: what is cached, what is missing; and where it runs."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
import torch

from rgbt_tracker_ros.models.roi import cell_cover
from rgbt_tracker_ros.models.student import Student, StudentConfig
from rgbt_tracker_ros.runtime.device import DeviceError, resolve_device
from rgbt_tracker_ros.runtime.folding import fold_batch_norms

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
                               torch.tensor([[24., 30., 48., 36.]]))


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
    fold_batch_norms(student)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in student.modules())
    after = student(template, *crops(192, 1), torch.ones(1, 2))
    assert torch.allclose(before.logits, after.logits, atol=1e-4)
    assert torch.allclose(before.boxes, after.boxes, atol=1e-2)


@torch.inference_mode()
@pytest.mark.parametrize('modality', ['rgb', 'thermal'])
def test_a_pass_may_show_one_modality_alone(student, modality):
    """As a batch whose other modality is absent; where one is there, that one is shown."""
    batch = {}
    for name, size in (('template', 96), ('search', 192)):
        images = [torch.cat(two) for two in zip(*(crops(size, s) for s in range(3)), strict=True)]
        batch |= {f'{name}_rgb': images[0], f'{name}_thermal': images[1],
                  f'{name}_present': torch.tensor([[1., 1.], [1., 0.], [0., 1.]])}
    batch['template_box'] = torch.tensor([[24., 30., 48., 36.]] * 3)
    found = student.taps(batch, modality=modality)
    alone = torch.tensor([float(modality == 'rgb'), float(modality == 'thermal')])
    less = {k: torch.cat((alone[None], v[1:])) if k.endswith('present') else v
            for k, v in batch.items()}
    wanted, whole = student.taps(less), student.taps(batch)
    assert found.keys() == {'score', 'boxes', 'weights', 'features'}
    assert all(torch.equal(found[k], wanted[k]) for k in found)
    assert not torch.equal(found['score'][0], whole['score'][0])
    assert all(torch.equal(found[k][1:], whole[k][1:]) for k in found)
    assert found['features'].shape == (3, 16, 24, 24)
    assert all(map(torch.equal, whole.values(), student.taps(batch, modality='both').values()))
    # the tracking pass is the same network
    out = student(student.encode_template(
        *(batch[f'template_{k}'] for k in ('rgb', 'thermal', 'present', 'box'))),
        *(batch[f'search_{k}'] for k in ('rgb', 'thermal', 'present')))
    assert torch.equal(out.logits, whole['score']) and torch.equal(out.boxes, whole['boxes'])
    with pytest.raises(ValueError, match="modality is 'depth'; use both, rgb, thermal"):
        student.taps(batch, modality='depth')


@given(st.floats(0, 80), st.floats(0, 80), st.floats(1, 96), st.floats(1, 96))
def test_what_cells_cover_has_the_area_of_the_box(x, y, w, h):
    mask = cell_cover(torch.tensor([[x, y, w, h]]), 12, 8)
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


@pytest.mark.parametrize('name, text', [
    ('gpu', "device 'gpu' is unknown"), ('cuda:x', 'unknown'), ('cuda:99', 'asked for'),
    ('', 'unknown')])
def test_devices_that_are_not_there_are_refused(name, text):
    with pytest.raises(DeviceError, match=text):
        resolve_device(name)


def test_auto_is_a_device():
    assert resolve_device('auto').type in ('cpu', 'cuda')
    assert resolve_device('cpu').type == 'cpu'
