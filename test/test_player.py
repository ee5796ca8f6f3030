"""The player, over DDS."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, TimeReference
from test_playback import CALIBRATION

from rgbt_tracker_ros.msg import Track
from rgbt_tracker_ros.nodes.player_node import TABLE, PlayerNode

FRAMES = 12
TOPICS = {
    'rgb/image_raw': Image,
    'thermal/image_raw': Image,
    'rgb/image_raw/compressed': CompressedImage,
    'thermal/image_raw/compressed': CompressedImage,
    'rgb/camera_info': CameraInfo,
    'thermal/camera_info': CameraInfo,
    'rgbt_player/pairs': TimeReference,
    'rgbt_player/groundtruth': Track,
    '/clock': Clock,
}
Heard = dict[str, list[Any]]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two folders of small images, each of them different, a calibration and true boxes."""
    for i in range(FRAMES):
        for name, image in (('rgb', np.full((24, 32, 3), 10 * i, np.uint8)),
                            ('thermal', np.full((12, 16), 2000 * i, np.uint16))):
            (tmp_path / name).mkdir(exist_ok=True)
            assert cv2.imwrite(str(tmp_path / name / f'{i}.png'), image)
    (tmp_path / 'rgb.yaml').write_text(CALIBRATION)
    (tmp_path / 'boxes.csv').write_text('frame,x,y,w,h\n0,1,2,3,4\n2,5,6,7,8\n')
    return tmp_path


