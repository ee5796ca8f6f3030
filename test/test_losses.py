"""Losses against cases worked out by hand, and the properties that the papers rest on."""
import math

import numpy as np
import pytest
import torch
from torch import nn
import torch.nn.functional as F

from rgbt_tracker_ros.distillation.calibrate import expected_calibration_error, platt
from rgbt_tracker_ros.distillation.losses import LOSSES, bind, signature
from rgbt_tracker_ros.distillation.losses.dimp import boxes_kl, hinge_mse
from rgbt_tracker_ros.distillation.losses.mpsd import Mpsd, quality_weights
from rgbt_tracker_ros.distillation.losses.normal import instance_norm, mean_std
from rgbt_tracker_ros.distillation.losses.reliable import reliable_response
from rgbt_tracker_ros.distillation.losses.response import (
    Features,
    box_maps,
    dense_boxes,
    dense_response,
    hard_focused,
    score_kl,
    score_mse,
)
from rgbt_tracker_ros.distillation.losses.scfd import LearnedSplit, Scfd, split_mean
from rgbt_tracker_ros.distillation.losses.style_content import content, style
from rgbt_tracker_ros.distillation.losses.task import (
    box_loss,
    center_target,
    dense_task,
    focal,
    gaussian_radius,
    gaussian_target,
    giou,
    task,
    task_per_sample,
)
from rgbt_tracker_ros.models.paper_head import decode


def draw(*shape, seed=0, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


# --- supervised losses

def test_center_target_peaks_at_the_nearest_cell():
    target = center_target(torch.tensor([[40.0, 20, 20, 20], [0, 0, 8, 8]]), 12, 8)
    # centres (50, 30) and (4, 4): cells (50 / 8 - 0.5, 30 / 8 - 0.5) = (5.75, 3.25) and (0, 0)
    assert target.shape == (2, 1, 12, 12)
    assert target[0, 0, 3, 6] == 1 and target[1, 0, 0, 0] == 1
    assert (target == 1).sum() == 2
    # one cell off, sigma at its least, 0.6 cells
    assert target[1, 0, 0, 1].item() == pytest.approx(math.exp(-0.5 / 0.36))


@pytest.mark.parametrize('w, h, radius', [
    # 10 x 10: r1 = (20 + sqrt(400 - 400 * 0.3 / 1.7)) / 2 = 19.07, r2 = (40 + sqrt(1120)) / 2 =
    # 36.7, r3 = (-28 + sqrt(784 + 336)) / 2 = 2.73: the least, in whole cells
    (10.0, 10.0, 2), (4.0, 4.0, 1), (2.0, 2.0, 0), (0.1, 0.1, 0), (16.0, 4.0, 1)])
def test_radius_by_hand(w, h, radius):
    """P3."""
    assert gaussian_radius(torch.tensor([w]), torch.tensor([h])).item() == radius


def test_gaussian_target_is_cut_at_its_radius():
    """P3."""
    # 10 of 16 cells wide: radius 2, sigma 5 / 6; centre (0.5, 0.5) is cell 8
    box = torch.tensor([[0.1875, 0.1875, 0.625, 0.625]])
    heat = gaussian_target(box, 16)[0, 0]
    assert heat[8, 8] == 1 and (heat > 0).sum() == 25
    assert heat[8, 9].item() == pytest.approx(math.exp(-0.5 / (5 / 6) ** 2), rel=1e-5)
    # at 8 cells the radius is 0: a single one; a centre beyond the map counts at its edge
    edge = gaussian_target(torch.tensor([[0.95, 0.95, 0.2, 0.2]]), 8)[0, 0]
    assert edge.sum() == 1 and edge[7, 7] == 1


def test_focal_by_hand():
    """P3."""
    logits = torch.tensor([[[[0.0, 0.0]]]])
    target = torch.tensor([[[[1.0, 0.5]]]])
    # p = 1/2: hit 0.5^2 log 2, miss (1 - 0.5)^4 0.5^2 log 2
    expected = 0.25 * math.log(2) + 0.0625 * 0.25 * math.log(2)
    assert focal(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_focal_stays_finite_where_the_score_is_certain():
    target = torch.zeros(1, 1, 2, 2)
    target[0, 0, 0, 0] = 1
    logits = torch.full((1, 1, 2, 2), 1e4).requires_grad_()
    loss = focal(logits, target).sum()
    loss.backward()
    # three wrong cells at the clamp, 1 - 1e-4
    assert loss.item() == pytest.approx(3 * (1 - 1e-4) ** 2 * -math.log(1e-4), rel=1e-3)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('a, b, expected', [
    ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
    ((0, 0, 1, 1), (2, 0, 3, 1), -1 / 3),       # union 2, hull 3
    ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3 - 0.0),  # union 6 is the hull
    ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7 - 2 / 9)])
