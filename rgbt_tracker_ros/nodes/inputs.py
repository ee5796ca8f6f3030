"""The cameras: subscriptions, checks, pairing and its deadline. Runs in the executor's thread."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic_ns
from typing import Any, Protocol

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from rgbt_tracker_ros.nodes.health import Health, StreamHealth
from rgbt_tracker_ros.nodes.image_conversion import ImageError, check
from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.outputs import stamp_ns
from rgbt_tracker_ros.nodes.pairing import (
    JUMP,
    RGB,
    STREAMS,
    THERMAL,
    Match,
    PairingSettings,
    PairMatcher,
    partner_of,
)
from rgbt_tracker_ros.nodes.qos import ImageInput
from rgbt_tracker_ros.nodes.stock_pairing import StockMatcher

GRACE = 2_000_000   # ns: what waits in the middleware is taken before a deadline is enforced
LEFTOVERS = 1_000_000_000   # ns after the clock went back in which images of before may come


class InputParameters(Protocol):
    """Those of a node's parameters that are about its cameras; see `Parameters`.

    `pair_queue`: images of a camera that may wait for partners.
    """

    @property
    def use_rgb(self) -> bool: ...
    @property
    def use_thermal(self) -> bool: ...
    @property
    def image_transport(self) -> str: ...
    @property
    def rgb_transport(self) -> str: ...
    @property
    def thermal_transport(self) -> str: ...
    @property
    def image_qos(self) -> str: ...
    @property
    def pairing(self) -> str: ...
    @property
    def pair_slop(self) -> float: ...
    @property
    def pair_deadline(self) -> float: ...
    @property
    def pair_queue(self) -> int: ...
    @property
    def thermal_time_offset(self) -> float: ...
    @property
    def stream_timeout(self) -> float: ...


class CameraInputs:
    """From activation to deactivation.

    :param release: gets every match. :param jumped: called with the reason before the first match
        whose stamp need not be newer than those before.
    """

    def __init__(self, node: Node, parameters: InputParameters, notices: Notices, *,
                 release: Callable[[Match[Any]], None], jumped: Callable[[str], None]) -> None:
        self.used = {RGB: parameters.use_rgb, THERMAL: parameters.use_thermal}
        streams = [s for s in STREAMS if self.used[s]]
        settings = pairing_settings(parameters)
        self.matcher = self._match(parameters, settings)
        self._timeout = round(parameters.stream_timeout * 1e9)
        self._node = node
        self._notices = notices
        self._release = release
        self._jumped = jumped
        self._graced = False
        self._ended: dict[str, int | None] = {}     # newest stamps when the clock went back
        self._turned: int | None = None             # when that was
        self.images = {s: self._subscribe(s, parameters) for s in streams}
        self._timer = node.create_timer(1.0, self._on_deadline,
                                        clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()
        self.health = {s: StreamHealth(s, self.images[s].topic, self.matcher.timing[s])
                       for s in streams}
        self.look()

    def _subscribe(self, stream: str, parameters: InputParameters) -> ImageInput:
        return ImageInput(self._node, f'{stream}/image_raw', transport_of(stream, parameters),
                          parameters.image_qos, partial(self.receive, stream), self._notices)

    def _match(self, parameters: InputParameters, settings: PairingSettings) -> PairMatcher[Any]:
        if parameters.pairing == 'nearest':
            return PairMatcher(settings, use_rgb=parameters.use_rgb,
                               use_thermal=parameters.use_thermal)
        return StockMatcher(parameters.pairing, settings, use_rgb=parameters.use_rgb,
                            use_thermal=parameters.use_thermal)

    def set_parameters(self, parameters: InputParameters) -> None:
        """Take new parameters while running."""
        settings = pairing_settings(parameters)
        moved = settings.thermal_offset != self.matcher.settings.thermal_offset
        self.matcher.settings = settings
        self._timeout = round(parameters.stream_timeout * 1e9)
        if moved or isinstance(self.matcher, StockMatcher):
            self.matcher.reset()
        if moved:       # stamps of thermal images that are answered alone may go back
            self._jumped('thermal_time_offset was changed')

    def receive(self, stream: str, msg: Any) -> None:
        """Take a message from a camera."""
        now = monotonic_ns()
        try:
            check(msg, stream)
        except ImageError as e:
            self.refuse(stream, str(e))
            return
        self._admit(stream, stamp_ns(msg.header), msg, now)

    def _admit(self, stream: str, stamp: int, msg: Any, now: int) -> None:
        """Match an image that can be used."""
        jumps, timing = self.matcher.jumps, self.matcher.timing[stream]
        if self._is_left_over(stream, stamp, now):
            timing.received += 1
            self.matcher.unmatched += 1
            return
        newest = timing.newest
        matches = self.matcher.add(stream, stamp, msg, now)
        if self.matcher.jumps != jumps:
            self._jumped(self._jump(stream, newest))
        elif newest is not None and timing.newest == newest:
            reason = f'stamp {stamp / 1e9:.6f} is not newer than the one before; ' + (
                'the image is left out' if stamp else 'the driver has to stamp its images')
            self.health[stream].leave_out(reason, now)
            self._notices.warn(f'order {stream}', f'{self.health[stream].topic}: {reason}')
            return
        self.health[stream].accept()
        self._emit(matches, now)

    def _jump(self, stream: str, before: int | None) -> str:
        """Say why pairing started anew with an image of `stream`; `before` is its stamp before."""
        topic, newest = self.health[stream].topic, self.matcher.timing[stream].newest
        if before is not None and newest is not None and newest < before:
            return f'stamps of {topic} went back'
        return (f'stamps of {topic} are behind those of {self.health[partner_of(stream)].topic}, '
                'which was answered last')

    def _is_left_over(self, stream: str, stamp: int, now: int) -> bool:
        """Whether an image is of before the clock went back: it had waited in the middleware.

        Such goes on where its camera had been, and is far ahead of the clock.
        """
        if self._turned is None or now > self._turned + LEFTOVERS:
            return False
        if stream == THERMAL:
            stamp += self.matcher.settings.thermal_offset
        ended = self._ended.get(stream)
        return ((ended is None or stamp > ended)
                and stamp > self._node.get_clock().now().nanoseconds + JUMP)

    def refuse(self, stream: str, reason: str) -> None:
        """Take note of an image that can't be used."""
        if stream in self.health:
            self.health[stream].refuse(reason, monotonic_ns())
            self._notices.warn(f'invalid {stream}',
                               f'{stream} ({self.health[stream].topic}): {reason}')

    def look(self) -> None:
        """Look after the subscriptions; to be called several times a second."""
        for image in self.images.values():
            image.look()

    def reset(self, back: bool = False) -> None:
        """Forget all stamps: the clock has jumped. `back`: images of before may still come."""
        if back:
            self._ended = {s: t.newest for s, t in self.matcher.timing.items()}
            self._turned = monotonic_ns()
        self.matcher.reset()
        self._timer.cancel()

    def judge(self) -> dict[str, tuple[Health, str]]:
        """Return each stream's health and what is wrong with it, '' for nothing.

        A stream that is not used is OK.
        """
        now = monotonic_ns()
        out = {s: (Health.OK, '') for s in STREAMS}
        for stream, health in self.health.items():
            verdict, text = health.judge(now, self._timeout, self.matcher.settings.deadline)
            problem = self.images[stream].problem
            if problem and verdict in (Health.WAITING, Health.STOPPED):
                text = f'{stream}: {problem}'
            out[stream] = verdict, text
        return out

    def set_frozen(self, frozen: tuple[str, ...]) -> None:
        """Take the tracker's word on which pictures do not change."""
        for stream, health in self.health.items():
            health.frozen = stream in frozen

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        for image in self.images.values():
            image.close()

    def _emit(self, matches: list[Match[Any]], now: int) -> None:
        for match in matches:
            self._release(match)
        self._graced = False
        self._arm(now)

    def _arm(self, now: int) -> None:
        wake_at = self.matcher.wake_at
        if wake_at is None:
            self._timer.cancel()
            return
        self._timer.timer_period_ns = max(GRACE, wake_at - now)
        self._timer.reset()

    def _on_deadline(self) -> None:
        now = monotonic_ns()
        if not self._graced:
            self._graced = True
            self._timer.timer_period_ns = GRACE
            self._timer.reset()
            return
        self._emit(self.matcher.poll(now), now)


def transport_of(stream: str, parameters: InputParameters) -> str:
    """Return 'raw' or 'compressed': the camera's own, or that of both."""
    own = parameters.rgb_transport if stream == RGB else parameters.thermal_transport
    return own or parameters.image_transport


def pairing_settings(parameters: InputParameters) -> PairingSettings:
    """Return the matcher's share of the parameters."""
    return PairingSettings(queue=parameters.pair_queue, slop=round(parameters.pair_slop * 1e9),
                           deadline=round(parameters.pair_deadline * 1e9),
                           thermal_offset=round(parameters.thermal_time_offset * 1e9))
