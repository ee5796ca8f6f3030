"""The contract of data sources, the made-up pictures without labels, and the pseudo boxes."""
from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pytest
import torch

from rgbt_tracker_ros.data.image_samples import ImageSamples
from rgbt_tracker_ros.data.options import OptionError
from rgbt_tracker_ros.data.pair_sources import (
    SOURCES,
    CropSizes,
    RenderedSource,
    build_source,
    source_class,
)
from rgbt_tracker_ros.data.pseudo_boxes import (
    BOXES,
    SIDE,
    Detections,
    center_boxes,
    detected_boxes,
    random_boxes,
)
from rgbt_tracker_ros.data.random import Draws
from rgbt_tracker_ros.data.samples import SampleConfig, Samples

SMALL = CropSizes(32, 64)
SHAPES = {'rgb': 3, 'thermal': 1}


def draws(count: int = 200) -> Draws:
    return Draws(0, torch.arange(count))


# --- the contract

@pytest.mark.parametrize('kind', ['scenes', 'unlabelled_scenes', 'images', 'varied_scenes'])
@pytest.mark.parametrize('crops', [SMALL, CropSizes(48, 96, 2.5, 5.0)], ids=['32', '48'])
def test_batches_hold_what_networks_expect(kind, crops):
    batch = build_source(kind, 1, crops).batch([3, 900_000_000_000])
    for name, size in (('template', crops.template_size), ('search', crops.search_size)):
        for modality, channels in SHAPES.items():
            image = batch.pop(f'{name}_{modality}')
            assert image.shape == (2, channels, size, size) and image.dtype == torch.uint8
        for key, width in (('box', 4), ('present', 2)):
            value = batch.pop(f'{name}_{key}')
            assert value.shape == (2, width) and value.dtype == torch.float32
    assert batch.pop('index').tolist() == [3, 900_000_000_000]
    assert batch.pop('condition').dtype == torch.int64
    assert batch.pop('visible').dtype == torch.float32
    assert not batch


@pytest.mark.parametrize('kind', ['scenes', 'unlabelled_scenes', 'images', 'varied_scenes'])
def test_a_batch_of_no_samples_has_their_shapes(kind):
    source = build_source(kind, 1, SMALL)
    none, one = source.batch([]), source.batch([4])
    assert {k: (v.shape[1:], v.dtype) for k, v in none.items()} == \
        {k: (v.shape[1:], v.dtype) for k, v in one.items()}
    assert not any(len(v) for v in none.values())


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('kind', ['scenes', 'unlabelled_scenes', 'images', 'varied_scenes'])
def test_iterate_gives_the_same_as_batch_in_the_same_order(kind, workers):
    source = build_source(kind, 1, SMALL)
    groups = [[0, 1], [5], [2, 7]]
    made = list(source.iterate(iter(groups), 'cpu', workers))
    assert len(made) == 3
    for indices, batch in zip(groups, made, strict=True):
        again = source.batch(indices)
        assert all(torch.equal(batch[k], again[k]) for k in again)


@pytest.mark.parametrize('kind', SOURCES)
def test_every_option_is_documented(kind):
    cls = source_class(kind)
    text = ''.join(c.__doc__ or '' for c in cls.Options.__mro__ if c is not object)
    assert not [f.name for f in fields(cls.Options) if f'`{f.name}`' not in text
                and f.name not in ('template_jitter', 'search_jitter', 'template_scale_jitter',
                                   'search_scale_jitter', 'flip', 'brightness')]


@pytest.mark.parametrize('kind, options, message', [
    ('pictures', {}, "no data source 'pictures'; there are: scenes"),
    ('unlabelled_scenes', {'generator': 'magic'}, 'one of detector, random, center'),
    ('unlabelled_scenes', {'detector_misses': -0.1}, 'detector_misses is -0.1'),
    ('images', {'synthetic': 'all'}, "synthetic is 'all', it must be float"),
    ('images', {'root': 'there/is/none'}, 'images: root: .* holds none of')])
def test_bad_options_are_named(kind, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=message):
        build_source(kind, 0, SMALL, **options)


@pytest.mark.parametrize('sizes', [{'template_size': 4}, {'search_factor': 0.5}])
def test_crops_that_make_no_sense_are_refused(sizes):
    with pytest.raises(OptionError, match=next(iter(sizes))):
        CropSizes(**sizes)


# --- the shipped student's data

