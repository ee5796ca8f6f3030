"""The node's parts by themselves: worker, ring, notices, bearing, message_filters' policies."""
from __future__ import annotations

import math
from pathlib import Path
import sys
from threading import Event, current_thread
from types import ModuleType, SimpleNamespace
from typing import Any

from nodes_kit import FakeTracker, image
import numpy as np
import pytest
from rclpy.logging import get_logger
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo

from rgbt_tracker_ros.nodes.bearing import CameraInfoError, CameraModel
from rgbt_tracker_ros.nodes.health import Health
from rgbt_tracker_ros.nodes.loading import load_tracker
from rgbt_tracker_ros.nodes.notices import HOLD, PERIOD, Notices
from rgbt_tracker_ros.nodes.pairing import RGB, THERMAL, Match, PairingSettings
from rgbt_tracker_ros.nodes.parameters import Parameters
from rgbt_tracker_ros.nodes.ring import FutureStamp, PairRing, RingError
from rgbt_tracker_ros.nodes.session import Session
from rgbt_tracker_ros.nodes.session_types import Target
from rgbt_tracker_ros.nodes.status import Reporter
from rgbt_tracker_ros.nodes.stock_pairing import StockMatcher
from rgbt_tracker_ros.nodes.worker import Worker
from rgbt_tracker_ros.runtime.cores import usable_cores
from rgbt_tracker_ros.types import Box

S = 1_000_000_000


class Gate:
    """A worker whose items wait at a gate, and what it has done."""

    def __init__(self, backlog: list[int] | None = None) -> None:
        self.done: list[object] = []
        self.errors: list[Exception] = []
        self.busy, self.go = Event(), Event()
        rest = backlog or []
        self.worker = Worker[int](self.process, self.errors.append,
                                  lambda: rest.pop(0) if rest and self.go.is_set() else None)

    def process(self, item: int) -> None:
        self.busy.set()
        assert self.go.wait(5)
        if item < 0:
            raise ValueError(item)
        self.done.append(item)

    def finish(self) -> list[object]:
        self.go.set()
        self.worker.call(lambda: None).result(5)
        self.worker.call(lambda: None).result(5)
        assert self.worker.stop()
        return self.done


def test_newest_item_wins_and_drops_are_counted() -> None:
    gate = Gate()
    gate.worker.submit(1)
    assert gate.busy.wait(5)
    for item in (2, 3, 4):
        gate.worker.submit(item)
    gate.go.set()
    while len(gate.done) < 2:
        pass
    assert gate.finish() == [1, 4]
    assert gate.worker.dropped == 2


def test_calls_come_in_order_before_items_and_the_backlog_before_the_next_item() -> None:
    gate = Gate(backlog=[10, 11])
    gate.worker.submit(1)
    assert gate.busy.wait(5)
    gate.worker.submit(2)
    threads = [gate.worker.call(lambda n=n: gate.done.append(n) or current_thread().name)
               for n in ('a', 'b')]
    gate.go.set()
    assert {t.result(5) for t in threads} == {'tracker'}
    while 2 not in gate.done:
        pass
    assert gate.finish() == [1, 'a', 'b', 10, 11, 2]


def test_errors_of_items_and_of_calls_do_not_end_the_thread() -> None:
    gate = Gate()
    gate.go.set()
    gate.worker.submit(-1)
    while not gate.errors:
        pass
    with pytest.raises(ZeroDivisionError):
        gate.worker.call(lambda: 1 / 0).result(5)
    assert gate.worker.call(lambda: 'alive').result(5) == 'alive'
    gate.worker.post(lambda: [].pop())      # nobody waits for it: it must not go unheard
    while len(gate.errors) < 2:
        pass
    assert isinstance(gate.errors[1], IndexError)
    gate.finish()
    gate.worker.post(lambda: 1)
    assert gate.worker.call(lambda: 1).cancelled()      # nobody is there any more


