"""Where to look for a target that was lost: a window that grows from where it was."""
from __future__ import annotations

import math

from rgbt_tracker_ros.types import Box


class Scan:
    """Where the motion leads and, every second frame, a place in a square that grows around it.

    The places are the centres of half-overlapping search windows at the target's own scale,
    nearest first. The square grows with every place up to the whole image; the walk starts again
    at the middle each time it has seen all of it.
    """

    def __init__(self, box: Box, since: int, factor: float) -> None:
        """Start at `box` (px) at time `since` (ns); a window is factor * sqrt(w * h) wide."""
        self.seconds = 0.0  # how long the search has gone on, by the stamps
        self._stamp = since
        self._window = factor * math.sqrt(box.area)
        self.restart(box)

    def restart(self, box: Box) -> None:
        """Begin again with the next look, around `box`; the time goes on."""
        self._ahead = False
        self._center = box.center
        self._reach = self._window / 2
        self._turn = 0
        self._rings = -1  # how far the places reach, in steps
        self._places: list[tuple[float, float]] = []

    def go_on(self, stamp: int) -> None:
        """Count the time up to `stamp` (ns); stamps that go back add none and take none away."""
        self.seconds += max(stamp - self._stamp, 0) / 1e9
        self._stamp = stamp

    def looks_ahead(self) -> bool:
        """Begin a look: return whether it is for where the motion leads. Frames in which nothing
        can be seen are not for looking: they must not use up places.
        """
        self._ahead = not self._ahead
        return self._ahead

    def next_place(self, size: tuple[int, int], growth: float) -> tuple[float, float]:
        """Return the window centre for this frame in an image of `size` (width, height) px."""
        width, height = size
        self._reach = min(self._reach * growth, float(max(width, height)))
        # the places are in order of their rings: a larger square only adds to the end
        for n in range(self._rings + 1, int(self._reach / (self._window / 2)) + 1):
            self._places += self._ring(n, width, height)
            self._rings = n
        place = self._places[self._turn % len(self._places)]
        self._turn += 1
        return place

    def _ring(self, n: int, width: int, height: int) -> list[tuple[float, float]]:
        """Centres `n` steps away that lie within the image, nearest first; the middle for 0."""
        step = self._window / 2
        x0, y0 = self._center
        found = []
        for i in range(-n, n + 1):
            for j in range(-n, n + 1, 1 if abs(i) == n else 2 * n):
                x, y = x0 + i * step, y0 + j * step
                if n == 0 or (0 <= x <= width and 0 <= y <= height):
                    found.append((abs(i) + abs(j), x, y))
        return [(x, y) for _, x, y in sorted(found)]
