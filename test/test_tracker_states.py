"""The tracker's geometry and states, with a network that sees what is bright and nothing else."""
from __future__ import annotations

from dataclasses import replace
import math

import numpy as np
import pytest
from tracker_kit import BLIND, STEP, SURE, UNSURE, Oracle, moved, scene

from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.search import Scan
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box, Pair, PairError, State


@pytest.fixture
def student():
    return Oracle()


@pytest.fixture
def tracker(student):
    return Tracker(student)


# --- geometry

@pytest.mark.parametrize('names', ['rgb thermal', 'rgb', 'thermal'])
@pytest.mark.parametrize('size, thermal_size, box, step', [
    ((640, 480), (640, 480), Box(200, 150, 60, 90), (4, -2)),
    ((480, 640), (240, 320), Box(200, 150, 60, 90), (4, 6)),       # portrait
    ((1280, 720), (320, 256), Box(500, 300, 120, 80), (-9, 4)),    # another aspect
    ((640, 480), (640, 480), Box(300, 200, 8, 8), (1, 1)),
    ((640, 480), (160, 120), Box(60, 40, 400, 400), (3, 0)),
    ((640, 480), (640, 480), Box(0, 0, 640, 480), (0, 0)),         # all there is to see
    ((96, 64), (96, 64), Box(30, 10, 30, 40), (1, 0)),             # an image like a crop
    ((1920, 1080), (640, 512), Box(1500, 800, 300, 200), (5, 3))])
def test_the_box_stays_on_the_target(names, size, thermal_size, box, step, tracker):
    tracker.init(scene(box, size, thermal_size), box)
    for i in range(1, 16):
        truth = moved(box, step, i)
        e = tracker.update(scene(truth, size, thermal_size, i, names))
        assert e.state == State.TRACKING
        assert e.box.iou(truth) > 0.75, (i, e.box, truth)
        assert {'rgb': e.weight_rgb, 'thermal': e.weight_thermal}.get(names, 1.0) == 1.0


@pytest.mark.parametrize('step', [(-6, 0), (0, -6), (6, 0), (0, 6), (-6, -6)])
def test_a_target_that_leaves_is_held_at_the_rim(step, tracker):
    start = Box(270, 190, 100, 100)
    tracker.init(scene(start), start)
    for i in range(1, 80):
        truth = moved(start, step, i)
        e = tracker.update(scene(truth, number=i))
        b = e.box
        assert b.x >= 0 and b.y >= 0 and b.x + b.w <= 640 and b.y + b.h <= 480
        try:
            visible = truth.checked(640, 480, 12.0)
        except ValueError:
            break
        assert e.state.in_sight and math.dist(b.center, visible.center) < 30
    else:
        pytest.fail('the target never left')


def test_thermal_is_the_reference_where_there_was_no_rgb(tracker):
    """Boxes stay in the thermal image's pixels, also while it is missing."""
    big = Box(400, 300, 160, 120)
    small = Box(100, 75, 40, 30)
    sizes = {'size': (1280, 960), 'thermal_size': (320, 240)}
    e = tracker.init(scene(big, **sizes, names='thermal'), small)
    assert (e.weight_rgb, e.weight_thermal) == (0.0, 1.0)
    # RGB is believed alone once it was seen to agree
    sequence = ['thermal', *['rgb thermal'] * 15, 'rgb', 'rgb', 'thermal']
    for i, names in enumerate(sequence, 1):
        e = tracker.update(scene(moved(big, (8, 4), i), **sizes, number=i, names=names))
        assert e.state == State.TRACKING
        assert e.box.iou(moved(small, (2, 1), i)) > 0.75, (i, names)


def test_a_modality_that_was_not_there_at_first_is_believed_alone_once_it_has_shown(tracker):
    box = Box(200, 150, 60, 90)
    tracker.init(scene(box, names='thermal'), box)
    assert tracker.update(scene(box, number=1, names='rgb')).confidence == 0
    for i in range(2, 17):
        tracker.update(scene(box, number=i))
    assert tracker.update(scene(box, number=17, names='rgb')).state == State.TRACKING


# --- states

