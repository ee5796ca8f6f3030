"""What the tests of the tracker node share: a fake tracker, cameras, and a robot around them."""
from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import heapq
from threading import Thread
import time
from typing import Any

import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from rgbt_tracker_ros.msg import Box as BoxMsg
from rgbt_tracker_ros.msg import TargetRequest, Track, TrackerStatus
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.types import Box, Estimate, Pair, State

PERIOD = 1 / 30
SIZE = (64, 48)


class FakeTracker:
    """The shape of Tracker: its box stays, its weights tell which images it was given."""

    def __init__(self, **attributes: Any) -> None:
        self.config = TrackerConfig()
        self.device = 'cpu'
        self.model_name = 'fake 000000000000'
        self.seconds = 0.0                          # that an update takes
        self.fail: Exception | None = None          # raised by update
        self.frozen: tuple[str, ...] = ()
        self.sees = True                            # the target, when it takes over
        self.refuse: Exception | None = None        # raised by take_over
        self.calls: list[tuple[str, int]] = []      # (method, stamp)
        self.pairs: list[Pair] = []
        self.box: Box | None = None
        self.marked_in = ''
        self.__dict__.update(attributes)

    def warm_up(self) -> None:
        self.calls.append(('warm_up', 0))

    def init(self, pair: Pair, box: Box, marked_in: str = '') -> Estimate:
        self.box, self.marked_in = box, marked_in
        return self._answer('init', pair)

    def update(self, pair: Pair) -> Estimate:
        time.sleep(self.seconds)
        if self.fail is not None:
            raise self.fail
        return self._answer('update', pair)

    def reset(self) -> None:
        self.box = None

    def take_over(self, old: Any, pair: Pair, box: Box) -> bool:
        self.calls.append(('take_over', pair.stamp))
        if self.refuse is not None:
            raise self.refuse
        self.box = box
        return self.sees

    def _answer(self, method: str, pair: Pair) -> Estimate:
        self.calls.append((method, pair.stamp))
        self.pairs.append(pair)
        assert self.box is not None
        rgb = 0.0 if pair.rgb is None else 1.0 if pair.thermal is None else 0.5
        return Estimate(self.box, 0.9, State.TRACKING, rgb, 1 - rgb,
                        {'network': self.seconds}, self.frozen)


def image(encoding: str = 'rgb8', size: tuple[int, int] = SIZE, stamp: int = 0,
          frame_id: str = '', **fields: Any) -> Image:
    """Return a random picture; `fields` overwrite those of the message, to break it."""
    channels = {'rgb8': 3, 'bgr8': 3, 'mono16': 2}.get(encoding, 1)
    width, height = size
    msg = Image(encoding=encoding, width=width, height=height, step=width * channels)
    pixels = np.random.default_rng(stamp % 2**32).integers(0, 255, height * width * channels)
    msg.data = array('B', pixels.astype(np.uint8).tobytes())
    msg.header.frame_id = frame_id
    set_stamp(msg, stamp)
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


def set_stamp(msg: Any, stamp: int) -> None:
    """Stamp a message, ns."""
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(stamp, 1_000_000_000)


