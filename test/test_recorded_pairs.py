"""Recordings as training pairs: camera styles, regions, pseudo tracks, and the batches."""
from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from rgbt_tracker_ros.data.camera_style import STYLES, CameraStyle, style
from rgbt_tracker_ros.data.offsets import estimate_offset
from rgbt_tracker_ros.data.options import OptionError
from rgbt_tracker_ros.data.pair_sources import CropSizes
from rgbt_tracker_ros.data.pseudo_tracks import PseudoTrack, read_tracks, write_tracks
from rgbt_tracker_ros.data.recorded_pairs import RecordedPairs, part_of
from rgbt_tracker_ros.data.regions import find_regions, regions_of
from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.types import Box, Pair

SMALL = CropSizes(32, 64)
WIDTH, HEIGHT = 96, 64


def pair(number: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Pair:
    """Noise around a bright square, whose left edge is at 20 + its number."""
    rng = np.random.default_rng(number)
    gray = rng.integers(40, 80, size[::-1], dtype=np.uint8)
    gray[20:40, 20 + number:40 + number] = 220
    return Pair(np.dstack([gray] * 3), gray.copy(), number)


class Frames:
    """Pairs in memory; `read` has the numbers of those that were asked for."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs, self.read = pairs, set[int]()

    def __len__(self) -> int:
        return len(self.pairs)

    def pair(self, index: int) -> Pair:
        self.read.add(index)
        return self.pairs[index]


def sequence(name: str, pairs: list[Pair]) -> Sequence:
    return Sequence(name, Frames(pairs), np.empty((0, 4)), np.empty(0, np.int64))


def recordings(count: int = 4, length: int = 12) -> list[Sequence]:
    return [sequence(f'walk_{k}', [pair(i) for i in range(length)]) for k in range(count)]


def track(name: str, frames=range(12)) -> PseudoTrack:
    """Return the track of the square."""
    n = np.array(frames)
    return PseudoTrack(name, n, np.stack((20.0 + n, 20 + 0 * n, 20 + 0 * n, 20 + 0 * n), 1),
                       np.full(len(n), 0.9))


@pytest.fixture
def tracks(tmp_path):
    write_tracks(tmp_path / 'tracks.csv', [track(f'walk_{k}') for k in range(4)])
    return str(tmp_path / 'tracks.csv')


# --- camera styles

def test_a_style_by_default_changes_nothing():
    a = pair(3)
    a = replace(a, rgb=np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3),
                thermal=np.arange(256, dtype=np.uint8).reshape(16, 16), skew=5)
    b = CameraStyle().apply(a, 7, 'walk')
    assert np.array_equal(a.rgb, b.rgb) and np.array_equal(a.thermal, b.thermal)
    assert (b.stamp, b.skew) == (a.stamp, a.skew)
    alone = CameraStyle(curve=(255, 0)).apply(replace(a, rgb=None), 0)
    assert alone.rgb is None and np.array_equal(alone.thermal, 255 - a.thermal)
    assert CameraStyle(tint=(0, 1, 1)).apply(replace(a, thermal=None), 0).thermal is None


@pytest.mark.parametrize('settings, expected', [
    ({'curve': (255.0, 0.0)}, lambda t: 255 - t),
    ({'curve': (0.0, 200.0, 0.0)}, lambda t: np.interp(t, (0, 127.5, 255), (0, 200, 0))),
    ({'offset': (3.0, -2.0)}, lambda t: np.pad(t, ((0, 2), (3, 0)), 'edge')[2:, :-3]),
    ({'thermal_blur': 2.0}, lambda t: cv2.GaussianBlur(t.astype(np.float32), (0, 0), 2.0))])
def test_what_a_style_does_to_thermal(settings, expected):
    thermal = pair().thermal
    found = CameraStyle(**settings).apply(pair(), 0).thermal
    assert found.dtype == np.uint8
    assert np.abs(found.astype(float) - expected(thermal)).max() <= 0.51


def test_gamma_and_tint_change_colours():
    found = CameraStyle(gamma=2.0, tint=(1.0, 0.5, 0.0)).apply(pair(), 0).rgb
    level = 255 * (pair().rgb[..., 0] / 255.0) ** 2
    assert np.abs(found - np.stack((level, level / 2, 0 * level), 2)).max() <= 0.51


def test_the_pattern_of_a_sensor_is_that_of_all_its_frames():
    flat = Pair(None, np.full((HEIGHT, WIDTH), 128, np.uint8))
    made = CameraStyle(columns=8.0, pixels=4.0, seed=1)
    first, second = (made.apply(flat, i, s).thermal for i, s in ((0, 'a'), (9, 'b')))
    assert np.array_equal(first, second)
    assert first.mean(0).std() == pytest.approx(8, rel=0.3)
    assert (first - first.mean(0)).std() == pytest.approx(4, rel=0.1)
    other = replace(made, seed=2).apply(flat, 0, 'a').thermal
    assert not np.array_equal(first, other)


@pytest.mark.parametrize('index, name, same', [(3, 'a', True), (4, 'a', False), (3, 'b', False)])
def test_noise_follows_from_sequence_and_number(index, name, same):
    made = CameraStyle(thermal_noise=10.0, rgb_noise=6.0)
    a, b = made.apply(pair(), 3, 'a'), made.apply(pair(), index, name)
    assert np.array_equal(a.thermal, b.thermal) is same and np.array_equal(a.rgb, b.rgb) is same
    assert (a.thermal.astype(float) - pair().thermal).std() == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize('thermal', [np.zeros((4, 4), np.uint16), np.zeros((4, 4, 3), np.uint8)])
def test_a_style_refuses_other_thermal_images(thermal):
    with pytest.raises(ValueError, match=r'\(H, W\) uint8 thermal images; this one is \(4, 4'):
        CameraStyle().apply(Pair(None, thermal), 0)


def test_styles_have_names():
    assert style('restyled') is STYLES['restyled']
    with pytest.raises(ValueError, match="no camera style 'x'; there are: restyled, dusk"):
        style('x')


# --- regions

def blobs(size: tuple[int, int] = (320, 240)) -> tuple[np.ndarray, list[Box]]:
    """Return a ramp with noise, a bright and a dark blob on it, and where they are."""
    width, height = size
    k = width / 320
    image = np.linspace(90, 150, width)[None].repeat(height, 0)
    image += np.random.default_rng(0).normal(0, 6, image.shape)
    boxes = [Box(60 * k, 50 * k, 40 * k, 50 * k), Box(200 * k, 120 * k, 60 * k, 36 * k)]
    for box, level in zip(boxes, (235, 15), strict=True):
        cv2.ellipse(image, tuple(map(round, box.center)), (round(box.w / 2), round(box.h / 2)),
                    0, 0, 360, level, -1)
    return np.clip(image, 0, 255).astype(np.uint8), boxes


@pytest.mark.parametrize('size', [(320, 240), (1280, 960)])
def test_what_stands_out_is_found(size):
    image, boxes = blobs(size)
    found = find_regions(image)
    assert all(max(b.iou(f) for f in found[:4]) > 0.5 for b in boxes)
    assert len(find_regions(image, 1)) == 1 and find_regions(image, 1)[0] == found[0]
    for i, box in enumerate(found):
        assert min(box.w, box.h) >= 8 and max(box.w, box.h) <= 0.4 * size[1]
        assert all(box.iou(other) <= 0.5 for other in found[:i])


@pytest.mark.parametrize('shape', [(64, 96), (1, 1), (12, 16), (3, 400), (5000, 9)])
def test_an_empty_or_tiny_picture_has_no_regions(shape):
    assert find_regions(np.full(shape, 90, np.uint8)) == []


def test_regions_of_both_images_are_in_px_of_the_reference():
    image, boxes = blobs()
    flat = np.full((240, 320, 3), 100, np.uint8)
    half = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    scaled = regions_of(Pair(flat, half))
    assert all(max(b.iou(f) for f in scaled) > 0.5 for b in boxes)
    # moved out of the picture but for the left one
    shifted = regions_of(Pair(flat, image), (1, 0, 150, 0, 1, 0, 0, 0, 1))
    assert max(replace(boxes[0], x=210).iou(f) for f in shifted) > 0.5
    assert all(0 <= b.center[0] < 320 and 0 <= b.center[1] < 240 for b in shifted)
    alone = regions_of(Pair(None, half), (1, 0, 150, 0, 1, 0, 0, 0, 1))
    assert max(Box(30, 25, 20, 25).iou(f) for f in alone) > 0.5
    both = regions_of(Pair(np.dstack([image] * 3), np.full((240, 320), 9, np.uint8)))
    assert both == find_regions(image, 4)


# --- pseudo tracks

def test_tracks_are_read_as_they_were_written(tmp_path):
    made = [track('walk, with a comma'), track('walk_1', [2, 5, 9])]
    write_tracks(tmp_path / 't.csv', made)
    for a, b in zip(made, read_tracks(tmp_path / 't.csv'), strict=True):
        assert a.sequence == b.sequence and np.array_equal(a.frames, b.frames)
        assert np.allclose(a.boxes, b.boxes) and np.allclose(a.confidence, b.confidence)
        assert len(a) == len(b) and b.box(1).as_tuple() == tuple(a.boxes[1])
    write_tracks(tmp_path / 'none.csv', [])
    assert read_tracks(tmp_path / 'none.csv') == []


def test_a_track_is_cut_to_a_span():
    part = track('walk', [1, 4, 5, 9]).within(range(4, 9))
    assert part.frames.tolist() == [4, 5] and part.boxes[:, 0].tolist() == [24, 25]
    assert len(part.confidence) == 2 and not len(part.within(range(20, 30)))


HEADER = 'track,sequence,frame,x,y,w,h,confidence\n'
GOOD = '0,walk,3,1,2,30,40,0.9\n'


@pytest.mark.parametrize('text, message', [
    ('', ', line 1: no column confidence, frame, h, sequence, track, w, x, y'),
    ('track,sequence,frame,x,y,w,h\n', ', line 1: no column confidence'),
    (HEADER + GOOD + '0,walk,4,1,2,zero,40,0.9\n', ", line 3: .*'zero'"),
    (HEADER + GOOD + '0,walk,4,1,2\n', ", line 3: could not convert string to float: ''"),
    (HEADER + GOOD + '0,walk,3,1,2,30,40,0.9\n', ', line 3: frame 3 after frame 3'),
    (HEADER + '0,walk,-1,1,2,30,40,0.9\n', ', line 2: -1, 1, 2, 30, 40, 0.9 is no frame'),
    (HEADER + '0,walk,1.5,1,2,30,40,0.9\n', ', line 2: 1.5, 1'),
    (HEADER + '0,walk,1,1,2,0,40,0.9\n', ', line 2: 1, 1, 2, 0'),
    (HEADER + '0,walk,1,inf,2,30,40,0.9\n', ', line 2: 1, inf'),
    (HEADER + '0,walk,1,1,2,30,40,1.1\n', ', line 2: .* confidence'),
    (HEADER + GOOD + '\xff', ' is not UTF-8: ')])
def test_a_malformed_file_of_tracks_is_refused(tmp_path, text, message):
    (tmp_path / 't.csv').write_bytes(text.encode('latin-1'))
    with pytest.raises(OptionError, match=f't.csv{message}') as caught:
        read_tracks(tmp_path / 't.csv')
    assert '\n' not in str(caught.value)


def test_a_file_of_tracks_may_have_a_byte_order_mark(tmp_path):
    (tmp_path / 't.csv').write_bytes(('\ufeff' + HEADER + GOOD).encode())
    assert [t.sequence for t in read_tracks(tmp_path / 't.csv')] == ['walk']


def test_a_missing_file_of_tracks_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"tracks: .*t.csv can't be read: No such file"):
        read_tracks(tmp_path / 't.csv')


# --- how far thermal lies off

@pytest.mark.parametrize('offset, homography', [
    ((0.0, 0.0), ()), ((5.0, -3.0), ()), ((-11.0, 7.0), ()),
    ((5.0, -3.0), (1, 0, -5, 0, 1, 3, 0, 0, 1))])
@pytest.mark.parametrize('inverted', [False, True])
def test_the_offset_of_thermal_is_found(offset, homography, inverted):
    pairs = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        scene = cv2.GaussianBlur(rng.normal(120, 300, (120, 160)), (0, 0), 6).clip(0, 255)
        seen = CameraStyle(curve=(255, 0) if inverted else (0, 255), offset=offset,
                           thermal_noise=3.0).apply(
            Pair(np.dstack([scene] * 3).astype(np.uint8), scene.astype(np.uint8)), seed)
        pairs.append(seen)
    found = estimate_offset(pairs, homography)
    wanted = (0, 0) if homography else offset
    assert found.sure and (found.x, found.y) == pytest.approx(wanted, abs=0.4)


def test_where_nothing_is_in_both_images_no_offset_is_sure():
    rng = np.random.default_rng(0)
    noise = [Pair(rng.integers(0, 255, (120, 160, 3), np.uint8),
                  rng.integers(0, 255, (120, 160), np.uint8)) for _ in range(4)]
    assert not estimate_offset(noise).sure
    assert estimate_offset([]) == estimate_offset([Pair(noise[0].rgb, None)]) == (0, 0, 0, False)


# --- batches

def test_batches_hold_what_networks_expect_and_where_samples_are_from(tracks):
    source = RecordedPairs(1, SMALL, recordings(), tracks=tracks)
    batch = source.batch(range(48))
    for name, size in (('template', 32), ('search', 64)):
        for modality, channels in (('rgb', 3), ('thermal', 1)):
            image = batch.pop(f'{name}_{modality}')
            assert image.shape == (48, channels, size, size) and image.dtype == torch.uint8
        assert batch.pop(f'{name}_box').shape == (48, 4)
        present = batch.pop(f'{name}_present')
        assert present.shape == (48, 2) and (present.sum(1) >= 1).all()
        assert 1 < (present.sum(1) == 1).sum() < 24     # a modality is missing now and then
    assert batch.pop('index').tolist() == list(range(48))
    assert batch.pop('condition').dtype == torch.int64
    recorded, made_up, boxed = (batch.pop(k) for k in ('recorded', 'made_up', 'boxed'))
    dressed = 1 - recorded - made_up
    assert recorded.sum() >= 20 and made_up.any() and dressed.any() and (dressed >= 0).all()
    assert torch.equal(boxed, 1 - recorded)     # the edges of pseudo boxes are not believed
    assert torch.equal(batch.pop('held'), 1 - dressed)
    assert set(batch.pop('visible').tolist()) <= {0.0, 1.0}
    assert not batch


def test_samples_do_not_depend_on_their_company(tracks):
    source = RecordedPairs(1, SMALL, recordings(), tracks=tracks, absent=0.5)
    whole = source.batch(range(8))
    again = RecordedPairs(1, SMALL, recordings(), tracks=tracks, absent=0.5)
    for index in (5, 0, 7):
        one = again.batch([index])
        assert all(torch.equal(one[k][0], whole[k][index]) for k in whole)
    other = RecordedPairs(2, SMALL, recordings(), tracks=tracks).batch([5])
    assert not torch.equal(other['search_rgb'][0], whole['search_rgb'][5])


def test_a_process_reads_its_own_recordings(tracks):
    """Samples 0 and 1 of each batch of 4 are those of the first of two processes."""
    alone = RecordedPairs(1, SMALL, recordings(), tracks=tracks, slots=4, replay=0, absent=0.5)
    numbers = [i for i in range(96) if i % 4 < 2], [i for i in range(96) if i % 4 >= 2]
    expected = alone.batch(range(96))
    for rank, mine in enumerate(numbers):
        opened = recordings()
        batch = RecordedPairs(1, SMALL, opened, tracks=tracks, slots=4, replay=0,
                              absent=0.5).batch(mine)
        assert [bool(s.frames.read) for s in opened] == [k // 2 == rank for k in range(4)]
        assert all(torch.equal(batch[k], expected[k][mine]) for k in batch)
        assert 0 < (batch['visible'] == 0).sum() < 24
    # of each slot's own quarter
    opened = recordings()
    RecordedPairs(1, SMALL, opened, slots=4, replay=0).batch(range(3, 200, 4))
    assert [len(s.frames.read) for s in opened] == [0, 0, 0, 12]


def test_samples_of_tracks_are_as_many_as_asked_for(tmp_path):
    """Though most recordings have no track: those that have one are drawn more often."""
    write_tracks(tmp_path / 't.csv', [track('walk_2')])
    opened = recordings()
    source = RecordedPairs(1, SMALL, opened, tracks=str(tmp_path / 't.csv'), tracked=1, instant=0,
                           replay=0, absent=0, true_boxes=True)
    assert source.batch(range(40))['boxed'].all()
    assert [bool(s.frames.read) for s in opened] == [False, False, True, False]


def test_crops_of_one_region_are_of_two_pairs():
    """Of one, the target could be found by its noise."""
    flat = [Pair(np.full((HEIGHT, WIDTH, 3), 90, np.uint8),
                 np.full((HEIGHT, WIDTH), 100 + 10 * i, np.uint8)) for i in range(5)]
    for length, expected in ((5, {10}), (1, {0})):
        batch = RecordedPairs(1, SMALL, [sequence('walk', flat[:length])], instant=1, replay=0,
                              generator='center').batch(range(40))
        tops = [batch[f'{n}_thermal'].amax((1, 2, 3)).int() for n in ('search', 'template')]
        apart = {abs(int(s - t)) for s, t in zip(*tops, strict=True) if s and t}
        assert apart == expected


@pytest.mark.parametrize('content', [None, b'no array', 'three', 'whole'])
def test_a_pattern_that_can_not_be_used_is_refused(tmp_path, content):
    file = tmp_path / 'p.npy'
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        np.save(file, np.zeros((2, 2, 3), np.float32) if content == 'three' else
                np.zeros((2, 2), np.int64))
    with pytest.raises(OptionError, match=r'pattern .*p\.npy'):
        RecordedPairs(1, SMALL, recordings(), pattern=str(file), replay=1)


def test_the_pattern_of_the_sensor_is_in_dressed_scenes(tmp_path):
    stripes = np.tile(np.where(np.arange(WIDTH) % 16 < 8, 20, -20), (HEIGHT, 1)).astype(np.float32)
    np.save(tmp_path / 'p.npy', stripes)
    dark = [Pair(np.full((HEIGHT, WIDTH, 3), 40, np.uint8), (120 + stripes).astype(np.uint8))] * 3
    options = {'instant': 0, 'replay': 1, 'dressed': 1, 'pattern': str(tmp_path / 'p.npy')}
    batch = RecordedPairs(1, SMALL, [sequence('walk', dark)], **options).batch(range(16))
    seen = batch['search_thermal'][batch['search_present'][:, 1] > 0][:, 0].float()
    assert (seen.mean(1).std(1) > 5).float().mean() > 0.7       # columns differ, as the stripes do
    # another sensor's is not
    small = [replace(p, thermal=np.ascontiguousarray(p.thermal[::2, ::2])) for p in dark]
    assert RecordedPairs(1, SMALL, [sequence('walk', small)], **options).batch(range(2))


@pytest.mark.parametrize('shares, recorded', [
    ({'tracked': 0, 'instant': 0}, 0.0), ({'replay': 0}, 1.0),
    ({'tracked': 0.1, 'instant': 0.1, 'replay': 0.2}, 0.5),
    ({'tracked': 1, 'instant': 0, 'replay': 0, 'tracks': ''}, None)])
def test_shares_are_of_any_sum(tracks, shares, recorded):
    options = {'tracks': tracks, **shares}
    if recorded is None:
        with pytest.raises(OptionError, match='are all 0, or only tracked is not and there are'):
            RecordedPairs(1, SMALL, recordings(), **options)
        return
    source = RecordedPairs(1, SMALL, recordings(1), **options)
    share = np.mean([source.sample(i).recorded for i in range(200)])
    assert share == pytest.approx(recorded, abs=0.12 if 0 < recorded < 1 else 0)


def test_only_a_part_is_read_and_parts_that_touch_share_no_pair(tmp_path):
    write_tracks(tmp_path / 't.csv', [track('walk_0', range(12)), track('walk_1', range(2))])
    opened = recordings(2)
    source = RecordedPairs(1, SMALL, opened, part=[0.5, 1.0], tracks=str(tmp_path / 't.csv'),
                           replay=0, absent=0)
    source.batch(range(80))
    assert [s.frames.read for s in opened] == [set(range(6, 12))] * 2
    for length in range(1, 30):
        made = sequence('s', [pair()] * length)
        a, b = part_of(made, (0.0, 0.8)), part_of(made, (0.8, 1.0))
        assert [*a, *b] == list(range(length))


def test_an_absent_target_has_the_template_of_another_recording(tmp_path):
    opened = [sequence(f'walk_{k}', [
        replace(p, rgb=p.rgb * np.eye(3, dtype=np.uint8)[k]) for p in map(pair, range(12))])
        for k in range(2)]      # a red one and a green one
    write_tracks(tmp_path / 't.csv', [track('walk_0'), track('walk_1')])
    source = RecordedPairs(1, SMALL, opened, tracked=1, instant=0, replay=0, absent=0.5,
                           tracks=str(tmp_path / 't.csv'))
    batch = source.batch(range(64))
    seen = (batch['template_present'][:, 0] * batch['search_present'][:, 0]) > 0
    template, background = (batch[f'{n}_rgb'].float().mean((2, 3)).argmax(1)
                            for n in ('template', 'search'))
    visible = batch['visible'] > 0
    assert 16 < visible.sum() < 48
    assert torch.equal((template == background)[seen], visible[seen])
    one = RecordedPairs(1, SMALL, recordings(1), tracks=str(tmp_path / 't.csv'), absent=1,
                        tracked=1, instant=0, replay=0)
    assert one.batch(range(8))['visible'].all()     # there is no other


@pytest.mark.parametrize('kind', ['tracked', 'instant'])
def test_the_search_box_is_where_the_target_is(tracks, kind):
    shares = dict.fromkeys(('tracked', 'instant', 'replay'), 0) | {kind: 1}
    source = RecordedPairs(1, SMALL, recordings(), tracks=tracks, absent=0, generator='regions',
                           **shares)
    levels = []
    for index in range(40):
        sample = source.sample(index)
        view = sample.views[1]
        assert sample.visible and sample.recorded and not sample.boxed
        x, y = map(int, view.box.center)
        if view.present[0] and 4 <= x < 60 and 4 <= y < 60:
            levels.append(view.rgb[y - 2:y + 3, x - 2:x + 3].mean())
    assert len(levels) > 10 and np.median(levels) > 180


def test_true_boxes_are_believed_to_their_edges(tracks):
    source = RecordedPairs(1, SMALL, recordings(), tracks=tracks, replay=0, tracked=0.5,
                           instant=0.5, true_boxes=True)
    assert 0.2 < source.batch(range(40))['boxed'].mean() < 0.8


def test_made_up_scenes_are_dressed_as_the_cameras_show_them():
    """Exact boxes stay; levels and noise are those of the recordings, thermal is off as there."""
    rng = np.random.default_rng(0)
    dark = [Pair(rng.normal((30, 90, 200), 20, (HEIGHT, WIDTH, 3)).clip(0, 255).astype(np.uint8),
                 rng.normal(180, 12, (HEIGHT, WIDTH)).astype(np.uint8)) for _ in range(6)]
    made = {dressed: RecordedPairs(1, SMALL, [sequence('walk', dark)], replay=1, instant=0,
                                   dressed=dressed).batch(range(32)) for dressed in (0, 0.5, 1)}
    for key in ('search_box', 'template_box', 'visible', 'search_present', 'boxed', 'recorded'):
        assert torch.equal(made[0][key], made[1][key]), key
    assert made[0]['made_up'].all() and not made[1]['made_up'].any()
    assert 8 < made[0.5]['made_up'].sum() < 24
    there = made[1]['search_present'].bool()
    rgb = made[1]['search_rgb'][there[:, 0]].float().mean((0, 2, 3))
    assert torch.allclose(rgb, torch.tensor([30.0, 90, 200]), atol=6)
    thermal = made[1]['search_thermal'][there[:, 1]].float()
    assert thermal[thermal > 0].mean().item() == pytest.approx(180, abs=4)
    assert (thermal - thermal.mean((2, 3), keepdim=True)).std() > 8
    moved = RecordedPairs(1, SMALL, [sequence('walk', dark)], replay=1, instant=0, dressed=1,
                          offset=(9.0, 0.0)).batch(range(32))
    assert torch.equal(moved['search_rgb'], made[1]['search_rgb'])
    assert not torch.equal(moved['search_thermal'], made[1]['search_thermal'])


def test_the_registration_moves_thermal(tracks):
    """Thermal is 10 px to the left of RGB: the homography takes it back."""
    def moved(i: int) -> Pair:
        a = pair(i)
        return replace(a, thermal=np.roll(a.thermal, -10, 1))

    alike = []
    for homography in ((), (1, 0, 10, 0, 1, 0, 0, 0, 1)):
        opened = [sequence('walk_0', [moved(i) for i in range(12)])]
        source = RecordedPairs(1, SMALL, opened, tracks=tracks, tracked=1, instant=0, replay=0,
                               homography=homography)
        views = [source.sample(i).views[0] for i in range(12)]
        alike.append(np.median([np.abs(v.rgb[8:24, 8:24, 0].astype(float)
                                       - v.thermal[8:24, 8:24]).mean()
                                for v in views if all(v.present)]))
    assert alike[0] > 20 and alike[1] < 1


@pytest.mark.parametrize('limits, level', [
    ((), None), ((1000.0, 3000.0), 128), ((0.0, 2000.0), 255)])
def test_a_fixed_thermal_range_is_that_of_the_tracker(tracks, limits, level):
    counts = np.random.default_rng(0).integers(900, 1100, (HEIGHT, WIDTH)).astype(np.uint16)
    counts[20:40, 20:40] = 2000
    opened = [sequence('walk_0', [Pair(pair().rgb, counts)] * 12)]
    source = RecordedPairs(1, SMALL, opened, tracks=tracks, tracked=1, instant=0, replay=0,
                           thermal_range=limits, max_gap=0)
    found = [v.thermal.max() for i in range(16) for v in source.sample(i).views if v.present[1]]
    assert len(found) > 20
    # without a range by percentiles, of which the square is the top
    assert set(found) <= ({level} if level else set(range(250, 256)))


@pytest.mark.parametrize('options, message', [
    ({'part': [0.5]}, r'part is \[0.5\]; it must be two shares'),
    ({'part': [0.5, 0.5]}, 'part is'), ({'part': [0, 1.5]}, 'part is'),
    ({'homography': [1.0] * 8}, r'homography is \[1.0, .*; it must be 9 numbers'),
    ({'homography': [1.0] * 9}, 'homography is .* can be inverted'),
    ({'homography': ['1e-05'] * 9}, 'homography is'),
    ({'thermal_range': [3, 3]}, r'thermal_range is \[3, 3\]; it must be 2 numbers that rise'),
    ({'thermal_range': [float('nan'), 3]}, 'thermal_range is'),
    ({'tracked': 2}, 'recorded: tracked is 2'), ({'slots': 0}, 'slots is 0'),
    ({'offset': [1.0]}, r'offset is \[1.0\]; it must be 2'), ({'dressed': -1}, 'dressed is'),
    ({'generator': 'magic'}, 'one of all, regions, random, center'),
    ({'tracked': 0, 'instant': 0, 'replay': 0}, 'tracked, instant and replay are all 0'),
    ({'tracks': 'none.csv'}, "none.csv can't be read"), ({'color': 1}, "'color' is unknown")])
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        RecordedPairs(0, SMALL, recordings(1), **options)


def test_recordings_that_can_not_be_used_are_refused(tracks):
    with pytest.raises(OptionError, match="option 'root' must be given"):
        RecordedPairs(0, SMALL)
    with pytest.raises(OptionError, match='there is no pair in any sequence'):
        RecordedPairs(0, SMALL, [])
    with pytest.raises(OptionError, match='has pair 11 of walk_0, which has 5'):
        RecordedPairs(0, SMALL, recordings(1, 5), tracks=tracks)