def test_from_tracking_to_lost_and_back(tracker, student):
    tracker.config = TrackerConfig(lost_frames=3, lost_after=0.2)
    box = Box(200, 150, 60, 90)
    tracker.init(scene(box), box)
    seen = []
    for i, logit in enumerate([SURE, -0.5, SURE, *[BLIND] * 12, -0.5, SURE, SURE], 1):
        student.logit = logit
        e = tracker.update(scene(box, number=i))
        seen.append(e.state.name[0])
        if not e.state.in_sight:
            assert e.confidence < tracker.config.tracking_threshold
    # uncertain until the third weak frame; 0.2 s after it, seven frames on, lost; -0.5 is too
    # little to be taken up again
    assert ''.join(seen) == 'TUT' 'UU' 'SSSSSSS' 'LLL' 'L' 'TT'


def test_what_a_second_look_denies_is_not_believed(tracker, student, monkeypatch):
    tracker.config = TrackerConfig(lost_frames=1)
    box = Box(200, 150, 60, 90)
    tracker.init(scene(box), box)
    student.logit = BLIND
    tracker.update(scene(box, number=1))
    looks = iter([SURE, BLIND, BLIND])
    monkeypatch.setattr(student, 'search', lambda *a: (
        setattr(student, 'logit', next(looks)), Oracle.search(student, *a))[1])
    e = tracker.update(scene(box, number=2))
    assert e.state == State.SEARCHING and e.confidence < 0.01


STAMPS = {
    'equal': lambda i: 10 * STEP if i > 10 else i * STEP,
    'back once': lambda i: i * STEP if i < 10 else (i - 8) * STEP,
    'backwards': lambda i: (100 - i) * STEP,
    'pause of 7 s': lambda i: i * STEP + (7_000_000_000 if i >= 10 else 0),
    '1 ns apart': lambda i: i,
    'a burst, then a pause': lambda i: i if i < 10 else i * STEP,
    'all zero': lambda i: 0,
    'of 2100': lambda i: 4_102_444_800_000_000_000 + i * STEP,
}


@pytest.mark.parametrize('stamps', STAMPS.values(), ids=STAMPS)
def test_strange_stamps_do_not_lose_the_target(stamps, tracker):
    box = Box(200, 150, 60, 90)
    tracker.init(replace(scene(box), stamp=stamps(0)), box)
    for i in range(1, 25):
        truth = moved(box, (5, 2), i)
        e = tracker.update(replace(scene(truth, number=i), stamp=stamps(i)))
        assert e.state == State.TRACKING and e.box.iou(truth) > 0.7, i


def test_lost_stays_lost_when_the_clock_goes_back(tracker, student):
    tracker.config = TrackerConfig(lost_frames=1, lost_after=0.5)
    box = Box(200, 150, 60, 90)
    tracker.init(replace(scene(box), stamp=10**12), box)
    student.logit = BLIND
    for i in range(1, 25):
        state = tracker.update(replace(scene(box, number=i), stamp=10**12 + i * STEP)).state
    assert state == State.LOST
    assert tracker.update(replace(scene(box, number=30), stamp=0)).state == State.LOST


@pytest.mark.parametrize('names', ['rgb', 'thermal', 'rgb thermal'])
def test_nothing_is_undone_where_all_there_is_is_frozen(names, tracker, student):
    """With no other picture to believe, the box stays where the frozen one shows the target."""
    box = Box(200, 150, 60, 90)
    tracker.init(scene(box), box)
    for i in range(1, 12):
        pair = scene(moved(box, (9, 0), i), number=i, names=names)
        tracker.update(pair)
    rest = []
    for i in range(12, 40):
        student.logit = SURE if i < 18 else -1.0  # so unsure that the motion has a say
        rest.append(tracker.update(replace(pair, stamp=i * STEP)))
    assert rest[-1].frozen == tuple(names.split())
    for e in rest[5:]:
        assert math.dist(e.box.center, moved(box, (9, 0), 11).center) < 5


# --- a setting replaced in mid-flight

