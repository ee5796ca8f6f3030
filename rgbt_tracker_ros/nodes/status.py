"""Report: ~/status and /diagnostics, from what the parts of the node know."""
from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
import math
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from rgbt_tracker_ros.msg import TrackerStatus
from rgbt_tracker_ros.nodes.health import Health
from rgbt_tracker_ros.nodes.inputs import CameraInputs
from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.outputs import Outputs
from rgbt_tracker_ros.nodes.pairing import RGB, STREAMS, THERMAL
from rgbt_tracker_ros.nodes.session import Session
from rgbt_tracker_ros.nodes.session_types import Reply
from rgbt_tracker_ros.nodes.worker import Worker
from rgbt_tracker_ros.types import State

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
LOST_SHARE = 0.02       # of the images of the last 10 s; above it is worth a warning
LOST_FIX = {
    'best_effort': 'publish them reliably (image_qos auto follows), or, on one machine, start the '
                   'camera and the tracker with FASTRTPS_DEFAULT_PROFILES_FILE set to this '
                   "package's config/fastdds_shm.xml",
    'reliable': 'the camera leaves them out, or this machine is too busy to take them all'}
TICK = 0.1      # s; every fifth publishes a status, every tenth diagnostics


@dataclass(slots=True)
class Parts:
    """What the node is made of; `inputs` only while it is active.

    `phase`: its lifecycle state. `fault`: why it did not get any further. `refusal`: why a new
    model was not taken.
    """

    session: Session
    worker: Worker[Any]
    outputs: Outputs
    inputs: CameraInputs | None = None
    phase: str = 'unconfigured'
    fault: str = ''
    refusal: str = ''


