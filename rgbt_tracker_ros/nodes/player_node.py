"""The node `rgbt_player`: publishes a recorded sequence as two cameras would."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
import signal
import sys
import threading
import time
from typing import Any

from builtin_interfaces.msg import Time
import rclpy
from rclpy.duration import Duration
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
from rgbt_tracker_ros.data.sources import PairSource, open_source, prefetch
from rgbt_tracker_ros.msg import Box, Track
from rgbt_tracker_ros.nodes.camera_messages import (
    compressed_message,
    image_message,
    read_camera_info,
)
from rgbt_tracker_ros.nodes.node_parameters import descriptor
from rgbt_tracker_ros.nodes.parameters import START, Spec, check
from rgbt_tracker_ros.nodes.parameters import parameter as _p
from rgbt_tracker_ros.nodes.playback import FAULTS, Fault, Outbox, Parcel

FRAME_RATE = 30.0  # Hz, of sources that don't tell theirs
POLL = 0.05  # s between two looks for subscribers


@dataclass(frozen=True, slots=True)
class PlayerParameters:
    """The node's parameters; all are read at start."""

    rgb: str = _p('', 'video file or folder of images; empty with thermal empty too: the clip '
                  'that comes with the package', START)
    thermal: str = _p('', 'the same for the thermal camera; empty: there is none', START)
    groundtruth: str = _p('', 'CSV file (frame,x,y,w,h) for ~/groundtruth', START)
    camera_info: str = _p('', 'calibration of the RGB camera (YAML of camera_calibration) for '
                          'rgb/camera_info', START)
    rate: float = _p(0.0, 'Hz; 0: as the file says, 30 where it says nothing', START,
                     low=0, high=1000)
    loop: bool = _p(False, 'begin again at the end; stamps go on', START)
    start_delay: float = _p(0.0, 's between the first subscriber and the first image', START,
                            low=0, high=3600)
    wait_for_subscribers: str = _p('images', 'begin only when there is a subscriber to each image '
                                   'topic, or to all (~/groundtruth too)', START,
                                   choices=('none', 'images', 'all'))
    start_stamp: float = _p(0.0, 's, stamp of the first image, the others following at the rate; '
                            '0: every image has the time it is sent at', START, low=0, high=4e9)
    clock: bool = _p(False, 'publish /clock, for nodes with use_sim_time', START)
    reliability: str = _p('reliable', 'of the image publishers', START,
                          choices=('reliable', 'best_effort'))
    compressed: bool = _p(False, 'publish .../compressed (JPEG; PNG for 16 bits) in place of raw '
                          'images', START)
    rgb_frame_id: str = _p('rgb_optical_frame', 'frame_id of the RGB images', START)
    thermal_frame_id: str = _p('thermal_optical_frame', 'frame_id of the thermal images', START)
    read_ahead: int = _p(30, 'pairs decoded before they are due', START, low=1, high=1000)
    fault: str = _p('none', 'rehearse a failure of a camera: stop sends nothing, freeze the same '
                    'picture again and again, late everything after fault_delay', START,
                    choices=FAULTS)
    fault_stream: str = _p('rgb', 'the camera that fails', START, choices=('rgb', 'thermal'))
    fault_start: float = _p(1.0, 's after the first image', START, low=0, high=1e6)
    fault_duration: float = _p(3.0, 's', START, low=0, high=1e6)
    fault_delay: float = _p(0.2, 's', START, low=0, high=60)

    @property
    def shipped(self) -> bool:
        """Whether the clip is the one that comes with the package."""
        return not self.rgb and not self.thermal


TABLE: dict[str, Spec] = {f.name: f.metadata['spec'] for f in fields(PlayerParameters)}


