"""The node rgbt_tracker: two cameras and a target in, tracks out."""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import SetBool, Trigger

from rgbt_tracker_ros.msg import TargetRequest
from rgbt_tracker_ros.nodes.camera_infos import InfoInput
from rgbt_tracker_ros.nodes.inputs import CameraInputs
from rgbt_tracker_ros.nodes.loading import load_tracker
from rgbt_tracker_ros.nodes.node_parameters import NodeParameters
from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.outputs import Outputs, stamp_ns
from rgbt_tracker_ros.nodes.pairing import JUMP, Match
from rgbt_tracker_ros.nodes.parameters import ParameterError, Parameters
from rgbt_tracker_ros.nodes.reload import EXPECTED, Reloader, Verdict
from rgbt_tracker_ros.nodes.ring import PairRing
from rgbt_tracker_ros.nodes.session import Session
from rgbt_tracker_ros.nodes.session_types import Reply, Target, TrackerLike
from rgbt_tracker_ros.nodes.status import TICK, Parts, Reporter
from rgbt_tracker_ros.nodes.targets import Cameras
from rgbt_tracker_ros.nodes.worker import Worker
from rgbt_tracker_ros.types import Box

try:
    from vision_msgs.msg import Detection2D
except ImportError:     # only where ROS is installed: apt install ros-jazzy-vision-msgs
    Detection2D = None

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class TrackerNode(LifecycleNode):
    """See README for its topics, services and parameters.

    The executor's thread receives, checks and matches images; a worker's thread converts them,
    runs the tracker and publishes. `load_tracker` is called there, at configuration.
    """

    def __init__(self, *, load_tracker: Callable[[Parameters], TrackerLike] = load_tracker,
                 **options: Any) -> None:
        super().__init__('rgbt_tracker', **options)
        self._load_tracker = load_tracker
        self._camera_info: InfoInput | None = None
        self._status_guard = self.create_guard_condition(self._report)
        self._notices = Notices(self.get_logger(), self._touch)
        self._ring = PairRing(0)
        outputs = Outputs(self, self._notices)
        self._session = Session(self._ring, self._notices, publish=outputs.publish,
                                changed=self._touch, refused=self._refused)
        self._worker = Worker[Match[Any]](self._session.process, self._failed,
                                          self._session.backlog)
        self._parts = Parts(self._session, self._worker, outputs)
        self._reloader = Reloader(load_tracker, self._exchange, self._notices, self._reloaded)
        self._reporter = Reporter(self, self._parts, self._notices)
        self.create_subscription(TargetRequest, '~/target', self._on_target, 10)
        if Detection2D is not None:
            self.create_subscription(Detection2D, '~/target_detection', self._on_detection, 10)
        self.create_service(Trigger, '~/reset', self._on_reset)
        self.create_service(SetBool, '~/enable', self._on_enable)
        # its answer takes as long as the loading: nothing else may wait for that
        self.create_service(Trigger, '~/reload', self._on_reload,
                            callback_group=MutuallyExclusiveCallbackGroup())
        self._settings = NodeParameters(self, self._notices, state=lambda: self._parts.phase,
                                        changed=self._changed)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-JUMP)),
            post_callback=self._on_jump)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(TICK, self._tick, clock=steady)
        self._autostart = self.create_timer(0.0, self._start, clock=steady)
        if not self.get_parameter('autostart').value:
            self._autostart.cancel()

    # transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model in the worker's thread, and warm it up."""
        try:
            parameters = self._settings.get()
            self._parts.fault = 'loading the model'
            self._report()
            done = self._worker.call(
                partial(self._session.load, partial(self._load_tracker, parameters)))
            while not wait([done], 0.2).done:
                if not self.context.ok():
                    return FAILURE
            done.result()
            self._reloader.loaded(parameters)
        except Exception as e:
            return self._fail('configure', e)
        self._parts.phase, self._parts.fault, self._parts.refusal = 'inactive', '', ''
        self._apply(parameters)
        tracker = self._session.tracker
        assert tracker is not None
        self.get_logger().info(f'{tracker.model_name} on {tracker.device}')
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras."""
        try:
            parameters = self._settings.get()
            self._apply(parameters)
            self._parts.inputs = CameraInputs(self, parameters, self._notices,
                                              release=self._release, jumped=self._jumped)
        except Exception as e:
            return self._fail('activate', e)
        # latched or not, as its publishers are
        self._camera_info = InfoInput(self, 'rgb/camera_info', self._on_camera_info)
        self._parts.phase, self._parts.fault = 'active', ''
        self._worker.post(partial(self._session.enable, True))  # a pause ends with the activation
        self._await_initial_box()
        self._report()
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leave the cameras and drop the target; the model stays loaded."""
        self._parts.phase = 'inactive'
        if self._parts.inputs is not None:
            self._parts.inputs.close()
            self._parts.inputs = None
        if self._camera_info is not None:
            self._camera_info.close()
            self._camera_info = None
        self._worker.post(partial(self._session.reset, 'the node was deactivated'))
        self._forget_pairs()
        self._report()
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model."""
        self._reloader.cancel('the node was cleaned up')
        self._parts.phase, self._parts.fault, self._parts.refusal = 'unconfigured', '', ''
        self._worker.post(self._session.unload)
        self._report()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop everything."""
        self.on_deactivate(state)
        self._reloader.stop()
        self._worker.stop()
        self._parts.phase, self._parts.fault = 'finalized', ''
        self._report()
        return SUCCESS

    def destroy_node(self) -> None:
        """Stop the threads, then destroy the node."""
        self._worker.stop()
        self._reloader.stop()
        self._jump_handle.unregister()
        super().destroy_node()

    def _start(self) -> None:
        self._autostart.cancel()
        if self._parts.phase == 'unconfigured':
            if self.trigger_configure() == SUCCESS:
                self.trigger_activate()
        elif self._parts.phase == 'inactive' and self._parts.fault:     # that is where it failed
            self.trigger_activate()

    def _fail(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        text = f'{transition} failed: {error}'
        if isinstance(error, EXPECTED):
            self.get_logger().error(text)
        else:
            self._notices.exception('transition', f'{transition} failed', error)
        self._parts.fault = text
        self._report()
        return FAILURE

    # from the cameras to the worker

    def _on_camera_info(self, data: bytes, _: dict[str, int]) -> None:
        self._parts.outputs.set_camera(deserialize_message(data, CameraInfo))

    def _release(self, match: Match[Any]) -> None:
        self._ring.append(match)
        self._worker.submit(match)

    def _refused(self, stream: str, reason: str) -> None:
        if (inputs := self._parts.inputs) is not None:
            inputs.refuse(stream, reason)

    def _jumped(self, reason: str) -> None:
        """Forget the pairs: stamps went back. The target is kept: it is there still, unless a
        recording started over, which shows in /clock.
        """
        self._notices.warn('jump', f'{reason}: pairing starts anew, the target is kept')
        self._forget_pairs()

    def _on_jump(self, jump: TimeJump) -> None:
        if (inputs := self._parts.inputs) is None:
            return
        inputs.reset(back=jump.delta.nanoseconds < 0)
        self._forget_pairs()
        if jump.delta.nanoseconds < 0:
            self._worker.post(partial(self._session.reset,
                                      'the clock went back, the recording has started over'))
            self._await_initial_box()

    def _forget_pairs(self) -> None:
        self._ring.clear()
        self._worker.clear()
        self._worker.post(self._session.jumped)

    def _await_initial_box(self) -> None:
        if box := self._settings.get().initial_box:
            self._worker.post(partial(self._session.await_first,
                                      Target(Box(*box), request_id='initial_box',
                                             patient=True)))

    def _failed(self, error: Exception) -> None:
        if self.context.ok():   # else it is the end: nothing can be published any more
            self._session.errors += 1
            self._notices.exception('worker', 'a pair or a request could not be answered', error)

    # requests

    def _on_target(self, msg: TargetRequest) -> None:
        self._request(Target(Box(msg.box.x, msg.box.y, msg.box.w, msg.box.h),
                             stamp_ns(msg.header), msg.request_id, msg.header.frame_id))

    def _on_detection(self, msg: Any) -> None:
        center, box = msg.bbox.center.position, msg.bbox
        self._request(Target(Box.from_center(center.x, center.y, box.size_x, box.size_y),
                             stamp_ns(msg.header), msg.id, msg.header.frame_id))

    def _request(self, target: Target) -> None:
        if self._parts.phase == 'active':
            self._worker.post(partial(self._session.request, target))
            return
        parts = self._parts
        reason = f'the node is {parts.phase}' + (f' ({parts.fault})' if parts.fault else '')
        self._session.tell(Reply(target.request_id, False, reason))
        self._notices.warn('request', f'target refused: {reason}')
        self._report()

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        target = self._session.target_id
        self._worker.post(self._session.reset)
        response.success = True
        response.message = f'target {target} dropped' if target else 'there was no target'
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response
                   ) -> SetBool.Response:
        self._worker.post(partial(self._session.enable, request.data))
        response.success = True
        response.message = 'tracking' if request.data else 'paused; the target is kept'
        return response

    async def _on_reload(self, request: Trigger.Request, response: Trigger.Response
                         ) -> Trigger.Response:
        parts = self._parts
        if parts.phase not in ('inactive', 'active'):
            fault = f' ({parts.fault})' if parts.fault else ''
            response.message = f'the node is {parts.phase}{fault}; configure it to load a model'
            return response
        try:
            verdict = self._reloader.request(self._settings.get())
        except ParameterError as e:
            response.message = str(e)
            return response
        response.success, response.message = await verdict
        return response

    def _exchange(self, tracker: TrackerLike) -> Future[str]:
        return self._worker.call(partial(self._session.exchange, tracker))

    def _reloaded(self, verdict: Verdict) -> None:
        """Tell of a new model, in the loader's thread; the touch wakes who waits for it."""
        self._parts.refusal = '' if verdict.success else verdict.message
        if self.context.ok():
            if verdict.success:
                self.get_logger().info(verdict.message)
            else:
                self.get_logger().error(verdict.message)
        self._touch()

    def _changed(self, parameters: Parameters) -> None:
        """Take new parameters; try again to start where that failed."""
        self._apply(parameters)
        parts = self._parts
        if parts.fault and parts.phase in ('unconfigured', 'inactive') and parameters.autostart:
            self._autostart.reset()

    def _apply(self, parameters: Parameters) -> None:
        """Take parameters that may change at any time."""
        self._ring.duration = round(parameters.buffer_duration * 1e9)
        self._parts.outputs.debug_rate = parameters.debug_image_rate
        self._parts.outputs.homography = parameters.homography
        self._parts.outputs.rectify(parameters.rectified)
        self._worker.post(partial(self._session.configure, parameters.tracker_config(), Cameras(
            parameters.use_rgb, parameters.use_thermal,
            round(parameters.thermal_time_offset * 1e9))))
        if self._parts.inputs is not None:
            self._parts.inputs.set_parameters(parameters)
        if self._parts.phase in ('inactive', 'active'):
            self._reloader.follow(parameters)

    # reports

    def _touch(self) -> None:
        """Have the executor publish a status now; from any thread."""
        if self.context.ok():
            self._status_guard.trigger()

    def _tick(self) -> None:
        if self._parts.inputs is not None:
            self._parts.inputs.look()
        if self._camera_info is not None:
            self._camera_info.look()
        if self._session.waits:
            self._worker.post(self._session.look)
        self._reporter.tick()

    def _report(self) -> None:
        self._reporter.publish_status()