def test_images_are_the_samples_of_the_shipped_student():
    crops = CropSizes(96, 192)
    batch = ImageSamples(11, crops, clips=[], absent=0.5).batch(range(6))
    samples = Samples([], 10, 11, SampleConfig(absent=0.5))
    for i in range(6):
        for key, value in samples[i].items():
            assert torch.equal(batch[key][i], value.to(batch[key].dtype)), key
    assert set(batch['visible'].tolist()) == {0.0, 1.0}
    missing = batch['search_present'] == 0
    assert torch.equal(batch['condition'] == 1, missing[:, 0])


# --- pseudo boxes

SIZE = torch.tensor([[640.0, 512.0]])


def test_center_boxes_are_in_the_middle():
    assert center_boxes(SIZE)[0].tolist() == [[270, 156, 100, 200]] * BOXES


@pytest.mark.parametrize('width', [640.0, 500.0])
def test_random_boxes_keep_off_the_border_and_one_another(width):
    size = torch.tensor([[width, 512.0]]).repeat(200, 1)
    boxes = random_boxes(draws(), size)
    x, y, w, h = boxes.unbind(-1)
    assert (w == 100).all() and (h == 100).all()
    assert x.min() >= 100 - 1e-3 and (x + w).max() <= width + 1e-3
    assert y.min() >= 100 - 1e-3 and (y + h).max() <= 512 + 1e-3
    least = 100 if width == 640 else (width - 200) / 4
    assert x.diff(dim=1).min() >= least - 1e-3
    assert y.std() > 30 and x[:, 0].unique().numel() > (100 if width == 640 else 0)


def found(*rows: tuple[float, float, float, float, float, bool]) -> Detections:
    table = torch.tensor([r[:5] for r in rows], dtype=torch.float32).reshape(1, -1, 5)
    person = torch.tensor([[bool(r[5]) for r in rows]]).reshape(1, -1)
    return Detections(table[..., :4], table[..., 4], person, torch.ones_like(person))


def person(x: float, score: float, y: float = 0.0) -> tuple:
    return (x, y, 100.0, 100.0, score, True)


def car(x: float, score: float) -> tuple:
    return (x, 300.0, 100.0, 100.0, score, False)


@pytest.mark.parametrize('rows, expected', [
    # one object seen in both modalities: the surer one stays (IoU 90 / 110 = 0.82)
    ([person(0, 0.5), person(10, 0.9)], [10] * 5),
    # 0.79 is not enough to be the same
    ([person(0, 0.5), person(12, 0.9)], [12, 0, 12, 0, 12]),
    # what is like one that was dropped, but not like the one that stayed, stays
    ([person(0, 0.9), person(10, 0.8), person(20, 0.7)], [0, 20, 0, 20, 0]),
    # up to two others, the surest, then persons by score up to five
    ([car(0, 0.2), car(150, 0.9), car(300, 0.5), person(0, 0.6), person(150, 0.7),
      person(300, 0.1), person(450, 0.3)], [150, 300, 150, 0, 450]),
    ([car(0, 0.2), car(150, 0.9), car(300, 0.5)], [150, 300, 150, 300, 150]),
    ([person(150 * i, 0.9 - i / 10) for i in range(7)], [0, 150, 300, 450, 600])])
def test_detections_become_five_boxes_by_the_published_rules(rows, expected):
    boxes = detected_boxes(draws(1), SIZE, found(*rows))
    assert boxes[0, :, 0].tolist() == expected


def test_a_picture_without_detections_has_random_boxes():
    none = found(person(0, 0.5))._replace(there=torch.zeros(1, 1, dtype=torch.bool))
    empty = Detections(torch.zeros(1, 0, 4), torch.zeros(1, 0), torch.zeros(1, 0).bool(),
                       torch.zeros(1, 0).bool())
    for nothing in (none, empty):
        assert torch.equal(detected_boxes(draws(1), SIZE, nothing), random_boxes(draws(1), SIZE))


# --- made-up pictures without labels

@pytest.mark.parametrize('generator', ['detector', 'random', 'center'])
def test_template_and_search_are_one_region_at_one_instant(generator):
    source = build_source('unlabelled_scenes', 2, CropSizes(64, 64, 6.0, 6.0),
                          generator=generator, template_jitter=0.0, search_jitter=0.0,
                          template_scale_jitter=0.0, search_scale_jitter=0.0, brightness=0.0,
                          difficulty=0.0, flip=0.0)
    batch = source.batch(range(16))
    # without jitter, light and noise the two are the same picture
    for key in ('rgb', 'thermal', 'box'):
        assert torch.equal(batch[f'template_{key}'], batch[f'search_{key}'])
    center = batch['search_box'][:, :2] + batch['search_box'][:, 2:] / 2
    assert torch.allclose(center, torch.tensor(32.0), atol=1e-2)


