"""One image subscription, with the reliability that its publishers need."""
from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import ParameterAlreadyDeclaredException
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from rgbt_tracker_ros.nodes.notices import Notices

POLICY = {'auto': 'best_available', 'reliable': 'reliable', 'sensor_data': 'best_effort'}
LOOK_EVERY = 0.5    # s between two looks at publishers that are known


class ImageInput:
    """Subscribes once there is a publisher, and again when a change of publishers asks for it.

    ROS's BEST_AVAILABLE depends on who starts first; this looks at the graph instead. The
    standard parameters `qos_overrides.<topic>.subscription.{reliability,history,depth}` have the
    last word.
    """

    def __init__(self, node: LifecycleNode, topic: str, transport: str, image_qos: str,
                 callback: Callable[[Any], None], notices: Notices) -> None:
        compressed = transport == 'compressed'
        self.type = CompressedImage if compressed else Image
        self.topic = node.resolve_topic_name(f'{topic}/compressed' if compressed else topic)
        self.publishers = 0
        self.problem = ''           # why nothing can arrive
        self._node = node
        self._callback = callback
        self._notices = notices
        self._subscription: Subscription | None = None
        self._looked = 0.0
        self._reliability, self._history, self._depth = self._overrides(POLICY[image_qos])

    @property
    def reliability(self) -> str:
        """'reliable' or 'best_effort'; empty while not subscribed."""
        if self._subscription is None:
            return ''
        return str(self._subscription.qos_profile.reliability.name.lower())

    def look(self, force: bool = False) -> None:
        """Look at the publishers and (re)subscribe where that is needed; cheap, call it often."""
        now = monotonic()
        if not force and self._subscription is not None and now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        infos = self._node.get_publishers_info_by_topic(self.topic)
        wanted = f'sensor_msgs/msg/{self.type.__name__}'
        fitting = [i for i in infos if i.topic_type == wanted]
        self.publishers = len(fitting)
        if not fitting:
            others = sorted({i.topic_type for i in infos})
            self.problem = (
                f'{self.topic} carries {", ".join(others)}, not {wanted}; set image_transport or '
                'the remapping' if others else f'waiting for a publisher on {self.topic}')
            self._notices.log(f'wait {self.topic}', self.problem)
            return
        reliable = all(i.qos_profile.reliability == ReliabilityPolicy.RELIABLE for i in fitting)
        kind = self._reliability
        if kind == 'best_available':
            kind = 'reliable' if reliable else 'best_effort'
        self.problem = ''
        if kind == 'reliable' and not reliable:
            self.problem = (f'{self.topic} is published best effort, and a reliable subscription '
                            'gets nothing from it; set image_qos to auto or sensor_data')
            self._notices.error(f'qos {self.topic}', self.problem)
        if kind != self.reliability:
            self._subscribe(kind)

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _subscribe(self, reliability: str) -> None:
        self.close()
        profile = QoSProfile(history=HistoryPolicy[self._history.upper()], depth=self._depth,
                             reliability=ReliabilityPolicy[reliability.upper()])
        self._subscription = self._node.create_subscription(
            self.type, self.topic, self._callback, profile,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._incompatible))
        self._node.get_logger().info(f'subscribed to {self.topic} ({reliability})')

    def _incompatible(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self._notices.warn(f'incompatible {self.topic}', f'a publisher of {self.topic} offers '
                           f'another {policy} than is asked for; set image_qos to auto')
        self._looked = 0.0      # look again at the next turn

    def _overrides(self, reliability: str) -> tuple[str, str, int]:
        """Declare the standard QoS parameters and return their values.

        create_subscription would do so, but fix them to the first subscription's reliability.
        """
        values: list[Any] = []
        for policy, default in (('reliability', reliability), ('history', 'keep_last'),
                                ('depth', 5)):
            name = f'qos_overrides.{self.topic}.subscription.{policy}'
            try:
                self._node.declare_parameter(name, default, ParameterDescriptor(
                    description=f'{policy} of the subscription to {self.topic}', read_only=True))
            except ParameterAlreadyDeclaredException:   # by an earlier activation
                pass
            values.append(self._node.get_parameter(name).value)
        return values[0], values[1], values[2]
