"""Report: ~/recorder_status and /diagnostics of the recorder."""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import monotonic

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from rgbt_tracker_ros.msg import RecorderStatus
from rgbt_tracker_ros.nodes.health import Health
from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.pairing import RGB, STREAMS, THERMAL
from rgbt_tracker_ros.nodes.recorder_inputs import RecorderInputs
from rgbt_tracker_ros.nodes.status import percentile
from rgbt_tracker_ros.recording.recorder import Recorder

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
TICK = 0.1      # s; every fifth publishes a status, every tenth diagnostics
RECENT = 20     # statuses looked back at: 10 s
ENOUGH = 10     # images of each camera without a pair between them


@dataclass(slots=True)
class Recording:
    """What there is between ~/start and ~/stop; after it what is left to tell.

    `fault`: why it could not start, or go on.
    """

    recorder: Recorder | None = None
    inputs: RecorderInputs | None = None
    directory: str = ''
    fault: str = ''

    @property
    def state(self) -> int:
        """As in RecorderStatus."""
        if self.fault:
            return int(RecorderStatus.FAILED)
        return int(RecorderStatus.RECORDING if self.inputs else RecorderStatus.STOPPED)


@dataclass(frozen=True, slots=True)
class _Past:
    time: float
    bytes: int
    pairs: int
    dropped: int
    missed: int
    received: tuple[int, int]
    matched: int