def test_giou_by_hand(a, b, expected):
    """P3."""
    value = giou(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
    assert value.item() == pytest.approx(expected, abs=1e-6)


def perfect(box, cells=8):
    """Maps of a head that knows the answer."""
    heat = gaussian_target(box, cells)
    at = heat.flatten(1).argmax(1)
    cell = torch.stack((at % cells, at // cells), 1)
    center = (box[:, :2] + box[:, 2:] / 2) * cells
    maps = [v[:, :, None, None].expand(-1, 2, cells, cells) for v in (box[:, 2:], center - cell)]
    return torch.where(heat == 1, 9.0, -9.0), *maps


def test_decoding_the_encoded_box_gives_it_back():
    """P2: by the loss."""
    box = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.55, 0.1, 0.2, 0.6]])
    found = decode(*perfect(box))
    assert torch.allclose(found, torch.cat((box[:, :2], box[:, :2] + box[:, 2:]), 1), atol=1e-6)
    parts = task(*perfect(box), box)
    assert parts['giou'] < 1e-5 and parts['l1'] < 1e-6 and parts['focal'] < 1e-3


def test_task_loss_weighs_its_parts():
    box = torch.tensor([[0.2, 0.2, 0.4, 0.4]])
    score, size, offset = draw(1, 1, 8, 8), draw(1, 2, 8, 8, seed=1).sigmoid(), \
        draw(1, 2, 8, 8, seed=2)
    p = task(score, size, offset, box)
    assert p['loss'].item() == pytest.approx(
        (p['focal'] + 2 * p['giou'] + 5 * p['l1']).item(), rel=1e-6)
    assert task(score, size, offset, box, focal_weight=0)['loss'].item() == pytest.approx(
        (2 * p['giou'] + 5 * p['l1']).item(), rel=1e-6)


def test_dense_loss_of_a_perfect_answer_is_next_to_nothing():
    boxes = torch.tensor([[40.0, 40, 16, 16]])
    score = torch.where(center_target(boxes, 12, 8) == 1, 20.0, -20.0)
    corners = torch.tensor([40.0, 40, 56, 56]).view(1, 4, 1, 1).expand(1, 4, 12, 12)
    assert dense_task(score, corners, boxes)['loss'].item() < 1e-3


def test_an_absent_target_asks_for_an_empty_map_and_no_box():
    boxes, corners = torch.tensor([[40.0, 40, 16, 16]]), torch.zeros(1, 4, 12, 12)
    gone = torch.zeros(1)
    empty = dense_task(torch.full((1, 1, 12, 12), -20.0), corners, boxes, gone)
    full = dense_task(torch.full((1, 1, 12, 12), 5.0), corners, boxes, gone)
    assert empty['loss'] < 1e-3 < 100 < full['loss'] and empty['box'] == 0
    assert box_loss(corners, boxes, torch.zeros(1, 1, 12, 12)) == 0


def test_boxes_whose_edges_are_not_known_teach_their_place_alone():
    maps = draw(2, 1, 8, 8), draw(2, 4, 8, 8, scale=9.0), torch.tensor([[20.0, 20, 16, 16]] * 2)
    whole = dense_task(*maps)
    one = dense_task(*maps, boxed=torch.tensor([1.0, 0.0]))
    alone = dense_task(*(m[:1] for m in maps))
    assert one['score'] == whole['score'] and one['box'].item() == pytest.approx(
        alone['box'].item() / 2)
    assert dense_task(*maps, boxed=torch.zeros(2))['loss'] == whole['score']


# --- style and content (CKD)