def ring(*seconds: float, duration: float = 2.0) -> PairRing:
    made = PairRing(round(duration * S))
    for s in seconds:
        made.append(Match(s, s, round(s * S)))
    return made


@pytest.mark.parametrize(('stamp', 'found'), [(10.2, 10.2), (10.21, 10.2), (10.0, 10.0),
                                              (9.96, 10.0), (11.0, 11.0)])
def test_ring_finds_the_nearest_pair(stamp: float, found: float) -> None:
    assert ring(10.0, 10.1, 10.2, 11.0).find(round(stamp * S)).rgb == found


@pytest.mark.parametrize(('stamp', 'error', 'reason'), [
    (9.9, RingError, r'1\.100 s older than the newest pair, and only 1\.000 s are kept'),
    (10.6, RingError, r'no pair is within 50 ms of its stamp; the nearest is 400 ms away'),
    (11.5, FutureStamp, r'0\.500 s ahead'),
    (99.0, RingError, r'88\.000 s ahead of the newest pair; use the stamp of the image'),
])
def test_ring_says_why_there_is_no_pair(stamp: float, error: type[Exception],
                                        reason: str) -> None:
    with pytest.raises(error, match=reason):
        ring(10.0, 10.1, 10.2, 11.0).find(round(stamp * S))


@pytest.mark.parametrize(('stamp', 'awaited'), [
    (9.0, False), (11.0, False), (11.01, True), (12.0, True), (12.01, False)])
def test_ring_awaits_what_it_says_is_in_the_future(stamp: float, awaited: bool) -> None:
    made = ring(10.0, 11.0)
    assert made.awaits(round(stamp * S)) == awaited
    if stamp > 11:
        with pytest.raises(RingError) as raised:
            made.find(round(stamp * S))
        assert isinstance(raised.value, FutureStamp) == awaited
    made.clear()
    assert made.awaits(round(stamp * S))


def test_ring_keeps_its_duration_and_at_least_the_newest() -> None:
    assert [m.rgb for m in ring(1, 2, 3, 4, 5).after(0)] == [3, 4, 5]
    assert [m.rgb for m in ring(1, 2, 3, duration=0).after(0)] == [3]
    many = ring(*(10 + i * 1e-5 for i in range(2000)))      # microseconds for milliseconds, say
    assert many.crowded and len(many.after(0)) == many.limit == 260
    assert many.newest().rgb == pytest.approx(10.01999)
    assert not ring(*(10 + i / 100 for i in range(2000))).crowded
    empty = ring(1)
    empty.clear()
    for look in (empty.newest, lambda: empty.find(1)):
        with pytest.raises(RingError, match='no image has arrived yet'):
            look()


def test_notices_are_throttled_by_kind_and_held_for_a_while() -> None:
    now, logged, changes = [100.0], [], []
    logger = SimpleNamespace(info=logged.append, warning=logged.append, error=logged.append)
    notices = Notices(logger, lambda: changes.append(1), clock=lambda: now[0])
    for text in ('a1', 'a1', 'a2'):
        notices.warn('a', text)
    notices.error('b', 'b1')
    assert logged == ['a1', 'b1']
    assert notices.current() == ['a2', 'b1']
    assert len(changes) == 3        # the same text again is no change
    now[0] += max(PERIOD, HOLD)
    assert notices.current() == []
    notices.warn('a', 'a3')
    assert logged[-1] == 'a3'
    try:
        raise ValueError('why')
    except ValueError as e:
        notices.exception('c', 'it failed', e)
    assert notices.current()[-1] == "it failed: ValueError('why')"
    assert logged[-1].startswith('it failed\nTraceback')


def test_notices_of_all_levels_through_rclpys_own_logger() -> None:
    notices = Notices(get_logger('test_notices'), lambda: None)
    for i in range(2):
        notices.warn(f'w{i}', 'a warning')      # rclpy refuses two levels from one line of code
        notices.error(f'e{i}', 'an error')
        notices.log(f'l{i}', 'a line')
        notices.exception(f'x{i}', 'a failure', ValueError('why'))
    assert len(notices.current()) == 6