class RecorderReporter:
    """Publishes on `recording`. Runs in the executor's thread."""

    def __init__(self, node: Node, recording: Recording, notices: Notices) -> None:
        self._name = node.get_fully_qualified_name().lstrip('/')
        self._clock = node.get_clock()
        self._recording = recording
        self._notices = notices
        self._status = node.create_publisher(RecorderStatus, '~/recorder_status', QoSProfile(
            depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._ticks = 0
        self._shown: tuple[Health, ...] = ()
        self._past: deque[_Past] = deque(maxlen=RECENT)

    def restart(self) -> None:
        """Forget the last seconds: counters begin anew."""
        self._past.clear()

    def tick(self) -> None:
        """Publish what is due; to be called every TICK s."""
        self._ticks += 1
        if self._ticks % 5 == 0 or self._shown != tuple(v for v, _ in self._judge().values()):
            self.publish_status()
        if self._ticks % 10 == 0:
            self._diagnostics.publish(DiagnosticArray(
                header=self._header(), status=self._diagnose()))

    def publish_status(self) -> None:
        """Publish a status now."""
        status = self._describe()
        self._status.publish(status)
        if self._ticks % 5 == 0:
            inputs = self._recording.inputs
            self._past.append(_Past(monotonic(), status.bytes, status.pairs, status.dropped,
                                    self._missed(),
                                    (status.rgb_received, status.thermal_received),
                                    inputs.matcher.pairs if inputs else 0))

    def _judge(self) -> dict[str, tuple[Health, str]]:
        inputs = self._recording.inputs
        return inputs.judge() if inputs else dict.fromkeys(STREAMS, (Health.WAITING, ''))

    def _describe(self) -> RecorderStatus:
        recording, verdicts = self._recording, self._judge()
        self._shown = tuple(v for v, _ in verdicts.values())
        texts = [recording.fault, *(text for _, text in verdicts.values()),
                 *self._notices.current(), self._loss(), self._no_pairs(verdicts)]
        msg = RecorderStatus(
            header=self._header(), state=recording.state, directory=recording.directory,
            message='; '.join(dict.fromkeys(filter(None, texts))),
            skew_p50=float('nan'), skew_p95=float('nan'))
        if (recorder := recording.recorder) is not None:
            msg.segment, msg.segments = recorder.segment, recorder.segments
            msg.pairs, msg.tracks, msg.bytes = recorder.pairs, recorder.tracks, recorder.bytes
            msg.skipped, msg.dropped = sum(recorder.skipped.values()), recorder.dropped
            msg.unmatched, msg.invalid = recorder.tally.total('unmatched'), recorder.invalid
            msg.queued_bytes, msg.free_bytes = recorder.queued_bytes, recorder.free_bytes
            msg.queued_bytes += recording.inputs.waiting_bytes if recording.inputs else 0
            if self._past and (passed := monotonic() - self._past[0].time):
                msg.bytes_per_second = max(0.0, (msg.bytes - self._past[0].bytes) / passed)
        if (inputs := recording.inputs) is not None:
            msg.rgb_received = inputs.matcher.timing[RGB].received
            msg.thermal_received = inputs.matcher.timing[THERMAL].received
            msg.invalid += sum(h.invalid for h in inputs.health.values())
            skews = [abs(s) / 1e9 for s in list(inputs.matcher.skews)]
            msg.skew_p50, msg.skew_p95 = percentile(skews, 50), percentile(skews, 95)
        return msg

    def _loss(self) -> str:
        """Say what was lost in the last seconds: at the disk, and before it came here."""
        recorder = self._recording.recorder
        if recorder is None or not self._past or self._recording.inputs is None:
            return ''
        lost, missed = recorder.dropped - self._past[0].dropped, self._missed() - (
            self._past[0].missed)
        if lost:
            return (f'{lost} pairs lost lately: the disk is slower than the cameras. Raise '
                    'queue_bytes if it only pauses; else record fewer (every_n) or to a faster '
                    'one')
        return (f'{missed} images lost lately on their way from the cameras. Raise the depth of '
                "their publishers' history and image_depth, give them shared memory "
                '(config/fastdds_shm.xml), or leave them more of the processor' if missed else '')

    def _missed(self, stream: str | None = None) -> int:
        recorder = self._recording.recorder
        return recorder.tally.total('missed', stream) if recorder else 0

    def _no_pairs(self, verdicts: dict[str, tuple[Health, str]]) -> str:
        """Say that both streams come and their stamps have not met in the last seconds."""
        inputs = self._recording.inputs
        if inputs is None or not self._past or any(h != Health.OK for h, _ in verdicts.values()):
            return ''
        timing, past, matcher = inputs.matcher.timing, self._past[0], inputs.matcher
        rgb, thermal = timing[RGB], timing[THERMAL]
        if (matcher.pairs > past.matched or rgb.newest is None or thermal.newest is None
                or rgb.received - past.received[0] < ENOUGH
                or thermal.received - past.received[1] < ENOUGH):
            return ''
        return (f'no pairs: thermal stamps are {(thermal.newest - rgb.newest) / 1e9:+.3f} s from '
                f"RGB's, and pair_slop is {matcher.settings.slop / 1e6:g} ms; see "
                'thermal_time_offset')

    def _diagnose(self) -> list[DiagnosticStatus]:
        status, verdicts, made = self._describe(), self._judge(), []
        if (inputs := self._recording.inputs) is not None:
            for stream, (health, text) in verdicts.items():
                image, timing = inputs.images[stream], inputs.matcher.timing[stream]
                level = OK if health == Health.OK and not image.problem else (
                    ERROR if health in (Health.STOPPED, Health.INVALID) else WARN)
                made.append(self._made(stream, level, text or image.problem or 'arriving', {
                    'topic': image.topic, 'publishers': image.publishers,
                    'reliability': image.reliability, 'received': timing.received,
                    'lost': timing.lost, 'missed': self._missed(stream),
                    'rate (Hz)': f'{1e9 / timing.period:.1f}' if timing.period else ''}))
        level, text = OK, status.message or ('recording' if status.state else 'stopped')
        if status.state == RecorderStatus.FAILED:
            level = ERROR
        elif status.message:
            level = WARN
        made.append(self._made('recording', level, text, {
            'directory': status.directory, 'segment': status.segment,
            'segments closed': status.segments, 'pairs': status.pairs, 'tracks': status.tracks,
            'skipped by gates': status.skipped, 'dropped': status.dropped,
            'unmatched images': status.unmatched,
            'queued (MB)': f'{status.queued_bytes / 1e6:.1f}',
            'written (MB/s)': f'{status.bytes_per_second / 1e6:.1f}',
            'free (GB)': f'{status.free_bytes / 1e9:.2f}',
            'skew p95 (ms)': f'{1e3 * status.skew_p95:.2f}'}))
        return made

    def _header(self) -> Header:
        return Header(stamp=self._clock.now().to_msg())

    def _made(self, part: str, level: bytes, text: str, values: dict[str, object]
              ) -> DiagnosticStatus:
        return DiagnosticStatus(
            name=f'{self._name}: {part}', level=level, message=text,
            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])
