"""Stages as data: names by pattern, checked values, schedules, and what a graph does with them."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
from recipe_kit import small
import torch
from torch import Tensor, nn

from rgbt_tracker_ros.distillation.graph import Graph, needed_passes
from rgbt_tracker_ros.distillation.patterns import expand, natural, rename, selects
from rgbt_tracker_ros.distillation.schedule import factor_at, make_optimizer, set_rates
from rgbt_tracker_ros.distillation.schema import RecipeError, build
from rgbt_tracker_ros.distillation.seeds import derive
from rgbt_tracker_ros.distillation.spec import (
    Data,
    Group,
    NetworkSpec,
    Optimizer,
    Origin,
    Pass,
    Schedule,
    Stage,
    Term,
)
from rgbt_tracker_ros.distillation.stages import Setting, make_graph
from rgbt_tracker_ros.distillation.weights import copy_weights, weights
from rgbt_tracker_ros.models.network import Network, NetworkConfig

# --- names

@pytest.mark.parametrize('pattern, expected', [
    ('blocks.*.rgb', ['blocks.2.rgb', 'blocks.10.rgb']),  # not rgb_teacher, not in text order
    ('blocks.{10,2}.rgb', ['blocks.10.rgb', 'blocks.2.rgb']),
    ('score', ['score']), ('nothing', []), ('blocks.{2,3}.rgb', []), ('blocks.{2, 10}.*', [
        'blocks.2.rgb', 'blocks.2.rgb_teacher', 'blocks.10.rgb'])])
def test_layers_by_pattern(pattern, expected):
    assert expand(pattern, ['blocks.10.rgb', 'blocks.2.rgb', 'score', 'blocks.2.rgb_teacher',
                            'blocks.2.x.rgb']) == expected


def test_natural_order():
    assert sorted(['b10', 'b9', 'a'], key=natural) == ['a', 'b9', 'b10']


@pytest.mark.parametrize('patterns, name, expected', [
    (('*',), 'head.x', True), (('*', '!head.*'), 'head.x', False), (('*', '!head.*'), 'vit', True),
    ((), 'x', False), (('!*', 'vit.*'), 'vit.a', True)])
def test_the_last_pattern_that_matches_decides(patterns, name, expected):
    assert selects(patterns, name) is expected


@pytest.mark.parametrize('name, expected', [
    ('vits.shared.blocks.0', 'vit.blocks.0'), ('head.a', 'head.a'), ('fuse.0', None)])
def test_renaming(name, expected):
    assert rename({'vits.shared.*': 'vit.*', 'head.*': 'head.*'}, name) == expected


def test_seeds_of_parts_differ_and_stay():
    assert derive(0, 'a', 1) == derive(0, 'a', 1)
    assert len({derive(s, *p) for s in (0, 1) for p in (('a', 1), ('a', 11), ('b', 1))}) == 6
    assert all(0 <= derive(0, i) < 2 ** 31 for i in range(100))


# --- values

@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Outer:
    rate: float
    kind: Literal['a', 'b'] = 'a'
    names: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)
    many: dict[str, Inner] = field(default_factory=dict)
    from_: Inner | None = None


def test_values_become_what_they_are_declared_to_be():
    made = build(Outer, {'rate': 2, 'names': 'x', 'inner': {'size': 3}, 'from': {'size': 4},
                         'many': {'k': {'size': 5}}}, 'here')
    assert made == Outer(2.0, 'a', ('x',), Inner(3), {'k': Inner(5)}, Inner(4))
    assert isinstance(made.rate, float) and build(Outer, {'rate': '1e-3'}, '').rate == 1e-3
    assert build(Outer, {'rate': 1, 'from': None}, '').from_ is None


@pytest.mark.parametrize('values, text', [
    ({}, "here: key 'rate' is missing"),
    ({'rate': 1, 'rates': 2}, "here: key 'rates' is unknown; did you mean 'rate'"),
    ({'rate': 'fast'}, "here.rate is 'fast', it must be float"),
    ({'rate': True}, 'here.rate is True, it must be float'),
    ({'rate': 1, 'kind': 'c'}, "here.kind is 'c'; there are a, b"),
    ({'rate': 1, 'names': 3}, 'here.names is 3; it must be a list'),
    ({'rate': 1, 'names': [3]}, r'here.names\[0\] is 3, it must be str'),
    ({'rate': 1, 'inner': [1]}, r'here.inner is \[1\]; it must be a mapping'),
    ({'rate': 1, 'inner': {'size': 1.5}}, 'here.inner.size is 1.5, it must be int'),
    ({'rate': 1, 'many': {'k': {'sizes': 1}}}, "here.many.k: key 'sizes' is unknown"),
    ([1], r'here is \[1\]; it must be a mapping')])
def test_wrong_values_are_named_with_their_place(values, text):
    with pytest.raises(RecipeError, match=text):
        build(Outer, values, 'here')


@pytest.mark.parametrize('change, text', [
    ({'loss': 'tsk'}, "loss 'tsk' is unknown; did you mean 'task'"),
    ({'inputs': {'a': 'p:x'}}, "loss style needs the input 'b'"),
    ({'inputs': {'a': 'p:x', 'b': 'p:x', 'c': 'p:x'}}, "has no input 'c'; there are a, b"),
    ({'inputs': {'a': 'x', 'b': 'p:x'}}, 'write PASS:TAP or batch:KEY'),
    ({'options': {'axes': 1}}, "has no option 'axes'; did you mean 'axis'"),
    ({'detach': ('x',)}, "detach names 'x'"), ({'ramp': 2.0}, r'ramp is 2.0'),
    ({'until': 0.0}, r'until is 0.0'), ({'weight': -1.0}, 'weight is -1.0; it must be 0 or more'),
    ({'weight': float('nan')}, 'weight is nan')])
def test_wrong_terms_are_refused(change, text):
    values = {'loss': 'style', 'inputs': {'a': 'p:x', 'b': 'p:y'}} | change
    with pytest.raises(ValueError, match=text):
        Term(**values)


def test_the_weight_of_a_term_ramps_up():
    term = Term('style', {'a': 'p:x', 'b': 'p:y'}, weight=2.0, ramp=0.5)
    assert [term.weight_at(p) for p in (0, 0.25, 0.5, 1)] == [0, 1, 2, 2]
    assert replace(term, ramp=0.0).weight_at(0) == 2


def test_a_term_falls_to_0_and_is_over():
    term = Term('style', {'a': 'p:x', 'b': 'p:y'}, weight=2.0, until=0.8)
    assert [term.weight_at(p) for p in (0, 0.4, 0.6, 0.8, 1)] == pytest.approx([2, 2, 1, 0, 0])
    assert [term.is_over(p) for p in (0.79, 0.8, 1)] == [False, True, True]
    assert not replace(term, until=1.0).is_over(1.0) and replace(term, until=1.0).weight_at(1) == 2


@pytest.mark.parametrize('change, text', [
    ({'weight': 0.0}, r'all terms \(a, b\) have weight 0'),
    ({'until': 0.7}, r'until of all terms \(a, b\) is below 1: no loss is left after 0\.7')])
def test_a_stage_that_runs_out_of_losses_is_refused(change, text):
    one = Term('map_mse', SAME)
    stage = graph_of(terms={'a': one, 'b': replace(one, until=0.5)}).stage
    with pytest.raises(ValueError, match=text):
        replace(stage, terms={n: replace(t, **change) for n, t in stage.terms.items()})


@pytest.mark.parametrize('make, text', [
    (lambda: Group(('a',), -1.0), 'rate is -1'), (lambda: Optimizer(rate=-1.0), 'rate is -1'),
    (lambda: Optimizer(weight_decay=-1.0), 'weight_decay is -1'),
    (lambda: Schedule('cosine', factor=-0.1), 'factor is -0.1'),
    (lambda: Schedule('step'), r'at is \[\] and type is step'),
    (lambda: Schedule('cosine', at=(0.5,)), r'at is \[0.5\] and type is cosine'),
    (lambda: replace(stage_of(), ema=1.5), 'ema is 1.5; it must be 0 or more, at most 1'),
    (lambda: stage_of(terms={'loss': Term('map_mse', SAME)}), "can't be called 'loss'"),
    (lambda: replace(stage_of(), networks={
        'net': NetworkSpec('fake', from_=(Origin(network='other'),)),
        'other': NetworkSpec('fake')}), "net starts from 'other', which is no network before it"),
    (lambda: replace(stage_of(), networks={
        'net': NetworkSpec('fake', from_=(Origin(network='net'),)),
        'other': NetworkSpec('fake')}), "net starts from 'net', which is no network before it")])
def test_values_that_can_not_be_meant_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize('frozen, learns', [
    ((), True), (('*',), False), (('a.*',), True), (('*', '!head.*'), True),
    (('!head.*', '*'), False)])
def test_a_network_learns_unless_all_of_it_is_frozen(frozen, learns):
    assert NetworkSpec('fake', frozen=frozen).learns == learns


# --- rates

@pytest.mark.parametrize('schedule, expected', [
    (Schedule(), {0: 1, 99: 1}),
    (Schedule('step', at=(0.5, 0.8)), {0: 1, 49: 1, 50: 0.1, 80: 0.01, 99: 0.01}),
    (Schedule('one_cycle'), {0: 1 / 25, 15: 0.52, 30: 1, 99: 1 / 250_000}),
    (Schedule('cosine', warm_up=0.1, factor=0.0), {0: 0.1, 9: 1, 10: 1, 55: 0.5})])
def test_schedules(schedule, expected):
    for step, factor in expected.items():
        assert factor_at(step, 100, schedule) == pytest.approx(factor, abs=1e-6), step


def test_groups_take_parameters_by_name():
    graph = graph_of()
    optimizer = make_optimizer(graph, Optimizer(rate=1.0, decay_vectors=False, groups=(
        Group(('net.first.*',), 0.1),)))
    found = {(g['lr'], g['weight_decay'], len(g['params'])) for g in optimizer.param_groups}
    assert found == {(0.1, 1e-4, 1), (0.1, 0.0, 1), (1.0, 1e-4, 1), (1.0, 0.0, 1)}
    assert set_rates(optimizer, 60, 100, Schedule('step', at=(0.5,))) == pytest.approx(0.1)
    assert sorted(g['lr'] for g in optimizer.param_groups) == pytest.approx(
        [0.01, 0.01, 0.1, 0.1])


def test_a_group_that_matches_nothing_is_refused():
    with pytest.raises(RecipeError, match=r'groups\[0\].match is .*vit.*names begin with net.fir'):
        make_optimizer(graph_of(), Optimizer(groups=(Group(('vit.*',), 0.1),)))
    with pytest.raises(RecipeError, match='nothing is trained'):
        make_optimizer(graph_of(frozen=('*',)), Optimizer())


# --- the graph

class Fake(Network):
    """Two linear layers with a batch norm between, over the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.config = NetworkConfig(8, 8)
        self.first, self.norm, self.last = nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False), \
            nn.Linear(3, 3)

    def taps(self, batch, shift: Tensor | float = 0.0, seed: int = 0):
        x = self.norm(self.first(batch['search_rgb'].mean((2, 3)))) + shift
        return {'layers.0': x[:, None], 'layers.1': self.last(x)[:, None]}