def test_style_and_content_gradients_are_orthogonal():
    """P4: per channel, over the tokens."""
    x = draw(2, 20, 6).requires_grad_()
    other = draw(2, 20, 6, seed=1) * 2 + 1
    a, = torch.autograd.grad(style(x, other), x)
    b, = torch.autograd.grad(content(x, other), x)
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    assert cosine.abs().max() < 1e-4
    assert a.norm() > 1e-3 and b.norm() > 1e-3


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_content_ignores_gain_and_bias(side):
    """P5: per channel, of either side."""
    sides = {'student': draw(2, 30, 5), 'teacher': draw(2, 30, 5, seed=1)}
    before = content(**sides)
    gain, bias = draw(1, 1, 5, seed=2).exp() + 1, draw(2, 1, 5, seed=3, scale=3.0)
    sides[side] = sides[side] * gain + bias
    assert content(**sides).item() == pytest.approx(before.item(), rel=1e-4)


def test_content_is_twice_one_minus_the_correlation():
    """P5: averaged over channels and samples."""
    a, b = draw(2, 50, 4), draw(2, 50, 4, seed=1)
    rho = [np.corrcoef(a[i, :, c], b[i, :, c])[0, 1] for i in range(2) for c in range(4)]
    assert content(a, b).item() == pytest.approx(2 * (1 - np.mean(rho)), rel=1e-4)


def test_style_ignores_the_order_of_tokens_and_content_does_not():
    """P5."""
    a, b = draw(2, 16, 4), draw(2, 16, 4, seed=1)
    shuffled = a[:, torch.randperm(16, generator=torch.Generator().manual_seed(0))]
    assert style(shuffled, b).item() == pytest.approx(style(a, b).item(), rel=1e-5)
    assert abs(content(shuffled, b).item() - content(a, b).item()) > 1e-3


def test_style_by_hand():
    a = torch.tensor([[[1.0], [3.0]]])   # mean 2, deviation sqrt(2)
    b = torch.tensor([[[0.0], [0.0]]])
    assert style(a, b).item() == pytest.approx(4 + 2, rel=1e-4)
    mean, std = mean_std(a)
    assert mean.item() == 2 and std.item() == pytest.approx(math.sqrt(2))


def test_dead_channels_have_finite_gradients():
    x = torch.zeros(1, 8, 2, requires_grad=True)
    (style(x, draw(1, 8, 2)) + content(x, draw(1, 8, 2))).backward()
    assert x.grad.isfinite().all()


def test_maps_and_tokens_are_the_same_features():
    a, b = draw(2, 3, 4, 5), draw(2, 3, 4, 5, seed=1)
    flat = [x.flatten(2).transpose(1, 2) for x in (a, b)]
    assert style(a, b) == style(*flat) and content(a, b) == content(*flat)
    with pytest.raises(ValueError, match=r'the shapes differ: a \(2, 3, 4, 5\), b'):
        style(a, b[..., :4])
    with pytest.raises(ValueError, match=r"axis is 'batch'; use tokens or channels"):
        style(a, b, axis='batch')


HEAT = torch.tensor([[0.3, 0.3, 0.4, 0.4], [0.0, 0.5, 0.5, 0.5]])  # boxes of two samples


def test_soft_focus_weighs_search_tokens_alone():
    a, b, score = draw(2, 4 + 64, 5), draw(2, 4 + 64, 5, seed=1), torch.zeros(2, 1, 8, 8)
    weight = torch.cat((torch.ones(2, 4, 1), gaussian_target(HEAT, 8).flatten(1)[..., None] + 0.5),
                       1)
    for loss in (style, content):
        assert loss(a, b, HEAT, score, local='soft') == loss(a * weight, b * weight)
        assert loss(a, b, HEAT, score) == loss(a, b)


def test_hard_focus_adds_the_loss_of_the_targets_tokens():
    a, b, score = draw(2, 4 + 256, 5), draw(2, 4 + 256, 5, seed=1), torch.zeros(2, 1, 16, 16)
    inside = gaussian_target(HEAT, 16).flatten(1) > 0
    assert (inside.sum(1) > 1).all()
    for loss in (style, content):
        extra = [loss(a[i:i + 1, 4:][:, inside[i]], b[i:i + 1, 4:][:, inside[i]])
                 for i in range(2)]
        found = loss(a, b, HEAT, score, local='hard') - loss(a, b)
        assert found.item() == pytest.approx(sum(extra).item() / 2, rel=1e-4)


