"""Transformer trackers as networks: taps, masks, prompts, teachers, tracking pass."""
from __future__ import annotations

import json

import pytest
import torch
from transformer_kit import PRUNED, TEACHER, TINY, batch_of, tiny, track

from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.models.paper_head import corner_boxes
from rgbt_tracker_ros.models.registry import NETWORKS, build, name_of, network_class

NETS = [
    ('one_stream', {'fusion': 'sum'}, ['fused']),
    ('one_stream', {'fusion': 'concat_linear'}, ['fused']),
    ('one_stream', {'fusion': 'prompt0', 'elimination': 'ce', **PRUNED}, ['fused']),
    ('one_stream', {'fusion': 'rgb'}, ['rgb']),
    ('one_stream', {'fusion': 'thermal'}, ['thermal']),
    ('two_stream', {}, ['rgb', 'thermal']),
    ('two_stream', {'elimination': 'ce', **PRUNED}, ['rgb', 'thermal']),
    ('two_stream', {'elimination': 'mce', **PRUNED}, ['rgb', 'thermal']),
    ('two_stream', {'elimination': 'mce', 'eliminated': 'kept', **PRUNED}, ['rgb', 'thermal']),
    ('two_stream', TEACHER, ['rgb', 'thermal']),
    ('two_stream', {'prompts': 'to_rgb'}, ['rgb', 'thermal']),
    ('two_stream', {'prompts': 'to_thermal', 'fusion': 'concat_conv'}, ['rgb', 'thermal']),
    ('coupled', {}, ['rgb', 'thermal', 'rgb_teacher', 'thermal_teacher']),
    ('coupled', {'elimination': 'mce', **PRUNED},
     ['rgb', 'thermal', 'rgb_teacher', 'thermal_teacher']),
    ('coupled', {'elimination': 'ce', **TEACHER, **PRUNED, 'prompts': 'none'},
     ['rgb', 'thermal', 'rgb_teacher', 'thermal_teacher']),
    ('coupled', TEACHER, ['rgb', 'thermal', 'rgb_teacher', 'thermal_teacher']),
]
every_net = pytest.mark.parametrize(('name', 'config', 'streams'), NETS)


@every_net
def test_taps_and_their_shapes(name, config, streams):
    net, batch = tiny(name, **config), batch_of([1, 2])
    taps = net.taps(batch, seed=1)
    pruned = config.get('elimination', 'off') != 'off'
    left = [64, 45, 32, 23] if pruned else [64] * 4
    expected = {f'blocks.{i}.{s}': (2, 16 + n, 48) for s in streams for i, n in enumerate(left)}
    for prefix in ['', *(f'{s}.' for s in streams if 'teacher' in s)]:
        wide = 96 if not prefix and name != 'one_stream' and 'fusion' not in config else 48
        expected |= {f'{prefix}score': (2, 1, 8, 8), f'{prefix}size': (2, 2, 8, 8),
                     f'{prefix}offset': (2, 2, 8, 8), f'{prefix}fused': (2, wide, 8, 8)}
    if name == 'coupled':
        expected['mask'] = (2, 64, 1)
    assert {k: tuple(v.shape) for k, v in taps.items()} == expected
    assert all(taps[k].dtype == torch.float32 for k in taps)


@every_net
def test_tracking_pass_is_the_training_graph_in_eval_mode(name, config, streams):
    """P14."""
    net, batch = tiny(name, **config).eval(), batch_of([1, 2, 3])
    exported = net.tracking_network()
    taps, out = net.taps(batch, seed=4), track(exported, batch)
    torch.testing.assert_close(out.logits, taps['score'])
    torch.testing.assert_close(out.boxes, corner_boxes(taps['size'], taps['offset'], 64))
    assert out.weights.shape == (3, 2, 1, 1)
    torch.testing.assert_close(out.weights.sum(1), torch.ones(3, 1, 1))
    assert 'mask' not in taps
    assert not any('teacher' in k for k in exported.state_dict())
    assert name_of(exported) == ('two_stream' if name == 'coupled' else name)
    rebuilt = build(name_of(exported), **exported.config.as_dict()).eval()
    rebuilt.load_state_dict(exported.state_dict())
    assert torch.equal(track(rebuilt, batch).logits, out.logits)