def info(**fields: Any) -> CameraInfo:
    made = CameraInfo(width=640, height=480, distortion_model='plumb_bob', d=[0.0] * 5,
                      k=np.array([500., 0, 320, 0, 500, 240, 0, 0, 1]))
    made.header.frame_id = 'rgb_optical'
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_bearing() -> None:
    model = CameraModel.from_info(info())
    assert model.frame_id == 'rgb_optical'
    assert model.ray(320.5, 240.5) == pytest.approx((0, 0, 1))
    assert model.ray(820.5, 240.5) == pytest.approx((0.5**0.5, 0, 0.5**0.5))    # right of it
    x, y, z = model.ray(320.5, 100.0)
    assert x == pytest.approx(0) and y < 0 < z                                  # above it


@pytest.mark.parametrize(('distortion', 'd'), [('plumb_bob', [-0.2, 0.05, 0.001, 0.002, 0.0]),
                                               ('equidistant', [0.05, -0.01, 0.002, 0.0])])
def test_bearing_undoes_the_distortion(distortion: str, d: list[float]) -> None:
    import cv2
    made = info(distortion_model=distortion, d=d)
    ray = np.array([0.3, -0.2, 1.0])
    k = np.array(made.k).reshape(3, 3)
    project = cv2.fisheye.projectPoints if distortion == 'equidistant' else cv2.projectPoints
    pixel, *_ = project(ray.reshape(1, 1, 3), np.zeros(3), np.zeros(3), k, np.array(d))
    x, y = pixel.ravel() + 0.5
    assert CameraModel.from_info(made).ray(x, y) == pytest.approx(ray / np.linalg.norm(ray),
                                                                  abs=1e-4)


def test_bearing_of_a_binned_region() -> None:
    made = info(binning_x=2, binning_y=2)
    made.roi.x_offset, made.roi.y_offset = 120, 40
    assert CameraModel.from_info(made).ray(100.5, 100.5) == pytest.approx((0, 0, 1))


def test_bearing_of_a_rectified_image_goes_by_p() -> None:
    made = info(d=[-0.3, 0.1, 0.0, 0.0, 0.0], binning_x=2, binning_y=2,
                p=np.array([400., 0, 300, -40, 0, 400, 240, 0, 0, 0, 1, 0]))
    model = CameraModel.from_info(made, rectified=True)
    assert model.ray(150.5, 120.5) == pytest.approx((0, 0, 1))
    assert model.ray(350.5, 120.5) == pytest.approx((0.5**0.5, 0, 0.5**0.5))
    with pytest.raises(CameraInfoError, match='P has focal lengths 0, 0'):
        CameraModel.from_info(info(), rectified=True)


@pytest.mark.parametrize('d', [[0.0] * 4, [-0.03, 0.01, -0.004, 0.0005]])
@pytest.mark.parametrize('angle', [0, 30, 89, 90, 91, 110])
def test_bearing_of_a_fisheye_beyond_its_side(d: list[float], angle: float) -> None:
    """By the definition: the angle's polynomial is the distance from the middle."""
    model = CameraModel.from_info(info(distortion_model='equidistant', d=d))
    t = math.radians(angle)
    r = t * (1 + sum(c * t ** (2 * i + 2) for i, c in enumerate(d)))
    for p in np.linspace(0, 2 * math.pi, 7):
        assert model.ray(320.5 + 500 * r * math.cos(p), 240.5 + 500 * r * math.sin(p)
                         ) == pytest.approx((math.sin(t) * math.cos(p), math.sin(t) * math.sin(p),
                                             math.cos(t)), abs=1e-6)