@pytest.mark.parametrize('loss', [style, content])
@pytest.mark.parametrize('local', ['none', 'soft', 'hard'])
def test_samples_count_as_they_are_told_to(loss, local):
    a, b = draw(3, 20, 4), draw(3, 20, 4, seed=1)
    options = {'box': torch.tensor([[0.1, 0.1, 0.9, 0.9]] * 3), 'score': draw(3, 1, 4, 4),
               'local': local}
    whole = loss(a, b, **options)
    assert loss(a, b, of=torch.ones(3), **options).item() == pytest.approx(whole.item(), rel=1e-6)
    some = loss(a, b, of=torch.tensor([1.0, 0.0, 1.0]), **options)
    alone = loss(a[1:2], b[1:2], **{k: v if k == 'local' else v[:1] for k, v in options.items()})
    assert some.item() == pytest.approx((whole - alone / 3).item(), rel=1e-5)
    assert loss(a, b, of=torch.zeros(3), **options) == 0


def test_hard_focus_on_one_cell_is_finite():
    a, box = draw(1, 16, 3).requires_grad_(), torch.tensor([[0.4, 0.4, 0.1, 0.1]])
    score = torch.zeros(1, 1, 4, 4)
    (style(a, draw(1, 16, 3, seed=1), box, score, local='hard')
     + content(a, draw(1, 16, 3, seed=1), box, score, local='hard')).backward()
    assert a.grad.isfinite().all()


@pytest.mark.parametrize('options, text', [
    ({'local': 'some'}, 'use none, soft, hard'), ({'local': 'soft'}, 'needs the inputs box'),
    ({'local': 'hard', 'axis': 'channels', 'box': HEAT, 'score': torch.zeros(2, 1, 4, 4)},
     'leave out axis'),
    ({'local': 'soft', 'box': HEAT, 'score': torch.zeros(2, 1, 9, 9)}, 'some were eliminated')])
def test_wrong_focus_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        style(draw(2, 64, 3), draw(2, 64, 3), **options)



def test_kl_of_a_map_by_hand_and_against_itself():
    teacher, student = torch.tensor([[[[0.0, math.log(3)]]]]), torch.zeros(1, 1, 1, 2)
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert score_kl(student, teacher).item() == pytest.approx(expected, rel=1e-5)
    assert score_kl(teacher, teacher, tau=0.3).item() == pytest.approx(0, abs=1e-6)


def test_box_maps_count_where_the_teacher_sees_the_target():
    score = torch.full((1, 1, 4, 4), -30.0)
    score[0, 0, 1, 2] = 30
    size, offset = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    far, near = size.clone(), size.clone()
    far[0, :, 3, 3], near[0, :, 1, 2] = 1, 1
    assert box_maps(far, offset, size, offset, score).item() < 1e-6
    assert box_maps(near, offset, size, offset, score).item() == pytest.approx(2 / 32)


def test_hard_focus_weighs_by_the_difference():
    teacher = torch.tensor([[[[0.0, 0.0]]]])
    student = torch.logit(torch.tensor([[[[0.6, 0.9]]]]))
    # differences 0.1 and 0.4: (0.1^3 + 0.4^3) / 0.5
    assert hard_focused(student, teacher).item() == pytest.approx(0.13, rel=1e-5)
    assert hard_focused(teacher, teacher) == 0


# --- the modality that can be believed

RIGHT, WRONG = (3, 3), (6, 1)   # cells; the target of 16 px is at the first
BOX = torch.tensor([[20.0, 20.0, 16.0, 16.0]])


def answer(*peaks, height=12.0):
    """Score maps (B, 1, 8, 8) with one peak each."""
    logits = torch.zeros(len(peaks), 1, 8, 8)
    for n, peak in enumerate(peaks):
        logits[n, 0][peak] = height
    return logits


def test_the_teacher_that_looks_at_the_target_is_asked():
    # sample 0: RGB is right; sample 1: thermal is
    rgb, thermal, box = answer(RIGHT, WRONG), answer(WRONG, RIGHT), BOX.repeat(2, 1)
    good = reliable_response(answer(RIGHT, RIGHT), rgb, thermal, box)
    bad = reliable_response(answer(WRONG, WRONG), rgb, thermal, box)
    assert good['loss'] < 1e-4 and bad['loss'] > 5
    assert good['by_thermal'] == 0.5 and good['reliability'] > 0.99
    # by hand: the divergence from the better one, weighed by its reliability
    student, rgb = draw(1, 1, 8, 8), answer(RIGHT, height=3.0)
    out = reliable_response(student, rgb, answer(WRONG), BOX)
    p, q = (x.flatten().softmax(0) for x in (rgb, student))
    target = center_target(BOX, 8, 8).flatten() >= 0.3
    assert out['loss'].item() == pytest.approx(
        (p[target].sum() * (p * (p / q).log()).sum()).item(), rel=1e-4)