def wait_for(condition: Callable[[], Any], timeout: float = 30.0, what: str = '') -> Any:
    """Wait until `condition` returns something true, and return that.

    `timeout` is for what will never come true: on a busy machine a second may become many.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError(f'{what or "the condition"} did not come true within {timeout:g} s')


class Cameras(Thread):
    """Publishes RGB and thermal at 30 Hz until it is stopped.

    `on`, `delay` (s) and `change` (what to make of an image before it is sent) may be set per
    camera while it runs; `offset` (ns) is added to all stamps.
    """

    def __init__(self, node: Node, names: tuple[str, ...], qos: QoSProfile) -> None:
        super().__init__(daemon=True)
        self.publishers = {n: node.create_publisher(Image, f'{n}/image_raw', qos) for n in names}
        self.on = dict.fromkeys(names, True)
        self.delay = dict.fromkeys(names, 0.0)
        self.change: dict[str, Callable[[Image], Any]] = {}
        self.encoding = {'rgb': 'rgb8', 'thermal': 'mono8'}
        self.offset = 0
        self.sent: list[int] = []
        self.running = True

    def run(self) -> None:
        due: list[tuple[float, int, str, Image]] = []
        tick = time.monotonic()
        while self.running:
            stamp = time.time_ns() + self.offset
            self.sent.append(stamp)
            for name in self.publishers:
                if self.on[name]:
                    msg = image(self.encoding[name], stamp=stamp, frame_id=f'{name}_optical')
                    self.change.get(name, lambda m: None)(msg)
                    heapq.heappush(due, (tick + self.delay[name], len(self.sent), name, msg))
            tick += PERIOD
            while self.running and (now := time.monotonic()) < tick:
                while due and due[0][0] <= now:
                    self.publishers[due[0][2]].publish(heapq.heappop(due)[3])
                time.sleep(max(0.0, min(tick, due[0][0] if due else tick) - time.monotonic()))


class Robot:
    """Cameras and listeners beside the tracker node, in one process."""

    def __init__(self, context: Context, cameras: tuple[str, ...], best_effort: bool) -> None:
        self.node = Node('robot', context=context)
        self.cameras = Cameras(self.node, cameras, QoSProfile(
            depth=5, reliability=ReliabilityPolicy.BEST_EFFORT if best_effort
            else ReliabilityPolicy.RELIABLE))
        self.tracks: list[Track] = []
        self.statuses: list[tuple[float, TrackerStatus]] = []   # (monotonic arrival, message)
        self.node.create_subscription(Track, 'rgbt_tracker/track', self.tracks.append, 50)
        self.node.create_subscription(
            TrackerStatus, 'rgbt_tracker/status',
            lambda m: self.statuses.append((time.monotonic(), m)),
            QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self.targets = self.node.create_publisher(TargetRequest, 'rgbt_tracker/target', 10)
        self._requests = 0

    @property
    def status(self) -> TrackerStatus:
        """The newest status."""
        return self.statuses[-1][1]

    def start(self, target: bool = True) -> None:
        """Start the cameras, wait for answers, and (unless told not to) give a target."""
        self.cameras.start()
        self.answers(3, state=None)
        if target:
            assert self.request().request_accepted

    def answers(self, count: int, state: int | None = Track.TRACKING) -> list[Track]:
        """Return the next `count` tracks of a state (None: of any)."""
        start = len(self.tracks)
        return list(wait_for(
            lambda: len(new := [t for t in self.tracks[start:] if state in (None, t.state)])
            >= count and new[:count], what=f'{count} answers of state {state}'))

    def request(self, box: tuple[float, ...] = (10, 10, 20, 20), stamp: int = 0) -> TrackerStatus:
        """Send a target and return the status that answers it."""
        wait_for(self.targets.get_subscription_count, what='discovery of ~/target')
        self._requests += 1
        msg = TargetRequest(request_id=f'r{self._requests}')
        msg.box = BoxMsg(**dict(zip('xywh', map(float, box), strict=True)))
        set_stamp(msg, stamp)
        self.targets.publish(msg)
        return self.until(lambda s: s.request_id == msg.request_id, what='answer to a target')

    def until(self, condition: Callable[[TrackerStatus], Any], timeout: float = 30.0,
              what: str = 'status') -> TrackerStatus:
        """Wait for a status, from the newest one on, and return it."""
        start = max(0, len(self.statuses) - 1)
        status: TrackerStatus = wait_for(
            lambda: next((s for _, s in self.statuses[start:] if condition(s)), None),
            timeout, what)
        return status

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service of the tracker node and return its response."""
        client = self.node.create_client(kind, f'rgbt_tracker/{name}')
        assert client.wait_for_service(30.0)
        future = client.call_async(request)
        wait_for(future.done, what=f'response of {name}')
        self.node.destroy_client(client)
        return future.result()

    def set(self, **values: Any) -> list[tuple[bool, str]]:
        """Set parameters of the tracker node; return (successful, reason) of each."""
        request = SetParameters.Request(parameters=[
            Parameter(n, value=v).to_parameter_msg() for n, v in values.items()])
        results = self.call(SetParameters, 'set_parameters', request).results
        return [(r.successful, r.reason) for r in results]


def resize(msg: Image, width: int) -> None:
    """Make an image `width` wide, in a way that all of the message agrees with."""
    channels = msg.step // msg.width
    msg.width, msg.step = width, width * channels
    msg.data = array('B', bytes(msg.step * msg.height))


def stamp_of(msg: Any) -> int:
    """Return a message's stamp, ns."""
    return int(msg.header.stamp.sec) * 1_000_000_000 + int(msg.header.stamp.nanosec)


@contextmanager
def spinning(context: Context, *nodes: Node) -> Iterator[None]:
    """Spin nodes, each in a thread of its own as each would be in a process.

    An error that would have ended such a process is raised at the end.
    """
    running, errors = [True], []

    def spin(node: Node) -> None:
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            while running[0]:
                executor.spin_once(timeout_sec=0.1)
        except Exception as e:
            errors.append(e)
        finally:
            executor.shutdown()

    threads = [Thread(target=spin, args=(node,), daemon=True) for node in nodes]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        running[0] = False
        for thread in threads:
            thread.join(5)
        for error in errors:
            raise error


@contextmanager
def robot(context: Context, tracker: FakeTracker | None = None, *, best_effort: bool = False,
          cameras: tuple[str, ...] = ('rgb', 'thermal'), load: Callable[..., Any] | None = None,
          remap: tuple[str, ...] = (), **parameters: Any) -> Iterator[tuple[Robot, Any]]:
    """Lend a robot and its tracker node, spinning; `remap`: 'from:=to'."""
    from rgbt_tracker_ros.nodes.lifecycle import TrackerNode
    made = Robot(context, cameras, best_effort)
    node = TrackerNode(
        load_tracker=load or (lambda _: tracker or FakeTracker()), context=context,
        cli_args=['--ros-args', *(a for rule in remap for a in ('-r', rule))] if remap else None,
        parameter_overrides=[Parameter(n, value=v) for n, v in parameters.items()])
    with spinning(context, node, made.node):
        wait_for(lambda: made.statuses, what='first status')
        try:
            yield made, node
        finally:
            made.cameras.running = False
            if made.cameras.ident:
                made.cameras.join()
    node.destroy_node()
    made.node.destroy_node()
