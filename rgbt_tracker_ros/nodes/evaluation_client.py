"""The node `rgbt_evaluation`: gives rgbt_tracker the target that rgbt_player plays, and writes
down what both say, until the player has gone.

A JSON object per line, by `kind`: `ready` (the tracker is there), `reply` (to the request for a
target), `pair` (both images are out), `track` (an answer), `status` (news of the tracker), `end`
(the tracker's counters). `sent` is the time (ns) at which the publisher let go of a message.
"""
from __future__ import annotations

import json
import math
import signal
import sys
import time
from typing import Any, TextIO

from builtin_interfaces.msg import Time
from rcl_interfaces.msg import ParameterDescriptor
import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import TimeReference

from rgbt_tracker_ros.msg import TargetRequest, Track, TrackerStatus

LOOK = 0.1          # s between two looks at who is there
ATTEMPTS = 20       # to give the target, one at a look
PARAMETERS: dict[str, tuple[str | float, str]] = {
    'output': ('', 'file that the lines go to; empty: standard output'),
    'patience': (2.0, 's without an answer after which none is expected any more'),
    'start_patience': (300.0, 's until the first pair'),
}
COUNTERS = ('rgb_received', 'thermal_received', 'pairs', 'singles', 'unmatched', 'dropped',
            'answered', 'invalid', 'errors')


class EvaluationError(RuntimeError):
    """The evaluation can't go on; the text says why."""


class EvaluationClient(Node):
    """Listens to rgbt_player and rgbt_tracker; `finished` is done at the end."""

    def __init__(self, **options: Any) -> None:
        """Listen.

        :raises OSError: if the file of the parameter `output` can't be written.
        """
        super().__init__('rgbt_evaluation', **options)
        self.finished: Future = Future()
        values = {name: self.declare_parameter(name, default, ParameterDescriptor(
            description=text, read_only=True)).value
            for name, (default, text) in PARAMETERS.items()}
        self._patience, self._start_patience = values['patience'], values['start_patience']
        path = values['output']
        self._output: TextIO = open(path, 'w', encoding='utf-8') if path else sys.stdout
        self._began = self._heard = time.monotonic()
        self._status_came = 0.0
        self._status: TrackerStatus | None = None
        self._news: tuple[Any, ...] = ()
        self._ready = self._accepted = False
        self._first: Track | None = None        # the first true box
        self._attempt = 0
        self._request_id = ''                   # of the last request, until it was answered
        self._open: set[int] = set()            # stamps of pairs that were not answered
        self._answered: set[int] = set()
        self._targets = self.create_publisher(TargetRequest, 'rgbt_tracker/target', 10)
        latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(TrackerStatus, 'rgbt_tracker/status', self._on_status, latched)
        self._tracks = self.create_subscription(Track, 'rgbt_tracker/track', self._on_track, 1000)
        self.create_subscription(Track, 'rgbt_player/groundtruth', self._on_truth, latched)
        self._pairs = self.create_subscription(TimeReference, 'rgbt_player/pairs', self._on_pair,
                                               latched)
        self.create_timer(LOOK, self._look)

    def tell(self, kind: str, **values: Any) -> None:
        """Write a line of JSON; what is not finite becomes null."""
        line = {k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in values.items()}
        self._output.write(json.dumps({'kind': kind, **line}, allow_nan=False) + '\n')
        self._output.flush()

    def _on_truth(self, truth: Track) -> None:
        if self._first is None:
            self._first = truth
            self._give_target()

    def _give_target(self) -> None:
        """Ask for the target; a request that comes before its images waits in the tracker."""
        if self._first is None or not self._ready or self._request_id or self._accepted:
            return
        self._attempt += 1
        self._request_id = f'evaluation {self._attempt}'
        self._targets.publish(TargetRequest(header=self._first.header, box=self._first.box,
                                            request_id=self._request_id))

    def _on_pair(self, pair: TimeReference, info: dict[str, int]) -> None:
        self._heard = time.monotonic()
        stamp = nanoseconds(pair.header.stamp)
        if stamp not in self._answered:
            self._open.add(stamp)
        self.tell('pair', number=int(pair.source), stamp=stamp,
                  recorded=nanoseconds(pair.time_ref), sent=info['source_timestamp'])

    def _on_track(self, track: Track, info: dict[str, int]) -> None:
        if not track.target_id:
            return
        self._heard = time.monotonic()
        stamp = nanoseconds(track.header.stamp)
        self._answered.add(stamp)
        self._open.discard(stamp)
        box = track.box
        self.tell('track', stamp=stamp, sent=info['source_timestamp'], target=track.target_id,
                  state=track.state, box=[box.x, box.y, box.w, box.h],
                  confidence=track.confidence, weight_rgb=track.weight_rgb,
                  weight_thermal=track.weight_thermal, network_time=track.network_time)

    def _on_status(self, status: TrackerStatus) -> None:
        self._status, self._status_came = status, time.monotonic()
        if status.request_id and status.request_id == self._request_id:
            self._request_id, self._accepted = '', status.request_accepted
            final = self._accepted or self._attempt >= ATTEMPTS
            self.tell('reply', accepted=self._accepted, reason=status.request_message, final=final)
            if final and not self._accepted:
                self._fail(f'rgbt_tracker refused the target: {status.request_message}')
        news = status.message, status.rgb_health, status.thermal_health, status.errors
        if news != self._news:
            self._news = news
            self.tell('status', message=status.message, errors=status.errors,
                      rgb_health=status.rgb_health, thermal_health=status.thermal_health)

    def _look(self) -> None:
        now, status = time.monotonic(), self._status
        if not self._ready:
            self._ready = bool(status and status.device and self._targets.get_subscription_count()
                               and self.count_publishers(self._tracks.topic_name))
            if self._ready and status:
                self.tell('ready', device=status.device, model=status.model)
        self._give_target()
        if not self._open and not self._answered:
            if now - self._began > self._start_patience:
                self._fail(f'nothing was played for {self._start_patience:g} s: are rgbt_player '
                           'and rgbt_tracker running?')
        elif not self.count_publishers(self._pairs.topic_name) and (
                now - self._heard > self._patience
                # nothing is missing, and the counters were told since
                or (not self._open and self._status_came > self._heard + LOOK)):
            counters = {} if status is None else {n: getattr(status, n) for n in COUNTERS}
            self.tell('end', **counters)
            if not self.finished.done():
                self.finished.set_result(True)

    def _fail(self, reason: str) -> None:
        self.tell('failed', reason=reason)
        if not self.finished.done():
            self.finished.set_exception(EvaluationError(reason))


def nanoseconds(stamp: Time) -> int:
    """Return a stamp in ns."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def main(args: list[str] | None = None) -> int:
    """Listen to the end; return the exit status, 130 where that was not reached."""
    signal.signal(signal.SIGINT, lambda *_: None)  # rclpy's own handler ends the spinning
    rclpy.init(args=args)
    try:
        node = EvaluationClient()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin_until_future_complete(node.finished)
        if node.finished.done():
            node.finished.result()
            return 0
    except (ExternalShutdownException, BrokenPipeError):
        pass
    except (EvaluationError, OSError, ParameterException) as error:
        print(f'rgbt_evaluation: {error}', file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return 130


if __name__ == '__main__':
    sys.exit(main())