def test_reliable_teachers_are_not_taught():
    maps = [draw(2, 1, 8, 8, seed=i).requires_grad_() for i in range(3)]
    reliable_response(*maps, BOX.repeat(2, 1))['loss'].backward()
    assert maps[0].grad.any() and maps[1].grad is None and maps[2].grad is None


@pytest.mark.parametrize('options', [
    {}, {'visible': torch.zeros(1)}, {'of': torch.zeros(1)}], ids=['blind', 'absent', 'left out'])
def test_nothing_is_learned_where_nobody_sees_the_target(options):
    teacher = answer(RIGHT if options else WRONG, height=30.0)
    out = reliable_response(draw(1, 1, 8, 8), teacher, teacher, BOX, **options)
    assert out['loss'] < 1e-6
    assert out['reliability'] > 0.99 if options else out['reliability'] < 1e-6


def test_teachers_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match='the shapes differ: student'):
        reliable_response(draw(1, 1, 8, 8), draw(1, 1, 6, 6), draw(1, 1, 8, 8), BOX)


# --- SCFD and MPSD (CMD)

def test_mean_split_obeys_the_parallelogram_identity():
    """P12: |e_v|^2 + |e_t|^2 = 2 |e_com|^2 + 2 |e_spe|^2."""
    v, t = draw(2, 9, 4), draw(2, 9, 4, seed=1)
    common, specific = split_mean(v, t)
    assert (v.square().sum() + t.square().sum()).item() == pytest.approx(
        (2 * common.square().sum() + 2 * specific.square().sum()).item(), rel=1e-5)
    assert torch.allclose(common - specific, t, atol=1e-6)


def scfd_inputs():
    return {'student_rgb': draw(2, 4, 6, 6, seed=1), 'student_thermal': draw(2, 4, 6, 6, seed=2),
            'teacher_rgb': draw(2, 8, 6, 6, seed=3), 'teacher_thermal': draw(2, 8, 6, 6, seed=4)}


def test_equal_weights_of_both_parts_are_plain_imitation():
    """P12: alpha = beta is half the squared difference of both maps."""
    torch.manual_seed(0)
    loss, x = Scfd(), scfd_inputs()
    total = loss(**x)['loss']
    ours = [instance_norm(loss.adapter(x[k].flatten(2).transpose(1, 2), 8))
            for k in ('student_rgb', 'student_thermal')]
    theirs = [instance_norm(x[k].flatten(2).transpose(1, 2))
              for k in ('teacher_rgb', 'teacher_thermal')]
    plain = sum(F.mse_loss(a, b) for a, b in zip(ours, theirs, strict=True)) / 2
    assert total.item() == pytest.approx(plain.item(), rel=1e-5)
    uneven = Scfd(alpha=1.0, beta=3.0)
    uneven.adapter = loss.adapter
    assert abs(uneven(**x)['loss'].item() - plain.item()) > 1e-3


def test_learned_split_is_trained_by_the_teacher_alone():
    torch.manual_seed(0)
    loss, x = Scfd(split='learned'), scfd_inputs()
    x = {k: v.requires_grad_() for k, v in x.items()}
    parts = loss(**x)
    student = torch.autograd.grad(parts['common'] + parts['specific'],
                                  [*loss.split.parameters(), x['student_rgb']],
                                  allow_unused=True, retain_graph=True)
    assert all(g is None or not g.any() for g in student[:-1]) and student[-1].any()
    split = torch.autograd.grad(parts['split'], [*loss.split.parameters(), x['student_rgb'],
                                                 x['teacher_rgb']], allow_unused=True)
    assert all(g.any() for g in split[:4]) and split[-2] is None and split[-1] is None


