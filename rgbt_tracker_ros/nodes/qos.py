"""One image subscription, with the reliability that its publishers need."""
from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import ParameterAlreadyDeclaredException
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from rgbt_tracker_ros.nodes.notices import Notices

POLICY = {'auto': 'best_available', 'reliable': 'reliable', 'sensor_data': 'best_effort'}
OVERRIDES = {'reliability': ('best_available', 'reliable', 'best_effort', 'system_default'),
             'history': ('keep_last', 'keep_all', 'system_default'), 'depth': range(10_001)}
LOOK_EVERY = 0.5    # s between two looks at publishers that are known


class ImageInput:
    """Subscribes once there is a publisher, and again when a change of publishers asks for it.

    ROS's BEST_AVAILABLE depends on who starts first; this looks at the graph instead. The
    standard parameters `qos_overrides.<topic>.subscription.{reliability,history,depth}` have the
    last word.
    """

    def __init__(self, node: Node, topic: str, transport: str, image_qos: str,
                 callback: Callable[..., None], notices: Notices, *, raw: bool = False,
                 depth: int = 5) -> None:
        """Prepare; it is `look` that subscribes.

        :param raw: hand the bytes to `callback`, not deserialised. :param depth: images that may
            wait for it.
        :raises ValueError: if a qos_overrides parameter has a value that there is not.
        """
        compressed = transport == 'compressed'
        self.type = CompressedImage if compressed else Image
        self._name = compressed_topic(node, topic) if compressed else topic
        self.topic = node.resolve_topic_name(self._name)
        self.publishers = 0
        self.offered: list[QoSProfile] = []     # by the publishers
        self.problem = ''           # why nothing can arrive
        self._node = node
        self._raw = raw
        self._callback = callback
        self._notices = notices
        self._subscription: Subscription | None = None
        self._subscribed_as = ''
        self._looked = 0.0
        self._reliability, self._history, self._depth = self._overrides(
            POLICY[image_qos], depth)

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
        infos = self._node.get_publishers_info_by_topic(self._name)
        wanted = f'sensor_msgs/msg/{self.type.__name__}'
        fitting = [i for i in infos if i.topic_type == wanted]
        self.publishers = len(fitting)
        self.offered = [i.qos_profile for i in fitting]
        if not fitting:
            others = sorted({i.topic_type for i in infos})
            self.problem = (
                f'{self.topic} carries {", ".join(others)}, not {wanted}; set image_transport, '
                "this camera's own transport, or the remapping"
                if others else f'waiting for a publisher on {self.topic}')
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
        if self._subscription is None or kind != self._subscribed_as:
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
            self.type, self._name, self._callback, profile, raw=self._raw,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._incompatible))
        self._subscribed_as = reliability
        self._node.get_logger().info(f'subscribed to {self.topic} ({reliability})')

    def _incompatible(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self._notices.warn(f'incompatible {self.topic}', f'a publisher of {self.topic} offers '
                           f'another {policy} than is asked for; set image_qos to auto')
        self._looked = 0.0      # look again at the next turn

    def _overrides(self, reliability: str, depth: int) -> tuple[str, str, int]:
        """Declare the standard QoS parameters and return their values.

        create_subscription would do so, but fix them to the first subscription's reliability.

        :raises ValueError: if one has a value that there is not.
        """
        values: list[Any] = []
        for policy, default in (('reliability', reliability), ('history', 'keep_last'),
                                ('depth', depth)):
            name = f'qos_overrides.{self.topic}.subscription.{policy}'
            try:
                self._node.declare_parameter(name, default, ParameterDescriptor(
                    description=f'{policy} of the subscription to {self.topic}',
                    read_only=True, dynamic_typing=True))
            except ParameterAlreadyDeclaredException:   # by an earlier activation
                pass
            value, allowed = self._node.get_parameter(name).value, OVERRIDES[policy]
            if value not in allowed or isinstance(value, bool):
                words = ', '.join(allowed) if isinstance(allowed, tuple) else (
                    f'a whole number up to {allowed[-1]}')
                raise ValueError(f'{name} is {value!r}; it must be {words}. It can only be given '
                                 'when the node starts')
            values.append(value)
        return values[0], values[1], values[2]


def compressed_topic(node: Node, topic: str) -> str:
    """Return the name to subscribe to for compressed images of `topic`.

    As with image_transport, a remapping of the raw topic holds for what is beside it, unless the
    compressed topic has a remapping of its own.
    """
    own, base = f'{topic}/compressed', node.resolve_topic_name(topic)
    if (node.resolve_topic_name(own) == node.resolve_topic_name(own, only_expand=True)
            and base != node.resolve_topic_name(topic, only_expand=True)):
        return f'{base}/compressed'
    return own
