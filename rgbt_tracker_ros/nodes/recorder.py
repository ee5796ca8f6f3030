"""The node `rgbt_recorder`: pairs of images to disk, as they come."""
from __future__ import annotations

from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_srvs.srv import Trigger

from rgbt_tracker_ros.nodes.node_parameters import TableParameters
from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.parameters import NOW, START
from rgbt_tracker_ros.nodes.recorder_inputs import RecorderInputs
from rgbt_tracker_ros.nodes.recorder_parameters import TABLE, RecorderParameters
from rgbt_tracker_ros.nodes.recorder_status import TICK, RecorderReporter, Recording
from rgbt_tracker_ros.recording.place import RecordingError
from rgbt_tracker_ros.recording.recorder import Recorder

PATIENCE = 10.0     # s that ~/stop waits for the disk


class RecorderNode(Node):
    """See README for its topics, services and parameters.

    The executor's thread receives and matches; `Recorder` has a thread of its own that waits for
    the disk. What is left are the services: ~/start locks and lists the folder in the executor's
    thread, and ~/stop waits for the end of the last segment, PATIENCE at most. Images that come
    meanwhile wait in the middleware, up to `image_depth`; a disk that hangs (NFS) holds ~/start.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__('rgbt_recorder', **options)
        self._guard = self.create_guard_condition(self._on_change)
        self._notices = Notices(self.get_logger(), self._touch)
        self._recording = Recording()
        self._settings = TableParameters(self, self._notices, TABLE, RecorderParameters.build,
                                           self._remedy, self._apply)
        self._reporter = RecorderReporter(self, self._recording, self._notices)
        for name, answer in (('start', self._start), ('stop', self._stop),
                             ('split', self._split)):
            self.create_service(Trigger, f'~/{name}', self._service(answer))
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(TICK, self._tick, clock=steady)
        self._autostart = self.create_timer(0.0, self._begin, clock=steady)
        if not self.get_parameter('autostart').value:
            self._autostart.cancel()
        self._reporter.publish_status()

    def destroy_node(self) -> None:
        """End the recording, with all that was received, then the node."""
        self._end('shutdown', timeout=None)
        super().destroy_node()

    # services: each returns (success, message)

    def _service(self, answer: Any) -> Any:
        def call(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            response.success, response.message = answer()
            self._reporter.publish_status()
            return response
        return call

    def _start(self) -> tuple[bool, str]:
        recording = self._recording
        if recording.inputs is not None:
            return False, f'already recording to {recording.directory}'
        if recording.recorder is not None:      # one that failed, or waits for its disk
            recording.recorder.stop(timeout=PATIENCE)
        try:
            parameters = self._settings.get()
            settings = parameters.settings(self.get_fully_qualified_name())
            recording.directory = str(settings.directory)
            recorder = Recorder(settings, self._touch)
            try:
                recording.inputs = RecorderInputs(self, parameters, self._notices, recorder)
            except ValueError:
                recorder.stop()
                raise
        except (RecordingError, ValueError) as e:
            recording.fault = str(e)
            self.get_logger().error(f'not recording: {e}')
            return False, str(e)
        recording.recorder, recording.fault = recorder, ''
        self._reporter.restart()
        self.get_logger().info(f'recording to {settings.directory}/{settings.recording}_*')
        return True, f'recording to {settings.directory}'

    def _stop(self) -> tuple[bool, str]:
        recording = self._recording
        if recording.inputs is None:
            recording.fault = ''
            return True, 'was not recording'
        recorder = recording.recorder
        assert recorder is not None
        ended = self._end('stop', PATIENCE)
        text = f'{recorder.pairs} pairs in {recorder.segments} segments'
        if not ended:
            return False, f'{text}; the disk has not taken the rest in {PATIENCE:g} s'
        return not recorder.failure, recorder.failure or text

    def _split(self) -> tuple[bool, str]:
        recorder = self._recording.recorder
        if recorder is None or self._recording.inputs is None:
            return False, 'not recording'
        segment = recorder.segment
        recorder.split()
        return True, f'{segment} ends here' if segment else 'no pair since the last segment'

    # the rest

    def _begin(self) -> None:
        self._autostart.cancel()
        self._start()
        self._reporter.publish_status()

    def _end(self, reason: str, timeout: float | None) -> bool:
        """Stop receiving, and have written what was received; return whether that is done."""
        recording = self._recording
        if recording.inputs is None:
            return True
        assert recording.recorder is not None
        recording.inputs.close()
        recording.inputs = None
        ended = recording.recorder.stop(reason, timeout)
        self._look_at_failure()
        return ended

    def _look_at_failure(self) -> None:
        recording, recorder = self._recording, self._recording.recorder
        if recorder is None or not recorder.failure or recording.fault:
            return
        recording.fault = recorder.failure
        if recorder.error is not None and self.context.ok():
            self._notices.exception('recorder', 'the recorder failed', recorder.error)
        elif self.context.ok():
            self.get_logger().error(f'recording has stopped: {recorder.failure}')
        if recording.inputs is not None:
            recording.inputs.close()
            recording.inputs = None

    def _remedy(self, when: str) -> str:
        if when == START:
            return 'give it when the node starts'
        return '' if when == NOW or self._recording.inputs is None else 'call ~/stop first'

    def _apply(self, parameters: RecorderParameters) -> None:
        if self._recording.inputs is not None and self._recording.recorder is not None:
            self._recording.inputs.set_parameters(parameters)
            self._recording.recorder.configure(parameters.gates())

    def _touch(self) -> None:
        """Have the executor publish a status now; from any thread."""
        if self.context.ok():
            self._guard.trigger()

    def _on_change(self) -> None:
        self._look_at_failure()
        self._reporter.publish_status()

    def _tick(self) -> None:
        self._look_at_failure()
        if self._recording.inputs is not None:
            self._recording.inputs.look()
        self._reporter.tick()