@pytest.mark.parametrize(('distortion', 'd'), [
    ('equidistant', [0.1, -0.2, 0.2, -0.1]),        # has turned back before it is so far out
    ('plumb_bob', [-0.4, 0.0, 0.0, 0.0, 0.0])])
def test_no_bearing_where_no_ray_leads(distortion: str, d: list[float]) -> None:
    model = CameraModel.from_info(info(distortion_model=distortion, d=d, k=np.array(
        [300., 0, 320, 0, 300, 240, 0, 0, 1])))
    assert model.ray(320.5, 240.5) == pytest.approx((0, 0, 1))
    assert model.ray(340.5, 250.5) is not None and model.ray(959.5, 600.5) is None
    assert model.ray(math.nan, 240.5) is None


def test_bearing_in_the_corners_of_a_wide_lens() -> None:
    """OpenCV's own number of iterations leaves 1.9 degrees there."""
    import cv2
    k, d = np.array([[600., 0, 640], [0, 600, 360], [0, 0, 1]]), np.array([-0.35, 0.12, 0, 0, 0])
    model = CameraModel.from_info(info(width=1280, height=720, k=k.ravel(), d=d.tolist()))
    for ray in ([1.3, 0.7, 1.0], [-1.3, 0.7, 1.0], [1.2, -0.6, 1.0]):
        pixel, _ = cv2.projectPoints(np.array([ray]), np.zeros(3), np.zeros(3), k, d)
        found = model.ray(*(pixel.ravel() + 0.5))
        assert found is not None
        assert np.degrees(np.arccos(np.dot(found, ray) / np.linalg.norm(ray))) < 0.01


@pytest.mark.parametrize(('fields', 'roi', 'fits'), [
    ({}, (0, 0), {(640, 480): True, (320, 240): False, (640, 479): False, (641, 481): True}),
    ({'binning_x': 2, 'binning_y': 2}, (0, 0), {(320, 240): True, (640, 480): False}),
    ({'binning_x': 2, 'binning_y': 1}, (101, 50), {(50, 50): True, (51, 50): True}),
    ({'width': 0, 'height': 0}, (0, 0), {(640, 480): True, (7, 7): True})])     # nothing is said
@pytest.mark.parametrize('rectified', [False, True])
def test_of_which_images_a_camera_info_is(fields: dict[str, Any], roi: tuple[int, int],
                                          fits: dict[tuple[int, int], bool],
                                          rectified: bool) -> None:
    made = info(p=np.array([400., 0, 300, 0, 0, 400, 240, 0, 0, 0, 1, 0]), **fields)
    made.roi.width, made.roi.height = roi
    model = CameraModel.from_info(made, rectified)
    assert {size: model.fits(size) for size in fits} == fits


@pytest.mark.parametrize(('frame_id', 'camera'), [('t', THERMAL), ('c', RGB), ('', RGB)])
def test_the_tracker_is_told_in_whose_pixels_a_box_was_marked(frame_id: str, camera: str) -> None:
    pairs, tracker = PairRing(S), FakeTracker()
    session = Session(pairs, Notices(get_logger('test'), lambda: None), publish=lambda _: None,
                      changed=lambda: None, refused=lambda *_: None)
    session.load(lambda: tracker)
    pairs.append(Match(image(stamp=S, frame_id='c'), image('mono8', (32, 24), S, 't'), S, 0))
    session.request(Target(Box(4, 4, 10, 10), S, frame_id=frame_id))
    assert tracker.box is not None and tracker.marked_in == camera


class Fleeting:
    """A session whose tracker is let go of as soon as somebody has looked at it."""

    target_id, pending, state, errors, enabled = '', '', 0, 0, True
    frozen: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.looked = 0

    @property
    def tracker(self) -> Any:
        self.looked += 1
        return SimpleNamespace(device='cpu', model_name='m') if self.looked == 1 else None


