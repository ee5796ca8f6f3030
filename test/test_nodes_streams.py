"""Cameras that stop, freeze, come late, lose images, or jump in time, over a live graph."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import math
import time
from typing import Any

from nodes_kit import FakeTracker, Robot, resize, robot, set_stamp, stamp_of, wait_for
import pytest
from rclpy.context import Context
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from rgbt_tracker_ros.msg import Track, TrackerStatus

NAMED_WITHIN = 0.5      # s, from the fault to a status that names the stream
FAULT = 1.5             # s; longer than every threshold, shorter than a user's patience
WEIGHT = {'rgb': 'weight_rgb', 'thermal': 'weight_thermal'}
OTHER = {'rgb': 'thermal', 'thermal': 'rgb'}


@contextmanager
def stopped(r: Robot, tracker: FakeTracker, camera: str) -> Iterator[None]:
    r.cameras.on[camera] = False
    yield
    r.cameras.on[camera] = True


@contextmanager
def late(r: Robot, tracker: FakeTracker, camera: str) -> Iterator[None]:
    r.cameras.delay[camera] = 0.2
    yield
    r.cameras.delay[camera] = 0.0


@contextmanager
def frozen(r: Robot, tracker: FakeTracker, camera: str) -> Iterator[None]:
    time.sleep(0.3)     # the tracker's own frozen_after
    tracker.frozen = (camera,)
    yield
    tracker.frozen = ()


@pytest.mark.parametrize('camera', ['rgb', 'thermal'])
@pytest.mark.parametrize(('fault', 'health'), [
    (stopped, TrackerStatus.STOPPED), (late, TrackerStatus.LATE),
    (frozen, TrackerStatus.FROZEN)])
def test_tracking_goes_on_with_the_other_stream(
        ros_context: Context, capfd: pytest.CaptureFixture[str], camera: str,
        fault: Callable[[Robot, FakeTracker, str], Any], health: int) -> None:
    tracker = FakeTracker()
    with robot(ros_context, tracker) as (r, _):
        r.start()
        target = r.answers(10)[0].target_id
        since = time.monotonic()
        with fault(r, tracker, camera):
            status = r.until(lambda s: getattr(s, f'{camera}_health') == health)
            named = next(t for t, s in r.statuses if t >= since
                         and getattr(s, f'{camera}_health') == health)
            # 0.2 s for the late images to begin to come, and what the test itself takes
            assert named - since < NAMED_WITHIN + 0.2 * (fault is late)
            assert f'{camera} (/{camera}/image_raw)' in status.message
            assert getattr(status, f'{OTHER[camera]}_health') == TrackerStatus.OK
            time.sleep(max(0.0, since + FAULT - time.monotonic()))
            tracks = r.answers(10)
            if fault is not frozen:
                assert all(getattr(t, WEIGHT[camera]) == 0 for t in tracks)
                assert all(t.age < 0.03 for t in sorted(tracks, key=lambda t: t.age)[:5])
        status = r.until(lambda s: s.rgb_health == s.thermal_health == TrackerStatus.OK)
        assert status.target_id == target
        wait_for(lambda: all(t.weight_rgb == t.weight_thermal == 0.5 for t in r.answers(5)),
                 what='both images again')
        assert status.errors == 0
    assert 'Traceback' not in capfd.readouterr().err


def test_a_late_stream_is_left_out_and_counted(ros_context: Context) -> None:
    with robot(ros_context) as (r, _):
        r.start()
        r.cameras.delay['thermal'] = 0.2
        r.until(lambda s: s.thermal_health == TrackerStatus.LATE)
        before = r.until(lambda s: s.unmatched > 3)
        r.answers(15)
        after = r.until(lambda s: s.unmatched > before.unmatched + 10)
        assert after.pairs <= before.pairs + 2
        assert 'pair_deadline' in after.message


def test_lost_images_are_counted_with_the_way_out(ros_context: Context) -> None:
    with robot(ros_context, best_effort=True) as (r, node):
        r.start()
        r.answers(10)
        count = iter(range(10**6))
        r.cameras.change['rgb'] = lambda m: (
            next(count) % 5 == 0 and setattr(m, 'encoding', 'lost'))
        # an image that never enters the node's counts leaves the same gap as a lost one
        status = r.until(lambda s: 'fastdds_shm.xml' in s.message, 10)
        assert '/rgb/image_raw, best_effort' in status.message
        assert node._parts.inputs.matcher.timing['rgb'].lost > 0


def test_stamps_that_go_back_reset_pairing_and_keep_the_target(ros_context: Context) -> None:
    with robot(ros_context) as (r, node):
        r.start()
        target = r.answers(5)[0].target_id
        r.cameras.offset = -10_000_000_000
        r.until(lambda s: 'went back' in s.message)
        back = time.time_ns() - 5_000_000_000
        wait_for(lambda: any(stamp_of(t) < back for t in r.tracks[-5:]))
        assert {t.target_id for t in r.answers(5)} == {target}
        assert node._ring.newest().stamp < back
        status = r.request(stamp=time.time_ns())
        assert not status.request_accepted      # that time has not come again
        assert 'ahead of the newest pair' in status.request_message


def started_at_100_s(r: Robot) -> Callable[[int], None]:
    """Start by a simulated clock and cameras at 100 s; return what sets the clock, in s."""
    clock = r.node.create_publisher(Clock, '/clock', 10)

    def at(seconds: int) -> None:
        msg = Clock()
        msg.clock.sec = seconds
        clock.publish(msg)

    wait_for(clock.get_subscription_count, what='discovery of /clock')
    r.cameras.offset = 100_000_000_000 - time.time_ns()
    at(100)
    r.start(target=False)
    return at


def test_sim_time_that_goes_back_drops_the_target(ros_context: Context) -> None:
    with robot(ros_context, use_sim_time=True, initial_box=[1, 2, 30, 40]) as (r, _):
        at = started_at_100_s(r)
        first = r.answers(3)[0]
        assert abs(first.age) < 5       # by the simulated clock
        r.cameras.offset -= 50_000_000_000
        at(50)
        r.until(lambda s: 'started over' in s.message)
        again = r.answers(1)[0]         # initial_box holds for every pass
        assert again.target_id != first.target_id


def test_images_that_waited_while_the_clock_went_back_start_nothing(
        ros_context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('rgbt_tracker_ros.nodes.inputs.LEFTOVERS', 60 * 10**9)
    tracker = FakeTracker()
    with robot(ros_context, tracker, use_sim_time=True, initial_box=[1, 2, 30, 40]) as (r, node):
        at = started_at_100_s(r)
        r.answers(3)
        at(50)
        r.until(lambda s: 'started over' in s.message)
        matcher, lap = node._parts.inputs.matcher, len(tracker.calls)
        unmatched = matcher.unmatched
        wait_for(lambda: matcher.unmatched > unmatched + 10, what='images of the old lap')
        r.cameras.offset -= 50_000_000_000
        r.answers(3)
        inits = [stamp for method, stamp in tracker.calls[lap:] if method == 'init']
        assert len(inits) == 1 and inits[0] < 90_000_000_000


def test_simulated_time_that_does_not_begin_is_said(
        ros_context: Context, capfd: pytest.CaptureFixture[str]) -> None:
    with robot(ros_context, use_sim_time=True) as (r, _):
        assert 'nothing has come on /clock' in r.until(lambda s: s.message).message
        r.start()       # tracking needs no clock
        assert math.isnan(r.answers(3)[0].age)
        assert math.isnan(r.until(lambda s: s.answered > 5).age_p95)
        clock = r.node.create_publisher(Clock, '/clock', 10)
        msg = Clock()
        msg.clock.sec = 5
        r.until(lambda s: clock.publish(msg) or '/clock' not in s.message)
        assert r.answers(3)[-1].age < 0
    assert 'nothing has come on /clock' in capfd.readouterr().err


def test_a_box_in_rgb_pixels_stays_in_the_frame_of_the_rgb_camera(ros_context: Context) -> None:
    with robot(ros_context) as (r, _):
        r.cameras.change['thermal'] = lambda m: resize(m, 32)
        overlays: list[Image] = []
        r.node.create_subscription(Image, 'rgbt_tracker/debug_image', overlays.append, 1)
        r.start()
        r.answers(5)
        r.cameras.on['rgb'] = False
        wait_for(lambda: r.tracks[-1].weight_rgb == 0, what='thermal alone')
        assert {t.header.frame_id for t in r.answers(5)} == {'rgb_optical'}
        overlays.clear()
        wait_for(lambda: overlays, what='an overlay')
        assert (overlays[-1].width, overlays[-1].height) == (64, 48)    # brought to RGB's pixels


def test_images_without_stamps_are_explained(ros_context: Context) -> None:
    with robot(ros_context) as (r, _):
        r.cameras.change['rgb'] = lambda m: set_stamp(m, 0)
        r.start(target=False)
        status = r.until(lambda s: s.rgb_health == TrackerStatus.INVALID)
        assert 'the driver has to stamp its images' in status.message


def test_thermal_time_offset_makes_pairs(ros_context: Context) -> None:
    def shift(msg: Any) -> None:
        msg.header.stamp.sec -= 3

    with robot(ros_context) as (r, _):
        r.cameras.change['thermal'] = shift
        r.start(target=False)
        assert not r.until(lambda s: s.singles > 10).pairs
        r.until(lambda s: s.thermal_health == TrackerStatus.LATE)
        assert r.set(thermal_time_offset=3.0) == [(True, '')]
        r.until(lambda s: s.pairs > 5)
        assert [t.pair_skew for t in r.answers(2, Track.IDLE)] == [0.0, 0.0]


def test_a_thermal_time_offset_that_is_lowered_mutes_nobody(ros_context: Context) -> None:
    with robot(ros_context, cameras=('thermal',), use_rgb=False,
               thermal_time_offset=10.0) as (r, node):
        r.start()
        target = r.answers(3)[0].target_id
        newest, since = node._ring.newest().stamp, time.monotonic()
        assert r.set(thermal_time_offset=-10.0) == [(True, '')]
        assert {t.target_id for t in r.answers(20)} == {target}
        assert time.monotonic() - since < 15    # as stamps they would begin to be new after 20 s
        assert node._ring.newest().stamp < newest
        r.until(lambda s: 'thermal_time_offset was changed: pairing' in s.message)


def test_streams_that_never_match_are_explained(ros_context: Context) -> None:
    def shift(msg: Any) -> None:
        msg.header.stamp.sec += 1000

    with robot(ros_context) as (r, _):
        r.cameras.change['thermal'] = shift
        r.start()
        assert all(t.weight_thermal == 0 for t in r.answers(10))    # RGB is the reference
        status = r.until(lambda s: 'no pairs' in s.message)
        assert 'thermal stamps are +1000.0' in status.message
        assert 'see thermal_time_offset' in status.message
