"""Made-up scenes with all that goes wrong in the field, and samples of several sources."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rgbt_tracker_ros.data.mixed_pairs import MixedPairs
from rgbt_tracker_ros.data.options import OptionError
from rgbt_tracker_ros.data.pair_sources import CropSizes, build_source
from rgbt_tracker_ros.data.scene_pairs import TARGET
from rgbt_tracker_ros.data.varied_scenes import BLOCK, TARGETS, VariedScenes

CROPS = CropSizes(48, 96)
ROUND = BLOCK * len(TARGETS)  # as many samples as have each size once
CALM = {'rgb_degraded': 0.0, 'thermal_degraded': 0.0, 'lost': 0.0, 'absent': 0.0, 'hidden': 0.0,
        'misaligned': 0.0, 'inverted': 0.0, 'blurred': 0.0, 'occlusion': 0.0, 'crossing': 0.0}


def drawn(count: int = ROUND, seed: int = 3, first: int = 0, **options):
    return VariedScenes(seed, CROPS, **CALM | options).batch(range(first, first + count))


# --- one sample is one sample

def test_a_sample_is_the_same_in_any_batch():
    source = VariedScenes(1, CROPS)
    numbers = [70, 3, 41, 0, 12, 13]
    together = source.batch(numbers)
    assert together['index'].tolist() == numbers
    for place, number in enumerate(numbers):
        alone = source.batch([number])
        assert all(torch.equal(v[place], alone[k][0]) for k, v in together.items())


def test_many_drawn_ahead_are_those_of_each_batch():
    source = VariedScenes(1, CROPS)
    lists = [[0, 1, 9], [33], [17, 5]]
    for numbers, batch in zip(lists, source._many(lists, 'cpu'), strict=True):
        again = source.batch(numbers)
        assert all(torch.equal(v, batch[k]) for k, v in again.items())


@pytest.mark.parametrize('seed, stream', [(4, 0), (3, 1)])
def test_other_seeds_and_streams_have_other_samples(seed, stream):
    one, other = VariedScenes(3, CROPS).batch([0]), VariedScenes(seed, CROPS, stream).batch([0])
    assert not torch.equal(one['search_rgb'], other['search_rgb'])


# --- what is in them

def detail(images: torch.Tensor) -> torch.Tensor:
    """What an image has that its neighbouring pixels have not."""
    x = images.float()
    return (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3))


def test_small_targets_have_few_pixels():
    """A camera has 9 px on a target of 9 px, however large its crop is: noise becomes soft."""
    batch = drawn(ROUND * 4)
    size = torch.arange(ROUND * 4) // BLOCK % len(TARGETS)
    found = [detail(batch['search_thermal'])[size == k].mean().item()
             for k in range(len(TARGETS))]
    assert np.corrcoef(found, TARGETS)[0, 1] > 0.7 and found[0] < 0.7 * found[-1]


def test_boxes_hold_the_target():
    """What the target covers is what changes in the picture where it is left out."""
    there, gone = drawn(clutter=0.0, distractors=0.0), drawn(clutter=0.0, distractors=0.0,
                                                             absent=1.0)
    assert there['visible'].min() == 1 and gone['visible'].max() == 0
    change = (there['search_rgb'].float() - gone['search_rgb'].float()).abs().amax(1)
    rows = torch.arange(CROPS.search_size) + 0.5
    checked = 0
    for k, (x, y, w, h) in enumerate(there['search_box'].tolist()):
        inside = ((rows > x - 3) & (rows < x + w + 3))[None] & (
            (rows > y - 3) & (rows < y + h + 3))[:, None]
        assert change[k][~inside].max() <= 2
        middle = change[k][int(y + h / 2), int(x + w / 2)] \
            if 0 < x + w / 2 < 96 and 0 < y + h / 2 < 96 else torch.tensor(0.0)
        checked += bool(middle > 20)
    assert checked > ROUND / 2


def test_thermal_lies_off_by_up_to_so_many_pixels_of_the_image():
    straight, off = drawn(), drawn(misaligned=1.0, registration_error=16.0)
    assert torch.equal(straight['search_rgb'], off['search_rgb'])
    moved = (straight['search_thermal'] != off['search_thermal']).float().mean((1, 2, 3))
    assert (moved > 0.3).float().mean() > 0.8
    # by the same in both crops: what is left of a template crop shifted back is the template's
    none = drawn(misaligned=1.0, registration_error=0.0)
    assert torch.equal(none['search_thermal'], straight['search_thermal'])


def test_black_hot_is_the_negative():
    hot, black = drawn(difficulty=0.0), drawn(difficulty=0.0, inverted=1.0)
    assert torch.equal(hot['search_rgb'], black['search_rgb'])
    a, b = (x['search_thermal'].float().flatten(1) for x in (hot, black))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    alike = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    assert alike.median() < -0.9


@pytest.mark.parametrize('option, share', [('absent', 0.3), ('hidden', 0.4)])
def test_targets_out_of_sight_are_told(option, share):
    batch = drawn(ROUND * 8, **{option: share})
    assert batch['visible'].mean().item() == pytest.approx(1 - share, abs=0.08)


def test_what_hides_the_target_covers_all_of_it():
    shown, hidden = (drawn(distractors=0.0, clutter=0.0, hidden=1.0, absent=0.0, **more)
                     for more in ({}, {'crossover': 0.0, 'similarity': 0.0}))
    assert not hidden['visible'].any() and not shown['visible'].any()
    # the target behind it may be anything: nothing of it is seen
    absent = VariedScenes(3, CROPS, **CALM | {'distractors': 0.0, 'clutter': 0.0, 'hidden': 1.0})
    for renderer in absent._renderers.values():
        covered = renderer._covered
        renderer._covered = lambda d, n, o, covered=covered: _without_target(covered(d, n, o))
    assert torch.equal(shown['search_rgb'], absent.batch(range(ROUND))['search_rgb'])


def _without_target(objects):
    shown = objects.shown.clone()
    shown[:, TARGET] = False
    return replace(objects, shown=shown)


def test_a_camera_that_is_lost_sends_nothing_and_the_other_goes_on():
    batch = drawn(ROUND * 4, lost=1.0)
    for name in ('template', 'search'):
        present = batch[f'{name}_present']
        assert present.sum(1).min() >= 1
        for k, modality in enumerate(('rgb', 'thermal')):
            gone = present[:, k] == 0
            assert gone.any() and not batch[f'{name}_{modality}'][gone].any()
            assert batch[f'{name}_{modality}'][~gone].flatten(1).any(1).all()


def test_shares_that_can_not_be_are_refused():
    with pytest.raises(OptionError, match=r'absent 0.6 and hidden 0.5 add up to more than 1'):
        VariedScenes(0, CROPS, absent=0.6, hidden=0.5)
    with pytest.raises(OptionError, match=r'missing is 0.2, which would do nothing here; use los'):
        VariedScenes(0, CROPS, missing=0.2)


# --- several sources

PARTS = {'varied': {'source': 'varied_scenes', 'share': 3, 'options': CALM},
         'plain': {'source': 'scenes', 'share': 1}}


def test_parts_have_their_shares_evenly_spread():
    slots = MixedPairs(0, CROPS, parts=PARTS, slots=8)._slots
    assert slots.count(0) == 6 and slots[:4].count(1) == 1 and slots[4:].count(1) == 1


@pytest.mark.parametrize('workers', [0, 1])
def test_each_sample_is_that_of_its_part(workers):
    mixed = MixedPairs(5, CROPS, parts=PARTS, slots=4)
    own = [build_source('varied_scenes', 5, CROPS, **CALM), build_source('scenes', 5, CROPS)]
    lists = [range(0, 6), range(6, 12)]
    for numbers, batch in zip(lists, mixed.iterate(lists, 'cpu', workers), strict=True):
        assert sorted(batch['index'].tolist()) == list(numbers)
        for place, number in enumerate(batch['index'].tolist()):
            sample = own[mixed._slots[number % 4]].batch([number])
            assert all(torch.equal(v[place], sample[k][0]) for k, v in batch.items())


def test_a_part_without_a_share_is_not_made():
    mixed = MixedPairs(0, CROPS, parts=PARTS | {'none': {'source': 'images', 'share': 0}},
                       root='there/is/none')
    assert list(mixed.sources) == ['varied', 'plain']


def test_a_part_that_would_make_no_sample_is_refused():
    parts = {n: {'source': 'scenes', 'share': s} for n, s in (('a', 0.98), ('b', 0.01),
                                                             ('c', 0.01))}
    with pytest.raises(OptionError, match=r'parts\.b has a share of 0.01 in 1 and makes no sample '
                                          'with slots=32; use slots=') as error:
        MixedPairs(0, CROPS, parts=parts)
    needed = int(str(error.value).partition('use slots=')[2].split()[0])
    assert set(MixedPairs(0, CROPS, parts=parts, slots=needed)._slots) == {0, 1, 2}
    with pytest.raises(OptionError, match='makes no sample'):
        MixedPairs(0, CROPS, parts=parts, slots=needed - 1)


@pytest.mark.parametrize('parts, message', [
    ({}, 'parts is empty'),
    ({'a': 'scenes'}, "parts.a is 'scenes'"),
    ({'a': {'source': 'scenes'}}, 'must have source and share'),
    ({'a': {'source': 'scenes', 'share': 1, 'shares': 2}}, 'may have options'),
    ({'a': {'source': 'scenes', 'share': -1}}, 'numbers of 0 or more'),
    ({'a': {'source': 'scenes', 'share': 0}}, 'not all of them 0'),
    ({'a': {'source': 'scenery', 'share': 1}}, "parts.a: there is no data source 'scenery'"),
    ({'a': {'source': 'scenes', 'share': 1, 'options': {'dork': 1}}}, "parts.a: .*'dork'")])
def test_wrong_parts_are_named(parts, message):
    with pytest.raises(OptionError, match=message):
        MixedPairs(0, CROPS, parts=parts)