def test_learned_split_learns_to_give_the_features_back():
    torch.manual_seed(0)
    split, (v, t) = LearnedSplit(), (draw(4, 16, 6), draw(4, 16, 6, seed=1))
    first = split.loss(v, t).item()
    optimizer = torch.optim.Adam(split.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        last = split.loss(v, t)
        last.backward()
        optimizer.step()
    assert last.item() < 0.5 * first


def test_foreground_counts_more():
    torch.manual_seed(0)
    loss, x = Scfd(), scfd_inputs()
    plain = loss(**x)['loss']
    weighted = loss(**x, box=torch.tensor([[0.2, 0.2, 0.5, 0.5]] * 2))['loss']
    assert plain.isfinite() and weighted.isfinite() and weighted != plain


def mpsd_inputs(good=None):
    """Paths of which the head's answer on `good` alone is right."""
    box = torch.tensor([[0.2, 0.2, 0.4, 0.4], [0.5, 0.3, 0.3, 0.5]])
    right = perfect(box, 6)
    x = {'student': draw(2, 4, 6, 6), 'box': box}
    for i, name in enumerate(('rgb', 'thermal', 'fused')):
        x[name] = draw(2, 8, 6, 6, seed=i + 1)
        answer = right if name == good else [-right[0], right[1], right[2] + 2]
        x |= {f'{name}_{k}': v for k, v in zip(('score', 'size', 'offset'), answer, strict=True)}
    return x


@pytest.mark.parametrize('selector', ['quality', 'gate', 'uniform', 'single'])
def test_path_weights_add_up_to_one(selector):
    """P12."""
    torch.manual_seed(0)
    loss = Mpsd(selector)
    out = loss(**mpsd_inputs('thermal'))
    weights = [out[f'weight_{n}'].item() for n in ('rgb', 'thermal', 'fused')]
    assert sum(weights) == pytest.approx(1) and out['loss'].isfinite()
    if selector == 'quality':
        assert weights[1] > 0.9
    if selector == 'uniform':
        assert weights == pytest.approx([1 / 3] * 3)
    if selector == 'single':
        assert weights == [0, 0, 1]


def test_hard_selection_is_the_path_of_the_least_loss():
    """P12."""
    x = mpsd_inputs('fused')
    errors = torch.stack([task_per_sample(x[f'{n}_score'], x[f'{n}_size'], x[f'{n}_offset'],
                                          x['box']) for n in ('rgb', 'thermal', 'fused')], 1)
    weights = quality_weights(errors, hard=True)
    assert torch.equal(weights.argmax(1), errors.argmin(1))
    assert torch.equal(weights.sum(1), torch.ones(2)) and set(weights.unique().tolist()) == {0, 1}


def test_gate_that_knows_one_path_alone_pays_for_it():
    torch.manual_seed(0)
    loss, x = Mpsd('gate', floor=1.0), mpsd_inputs()
    free = loss(**x)
    with torch.no_grad():
        loss.gate.last.bias.copy_(torch.tensor([50.0, 0, 0]))
    sure = loss(**x)
    assert sure['entropy'] < 1e-3 < free['entropy']
    only = Mpsd('single')
    assert sure['loss'] > 1.0 and only(**x)['loss'].isfinite()


def test_quality_without_the_heads_answers_is_refused():
    x = {k: v for k, v in mpsd_inputs().items() if k != 'rgb_score'}
    with pytest.raises(ValueError, match='selector quality needs'):
        Mpsd()(**x)


# --- DiMP

def test_hinge_by_hand():
    label = torch.tensor([[[[1.0, 0.0, 0.0]]]])
    scores = torch.tensor([[[[0.5, -2.0, 0.3]]]])
    assert hinge_mse(scores, label).item() == pytest.approx((0.25 + 0 + 0.09) / 3)


def test_box_density_is_best_where_it_is_the_targets():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 4000, generator=generator) * 6 - 3
    target = torch.exp(-x ** 2 / 2) / math.sqrt(2 * math.pi)
    density = torch.full_like(x, 1 / 6)
    right = boxes_kl(target.log(), density, target)
    # the least cross entropy is the target's entropy: (1 + log 2 pi) / 2
    assert right.item() == pytest.approx((1 + math.log(2 * math.pi)) / 2, abs=0.05)
    assert boxes_kl(torch.zeros_like(x), density, target) > right + 0.1


# --- all of them

