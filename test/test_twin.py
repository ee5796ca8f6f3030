"""The shipped student's teacher: its streams, its prompts, its cost; what it shares."""
from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.matching import MatchingNetwork
from rgbt_tracker_ros.models.network import MODALITIES
from rgbt_tracker_ros.models.profile import count, on_meta, parameters
from rgbt_tracker_ros.models.registry import build
from rgbt_tracker_ros.models.twin import MapPrompts

SMALL = {'template_size': 32, 'search_size': 64, 'stem': 8, 'width8': 16, 'width16': 24,
         'blocks8': 1, 'blocks16': 1, 'head': 16, 'prompt_width': 8}
SEEN = [[1., 1.], [1., 0.], [0., 1.]]


def twin(**config):
    torch.manual_seed(0)
    net = build('twin', **SMALL | config).eval()
    for module in net.modules():  # norms that do something
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net


def batch_of(present=SEEN, seed=0, template=32, search=64):
    g = torch.Generator().manual_seed(seed)
    batch = {}
    for name, n in (('template', template), ('search', search)):
        for modality, channels in (('rgb', 3), ('thermal', 1)):
            batch[f'{name}_{modality}'] = torch.randint(
                0, 256, (len(present), channels, n, n), generator=g, dtype=torch.uint8)
        batch[f'{name}_present'] = torch.tensor(present)
    batch['template_box'] = torch.tensor([[8., 10., 16., 12.]]).expand(len(present), 4)
    return batch


def track(net, batch):
    template = net.encode_template(*(batch[f'template_{k}']
                                     for k in ('rgb', 'thermal', 'present', 'box')))
    return net(template, *(batch[f'search_{k}'] for k in ('rgb', 'thermal', 'present')))


@torch.inference_mode()
@pytest.mark.parametrize('prompts', [True, False])
def test_taps(prompts):
    """Their names and shapes; and the tracking pass is the same network."""
    net, batch = twin(prompts=prompts), batch_of()
    taps = net.taps(batch)
    assert {k: tuple(v.shape[1:]) for k, v in taps.items()} == {
        'score': (1, 8, 8), 'boxes': (4, 8, 8), 'weights': (2, 8, 8), 'features': (16, 8, 8),
        'rgb': (16, 8, 8), 'thermal': (16, 8, 8)}
    out = track(net, batch)
    assert torch.equal(out.logits, taps['score']) and torch.equal(out.boxes, taps['boxes'])
    assert torch.equal(out.weights, taps['weights'])
    torch.testing.assert_close(taps['weights'].sum(1), torch.ones(3, 8, 8))


def test_the_grid_is_the_students():
    with torch.device('meta'):
        ours, theirs = build('twin'), build('student')
        batch = batch_of(template=96, search=192) | {
            'template_box': torch.zeros(3, 4), 'search_present': torch.ones(3, 2)}
    assert ours.config.cell_offset == theirs.config.cell_offset == 0.5
    for name in ('template_size', 'search_size', 'template_factor', 'search_factor', 'stride'):
        assert getattr(ours.config, name) == getattr(theirs.config, name)
    a, b = ours.taps(batch), theirs.taps(batch)
    assert [a[k].shape == b[k].shape for k in ('score', 'boxes')] == [True, True]
    assert a['features'].shape[2:] == b['features'].shape[2:] == a['rgb'].shape[2:]


@torch.inference_mode()
@pytest.mark.parametrize('missing', [0, 1])
@pytest.mark.parametrize('crop', ['template', 'search'])
def test_a_missing_modality_has_no_say(missing, crop):
    """Whatever its pixels hold, nothing changes, and its weight and its features are 0."""
    net, name = twin(), MODALITIES[missing]
    batch = batch_of([[1., 1.]])
    batch[f'{crop}_present'] = 1 - F.one_hot(torch.tensor([missing]), 2).float()
    other = batch | {f'{crop}_{name}': batch_of([[1., 1.]], seed=9)[f'{crop}_{name}']}
    a, b = net.taps(batch), net.taps(other)
    assert all(torch.equal(a[k], b[k]) for k in a)
    if crop == 'search':
        assert (a['weights'][:, missing] == 0).all() and (a['weights'][:, 1 - missing] == 1).all()
        assert not a[name].any() and a[MODALITIES[1 - missing]].any()
    # what is left works as without prompts
    plain = twin(prompts=False)
    plain.load_state_dict({k: v for k, v in net.state_dict().items()
                           if not k.startswith('prompts.')})
    if crop == 'search':
        assert torch.equal(a[MODALITIES[1 - missing]],
                           plain.taps(batch)[MODALITIES[1 - missing]])


@torch.inference_mode()
@pytest.mark.parametrize('modality', ['rgb', 'thermal'])
def test_a_pass_may_show_one_modality_alone(modality):
    """As a batch whose other modality is absent; where one is there, that one is shown."""
    net, batch = twin(), batch_of()
    found, whole = net.taps(batch, modality=modality), net.taps(batch)
    alone = torch.tensor([[float(modality == m) for m in MODALITIES]])
    wanted = net.taps({k: torch.cat((alone, v[1:])) if k.endswith('present') else v
                       for k, v in batch.items()})
    assert all(torch.equal(found[k], wanted[k]) for k in found)
    assert all(torch.equal(found[k][1:], whole[k][1:]) for k in found)
    assert not torch.equal(found['score'][0], whole['score'][0])
    with pytest.raises(ValueError, match="modality is 'depth'; use both, rgb, thermal"):
        net.taps(batch, modality='depth')


