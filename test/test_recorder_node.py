"""The recorder node between live topics: what it writes, how it is told, what it says."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
from threading import Event
import time
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nodes_kit import Cameras, resize, set_stamp, spinning, stamp_of, wait_for
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from recording_kit import by_mcap, by_rosbags, by_streaming, manifest, segments
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger
import yaml

from rgbt_tracker_ros.msg import RecorderStatus, Track
from rgbt_tracker_ros.nodes import recorder_status
from rgbt_tracker_ros.nodes.parameters import render_yaml
from rgbt_tracker_ros.nodes.recorder import RecorderNode
from rgbt_tracker_ros.nodes.recorder_node import NEEDED
from rgbt_tracker_ros.nodes.recorder_parameters import TABLE, RecorderParameters
from rgbt_tracker_ros.recording.definitions import definition_of
from rgbt_tracker_ros.recording.segment import Segment

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ('/rgb/image_raw', '/thermal/image_raw')
HOUR = 3600 * 10**9


class Bytes:
    """A publisher of bytes that are known: serialising twice may differ in what pads fields."""

    def __init__(self, publisher: Publisher, sent: dict[int, bytes]) -> None:
        self._publisher, self._sent = publisher, sent
        self.get_subscription_count = publisher.get_subscription_count

    def publish(self, msg: Image) -> None:
        data = self._sent[stamp_of(msg)] = bytes(serialize_message(msg))
        self._publisher.publish(data)


class Rig:
    """Cameras and listeners beside the recorder."""

    def __init__(self, context: Context, folder: Path, qos: QoSProfile) -> None:
        self.folder = folder
        self.node = Node('rig', context=context)
        self.cameras = Cameras(self.node, ('rgb', 'thermal'), qos)
        self.cameras.encoding['thermal'] = 'mono16'
        self.sent: dict[str, dict[int, bytes]] = {'rgb': {}, 'thermal': {}}
        self.cameras.publishers = {n: Bytes(p, self.sent[n])
                                   for n, p in self.cameras.publishers.items()}
        self.statuses: list[RecorderStatus] = []
        self.diagnostics: list[DiagnosticStatus] = []
        self.node.create_subscription(
            RecorderStatus, 'rgbt_recorder/recorder_status', self.statuses.append,
            QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self.node.create_subscription(
            DiagnosticArray, '/diagnostics', lambda m: self.diagnostics.extend(m.status), 10)

    @property
    def status(self) -> RecorderStatus:
        return self.statuses[-1]

    def until(self, condition: Callable[[RecorderStatus], Any], what: str = 'status',
              timeout: float = 30.0) -> RecorderStatus:
        """Wait for a status from now on."""
        start = max(0, len(self.statuses) - 1)
        found: RecorderStatus = wait_for(
            lambda: next((s for s in self.statuses[start:] if condition(s)), None), timeout, what)
        return found

    def settled(self) -> int:
        """Wait until no more pairs are written; return how many there are."""
        start = len(self.statuses)
        wait_for(lambda: len(new := self.statuses[start:]) >= 4
                 and len({s.pairs for s in new[-4:]}) == 1, 30, 'an end of the pairs')
        return int(self.status.pairs)

    def pairs(self, more: int = 10) -> None:
        """Wait until so many more pairs are written."""
        now = self.status.pairs
        self.until(lambda s: s.pairs >= now + more, f'{more} more pairs')

    def call(self, name: str, request: Any = None, kind: Any = Trigger) -> Any:
        client = self.node.create_client(kind, f'rgbt_recorder/{name}')
        assert client.wait_for_service(30.0)
        future = client.call_async(request or kind.Request())
        wait_for(future.done, 30, what=f'response of {name}')
        self.node.destroy_client(client)
        return future.result()

    def set(self, **values: Any) -> tuple[bool, str]:
        """Set parameters; return the first refusal."""
        request = SetParameters.Request(parameters=[
            Parameter(n, value=v).to_parameter_msg() for n, v in values.items()])
        results = self.call('set_parameters', request, SetParameters).results
        return next(((r.successful, r.reason) for r in results if not r.successful), (True, ''))

    def rows(self) -> list[tuple[str, int, int, bytes]]:
        """Read all segments of the recording by the `mcap` library."""
        return [row for name in segments(self.folder) for row in by_mcap(self.folder / name)]

    def check(self) -> int:
        """Check that all pairs are as they were sent and complete; return how many."""
        rows = [row for row in self.rows() if row[0] in IMAGES]
        for rgb, thermal in zip(rows[::2], rows[1::2], strict=True):
            assert (rgb[0], thermal[0]) == IMAGES
            assert rgb[1] == thermal[1]
            stamp = stamp_of(deserialize_message(rgb[3], Image))
            assert rgb[3] == self.sent['rgb'][stamp]
            assert thermal[3] == self.sent['thermal'][stamp]
        return len(rows) // 2


@contextmanager
def rig(context: Context, folder: Path, *, start: bool = True, best_effort: bool = False,
        **parameters: Any) -> Iterator[Rig]:
    """Lend a rig and its recorder, spinning, with cameras that run."""
    values = {'output_dir': str(folder), 'min_free_bytes': 0, 'flush_interval': 0.1, **parameters}
    made = Rig(context, folder, QoSProfile(
        depth=10, reliability=ReliabilityPolicy.BEST_EFFORT if best_effort
        else ReliabilityPolicy.RELIABLE))
    node = RecorderNode(context=context, parameter_overrides=[
        Parameter(n, value=v) for n, v in values.items()])
    with spinning(context, node, made.node):
        wait_for(lambda: made.statuses, what='first status')
        try:
            if start:
                made.cameras.start()
            yield made
        finally:
            made.cameras.running = False
            if made.cameras.ident:
                made.cameras.join()
    node.destroy_node()
    made.node.destroy_node()


@pytest.mark.parametrize('best_effort', [False, True])
def test_records_what_was_sent(best_effort: bool, ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path, best_effort=best_effort, recording='field') as robot:
        robot.pairs(15)
        assert robot.status.segment == 'field_0000.partial'
        answer = robot.call('stop')
        assert answer.success
        count = robot.check()
        assert count >= 15
        assert answer.message == f'{count} pairs in 1 segments'
        status = robot.until(lambda s: s.state == RecorderStatus.STOPPED)
        assert (status.pairs, status.segments, status.segment) == (count, 1, '')
        assert (status.directory, status.message) == (str(tmp_path), '')
        assert status.bytes > 15 * 15_000
        assert segments(tmp_path) == ['field_0000']
        rows = robot.rows()
        assert sorted(d for _, _, _, d in rows) == sorted(
            d for _, _, d in by_rosbags(tmp_path / 'field_0000'))
        found = manifest(tmp_path, 'field_0000')
        assert (found['pairs'], found['reason'], found['recorder']) == (
            count, 'stop', '/rgbt_recorder')
        assert found['skew']['p95'] == 0
        assert found['dropped'] == 0
        now = time.time_ns()
        assert all(now - 60 * 10**9 < row[2] < now for row in rows)
        text = (tmp_path / 'field_0000' / 'metadata.yaml').read_text()
        topic = yaml.safe_load(text)['rosbag2_bagfile_information']['topics_with_message_count'][0]
        profile, = topic['topic_metadata']['offered_qos_profiles']
        assert profile['reliability'] == ('best_effort' if best_effort else 'reliable')


def test_camera_info_and_tracks_are_beside_them(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path) as robot:
        info = robot.node.create_publisher(CameraInfo, 'thermal/camera_info', 5)
        tracks = robot.node.create_publisher(Track, 'rgbt_tracker/track', 5)
        wait_for(lambda: info.get_subscription_count() and tracks.get_subscription_count())
        robot.pairs(3)
        for n in range(3):
            info.publish(CameraInfo(width=64, height=48, k=[float(n // 2), *[0.0] * 8]))
            track = Track(target_id='a', confidence=0.5)
            set_stamp(track, 1000 + n)
            tracks.publish(track)
            time.sleep(0.05)
        robot.until(lambda s: s.tracks == 3, 'three tracks')
        robot.call('stop')
        robot.check()
        rows = robot.rows()
        infos = [deserialize_message(d, CameraInfo) for t, _, _, d in rows if 'info' in t]
        assert [i.k[0] for i in infos] == [0, 1]
        found = [(n, deserialize_message(d, Track)) for t, n, _, d in rows
                 if t == '/rgbt_tracker/track']
        assert [(n, stamp_of(t), t.target_id) for n, t in found] == [
            (n, 1000 + n, 'a') for n in range(3)]
        assert len(manifest(tmp_path, 'pairs_0000')['calibration']['thermal']) == 2


@pytest.mark.parametrize('others', [0, 1])
def test_a_calibration_that_was_published_once_is_recorded(
        others: int, ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path, start=False, autostart=False) as robot:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        once = robot.node.create_publisher(CameraInfo, 'rgb/camera_info', latched)
        once.publish(CameraInfo(width=64, height=48, k=[500.0, *[0.0] * 8]))
        often = [robot.node.create_publisher(CameraInfo, 'thermal/camera_info', qos)
                 for qos in (latched, QoSProfile(depth=1))[:1 + others]]
        assert robot.call('start').success
        wait_for(lambda: all(p.get_subscription_count() for p in (once, *often)))
        for _ in range(3):      # where one is not latched, what it sends comes all the same
            often[-1].publish(CameraInfo(width=64, height=48, k=[300.0, *[0.0] * 8]))
            time.sleep(0.05)
        robot.cameras.start()
        robot.pairs(5)
        robot.call('stop')
        robot.check()
        infos = {t: deserialize_message(d, CameraInfo).k[0] for t, _, _, d in robot.rows()
                 if 'info' in t}
        assert infos == {'/rgb/camera_info': 500.0, '/thermal/camera_info': 300.0}


def test_images_that_wait_for_partners_are_counted_and_bounded(
        ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path, queue_bytes=1_000_000, pair_deadline=10.0) as robot:
        robot.pairs(3)
        robot.cameras.on['thermal'] = False
        before = robot.status.unmatched
        robot.until(lambda s: s.unmatched >= before + 5)
        assert 900_000 < max(s.queued_bytes for s in robot.statuses) <= 1_000_000
        robot.call('stop')
        robot.check()


def test_definitions_are_those_of_the_middleware(ros_context: Context) -> None:
    node = Node('hashes', context=ros_context)
    for kind, name in ((Image, 'sensor_msgs/msg/Image'), (Track, 'rgbt_tracker_ros/msg/Track'),
                       (CameraInfo, 'sensor_msgs/msg/CameraInfo'),
                       (CompressedImage, 'sensor_msgs/msg/CompressedImage')):
        node.create_publisher(kind, f'a/{kind.__name__}', 1)
        topic = f'a/{kind.__name__}'
        info = wait_for(lambda t=topic: node.get_publishers_info_by_topic(t))[0]
        assert definition_of(name).digest == (
            f'RIHS0{info.topic_type_hash.version}_{bytes(info.topic_type_hash.value).hex()}')
    node.destroy_node()


def test_start_stop_and_split(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path, autostart=False) as robot:
        assert robot.status.state == RecorderStatus.STOPPED
        assert not robot.call('split').success
        answer = robot.call('stop')
        assert (answer.success, answer.message) == (True, 'was not recording')
        assert segments(tmp_path) == []
        assert robot.call('start').success
        assert robot.call('start').message == f'already recording to {tmp_path}'
        robot.until(lambda s: s.pairs >= 5)
        answer = robot.call('split')
        assert (answer.success, answer.message) == (True, 'pairs_0000.partial ends here')
        robot.until(lambda s: s.segments == 1 and s.segment == 'pairs_0001.partial')
        robot.pairs(3)
        assert robot.call('stop').success
        assert robot.call('start').success
        robot.until(lambda s: 3 <= s.pairs, 'pairs after a restart')
        robot.call('stop')
        assert segments(tmp_path) == ['pairs_0000', 'pairs_0001', 'pairs_0002']
        assert [manifest(tmp_path, s)['reason'] for s in segments(tmp_path)] == [
            'split', 'stop', 'stop']
        robot.check()


def test_a_silent_camera_is_named_and_costs_nothing(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path, stream_timeout=0.3) as robot:
        robot.pairs(5)
        robot.cameras.on['thermal'] = False
        status = robot.until(lambda s: 'has stopped' in s.message)
        assert 'thermal (/thermal/image_raw) has stopped: no image for' in status.message
        assert status.state == RecorderStatus.RECORDING
        robot.until(lambda s: s.unmatched >= 5, 'images without a partner')
        robot.cameras.on['thermal'] = True
        robot.until(lambda s: not s.message, 'recovery')
        robot.pairs(5)
        robot.call('stop')
        robot.check()
        assert manifest(tmp_path, 'pairs_0000')['unmatched'] >= 5
        wait_for(lambda: any(d.level == DiagnosticStatus.ERROR and d.name.endswith(': thermal')
                             for d in robot.diagnostics))


def test_without_cameras_it_says_what_it_waits_for(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path, start=False) as robot:
        status = robot.until(lambda s: s.message)
        assert 'no image has arrived yet' in status.message
        assert robot.call('stop').success
        assert segments(tmp_path) == []


@pytest.mark.parametrize('stamp, text', [
    (0, 'the driver has to stamp its images'), (5 * 10**9, 'is not newer than the one before')])
def test_equal_stamps_are_told(stamp: int, text: str, ros_context: Context, tmp_path: Path
                               ) -> None:
    with rig(ros_context, tmp_path) as robot:
        robot.pairs(3)
        robot.cameras.change['thermal'] = lambda m: set_stamp(m, stamp)
        robot.until(lambda s: text in s.message)
        robot.cameras.change.pop('thermal')
        robot.pairs(5)
        robot.call('stop')
        robot.cameras.running = False
        rows = [row for row in robot.rows() if row[0] == '/rgb/image_raw']
        assert len(rows) >= 8
        for segment in segments(tmp_path):
            stamps = [stamp_of(deserialize_message(row[3], Image))
                      for row in by_mcap(tmp_path / segment) if row[0] == '/rgb/image_raw']
            assert stamps == sorted(set(stamps))


def test_stamps_that_go_back_an_hour_begin_a_segment(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path) as robot:
        robot.pairs(5)
        robot.cameras.offset = -HOUR
        status = robot.until(lambda s: 'went back: a new segment begins' in s.message)
        assert status.state == RecorderStatus.RECORDING
        robot.until(lambda s: s.segments == 1)
        robot.pairs(5)
        robot.call('stop')
        assert robot.check() >= 10
        first, second = (manifest(tmp_path, s) for s in segments(tmp_path))
        assert (first['reason'], second['reason']) == ('clock', 'stop')
        assert second['first_stamp'] < first['first_stamp']


def test_images_that_change_size_stay_in_the_segment(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path) as robot:
        robot.pairs(5)
        robot.cameras.change['thermal'] = lambda m: resize(m, 32)
        robot.pairs(5)
        robot.call('stop')
        robot.check()
        formats = manifest(tmp_path, 'pairs_0000')['streams']['thermal']['formats']
        assert [f['width'] for f in formats] == [64, 32]
        assert all(f['pairs'] >= 4 for f in formats)


def test_malformed_messages_are_left_out(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path) as robot:
        robot.pairs(3)
        robot.cameras.change['rgb'] = lambda m: setattr(m, 'encoding', 'nonsense')
        status = robot.until(lambda s: s.invalid)
        assert "encoding 'nonsense' can not be used as rgb" in status.message
        robot.cameras.change.pop('rgb')
        robot.pairs(3)
        robot.call('stop')
        robot.check()


def test_a_directory_that_vanishes(ros_context: Context, tmp_path: Path) -> None:
    folder = tmp_path / 'disk'
    with rig(ros_context, folder) as robot:
        robot.pairs(3)
        robot.call('split')
        robot.pairs(3)
        shutil.rmtree(folder)
        status = robot.until(lambda s: s.state == RecorderStatus.FAILED)
        assert 'pairs_0001.partial has vanished' in status.message
        assert robot.call('start').success
        robot.until(lambda s: s.state == RecorderStatus.RECORDING and s.pairs >= 3)
        robot.call('stop')
        robot.check()
        assert segments(folder) == ['pairs_0000']


def test_too_little_space_refuses_until_that_changes(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path, min_free_bytes=10**15) as robot:
        status = robot.until(lambda s: s.state == RecorderStatus.FAILED)
        assert 'fewer than min_free_bytes (1,000,000,000,000,000)' in status.message
        answer = robot.call('start')
        assert not answer.success
        assert 'min_free_bytes' in answer.message
        wait_for(lambda: any(d.level == DiagnosticStatus.ERROR and 'min_free' in d.message
                             for d in robot.diagnostics))
        assert robot.set(min_free_bytes=0) == (True, '')
        assert robot.call('start').success
        robot.until(lambda s: s.pairs >= 3 and not s.message)
        robot.call('stop')
        robot.check()


def test_parameters_are_held_to_the_table(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path, segment_duration=-5.0) as robot:
        status = robot.until(lambda s: s.state == RecorderStatus.FAILED)
        assert 'segment_duration is -5.0; it must be within 1 to 86400' in status.message
        assert robot.set(segment_duration=60) == (True, '')
        assert robot.call('start').success
        robot.until(lambda s: s.pairs >= 3)
        assert robot.set(recording='other') == (
            False, 'recording can only change while stopped; call ~/stop first')
        assert 'needs twice segment_bytes' in robot.set(when_full='delete_oldest')[1] or (
            'call ~/stop first' in robot.set(when_full='delete_oldest')[1])
        assert robot.set(every_n=1000) == (True, '')
        robot.until(lambda s: s.skipped > 10)
        assert robot.status.state == RecorderStatus.RECORDING
        robot.call('stop')
        robot.check()


def test_a_slow_disk_never_keeps_the_node_from_answering(
        ros_context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, write = Event(), Segment.add_pair
    go.set()
    monkeypatch.setattr(Segment, 'add_pair', lambda s, p: go.wait(20) and write(s, p))
    with rig(ros_context, tmp_path, queue_bytes=1_000_000) as robot:
        robot.pairs(3)
        go.clear()
        before = robot.status.rgb_received
        status = robot.until(lambda s: s.dropped >= 5 and 'pairs lost lately' in s.message)
        assert status.rgb_received > before + 50        # a megabyte is 66 pairs
        # 66 pairs, and what waits for a partner just then
        assert status.queued_bytes <= 1_000_000 + 4 * 15_500
        assert robot.call('split').success
        go.set()
        robot.pairs(5)
        assert robot.call('stop').success
        robot.check()
        assert sum(manifest(tmp_path, s)['dropped'] for s in segments(tmp_path)) >= 5


def test_thermal_stamps_can_be_shifted_for_matching_alone(ros_context: Context, tmp_path: Path
                                                          ) -> None:
    with rig(ros_context, tmp_path, start=False) as robot:
        robot.cameras.change['thermal'] = lambda m: set_stamp(m, stamp_of(m) + 10**9)
        robot.cameras.start()
        robot.until(lambda s: 'no pairs: thermal stamps are +' in s.message)
        robot.call('stop')
        assert segments(tmp_path) == []
        assert robot.set(thermal_time_offset=-1.0) == (True, '')
        robot.call('start')
        robot.until(lambda s: s.pairs >= 5)
        robot.call('stop')
        rows = [deserialize_message(row[3], Image) for row in robot.rows()]
        assert all(stamp_of(t) - stamp_of(r) == 10**9
                   for r, t in zip(rows[::2], rows[1::2], strict=True))
        assert manifest(tmp_path, 'pairs_0000')['skew']['offset'] == -1000
        assert manifest(tmp_path, 'pairs_0000')['skew']['median'] == 0


def test_stamps_that_drift_apart_after_pairs_were_recorded_are_told(
        ros_context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_status, 'RECENT', 4)       # 2 s
    with rig(ros_context, tmp_path) as robot:
        robot.pairs(3)
        robot.cameras.change['thermal'] = lambda m: set_stamp(m, stamp_of(m) + 10**9)
        robot.until(lambda s: 'no pairs: thermal stamps are +' in s.message)
        robot.cameras.change.clear()
        robot.until(lambda s: not s.message)


def test_compressed_images_are_recorded_as_they_are(ros_context: Context, tmp_path: Path) -> None:
    import cv2
    import numpy as np
    with rig(ros_context, tmp_path, start=False, image_transport='compressed') as robot:
        publishers = {s: robot.node.create_publisher(
            CompressedImage, f'{s}/image_raw/compressed', 10) for s in ('rgb', 'thermal')}
        wait_for(lambda: all(p.get_subscription_count() for p in publishers.values()))
        sent = []
        for n in range(1, 9):
            data = cv2.imencode('.png', np.full((48, 64), n, np.uint8))[1].tobytes()
            for name, publisher in publishers.items():
                msg = CompressedImage(format='png', data=data)
                msg.header.frame_id = name
                set_stamp(msg, n * 33_000_000)
                sent.append(bytes(serialize_message(msg)))
                publisher.publish(sent[-1])
            time.sleep(0.03)
        robot.until(lambda s: s.pairs == 8)
        robot.call('stop')
        assert [row[3] for row in robot.rows()] == sent
        assert manifest(tmp_path, 'pairs_0000')['streams']['rgb']['formats'] == [
            {'encoding': 'png', 'width': None, 'height': None, 'pairs': 8}]


def test_one_camera_may_be_compressed(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path, start=False, rgb_transport='compressed') as robot:
        publisher = robot.node.create_publisher(CompressedImage, 'rgb/image_raw/compressed', 10)

        def beside(msg: Image) -> None:
            publisher.publish(CompressedImage(header=msg.header, format='jpeg',
                                              data=b'\xff\xd8\xff\xd9'))

        robot.cameras.change['thermal'] = beside
        robot.cameras.start()
        robot.pairs(5)
        robot.call('stop')
        streams = manifest(tmp_path, 'pairs_0000')['streams']
        assert [streams[s]['formats'][0]['encoding'] for s in ('rgb', 'thermal')] == [
            'jpeg', 'mono16']


def test_a_folder_of_a_user_that_there_is_not(ros_context: Context) -> None:
    with rig(ros_context, Path('~nosuchuser/rec'), start=False) as robot:
        reason = "output_dir is '~nosuchuser/rec'; that user has no home directory here"
        robot.until(lambda s: reason in s.message)
        answer = robot.call('start')
        assert (answer.success, answer.message) == (False, f'{reason}: give the whole path')


def test_simulated_time_is_the_time_of_recording(ros_context: Context, tmp_path: Path) -> None:
    with rig(ros_context, tmp_path, use_sim_time=True) as robot:
        clock = robot.node.create_publisher(Clock, '/clock', 10)
        wait_for(clock.get_subscription_count)
        status = robot.until(lambda s: 'nothing has come on /clock' in s.message)
        assert status.rgb_received and not status.pairs     # it would be in 1970
        clock.publish(Clock(clock=Time(sec=5)))
        robot.pairs(3)
        robot.until(lambda s: not s.message)
        robot.call('stop')
        assert robot.check() >= 3
        assert segments(tmp_path) == ['pairs_0000']
        assert {row[2] for row in robot.rows()} == {5 * 10**9}


# --- the program

@contextmanager
def program(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run recorder_node in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'rgbt_tracker_ros.nodes.recorder_node', '--ros-args',
         '-p', f'output_dir:={folder}', '-p', 'min_free_bytes:=0', *arguments],
        env=dict(os.environ))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals(number: signal.Signals, ros_context: Context, tmp_path: Path) -> None:
    robot = Rig(ros_context, tmp_path, QoSProfile(depth=10))
    # flushed by size alone, so that there is something in memory when the signal comes
    with spinning(ros_context, robot.node), program(
            tmp_path, '-p', 'flush_interval:=10.0', '-p', 'chunk_bytes:=65536') as process:
        wait_for(lambda: robot.statuses or process.poll() is not None, 30, 'first status')
        wait_for(lambda: all(p.get_subscription_count()
                             for p in robot.cameras.publishers.values()), 30, 'subscriptions')
        robot.cameras.start()
        robot.until(lambda s: s.pairs >= 20)
        robot.cameras.running = False
        robot.cameras.join()
        count = robot.settled()     # a busy machine may have lost one on its way here
        assert count >= 20
        process.send_signal(number)
        status = process.wait(60)
    robot.node.destroy_node()
    if number == signal.SIGKILL:
        assert status == -signal.SIGKILL
        assert segments(tmp_path) == ['pairs_0000.partial']
        rows = by_streaming(tmp_path / 'pairs_0000.partial')
        assert len(rows) % 2 == 0
        assert count - 5 <= len(rows) // 2 <= count     # 65536 bytes are less than five pairs
        for row in rows:
            name = row[0].split('/')[1]
            assert row[3] == robot.sent[name][stamp_of(deserialize_message(row[3], Image))]
        return
    assert status == 0
    assert segments(tmp_path) == ['pairs_0000']
    assert robot.check() == count
    assert manifest(tmp_path, 'pairs_0000')['reason'] == 'shutdown'


@pytest.mark.parametrize('name', NEEDED)
def test_says_what_is_not_installed(name: str) -> None:
    code = (f'import sys; sys.modules[{name!r}] = None\n'
            'from rgbt_tracker_ros.nodes.recorder_node import main; sys.exit(main())')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (f'recorder_node: {name} is not installed: pip install mcap lz4 '
                           'zstandard rosbags\n')


# --- the table

def test_config_file_is_the_table() -> None:
    file = ROOT / 'config' / 'recorder.yaml'
    assert file.read_text() == render_yaml('rgbt_recorder', TABLE, 'recorder_parameters'), (
        'run: python -m rgbt_tracker_ros.nodes.recorder_parameters yaml > config/recorder.yaml')
    values = yaml.safe_load(file.read_text())['/**']['rgbt_recorder']['ros__parameters']
    assert values.keys() == TABLE.keys()
    assert RecorderParameters.build(values) == RecorderParameters()


@pytest.mark.parametrize('values, reason', [
    ({'when_full': 'delete_oldest'}, 'needs twice segment_bytes'),
    ({'compression': 'zip'}, "compression is 'zip'; it must be one of none, lz4, zstd"),
    ({'output_dir': '~nosuchuser/x'}, 'give the whole path'),
    ({'every_n': 0}, 'every_n is 0; it must be within 1 to 1e'),
    ({'output_dir': 3}, 'output_dir is 3; it must be a string')])
def test_values_that_make_no_sense(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        RecorderParameters.build(values)