def test_a_new_homography_counts_from_the_next_frame(tracker):
    box = Box(200, 150, 60, 90)
    tracker.init(scene(box), box)
    tracker.config = TrackerConfig(homography=(1, 0, 20, 0, 1, 10, 0, 0, 1))
    for i in range(1, 15):
        e = tracker.update(scene(box, number=i, names='thermal'))
    assert e.box.center == pytest.approx((250, 205), abs=3)
    tracker.config = TrackerConfig()
    for i in range(15, 30):
        e = tracker.update(scene(box, number=i, names='thermal'))
    assert e.box.center == pytest.approx((230, 195), abs=3)


def test_probes_can_be_turned_off_and_on(tracker, student):
    box = Box(200, 150, 60, 90)
    tracker.init(scene(box), box)
    counts = []
    for first, interval in ((1, 0.1), (21, 0.0), (41, 0.1)):
        tracker.config = TrackerConfig(probe_interval=interval)
        student.asked = 0
        for i in range(first, first + 20):
            tracker.update(scene(box, number=i))
        counts.append(student.asked - 20)
    assert counts[0] > 4 and counts[1] == 0 and counts[2] > 4


def test_frozen_pictures_can_be_let_in_again(tracker):
    box = Box(200, 150, 60, 90)
    first = scene(box)
    tracker.init(first, box)
    for i in range(1, 40):
        e = tracker.update(Pair(first.rgb, scene(box, number=i).thermal, i * STEP))
        if i == 20:
            assert e.frozen == ('rgb',) and e.weight_rgb == 0
            tracker.config = TrackerConfig(frozen_after=0.0)
    assert e.frozen == () and e.weight_rgb == 0.5


# --- a camera that shows old pictures

def shown(box: Box, number: int, rgb: int) -> Pair:
    """The target on its way in thermal, and RGB as it was in another frame."""
    now, then = (scene(moved(box, (12, 0), i), number=i) for i in (number, rgb))
    return Pair(then.rgb, now.thermal, now.stamp)


def test_a_picture_that_is_overdue_does_not_hold_the_box(tracker):
    """Thermal is followed from RGB's first old picture on, and nothing is undone later."""
    box = Box(60, 150, 40, 60)
    tracker.init(scene(box), box)
    for i in range(1, 36):
        e = tracker.update(shown(box, i, i if not 15 <= i < 30 else 14))
        assert e.state == State.TRACKING and e.box.iou(moved(box, (12, 0), i)) > 0.75, i
        assert e.weight_thermal == (1.0 if 15 <= i < 30 else 0.5)
        assert e.frozen == (('rgb',) if 22 <= i < 30 else ())


def test_the_old_picture_stays_where_the_other_camera_is_not_believed(tracker, monkeypatch):
    box = Box(60, 150, 40, 60)
    tracker.init(scene(box), box)
    monkeypatch.setattr(tracker._reliability, '_chance', {'rgb': 1.0, 'thermal': 0.0})
    monkeypatch.setattr(tracker._reliability, 'due', lambda stamp: '')
    for i in range(1, 22):
        e = tracker.update(shown(box, i, min(i, 14)))
        assert e.weight_thermal == 0.5


