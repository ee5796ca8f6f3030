"""Cameras whose registration is off: the offset is seen in the pictures, and in nothing else."""
from __future__ import annotations

from functools import cache
from itertools import count

import cv2
import numpy as np
import pytest
from tracker_kit import Oracle

from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
from rgbt_tracker_ros.data.sources import PairSource
from rgbt_tracker_ros.data.suite_video import suite_video
from rgbt_tracker_ros.tracking import alignment
from rgbt_tracker_ros.tracking.alignment import EVERY, Alignment
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.geometry import Crop, thermal_to_rgb
from rgbt_tracker_ros.tracking.shifts import correlation, edges, peak
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.tracking.views import Views
from rgbt_tracker_ros.types import Box, BoxError, Pair

MARGIN = 24  # px cut off at every side, so that a shift shows nothing made up
STEP = 33_333_333  # ns


@cache
def scene(video: int = 1, frame: int = 0) -> Pair:
    """A pair of 320x240 px whose images lie on one another."""
    return suite_video('aligned', video, seed=5).pair(frame)


def shifted(pair: Pair, shift: tuple[int, int]) -> Pair:
    """A pair of 272x192 px; in its thermal image all lies `shift` px right and down."""
    (x, y), (h, w) = shift, pair.thermal.shape
    cut = slice(MARGIN, h - MARGIN), slice(MARGIN, w - MARGIN)
    moved = slice(MARGIN - y, h - MARGIN - y), slice(MARGIN - x, w - MARGIN - x)
    return Pair(np.ascontiguousarray(pair.rgb[cut]), np.ascontiguousarray(pair.thermal[moved]),
                pair.stamp)


def look(watch: Alignment, pair: Pair, homography: tuple[float, ...] = ()) -> tuple[float, float]:
    """Show a pair until it is looked at; return what is thought of the offset."""
    h, w = pair.thermal.shape
    for _ in range(EVERY):
        watch.see(pair.rgb, pair.thermal, thermal_to_rgb(homography, (w, h), pair.size))
    return watch.offset


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 10, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


