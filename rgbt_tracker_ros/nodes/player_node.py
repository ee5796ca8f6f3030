"""The node `rgbt_player`: publishes a recording as two cameras would."""
from __future__ import annotations

from collections.abc import Iterator
import itertools
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
from sensor_msgs.msg import CameraInfo, CompressedImage, TimeReference

from rgbt_tracker_ros.data.sources import prefetch
from rgbt_tracker_ros.msg import Box, Track
from rgbt_tracker_ros.nodes.node_parameters import descriptor
from rgbt_tracker_ros.nodes.parameters import check
from rgbt_tracker_ros.nodes.play_sources import PlayedPair, PlaySource, Shot
from rgbt_tracker_ros.nodes.playback import Fault, Outbox, Parcel
from rgbt_tracker_ros.nodes.player_parameters import TABLE, PlayerParameters, open_played

POLL = 0.05  # s between two looks for subscribers


class PlayerNode(Node):
    """Plays in a thread of its own; `finished` is done when the last image is out."""

    def __init__(self, **options: Any) -> None:
        """Open the recording.

        :raises ValueError: a parameter out of range, a recording that can't be read.
        :raises OSError: a file that isn't there.
        """
        super().__init__('rgbt_player', **options)
        self.settings = p = declare(self)
        self.source: PlaySource = open_played(p)
        self._kept = p.keeps_stamps(self.source)

        self.finished: Future = Future()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name='player')
        self._outbox: Outbox[Any] = Outbox(Fault(
            p.fault, p.fault_stream, p.fault_start, p.fault_duration, p.fault_delay))
        self._cameras = {s: self._camera(s, kind) for s, kind in self.source.streams.items()}
        # latched: who comes late gets what was before
        latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._outputs: dict[str, Publisher] = dict(self._cameras)
        if self.source.has_truth:
            self._outputs['groundtruth'] = self.create_publisher(Track, '~/groundtruth', latched)
        self._pairs = self.create_publisher(TimeReference, '~/pairs', latched)
        self._infos = {s: self.create_publisher(CameraInfo, f'{s}/camera_info', 5)
                       for s in self.source.infos}
        self._clock_publisher = self.create_publisher(Clock, '/clock', 10) if p.clock else None

    def start(self) -> None:
        """Start playing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop playing, and wait for the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _camera(self, stream: str, kind: type) -> Publisher:
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy[self.settings.reliability.upper()])
        topic = f'{stream}/image_raw'
        return self.create_publisher(
            kind, f'{topic}/compressed' if kind is CompressedImage else topic, qos)

    def _run(self) -> None:
        # read ahead while waiting: decoding must not compete with the first images
        shots = prefetch(self._shots(), self.settings.read_ahead)
        try:
            head = self._up_to_a_pair(shots)
            if not head:
                raise ValueError('nothing to play: the recording ends before its part begins')
            if self._wait_for_subscribers() and self._announce(head[-1].pair):
                self._play(itertools.chain(head, shots))
        except Exception as error:  # whatever it is, the process must end and tell
            self.finished.set_exception(error)
        else:
            self.finished.set_result(True)
        finally:
            shots.close()

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
        return not self._stopped.is_set()

    def _up_to_a_pair(self, shots: Iterator[Shot]) -> list[Shot]:
        """Return the shots up to the first that completes a pair, of those that are read ahead."""
        head: list[Shot] = []
        for shot in itertools.islice(shots, self.settings.read_ahead):
            head.append(shot)
            if shot.pair is not None:
                break
        return head

    def _announce(self, first: PlayedPair | None) -> bool:
        """Wait for `start_delay`. Where stamps are known before, the first true box is told now: a
        target that is given for the first pair before that is out loses no pair.

        :returns: False when told to stop.
        """
        delay = self.settings.start_delay
        self._began = self.get_clock().now().nanoseconds + round(delay * 1e9)
        self._told: PlayedPair | None = None
        if self._kept and first is not None and first.box is not None:
            self._told = first
            self._outputs['groundtruth'].publish(self._truth(first, self._stamp(first.stamp)))
        return not self._stopped.wait(delay)

    def _play(self, shots: Iterator[Shot]) -> None:
        p, rate = self.settings, self.source.rate * self.settings.speed
        self.get_logger().info(f'playing {" and ".join(self._cameras)} at {rate:g} Hz'
                               + (f', {p.fault_stream}: {p.fault}' if p.fault != 'none' else ''))
        self._zero = time.monotonic()
        pairs = 0
        for shot in shots:
            at = shot.at / 1e9 / p.speed
            for parcel in self._outbox.due(at):
                self._send(parcel)
            if self._stopped.is_set() or not self._sleep_until(at):
                break
            now = self.get_clock().now().nanoseconds
            if self._clock_publisher:
                clock = self._stamp(shot.at) + self._clock_ahead
                self._clock_publisher.publish(Clock(clock=_time(clock)))
            self._outbox.add(at, self._stamp(shot.stamp) if self._kept else now, shot.images)
            if shot.pair is not None:
                pairs += 1
                stamp = self._stamp(shot.pair.stamp) if self._kept else now
                self._outbox.add(at, stamp, self._about(shot.pair))
            behind = time.monotonic() - self._zero - at
            if behind > 2 / rate:
                self.get_logger().warning(
                    f'{behind:.2f} s behind: this machine reads or sends slower than '
                    f'{rate:g} Hz', throttle_duration_sec=2.0)
        for parcel in self._outbox.due():
            self._send(parcel)
        for publisher in (*self._outputs.values(), self._pairs):
            publisher.wait_for_all_acked(Duration(seconds=1))
        self.get_logger().info(f'played {pairs} frames')

    def _shots(self) -> Iterator[Shot]:
        """Yield the shots, again and again with `loop`; runs in the thread that reads ahead."""
        lap = 0
        while True:
            last = 0
            for shot in self.source.shots():
                last = shot.at
                yield shot.later(lap) if lap else shot
            if not self.settings.loop:
                return
            lap += last + round(1e9 / self.source.rate)

    def _about(self, pair: PlayedPair) -> dict[str, Any]:
        """Return what is told of a pair once both of its images are out."""
        told = {'pair': TimeReference(time_ref=_time(pair.recorded), source=str(pair.number))}
        if pair.box is not None and pair is not self._told:
            return {'groundtruth': self._truth(pair)} | told
        return told

    def _truth(self, pair: PlayedPair, stamp: int = 0) -> Track:
        assert pair.box is not None
        x, y, w, h = pair.box.as_tuple()
        track = Track(target_id='groundtruth', state=Track.TRACKING, confidence=1.0,
                      box=Box(x=x, y=y, w=w, h=h))
        track.header.frame_id = pair.frame_id
        track.header.stamp = _time(stamp)
        return track

    def _stamp(self, since: int) -> int:
        """Return the stamp of `since` ns after the recording began."""
        p = self.settings
        if p.stamps == 'recorded':
            return self.source.stamp_origin + since
        return (round(p.start_stamp * 1e9) or self._began) + since

    @property
    def _clock_ahead(self) -> int:
        """Recorded time of day minus recorded stamps, of the beginning."""
        recorded = self.settings.stamps == 'recorded'
        return self.source.origin - self.source.stamp_origin if recorded else 0

    def _send(self, parcel: Parcel[Any]) -> None:
        if not self._sleep_until(parcel.due):
            return
        message, stream = parcel.message, parcel.stream
        message.header.stamp = _time(parcel.stamp)
        if stream in self._infos:
            info = self.source.infos[stream]
            info.header = message.header
            self._infos[stream].publish(info)
        (self._pairs if stream == 'pair' else self._outputs[stream]).publish(message)

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