def test_a_report_survives_a_model_that_is_let_go_of_meanwhile() -> None:
    parts: Any = SimpleNamespace(
        session=Fleeting(), worker=SimpleNamespace(dropped=0), inputs=None, phase='unconfigured',
        outputs=SimpleNamespace(answered=0, ages=[], network_times=[]), fault='', refusal='')
    clock = SimpleNamespace(now=lambda: Time(seconds=1))
    reporter = Reporter(SimpleNamespace(    # type: ignore[arg-type]
        get_fully_qualified_name=lambda: '/tracker', get_clock=lambda: clock,
        create_publisher=lambda *_: None), parts, SimpleNamespace())    # type: ignore[arg-type]
    for report in (lambda: reporter._describe('', dict.fromkeys((RGB, THERMAL), (Health.OK, ''))),
                   reporter._inference):
        parts.session = Fleeting()
        assert 'm' in str(report())


def test_half_of_the_cores_are_of_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from rgbt_tracker_ros.tracking.tracker import Tracker
    threads = []
    monkeypatch.setattr(Tracker, 'load', lambda *_, **k: threads.append(k['threads']))
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    for cores, asked in (({3}, 0), ({0, 1, 2, 5}, 0), ({0, 1}, 7)):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda _, cores=cores: cores)
        load_tracker(Parameters(threads=asked))
    assert threads == [1, 2, 7]


@pytest.mark.parametrize(('group', 'files', 'cores'), [
    ('0::/', {}, 8), ('0::/', {'cpu.max': 'max 100000'}, 8),
    ('0::/', {'cpu.max': '250000 100000'}, 3), ('0::/', {'cpu.max': '20000 100000'}, 1),
    ('0::/', {'cpu.max': '6400000 100000'}, 8), ('0::/', {'cpu.max': 'what?'}, 8),
    # of systemd: the least of the groups above counts, too
    ('0::/a.slice/b.service', {'a.slice/cpu.max': '200000 100000',
                               'a.slice/b.service/cpu.max': '400000 100000'}, 2),
    # in a container the path may be the host's, which is not there
    ('0::/docker/0123', {'cpu.max': '400000 100000'}, 4),
    ('5:cpu,cpuacct:/x', {'cpu,cpuacct/x/cpu.cfs_quota_us': '150000',
                          'cpu,cpuacct/x/cpu.cfs_period_us': '50000'}, 3),
    ('5:cpu,cpuacct:/docker/01', {'cpu/cpu.cfs_quota_us': '-1',
                                  'cpu/cpu.cfs_period_us': '100000'}, 8),
    ('5:cpuset:/x', {'cpu/x/cpu.cfs_quota_us': '100000',
                     'cpu/x/cpu.cfs_period_us': '100000'}, 8), ('', {}, 8)])
def test_a_quota_of_time_is_worth_fewer_cores(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, files: dict[str, str],
        cores: int) -> None:
    import os
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(8)))
    own = tmp_path / 'own'
    own.write_text(f'{group}\n')
    for name, text in files.items():
        (tmp_path / 'root' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'root' / name).write_text(f'{text}\n')
    assert usable_cores(tmp_path / 'root', own) == cores
    assert usable_cores(tmp_path / 'root', tmp_path / 'none') == 8


@pytest.mark.parametrize(('fields', 'reason'), [
    ({'k': np.zeros(9)}, 'not calibrated'), ({'distortion_model': 'odd'}, "'odd' is not known"),
    ({'distortion_model': 'equidistant'}, 'it must have 4'), ({'d': [0.1] * 3}, 'D is'),
    ({'d': [math.nan] * 5}, 'D is')])
