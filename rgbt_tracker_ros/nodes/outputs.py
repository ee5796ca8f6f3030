"""Publish answers: track, detections, bearing, overlay. Runs in the worker's thread."""
from __future__ import annotations

from collections import deque
import math
from time import monotonic

from geometry_msgs.msg import Vector3Stamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from rgbt_tracker_ros.msg import Box as BoxMsg
from rgbt_tracker_ros.msg import Track
from rgbt_tracker_ros.nodes.bearing import CameraInfoError, CameraModel
from rgbt_tracker_ros.nodes.camera_messages import image_message
from rgbt_tracker_ros.nodes.image_conversion import Array, ImageError, to_rgb, to_thermal
from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.pairing import RGB, THERMAL
from rgbt_tracker_ros.nodes.registration import image_in
from rgbt_tracker_ros.nodes.session_types import Answer, sizes_of
from rgbt_tracker_ros.types import Box, Estimate, State

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
except ImportError:     # only where ROS is installed: apt install ros-jazzy-vision-msgs
    Detection2DArray = None


class Outputs:
    """The node's publishers of answers, and what they have measured."""

    def __init__(self, node: LifecycleNode, notices: Notices) -> None:
        self.debug_rate = 10.0
        self._rectified = False
        self.homography: tuple[float, ...] = ()
        self.answered = 0
        self.ages: deque[float] = deque(maxlen=100)             # s
        self.network_times: deque[float] = deque(maxlen=100)    # s
        self._clock = node.get_clock()
        self._notices = notices
        self._info: CameraInfo | None = None                    # the last one
        self._camera: CameraModel | None = None                 # what it says
        # of the last image of each stream
        self._frame_ids: dict[str, str] = {}
        self._sizes: dict[str, tuple[int, int]] = {}            # (width, height)
        self._next_debug = 0.0
        self._track = node.create_publisher(Track, '~/track', 10)
        self._bearing = node.create_publisher(Vector3Stamped, '~/bearing', 10)
        self._debug = node.create_publisher(Image, '~/debug_image', QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE))
        self._detections = None
        if Detection2DArray is None:
            node.get_logger().info('vision_msgs is not installed: no ~/detections, no '
                                   '~/target_detection (apt install ros-jazzy-vision-msgs)')
        else:
            self._detections = node.create_publisher(Detection2DArray, '~/detections', 10)

    def rectify(self, rectified: bool) -> None:
        """Say whether the RGB images are rectified ones; see `CameraModel.from_info`."""
        changed, self._rectified = rectified != self._rectified, rectified
        if changed and self._info is not None:      # which may have been sent once and for all
            self.set_camera(self._info)

    def set_camera(self, msg: CameraInfo) -> None:
        """Take the RGB camera's calibration."""
        self._info = msg
        try:
            self._camera = CameraModel.from_info(msg, self._rectified)
        except CameraInfoError as e:
            self._camera = None
            self._notices.log('camera_info', f'no ~/bearing: rgb/camera_info: {e}')

    def publish(self, answer: Answer) -> None:
        """Publish everything there is to say about a pair."""
        header = self._header(answer)
        msg = track_message(answer, header)
        now = self._clock.now().nanoseconds     # 0: simulated, and not begun
        msg.age = age = (now - stamp_ns(header)) / 1e9 if now else math.nan
        self._track.publish(msg)
        estimate = answer.estimate
        if answer.pair is not None:
            self._sizes.update(sizes_of(answer.pair))
        if estimate is not None:
            self.answered += 1
            if now:
                self.ages.append(age)
            self.network_times.append(msg.network_time)
        if self._detections is not None:
            self._detections.publish(detections_message(answer, header))
        if estimate is not None and estimate.state.in_sight and answer.reference == RGB:
            self._publish_bearing(estimate.box, header)
        self._publish_overlay(answer, estimate, header, age)

    def _header(self, answer: Answer) -> Header:
        """Return the header of the reference image, or of the other where that is missing.

        Its frame is that of the reference camera even then: the box is in that camera's pixels.
        """
        headers: dict[str, Header] = {
            stream: msg.header for stream, msg in ((RGB, answer.match.rgb),
                                                   (THERMAL, answer.match.thermal)) if msg}
        self._frame_ids.update({stream: h.frame_id for stream, h in headers.items()})
        if answer.reference in headers:
            return headers[answer.reference]
        header, = headers.values()
        if answer.estimate is not None and answer.reference in self._frame_ids:
            return Header(stamp=header.stamp, frame_id=self._frame_ids[answer.reference])
        return header

    def _publish_bearing(self, box: Box, header: Header) -> None:
        camera = self._camera       # the executor's thread may set another one meanwhile
        if camera is None:
            return
        size = self._sizes.get(RGB)
        if size and not camera.fits(size):
            self._notices.warn('camera_info size', 'no ~/bearing: rgb/camera_info is for '
                               f'{camera.size[0]}x{camera.size[1]} (its region of interest and '
                               f'binning counted), and the images are {size[0]}x{size[1]}')
            return
        ray = camera.ray(*box.center)
        if ray is None:
            self._notices.log('bearing', 'no ~/bearing: the distortion of rgb/camera_info leads '
                              'no ray to where the target is')
            return
        msg = Vector3Stamped()
        msg.header.stamp = header.stamp
        msg.header.frame_id = camera.frame_id
        msg.vector.x, msg.vector.y, msg.vector.z = ray
        self._bearing.publish(msg)

    def _publish_overlay(self, answer: Answer, estimate: Estimate | None, header: Header,
                         age: float) -> None:
        now = monotonic()
        if not self.debug_rate or now < self._next_debug or not (
                self._debug.get_subscription_count()):
            return
        from rgbt_tracker_ros.visualization import draw_overlay
        self._next_debug = now + 1 / self.debug_rate
        if estimate is None:
            estimate = Estimate(Box(0, 0, 0, 0), 0.0, State.IDLE)
        try:
            image = self._picture(answer)
        except ImageError:      # said already, or about to be, by whoever follows a target in it
            return
        msg = image_message(draw_overlay(image, estimate, lines=(f'age {age * 1e3:.0f} ms',)))
        msg.header = header
        self._debug.publish(msg)

    def _picture(self, answer: Answer) -> Array:
        """Return the reference image or, where that is missing, the other brought to its pixels.

        :raises ImageError: if it can't be read.
        """
        match, pair = answer.match, answer.pair
        thermal = match.rgb is None or (answer.reference == THERMAL and match.thermal is not None)
        image: Array | None = None
        if pair is not None:
            image = pair.thermal if thermal else pair.rgb
        if image is None:
            message = match.thermal if thermal else match.rgb
            assert message is not None      # a match has one image at least
            image = to_thermal(message) if thermal else to_rgb(message)
        size = self._sizes.get(answer.reference)
        if pair is not None and size and thermal != (answer.reference == THERMAL):
            return image_in(answer.reference, image, self.homography, size)
        return image


