"""What the recorder listens to: bytes as they come, matched by their stamps."""
from __future__ import annotations

from functools import partial
from time import monotonic_ns
from typing import Any, NamedTuple

from rclpy.duration import Infinite
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from rgbt_tracker_ros.data.image_messages import ImageError
from rgbt_tracker_ros.msg import Track
from rgbt_tracker_ros.nodes.camera_infos import KIND, InfoInput
from rgbt_tracker_ros.nodes.inputs import CameraInputs, transport_of
from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.pairing import STREAMS, Match, PairingSettings
from rgbt_tracker_ros.nodes.qos import ImageInput
from rgbt_tracker_ros.nodes.recorder_pairing import PatientMatcher
from rgbt_tracker_ros.nodes.recorder_parameters import RecorderParameters
from rgbt_tracker_ros.recording.raw_images import (
    RawCompressed,
    RawImage,
    parse,
    require_image,
    stamp_of,
)
from rgbt_tracker_ros.recording.recorder import Recorder
from rgbt_tracker_ros.recording.segment import Received, RecordedPair, Source

FAR = 1 << 62       # ns: a time at which nothing is worth waiting for any more
UNNUMBERED = 2**64 - 1      # a middleware that does not number what it sends


class Item(NamedTuple):
    """An image on its way through the matcher."""

    message: Received
    image: RawImage | RawCompressed
    stamp: int


