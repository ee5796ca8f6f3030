"""What a user of the tracker does, for the demo: gives the target, listens, reads a parameter.

Tells what it sees on standard output, a JSON object per line, by `kind`:
`ready` (the tracker is there), `sent` (a pair, with its true box), `reply` (to the request for a
target), `track` (an answer), `status` (when it has news), `read` (how long a parameter took).
"""
from __future__ import annotations

import json
import sys
import time
from typing import Any

from builtin_interfaces.msg import Time
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from rgbt_tracker_ros.msg import Box, TargetRequest, Track, TrackerStatus
from rgbt_tracker_ros.nodes.program import listen

READ_PERIOD = 0.1  # s between two reads of a parameter
ATTEMPTS = 10  # to give the target


class DemoClient(Node):
    """Listens to rgbt_player and rgbt_tracker."""

    def __init__(self, **options: Any) -> None:
        super().__init__('rgbt_demo', **options)
        self._ready = False
        self._first: Track | None = None  # true box of the first pair
        self._attempt = 0
        self._request_id = ''  # of the last request, until it was answered
        self._accepted = False
        self._news: tuple[Any, ...] = ()
        self._tracker_status: TrackerStatus | None = None
        self._targets = self.create_publisher(TargetRequest, 'rgbt_tracker/target', 10)
        self._parameter_reader = self.create_client(GetParameters, 'rgbt_tracker/get_parameters')
        latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(TrackerStatus, 'rgbt_tracker/status', self._on_status, latched)
        self._tracks = self.create_subscription(Track, 'rgbt_tracker/track', self._on_track, 100)
        self.create_subscription(Track, 'rgbt_player/groundtruth', self._on_pair, latched)
        self.create_timer(READ_PERIOD, self._on_timer)

    def _on_pair(self, truth: Track) -> None:
        tell('sent', stamp=nanoseconds(truth.header.stamp), box=corners(truth.box))
        if self._first is None:
            self._first = truth
        if not self._accepted and not self._request_id:
            self._give_target(self._first)

    def _give_target(self, truth: Track) -> None:
        """Ask for the target; again where its images are still on the way to the tracker."""
        self._attempt += 1
        self._request_id = f'demo {self._attempt}'
        self._targets.publish(TargetRequest(header=truth.header, request_id=self._request_id,
                                            box=truth.box))

    def _on_track(self, track: Track) -> None:
        tell('track', stamp=nanoseconds(track.header.stamp), target=track.target_id,
             state=track.state, box=corners(track.box), confidence=track.confidence,
             weight_rgb=track.weight_rgb, weight_thermal=track.weight_thermal, age=track.age,
             network_time=track.network_time)

    def _on_status(self, status: TrackerStatus) -> None:
        self._tracker_status = status
        if status.request_id and status.request_id == self._request_id:
            self._accepted = status.request_accepted
            self._request_id = ''
            final = self._accepted or self._attempt == ATTEMPTS
            tell('reply', accepted=self._accepted, reason=status.request_message, final=final)
            if not final and self._first is not None:
                self._give_target(self._first)
        news = status.message, status.rgb_health, status.thermal_health, status.errors
        if news != self._news:
            self._news = news
            tell('status', message=status.message, errors=status.errors,
                 rgb_health=status.rgb_health, thermal_health=status.thermal_health)

    def _on_timer(self) -> None:
        status = self._tracker_status
        if not self._ready:
            self._ready = bool(
                status and status.device and self._targets.get_subscription_count()
                and self.count_publishers(self._tracks.topic_name)
                and self._parameter_reader.service_is_ready())
            if self._ready and status:
                tell('ready', device=status.device, model=status.model)
        elif self._accepted:
            began = time.perf_counter()
            request = GetParameters.Request(names=['tracking_threshold'])
            self._parameter_reader.call_async(request).add_done_callback(
                lambda _: tell('read', ms=1e3 * (time.perf_counter() - began)))


def tell(kind: str, **values: Any) -> None:
    """Write a line of JSON, with the time (s)."""
    print(json.dumps({'kind': kind, 'time': time.time(), **values}), flush=True)


def nanoseconds(stamp: Time) -> int:
    """Return a stamp in ns."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def corners(box: Box) -> list[float]:
    """Return x, y, w, h."""
    return [box.x, box.y, box.w, box.h]


def main(args: list[str] | None = None) -> int:
    """Listen until interrupted; return the exit status."""
    return listen(DemoClient, args)


if __name__ == '__main__':
    sys.exit(main())