def test_a_slow_camera_s_pictures_are_used_until_the_next_and_prove_nothing(tracker):
    """Thermal disagrees with RGB's old pictures, and is believed alone none the less."""
    box = Box(60, 150, 30, 60)
    tracker.init(scene(box), box)
    for i in range(1, 30):
        e = tracker.update(shown(box, i, max(i - 1, 0) // 3 * 3 + (i > 0)))
        assert e.weight_thermal == 0.5
    e = tracker.update(scene(moved(box, (12, 0), 30), number=30, names='thermal'))
    assert e.state == State.TRACKING and e.confidence > 0.9


# --- what goes wrong leaves the target as it was

def test_a_network_that_fails_in_init_leaves_the_old_target(tracker, student):
    box, other = Box(200, 150, 60, 90), Box(20, 20, 60, 90)
    tracker.init(scene(box), box)
    tracker.update(scene(box, number=1))
    student.fails = True
    with pytest.raises(RuntimeError, match='out of memory'):
        tracker.init(scene(other, size=(320, 240), number=2, names='thermal'), other)
    assert tracker.has_target
    e = tracker.update(scene(moved(box, (3, 3)), number=3))
    assert e.state == State.TRACKING and e.box.iou(moved(box, (3, 3))) > 0.8


@pytest.mark.parametrize('reference', ['rgb', 'thermal'])
def test_a_refused_pair_leaves_no_trace(reference, student):
    box, estimates = Box(200, 150, 60, 90), []
    names = 'thermal' if reference == 'thermal' else 'rgb thermal'
    for spoiled in (False, True):
        tracker = Tracker(student)
        tracker.init(scene(box, names=names), box)
        for i in range(1, 30):
            if spoiled and i % 7 == 3:
                with pytest.raises(PairError, match=f'{reference} image is 320x240, the target '
                                   'was given in 640x480; give the target again'):
                    tracker.update(scene(box, (320, 240), number=100 + i))
            e = tracker.update(scene(moved(box, (4, 1), i), number=i))
        estimates.append((e.box, e.confidence, e.state, e.weight_thermal, e.frozen))
    assert estimates[0] == estimates[1]


def test_a_second_target_takes_over_with_a_reference_of_its_own(tracker):
    box, other = Box(200, 150, 60, 90), Box(50, 40, 30, 30)
    tracker.init(scene(box), box)
    tracker.update(scene(box, number=1))
    tracker.init(scene(other, (320, 240), number=2, names='thermal'), other)
    e = tracker.update(scene(other, (320, 240), number=3, names='thermal'))
    assert e.state == State.TRACKING and e.box.iou(other) > 0.8


# --- anything at all

@pytest.mark.parametrize('seed', range(6))
def test_whatever_comes_the_answer_is_in_its_bounds(seed, tracker, student):
    rng = np.random.default_rng(seed)
    box = Box(*rng.uniform((-20, -20, 8, 8), (300, 200, 400, 400)))
    size = tuple(int(v) for v in rng.integers(200, 500, 2))
    tracker.init(scene(box, size), box.checked(*size))
    stamp = 0
    for i in range(1, 100):
        student.logit = float(rng.choice([SURE, UNSURE, -1.0, BLIND, -200.0, 200.0]))
        box = moved(box, tuple(rng.normal(0, 15, 2)))
        stamp += int(rng.choice([STEP, STEP, 0, 1, -STEP, 5 * 10**9, -10**10]))
        thermal_size = tuple(int(v) for v in rng.integers(16, 700, 2)) if i % 10 == 0 else size
        pair = scene(box, size, thermal_size, i,
                     rng.choice(['rgb thermal', 'rgb', 'thermal']))
        if i % 13 == 0:
            tracker.config = TrackerConfig(
                lost_frames=int(rng.integers(1, 5)), lost_threshold=float(rng.uniform(0, 0.5)),
                homography=(1, 0, float(rng.normal(0, 99)), 0, 1, 0, 0, 0, 1),
                frozen_after=float(rng.choice([0, 0.1])), thermal_range='percentile')
        e = tracker.update(replace(pair, stamp=stamp))
        assert 0 <= e.confidence <= 1 and e.weight_rgb + e.weight_thermal == pytest.approx(1)
        b = e.box
        assert b.w > 0 and b.h > 0 and all(map(math.isfinite, b.as_tuple()))
        assert 0 <= b.center[0] <= size[0] and 0 <= b.center[1] <= size[1]
        assert e.state.in_sight or e.confidence < tracker.config.tracking_threshold
        assert e.state != State.IDLE and tracker.has_target


@pytest.mark.parametrize('side', [4, 8, 40])
@pytest.mark.parametrize('growth', [1.01, 1.5, 1000.0])
def test_the_scan_lists_its_places_ring_by_ring(side, growth):
    """Nearest first, each once, and in the end all half-overlapping windows of the image."""
    scan = Scan(Box(300, 100, side, side), 0, 4.0)
    for _ in range(500):
        scan.next_place((640, 480), growth)
    step = 2 * side
    x0, y0 = 300 + side / 2, 100 + side / 2
    n = 640 // step
    expected = sorted(
        (max(abs(i), abs(j)), abs(i) + abs(j), x0 + i * step, y0 + j * step)
        for i in range(-n, n + 1) for j in range(-n, n + 1)
        if 0 <= x0 + i * step <= 640 and 0 <= y0 + j * step <= 480)
    assert scan._places == [(x, y) for _, _, x, y in expected]
