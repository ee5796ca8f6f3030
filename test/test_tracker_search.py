"""Searching for a target, and believing one modality alone."""
from __future__ import annotations

import pytest
from tracker_kit import STEP, Oracle, moved, scene

from rgbt_tracker_ros.tracking.search import Scan
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box, Pair, State


@pytest.fixture
def student():
    return Oracle()


@pytest.fixture
def tracker(student):
    return Tracker(student)


def test_a_modality_that_never_found_the_target_is_not_asked_alone(tracker, student):
    """RGB sees something else; when thermal goes, the box coasts, and meets the target again."""
    box, elsewhere = Box(200, 200, 40, 60), Box(60, 60, 40, 60)

    def pair(i, names='rgb thermal'):
        true, other = scene(moved(box, (5, 0), i), number=i), scene(elsewhere, number=i)
        return Pair(other.rgb if 'rgb' in names else None,
                    true.thermal if 'thermal' in names else None, i * STEP)

    # the oracle trusts RGB where there is RGB: with both, show it the target in both
    tracker.init(scene(box), box)
    for i in range(1, 16):
        tracker._reliability.learn('rgb', 0.0, i * STEP)
        tracker.update(scene(moved(box, (5, 0), i), number=i))
    tracker._reliability.learn('rgb', 0.0, 0)
    tracker.update(pair(16, 'rgb'))    # the last picture of thermal stands in for a while
    asked = student.asked
    for i in range(17, 60):
        e = tracker.update(pair(i, 'rgb'))
        assert e.confidence == 0 and e.weight_thermal == 0
    assert student.asked == asked, 'the network was asked in vain'
    assert not e.state.in_sight
    assert abs(e.box.center[0] - moved(box, (5, 0), 59).center[0]) < 60  # it slows down a little
    e = tracker.update(scene(moved(box, (5, 0), 60), number=60))
    assert e.state == State.TRACKING and e.box.iou(moved(box, (5, 0), 60)) > 0.6


def test_the_search_looks_once_a_frame_and_first_where_the_motion_leads(tracker, student):
    box = Box(300, 200, 40, 60)
    tracker.init(scene(box), box)
    nothing = Box(-100, -100, 10, 10)
    for i in range(1, 7):
        e = tracker.update(scene(nothing, number=i))
    assert e.state == State.SEARCHING
    asked = student.asked
    for i in range(7, 27):
        tracker.update(scene(nothing, number=i))
    assert student.asked == asked + 20


def test_a_scan_starts_again_around_the_box_and_its_time_goes_on():
    scan = Scan(Box(300, 200, 40, 40), 0, 4.0)
    for i in range(1, 40):
        scan.go_on(i * STEP)
        scan.next_place((640, 480), 1.1)
    seconds = scan.seconds
    scan.restart(Box(100, 100, 40, 40))
    assert scan.looks_ahead() and scan.seconds == seconds == pytest.approx(39 / 30, abs=1e-3)
    assert scan.next_place((640, 480), 1.1) == (120, 120)