def batch(size=4):
    generator = torch.Generator().manual_seed(0)
    return {'search_rgb': torch.rand(size, 3, 8, 8, generator=generator),
            'template_rgb': torch.rand(size, 3, 8, 8, generator=generator),
            'search_box': torch.ones(size, 4) * 2, 'template_box': torch.ones(size, 4) * 2}


SAME = {'student': 'net:layers.*', 'teacher': 'other:layers.*'}


def stage_of(frozen=(), terms=None, passes=None, networks=('net', 'other')):
    return Stage({n: NetworkSpec('fake', frozen=frozen if n == 'net' else ('*',))
                  for n in networks},
                 passes or {n: Pass(n) for n in networks},
                 terms or {'same': Term('map_mse', SAME)}, Data('scenes'), 10)


def graph_of(frozen=(), **changes):
    torch.manual_seed(0)
    stage = stage_of(frozen, **changes)
    graph = Graph(stage, {n: Fake() for n in stage.networks}, 0)
    graph.materialise(batch())
    return graph


def test_total_is_the_weighted_sum_over_layers():
    terms = {'a': Term('map_mse', SAME, weight=0.5), 'b': Term('map_mse', SAME, 2.0, 'mean'),
             'off': Term('map_mse', SAME, weight=0)}
    total, named = graph_of(terms=terms)(batch(), 0.0)
    assert named.keys() == {'a', 'b'}
    assert named['a'].item() == pytest.approx(2 * named['b'].item())
    assert total.item() == pytest.approx(0.5 * named['a'].item() + 2 * named['b'].item())
    assert not named['a'].requires_grad