class PlayerNode(Node):
    """Plays in a thread of its own; `finished` is done when the last image is out."""

    def __init__(self, **options: Any) -> None:
        """Open the sources.

        :raises ValueError: a parameter out of range, a source that can't be read (SourceError).
        :raises OSError: a file that isn't there.
        """
        super().__init__('rgbt_player', **options)
        self.settings = p = declare(self)
        rgb, thermal, boxes = (
            (str(SMOKE.rgb), str(SMOKE.thermal), p.groundtruth or str(SMOKE.groundtruth))
            if p.shipped else (p.rgb, p.thermal, p.groundtruth))
        sources = {s: open_source(path) if path else None
                   for s, path in (('rgb', rgb), ('thermal', thermal))}
        rates = [s.fps for s in sources.values() if s is not None and s.fps]
        self.rate = p.rate or next(iter(rates), FRAME_RATE)
        self._source = PairSource(sources['rgb'], sources['thermal'], self.rate)
        self._boxes = read_boxes(boxes) if boxes else {}
        self._info = read_camera_info(p.camera_info) if p.camera_info else None

        self.finished: Future = Future()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name='player')
        self._outbox: Outbox[Any] = Outbox(Fault(
            p.fault, p.fault_stream, p.fault_start, p.fault_duration, p.fault_delay))
        self._cameras = {s: self._camera(s) for s, source in sources.items() if source}
        self._outputs: dict[str, Publisher] = dict(self._cameras)
        if self._boxes:
            # latched: who comes late gets what was before
            latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._outputs['groundtruth'] = self.create_publisher(Track, '~/groundtruth', latched)
        self._info_publisher = (self.create_publisher(CameraInfo, 'rgb/camera_info', 5)
                                if self._info else None)
        self._clock_publisher = self.create_publisher(Clock, '/clock', 10) if p.clock else None

    def start(self) -> None:
        """Start playing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop playing, and wait for the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _camera(self, stream: str) -> Publisher:
        p = self.settings
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy[p.reliability.upper()])
        if p.compressed:
            return self.create_publisher(CompressedImage, f'{stream}/image_raw/compressed', qos)
        return self.create_publisher(Image, f'{stream}/image_raw', qos)

    def _run(self) -> None:
        # read ahead while waiting: decoding must not compete with the first images
        frames = prefetch(self._frames(), self.settings.read_ahead)
        try:
            first = next(frames, None)
            if self._wait_for_subscribers():
                self._play(frames, first)
        except Exception as error:  # whatever it is, the process must end and tell
            self.finished.set_exception(error)
        else:
            self.finished.set_result(True)
        finally:
            frames.close()

    def _wait_for_subscribers(self) -> bool:
        """Return False when told to stop before."""
        missing = {'none': [], 'images': [*self._cameras.values()],
                   'all': [*self._outputs.values()]}[self.settings.wait_for_subscribers]
        while missing and not self._stopped.is_set():
            missing = [p for p in missing if not p.get_subscription_count()]
            if missing:
                topics = ', '.join(p.topic_name for p in missing)
                self.get_logger().info(f'waiting for a subscriber to {topics}',
                                       throttle_duration_sec=5.0)
                self._stopped.wait(POLL)
        return not self._stopped.wait(self.settings.start_delay)

    def _play(self, frames: Iterator[dict[str, Any]], frame: dict[str, Any] | None) -> None:
        p, period = self.settings, 1 / self.rate
        self.get_logger().info(f'playing {" and ".join(self._cameras)} at {self.rate:g} Hz'
                               + (f', {p.fault_stream}: {p.fault}' if p.fault != 'none' else ''))
        self._zero, began = time.monotonic(), self.get_clock().now().nanoseconds
        index = 0
        while frame is not None and not self._stopped.is_set():
            at = index * period
            for parcel in self._outbox.due(at):
                self._send(parcel)
            if not self._sleep_until(at):
                break
            if p.start_stamp or p.clock:
                stamp = (round(p.start_stamp * 1e9) or began) + round(at * 1e9)
            else:
                stamp = self.get_clock().now().nanoseconds
            if self._clock_publisher:
                self._clock_publisher.publish(Clock(clock=_time(stamp)))
            self._outbox.add(at, stamp, frame)
            behind = time.monotonic() - self._zero - at
            if behind > 2 * period:
                self.get_logger().warning(
                    f'{behind:.2f} s behind: this machine reads or sends slower than '
                    f'{self.rate:g} Hz', throttle_duration_sec=2.0)
            frame, index = next(frames, None), index + 1
        for parcel in self._outbox.due():
            self._send(parcel)
        for publisher in self._outputs.values():
            publisher.wait_for_all_acked(Duration(seconds=1))
        self.get_logger().info(f'played {index} frames')

    def _frames(self) -> Iterator[dict[str, Any]]:
        """Yield a message per stream, frame by frame; runs in the thread that reads ahead."""
        make: Callable[[Any], Any] = (compressed_message if self.settings.compressed
                                      else image_message)
        frame_ids = {'rgb': self.settings.rgb_frame_id, 'thermal': self.settings.thermal_frame_id}
        reference = frame_ids[next(iter(self._cameras))]
        while True:
            for index, pair in enumerate(self._source):
                messages = {s: make(getattr(pair, s)) for s in self._cameras}
                for stream, message in messages.items():
                    message.header.frame_id = frame_ids[stream]
                if index in self._boxes:
                    x, y, w, h = self._boxes[index].as_tuple()
                    track = Track(target_id='groundtruth', state=Track.TRACKING, confidence=1.0,
                                  box=Box(x=x, y=y, w=w, h=h))
                    track.header.frame_id = reference
                    messages['groundtruth'] = track
                yield messages
            if not self.settings.loop:
                return

    def _send(self, parcel: Parcel[Any]) -> None:
        if not self._sleep_until(parcel.due):
            return
        parcel.message.header.stamp = _time(parcel.stamp)
        if parcel.stream == 'rgb' and self._info is not None and self._info_publisher:
            self._info.header = parcel.message.header
            self._info_publisher.publish(self._info)
        self._outputs[parcel.stream].publish(parcel.message)

    def _sleep_until(self, at: float) -> bool:
        """Sleep until `at` s of playing time; return False when told to stop."""
        return not self._stopped.wait(max(0.0, self._zero + at - time.monotonic()))


def declare(node: Node) -> PlayerParameters:
    """Declare the parameters and return their values.

    :raises ParameterError: if one is not allowed.
    :raises ParameterException: if rclpy refuses it before.
    """
    values: dict[str, Any] = {}
    for name, spec in TABLE.items():
        value = node.declare_parameter(name, spec.default, descriptor(spec)).value
        values[name] = check(name, value, TABLE)
    return PlayerParameters(**values)


def main(args: list[str] | None = None) -> int:
    """Play until the end; return the exit status."""
    signal.signal(signal.SIGINT, lambda *_: None)  # rclpy's own handler ends the spinning
    rclpy.init(args=args)
    node: PlayerNode | None = None
    try:
        node = PlayerNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        node.start()
        executor.spin_until_future_complete(node.finished)
        if node.finished.done():
            node.finished.result()
    except ExternalShutdownException:
        pass
    except (ValueError, OSError, ParameterException) as error:
        print(f'rgbt_player: {error}', file=sys.stderr)
        return 1
    finally:
        if node is not None:
            node.stop()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _time(stamp: int) -> Time:
    seconds, nanoseconds = divmod(stamp, 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


if __name__ == '__main__':
    sys.exit(main())