@every_net
def test_every_trained_parameter_gets_a_gradient(name, config, streams):
    net = tiny(name, **config | {'drop_path': 0.1})
    # one step, so that what starts at exactly zero does not hide what comes before it
    for _ in range(2):
        taps = net.taps(batch_of([1, 2, 3, 4]), seed=1)
        net.zero_grad()
        sum(v.square().mean() for k, v in taps.items()
            if k.split('.')[-1] in ('score', 'size', 'offset')).backward()
    missing = [k for k, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    still = [k for k, p in net.named_parameters() if not p.requires_grad]
    unused = {'mutual': 2, 'to_rgb': 1, 'to_thermal': 1}.get(config.get('prompts', ''), 0)
    assert len(still) == unused * len(list(build(
        'two_stream', **TINY, **TEACHER).prompts.later['rgb'][0].parameters()))
    assert all('.later.' in k and '.0.' in k for k in still)


@every_net
def test_a_split_batch_draws_the_same(name, config, streams):
    net = tiny(name, **config | {'drop_path': 0.3})
    whole = net.taps(batch_of([5, 6, 7, 8]), seed=2)
    parts = [net.taps(batch_of(i), seed=2) for i in ([5, 6, 7], [8])]
    for key in whole:
        if key.startswith('blocks') or key == 'mask':
            torch.testing.assert_close(whole[key], torch.cat([p[key] for p in parts]))


@every_net
def test_half_precision(name, config, streams):
    net, batch = tiny(name, **config), batch_of([1, 2])
    with torch.autocast('cpu', torch.bfloat16):
        taps = net.taps(batch)
        out = track(net.eval(), batch)
    loss = sum(v.float().square().mean() for v in taps.values())
    loss.backward()
    assert all(v.isfinite().all() for v in taps.values())
    assert taps['score'].dtype == out.logits.dtype == out.boxes.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@every_net
def test_bytes_are_seen_as_unit_floats(name, config, streams):
    net, batch = tiny(name, **config).eval(), batch_of([1])
    images = [k for k in batch if k.endswith(('_rgb', '_thermal'))]
    as_bytes = batch | {k: (batch[k] * 255).round().to(torch.uint8) for k in images}
    as_unit = batch | {k: as_bytes[k].float() / 255 for k in images}
    torch.testing.assert_close(net.taps(as_bytes)['score'], net.taps(as_unit)['score'])


@pytest.mark.parametrize(('lost', 'name', 'config'), [
    ('rgb', 'two_stream', {}), ('thermal', 'two_stream', TEACHER), ('rgb', 'one_stream', {}),
    ('thermal', 'one_stream', {'fusion': 'rgb'})])
def test_a_missing_modality_is_not_looked_at(lost, name, config):
    net, batch = tiny(name, **config).eval(), batch_of([1, 2])
    column = ('rgb', 'thermal').index(lost)
    batch['search_present'][:, column] = batch['template_present'][:, column] = 0
    other = batch | {k: 1 - batch[k] for k in (f'template_{lost}', f'search_{lost}')}
    a, b = track(net, batch), track(net, other)
    assert torch.equal(a.logits, b.logits)
    assert torch.equal(a.weights[:, 1 - column], torch.ones(2, 1, 1))


def students_input(net, batch):
    seen = {}
    for name in ('rgb', 'thermal'):
        for kind, module in (('', net.student.vit(name)),
                             ('_teacher', getattr(net, f'{name}_teacher').vit)):
            module.blocks[0].norm1.register_forward_pre_hook(
                lambda m, args, k=name + kind: seen.__setitem__(k, args[0]))
    taps = net.taps(batch, seed=9)
    return seen, taps['mask'][:, :, 0] == 0


def test_masks_are_the_students_and_the_same_in_both():
    """P6: one mask, and none for the teachers."""
    net = tiny('coupled', mask_ratio=0.25)
    seen, masked = students_input(net, batch_of([1, 2, 3, 4]))
    assert 0.15 < masked.float().mean() < 0.35
    for name in ('rgb', 'thermal'):
        positions = net.student.vit(name).pos_embed_x.expand(4, -1, -1)
        bare = (seen[name][:, 16:] == positions).all(2)
        assert torch.equal(bare, masked)
        teacher = net.get_submodule(f'{name}_teacher.vit').pos_embed_x.expand(4, -1, -1)
        assert not (seen[f'{name}_teacher'][:, 16:] == teacher).all(2).any()
        template = net.student.vit(name).pos_embed_z.expand(4, -1, -1)
        assert not (seen[name][:, :16] == template).all(2).any()


@pytest.mark.parametrize(('config', 'training'), [({'mask_ratio': 0.0}, True), ({}, False)])
def test_no_mask(config, training):
    assert 'mask' not in tiny('coupled', **config).train(training).taps(batch_of([1]))


def test_masks_follow_seed_and_index():
    net = tiny('coupled')
    a, b = net.student.mask(torch.tensor([1, 2]), 0), net.student.mask(torch.tensor([2, 3]), 0)
    assert torch.equal(a[1], b[0])
    assert not torch.equal(a[0], a[1])
    assert not torch.equal(a, net.student.mask(torch.tensor([1, 2]), 1))


def test_branches_do_not_reach_each_other():
    net = tiny('coupled')
    taps = net.taps(batch_of([1, 2]))
    sum(taps[k].square().mean() for k in ('score', 'size', 'offset')).backward(
        retain_graph=True)
    for name, parameter in net.named_parameters():
        assert ('teacher' in name) == (parameter.grad is None), name
    net.zero_grad()
    taps['rgb_teacher.score'].square().mean().backward()
    for name, parameter in net.named_parameters():
        assert (parameter.grad is not None) <= name.startswith('rgb_teacher'), name


def test_one_vote_keeps_the_tokens_of_all_branches_registered():
    """P7."""
    net, batch = tiny('coupled', elimination='mce', **PRUNED).eval(), batch_of([1, 2, 3])
    taps = net.taps(batch)
    for name in ('rgb_teacher', 'thermal_teacher'):
        zero = (taps[f'{name}.fused'] == 0).all(1)
        assert zero.sum((1, 2)).tolist() == [64 - 23] * 3
        assert torch.equal(zero, (taps['fused'] == 0).all(1))
    net = tiny('two_stream', elimination='ce', **PRUNED).eval()
    fused = net.taps(batch)['fused']
    rgb, thermal = ((fused[:, part] == 0).all(1) for part in (slice(48), slice(48, 96)))
    assert rgb.sum() == thermal.sum() == 3 * (64 - 23)
    assert not torch.equal(rgb, thermal)


def test_eliminated_tokens_of_all_branches_are_zero_or_kept():
    batch = batch_of([1, 2])
    found = {}
    for eliminated in ('zero', 'kept'):
        net = tiny('coupled', elimination='mce', eliminated=eliminated, **PRUNED).eval()
        found[eliminated] = net.taps(batch)
    for name in ('fused', 'rgb_teacher.fused', 'thermal_teacher.fused'):
        zero, kept = found['zero'][name], found['kept'][name]
        gone = (zero == 0).all(1, keepdim=True)
        assert gone.sum() == 2 * (64 - 23) and (kept.abs().sum(1) > 0).all()
        assert torch.equal(zero, kept.masked_fill(gone, 0))


@pytest.mark.parametrize('elimination', ['ce', 'mce'])
@pytest.mark.parametrize('eliminated', ['zero', 'kept'])
def test_keeping_all_is_the_unpruned_network(elimination, eliminated):
    """P7: with its head."""
    plain = tiny('two_stream').eval()
    kept = tiny('two_stream', elimination=elimination, eliminated=eliminated,
                **PRUNED | {'keep': 1.0}).eval()
    batch = batch_of([1, 2])
    torch.testing.assert_close(plain.taps(batch)['score'], kept.taps(batch)['score'])


def test_zeroed_prompters_leave_two_passes():
    """P9."""
    prompted, plain = tiny('two_stream', **TEACHER).eval(), tiny(
        'two_stream', **TEACHER | {'prompts': 'none'}).eval()
    batch = batch_of([1, 2])
    plain.load_state_dict(prompted.state_dict(), strict=False)
    assert not torch.allclose(prompted.taps(batch)['score'], plain.taps(batch)['score'])
    with torch.no_grad():
        for name, parameter in prompted.named_parameters():
            if 'prompts' in name and '.norm.' in name:
                parameter.zero_()
    a, b = prompted.taps(batch), plain.taps(batch)
    for key in b:
        torch.testing.assert_close(a[key], b[key], msg=key)


def test_swapping_modalities_and_prompters_swaps_the_streams():
    """P9."""
    net, batch = tiny('two_stream', **TEACHER).eval(), batch_of([1, 2])
    for crop in ('template', 'search'):  # modalities that differ in their content alone
        batch[f'{crop}_rgb'] = batch[f'{crop}_rgb'][:, :1].expand(-1, 3, -1, -1)
    swapped = batch | {f'{crop}_{a}': batch[f'{crop}_{b}'].expand(-1, channels, -1, -1)
                       if a == 'rgb' else batch[f'{crop}_{b}'][:, :1]
                       for crop in ('template', 'search')
                       for a, b, channels in (('rgb', 'thermal', 3), ('thermal', 'rgb', 1))}
    a = net.taps(batch)
    for part in (net.prompts.first, net.prompts.later):
        part['rgb'], part['thermal'] = part['thermal'], part['rgb']
    b = net.taps(swapped)
    for i in range(4):
        torch.testing.assert_close(a[f'blocks.{i}.rgb'], b[f'blocks.{i}.thermal'])
        torch.testing.assert_close(a[f'blocks.{i}.thermal'], b[f'blocks.{i}.rgb'])
    assert not torch.allclose(a['blocks.3.rgb'], b['blocks.3.rgb'])


@pytest.mark.parametrize(('prompts', 'reached'), [
    ('none', set()), ('to_rgb', {'rgb'}), ('to_thermal', {'thermal'}),
    ('mutual', {'rgb', 'thermal'})])
def test_which_streams_feel_the_other_modality(prompts, reached):
    net, batch = tiny('two_stream', prompts=prompts).eval(), batch_of([1])
    plain = net.taps(batch)
    for name, other in (('rgb', 'thermal'), ('thermal', 'rgb')):
        changed = net.taps(batch | {f'search_{other}': 1 - batch[f'search_{other}']})
        same = torch.equal(plain[f'blocks.3.{name}'], changed[f'blocks.3.{name}'])
        assert same != (name in reached)


def test_means_of_the_streams_on_request():
    net, batch = tiny('two_stream').eval(), batch_of([1])
    taps = net.taps(batch, means=True)
    torch.testing.assert_close(taps['blocks.2.mean'],
                               (taps['blocks.2.rgb'] + taps['blocks.2.thermal']) / 2)
    assert 'blocks.2.mean' not in net.taps(batch)


def test_linear_fusion_starts_as_the_sum():
    joined, added = (tiny('one_stream', fusion=f).eval() for f in ('concat_linear', 'sum'))
    joined.load_state_dict(added.state_dict(), strict=False)
    batch = batch_of([1, 2])
    torch.testing.assert_close(joined.taps(batch)['score'], added.taps(batch)['score'])


@pytest.mark.parametrize(('name', 'config', 'said'), [
    ('three_stream', {}, "no network 'three_stream'"),
    ('two_stream', {'dpeth': 3}, "no field 'dpeth'.*depth"),
    ('two_stream', {'depth': 'four'}, "field 'depth'.*'four'"),
    ('two_stream', {'depth': True}, "field 'depth'.*True"),
    ('two_stream', {'search_size': 250}, 'search_size is 250.*multiple of stride 16'),
    ('two_stream', {'heads': 5}, 'multiple of heads 5'),
    ('two_stream', {'stride': 0}, 'stride is 0; it must be 1 px or more'),
    ('two_stream', {'template_size': 0}, 'template_size is 0.*above 0'),
    ('two_stream', {'depth': 0}, 'depth is 0; it must be 1 block or more'),
    ('two_stream', {'prompts': 'mutual', 'dim': 12, 'prompt_ratio': 13},
     'prompt_ratio is 13; it must be from 1 to dim, which is 12'),
    ('one_stream', {'prompt_ratio': 0}, 'prompt_ratio is 0'),
    ('two_stream', {'elimination': 'max'}, "elimination is 'max'"),
    ('two_stream', {'elimination': 'mce', 'eliminate_at': [3, 12]}, 'names block 12.*0 to 11'),
    ('two_stream', {'elimination': 'mce', 'keep': 0.0}, 'keep is 0.0'),
    ('two_stream', {'eliminated': 'gone'}, "eliminated is 'gone'; it can be zero or kept"),
    ('two_stream', {'fusion': 'sum'}, "fusion is 'sum'.*concat_conv"),
    ('two_stream', {'prompts': 'both'}, "prompts is 'both'.*mutual"),
    ('two_stream', {'prompts': 'mutual', 'elimination': 'ce'}, 'leave one out'),
    ('two_stream', {'drop_path': 1.5}, 'drop_path is 1.5'),
    ('coupled', {'mask_ratio': 1.0}, 'mask_ratio is 1.0'),
    ('one_stream', {'elimination': 'mce'}, "elimination is 'mce'"),
    ('one_stream', {'fusion': 'late'}, "fusion is 'late'"),
])
def test_a_wrong_configuration_is_refused(name, config, said):
    with pytest.raises(ValueError, match=said):
        build(name, **config)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match='maks'):
        tiny('coupled').taps(batch_of([1]), maks=0.5)


@pytest.mark.parametrize('name', NETWORKS)
def test_registered_networks_are_rebuilt_from_their_configuration(name):
    cls = network_class(name)
    config = json.loads(json.dumps(cls.Config().as_dict()))
    with torch.device('meta'):
        network = build(name, **config)
    assert isinstance(network, Network) and network.config == cls.Config()
    assert name_of(network) == name
