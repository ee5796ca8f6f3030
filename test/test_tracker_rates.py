"""A thermal camera slower than RGB, or one that loses pictures: not one that comes and goes."""
from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from tracker_kit import BLIND, STEP, Oracle, Response, moved, scene

from rgbt_tracker_ros.tracking.confidence import VOTING_POWER, agreed_box
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box, Pair, State

NOWHERE = Box(-100, -100, 10, 10)
RNG = np.random.default_rng(0)
LOST = RNG.random(700) < 0.05


def names(i: int, every: int) -> str:
    """Return what pair i holds; `every` 0: thermal is lost now and then."""
    has_thermal = not LOST[i] if every == 0 else i % every == 0
    return 'rgb thermal' if has_thermal else 'rgb'


@pytest.mark.parametrize('every', [1, 2, 3, 4, 7, 0])
@pytest.mark.parametrize('believed', [True, False])
def test_the_search_gets_to_the_other_end_of_the_image(every, believed):
    """Also where what RGB shows alone is not believed, and is not looked at."""
    tracker = Tracker(Oracle())
    box, there = Box(60, 60, 30, 40), Box(500, 380, 30, 40)
    tracker.init(scene(box), box)
    if not believed:
        for _ in range(4):
            tracker._reliability.learn('rgb', 0.0, 0)
    for i in range(1, 30):
        tracker.update(scene(NOWHERE, number=i, names=names(i, every)))
    for i in range(30, 700):
        if tracker.update(scene(there, number=i, names=names(i, every))).state.in_sight:
            break
    looks = every if every and not believed else 1
    assert i < 30 + 130 * max(looks, 1)


class Two(Oracle):
    """Sees every white thing, and likes the right one a little better."""

    def search(self, template, rgb, thermal):
        cells = self.config.search_size // 8
        seen = ((rgb.min(2) if rgb is not None else thermal) > 200).astype(np.uint8)
        count, _, stats, centers = cv2.connectedComponentsWithStats(seen)
        logits = np.full((cells, cells), BLIND, np.float32)
        boxes = np.zeros((4, cells, cells), np.float32)
        boxes[2:] = 48
        for k in sorted(range(1, count), key=lambda k: centers[k][0]):
            x, y, w, h = stats[k, :4]
            row, column = (min(int(v) // 8, cells - 1) for v in centers[k][::-1])
            logits[row, column] = 2.0 if logits.max() == BLIND else 2.2
            boxes[:, row, column] = x, y, x + w, y + h
        return Response(logits, boxes, np.full((48, 48), 0.5, np.float32))


@pytest.mark.parametrize('every', [1, 2, 3])
def test_a_look_alike_is_kept_off_by_the_motion(every):
    box = Box(200, 200, 40, 60)

    def pair(i):
        one, two = (scene(b, number=i, names=names(i, every)) for b in (box, moved(box, (75, 0))))
        return Pair(np.maximum(one.rgb, two.rgb), None if one.thermal is None else np.maximum(
            one.thermal, two.thermal), one.stamp)

    tracker = Tracker(Two())
    tracker.init(pair(0), box)
    for i in range(1, 40):
        assert tracker.update(pair(i)).box.iou(box) > 0.9


@pytest.mark.parametrize('every', [2, 3, 6, 0])
def test_between_two_thermal_pictures_the_last_one_stands_in(every):
    """RGB is not believed alone: without the last thermal picture there would be no answer."""
    box = Box(100, 100, 40, 60)
    tracker = Tracker(Oracle())
    tracker.init(scene(box), box)
    for i in range(1, 90):
        for _ in range(2):
            tracker._reliability.learn('rgb', 0.0, 0)
        pair = scene(moved(box, (2, 0), i), number=i, names=names(i, every))
        e = tracker.update(pair)
        if i >= 4 * max(every, 1):   # once it is known how often it has a new one
            assert e.state == State.TRACKING and e.box.iou(moved(box, (2, 0), i)) > 0.6


def test_a_camera_that_is_gone_is_not_held_for_ever():
    box = Box(100, 100, 40, 60)
    tracker = Tracker(Oracle())
    tracker.init(scene(box), box)
    states = []
    for i in range(1, 60):
        for _ in range(2):
            tracker._reliability.learn('rgb', 0.0, 0)
        e = tracker.update(scene(box, number=i, names='rgb thermal' if i < 10 else 'rgb'))
        states.append(e.state)
    assert states[9] == State.TRACKING and State.SEARCHING in states[15:25]
    assert e.confidence == 0


@pytest.mark.parametrize('first', ['rgb', 'rgb thermal'])
def test_a_template_gets_the_thermal_image_that_it_lacks(first):
    encoded = []

    class Counting(Oracle):
        def encode(self, rgb, thermal, box):
            encoded.append((rgb is not None, thermal is not None))
            return super().encode(rgb, thermal, box)

    box = Box(100, 100, 40, 60)
    tracker = Tracker(Counting())
    tracker.init(scene(box, names=first), box)
    for i in range(1, 10):
        tracker.update(scene(box, number=i))
    assert encoded == ([(True, False), (True, True)] if first == 'rgb' else [(True, True)])


def test_the_confidence_of_a_search_is_that_of_the_box_that_is_returned():
    student = Oracle()
    tracker = Tracker(student)
    box = Box(60, 60, 40, 40)
    tracker.init(scene(box), box)
    for i in range(1, 30):
        tracker.update(scene(NOWHERE, number=i))
    student.logit = -0.1        # something, elsewhere, that is not enough
    for i in range(30, 60):
        e = tracker.update(scene(moved(box, (60, 0)), number=i))
        assert not e.state.in_sight
        assert e.confidence == 0 or e.box.iou(moved(box, (60, 0))) > 0.3


def test_a_new_homography_cuts_the_template_anew():
    encoded = []

    class Counting(Oracle):
        def encode(self, rgb, thermal, box):
            encoded.append(thermal)
            return super().encode(rgb, thermal, box)

    tracker = Tracker(Counting(), TrackerConfig(alignment_reach=0.0))
    box = Box(200, 150, 60, 90)
    tracker.init(scene(box), box)
    tracker.config = TrackerConfig(alignment_reach=0.0, homography=(1, 0, 40, 0, 1, 30, 0, 0, 1))
    for i in range(1, 4):
        tracker.update(scene(box, number=i))
    assert len(encoded) == 2 and not np.array_equal(*encoded)


def test_the_offset_of_thermal_is_the_rig_s_and_outlives_a_target():
    tracker = Tracker(Oracle())
    rng = np.random.default_rng(1)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (480, 640), dtype=np.uint8), (0, 0), 3)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    box = Box(200, 150, 60, 90)

    def pair(i):
        noise = rng.integers(0, 3, picture.shape, dtype=np.uint8)
        return Pair(np.dstack([cv2.add(picture, noise)] * 3), np.roll(picture, 24, 1) // 2 + noise,
                    i * STEP)

    tracker.init(pair(0), box)
    for i in range(1, 60):
        tracker.update(pair(i))
    known = tracker._views._alignment.offset
    assert known[0] == pytest.approx(24, abs=3)
    tracker.init(pair(60), box)
    assert tracker._views._alignment.offset == pytest.approx(known, abs=2)