def stamp_ns(header: Header) -> int:
    """Return a header's stamp in ns."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def track_message(answer: Answer, header: Header) -> Track:
    """Return the Track message, all but its age."""
    msg = Track(header=header, target_id=answer.target_id, state=int(State.IDLE))
    skew = answer.match.skew
    msg.pair_skew = math.nan if skew is None else skew / 1e9
    if answer.estimate is not None:
        e = answer.estimate
        msg.state = int(e.state)
        msg.box = BoxMsg(x=float(e.box.x), y=float(e.box.y), w=float(e.box.w), h=float(e.box.h))
        msg.confidence = float(e.confidence)
        msg.weight_rgb, msg.weight_thermal = float(e.weight_rgb), float(e.weight_thermal)
        msg.network_time = float(e.timings.get('network', 0.0))
    return msg


def detections_message(answer: Answer, header: Header) -> Detection2DArray:
    """Return the target as a vision_msgs array: of one element in sight, else empty."""
    array = Detection2DArray(header=header)
    e = answer.estimate
    if e is not None and e.state.in_sight:
        detection = Detection2D(header=header, id=answer.target_id)
        center = detection.bbox.center.position
        center.x, center.y = (float(v) for v in e.box.center)
        detection.bbox.size_x, detection.bbox.size_y = float(e.box.w), float(e.box.h)
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = 'target'
        result.hypothesis.score = float(e.confidence)
        detection.results.append(result)
        array.detections.append(detection)
    return array
