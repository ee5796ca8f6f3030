"""Pairs of recorded videos, labelled and not: what is drawn, cut and augmented."""
from __future__ import annotations

from itertools import pairwise
from typing import get_type_hints

import cv2
from hypothesis import given, settings, strategies
import numpy as np
import pytest
import torch

from rgbt_tracker_ros.data.crops import collate, cut, inside_major, shows_image, to_8_bits
from rgbt_tracker_ros.data.jitter import CropView, jittered
from rgbt_tracker_ros.data.options import OptionError
from rgbt_tracker_ros.data.pair_sources import CropSizes, build_source
from rgbt_tracker_ros.data.sequence import Frames, LayoutError, Sequence
from rgbt_tracker_ros.data.unlabelled_videos import Detection, Unlabelled, UnlabelledVideos
from rgbt_tracker_ros.data.video_pairs import VideoPairs, part_of
from rgbt_tracker_ros.tracking.geometry import Crop
from rgbt_tracker_ros.types import Box, Pair

SMALL = CropSizes(32, 64)
PLAIN = {'flip': 0.0, 'view_flip': 0.0, 'grayscale': 0.0, 'brightness': 0.0}
coordinates = strategies.floats(-500, 1500)
sides = strategies.floats(2, 400)


class Moving:
    """A bright square that moves 2 px a frame: RGB says where it is, thermal its frame too."""

    def __init__(self, count: int = 60, thermal_scale: int = 1) -> None:
        self.count, self.scale, self.asked = count, thermal_scale, []

    def __len__(self) -> int:
        return self.count

    def box(self, index: int) -> Box:
        return Box(20.0 + 2 * index, 40, 16, 16)

    def pair(self, index: int) -> Pair:
        self.asked.append(index)
        rgb = np.full((120, 160, 3), 40, np.uint8)
        thermal = np.full((120, 160), 10 + index, np.uint8)
        b = self.box(index)
        area = (slice(int(b.y), int(b.y + b.h)), slice(int(b.x), int(b.x + b.w)))
        rgb[area] = (200, 100, 50)
        thermal[area] = 250
        if self.scale > 1:
            size = (160 // self.scale, 120 // self.scale)
            thermal = cv2.resize(thermal, size, interpolation=cv2.INTER_AREA)
        return Pair(rgb, thermal)


def moving(count: int = 60, absent: tuple[int, ...] = (), every: int = 1,
           thermal_scale: int = 1, name: str = 'moving') -> Sequence:
    frames = Moving(count, thermal_scale)
    numbers = np.arange(0, count, every)
    boxes = np.array([frames.box(int(i)).as_tuple() for i in numbers])
    boxes[np.isin(numbers, absent)] = 0
    return Sequence(name, frames, boxes, numbers)


class Unreadable(Sequence):
    """A sequence whose boxes nobody may look at."""

    @property
    def truth(self):
        raise AssertionError('the boxes were read')

    @property
    def raw_truth(self):
        raise AssertionError('the boxes were read')

    @raw_truth.setter
    def raw_truth(self, value):
        pass

    def __init__(self, frames):
        object.__setattr__(self, 'name', 'unreadable')
        object.__setattr__(self, 'frames', frames)


# --- P1: crops and their inverses

@settings(max_examples=200, deadline=None)
@given(coordinates, coordinates, sides, sides, coordinates, coordinates, sides,
       strategies.sampled_from([(2.0, 128), (4.0, 256), (6.0, 352), (2.0, 32)]))
def test_boxes_survive_the_way_into_a_crop_and_back(x, y, w, h, cx, cy, side, crop):
    """P1: crop -> to_crop -> from_crop is exact to 1e-4 px."""
    around = Crop.around(Box.from_center(cx, cy, side, side), *crop)
    box = Box(x, y, w, h)
    back = around.from_crop(around.to_crop(box))
    assert np.abs(np.subtract(back.as_tuple(), box.as_tuple())).max() < 1e-4


@pytest.mark.parametrize('center, black', [
    ((0, 60), (slice(None), slice(0, 30))), ((160, 60), (slice(None), slice(34, 64))),
    ((80, 0), (slice(0, 30), slice(None))), ((80, 120), (slice(34, 64), slice(None)))])
def test_what_lies_outside_the_image_is_black(center, black):
    """P1: crops that leave the image are padded."""
    pair = Pair(np.full((120, 160, 3), 90, np.uint8), np.full((120, 160), 70, np.uint8))
    crop = Crop.around(Box.from_center(*center, 16, 16), 4.0, 64)
    view = cut(pair, crop, Box.from_center(*center, 16, 16))
    assert not view.rgb[black].any() and not view.thermal[black].any()
    assert (view.rgb > 0).all(2).mean() == pytest.approx(0.5, abs=0.05)
    assert view.box.center == pytest.approx((32, 32))


@settings(max_examples=100, deadline=None)
@given(strategies.floats(0, 160), strategies.floats(0, 120), strategies.floats(4, 300))
def test_inside_major_fits_the_longer_side(cx, cy, side):
    crop = inside_major(Crop(cx - side / 2, cy - side / 2, side, 64), 160, 120)
    assert side / 1.5 - 1e-6 <= crop.side <= side
    if side <= 240:
        assert crop.side <= 160 and crop.x0 >= -1e-6
        assert crop.x0 + crop.side <= 160 + 1e-6
    if crop.side <= 120:
        assert crop.y0 >= -1e-6 and crop.y0 + crop.side <= 120 + 1e-6


@pytest.mark.parametrize('crop, shown', [
    (Crop(-20, -20, 30, 64), True), (Crop(-40, 10, 30, 64), False),
    (Crop(160, 0, 50, 64), False), (Crop(10, 10, 0.5, 64), False)])
def test_empty_crops_are_told_from_others(crop, shown):
    assert shows_image(crop, 160, 120) is shown


@pytest.mark.parametrize('image, expected', [
    (np.full((4, 4), 7, np.uint8), 7), (np.full((4, 4, 3), 9, np.uint8), 9),
    (np.full((4, 4), 30000, np.uint16), 0), (np.full((4, 4), np.nan, np.float32), 0)])
def test_thermal_becomes_8_bits(image, expected):
    out = to_8_bits(image)
    assert out.dtype == np.uint8 and out.shape == (4, 4) and (out == expected).all()


def test_deep_thermal_is_stretched_to_8_bits():
    ramp = np.linspace(29000, 31000, 10000).reshape(100, 100)
    for image in (ramp.astype(np.uint16), ramp.astype(np.float32)):
        out = to_8_bits(image)
        assert out.min() == 0 and out.max() == 255
        assert abs(np.median(out.astype(float)) - 127) < 3


# --- sampling of labelled videos

@pytest.mark.parametrize('count, aside', [(2, [1]), (19, [18]), (20, [19]), (45, [19, 39])])
def test_videos_are_for_the_training_or_kept_aside(count, aside):
    videos = [moving(name=f'v{i}') for i in range(count)]
    parts = {part: [s.name for s in part_of(videos, part)] for part in ('all', 'train', 'aside')}
    assert parts['aside'] == [f'v{i}' for i in aside]
    assert parts['train'] == [s.name for s in videos if s.name not in parts['aside']]
    assert len(parts['all']) == count
    with pytest.raises(OptionError, match="part is 'aside', but there is only the sequence 'v0'"):
        part_of(videos[:1], 'aside')


def test_a_search_frame_follows_its_template_within_the_gap():
    source = VideoPairs(0, SMALL, opened=[moving(300)], max_gap=20)
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(300):
        clip, a, b = source.frames(rng)
        gaps.append(clip.frames[b] - clip.frames[a])
    assert min(gaps) == 1 and max(gaps) == 20


def test_the_gap_is_widened_where_nothing_is_seen():
    absent = tuple(range(10, 40))
    source = VideoPairs(0, SMALL, opened=[moving(60, absent)], max_gap=3)
    rng = np.random.default_rng(0)
    pairs = {(int(c.frames[a]), int(c.frames[b])) for c, a, b in
             (source.frames(rng) for _ in range(400))}
    assert not {f for p in pairs for f in p} & set(absent)
    # 9 -> 40 is 31 frames: 3 + 6 x 5 = 33 reaches 42
    assert {b for a, b in pairs if a == 9} == {40, 41, 42}


def test_boxes_that_are_not_of_every_frame_keep_their_frames():
    sequence = moving(60, every=5)
    source = VideoPairs(0, SMALL, opened=[sequence], search_jitter=1.0, search_scale_jitter=0.0,
                        **PLAIN)
    for i in range(6):
        for view in source.sample(i):
            where = np.argwhere(view.thermal > 200)
            assert where.mean(0)[::-1] + 0.5 == pytest.approx(view.box.center, abs=1)
    assert not [f for f in sequence.frames.asked if f % 5]


@pytest.mark.parametrize('thermal_scale', [1, 2])
@pytest.mark.parametrize('options', [
    PLAIN, PLAIN | {'flip': 1.0}, PLAIN | {'view_flip': 1.0}, PLAIN | {'border': 'inside_major'},
    PLAIN | {'search_jitter': 1.0, 'template_jitter': 1.0}, {'brightness': 0.1}])
def test_the_box_stays_on_the_target_in_both_modalities(options, thermal_scale):
    source = VideoPairs(1, CropSizes(64, 128), opened=[moving(thermal_scale=thermal_scale)],
                        **options)
    for i in range(8):
        for view in source.sample(i):
            inside = view.box
            rows = slice(max(int(inside.y + 3), 0), max(int(inside.y + inside.h - 3), 0))
            columns = slice(max(int(inside.x + 3), 0), max(int(inside.x + inside.w - 3), 0))
            if view.thermal[rows, columns].size:
                assert view.thermal[rows, columns].min() > 170
                assert view.rgb[rows, columns].min() > 40
            assert (view.thermal > 170).sum() <= 1.3 * inside.area + 60


def test_flips_are_one_for_both_modalities_and_both_crops():
    plain, flipped = (VideoPairs(1, SMALL, opened=[moving()], **PLAIN | {'flip': f}).sample(3)
                      for f in (0.0, 1.0))
    for a, b in zip(plain, flipped, strict=True):
        assert np.array_equal(a.rgb[:, ::-1], b.rgb)
        assert np.array_equal(a.thermal[:, ::-1], b.thermal)
        assert b.box.x == pytest.approx(a.rgb.shape[1] - a.box.x - a.box.w)


@pytest.mark.parametrize('factor', [0.8, 1.2])
def test_brightness_and_grayscale(factor):
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[:] = (200, 100, 50)
    view = CropView(rgb, np.full((4, 4), 100, np.uint8), Box(0, 0, 1, 1), (1.0, 1.0))
    view.to_gray()
    assert (view.rgb == 124).all()  # 0.299 x 200 + 0.587 x 100 + 0.114 x 50 = 124.2
    view.brighten(factor)
    assert (view.rgb == int(124 * factor + 0.5)).all()
    assert (view.thermal == int(100 * factor + 0.5)).all()


def test_jitter_has_the_published_spread():
    rng = np.random.default_rng(0)
    boxes = [jittered(rng, Box(100, 100, 20, 40), 3.0, 0.25) for _ in range(4000)]
    logs = np.log([(b.w / 20, b.h / 40) for b in boxes])
    assert logs.std(0) == pytest.approx([0.25, 0.25], rel=0.06)
    off = np.array([(b.center[0] - 110, b.center[1] - 120) for b in boxes])
    off = off / np.sqrt([b.area for b in boxes])[:, None]
    assert np.abs(off).max() <= 1.5 and off.std(0) == pytest.approx([3 / 12 ** 0.5] * 2, rel=0.05)
    same = jittered(rng, Box(1, 2, 3, 4), 0, 0)
    assert same.as_tuple() == pytest.approx((1, 2, 3, 4))


def test_a_missing_modality_is_black_and_said_to_be():
    image = np.full((60, 80, 3), 99, np.uint8)
    view = cut(Pair(image, None), Crop(0, 0, 40, 32), Box(10, 10, 10, 10))
    batch = collate([4], [(view, view)], CropSizes(32, 32), 'cpu')
    assert batch['search_present'].tolist() == [[1, 0]] and not batch['search_thermal'].any()
    assert batch['condition'].tolist() == [2] and batch['index'].tolist() == [4]


@pytest.mark.parametrize('sequences, message', [
    ([moving(12)], 'none of 1 sequences has 20 frames'),
    ([moving(60, tuple(range(3, 60)))], 'the target in 5 or more')])
def test_sequences_that_are_too_short_are_refused(sequences, message):
    with pytest.raises(OptionError, match=message):
        VideoPairs(0, SMALL, opened=sequences)


def test_boxes_outside_the_images_are_refused_not_drawn_for_ever():
    sequence = moving(60)
    sequence.raw_truth[:, 0] += 5000
    with pytest.raises(OptionError, match='crops outside the images, the last from moving'):
        VideoPairs(0, SMALL, opened=[sequence]).sample(0)


@pytest.mark.parametrize('kind, options, message', [
    ('videos', {}, "'layout' must be given"), ('videos', {'layout': 'gtot'}, "'root' must be"),
    ('videos', {'max_gap': 0}, 'max_gap is 0'), ('videos', {'border': 'wrap'}, 'one of constant'),
    ('videos', {'datasets': [{'rot': 1}]}, 'must be a mapping of layout'),
    ('videos', {'datasets': [{'layout': 'gtot', 'root': 'x', 'ratio': 0}]}, 'ratio is 0'),
    ('videos', {'layout': 'gtot', 'root': 'there/is/none'}, 'no such file or folder'),
    ('unlabelled_videos', {'generator': 'guess'}, 'one of random, center, detector'),
    ('unlabelled_videos', {'root': 'x'}, "'layout' must be given")])
def test_bad_options_are_named(kind, options, message):
    with pytest.raises(ValueError, match=message):
        build_source(kind, 0, SMALL, **options)


def on_disk(root, labelled=True):
    for name in ('first', 'second'):
        frames = Moving(24)
        for folder in ('visible', 'infrared'):
            (root / name / folder).mkdir(parents=True)
        for i in range(24):
            pair = frames.pair(i)
            cv2.imwrite(str(root / name / 'visible' / f'{i:04d}.png'), pair.rgb[..., ::-1])
            cv2.imwrite(str(root / name / 'infrared' / f'{i:04d}.png'), pair.thermal)
        rows = (','.join(f'{v:g}' for v in frames.box(i).as_tuple()) for i in range(24))
        if labelled:
            (root / name / 'init.txt').write_text('\n'.join(rows) + '\n')
    return {'layout': 'lasher', 'root': str(root)}


def test_what_needs_no_labels_does_not_ask_for_them(tmp_path):
    options = on_disk(tmp_path, labelled=False)
    batch = build_source('unlabelled_videos', 0, SMALL, **options).batch(range(3))
    assert (batch['search_present'] == 1).all()
    (tmp_path / 'first' / 'init.txt').write_text('1,2,3,4\n' * 5)   # nor looks at those there are
    build_source('unlabelled_videos', 0, SMALL, **options)
    with pytest.raises(LayoutError, match='5 rows'):
        build_source('videos', 0, SMALL, **options)


def test_sequences_that_are_on_the_list_and_not_there_are_told(tmp_path, caplog):
    options = on_disk(tmp_path)
    (tmp_path / 'testingsetList.txt').write_text('first\nnone\nsecond\n')
    build_source('videos', 0, SMALL, **options)
    assert '1 of the 3 sequences of the official list are not there: none' in caplog.text


@pytest.mark.parametrize('workers', [0, 1])
def test_an_image_that_can_not_be_decoded_is_named_by_any_process(tmp_path, workers):
    options = on_disk(tmp_path)
    for file in tmp_path.rglob('*.png'):
        file.write_bytes(b'no picture')
    batches = build_source('videos', 0, SMALL, **options).iterate([[0, 1]], workers=workers)
    with pytest.raises(LayoutError, match=r"\.png, row .*can't be decoded"):
        list(batches)


@pytest.mark.parametrize('kind', ['videos', 'unlabelled_videos'])
def test_a_data_set_is_read_from_the_disk(tmp_path, kind):
    options = on_disk(tmp_path)
    batch = build_source(kind, 0, SMALL, **options).batch(range(6))
    assert batch['search_rgb'].shape == (6, 3, 64, 64)
    assert (batch['search_present'] == 1).all() and batch['search_thermal'].float().std() > 5
    build_source(kind, 0, SMALL, sequences=['second'], **options)
    with pytest.raises(OptionError, match='has no third'):
        build_source(kind, 0, SMALL, sequences=['third'], **options)


def test_sequences_may_be_of_any_of_several_data_sets(tmp_path):
    sets = [on_disk(tmp_path / name) for name in ('a', 'b')]
    (tmp_path / 'a/second').rename(tmp_path / 'a/third')
    source = build_source('videos', 0, SMALL, datasets=sets, sequences=['third', 'second'])
    assert [[c.sequence.name for c in g] for g in source.groups] == [['third'], ['second']]
    source = build_source('videos', 0, SMALL, datasets=sets, sequences=['second', 'first'])
    assert [[c.sequence.name for c in g] for g in source.groups] == [['first'],
                                                                    ['second', 'first']]
    with pytest.raises(OptionError, match=r'a or .*b has no fourth; it has 4 others'):
        build_source('videos', 0, SMALL, datasets=sets, sequences=['first', 'fourth'])
    with pytest.raises(OptionError, match=r'a has none of the sequences second; leave it out'):
        build_source('videos', 0, SMALL, datasets=sets, sequences=['second'])


@pytest.mark.parametrize('kind', ['videos', 'unlabelled_videos'])
def test_what_is_drawn_has_no_root(kind):
    options = {'sequences': 1, 'frames': 24}
    source = build_source(kind, 0, SMALL, layout='synthetic', layout_options=options)
    assert source.batch([0])['search_rgb'].shape == (1, 3, 64, 64)


# --- videos without labels

def test_no_box_of_a_video_is_read():
    """P11: whatever the generator."""
    for generator, detector in (('center', None), ('random', None),
                                ('detector', lambda *_: [Detection(30, 30, 20, 30)])):
        source = UnlabelledVideos(0, SMALL, opened=[Unreadable(Moving())], detector=detector,
                                  generator=generator)
        batch = source.batch(range(3))
        assert batch['search_rgb'].shape == (3, 3, 64, 64)


def test_there_is_no_place_for_boxes_in_what_is_kept_of_a_video():
    """P11: a guarantee of the type, not of good behaviour."""
    assert get_type_hints(Unlabelled) == {'name': str, 'frames': Frames}
    assert {n for n in vars(Frames) if not n.startswith('_')} == {'pair'}
    source, seen = UnlabelledVideos(0, SMALL, opened=[moving(30)]), []
    reached = [vars(source)]
    while reached:
        one = reached.pop()
        if any(one is other for other in seen):
            continue
        seen.append(one)
        assert not isinstance(one, Sequence)
        if isinstance(one, (dict, list, tuple)):
            reached += one.values() if isinstance(one, dict) else one
    assert any(isinstance(one, Unlabelled) for one in seen)


def test_both_crops_are_of_one_instant():
    frames = Moving(60)
    source = UnlabelledVideos(0, SMALL, opened=[Sequence('m', frames, np.zeros((0, 4)),
                                                         np.zeros(0, np.int64))], brightness=0.0)
    for i in range(6):
        frames.asked.clear()
        template, search = source.sample(i)
        assert len(frames.asked) == 1
        for view in (template, search):
            ground = view.thermal[(view.thermal > 0) & (view.thermal < 80)]
            if ground.size:
                assert np.bincount(ground).argmax() == 10 + frames.asked[0]


def test_detections_come_from_a_file(tmp_path):
    path = tmp_path / 'found.csv'
    rows = ''.join(f'm,{i},{20 + 2 * i},40,16,16,0.9\n' for i in range(60))
    path.write_text('sequence,frame,x,y,w,h,score\n' + rows)
    frames = Moving(60)
    source = UnlabelledVideos(0, CropSizes(64, 64, 4.0, 4.0), opened=[Sequence(
        'm', frames, np.zeros((0, 4)), np.zeros(0, np.int64))], generator='detector',
        detections=str(path), brightness=0.0)
    for i in range(5):
        view, _ = source.sample(i)
        b = view.box
        assert view.thermal[int(b.y + b.h / 2), int(b.x + b.w / 2)] == 250


def test_detections_of_other_sequences_are_not_taken_for_none(tmp_path, caplog):
    """Random boxes would be in their place, in silence."""
    path = tmp_path / 'found.csv'

    def open_with(rows):
        path.write_bytes(b'\xef\xbb\xbfsequence,frame,x,y,w,h\r\n' + rows)   # as Excel does
        return UnlabelledVideos(0, SMALL, opened=[moving()], generator='detector',
                                detections=str(path))

    open_with(b'moving,0,1,2,3,4\r\nmoving,59,1,2,3,4\r\n')
    assert not caplog.records
    open_with(b'moving,0,1,2,3,4\r\nmoving,60,1,2,3,4\r\nwalk,0,1,2,3,4\r\n')
    assert "2 of 3 frames with detections are of no sequence here, such as frame 60 of 'moving'" \
        in caplog.text
    for row in (b'walk,0,1,2,3,4\r\n', b'moving,60,1,2,3,4\r\n'):
        with pytest.raises(OptionError, match=r"found\.csv has none of the frames; it has such as "
                                              r"frame .* there is 'moving' of 60 frames"):
            open_with(row)
    with pytest.raises(OptionError, match=r'found\.csv has no row'):
        open_with(b'')


@pytest.mark.parametrize('text, message', [
    ('frame,x,y,w,h\n', 'no column sequence'),
    ('sequence,frame,x,y,w,h\n' + 'm' * 200_000, r'found\.csv, line .*field larger'),
    ('sequence,frame,x,y,w,h\nm,0,1,2,3,four\n', 'line 2'),
    ('sequence,frame,x,y,w,h\nm,0,1,2,0,4\n', 'line 2: box .* has no area')])
def test_bad_files_of_detections_are_named(tmp_path, text, message):
    path = tmp_path / 'found.csv'
    path.write_text(text)
    with pytest.raises(OptionError, match=message):
        UnlabelledVideos(0, SMALL, opened=[moving()], generator='detector',
                         detections=str(path))


def test_a_detector_must_be_given():
    with pytest.raises(OptionError, match="'detections' must be given"):
        UnlabelledVideos(0, SMALL, opened=[moving()], generator='detector')
    with pytest.raises(OptionError, match=r'no/such\.csv'):
        UnlabelledVideos(0, SMALL, opened=[moving()], generator='detector',
                         detections='no/such.csv')


@pytest.mark.parametrize('kind', ['videos', 'unlabelled_videos'])
def test_a_batch_of_no_samples_has_their_shapes(tmp_path, kind):
    source = build_source(kind, 0, SMALL, **on_disk(tmp_path))
    none, one = source.batch([]), source.batch([4])
    assert {k: (v.shape, v.dtype) for k, v in none.items()} == \
        {k: ((0, *v.shape[1:]), v.dtype) for k, v in one.items()}


@pytest.mark.parametrize('workers', [0, 1])
def test_a_mix_may_have_batches_without_a_sample_of_a_part(tmp_path, workers):
    mixed = build_source('mixed', 0, SMALL, slots=4, parts={
        'own': {'source': 'videos', 'share': 1, 'options': on_disk(tmp_path)},
        'made': {'source': 'scenes', 'share': 3}})
    lists = [[0, 1], [2, 3], [4, 5], [6, 7]]
    made = list(mixed.iterate(lists, workers=workers))
    assert [sorted(b['index'].tolist()) for b in made] == lists
    assert all(b['search_rgb'].shape == (2, 3, 64, 64) for b in made)


# --- any grouping, any number of processes

@pytest.mark.parametrize('source', [
    VideoPairs(3, SMALL, opened=[moving(), moving(80, name='other')]),
    UnlabelledVideos(3, SMALL, opened=[moving()])], ids=lambda s: s.kind)
def test_samples_do_not_depend_on_grouping_or_processes(source):
    groups = [[4, 0, 9], [1], [2, 3]]
    alone = list(source.iterate(groups))
    for workers in (1, 2):
        for a, b in zip(alone, source.iterate(groups, workers=workers), strict=True):
            assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    single = source.batch([9])
    assert all(torch.equal(single[k][0], alone[0][k][2]) for k in single)
    assert [b['index'].tolist() for b in alone] == groups
    assert all((a['search_rgb'][0] != b['search_rgb'][0]).any() for a, b in pairwise(alone))
