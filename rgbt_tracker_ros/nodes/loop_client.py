"""The node `rgbt_loop`: what a person beside the robot does in `rgbt loop`.

It gives the target at the beginning of what rgbt_player plays. At its end it drops the target and
has rgbt_recorder begin a new segment. Where a model is named, rgbt_tracker gets it under way.

A JSON object per line, by `kind`: `ready` (all are there), `pair` (both images are out), `track`
(an answer), `segment` (a sequence is recorded), `asked` and `reloaded` (the new model), `failed`.
"""
from __future__ import annotations

import sys
import time
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription
from rclpy.task import Future
from sensor_msgs.msg import TimeReference
from std_srvs.srv import Trigger

from rgbt_tracker_ros.msg import RecorderStatus, TargetRequest, Track, TrackerStatus
from rgbt_tracker_ros.nodes.demo_client import corners, nanoseconds, tell
from rgbt_tracker_ros.nodes.program import listen

LOOK = 0.1          # s between two looks at who is there
ATTEMPTS = 20       # to give the target, one at a look
PATIENCE = 3.0      # s without a sign of a pair after which it counts as lost
PARAMETERS: dict[str, tuple[Any, str]] = {
    'record': (False, 'have rgbt_recorder begin a new segment after each sequence'),
    'model': ('', 'weights that rgbt_tracker gets while it tracks; empty: none'),
    'warm_up': (30, 'answers before it gets them'),
}