class Reporter:
    """Publishes ~/status and /diagnostics on `parts`. Runs in the executor's thread."""

    def __init__(self, node: LifecycleNode, parts: Parts, notices: Notices) -> None:
        self._name = node.get_fully_qualified_name().lstrip('/')
        self._clock = node.get_clock()
        self._parts = parts
        self._notices = notices
        self._status = node.create_publisher(TrackerStatus, '~/status', QoSProfile(
            depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._ticks = 0
        self._reply = Reply()       # the last one that was told
        self._shown: tuple[Health, ...] = ()
        # (received, lost) of each stream, and pairs
        self._past: deque[tuple[dict[str, tuple[int, int]], int]] = deque(maxlen=10)

    def tick(self) -> None:
        """Publish what is due; to be called every TICK s."""
        self._ticks += 1
        verdicts = self._judge()
        if text := self._no_time():
            self._notices.log('no time', text)
        if self._ticks % 10 == 0:
            self._diagnostics.publish(self._diagnose(verdicts))
        if self._ticks % 5 == 0 or self._shown != tuple(v for v, _ in verdicts.values()):
            self.publish_status()

    def publish_status(self) -> None:
        """Publish a status now: one for each reply that is to be told, at least one."""
        replies = self._parts.session.replies
        self._reply = replies.popleft() if replies else self._reply
        self._publish()
        while replies:
            self._reply = replies.popleft()
            self._publish()

    def _publish(self) -> None:
        parts, verdicts = self._parts, self._judge()
        self._shown = tuple(v for v, _ in verdicts.values())
        texts = [parts.fault or ('' if parts.phase == 'active' else f'the node is {parts.phase}'),
                 parts.refusal, '' if parts.session.enabled else 'paused by ~/enable',
                 parts.session.pending, self._no_time(),
                 *(text for _, text in verdicts.values()), *self._notices.current(),
                 *(self._loss(s) for s in STREAMS), self._no_pairs(verdicts)]
        self._status.publish(self._describe('; '.join(dict.fromkeys(filter(None, texts))),
                                            verdicts))

    def _judge(self) -> dict[str, tuple[Health, str]]:
        if (inputs := self._parts.inputs) is None:
            return dict.fromkeys(STREAMS, (Health.WAITING, ''))
        inputs.set_frozen(self._parts.session.frozen)
        return inputs.judge()

    def _describe(self, message: str, verdicts: dict[str, tuple[Health, str]]) -> TrackerStatus:
        parts, session, reply = self._parts, self._parts.session, self._reply
        msg = TrackerStatus(
            header=self._header(), state=int(session.state), target_id=session.target_id,
            request_id=reply.request_id, request_accepted=reply.accepted,
            request_message=reply.message, message=message,
            rgb_health=int(verdicts[RGB][0]), thermal_health=int(verdicts[THERMAL][0]),
            dropped=parts.worker.dropped, answered=parts.outputs.answered, errors=session.errors,
            age_p50=percentile(parts.outputs.ages, 50), age_p95=percentile(parts.outputs.ages, 95),
            network_p50=percentile(parts.outputs.network_times, 50),
            skew_p50=math.nan, skew_p95=math.nan)
        if (tracker := session.tracker) is not None:    # the worker may let go of it meanwhile
            msg.device, msg.model = tracker.device, tracker.model_name
        if parts.inputs is not None:
            matcher = parts.inputs.matcher
            msg.rgb_received = matcher.timing[RGB].received
            msg.thermal_received = matcher.timing[THERMAL].received
            msg.pairs, msg.singles = matcher.pairs, matcher.singles
            msg.unmatched = matcher.unmatched
            msg.invalid = sum(h.invalid for h in parts.inputs.health.values())
            skews = [abs(s) / 1e9 for s in list(matcher.skews)]
            msg.skew_p50, msg.skew_p95 = percentile(skews, 50), percentile(skews, 95)
        return msg

    def _diagnose(self, verdicts: dict[str, tuple[Health, str]]) -> DiagnosticArray:
        made = []
        if (inputs := self._parts.inputs) is not None:
            made += [self._input(inputs, s, *verdicts[s]) for s in inputs.images]
            made.append(self._pairing(inputs, verdicts))
            matcher = inputs.matcher
            self._past.append(({s: (t.received, t.lost) for s, t in matcher.timing.items()},
                               matcher.pairs))
        else:
            self._past.clear()
        made.append(self._inference())
        return DiagnosticArray(header=self._header(), status=made)

    def _no_time(self) -> str:
        """Say that simulated time has not begun."""
        if self._clock.ros_time_is_active and not self._clock.now().nanoseconds:
            return ('use_sim_time is true and nothing has come on /clock: play the bag with '
                    '--clock, or set use_sim_time to false')
        return ''

    def _no_pairs(self, verdicts: dict[str, tuple[Health, str]]) -> str:
        """Say that both streams come and their stamps have not met in the last seconds."""
        inputs = self._parts.inputs
        if (inputs is None or not all(inputs.used.values()) or not self._past
                or any(health != Health.OK for health, _ in verdicts.values())):
            return ''
        matcher, (streams, pairs) = inputs.matcher, self._past[0]
        rgb, thermal = (matcher.timing[s] for s in STREAMS)
        if (matcher.pairs > pairs or rgb.newest is None or thermal.newest is None
                or rgb.received < streams[RGB][0] + 10
                or thermal.received < streams[THERMAL][0] + 10):
            return ''
        return (f'no pairs: thermal stamps are {(thermal.newest - rgb.newest) / 1e9:+.3f} s from '
                f"RGB's, and pair_slop is {matcher.settings.slop / 1e6:g} ms; see "
                'thermal_time_offset')

    def _loss(self, stream: str) -> str:
        """Say how many images were lost on the way in the last 10 s, if they are many."""
        inputs = self._parts.inputs
        if inputs is None or stream not in inputs.images or not self._past:
            return ''
        timing = inputs.matcher.timing[stream]
        received, lost = self._past[0][0][stream]
        received, lost = timing.received - received, timing.lost - lost
        if lost <= max(1, LOST_SHARE * (received + lost)):
            return ''
        image = inputs.images[stream]
        return (f'{stream} ({image.topic}, {image.reliability}): {lost} of {received + lost} '
                f'images lost lately; {LOST_FIX.get(image.reliability, "")}')

    def _input(self, inputs: CameraInputs, stream: str, health: Health,
               text: str) -> DiagnosticStatus:
        image, timing = inputs.images[stream], inputs.matcher.timing[stream]
        level = {Health.OK: OK, Health.STOPPED: ERROR, Health.INVALID: ERROR}.get(health, WARN)
        loss = self._loss(stream)
        if level == OK and (loss or image.problem):
            level, text = WARN, loss or image.problem
        period = timing.period
        return self._made(stream, level, text or 'arriving', {
            'topic': image.topic, 'publishers': image.publishers,
            'reliability': image.reliability, 'rate (Hz)': f'{1e9 / period:.1f}' if period else '',
            'received': timing.received, 'lost': timing.lost,
            'invalid': inputs.health[stream].invalid,
            'behind its partner (ms)': f'{timing.lag / 1e6:.1f}'})

    def _pairing(self, inputs: CameraInputs,
                 verdicts: dict[str, tuple[Health, str]]) -> DiagnosticStatus:
        matcher = inputs.matcher
        skews = [abs(s) / 1e6 for s in list(matcher.skews)]
        p95, slop = percentile(skews, 95), matcher.settings.slop / 1e6
        level, text = OK, 'matching'
        if not all(inputs.used.values()):
            text = 'one camera only'
        elif problem := self._no_pairs(verdicts):
            level, text = WARN, problem
        elif not matcher.pairs:
            level, text = WARN, 'no pair yet'
        elif p95 > 0.8 * slop:
            level, text = WARN, (f'skew is {p95:.1f} ms at the 95th percentile, pair_slop is '
                                 f'{slop:g} ms; see thermal_time_offset')
        return self._made('pairing', level, text, {
            'pairs': matcher.pairs, 'singles': matcher.singles, 'unmatched': matcher.unmatched,
            'jumps': matcher.jumps, 'skew p50 (ms)': f'{percentile(skews, 50):.2f}',
            'skew p95 (ms)': f'{p95:.2f}'})

    def _inference(self) -> DiagnosticStatus:
        session, outputs, worker = self._parts.session, self._parts.outputs, self._parts.worker
        tracker = session.tracker       # the worker may let go of it meanwhile
        level, text = OK, State(session.state).name.lower()
        if self._parts.fault:
            level, text = ERROR, self._parts.fault
        elif tracker is None:
            level, text = WARN, f'no model is loaded: the node is {self._parts.phase}'
        elif self._parts.refusal:
            level, text = WARN, self._parts.refusal
        elif session.pending:
            level, text = WARN, session.pending
        elif session.errors:
            level, text = WARN, f'{session.errors} failures since the start, see the log; {text}'
        elif session.state in (State.SEARCHING, State.LOST):
            level = WARN
        return self._made('inference', level, text, {
            'device': tracker.device if tracker else '',
            'model': tracker.model_name if tracker else '',
            'answered': outputs.answered, 'dropped': worker.dropped, 'errors': session.errors,
            'network p50 (ms)': f'{1e3 * percentile(outputs.network_times, 50):.1f}',
            'age p50 (ms)': f'{1e3 * percentile(outputs.ages, 50):.1f}',
            'age p95 (ms)': f'{1e3 * percentile(outputs.ages, 95):.1f}'})

    def _header(self) -> Header:
        return Header(stamp=self._clock.now().to_msg())

    def _made(self, part: str, level: bytes, text: str, values: dict[str, object]
              ) -> DiagnosticStatus:
        tracker = self._parts.session.tracker
        return DiagnosticStatus(
            name=f'{self._name}: {part}', level=level, message=text,
            hardware_id=tracker.device if tracker else '',
            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])


def percentile(values: Collection[float], q: float) -> float:
    """Return the nearest-rank percentile, NaN of nothing."""
    ordered = sorted(values)
    return (float(ordered[min(len(ordered) - 1, int(len(ordered) * q / 100))]) if ordered
            else math.nan)