class Rig:
    """Plays, and listens to all there is."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.heard: Heard = defaultdict(list)
        self.listener = Node('listener', context=context)
        qos = QoSProfile(depth=1000, durability=DurabilityPolicy.VOLATILE)
        for topic, kind in TOPICS.items():
            self.listener.create_subscription(kind, topic, self.heard[topic].append, qos)

    def play(self, count: int | None = None, **parameters: Any) -> Heard:
        """Play to the end, or until `count` RGB images were heard."""
        player = PlayerNode(context=self.context, parameter_overrides=[
            Parameter(name, value=value)
            for name, value in ({'wait_for_subscribers': 'all', 'start_delay': 0.3}
                                | parameters).items()])
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(player)
        executor.add_node(self.listener)
        player.start()
        deadline = time.monotonic() + 30
        images = self.heard['rgb/image_raw']
        while not player.finished.done() and (count is None or len(images) < count):
            executor.spin_once(timeout_sec=0.1)
            assert time.monotonic() < deadline, 'the player does not come to an end'
        for _ in range(20):  # what is still on its way
            executor.spin_once(timeout_sec=0.02)
        player.stop()
        if count is None:
            player.finished.result()
        executor.shutdown()
        player.destroy_node()
        return self.heard


@pytest.fixture
def rig(ros_context: Context) -> Iterator[Rig]:
    made = Rig(ros_context)
    yield made
    made.listener.destroy_node()


def stamps(messages: list[Any]) -> list[int]:
    return [m.header.stamp.sec * 1_000_000_000 + m.header.stamp.nanosec for m in messages]


def level(message: Image) -> int:
    """Return which frame an image is."""
    if message.encoding == 'rgb8':
        return message.data[0] // 10
    return int(np.frombuffer(message.data, np.uint16)[0]) // 2000


def test_two_folders(rig: Rig, folders: Path) -> None:
    heard = rig.play(rgb=str(folders / 'rgb'), thermal=str(folders / 'thermal'),
                     groundtruth=str(folders / 'boxes.csv'),
                     camera_info=str(folders / 'rgb.yaml'), rate=50.0, start_stamp=100.5)
    rgb, thermal = heard['rgb/image_raw'], heard['thermal/image_raw']
    assert [level(m) for m in rgb] == [level(m) for m in thermal] == list(range(FRAMES))
    assert {(m.encoding, m.height, m.width) for m in rgb} == {('rgb8', 24, 32)}
    assert {(m.encoding, m.height, m.width) for m in thermal} == {('mono16', 12, 16)}
    expected = [100_500_000_000 + 20_000_000 * i for i in range(FRAMES)]
    assert stamps(rgb) == stamps(thermal) == stamps(heard['rgb/camera_info']) == expected
    assert {m.header.frame_id for m in rgb + heard['rgb/camera_info']} == {'rgb_optical_frame'}
    assert heard['rgb/camera_info'][0].k[2] == 320
    truth = heard['rgbt_player/groundtruth']
    assert stamps(truth) == [expected[0], expected[2]]
    assert [(t.box.x, t.box.y, t.box.w, t.box.h) for t in truth] == [(1, 2, 3, 4), (5, 6, 7, 8)]


def test_shipped_clip_has_its_groundtruth(rig: Rig) -> None:
    heard = rig.play(count=5)
    rgb, truth = heard['rgb/image_raw'], heard['rgbt_player/groundtruth']
    assert heard['thermal/image_raw'][0].encoding == 'mono8'
    assert (rgb[0].width, rgb[0].height, rgb[0].encoding) == (640, 480, 'rgb8')
    assert stamps(rgb)[:5] == stamps(truth)[:5]
    assert truth[0].box.x == 521.0
    now = time.time_ns()
    assert all(now - 60e9 < s <= now for s in stamps(rgb))


def test_one_camera_alone(rig: Rig, folders: Path) -> None:
    heard = rig.play(thermal=str(folders / 'thermal'), rate=100.0)
    assert len(heard['thermal/image_raw']) == FRAMES
    assert not heard['rgb/image_raw'] and not heard['rgbt_player/groundtruth']


def test_loop_goes_on_with_the_stamps(rig: Rig, folders: Path) -> None:
    heard = rig.play(count=2 * FRAMES + 3, rgb=str(folders / 'rgb'), rate=100.0, loop=True,
                     start_stamp=1.0)
    rgb = heard['rgb/image_raw']
    assert [level(m) for m in rgb] == [i % FRAMES for i in range(len(rgb))]
    assert stamps(rgb) == [1_000_000_000 + 10_000_000 * i for i in range(len(rgb))]


def test_compressed_and_clock(rig: Rig, folders: Path) -> None:
    heard = rig.play(rgb=str(folders / 'rgb'), thermal=str(folders / 'thermal'), rate=50.0,
                     compressed=True, clock=True, start_stamp=5.0)
    assert not heard['rgb/image_raw'] and not heard['thermal/image_raw']
    assert [m.format.split()[1] for m in heard['rgb/image_raw/compressed']] == ['jpeg'] * FRAMES
    assert [m.format.split()[1] for m in heard['thermal/image_raw/compressed']] == ['png'] * FRAMES
    times = [c.clock.sec * 1_000_000_000 + c.clock.nanosec for c in heard['/clock']]
    assert times == stamps(heard['rgb/image_raw/compressed'])


@pytest.mark.parametrize(('fault', 'shown', 'stamped'), [
    ('stop', [0, 1, 2, 7, 8, 9, 10, 11], [0, 1, 2, 7, 8, 9, 10, 11]),
    ('freeze', [0, 1, 2, 2, 2, 2, 2, 7, 8, 9, 10, 11], list(range(12))),
    ('late', list(range(12)), list(range(12))),
])
def test_fault(fault: str, shown: list[int], stamped: list[int], rig: Rig, folders: Path) -> None:
    heard = rig.play(rgb=str(folders / 'rgb'), thermal=str(folders / 'thermal'), rate=20.0,
                     start_stamp=1.0, fault=fault, fault_stream='rgb', fault_start=0.13,
                     fault_duration=0.2, fault_delay=0.1)
    assert [level(m) for m in heard['rgb/image_raw']] == shown
    assert stamps(heard['rgb/image_raw']) == [1_000_000_000 + 50_000_000 * i for i in stamped]
    assert [level(m) for m in heard['thermal/image_raw']] == list(range(FRAMES))


@pytest.mark.parametrize(('parameter', 'reason'), [
    ('rgb:=/no/such/file', '/no/such/file: no such file or folder'),
    ('rate:=-1', 'rate is -1; it must be within 0 to 1000'),
    ('fault:=explode', "fault is 'explode'; it must be one of none, stop, freeze, late"),
    ('camera_info:=/no/such.yaml', "No such file or directory: '/no/such.yaml'"),
    ('groundtruth:=/no/such.csv', "No such file or directory: '/no/such.csv'"),
])
def test_bad_parameter_ends_the_process(parameter: str, reason: str, domain_id: int) -> None:
    command = [sys.executable, '-m', 'rgbt_tracker_ros.nodes.player_node']
    done = subprocess.run([*command, '--ros-args', '-p', parameter], capture_output=True,
                          text=True, timeout=180)
    assert done.returncode == 1
    assert done.stderr.startswith('rgbt_player: ') and reason in done.stderr
    assert 'Traceback' not in done.stderr


def test_every_parameter_is_declared_with_its_description(ros_context: Context) -> None:
    player = PlayerNode(context=ros_context)
    for name, spec in TABLE.items():
        about = player.describe_parameter(name)
        assert about.description == spec.text and about.read_only
    player.stop()
    player.destroy_node()