@torch.inference_mode()
@pytest.mark.parametrize('own', MODALITIES)
def test_each_stream_is_prompted_by_the_other(own):
    """With prompts its features depend on the other's pixels; without, they don't."""
    other = next(m for m in MODALITIES if m != own)
    batch = batch_of([[1., 1.]])
    changed = batch | {f'search_{other}': batch_of([[1., 1.]], seed=9)[f'search_{other}']}
    for prompts in (True, False):
        net = twin(prompts=prompts)
        same = torch.equal(net.taps(batch)[own], net.taps(changed)[own])
        assert same != prompts


@torch.inference_mode()
def test_prompts_are_handed_on():
    torch.manual_seed(0)
    prompts, both = MapPrompts(16, 8, 3), torch.ones(2, 1, 1, 1)
    maps, last = [torch.rand(2, 16, 4, 4) for _ in range(2)], list(torch.rand(2, 2, 8, 8, 8))
    found, handed = prompts(maps, last, both)
    assert found[0].shape == (2, 16, 4, 4) and handed[0].shape == (2, 8, 4, 4)
    for n in range(2):  # each stream goes on from its own
        changed = [x + 1 * (i == n) * torch.rand_like(x) for i, x in enumerate(last)]
        again, _ = prompts(maps, changed, both)
        assert [torch.equal(a, b) for a, b in zip(found, again, strict=True)] == [n == 1, n == 0]
    unprompted, none = prompts(maps, last, 0 * both)
    assert all(map(torch.equal, unprompted, maps)) and not any(p.any() for p in none)


def test_every_parameter_gets_a_gradient():
    net = twin().train()
    taps = net.taps(batch_of([[1., 1.]] * 4))
    (taps['score'].square().mean() + taps['boxes'].square().mean() / 1000).backward()
    idle = [k for k, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize('channels_last', [False, True])
def test_it_trains_in_half_precision(channels_last):
    """Losses are finite and close to those of single precision."""
    net = twin().train()
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    batch = batch_of([[1., 1.]] * 4)
    single = net.taps(batch)['score']
    with torch.autocast('cpu', torch.bfloat16):
        taps = net.taps(batch)
    taps['score'].sum().backward()
    assert all(taps[k].dtype == torch.float32 for k in ('score', 'boxes', 'weights'))
    assert taps['rgb'].dtype == taps['features'].dtype == torch.bfloat16
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
    assert (taps['score'] - single).abs().mean() < 0.1


def test_the_student_costs_a_tenth():
    """Of a search crop; the template is cached by both."""
    def search(net):
        with torch.device('meta'), torch.no_grad():
            template = net.eval().encode_template(
                torch.zeros(1, 3, 96, 96), torch.zeros(1, 1, 96, 96), torch.ones(1, 2),
                torch.zeros(1, 4))
            crops = torch.zeros(1, 3, 192, 192), torch.zeros(1, 1, 192, 192), torch.ones(1, 2)
            return count(net, lambda: net(template, *crops)).layers

    ours, theirs = on_meta('twin'), on_meta('student')
    cost, plain, student = map(search, (ours, on_meta('twin', prompts=False), theirs))
    assert 10 <= cost / student <= 14
    assert plain < cost < 1.02 * plain  # prompts cost next to nothing
    assert parameters(ours) > 10 * parameters(theirs)


@torch.inference_mode()
def test_matching_written_out():
    """Of the shipped student, cell by cell: cosine, reading, votes."""
    net, _ = checkpoint.load(checkpoint.SHIPPED)
    assert isinstance(net, MatchingNetwork)
    batch = batch_of([[1., 1.]], template=96, search=192)
    batch['template_box'] = torch.tensor([[24., 30., 48., 36.]])
    template = net.encode_template(*(batch[f'template_{k}']
                                     for k in ('rgb', 'thermal', 'present', 'box')))
    x, _ = net.features(*(batch[f'search_{k}'] for k in ('rgb', 'thermal', 'present')))
    joined = torch.empty(1, net.join[0].in_channels, 24, 24)
    width = x.shape[1]
    for row in range(24):
        for column in range(24):
            query = F.normalize(net.key(x)[0, :, row, column], dim=0)
            cosine = query @ template.keys[0]
            share = torch.softmax(net.temperature * cosine, 0)
            joined[0, :, row, column] = torch.cat((
                x[0, :, row, column], template.values[0] @ share,
                cosine * template.mask[0, 0], (template.mask[0, 0] @ share)[None]))
    assert joined.shape[1] == 2 * width + 144 + 1
    logits, edges = net.head(net.join(joined))
    out = track(net, batch)
    torch.testing.assert_close(out.logits, logits, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(out.boxes, net.head.boxes(edges), atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize(('config', 'said'), [
    ({'stride': 16}, 'stride is 16'), ({'search_size': 200}, 'search_size is 200.*multiple'),
    ({'template_size': 100}, 'template_size is 100'), ({'template_size': 0}, 'template_size is 0'),
    ({'search_size': -16}, 'search_size is -16; it must be a multiple of 16, and above 0'),
    ({'prompt_width': 2}, 'prompt_width is 2'),
    ({'prompts': 'mutual'}, "field 'prompts'.*'mutual'")])
def test_a_wrong_configuration_is_refused(config, said):
    with pytest.raises(ValueError, match=said):
        build('twin', **config)
