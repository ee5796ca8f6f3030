"""message_filters' `approximate` and `exact` policies behind the interface of PairMatcher."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from builtin_interfaces.msg import Time

from rgbt_tracker_ros.nodes.pairing import (
    RGB,
    STREAMS,
    THERMAL,
    Entry,
    Match,
    PairingSettings,
    PairMatcher,
    T,
    partner_of,
)

LATEST = 2**31 * 1_000_000_000      # ns; a Time has no room for more, nor for less than 0


class StockMatcher(PairMatcher[T]):
    """Pairs come from message_filters; a stream whose partner has stopped is answered alone.

    The library's synchronizers have traps; hence: the callback only takes note (an error in it
    would leave their lock held), they are made anew whenever stamps go back (they would match
    nothing any more), they are fed one stamp once (an equal one overwrites), and none that is no
    Time, as with an offset one near 0 is (an error in a subscription's callback ends the node):
    such an image has no partner.
    """

    def __init__(self, policy: str, settings: PairingSettings | None = None, *,
                 use_rgb: bool = True, use_thermal: bool = True) -> None:
        """Make a matcher of `policy` 'approximate' or 'exact'.

        :raises ImportError: where message_filters is not installed.
        """
        try:
            import message_filters
        except ImportError as e:
            raise ImportError(f"pairing is '{policy}', which needs message_filters: apt install "
                              "ros-jazzy-message-filters, or set pairing to 'nearest'") from e
        super().__init__(settings, use_rgb=use_rgb, use_thermal=use_thermal)
        self._library: Any = message_filters
        self._policy = policy
        self._pending = {s: 0 for s in STREAMS}     # fed and not matched
        self._matches: list[Match[T]] = []
        self._build()

    @property
    def wake_at(self) -> int | None:
        """None: the library waits for as long as its queue lasts."""
        return None

    def reset(self) -> None:
        """Forget everything about stamps, with a new synchronizer."""
        super().reset()
        self.unmatched += sum(self._pending.values())
        self._matches.clear()
        self._build()

    def _build(self) -> None:
        self._pending = {s: 0 for s in STREAMS}
        self._filters = {s: self._library.SimpleFilter() for s in STREAMS}
        both = list(self._filters.values())
        queue = self.settings.queue
        synchronizer = (
            self._library.TimeSynchronizer(both, queue) if self._policy == 'exact' else
            self._library.ApproximateTimeSynchronizer(both, queue, self.settings.slop / 1e9))
        synchronizer.registerCallback(self._matched)
        self._synchronizer = synchronizer       # else nobody holds it

    def _matched(self, rgb: Any, thermal: Any) -> None:
        r, t = rgb.entry, thermal.entry
        self._matches.append(Match(r.item, t.item, r.stamp, t.stamp - r.stamp))

    def _take(self, stream: str, entry: Entry[T]) -> None:
        partner = self.timing[partner_of(stream)]
        partner.missed = entry.arrived >= partner.due(3 * self.settings.deadline)
        if not self.awaited(partner_of(stream)) or not 0 <= entry.stamp < LATEST:
            item = entry.item
            self._matches.append(Match(item, None, entry.stamp) if stream == RGB else
                                 Match(None, item, entry.stamp))
            return
        # what the library can't hold any more it drops without a word
        self.unmatched += self._pending[stream] == self.settings.queue
        self._pending[stream] = min(self._pending[stream] + 1, self.settings.queue)
        stamp = Time(sec=entry.stamp // 1_000_000_000, nanosec=entry.stamp % 1_000_000_000)
        self._filters[stream].signalMessage(
            SimpleNamespace(header=SimpleNamespace(stamp=stamp), entry=entry))

    def _next(self, now: int) -> Match[T] | None:
        if not self._matches:
            return None
        match = self._matches.pop(0)
        if match.skew is not None:
            for stream in (RGB, THERMAL):
                self._pending[stream] = max(0, self._pending[stream] - 1)
        return match
