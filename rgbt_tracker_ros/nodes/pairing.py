"""Match the images of two cameras by their stamps: nearest, one to one, in order, at once.

RGB is the reference: every RGB image leaves, with its thermal partner where there is one. A
thermal image leaves alone only while RGB is missing, by whatever clock it is stamped; otherwise,
without a partner, it is dropped and counted. A pair leaves at the very call that completes it; an
image is held back only while a (nearer) partner can be expected, and at most for the deadline.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
import math
from typing import Generic, TypeVar

from rgbt_tracker_ros.nodes.timing import HISTORY, StreamTiming

T = TypeVar('T')
RGB, THERMAL = STREAMS = ('rgb', 'thermal')
JUMP = 500_000_000      # ns; stamps that go back by more are a loop, by less a disorder
BEHIND = 6 * JUMP     # ns by which a thermal clock is behind, and not just late
SLOWER = 1 / 8          # a camera slower by less is as fast, but for an image now and then


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """An image in a queue: its stamp, when it arrived (both ns), and the image."""

    stamp: int
    arrived: int
    item: T


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """What leaves the matcher: a pair, or one image without a partner.

    `stamp`: ns, of RGB, or of thermal where there is no RGB. `skew`: ns, thermal minus RGB.
    """

    rgb: T | None
    thermal: T | None
    stamp: int
    skew: int | None = None


@dataclass(frozen=True, slots=True)
class PairingSettings:
    """How to match. All but `queue` in ns.

    `slop`: largest skew, `deadline`: longest wait, `thermal_offset`: added to thermal stamps;
    `queue`: images kept waiting per stream.
    """

    slop: int = 25_000_000
    deadline: int = 40_000_000
    thermal_offset: int = 0
    queue: int = 8


class PairMatcher(Generic[T]):
    """Feed it images with `add`, ask `poll` when `wake_at` has passed; both return matches.

    Not thread-safe: it belongs to the executor's thread.
    """

    def __init__(self, settings: PairingSettings | None = None, *, use_rgb: bool = True,
                 use_thermal: bool = True) -> None:
        self.settings = settings or PairingSettings()
        self.timing = {s: StreamTiming() for s in STREAMS}
        self.pairs = 0
        self.singles = 0
        self.unmatched = 0
        self.jumps = 0          # resets because stamps went back, or from one clock to another
        self.skews: deque[int] = deque(maxlen=100)
        self._used = {RGB: use_rgb, THERMAL: use_thermal}
        self._queues: dict[str, deque[Entry[T]]] = {s: deque() for s in STREAMS}
        self._released: int | None = None       # newest stamp that has left
        self._met: deque[bool] = deque(maxlen=HISTORY)  # which RGB images had a partner
        self._alone = 0         # RGB images since the last one that had

    def add(self, stream: str, stamp: int, item: T, now: int) -> list[Match[T]]:
        """Take an image of `stream` ('rgb' or 'thermal') and return the matches it completes.

        :param stamp: of its header, ns. :param now: monotonic clock, ns.
        """
        timing, other = self.timing[stream], self.timing[partner_of(stream)]
        if stream == THERMAL:
            stamp += self.settings.thermal_offset
        if timing.newest is not None and stamp <= timing.newest:
            if timing.newest - stamp < JUMP:
                timing.received += 1
                self.unmatched += 1
                return []
            self.reset()
            self.jumps += 1
        elif self._released is not None and (
                self._released - stamp > 2 * JUMP if stream == RGB else
                self._released - stamp > BEHIND and self._rgb_is_gone(now)):
            self.reset()    # the other one was answered last, by a clock that is ahead
            self.jumps += 1
        # with clocks that disagree RGB stays the reference: it is thermal that has no place then
        timing.note_lag(stamp, now, other, self._same_time(), self.settings.deadline,
                        JUMP if stream == RGB else math.inf)
        timing.add(stamp, now)
        self._take(stream, Entry(stamp, now, item))
        return list(self._drain(now))

    def poll(self, now: int) -> list[Match[T]]:
        """Return what has waited for its deadline in vain."""
        return list(self._drain(now))

    @property
    def wake_at(self) -> int | None:
        """When `poll` is due (monotonic ns), or None while nothing waits."""
        rgb, thermal = self._queues[RGB], self._queues[THERMAL]
        deadline = self.settings.deadline
        if rgb:
            i = self._partner_of_first()
            first = rgb[0].arrived if i is None else min(rgb[0].arrived, thermal[i].arrived)
            return first + deadline
        if thermal:
            return max(thermal[0].arrived + deadline, self.timing[RGB].due(deadline))
        return None

    @property
    def waiting(self) -> int:
        """How many images are held back."""
        return sum(map(len, self._queues.values()))

    def awaited(self, stream: str) -> bool:
        """Whether it pays to wait for an image of this stream."""
        timing = self.timing[stream]
        return self._used[stream] and not timing.late and not timing.missed

    def reset(self) -> None:
        """Forget everything about stamps: time has jumped. Counters stay."""
        for stream in STREAMS:
            self.unmatched += len(self._queues[stream])
            self._queues[stream].clear()
            self.timing[stream].restart()
        self._released = None

    def _rgb_is_gone(self, now: int) -> bool:
        """Whether thermal is to go on alone: RGB was silent at its last image already.

        At the first one, RGB images may still be waiting in the middleware behind it. To go to
        another clock and back costs the pairs that are kept: pauses of slow or bursty cameras are
        no silence.
        """
        rgb = self.timing[RGB]
        since = 0 if rgb.arrived is None else now - rgb.arrived
        if since < (2 if rgb.period else 10) * JUMP or now < rgb.due(self.settings.deadline):
            return False
        if not rgb.missed:
            rgb.missed = True
            return False
        return not self.awaited(RGB)

    def _same_time(self) -> int:
        """Largest difference of two stamps of the same time: half the faster camera's period."""
        periods = [t.period for t in self.timing.values() if t.period]
        return max(self.settings.slop, min(periods, default=0) // 2)

    def _take(self, stream: str, entry: Entry[T]) -> None:
        self._queues[stream].append(entry)

    def _drain(self, now: int) -> Iterator[Match[T]]:
        while (match := self._next(now)) is not None:
            if self._released is None or match.stamp > self._released:
                yield self._count(match)
            else:       # its time has been answered already
                self.unmatched += (match.rgb is not None) + (match.thermal is not None)
        self._discard()

    def _count(self, match: Match[T]) -> Match[T]:
        self._released = match.stamp
        if match.rgb is not None:
            self._met.append(match.skew is not None)
            self._alone = 0 if match.skew is not None else self._alone + 1
        if match.skew is None:
            self.singles += 1
        else:
            self.pairs += 1
            self.skews.append(match.skew)
        return match

    def _next(self, now: int) -> Match[T] | None:
        rgb, thermal = self._queues[RGB], self._queues[THERMAL]
        if not rgb:
            return self._thermal_alone(now) if thermal else None
        first = rgb[0]
        i = self._partner_of_first()
        if i is None:
            if len(rgb) > self.settings.queue or self._is_alone(first, now):
                return Match(rgb.popleft().item, None, first.stamp)
            return None
        partner = thermal[i]
        if not self._is_settled(first, partner, now):
            return None
        for _ in range(i + 1):
            thermal.popleft()
        self.unmatched += i     # older than the partner of the oldest RGB image
        rgb.popleft()
        return Match(first.item, partner.item, first.stamp, partner.stamp - first.stamp)

    def _partner_of_first(self) -> int | None:
        """Index of the thermal image that goes with the oldest RGB image.

        The nearest two of all go together, then the nearest two of those left, and so on.
        """
        rgb, thermal = self._queues[RGB], self._queues[THERMAL]
        if len(rgb) == len(thermal) == 1:       # nearly always
            return 0 if abs(rgb[0].stamp - thermal[0].stamp) <= self.settings.slop else None
        near = sorted((abs(r.stamp - t.stamp), i, j)
                      for i, r in enumerate(rgb) for j, t in enumerate(thermal)
                      if abs(r.stamp - t.stamp) <= self.settings.slop)
        taken_rgb, taken_thermal = set(), set()
        for _, i, j in near:
            if i not in taken_rgb and j not in taken_thermal:
                if i == 0:
                    return j
                taken_rgb.add(i)
                taken_thermal.add(j)
        return None

    def _is_settled(self, rgb: Entry[T], thermal: Entry[T], now: int) -> bool:
        """Whether no image that is still to come would be a nearer partner to either."""
        skew = abs(rgb.stamp - thermal.stamp)
        return (now >= min(rgb.arrived, thermal.arrived) + self.settings.deadline
                or (self._none_nearer(THERMAL, rgb.stamp, skew)
                    and self._none_nearer(RGB, thermal.stamp, skew)))

    def _none_nearer(self, stream: str, stamp: int, skew: int) -> bool:
        timing = self.timing[stream]
        assert timing.newest is not None
        if timing.newest >= stamp or not self.awaited(stream):
            return True
        return abs(timing.newest + (timing.period or self.settings.slop) - stamp) >= skew

    def _is_alone(self, rgb: Entry[T], now: int) -> bool:
        """Whether the oldest RGB image, which has no partner yet, will not get one."""
        thermal = self.timing[THERMAL]
        if not self.awaited(THERMAL):
            return True
        if thermal.newest is not None and (
                thermal.newest >= rgb.stamp or not self._expects_thermal(rgb.stamp)):
            return True
        if now < rgb.arrived + self.settings.deadline:
            return False
        thermal.missed = now >= thermal.due(self.settings.deadline)
        return True

    def _expects_thermal(self, stamp: int) -> bool:
        """Whether a thermal image is due around `stamp`: by the count of images, or by its period.

        A host that stamps both cameras' images late, and then in a burst, spoils what the period
        says, but not the count; after a lost image, or with rates that are no multiples, the
        period knows better. Each may say yes: an image that is not waited for is lost for sure.
        """
        thermal, rgb = self.timing[THERMAL], self.timing[RGB]
        if not thermal.period or thermal.newest is None:
            return True
        if self._alone + 1 == self._rgb_per_thermal():
            return True
        steps = max(1, round((stamp - thermal.newest) / thermal.period))
        window = min(self.settings.slop, (rgb.period or 2 * self.settings.slop) // 2)
        return abs(thermal.newest + steps * thermal.period - stamp) <= 1.25 * window

    def _rgb_per_thermal(self) -> int:
        """After how many RGB images at the latest a thermal image comes again; 0: unknown."""
        thermal, rgb = self.timing[THERMAL].period, self.timing[RGB].period
        # bursts spoil the one, lost images the other, and what is spoilt is mostly too large
        ratios = [thermal / rgb] if thermal and rgb else []
        if any(self._met):
            ratios.append(len(self._met) / sum(self._met))
        return max(1, math.ceil(min(ratios) - SLOWER)) if ratios else 0

    def _thermal_alone(self, now: int) -> Match[T] | None:
        queue, rgb = self._queues[THERMAL], self.timing[RGB]
        if self.awaited(RGB):
            # Between two images of a slow RGB camera there is nothing to answer for.
            due = max(queue[0].arrived + self.settings.deadline, rgb.due(self.settings.deadline))
            if now < due:
                return None
            rgb.missed = True
            self.unmatched += len(queue) - 1    # only the newest is worth an answer
            while len(queue) > 1:
                queue.popleft()
        entry = queue.popleft()
        return Match(None, entry.item, entry.stamp)

    def _discard(self) -> None:
        """Drop thermal images for which no RGB image can come any more."""
        rgb, thermal = self._queues[RGB], self._queues[THERMAL]
        since = rgb[0].stamp if rgb else self.timing[RGB].newest
        while thermal and (len(thermal) > self.settings.queue or (
                since is not None and thermal[0].stamp + self.settings.slop < since)):
            thermal.popleft()
            self.unmatched += 1


def partner_of(stream: str) -> str:
    """Return the other stream's name."""
    return THERMAL if stream == RGB else RGB