def test_calibrations_that_can_not_be_used(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(CameraInfoError, match=reason):
        CameraModel.from_info(info(**fields))


class SimpleFilter:
    """What the adapter needs of message_filters, with its traps: see the class below."""

    def __init__(self) -> None:
        self.send: Any = None

    def signalMessage(self, msg: Any) -> None:
        self.send(msg)


class Synchronizer:
    """Matches stamps less than `slop` apart, first come first served; older ones never match."""

    def __init__(self, filters: list[SimpleFilter], queue: int, slop: float = 1e-9) -> None:
        self.queues: list[dict[int, Any]] = [{}, {}]
        self.queue, self.slop, self.callback = queue, slop * S, None
        for i, f in enumerate(filters):
            f.send = lambda msg, i=i: self.add(i, msg)

    def registerCallback(self, callback: Any) -> None:
        self.callback = callback

    def add(self, i: int, msg: Any) -> None:
        stamp = Time.from_msg(msg.header.stamp).nanoseconds
        self.queues[i][stamp] = msg
        while len(self.queues[i]) > self.queue:
            del self.queues[i][min(self.queues[i])]
        for other in sorted(self.queues[1 - i]):
            if abs(other - stamp) < self.slop and stamp in self.queues[i]:
                both = [self.queues[i].pop(stamp), self.queues[1 - i].pop(other)]
                self.callback(*(both if i == 0 else both[::-1]))


@pytest.fixture(params=['approximate', 'exact'])
def stock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> StockMatcher[str]:
    """Lend a matcher on the library where it is installed, else on the stand-in above."""
    try:
        import message_filters  # noqa: F401
    except ImportError:
        stand_in: Any = ModuleType('message_filters')
        stand_in.SimpleFilter = SimpleFilter
        stand_in.TimeSynchronizer = stand_in.ApproximateTimeSynchronizer = Synchronizer
        monkeypatch.setitem(sys.modules, 'message_filters', stand_in)
    return StockMatcher(request.param, PairingSettings(slop=S // 50, deadline=S // 25))


def test_stock_policies_match_survive_jumps_and_go_on_alone(stock: StockMatcher[str]) -> None:
    period, now = S // 30, 0

    def lap(start: int, *streams: str) -> int:
        nonlocal now
        out = 0
        for i in range(60):
            now += period
            for stream in streams:
                out += len(stock.add(stream, start + i * period, f'{stream}{i}', now))
        return out

    assert lap(100 * S, RGB, THERMAL) == 60
    assert stock.pairs == 59        # nobody knew of thermal when the first RGB image came
    assert stock.wake_at is None
    assert lap(50 * S, THERMAL, RGB) >= 59      # the library alone would match nothing any more
    assert stock.jumps >= 1
    assert lap(60 * S, RGB) > 45                # thermal has stopped
    assert stock.singles > 45
    assert lap(70 * S, RGB, THERMAL) >= 58      # and is back
    received = sum(t.received for t in stock.timing.values())
    assert received == 2 * stock.pairs + stock.singles + stock.unmatched + sum(
        stock._pending.values())


@pytest.mark.parametrize(('start', 'offset', 'pairs', 'alone'), [
    (0, -S // 10, 55, 0),                       # a simulation begins at 0
    (0, -10 * S, 0, 0), (5 * S, -10 * S, 0, 0),
    (-100 * S, 0, 0, 60), (2**31 * S, 0, 0, 60)])
def test_stock_policies_take_any_stamp(stock: StockMatcher[str], start: int, offset: int,
                                       pairs: int, alone: int) -> None:
    stock.settings = PairingSettings(slop=S // 50, deadline=S // 5, thermal_offset=offset)
    out = [match for i in range(60) for stream in (RGB, THERMAL)
           for match in stock.add(stream, start + i * S // 30, f'{stream}{i}', i * S // 30)]
    assert stock.pairs >= pairs and (pairs or not stock.pairs)
    assert all(abs(m.skew or 0) < S // 50 for m in out)
    assert sum(m.rgb is not None and m.thermal is None for m in out) >= alone


def test_without_message_filters_it_is_said_what_to_install(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'message_filters', None)
    with pytest.raises(ImportError, match='ros-jazzy-message-filters'):
        StockMatcher('approximate')
