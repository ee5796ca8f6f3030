"""Pairing for files: nobody waits for a pair, so it is decided by what came, never by a guess."""
from __future__ import annotations

from collections.abc import Callable

from rgbt_tracker_ros.nodes.pairing import (
    STREAMS,
    THERMAL,
    Entry,
    Match,
    PairingSettings,
    PairMatcher,
    T,
)


class PatientMatcher(PairMatcher[T]):
    """Returns pairs only; images that left without a partner are in `lost`.

    A tracker can't wait for an image that will not come, so PairMatcher predicts what will, by the
    cameras' periods and by counting images. Stamps that jitter by more than half a period (a
    driver that stamps late, and then catches up), with losses between them, can defeat that: of a
    pair, the image that came first is given up. Here an image
    is given up when the other stream has gone on by more than the slop, or at the deadline; a pair
    leaves when both streams have reached it, so that nothing nearer can come. Both streams come in
    order: what has been passed will not come.
    """

    def __init__(self, settings: PairingSettings | None = None,
                 size: Callable[[T], int] = lambda _: 0, limit: int = 0) -> None:
        """Prepare.

        :param size: bytes of an image. :param limit: of all that wait; beyond it the oldest are
            given up: a deadline alone bounds the time, not the memory.
        """
        super().__init__(settings)
        self._size, self._limit = size, limit
        self.lost: list[tuple[str, T]] = []     # (stream, image); whoever reads it may empty it

    def add(self, stream: str, stamp: int, item: T, now: int) -> list[Match[T]]:
        """Take an image, as PairMatcher does."""
        before = [*self._waiting(), (stream, item)]
        return self._pairs(before, super().add(stream, stamp, item, now))

    def poll(self, now: int) -> list[Match[T]]:
        """Return pairs that need no longer wait for a nearer partner."""
        return self._pairs(self._waiting(), super().poll(now))

    @property
    def wake_at(self) -> int | None:
        """When `poll` is due (monotonic ns), or None while nothing waits."""
        first = [queue[0].arrived for queue in self._queues.values() if queue]
        return min(first) + self.settings.deadline if first else None

    def awaited(self, stream: str) -> bool:
        """Whether it pays to wait: always, up to the deadline."""
        return True

    @property
    def waiting_bytes(self) -> int:
        """Bytes that are held back."""
        return sum(self._size(item) for _, item in self._waiting())

    def _waiting(self) -> list[tuple[str, T]]:
        return [(stream, entry.item) for stream in STREAMS for entry in self._queues[stream]]

    def _pairs(self, before: list[tuple[str, T]], matches: list[Match[T]]) -> list[Match[T]]:
        """Return the pairs of `matches`; of the images `before`, what went otherwise is lost."""
        pairs = [m for m in matches if m.skew is not None]
        accounted = {(stream, id(item)) for stream, item in self._waiting()}
        accounted.update((s, id(getattr(m, s))) for m in pairs for s in STREAMS)
        self.lost += [(s, item) for s, item in before if (s, id(item)) not in accounted]
        return pairs

    def _count(self, match: Match[T]) -> Match[T]:
        released = self._released
        super()._count(match)
        if match.rgb is None:       # RGB images of that time may still come, with partners
            self._released = released
        return match

    def _none_nearer(self, stream: str, stamp: int, skew: int) -> bool:
        newest = self.timing[stream].newest
        return skew == 0 or (newest is not None and newest >= stamp)

    def _is_settled(self, rgb: Entry[T], thermal: Entry[T], now: int) -> bool:
        return self._is_due(now) or super()._is_settled(rgb, thermal, now)

    def _is_alone(self, rgb: Entry[T], now: int) -> bool:
        newest = self.timing[THERMAL].newest
        return self._is_due(now) or (
            newest is not None and newest > rgb.stamp + self.settings.slop)

    def _is_due(self, now: int) -> bool:
        due = self.wake_at
        return due is not None and now >= due

    def _thermal_alone(self, now: int) -> Match[T] | None:
        queue = self._queues[THERMAL]
        if now < queue[0].arrived + self.settings.deadline:
            return None
        entry = queue.popleft()
        return Match(None, entry.item, entry.stamp)

    def _discard(self) -> None:
        super()._discard()
        excess = self.waiting_bytes - self._limit
        while excess > 0:
            oldest = min(filter(None, self._queues.values()), key=lambda queue: queue[0].arrived)
            excess -= self._size(oldest.popleft().item)
            self.unmatched += 1