class RecorderInputs(CameraInputs):
    """From ~/start to ~/stop: cameras, their camera_info, and the tracker's tracks."""

    def __init__(self, node: Node, parameters: RecorderParameters, notices: Notices,
                 recorder: Recorder) -> None:
        """Subscribe.

        :raises ValueError: if a qos_overrides parameter has a value that there is not.
        """
        self._recorder = recorder
        self._numbers: dict[str, int] = {}      # the newest by the publisher's count
        self._depth = parameters.image_depth
        self._sources: dict[str, Source] = {}
        self._infos = [InfoInput(node, f'{s}/camera_info', partial(self._on_info, s))
                       for s in STREAMS]
        super().__init__(node, parameters, notices, release=self._pair, jumped=self._jumped_back)
        self._track = node.create_subscription(
            Track, 'rgbt_tracker/track', self._on_track, QoSProfile(
                depth=50, reliability=ReliabilityPolicy.BEST_EFFORT),
            raw=True) if parameters.record_track else None

    @property
    def waiting_bytes(self) -> int:
        """Bytes of images that wait for their partners."""
        return self._matcher.waiting_bytes

    def look(self) -> None:
        """Look after the subscriptions; to be called several times a second."""
        super().look()
        for info in self._infos:
            info.look()

    def close(self) -> None:
        """Unsubscribe; pairs that are complete already are recorded."""
        super().close()
        for info in self._infos:
            info.close()
        if self._track is not None:
            self._node.destroy_subscription(self._track)
        for match in self.matcher.poll(FAR):
            self._release(match)
        self._note_losses()

    def _match(self, parameters: Any, settings: PairingSettings) -> PatientMatcher[Item]:
        self._matcher: PatientMatcher[Item] = PatientMatcher(
            settings, lambda item: len(item.message.data), parameters.queue_bytes)
        return self._matcher

    def _subscribe(self, stream: str, parameters: Any) -> ImageInput:
        return ImageInput(self._node, f'{stream}/image_raw', transport_of(stream, parameters),
                          parameters.image_qos, partial(self.receive_raw, stream), self._notices,
                          raw=True, depth=self._depth)

    def receive_raw(self, stream: str, data: bytes, info: dict[str, int]) -> None:
        """Take a serialised image."""
        now = monotonic_ns()
        self._count(stream, info.get('publication_sequence_number') or UNNUMBERED)
        source = self._source(stream, self.images[stream])
        try:
            stamp, image = stamp_of(data), parse(data, source.type)
            require_image(image, stream)
        except ImageError as e:
            self.refuse(stream, str(e))
            return
        self._admit(stream, stamp, Item(self._received(source, data, info), image, stamp), now)

    def _count(self, stream: str, number: int) -> None:
        """Count an image, and those before it that were sent and never came.

        :param number: how many its publisher had sent with it; of several publishers' numbers
            nothing follows.
        """
        tally, before = self._recorder.tally, self._numbers.get(stream)
        tally.add('received', stream)
        if number == UNNUMBERED:
            return
        if before is not None and before < number - 1 and self.images[stream].publishers == 1:
            tally.add('missed', stream, number - 1 - before)
        self._numbers[stream] = number

    def _emit(self, matches: list[Match[Item]], now: int) -> None:
        super()._emit(matches, now)
        self._note_losses()

    def _note_losses(self) -> None:
        for stream, item in self._matcher.lost:
            self._recorder.tally.add('unmatched', stream, stamp=item.stamp)
        self._matcher.lost.clear()

    def _pair(self, match: Match[Item]) -> None:
        assert match.rgb is not None and match.thermal is not None and match.skew is not None
        if not (match.rgb.message.received and match.thermal.message.received):
            # a time of 0 would be written as if the recording had begun in 1970
            self._notices.warn('no clock', 'use_sim_time is true and nothing has come on /clock: '
                               'no pair is recorded until it does; play with --clock, or set '
                               'use_sim_time to false')
            return
        self._recorder.put_pair(RecordedPair(
            match.rgb.message, match.thermal.message, (match.rgb.image, match.thermal.image),
            match.stamp, match.skew))

    def _jumped_back(self, text: str) -> None:
        self._notices.warn('clock', f'{text}: a new segment begins')

    def _on_info(self, stream: str, data: bytes, info: dict[str, int]) -> None:
        source = self._source_of(f'{stream}/camera_info', KIND)
        self._recorder.put_info(stream, self._received(source, data, info))

    def _on_track(self, data: bytes, info: dict[str, int]) -> None:
        source = self._source_of('rgbt_tracker/track', 'rgbt_tracker_ros/msg/Track')
        self._recorder.put_track(self._received(source, data, info))

    def _received(self, source: Source, data: bytes, info: dict[str, int]) -> Received:
        """Note when a message came and was sent: as `ros2 bag record` does, by the system's clock,
        or by /clock where that is the time (0 before anything has come there).
        """
        clock = self._node.get_clock()
        if clock.ros_time_is_active:
            now = clock.now().nanoseconds
            return Received(source, data, now, now)
        received = info['received_timestamp'] or clock.now().nanoseconds
        return Received(source, data, received, info['source_timestamp'] or received)

    def _source(self, stream: str, image: ImageInput) -> Source:
        if stream not in self._sources:
            self._sources[stream] = Source(
                image.topic, f'sensor_msgs/msg/{image.type.__name__}',
                tuple(described(q) for q in image.offered))
        return self._sources[stream]

    def _source_of(self, topic: str, kind: str) -> Source:
        if topic not in self._sources:
            self._sources[topic] = Source(self._node.resolve_topic_name(topic), kind, tuple(
                described(i.qos_profile)
                for i in self._node.get_publishers_info_by_topic(topic)))
        return self._sources[topic]


def described(qos: QoSProfile) -> dict[str, Any]:
    """Return a profile as rosbag2 writes it, for `ros2 bag play` to publish with."""
    def duration(value: Any) -> dict[str, int]:
        if value == Infinite or not value.nanoseconds:
            return {'sec': 9223372036, 'nsec': 854775807}
        seconds, rest = divmod(value.nanoseconds, 1_000_000_000)
        return {'sec': seconds, 'nsec': rest}
    return {
        'history': qos.history.name.lower(), 'depth': qos.depth,
        'reliability': qos.reliability.name.lower(), 'durability': qos.durability.name.lower(),
        'deadline': duration(qos.deadline), 'lifespan': duration(qos.lifespan),
        'liveliness': qos.liveliness.name.lower(),
        'liveliness_lease_duration': duration(qos.liveliness_lease_duration),
        'avoid_ros_namespace_conventions': qos.avoid_ros_namespace_conventions}