CASES = {
    'task': lambda b: [draw(b, 1, 6, 6), draw(b, 2, 6, 6, seed=1).sigmoid(), draw(b, 2, 6, 6),
                       draw(b, 4, seed=2).sigmoid() / 2],
    'dense_task': lambda b: [draw(b, 1, 8, 8), draw(b, 4, 8, 8, scale=9.0),
                             draw(b, 4, seed=1).sigmoid() * 30 + 2],
    'style': lambda b: [draw(b, 9, 4), draw(b, 9, 4, seed=1)],
    'content': lambda b: [draw(b, 9, 4), draw(b, 9, 4, seed=1)],
    'score_mse': lambda b: [draw(b, 1, 6, 6), draw(b, 1, 6, 6, seed=1)],
    'score_kl': lambda b: [draw(b, 1, 6, 6), draw(b, 1, 6, 6, seed=1)],
    'map_mse': lambda b: [draw(b, 1, 6, 6), draw(b, 1, 6, 6, seed=1)],
    'map_l1': lambda b: [draw(b, 7), draw(b, 7, seed=1)],
    'reliable_response': lambda b: [*(draw(b, 1, 8, 8, seed=i) for i in range(3)),
                                    draw(b, 4, seed=4).sigmoid() * 30 + 8],
    'box_maps': lambda b: [draw(b, 2, 6, 6, seed=i) for i in range(4)] + [draw(b, 1, 6, 6)],
    'hard_focused': lambda b: [draw(b, 1, 6, 6), draw(b, 1, 6, 6, seed=1)],
    'dense_response': lambda b: [draw(b, 1, 6, 6), draw(b, 4, 6, 6, scale=9.0),
                                 draw(b, 1, 6, 6, seed=1), draw(b, 4, 6, 6, seed=1, scale=9.0)],
    'dense_boxes': lambda b: [draw(b, 4, 6, 6, scale=9.0), draw(b, 1, 6, 6),
                              draw(b, 4, 6, 6, seed=1, scale=9.0)],
    'features': lambda b: [draw(b, 4, 3, 3), draw(b, 4, 3, 3, seed=1)],
    'scfd': lambda b: [draw(b, 4, 6, 6, seed=i) for i in range(4)],
    'mpsd': lambda b: [draw(b, 4, 6, 6), *(draw(b, 8, 6, 6, seed=i) for i in range(3)),
                       *(draw(b, c, 6, 6, seed=9 + i) for i in range(3) for c in (1, 2, 2)),
                       draw(b, 4, seed=2).sigmoid() / 2],
    'hinge_mse': lambda b: [draw(b, 1, 5, 5), draw(b, 1, 5, 5, seed=1).sigmoid()],
    'boxes_kl': lambda b: [draw(b, 8), draw(b, 8, seed=1).exp(), draw(b, 8, seed=2).exp()],
}


def value(loss, inputs):
    out = loss(**inputs)
    return out['loss'] if isinstance(out, dict) else out


@pytest.mark.parametrize('name', list(LOSSES))
def test_a_batch_costs_the_mean_of_its_parts(name):
    """What lets processes share a batch."""
    torch.manual_seed(0)
    loss = bind(name, {})
    inputs = dict(zip(signature(name).inputs, CASES[name](6), strict=False))
    whole = value(loss, inputs)
    halves = [value(loss, {k: v[i:i + 3] for k, v in inputs.items()}) for i in (0, 3)]
    assert whole.item() == pytest.approx(sum(halves).item() / 2, rel=1e-4)


@pytest.mark.parametrize('name', list(LOSSES))
def test_losses_compute_in_float32_and_teach_the_student(name):
    torch.manual_seed(0)
    loss = bind(name, {})
    inputs = dict(zip(signature(name).inputs, CASES[name](4), strict=False))
    value(loss, inputs)
    first = next(iter(inputs))
    inputs[first] = inputs[first].clone().requires_grad_()
    out = value(loss, inputs)
    out.backward()
    assert out.dtype == torch.float32 and out.ndim == 0
    grad = inputs[first].grad
    assert grad is not None and grad.isfinite().all() and grad.any()