def test_what_is_over_is_left_out_with_its_passes(monkeypatch):
    alone = {'student': 'net:layers.0', 'teacher': 'net:layers.1'}
    graph = graph_of(terms={'a': Term('map_mse', alone),
                            'b': Term('map_mse', SAME, until=0.5)})
    assert graph(batch(), 0.4)[1].keys() == {'a', 'b'}
    monkeypatch.setattr(graph.networks['other'], 'taps', None)
    total, named = graph(batch(), 0.5)
    assert named.keys() == {'a'} and total.item() == pytest.approx(named['a'].item())


def test_frozen_networks_stay_bit_identical():
    """P13: buffers of batch norms, too."""
    graph = graph_of()
    before = {k: v.clone() for k, v in graph.networks['other'].state_dict().items()}
    moved = weights(graph.networks['net'])['first.weight'].clone()
    optimizer = torch.optim.AdamW(graph.parameters(), 0.1, weight_decay=0.1)
    for _ in range(3):
        graph.train()
        optimizer.zero_grad()
        graph(batch(), 0.0)[0].backward()
        optimizer.step()
    for name, value in graph.networks['other'].state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(graph.networks['net'].first.weight, moved)
    assert graph.networks['net'].norm.num_batches_tracked == 3


def test_frozen_parts_of_a_network_are_in_evaluation_mode():
    graph = graph_of(frozen=('first.*',))
    net = graph.networks['net']
    assert net.training and net.last.training and not net.first.training
    assert [n for n, _ in graph.named_trainable()] == ['net.last.weight', 'net.last.bias']


