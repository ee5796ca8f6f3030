"""The recent pairs, for a target that was seen a while ago."""
from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any

from rgbt_tracker_ros.nodes.pairing import Match

TOLERANCE = 50_000_000      # ns between a requested stamp and the pair that stands for it
AHEAD = 1_000_000_000       # ns from the newest pair to one that is still waited for
MOST_RATE = 130             # Hz by the stamps; of a faster camera not all of `duration` is kept
FEW = 16                    # pairs that may be kept whatever `duration` is


class RingError(LookupError):
    """There is no pair of that stamp; the text says what there is."""


class FutureStamp(RingError):
    """No pair of that stamp has come yet."""


class PairRing:
    """Pairs of the last `duration` ns, at least the newest one. Thread-safe.

    `crowded`: whether it was too many of them, and older ones were let go: stamps may rise too
    slowly, or go back, and memory is finite.
    """

    def __init__(self, duration: int) -> None:
        self.duration = duration
        self.crowded = False
        self._pairs: deque[Match[Any]] = deque()
        self._lock = Lock()

    def append(self, match: Match[Any]) -> None:
        """Keep `match`, which is newer than all before, and let go of what is too old."""
        with self._lock:
            self._pairs.append(match)
            while match.stamp - self._pairs[0].stamp > self.duration:
                self._pairs.popleft()
            self.crowded = len(self._pairs) > self.limit
            while len(self._pairs) > self.limit:
                self._pairs.popleft()

    @property
    def limit(self) -> int:
        """How many pairs are kept at most."""
        return max(FEW, self.duration * MOST_RATE // 1_000_000_000)

    def clear(self) -> None:
        """Forget all pairs."""
        with self._lock:
            self._pairs.clear()

    def newest(self) -> Match[Any]:
        """Return the newest pair.

        :raises RingError: if there is none.
        """
        with self._lock:
            if not self._pairs:
                raise RingError('no image has arrived yet')
            return self._pairs[-1]

    def find(self, stamp: int) -> Match[Any]:
        """Return the pair of that stamp (ns), or the nearest within 50 ms.

        :raises FutureStamp: if it is still to come. :raises RingError: if it is gone, or if no
            pair is that near.
        """
        with self._lock:
            pairs = tuple(self._pairs)
        if not pairs:
            raise FutureStamp('no image has arrived yet')
        oldest, newest = pairs[0].stamp, pairs[-1].stamp
        if stamp > newest:
            text = f'its stamp is {(stamp - newest) / 1e9:.3f} s ahead of the newest pair'
            if stamp <= newest + AHEAD:
                raise FutureStamp(text)
            raise RingError(f'{text}; use the stamp of the image that the box was seen in, or 0 '
                            'for the newest')
        if stamp < oldest - TOLERANCE:
            raise RingError(
                f'its stamp is {(newest - stamp) / 1e9:.3f} s older than the newest pair, and '
                f'only {(newest - oldest) / 1e9:.3f} s are kept; send it sooner, or raise '
                f'buffer_duration (now {self.duration / 1e9:g} s)')
        best = min(pairs, key=lambda p: abs(p.stamp - stamp))
        if abs(best.stamp - stamp) > TOLERANCE:
            raise RingError(f'no pair is within {TOLERANCE / 1e6:.0f} ms of its stamp; the '
                            f'nearest is {abs(best.stamp - stamp) / 1e6:.0f} ms away')
        return best

    def after(self, stamp: int) -> list[Match[Any]]:
        """Return the pairs newer than `stamp`, oldest first."""
        with self._lock:
            return [p for p in self._pairs if p.stamp > stamp]

    def awaits(self, stamp: int) -> bool:
        """Whether the pair of that stamp is still to come: `find` raises FutureStamp."""
        with self._lock:
            return not self._pairs or 0 < stamp - self._pairs[-1].stamp <= AHEAD