def test_imitation_of_a_dense_head_is_free_for_a_copy_and_looks_where_the_teacher_does():
    score = torch.full((1, 1, 4, 4), -9.0)
    score[0, 0, 1, 2] = 9.0
    boxes = torch.tensor([2.0, 3.0, 20.0, 30.0])[None, :, None, None].repeat(1, 1, 4, 4)
    copy = dense_response(score, boxes, score, boxes)
    assert copy['loss'].item() < 1e-2
    elsewhere, there = boxes.clone(), boxes.clone()
    elsewhere[..., 3, 3] += 40
    there[..., 1, 2] += 40
    assert dense_response(score, elsewhere, score, boxes)['box'] < 0.01
    # apart: IoU 0, the hull is (2, 3) to (60, 70)
    hull, union = 58 * 67, 2 * 18 * 27
    assert dense_response(score, there, score, boxes)['box'].item() == pytest.approx(
        1 + (hull - union) / hull, abs=0.01)
    assert dense_boxes(there, score, boxes) == dense_response(score, there, score, boxes)['box']
    second = torch.cat([there, boxes]), torch.cat([score, score]), torch.cat([boxes, boxes])
    assert dense_boxes(*second, torch.tensor([2.0, 0.0])) == dense_boxes(there, score, boxes)
    assert dense_boxes(*second, torch.tensor([0.0, 1.0])) < 1e-6
    # quality focal loss of one cell, certain of the contrary: |p - q|^2 times cross entropy
    wrong = score.clone()
    wrong[0, 0, 1, 2] = -9.0
    assert dense_response(wrong, boxes, score, boxes)['score'].item() == pytest.approx(9, abs=0.1)


@pytest.mark.parametrize('best', range(3))
def test_multi_path_selection_believes_the_path_whose_dense_answer_is_right(best):
    target = torch.tensor([[16.0, 16.0, 16.0, 16.0]])
    right, wrong = torch.full((1, 1, 6, 6), -8.0), torch.full((1, 1, 6, 6), -8.0)
    right[..., 2, 2] = right[..., 3, 3] = 4.0
    wrong[..., 5, 5] = 8.0
    boxes = torch.tensor([16.0, 16.0, 32.0, 32.0])[None, :, None, None].repeat(1, 1, 6, 6)
    names = ('rgb', 'thermal', 'fused')
    x = {'student': draw(1, 4, 6, 6), 'box': target}
    for i, name in enumerate(names):
        x |= {name: draw(1, 8, 6, 6, seed=i), f'{name}_boxes': boxes,
              f'{name}_score': right if i == best else wrong}
    assert Mpsd()(**x)[f'weight_{names[best]}'] > 0.9


def test_signatures_tell_inputs_from_options():
    assert signature('task') == (('score', 'size', 'offset', 'box'),
                                 ('score', 'size', 'offset', 'box'),
                                 {'focal_weight': 1.0, 'giou_weight': 2.0, 'l1_weight': 5.0})
    scfd = signature('scfd')
    assert 'box' in scfd.inputs and 'box' not in scfd.required
    assert scfd.options == {'split': 'mean', 'alpha': 1.0, 'beta': 1.0}


@pytest.mark.parametrize('name, options, text', [
    ('scfd', {'split': 'median'}, "split is 'median'; use mean or learned"),
    ('mpsd', {'selector': 'best'}, "selector is 'best'; use quality"),
    ('mpsd', {'tau': 0}, 'tau is 0'), ('features', {'adapter': 'mlp'}, 'use none or conv')])
def test_options_that_mean_nothing_are_refused(name, options, text):
    with pytest.raises(ValueError, match=text):
        bind(name, options)


def test_features_of_other_widths_need_an_adapter():
    a, b = draw(2, 4, 3, 3), draw(2, 8, 3, 3)
    with pytest.raises(ValueError, match='the shapes differ'):
        Features()(a, b)
    loss = Features('conv')
    assert loss(a, b).isfinite() and sum(p.numel() for p in loss.parameters()) == 4 * 8 + 8
    assert isinstance(loss, nn.Module) and score_mse(a, a) == 0


# --- calibration

def test_platt_finds_the_curve_that_made_the_data():
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 40_000)
    hit = rng.random(40_000) < 1 / (1 + np.exp(-(1.7 * logit + 0.6)))
    fit = platt(logit, hit)
    assert fit['scale'] == pytest.approx(1.7, abs=0.06)
    assert fit['bias'] == pytest.approx(0.6, abs=0.04)
    assert fit['ece'] < 0.01


def test_platt_stays_finite_on_separable_data_and_refuses_one_class():
    fit = platt(np.array([-2.0, -1, 1, 2]), np.array([False, False, True, True]))
    assert np.isfinite(list(fit.values())).all()
    with pytest.raises(ValueError, match='0 of 3'):
        platt(np.zeros(3), np.zeros(3, bool))


def test_calibration_error_by_hand():
    p = np.array([0.95, 0.95, 0.15, 0.15])
    hit = np.array([True, False, False, False])
    assert expected_calibration_error(p, hit) == pytest.approx(0.5 * 0.45 + 0.5 * 0.15)
