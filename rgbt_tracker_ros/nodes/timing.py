"""When the images of one stream were taken, and when they arrived."""
from __future__ import annotations

from bisect import bisect_left
from collections import deque
from math import inf
from statistics import median

HISTORY = 64        # images looked back at
LATE_IMAGES = 3     # so many late images in a row make a late stream
IN_TIME = 0.8       # of the deadline: a late stream has to come within that to be in time again
UNKNOWN_PERIOD = 150_000_000    # ns, until there were four images


class StreamTiming:
    """Stamps and arrivals of one stream. All times in ns; arrivals on a monotonic clock."""

    def __init__(self) -> None:
        self.received = 0
        self.lost = 0                       # images missing between two that came
        self.arrived: int | None = None     # when the newest image came
        self.late = False       # its images come after their partners had to be used
        self.missed = False     # a partner waited for it in vain, and nothing came since
        self._intervals: deque[int] = deque(maxlen=15)
        self._arrival_intervals: deque[int] = deque(maxlen=15)
        self._lags: deque[int] = deque(maxlen=LATE_IMAGES)
        self._period: int | None = None
        self._arrival_period = 0
        self.restart()

    def restart(self) -> None:
        """Forget the stamps (time has jumped); the period and the counters stay."""
        self._stamps: list[int] = []
        self._arrivals: list[int] = []
        self._lags.clear()
        self.late = self.missed = False

    @property
    def newest(self) -> int | None:
        """Stamp of the newest image."""
        return self._stamps[-1] if self._stamps else None

    @property
    def period(self) -> int | None:
        """Median interval between stamps, or None before the fourth image."""
        return self._period

    @property
    def pace(self) -> int | None:
        """Median interval between arrivals, or the period where that is longer: a recording that
        is played slowly has long ones. None before the fourth image.
        """
        return None if self._period is None else max(self._period, self._arrival_period)

    @property
    def lag(self) -> int:
        """How long after its partner an image arrives, at the median of the last ones; or 0."""
        return int(median(self._lags)) if self._lags else 0

    def add(self, stamp: int, now: int) -> None:
        """Take note of an image, newer than all before, that arrived at `now`."""
        if self._stamps:
            self._intervals.append(stamp - self._stamps[-1])
            self._arrival_intervals.append(now - self._arrivals[-1])
            if len(self._intervals) >= 3:
                self._period = int(median(self._intervals))
                self._arrival_period = int(median(self._arrival_intervals))
        self.received += 1
        self.arrived = now
        self._stamps.append(stamp)
        self._arrivals.append(now)
        self.lost += self._missing()
        if len(self._stamps) > 2 * HISTORY:
            del self._stamps[:HISTORY], self._arrivals[:HISTORY]

    def _missing(self) -> int:
        """How many images are missing in the last interval but one.

        With its neighbours: a stamp that jitters makes a long interval beside a short one.
        """
        if not self._period or len(self._stamps) < 4:
            return 0
        a, b, c, d = self._stamps[-4:]
        # Longer than a second it is an interruption, which health reports as such.
        if c - b >= max(1_000_000_000, 5 * self._period):
            return 0
        steps = min(c - b, c - a - self._period, d - b - self._period) / self._period
        return max(0, round(steps) - 1)

    def note_lag(self, stamp: int, now: int, other: StreamTiming, window: int,
                 deadline: int, longest: float = inf) -> None:
        """Judge whether this stream is late: an image of `stamp` came at `now`.

        Measured against the arrival of the `other` stream's image of that time, so that it holds
        at any playback speed and whatever clock the stamps are from.

        :param window: largest difference between stamps of the same time.
        :param longest: more is no lag: the two cameras' stamps are from different clocks.
        """
        partner = other._arrival_near(stamp, window)
        lag = 0 if partner is None else max(0, now - partner)
        forgotten = bool(other._stamps) and stamp + window < other._stamps[0]
        if longest < inf and (lag > longest or forgotten):
            lag = 0
        self._lags.append(lag)
        if lag <= deadline:
            self.missed = False
            # twice, and clearly: what comes at about the deadline would be in and out all the time
            self.late = self.late and max(list(self._lags)[-2:]) > IN_TIME * deadline
        elif len(self._lags) == LATE_IMAGES and min(self._lags) > deadline:
            self.late = True

    def due(self, patience: int) -> int:
        """Return when the stream is `patience` ns overdue; 0 if it never began.

        One image may be lost on the way: it is the second missing one in a row that tells.
        """
        if self.arrived is None:
            return 0
        return self.arrived + (self.pace or UNKNOWN_PERIOD) * 7 // 4 + patience

    def _arrival_near(self, stamp: int, window: int) -> int | None:
        if not self._stamps:
            return None
        i = bisect_left(self._stamps, stamp)
        near = [j for j in (i - 1, i) if 0 <= j < len(self._stamps)]
        best = min(near, key=lambda j: abs(self._stamps[j] - stamp))
        if abs(self._stamps[best] - stamp) <= window:
            return self._arrivals[best]
        # Older than all that is remembered, or between two: the later one had come by then.
        return self._arrivals[i] if i < len(self._stamps) else None