def test_stamps_that_stand_still_are_told_once(caplog):
    tracker = Tracker(Oracle())
    box = Box(100, 100, 40, 60)
    tracker.init(scene(box), box)
    for _ in range(30):
        tracker.update(replace(scene(box), stamp=0))
    assert caplog.text.count('stand still at 0 ns') == 1


@pytest.mark.parametrize(('name', 'value'), [
    ('probe_interval', np.inf), ('frozen_after', np.inf), ('search_growth', np.inf),
    ('frozen_after', -1), ('homography', (1, 2))])
def test_settings_that_can_not_be_followed_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        TrackerConfig(**{name: value})


def test_a_homography_may_be_an_array():
    assert TrackerConfig(homography=np.eye(3)).homography == (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.mark.parametrize('shape', [(1, 600), (400, 1)])
def test_a_thermal_image_of_one_line_is_no_error(shape):
    tracker = Tracker(Oracle())
    box = Box(100, 100, 40, 60)
    pair = replace(scene(box), thermal=np.zeros(shape, np.uint8))
    tracker.init(pair, box)
    assert tracker.update(replace(pair, stamp=STEP)).state.in_sight


def test_boxes_that_agree_are_averaged():
    boxes = np.zeros((4, 6, 6), np.float32)
    boxes[2:] = 30
    boxes[:, 2, 2] = 10, 10, 30, 50
    boxes[:, 2, 3] = 12, 10, 32, 50     # the same thing
    boxes[:, 4, 4] = 100, 10, 120, 50   # another
    score = np.full((6, 6), 1e-4, np.float32)
    score[2, 2], score[2, 3], score[4, 4] = 0.9, 0.45, 0.8
    share = 0.5 ** VOTING_POWER / (1 + 0.5 ** VOTING_POWER)
    assert agreed_box(boxes, score, 2, 2) == pytest.approx(
        (10 + 2 * share, 10, 30 + 2 * share, 50), abs=1e-3)
    assert agreed_box(boxes, score, 4, 4) == pytest.approx((100, 10, 120, 50), abs=1e-3)
    boxes[:, 4, 4] = np.nan
    assert np.isnan(agreed_box(boxes, score, 4, 4)).all()
    boxes[:, 4, 4] = 7, 7, 7, 7         # without area it agrees with nothing, not even itself
    assert agreed_box(boxes, score, 4, 4) == pytest.approx((7, 7, 7, 7))
