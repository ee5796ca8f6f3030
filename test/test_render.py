"""Made-up scenes: the same everywhere, true boxes, faults of one camera at a time."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rgbt_tracker_ros.data.ieee import exp, fold, sqrt
from rgbt_tracker_ros.data.localise_set import LocaliseSet
from rgbt_tracker_ros.data.options import OptionError
from rgbt_tracker_ros.data.pair_sources import Condition, CropSizes, build_source
from rgbt_tracker_ros.data.random import Draws, mix, noise_rows
from rgbt_tracker_ros.data.render import Cameras, ground, render, shifted
from rgbt_tracker_ros.data.render_objects import View
from rgbt_tracker_ros.data.scene_pairs import TARGET, ScenePairs, codes, on_square
from rgbt_tracker_ros.data.scene_video import SceneVideo

SMALL = CropSizes(32, 64)


def draws(count: int = 8, seed: int = 0, stream: int = 0) -> Draws:
    return Draws(seed, torch.arange(count), stream)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype and torch.equal(a[key].cpu(), b[key].cpu()), key


# --- random numbers

def test_numbers_depend_on_seed_sample_stream_and_name_alone():
    one = draws().uniform('a', 5)
    assert torch.equal(one, draws().uniform('a', 5))
    assert torch.equal(one[3:4], Draws(0, torch.tensor([3])).uniform('a', 5))
    assert torch.equal(one[:, :2], draws().uniform('a', 2))  # more draws shift none
    for other in (draws(seed=1), draws(stream=1), Draws(0, torch.arange(8) + (1 << 32))):
        assert (other.uniform('a', 5) != one).any(1).all()
    assert (draws().uniform('b', 5) != one).any(1).all()


def test_the_hash_is_what_it_was():
    """These figures are what makes a seed mean the same on another machine or next year."""
    assert mix(torch.tensor([0, 1, 2, 0xFFFFFFFF])).tolist() == MIXED
    assert draws(2, seed=7).bits('x', 2).tolist() == BITS


MIXED = [0, 2261973619, 229111015, 2578835075]
BITS = [[1347491440, 2133175151], [1462353647, 2775867907]]


def test_numbers_are_spread_as_they_should_be():
    d = draws(20000)
    u, n, i = d.uniform('u', low=-1, high=3), d.normal('n'), d.integers('i', 5)
    assert -1 <= u.min() < -0.99 and 2.99 < u.max() < 3 and abs(u.mean() - 1) < 0.03
    assert abs(n.mean()) < 0.03 and abs(n.std() - 1) < 0.02 and n.abs().max() < 3.5
    assert torch.bincount(i).tolist() == pytest.approx([4000] * 5, rel=0.06)
    assert d.chance('c', 0.25).float().mean() == pytest.approx(0.25, abs=0.015)
    # neighbours in number or in place have nothing to do with one another
    pairs = d.uniform('p', 2) - 0.5
    assert abs((pairs[:, 0] * pairs[:, 1]).mean() * 12) < 0.03
    assert abs((pairs[1:, 0] * pairs[:-1, 0]).mean() * 12) < 0.03


def test_a_lattice_is_one_endless_plane():
    d = draws(3)
    columns, rows = torch.arange(-4, 6)[None].repeat(3, 1), torch.arange(-3, 4)[None].repeat(3, 1)
    whole = d.lattice('g', 2, columns, rows)
    part = d.lattice('g', 2, columns[:, 3:7], rows[:, 2:5])
    assert whole.shape == (3, 2, 7, 10) and torch.equal(whole[:, :, 2:5, 3:7], part)
    assert whole.unique().numel() > 0.99 * whole.numel()


def test_functions_of_ieee_operations_are_what_they_say():
    x = torch.linspace(-0.7, 0.7, 41)
    assert torch.allclose(exp(x), x.exp(), rtol=0.001) and (exp(x).diff() > 0).all()
    y = torch.logspace(-2, 2, 41)
    assert torch.allclose(sqrt(y), y.sqrt(), rtol=1e-6)
    assert fold(torch.tensor([0.0, 0.25, 1.0, 1.75, 2.0, -0.5])).tolist() == [
        0, 0.25, 1, 0.25, 0, 0.5]
    turn = torch.linspace(0, 1, 65)
    a, b = on_square(turn)
    assert torch.maximum(a.abs(), b.abs()).eq(1).all()
    assert a.max() == b.max() == 1 and a.min() == b.min() == -1


# --- the same whatever the grouping, threads, device

@pytest.mark.parametrize('kind, options', [
    ('scenes', {}), ('scenes', {'registration_error': 2.0, 'missing': 0.5}),
    ('unlabelled_scenes', {}), ('unlabelled_scenes', {'generator': 'random'})])
def test_samples_do_not_depend_on_their_company(kind, options):
    source = build_source(kind, 3, SMALL, **options)
    numbers = [5, 0, 31, 7, 12, 30, 1, 2, 3, 4, 6]
    together = source.batch(numbers)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        same(together, source.batch(numbers))
    finally:
        torch.set_num_threads(threads)
    for place in (0, 2, 10):
        alone = build_source(kind, 3, SMALL, **options).batch([numbers[place]])
        same({k: v[place:place + 1] for k, v in together.items()}, alone)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')
@pytest.mark.parametrize('kind, options', [
    ('scenes', {}), ('scenes', {'registration_error': 2.0}), ('unlabelled_scenes', {}),
    ('unlabelled_scenes', {'generator': 'center'})])
@pytest.mark.parametrize('sizes', [(32, 64), (128, 256), (97, 193)])
def test_a_gpu_draws_the_same_bits(kind, options, sizes):
    source = build_source(kind, 3, CropSizes(*sizes), **options)
    numbers = range(100, 140)
    on_gpu = source.batch(numbers, 'cuda')
    assert all(v.device.type == 'cuda' for v in on_gpu.values())
    same(on_gpu, source.batch(numbers))


FUSED_OR_ROUGH = {'aten::addcmul', 'aten::addcdiv', 'aten::lerp', 'aten::mm', 'aten::bmm',
                  'aten::addmm', 'aten::convolution', 'aten::sin', 'aten::cos', 'aten::exp',
                  'aten::log', 'aten::pow', 'aten::sqrt', 'aten::rsqrt', 'aten::reciprocal',
                  'aten::sigmoid', 'aten::tanh', 'aten::mean', 'aten::grid_sampler_2d',
                  'aten::upsample_bicubic2d', 'aten::upsample_bilinear2d', 'aten::einsum'}


@pytest.mark.parametrize('kind', ['scenes', 'unlabelled_scenes'])
def test_nothing_is_used_that_devices_round_in_their_own_way(kind):
    from torch.utils._python_dispatch import TorchDispatchMode

    used, wrong = set(), []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            name = func._schema.name
            used.add(name)
            base = name.rstrip('_')
            tensors = [a for a in args if isinstance(a, torch.Tensor)]
            floats = any(t.is_floating_point() for t in tensors)
            if base in FUSED_OR_ROUGH or (base in ('aten::sum', 'aten::cumsum') and floats) \
                    or (base in ('aten::add', 'aten::sub') and kwargs.get('alpha', 1) != 1) \
                    or (base == 'aten::div' and floats and len(tensors) < 2):
                wrong.append(name)
            return func(*args, **kwargs)

    source = build_source(kind, 3, SMALL, registration_error=1.0)
    with Watch():
        source.batch(range(4))
    assert not wrong and {'aten::mul', 'aten::gather'} <= {n.rstrip('_') for n in used}


# --- geometry

def scene(index: int = 0, **options: float) -> tuple[ScenePairs, Draws, dict]:
    source = ScenePairs(5, CropSizes(64, 128), **options)
    d = Draws(5, torch.arange(index, index + 16))
    return source, d, source.scenes(d, torch.zeros(16, dtype=torch.int64))


def without_target(objects):
    shown = objects.shown.clone()
    shown[:, TARGET] = False
    return replace(objects, shown=shown)


@pytest.mark.parametrize('instant', ['template', 'search'])
def test_the_box_is_where_the_target_changes_the_picture(instant):
    _source, d, scenes = scene(occlusion=0.0, edge=0.0, distractors=0.0, clutter=0.0)
    s = scenes[instant]
    perfect = Cameras.perfect(16)
    with_, without = (render(d, s.view, o, perfect, instant)
                      for o in (s.objects, without_target(s.objects)))
    n = s.view.width
    for modality, slack in ((0, 1.5), (1, 2.5)):  # thermal is blurred
        changed = (with_[modality] != without[modality]).any(1).numpy()
        errors = []
        for mask, (x, y, w, h) in zip(changed, s.box.tolist(), strict=True):
            if min(x, y) < 3 or max(x + w, y + h) > n - 3 or not mask.any():
                continue
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            errors.append((x - columns[0], columns[-1] + 1 - x - w,
                           y - rows[0], rows[-1] + 1 - y - h))
        assert len(errors) >= 8
        # edges are a pixel soft, more along an object's longer side
        assert np.abs(np.median(errors, axis=0)).max() < slack
        assert np.abs(errors).max() < slack + 2


def test_both_crops_show_the_same_ground():
    """A point of the plane has one look: two windows of one view share their pixels."""
    d = draws(2)
    one, zero = torch.ones(2), torch.zeros(2)
    big = ground(d, View(zero - 3, zero - 2, one / 16, 128, 96, 8.0))
    part = ground(d, View(zero - 1, zero, one / 16, 32, 32, 2.0))
    assert (big[:, :, 32:64, 32:64] - part).abs().max() < 1e-2


def test_crops_hold_the_target_as_big_as_the_factors_say():
    batch = build_source('scenes', 1, SMALL, jitter=0.0, scale_jitter=0.0).batch(range(64))
    for name, expected in (('template', 16.0), ('search', 16.0)):
        x, y, w, h = batch[f'{name}_box'].unbind(1)
        assert torch.allclose((w * h).sqrt(), torch.tensor(expected), rtol=0.03), name
        n = batch[f'{name}_rgb'].shape[-1]
        assert torch.allclose(x + w / 2, torch.tensor(n / 2), atol=1e-3)
        assert torch.allclose(y + h / 2, torch.tensor(n / 2), atol=1e-3)
    jittered = build_source('scenes', 1, SMALL).batch(range(256))['search_box']
    center = jittered[:, :2] + jittered[:, 2:] / 2
    assert center.min() >= 0 and center.max() <= 64  # never out of sight
    assert center.min() < 12 and center.max() > 52
    ratio = (jittered[:, 2] * jittered[:, 3]).sqrt() / 16
    assert ratio.log().std() == pytest.approx(0.25 / 2 ** 0.5, rel=0.2)


def test_distractors_stay_beside_the_target():
    _, _, scenes = scene(distractors=1.0)
    for s in scenes.values():
        o = s.objects
        for k in range(4, TARGET):
            far = torch.maximum((o.cx[:, k] - o.cx[:, TARGET]).abs(),
                                (o.cy[:, k] - o.cy[:, TARGET]).abs())
            assert far.min() >= 1.1


@pytest.mark.parametrize('similarity', [0.0, 0.5, 1.0])
def test_distractors_share_that_much_of_the_code(similarity):
    code = codes(draws(2000), similarity)
    target, other = code[:, TARGET], code[:, 5]
    a, b = target - target.mean(0), other - other.mean(0)
    mixed = (similarity ** 2 + (1 - similarity) ** 2) ** 0.5
    assert (a * b).mean() / (a.std() * b.std()) == pytest.approx(similarity / mixed, abs=0.05)


@pytest.mark.parametrize('x, y', [(2.0, 0.0), (-1.0, 3.0), (0.5, -1.25)])
def test_registration_error_moves_thermal_alone(x, y):
    image = torch.rand(2, 1, 24, 24, generator=torch.manual_seed(0))
    moved = shifted(image, torch.tensor([x, 0.0]), torch.tensor([y, 0.0]))
    assert torch.equal(moved[1], image[1])
    whole_x, whole_y = int(np.floor(x)), int(np.floor(y))
    if (x, y) == (whole_x, whole_y):
        inner = moved[0, 0, 4:-4, 4:-4]
        assert torch.allclose(inner, image[0, 0, 4 - whole_y:20 - whole_y,
                                           4 - whole_x:20 - whole_x])
    ramp = torch.arange(24.0).expand(1, 1, 24, 24)
    assert torch.allclose(shifted(ramp, torch.tensor([x]), torch.tensor([y]))[..., 4:-4],
                          ramp[..., 4:-4] - x)


def test_registration_error_is_an_option_of_scenes():
    plain, off = (build_source('scenes', 2, SMALL, registration_error=e).batch(range(8))
                  for e in (0.0, 2.0))
    assert torch.equal(plain['search_rgb'], off['search_rgb'])
    assert torch.equal(plain['search_box'], off['search_box'])
    assert (plain['search_thermal'] != off['search_thermal']).flatten(1).any(1).all()


# --- style and faults

def test_modalities_share_geometry_but_not_style():
    """The target stands out at the same place; how bright it is says nothing of how warm."""
    source, d, _scenes = scene(occlusion=0.0, edge=0.0)
    bright, warm = [], []
    for start in range(0, 400, 16):
        d = Draws(5, torch.arange(start, start + 16))
        s = source.scenes(d, torch.zeros(16, dtype=torch.int64))['template']
        rgb, thermal = render(d, s.view, s.objects, Cameras.perfect(16), 'template')
        bright.append(rgb[:, :, 26:38, 26:38].float().mean((1, 2, 3)))
        warm.append(thermal[:, :, 26:38, 26:38].float().mean((1, 2, 3)))
    a, b = torch.cat(bright), torch.cat(warm)
    correlation = ((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std())
    assert abs(correlation) < 0.5 and a.std() > 15 and b.std() > 15
    plain = replace(s.objects, shown=torch.zeros_like(s.objects.shown))
    rgb, thermal = (v.float() for v in render(d, s.view, plain, Cameras.perfect(16), 'template'))

    def texture(image):
        return (image[..., 1:] - image[..., :-1]).abs().mean()
    assert texture(thermal) < 0.7 * texture(rgb)


@pytest.mark.parametrize('rgb, thermal', [(0.25, 0.25), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_at_most_one_camera_is_degraded_and_condition_says_which(rgb, thermal):
    source = build_source('scenes', 4, SMALL, rgb_degraded=rgb, thermal_degraded=thermal)
    batch = source.batch(range(512))
    share = torch.bincount(batch['condition'], minlength=3) / 512
    assert share.tolist() == pytest.approx([1 - rgb - thermal, rgb, thermal], abs=0.07)
    light = batch['search_rgb'].float().mean((1, 2, 3))
    dark = batch['condition'] == Condition.RGB_DEGRADED
    if dark.any():
        assert light[dark].max() < 25
    if (~dark).any():
        assert light[~dark].min() > 25
    assert (batch['search_present'] == 1).all()


def test_at_crossover_the_target_is_as_warm_as_what_is_behind_it():
    source = ScenePairs(5, CropSizes(64, 128), occlusion=0.0, edge=0.0)
    d = draws(16, seed=5)
    contrasts = []
    for kind in (Condition.CLEAN, Condition.THERMAL_DEGRADED):
        s = source.scenes(d, torch.full((16,), int(kind)))['search']
        with_, without = (render(d, s.view, o, Cameras.perfect(16), 'search')
                          for o in (s.objects, without_target(s.objects)))
        contrasts.append([(a.float() - b.float()).abs().mean() for a, b in zip(
            with_, without, strict=True)])
    clean, crossed = contrasts
    assert crossed[1] < 0.2 * clean[1] and crossed[0] == clean[0]


def test_a_missing_modality_is_all_zero_and_said_to_be():
    batch = build_source('scenes', 4, SMALL, missing=1.0, template_degraded=0.0,
                         rgb_degraded=0.5, thermal_degraded=0.5).batch(range(64))
    present = batch['search_present']
    assert (present.sum(1) == 1).all() and (batch['template_present'] == 1).all()
    for column, name in enumerate(('rgb', 'thermal')):
        black = (batch[f'search_{name}'] == 0).flatten(1).all(1)
        assert torch.equal(black, present[:, column] == 0)
        assert torch.equal(present[:, column] == 0, batch['condition'] == column + 1)


def test_the_edge_of_the_picture_is_black_in_both():
    batch = build_source('scenes', 4, SMALL, edge=1.0, rgb_degraded=0.0).batch(range(64))
    black = (batch['search_rgb'] == 0).all(1) & (batch['search_thermal'] == 0)[:, 0]
    whole = black.all(1).any(1) | black.all(2).any(1)  # a column or a row of it
    assert whole.float().mean() > 0.6


# --- sets

def test_held_out_samples_are_of_no_training():
    held_out = LocaliseSet(SMALL, count=70, seed=3, batch=32)
    batches = list(held_out)
    assert [len(b['index']) for b in batches] == [32, 32, 6] and len(held_out) == 70
    for a, b in zip(batches, held_out, strict=True):
        same(a, b)
    training = build_source('scenes', 3, SMALL).batch(range(32))
    assert not (training['search_box'] == batches[0]['search_box']).all(1).any()
    assert set(torch.cat([b['condition'] for b in batches]).tolist()) == {0, 1, 2}


@pytest.mark.parametrize('options, message', [
    ({'darkness': 1}, "'darkness' is unknown"), ({'dark': 'very'}, "dark is 'very'"),
    ({'rgb_degraded': 1.5}, 'rgb_degraded is 1.5'), ({'clutter': True}, 'clutter is True'),
    ({'jitter': float('nan')}, 'jitter is nan'),
    ({'rgb_degraded': 0.7, 'thermal_degraded': 0.6}, 'more than 1')])
def test_bad_options_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        build_source('scenes', 0, SMALL, **options)


def test_noise_is_of_every_pixel():
    noise = noise_rows(draws(4), 'n', 64, 48)
    assert noise.shape == (4, 64, 48) and abs(noise.mean()) < 0.03
    assert noise.std() == pytest.approx(1, abs=0.03)
    assert (noise[0, 0] != noise[0, 1]).any() and (noise[0] != noise[1]).any()
    assert torch.equal(noise, noise_rows(draws(4), 'n', 64, 48))


# --- videos

def test_a_video_is_smooth_and_its_truth_is_where_the_target_is():
    video = SceneVideo(2, frames=40, degraded=0.0, occlusions=0.0)
    truth = video.truth
    assert len(video) == 40 and truth.shape == (40, 4) and (truth[:, 2:] > 5).all()
    center, side = truth[:, :2] + truth[:, 2:] / 2, np.sqrt(truth[:, 2:].prod(1))
    assert (np.abs(np.diff(center, axis=0)).max(1) < side[:-1]).all()
    assert (center >= 0).all() and (center <= (320, 240)).all()
    assert np.abs(np.diff(np.log(side))).max() < 0.1
    pair, again = video.pair(7), SceneVideo(2, frames=40, degraded=0.0, occlusions=0.0).pair(7)
    assert pair.rgb.shape == (240, 320, 3) and pair.thermal.shape == (240, 320)
    assert np.array_equal(pair.rgb, again.rgb) and np.array_equal(pair.thermal, again.thermal)
    assert [p.stamp for p in video][1] == int(1e9 / 30)
    with pytest.raises(IndexError, match='no frame 40'):
        video.pair(40)


def test_a_video_has_spells_of_one_bad_camera_and_starts_clean():
    video = SceneVideo(1, frames=400, degraded=0.8)
    assert set(video.conditions.tolist()) == {0, 1, 2} and not video.conditions[:10].any()
    dark = int(np.flatnonzero(video.conditions == Condition.RGB_DEGRADED)[0])
    assert video.pair(dark).rgb.mean() < 25 < video.pair(0).rgb.mean()


def test_a_video_knows_both_truths():
    video = SceneVideo(1, frames=3, registration_error=2.0)
    off = video.truth_thermal - video.truth
    assert (np.abs(off[:, :2]) <= 2).all() and off[:, :2].any() and not off[:, 2:].any()