def test_materialising_changes_nothing_and_is_the_same_every_time():
    a, b = (graph_of(terms={'f': Term('features', SAME, options={'adapter': 'conv'})})
            for _ in range(2))
    assert len(a.terms['f']) == 2
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name
    assert a.networks['net'].norm.num_batches_tracked == 0
    assert [n for n, _ in a.named_trainable() if n.startswith('terms')] == [
        f'terms.f.{i}.adapter.linear.{p}' for i in (0, 1) for p in ('weight', 'bias')]


def test_detached_inputs_get_no_gradient():
    inputs = {'student': 'net:layers.1', 'teacher': 'net:layers.0'}
    for detach, reached in (((), True), (('student',), False)):
        graph = graph_of(terms={'a': Term('map_mse', inputs, detach=detach)})
        graph(batch(), 0.0)[0].backward()
        net = graph.networks['net']
        assert net.first.weight.grad is not None
        assert (net.last.weight.grad is not None) == reached


def test_a_loss_that_reaches_nothing_that_learns_is_refused():
    """It would add nothing in silence, or, alone, end the training in its first step."""
    terms = {'a': Term('map_mse', SAME, detach=('student', 'teacher')),
             'b': Term('map_mse', SAME)}
    with pytest.raises(RecipeError, match=r'terms\.a reaches nothing that learns'):
        graph_of(terms=terms)