CHANGES = {
    'as it is': lambda pair: pair,
    'inverted': lambda pair: Pair(pair.rgb, 255 - pair.thermal),
    'noisy': lambda pair: Pair(noisy(pair.rgb), noisy(pair.thermal)),
    'little contrast': lambda pair: Pair(pair.rgb, (pair.thermal // 8 + 100).astype(np.uint8)),
    'small thermal': lambda pair: Pair(pair.rgb, cv2.resize(
        pair.thermal, (136, 96), interpolation=cv2.INTER_AREA)),
    'large RGB': lambda pair: Pair(cv2.resize(pair.rgb, (1088, 768)), pair.thermal)}


@pytest.mark.parametrize('shift', [(12, -5), (-18, 9), (0, 7), (4, 0)])
@pytest.mark.parametrize('change', CHANGES)
def test_a_known_offset_is_found(change, shift):
    watch = Alignment(0.075)
    for video in (1, 2, 3):
        pair = CHANGES[change](shifted(scene(video), shift))
        found = look(watch, pair)
    scale = pair.size[0] / 272
    assert found == pytest.approx([v * scale for v in shift], abs=1.1 * scale)


@pytest.mark.parametrize('video', range(1, 6))
def test_one_pair_is_mostly_enough_and_six_always(video):
    """The offset of the made-up suite itself, which is drawn and not cut, in parts of a pixel."""
    made = suite_video('misaligned', video, seed=5)
    watch = Alignment(0.075)
    for frame in range(0, 36, EVERY):
        look(watch, made.pair(frame))
    found = made.truth_thermal[0] - made.truth[0]
    if np.hypot(*found[:2]) > 0.006 * 320:
        assert watch.offset == pytest.approx(found[:2], abs=1.6)


@pytest.mark.parametrize('homography, wanted', [
    ((1, 0, -12, 0, 1, 5, 0, 0, 1), (0, 0)), ((1, 0, -20, 0, 1, 12, 0, 0, 1), (-8, 7)),
    ((0.5, 0, 70, 0, 0.5, 50, 0, 0, 1), None)])
def test_what_the_homography_says_is_no_offset(homography, wanted):
    """Of the last one the thermal image covers a quarter of RGB, at half its true size."""
    watch = Alignment(0.075)
    for video in (1, 2, 3):
        found = look(watch, shifted(scene(video), (12, -5)), homography)
    assert found == (pytest.approx(wanted, abs=0.8) if wanted else (0, 0))


@cache
def clip() -> list[Pair]:
    return list(PairSource(SMOKE.rgb, SMOKE.thermal))


def flat(level: int) -> np.ndarray:
    return np.full((240, 320), level, np.uint8)


def static(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (240, 320), np.uint8)


NOTHING = {
    'other scenes': lambda n: Pair(scene(n + 1).rgb, scene(n + 4).thermal),
    'one other scene': lambda n: Pair(scene(2, 6 * n).rgb, scene(5, 6 * n).thermal),
    'the true place': lambda n: scene(n + 1),
    'hardly off': lambda n: shifted(scene(n + 1), (1, -1)),
    'too far off': lambda n: shifted(scene(n + 1), (0, 23)),
    'flat': lambda n: Pair(np.dstack([flat(90)] * 3), flat(n)),
    'flat thermal': lambda n: Pair(scene(n + 1).rgb, flat(n)),
    'noise': lambda n: Pair(np.dstack([static(n)] * 3), static(n + 100)),
    'real cameras': lambda n: clip()[4 * n],
    'other real things': lambda n: Pair(clip()[4 * n].rgb, clip()[4 * n].thermal[::-1, ::-1]),
    'too narrow': lambda n: Pair(*(im[:50] for im in (
        shifted(scene(n + 1), (9, 0)).rgb, shifted(scene(n + 1), (9, 0)).thermal)))}


@pytest.mark.parametrize('pairs', NOTHING)
def test_nothing_moves_without_evidence(pairs):
    watch = Alignment(0.075)
    for number in range(6):
        assert look(watch, NOTHING[pairs](number)) == (0, 0)


def test_the_offset_may_change_and_is_given_up_for_another_rig():
    watch = Alignment(0.075)
    for number in range(4):
        found = look(watch, shifted(scene(1, 6 * number), (10, 4)))
    assert found == pytest.approx((10, 4), abs=0.8)
    moves = []
    for number in range(16):
        found = look(watch, shifted(scene(1, 6 * number), (-9, 4)))
        moves += [found] if moves[-1:] != [found] else []
    assert found == pytest.approx((-9, 4), abs=0.8) and len(moves) <= 5
    assert look(watch, NOTHING['flat'](0)) == (0, 0)                    # another size
    assert look(watch, shifted(scene(1), (10, 4))) == pytest.approx((10, 4), abs=1.2)
    assert look(watch, NOTHING['flat thermal'](0), (1, 0, 1, 0, 1, 0, 0, 0, 1)) == (0, 0)


@pytest.mark.parametrize('reach, looks', [(0.075, 10), (0.0, 0)])
def test_one_pair_in_so_many_is_looked_at(reach, looks, monkeypatch):
    calls = count()
    monkeypatch.setattr(alignment, 'correlation', lambda *a: (next(calls), correlation(*a))[1])
    watch, pair = Alignment(reach), shifted(scene(), (9, 2))
    for _ in range(10 * EVERY):
        watch.see(pair.rgb, pair.thermal, np.eye(3))
    assert next(calls) == looks
    assert (watch.offset != (0, 0)) == bool(reach)


@pytest.mark.parametrize('reach', [0.15, 0.2])
def test_a_reach_of_more_than_the_image_is_cut_to_it(reach):
    """272x153, as wide as cameras are; before, nothing was looked at from 0.18 on."""
    watch = Alignment(reach)
    for video in (1, 2, 3):
        pair = shifted(scene(video), (20, 4))
        found = look(watch, Pair(pair.rgb[:153], pair.thermal[:153]))
    assert found == pytest.approx((20, 4), abs=1.1)


@pytest.mark.parametrize('shift', [(0, 0), (3, -8), (-17, 17)])
def test_a_correlation_has_its_peak_at_the_shift(shift):
    pair = shifted(scene(), shift)
    found = correlation(edges(pair.rgb), edges(pair.thermal), 20)
    assert found.shape == (41, 41)
    best = peak(found)
    assert (best.x, best.y) == pytest.approx(shift, abs=0.8) and best.sharpness > 7
    assert np.median(np.abs(found)) == pytest.approx(0.67, abs=0.25)    # deviation 1 elsewhere


# --- what the tracker makes of it

BOX = Box(110, 70, 60, 50)


@pytest.mark.parametrize('first', ['both', 'thermal'])
def test_crops_show_one_place(first):
    """Whichever image is the reference, both crops are cut where the other one has it."""
    aligned, off = shifted(scene(), (0, 0)), shifted(scene(), (11, -6))
    start = off if first == 'both' else Pair(None, off.thermal)
    views = Views(TrackerConfig()).started(start)
    for number in range(1, 2 * EVERY):
        views.see(Pair(off.rgb, off.thermal, number * STEP))
    x, y = (0, 0) if first == 'both' else (11, -6)
    crop = Crop.around(Box(BOX.x + x, BOX.y + y, BOX.w, BOX.h), 2, 96)
    wanted = Crop.around(BOX, 2, 96)
    for found, image in zip(views.cut(crop), (aligned.rgb, aligned.thermal), strict=True):
        assert np.abs(found.astype(int) - wanted.cut(image)).mean() < 4


@pytest.mark.parametrize('names', ['rgb', 'thermal'])
def test_pairs_without_both_are_left_out(names, monkeypatch):
    monkeypatch.setattr(alignment, 'correlation', None)     # would be called
    pair = shifted(scene(), (11, -6))
    alone = Pair(pair.rgb, None) if names == 'rgb' else Pair(None, pair.thermal)
    views = Views(TrackerConfig()).started(alone)
    for number in range(2 * EVERY):
        views.see(Pair(alone.rgb, alone.thermal, number * STEP))
    assert views._alignment.offset == (0, 0)


def test_an_old_picture_beside_a_new_one_tells_nothing_of_the_offset(monkeypatch):
    monkeypatch.setattr(alignment, 'correlation', None)     # would be called
    pair = shifted(scene(), (11, -6))
    views = Views(TrackerConfig()).started(Pair(pair.rgb, None))
    for number in range(1, 2 * EVERY):
        views.see(Pair(pair.rgb, pair.thermal + np.uint8(number), number * STEP))
    assert views._alignment.offset == (0, 0)


class Memory(Oracle):
    """Keeps what it was given to encode."""

    def __init__(self):
        super().__init__()
        self.given = []

    def encode(self, rgb, thermal, box):
        self.given.append((rgb, thermal, box))
        return super().encode(rgb, thermal, box)


def follow(pairs, config=None):
    """Start a tracker with the first pair, and let it see the others."""
    tracker = Tracker(Memory(), config)
    pairs = [Pair(p.rgb, p.thermal, i * STEP) for i, p in enumerate(pairs)]
    tracker.init(pairs[0], BOX)
    for pair in pairs[1:]:
        tracker.update(pair)
    return tracker, pairs[0]


def dim(pair: Pair) -> Pair:
    """A pair whose RGB image shows noise alone, as by night."""
    return Pair(static(0)[:192, :272, None].repeat(3, 2), pair.thermal)


@pytest.mark.parametrize('first, times', [(lambda p: p, 1), (dim, 2)])
def test_the_template_is_cut_again_once_the_offset_is_known(first, times):
    off, true = shifted(scene(), (11, -6)), shifted(scene(), (0, 0))
    tracker, start = follow([first(off)] + [off] * 4 * EVERY)
    given = tracker._student.given
    assert len(given) == times
    crop = Crop.around(BOX, Oracle.config.template_factor, Oracle.config.template_size)
    rgb, thermal, box = given[-1]
    assert np.array_equal(rgb, crop.cut(start.rgb)) and box == crop.to_crop(BOX)
    assert np.abs(thermal.astype(int) - crop.cut(true.thermal)).mean() < 4
    assert np.abs(thermal.astype(int) - crop.cut(off.thermal)).mean() > 6


OFF = 11, -6    # px by which thermal lies off in what follows
IN_THERMAL = Box(BOX.x + OFF[0], BOX.y + OFF[1], BOX.w, BOX.h)


def marked(first, names='thermal', count=4 * EVERY):
    """Follow what is at BOX in RGB and was marked where thermal shows it."""
    off = shifted(scene(), OFF)
    tracker = Tracker(Memory())
    pairs = [Pair(p.rgb, p.thermal, i * STEP) for i, p in enumerate([first(off)] + [off] * count)]
    boxes = [tracker.init(pairs[0], IN_THERMAL, names).box]
    boxes += [tracker.update(pair).box for pair in pairs[1:]]
    return tracker, pairs[0], boxes


@pytest.mark.parametrize('first', [lambda p: p, dim], ids=['known at once', 'known later'])
def test_a_box_that_was_marked_in_thermal_goes_where_thermal_lies(first):
    """The template is of the target in both images, whenever the offset becomes known."""
    tracker, start, boxes = marked(first)
    assert boxes[-1].center == pytest.approx(BOX.center, abs=1.2)
    now = tracker._given.box
    assert now.center == pytest.approx(BOX.center, abs=1.2)
    rgb, thermal, box = tracker._student.given[-1]
    crops = [Crop.around(b, Oracle.config.template_factor, Oracle.config.template_size)
             for b in (now, IN_THERMAL)]
    assert np.abs(rgb.astype(int) - crops[0].cut(start.rgb)).max() <= 2
    assert np.abs(thermal.astype(int) - crops[1].cut(start.thermal)).max() <= 2
    assert box.as_tuple() == pytest.approx(crops[0].to_crop(now).as_tuple())


def test_a_box_that_was_marked_in_rgb_stays_where_it_is():
    for first in (lambda p: p, dim):
        _, _, boxes = marked(first, 'rgb')
        assert all(box.center == pytest.approx(IN_THERMAL.center) for box in boxes)


def test_a_box_of_thermal_alone_is_not_moved():
    _, _, boxes = marked(lambda p: Pair(None, p.thermal))
    assert all(box.center == pytest.approx(IN_THERMAL.center) for box in boxes)


def test_what_moved_once_does_not_move_again():
    """The template follows later evidence; where the target is by then is the tracker's to say."""
    tracker, _, boxes = marked(dim)
    known = len(tracker._student.given)
    for number in range(60, 60 + 16 * EVERY):
        pair = shifted(scene(), (-9, 4))
        box = tracker.update(Pair(pair.rgb, pair.thermal, number * STEP)).box
    assert tracker._views._alignment.offset == pytest.approx((-9, 4), abs=1)
    assert len(tracker._student.given) > known
    assert box.center == pytest.approx(boxes[-1].center)
    assert tracker._given.box.center == pytest.approx(
        (IN_THERMAL.center[0] + 9, IN_THERMAL.center[1] - 4), abs=1)


def test_a_box_stays_where_it_lay_while_the_offset_is_looked_for_anew():
    tracker, _, _ = marked(lambda p: p)
    known, box = len(tracker._student.given), tracker._given.box
    tracker.config = TrackerConfig(alignment_reach=0)       # forgets it
    later = shifted(scene(), OFF)
    tracker.update(Pair(later.rgb, later.thermal, 99 * STEP))
    assert tracker._views._alignment.offset == (0, 0)
    assert tracker._given.box == box and len(tracker._student.given) == known


def test_who_takes_over_has_the_box_where_thermal_lies():
    old, start, boxes = marked(dim)
    new = Tracker(Memory())
    new.take_over(old, start, IN_THERMAL)
    for one, other in zip(old._student.given[-1][:2], new._student.given[-1][:2], strict=True):
        assert np.array_equal(one, other)
    later = shifted(scene(), OFF)
    found = new.update(Pair(later.rgb, later.thermal, 99 * STEP)).box
    assert found.center == pytest.approx(boxes[-1].center)


def test_a_box_that_leaves_the_image_with_the_offset_is_refused():
    off = shifted(scene(), OFF)
    tracker = Tracker(Memory())
    with pytest.raises(BoxError, match='px a side are needed'):
        tracker.init(off, Box(2, 70, 11, 50), 'thermal')
    assert not tracker.has_target


def test_it_can_be_switched_off():
    off = shifted(scene(), (11, -6))
    tracker, start = follow([off] * 2 * EVERY, TrackerConfig(alignment_reach=0))
    crop = Crop.around(BOX, Oracle.config.template_factor, Oracle.config.template_size)
    assert np.array_equal(tracker._student.given[0][1], crop.cut(start.thermal))
    tracker.config = TrackerConfig()
    for number in range(EVERY):
        tracker.update(Pair(off.rgb, off.thermal, (number + 20) * STEP))
    assert len(tracker._student.given) == 2     # and on again, while it follows


def test_who_takes_over_knows_the_offset():
    off = shifted(scene(), (11, -6))
    old, start = follow([dim(off)] + [off] * 4 * EVERY)
    new = Tracker(Memory())
    new.take_over(old, start, BOX)
    assert np.array_equal(new._student.given[-1][1], old._student.given[-1][1])


def test_the_shipped_clip_is_followed_as_without_it():
    """Registered cameras lose nothing: to the last digit."""
    boxes = read_boxes(SMOKE.groundtruth)
    answers = []
    for reach in (0.0, 0.075):
        tracker = Tracker(Oracle(), TrackerConfig(alignment_reach=reach))
        answers.append([tracker.init(clip()[0], boxes[0]).box]
                       + [tracker.update(pair).box for pair in clip()[1:]])
        assert tracker._views._alignment.offset == (0, 0)
    assert answers[0] == answers[1]


@pytest.mark.parametrize('reach', [-0.1, 0.3, float('nan')])
def test_a_reach_that_makes_no_sense_is_refused(reach):
    with pytest.raises(ValueError, match='alignment_reach'):
        TrackerConfig(alignment_reach=reach)
