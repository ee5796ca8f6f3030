"""Where to look for a target that was lost: a window that grows from where it was."""
from __future__ import annotations

import math

from rgbt_tracker_ros.types import Box


class Scan:
    """One place to look at in every frame, over a square that grows from where the target was.

    The places are the centres of half-overlapping search windows at the target's own scale,
    nearest first. The square grows at every frame up to the whole image; the walk starts again
    at the middle each time it has seen all of it.
    """

    def __init__(self, box: Box, since: int, factor: float) -> None:
        """Start at `box` (px) at time `since` (ns); a window is factor * sqrt(w * h) wide."""
        self.since = since
        self._center = box.center
        self._window = factor * math.sqrt(box.area)
        self._reach = self._window / 2
        self._turn = 0
        self._rings = -1  # how far the grid reaches, in steps
        self._grid: list[tuple[float, float]] = []

    def next_place(self, size: tuple[int, int], growth: float) -> tuple[float, float]:
        """Return the window centre for this frame in an image of `size` (width, height) px."""
        width, height = size
        self._reach = min(self._reach * growth, float(max(width, height)))
        rings = int(self._reach / (self._window / 2))
        if rings != self._rings:
            self._rings, self._grid = rings, self._places_within(rings, width, height)
        place = self._grid[self._turn % len(self._grid)]
        self._turn += 1
        return place

    def _places_within(self, n: int, width: int, height: int) -> list[tuple[float, float]]:
        """Centres within `n` steps and within the image, nearest first."""
        step = self._window / 2
        x0, y0 = self._center
        found = []
        for i in range(-n, n + 1):
            for j in range(-n, n + 1):
                x, y = x0 + i * step, y0 + j * step
                if not (i or j) or (0 <= x <= width and 0 <= y <= height):
                    found.append((max(abs(i), abs(j)), abs(i) + abs(j), x, y))
        return [(x, y) for _, _, x, y in sorted(found)]