class LoopClient(Node):
    """Listens to rgbt_player, rgbt_tracker and rgbt_recorder, and tells them what to do."""

    def __init__(self, **options: Any) -> None:
        super().__init__('rgbt_loop', **options)
        self._record, self._model, self._warm_up = (
            self.declare_parameter(name, default, ParameterDescriptor(
                description=text, read_only=True)).value
            for name, (default, text) in PARAMETERS.items())
        self._ready = self._failed = self._asked = False
        self._tracker: TrackerStatus | None = None
        self._recorder: RecorderStatus | None = None
        self._recorded = 0      # pairs of the sequences before
        self._truths: Subscription | None = None
        self._begin()
        self._targets = self.create_publisher(TargetRequest, 'rgbt_tracker/target', 10)
        self._reset = self.create_client(Trigger, 'rgbt_tracker/reset')
        self._reload = self.create_client(Trigger, 'rgbt_tracker/reload')
        self._setter = self.create_client(SetParameters, 'rgbt_tracker/set_parameters')
        self._split = self.create_client(Trigger, 'rgbt_recorder/split')
        latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(TrackerStatus, 'rgbt_tracker/status', self._on_tracker, latched)
        self.create_subscription(RecorderStatus, 'rgbt_recorder/recorder_status',
                                 self._on_recorder, latched)
        self._tracks = self.create_subscription(Track, 'rgbt_tracker/track', self._on_track, 1000)
        self._latched = latched
        self._pairs = self.create_subscription(TimeReference, 'rgbt_player/pairs', self._on_pair,
                                               latched)
        self.create_timer(LOOK, self._look)

    def _begin(self) -> None:
        """Forget the sequence before."""
        if self._truths is not None:
            self.destroy_subscription(self._truths)
            self._truths = None
        self._first: Track | None = None        # the first true box
        self._attempt = 0
        self._request_id = ''                   # of the last request, until it was answered
        self._accepted = self._ending = False
        self._sent: set[int] = set()            # stamps
        self._answered: set[int] = set()
        self._heard = time.monotonic()

    # what the others say

    def _on_truth(self, truth: Track) -> None:
        if self._first is None and not self._ending:
            self._first = truth
            self._give_target()

    def _on_pair(self, pair: TimeReference) -> None:
        self._heard = time.monotonic()
        self._sent.add(nanoseconds(pair.header.stamp))
        tell('pair', stamp=nanoseconds(pair.header.stamp))

    def _on_track(self, track: Track) -> None:
        if track.target_id:
            self._heard = time.monotonic()
            self._answered.add(nanoseconds(track.header.stamp))
            tell('track', stamp=nanoseconds(track.header.stamp), state=track.state,
                 box=corners(track.box), confidence=track.confidence)

    def _on_tracker(self, status: TrackerStatus) -> None:
        self._tracker = status
        if 'failed: ' in status.message and not self._ready:
            self._fail(f'rgbt_tracker: {status.message}')
        if status.request_id and status.request_id == self._request_id:
            self._request_id, self._accepted = '', status.request_accepted
            if not self._accepted and self._attempt >= ATTEMPTS:
                self._fail(f'rgbt_tracker refused the target: {status.request_message}')

    def _on_recorder(self, status: RecorderStatus) -> None:
        if self._recorder is None or status.pairs != self._recorder.pairs:
            self._heard = time.monotonic()
        self._recorder = status
        if status.state == RecorderStatus.FAILED:
            self._fail(f'rgbt_recorder: {status.message}')

    # what is done about it

    def _look(self) -> None:
        if not self._ready:
            self._ready = self._all_there()
            if self._ready and self._tracker:
                tell('ready', device=self._tracker.device, model=self._tracker.model)
        elif self._truths is None and self._player_is_heard():
            self._truths = self.create_subscription(Track, 'rgbt_player/groundtruth',
                                                    self._on_truth, self._latched)
        self._give_target()
        if (self._model and self._accepted and not self._asked
                and len(self._answered) >= self._warm_up):
            self._hand_over()
        if self._record and self._sent and not self._ending and self._is_over():
            self._ending = True
            self._reset.call_async(Trigger.Request()).add_done_callback(
                lambda _: self._split.call_async(Trigger.Request()).add_done_callback(self._end))

    def _all_there(self) -> bool:
        if not (self._tracker and self._tracker.device and self._targets.get_subscription_count()
                and self.count_publishers(self._tracks.topic_name)):
            return False
        if not self._record:
            return self._setter.service_is_ready() and self._reload.service_is_ready()
        recorder = self._recorder
        return bool(recorder and recorder.state == RecorderStatus.RECORDING
                    and self._split.service_is_ready() and self._reset.service_is_ready())

    def _player_is_heard(self) -> bool:
        """Whether all have subscribed to its images. It waits for a subscriber to its true boxes,
        who is the last one so.
        """
        return all(self.count_publishers(topic) and self.count_subscribers(topic) > self._record
                   for topic in ('rgb/image_raw', 'thermal/image_raw'))

    def _give_target(self) -> None:
        """Ask for the target; a request that comes before its images waits in the tracker."""
        if self._first is None or self._request_id or self._accepted or not self._ready:
            return
        self._attempt += 1
        self._request_id = f'loop {self._attempt} {nanoseconds(self._first.header.stamp)}'
        self._targets.publish(TargetRequest(header=self._first.header, box=self._first.box,
                                            request_id=self._request_id))

    def _is_over(self) -> bool:
        """Whether the player has gone, and all that it sent is written and answered, or lost."""
        if self.count_publishers(self._pairs.topic_name):
            return False
        written = self._recorder is not None and (
            self._recorder.pairs - self._recorded >= len(self._sent))
        # of pairs that wait the tracker answers the newest
        return (written and max(self._sent) in self._answered) or (
            time.monotonic() - self._heard > PATIENCE)

    def _end(self, split: Future) -> None:
        assert self._recorder is not None
        recorded = self._recorder.pairs - self._recorded
        self._recorded = self._recorder.pairs
        tell('segment', name=str(split.result().message).partition(' ')[0] if recorded else '',
             sent=len(self._sent), recorded=recorded,
             answered=len(self._sent & self._answered))
        self._begin()

    def _hand_over(self) -> None:
        """Set the parameter, then have the service say what became of it."""
        self._asked = True
        tell('asked', model=self._model)
        request = SetParameters.Request(
            parameters=[Parameter('model', value=self._model).to_parameter_msg()])
        self._setter.call_async(request).add_done_callback(self._on_set)

    def _on_set(self, done: Future) -> None:
        (result,) = done.result().results
        if not result.successful:
            tell('reloaded', success=False, message=result.reason)
            return
        self._reload.call_async(Trigger.Request()).add_done_callback(
            lambda f: tell('reloaded', success=f.result().success, message=f.result().message))

    def _fail(self, reason: str) -> None:
        if not self._failed:
            tell('failed', reason=reason)
        self._failed = True


def main(args: list[str] | None = None) -> int:
    """Do so until interrupted; return the exit status."""
    return listen(LoopClient, args)


if __name__ == '__main__':
    sys.exit(main())