def test_what_is_to_be_frozen_must_be_there():
    for pattern, shown in (('frist.*', 'frist'), ('!frist.*', '!frist')):
        with pytest.raises(RecipeError, match=rf"net\.frozen: '{shown}\.\*' matches no parameter; "
                                              'they begin with first'):
            graph_of(frozen=('*', pattern))


def test_errors_of_a_training_are_not_the_recipes(monkeypatch):
    """Before it a shape that does not fit is; in it torch's own error, with its trace, is told."""
    graph = graph_of()

    def broken(*args, **kwargs):
        raise RuntimeError('CUDA error: an illegal memory access')

    for network in graph.networks.values():
        monkeypatch.setattr(network, 'taps', broken)
    with pytest.raises(RuntimeError, match='illegal') as caught:
        graph(batch(), 0.0)
    assert not isinstance(caught.value, RecipeError)
    with pytest.raises(RecipeError, match=r'passes\.net of network .* illegal'):
        graph.materialise(batch())


def test_a_pass_takes_another_ones_output_and_hands_gradients_on():
    passes = {'net': Pass('net'), 'through': Pass('other', {'shift': '@net:layers.1'}),
              'unused': Pass('net')}
    terms = {'a': Term('map_mse', {'student': 'through:layers.1', 'teacher': 'net:layers.0'},
                       detach=('teacher',))}
    stage = stage_of(passes=passes, terms=terms)
    assert needed_passes(stage) == ['net', 'through']

    class Flat(Fake):
        def taps(self, batch, shift=0.0, seed=0):
            return {k: v[:, 0] for k, v in super().taps(batch, shift, seed).items()}

    graph = Graph(stage, {n: Flat() for n in stage.networks}, 0)
    graph(batch(), 0.0)[0].backward()
    assert graph.networks['net'].last.weight.grad.any()
    assert graph.networks['other'].last.weight.grad is None


@pytest.mark.parametrize('changes, text', [
    ({'terms': {'a': Term('map_mse', SAME | {'teacher': 'other:layer.*'})}},
     r"terms.a.inputs.teacher: 'other:layer.\*' is nothing that 'other' gives.*layers.0"),
    ({'terms': {'a': Term('map_mse', SAME | {'teacher': 'batch:serch_rgb'})}},
     "'batch:serch_rgb' is nothing that 'batch' gives; did you mean 'search_rgb'"),
    ({'terms': {'a': Term('map_mse', SAME | {'teacher': 'other:layers.{1}'})}},
     r"different numbers of layers: .'student': 2, 'teacher': 1"),
    ({'terms': {'a': Term('map_mse', SAME | {'teacher': 'batch:search_box'})}},
     'terms.a .*the shapes differ'),
    ({'passes': {'net': Pass('net'), 'other': Pass('other', {'mode': 1})}},
     "passes.other of network 'other' with options .*mode"),
    ({'passes': {'net': Pass('net', {'shift': '@other:x'}), 'other': Pass('other')}},
     'is no pass before it'),
    ({'passes': {'other': Pass('other'), 'net': Pass('net', {'shift': '@other:x'})}},
     "pass 'other' gives no 'x'")])
def test_names_that_do_not_exist_are_found_before_any_training(changes, text):
    with pytest.raises(RecipeError, match=text):
        graph_of(**changes)


@pytest.mark.parametrize('changes, text', [
    ({'passes': {'net': Pass('nett')}}, "pass net runs 'nett'; did you mean 'net'"),
    ({'terms': {'a': Term('map_mse', SAME | {'teacher': 'nobody:x'})}}, "no pass 'nobody'"),
    ({'passes': {'batch': Pass('net')}}, "can't be called 'batch'")])
