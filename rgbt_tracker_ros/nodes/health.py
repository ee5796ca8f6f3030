"""How each camera stream is doing, and in words why."""
from __future__ import annotations

from enum import IntEnum

from rgbt_tracker_ros.nodes.timing import StreamTiming

UNKNOWN_PACE = 2_000_000_000    # ns without an image that are no stop yet, before the fourth image


class Health(IntEnum):
    """Numbers of TrackerStatus.rgb_health and thermal_health."""

    OK = 0
    WAITING = 1
    STOPPED = 2
    FROZEN = 3
    LATE = 4
    INVALID = 5


class StreamHealth:
    """Judges one stream. Times in ns on the monotonic clock of `StreamTiming`."""

    def __init__(self, stream: str, topic: str, timing: StreamTiming) -> None:
        self.stream = stream
        self.topic = topic
        self.frozen = False         # the tracker sees the same picture again and again
        self.invalid = 0            # messages refused
        self._timing = timing
        self._reason = ''           # why the last message was refused; empty after a good one
        self._refused: int | None = None
        self._disorder = ''         # why the last image was left out; empty after one in order

    def accept(self) -> None:
        """Take note of a message that can be used."""
        self._reason = self._disorder = ''

    def leave_out(self, reason: str, now: int) -> None:
        """Take note of an image whose stamp can't be used: a single one says nothing yet."""
        self._reason = ''
        self._disorder, self._refused = reason, now

    def refuse(self, reason: str, now: int) -> None:
        """Take note of a message that can't be used."""
        self.invalid += 1
        self._reason, self._refused = reason, now

    def judge(self, now: int, timeout: int, deadline: int) -> tuple[Health, str]:
        """Return the health and, unless it is OK, a sentence that names the topic.

        :param timeout: ns without an image that make a stopped stream.
        :param deadline: ns, the wait for a partner, told to the user of a late stream.
        """
        timing, name = self._timing, f'{self.stream} ({self.topic})'
        seen = [t for t in (timing.arrived, self._refused) if t is not None]
        if not seen:
            return Health.WAITING, f'{name}: no image has arrived yet'
        silence = now - max(seen)
        patience = max(timeout, 3 * timing.pace if timing.pace else UNKNOWN_PACE)
        if silence > patience:
            return Health.STOPPED, f'{name} has stopped: no image for {silence / 1e9:.1f} s'
        if self._reason:
            return Health.INVALID, f'{name}: {self._reason}'
        if self._disorder and (timing.arrived is None or now - timing.arrived > patience):
            return Health.INVALID, f'{name}: {self._disorder}'
        if timing.late:
            return Health.LATE, (
                f'{name} is late: its images come {timing.lag / 1e6:.0f} ms after their partners, '
                f'and pair_deadline is {deadline / 1e6:.0f} ms; they are left out. Raise '
                'pair_deadline to wait for them, or correct thermal_time_offset')
        if self.frozen:
            return Health.FROZEN, f'{name} is frozen: the same picture again and again'
        return Health.OK, ''
