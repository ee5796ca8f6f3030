"""By how much thermal lies off RGB, beyond what the registration says, seen in the pictures.

Without it a rig whose calibration is a few pixels off shows the network two targets side by side.
Nothing is learned here and no target is needed: see `shifts`.
"""
from __future__ import annotations

import math

from rgbt_tracker_ros.tracking.geometry import Matrix
from rgbt_tracker_ros.tracking.shifts import Floats, Grid, Levels, correlation, peak

EVERY = 6           # pairs: the others tell nothing new, and this costs as much as a crop
_SIZE = 192         # px of the longer side that are looked at
_WINDOW = 17        # px there, over which a peak must stand out
_SURE = 7.5         # deviations; images that share nothing came to 7.3 in 3000 pairs
_KEPT = 0.95        # share of the evidence that is kept at every look
_LEAST = 0.006      # share of the longer side: cameras are taken to be aligned below it
_STEP = 0.0025      # share of the longer side: a smaller change is none


class Alignment:
    """Watches pairs of one rig, and says how far thermal lies off in them.

    The evidence of all pairs is added up, the older counting less. Only a peak that stands out
    beyond doubt moves anything. An offset of less than 0.6 % of the image is none: so much is
    found between registered cameras, too, from parallax.
    """

    def __init__(self, reach: float) -> None:
        """Look for offsets of up to `reach` (share of the RGB image's longer side), a third of its
        shorter side at most; 0: never, nor in images four times as wide as they are high.
        """
        self.reach = reach
        self._grid: Grid | None = None
        self._start()

    def _start(self) -> None:
        self._sum: Floats | None = None
        self._pairs = 0
        self.offset = (0.0, 0.0)
        """(x, y): px of the RGB image by which thermal lies right and down of where the
        registration has it; 0, 0 until there is evidence.
        """

    def see(self, rgb: Levels, thermal: Levels, registration: Matrix) -> bool:
        """Take the next pair: (H, W, 3) and (H', W') uint8, and the 3x3 map from thermal px to
        RGB px; what was known is forgotten where the map or a size is another.

        :returns: whether the offset has changed.
        """
        before = self.offset
        if self._grid is None or not self._grid.fits(rgb.shape, thermal.shape, registration):
            self._grid = Grid(rgb.shape, thermal.shape, registration, _SIZE)
            self._start()
        self._pairs += 1
        # further shifts leave too little of the images on one another
        room = min(self._grid.shape) // 3
        reach = min(self.reach * _SIZE, room - 2.0)
        window = max(_WINDOW, math.ceil(reach) + 2)
        if self.reach and (self._pairs - 1) % EVERY == 0 and room >= _WINDOW:
            found = correlation(*self._grid.edges(rgb, thermal), window)
            self._sum = found if self._sum is None else _KEPT * self._sum + found
            best = peak(self._sum)
            if best.sharpness >= _SURE and max(abs(best.x), abs(best.y)) <= reach:
                scale = self._grid.scale
                self._move(best.x / scale, best.y / scale, _SIZE / scale)
        return self.offset != before

    def _move(self, x: float, y: float, longest: float) -> None:
        """Take up an offset that is sure, unless it is hardly another."""
        # half of it on the way back: what lies at the limit shall not go to and fro
        least = _LEAST * longest * (1.0 if self.offset == (0.0, 0.0) else 0.5)
        if math.hypot(x, y) < least:
            self.offset = (0.0, 0.0)
        elif math.hypot(x - self.offset[0], y - self.offset[1]) > _STEP * longest:
            self.offset = (x, y)
