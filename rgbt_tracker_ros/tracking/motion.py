"""How the target moves: its speed while it is seen, and where it should be while it is not."""
from __future__ import annotations

from collections import deque
import math
from typing import NamedTuple

Point = tuple[float, float]

RESPONSE = 0.25  # s: the speed follows the measured one with this time constant
FADING = 3.0     # s: without sight of the target its speed dies away with this one
LEAST = 0.01     # s: what was seen for less than this says little of the speed
MEMORY = 2.0     # s of history kept, enough to undo what a frozen picture pretended


class _Moment(NamedTuple):
    stamp: int
    center: Point
    velocity: Point


class Motion:
    """Constant velocity, measured in px per second, that fades while the target is not seen."""

    def __init__(self, center: Point, stamp: int) -> None:
        """Start at rest at `center` (px) at time `stamp` (ns)."""
        self.center = center
        self.velocity: Point = (0.0, 0.0)
        self.stamp = stamp
        self._sighted = _Moment(stamp, center, (0.0, 0.0))  # when it was seen last
        self._past: deque[_Moment] = deque([_Moment(stamp, center, (0.0, 0.0))])
        self._seen_for = 0.0

    def elapsed(self, stamp: int) -> float:
        """Seconds from the last moment to `stamp`; 0 for stamps that stand still, go back, or
        jump by more than a second: nothing is known of the motion then.
        """
        seconds = (stamp - self.stamp) / 1e9
        return seconds if 0 < seconds < 1 else 0.0

    def predict(self, stamp: int) -> Point:
        """Where the target should be at `stamp`."""
        dt = self.elapsed(stamp)
        return self.center[0] + self.velocity[0] * dt, self.center[1] + self.velocity[1] * dt

    def seen(self, center: Point, stamp: int, trust: float = 1.0) -> Point:
        """The target was found at `center`, as far as that can be trusted; returns where it is
        taken to be: between the prediction (`trust` 0) and `center` (`trust` 1).
        """
        px, py = self.predict(stamp)
        x, y = px + trust * (center[0] - px), py + trust * (center[1] - py)
        before, (x0, y0), (vx, vy) = self._sighted
        if self.elapsed(stamp) > 0 and stamp > before:
            # from where it was seen, not from where it was thought to be in between
            dt = (stamp - before) / 1e9
            self._seen_for += dt
            # a fresh track believes its first steps: the average over what was seen so far;
            # stamps that nearly coincide (a driver's burst) must not make it fly off
            rate = max(1 - math.exp(-dt / RESPONSE),
                       dt / max(self._seen_for, LEAST)) * trust
            dt = max(dt, LEAST / 10)
            self.velocity = (vx + rate * ((x - x0) / dt - vx), vy + rate * ((y - y0) / dt - vy))
        elif stamp != self.stamp:
            self.velocity, self._seen_for = (0.0, 0.0), 0.0
        self._sighted = _Moment(stamp, (x, y), self.velocity)
        self._remember((x, y), stamp)
        return x, y

    def unseen(self, stamp: int, inside: tuple[int, int]) -> Point:
        """Go on at a fading speed, within an image of (width, height) px; returns the centre."""
        x, y = self.predict(stamp)
        fade = math.exp(-self.elapsed(stamp) / FADING)
        vx, vy = self.velocity[0] * fade, self.velocity[1] * fade
        width, height = inside
        if not 0 <= x <= width:
            x, vx = min(max(x, 0.0), float(width)), 0.0
        if not 0 <= y <= height:
            y, vy = min(max(y, 0.0), float(height)), 0.0
        self.velocity = (vx, vy)
        self._remember((x, y), stamp)
        return x, y

    def rest(self, center: Point, stamp: int) -> None:
        """The target was found anew: nothing is known of its speed."""
        self.velocity, self._seen_for = (0.0, 0.0), 0.0
        self._sighted = _Moment(stamp, center, self.velocity)
        self._remember(center, stamp)

    def rewind(self, seconds: float) -> None:
        """Undo the last `seconds`: what was seen then was an old picture. The motion from before
        goes on to now instead.
        """
        since = self.stamp - int(seconds * 1e9)
        before = next((m for m in reversed(self._past) if m.stamp <= since), self._past[0])
        dt = (self.stamp - before.stamp) / 1e9
        self.velocity = before.velocity
        self._sighted = before
        self.center = (before.center[0] + before.velocity[0] * dt,
                       before.center[1] + before.velocity[1] * dt)

    def _remember(self, center: Point, stamp: int) -> None:
        self.center, self.stamp = center, stamp
        if self._past and stamp <= self._past[-1].stamp:
            self._past.clear()
        self._past.append(_Moment(stamp, center, self.velocity))
        while (stamp - self._past[0].stamp) / 1e9 > MEMORY:
            self._past.popleft()
