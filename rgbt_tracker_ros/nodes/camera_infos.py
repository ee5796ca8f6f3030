"""A subscription to a camera_info: also to one that was published once, long ago."""
from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from rgbt_tracker_ros.nodes.qos import LOOK_EVERY

KIND = 'sensor_msgs/msg/CameraInfo'
DEPTH = 5


class InfoInput:
    """Subscribes once there is a publisher, and again when a change of publishers asks for it.

    A driver may publish its calibration once, latched (transient local). Only a subscription that
    is latched itself gets that, and such a one gets nothing from publishers that are not: so it is
    latched where all of them are, and reliable likewise.
    """

    def __init__(self, node: Node, topic: str,
                 callback: Callable[[bytes, dict[str, int]], None]) -> None:
        """Prepare; it is `look` that subscribes. `callback` gets the bytes and their times."""
        self._node, self._topic, self._callback = node, topic, callback
        self._subscription: Subscription | None = None
        self._looked = 0.0

    def look(self) -> None:
        """Look at the publishers and (re)subscribe where that is needed; cheap, call it often."""
        now, subscription = monotonic(), self._subscription
        if subscription is not None and now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        offered = [i.qos_profile for i in self._node.get_publishers_info_by_topic(self._topic)
                   if i.topic_type == KIND]
        if not offered:
            return      # those there were may come back
        latched = all(q.durability == DurabilityPolicy.TRANSIENT_LOCAL for q in offered)
        reliable = all(q.reliability == ReliabilityPolicy.RELIABLE for q in offered)
        wanted = QoSProfile(
            depth=DEPTH,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT)
        if subscription is not None and (
                subscription.qos_profile.durability, subscription.qos_profile.reliability) == (
                    wanted.durability, wanted.reliability):
            return
        self.close()
        self._subscription = self._node.create_subscription(
            CameraInfo, self._topic, self._callback, wanted, raw=True)

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