def test_stages_that_name_what_is_not_there(changes, text):
    with pytest.raises(ValueError, match=text):
        stage_of(**changes)


def test_weights_are_copied_by_name_and_refused_by_shape():
    a, b = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    copy_weights(b, weights(a), {'0.*': '1.*'}, 'here')
    assert torch.equal(b[1].weight, a[0].weight) and not torch.equal(b[0].weight, a[0].weight)
    for mapping, text in (({}, 'here: 1.bias is not among'),
                          ({'5.*': '1.*'}, r"here.map: '5\.\*' matches none of 0.bias, 0.weight"),
                          ({'0.*': '7.*'}, "the network has no '7.weight'")):
        with pytest.raises(RecipeError, match=text):
            copy_weights(b, weights(a), mapping, 'here')
    with pytest.raises(RecipeError, match=r'0.weight has shape \(2, 2\), 0.weight there \(3, 2\)'):
        copy_weights(a, weights(nn.Sequential(nn.Linear(2, 3))), {}, 'here')


# --- gradients in the recipes' own graphs

def gradients(name, stage, terms, changes=()):
    """Return what of a small recipe's stage each of the terms alone gives a gradient to."""
    recipe = small(name, extra=tuple(changes))
    graph, source = make_graph(stage, recipe.stages[stage], Setting(), lambda s, n: {},
                               torch.device('cpu'))
    found = {}
    for term in terms:
        one = Graph(replace(recipe.stages[stage], terms={
            term: replace(recipe.stages[stage].terms[term], ramp=0.0)}),
            dict(graph.networks.items()), 0)
        one.zero_grad()
        one(source.batch(range(4)), 1.0)[0].backward()
        found[term] = {n for n, p in one.named_parameters()
                       if p.grad is not None and p.grad.abs().max() > 0}
    return found


def test_content_teaches_students_and_style_both_of_them():
    """P6: no gradient reaches a teacher from the content term; style reaches both students."""
    found = gradients('ckd', 'joint', ('style', 'content_rgb', 'content_thermal', 'task_rgb'))
    parts = {term: {'.'.join(n.split('.')[2:5]) if '.student.' in n else n.split('.')[2]
                    for n in names} for term, names in found.items()}
    assert parts['style'] == {'student.vits.rgb', 'student.vits.thermal'}
    assert parts['content_rgb'] == {'student.vits.rgb'}
    assert parts['content_thermal'] == {'student.vits.thermal'}
    assert parts['task_rgb'] == {'rgb_teacher'}


def test_masks_are_the_same_in_both_students_and_not_in_teachers():
    """P6: a masked search token enters the blocks as its position alone."""
    recipe = small('ckd', extra=('stages.joint.networks.tracker.config.mask_ratio=0.5',))
    graph, source = make_graph('joint', recipe.stages['joint'], Setting(), lambda s, n: {},
                               torch.device('cpu'))
    student = graph.networks['tracker'].student
    data = source.batch(range(4))
    _, x, mask = student.embed(data, 5)
    gone = mask[:, :, 0] == 0
    assert 0.2 < gone.float().mean() < 0.8
    for stream in ('rgb', 'thermal'):
        position = student.vit(stream).pos_embed_x.expand_as(getattr(x, stream))
        assert torch.equal(getattr(x, stream)[gone], position[gone])
        assert not torch.isclose(getattr(x, stream)[~gone], position[~gone]).all(1).any()
    taps = [graph.networks['tracker'].taps(data, seed=s) for s in (5, 6)]
    teachers = [t for t in taps[0] if t.endswith('_teacher')]
    assert teachers and all(torch.equal(taps[0][t], taps[1][t]) for t in teachers)
    assert not torch.equal(taps[0]['blocks.0.rgb'], taps[1]['blocks.0.rgb'])