def test_nothing_but_pseudo_boxes_is_told():
    """P11: in batches of made-up scenes."""
    source = build_source('unlabelled_scenes', 2, SMALL)
    pictures = source.pictures(range(2), height=64)
    assert [p.shape for p in pictures] == [(2, 3, 64, 80), (2, 1, 64, 80)]
    boxes = source.pseudo_boxes(range(50))
    assert boxes.shape == (50, BOXES, 4)
    assert (boxes[..., 2:] > 0).all() and boxes[..., 0].min() > -SIDE


def test_made_up_scenes_have_no_way_to_ask_for_true_boxes():
    """P11: all that the type gives is named here; what holds a box is a pseudo box."""
    kind = source_class('unlabelled_scenes')
    own = {n for n in dir(kind) if not n.startswith('_')} - set(dir(RenderedSource))
    assert own == {'pictures', 'pseudo_boxes', 'Options', 'kind'}
    batch = build_source('unlabelled_scenes', 2, SMALL).batch(range(2))
    assert {k for k in batch if 'box' in k} == {'template_box', 'search_box'}
    assert get_type_hints(kind.pictures)['return'] == tuple[torch.Tensor, torch.Tensor]


def test_the_boxes_of_a_batch_are_pseudo_boxes_of_its_pictures():
    source = build_source('unlabelled_scenes', 2, SMALL, generator='detector')
    boxes = source.pseudo_boxes(range(40)) / SIDE
    batch = source.batch(range(40))
    aspect = boxes[..., 2] / boxes[..., 3]
    for name in ('template', 'search'):
        seen = batch[f'{name}_box'][:, 2] / batch[f'{name}_box'][:, 3]
        assert (aspect - seen[:, None]).abs().min(1).values.max() < 1e-3


@pytest.mark.parametrize('misses, expected', [(0.0, 0.0), (1.0, 1.0)])
def test_a_blind_detector_leaves_random_boxes(misses, expected):
    source = build_source('unlabelled_scenes', 2, SMALL, detector_misses=misses, objects=1.0)
    fallback = build_source('unlabelled_scenes', 2, SMALL, generator='random')
    same = (source.pseudo_boxes(range(20)) == fallback.pseudo_boxes(range(20))).flatten(1).all(1)
    assert same.float().mean() == expected


def test_detections_are_off_by_the_noise_that_was_asked_for():
    areas = []
    for noise in (0.0, 0.1):
        source = build_source('unlabelled_scenes', 2, SMALL, detector_noise=noise,
                              detector_misses=0.0, detector_duplicates=0.0)
        boxes = source.pseudo_boxes(range(300))
        areas.append(boxes[..., 2].log().var())
    assert areas[1] - areas[0] == pytest.approx(0.01, rel=0.5)


def test_flips_mirror_everything():
    options = {'template_scale_jitter': 0.0, 'brightness': 0.0}
    plain, flipped = (build_source('unlabelled_scenes', 2, SMALL, flip=f, **options).batch(
        range(8)) for f in (0.0, 1.0))
    for name in ('template', 'search'):
        size = plain[f'{name}_rgb'].shape[-1]
        for key in SHAPES:
            assert torch.equal(plain[f'{name}_{key}'].flip(-1), flipped[f'{name}_{key}'])
        a, b = plain[f'{name}_box'], flipped[f'{name}_box']
        assert torch.allclose(size - a[:, 0] - a[:, 2], b[:, 0], atol=1e-4)
        assert torch.equal(a[:, 1:], b[:, 1:])


@pytest.mark.parametrize('generator', ['random', 'center', 'detector'])
def test_the_pseudo_box_stays_in_sight_at_published_jitter(generator):
    for crops in (SMALL, CropSizes(64, 64, 6.0, 6.0)):
        batch = build_source('unlabelled_scenes', 3, crops, generator=generator).batch(range(128))
        for name in ('template', 'search'):
            box, size = batch[f'{name}_box'], batch[f'{name}_rgb'].shape[-1]
            center = (box[:, :2] + box[:, 2:] / 2).numpy()
            assert np.logical_and(center >= 0, center <= size).all()
