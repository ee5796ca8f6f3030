"""In which order the messages of a played sequence go out, and how a camera may fail."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
import heapq
from itertools import count
import math
from typing import Generic, TypeVar

T = TypeVar('T')
FAULTS = ('none', 'stop', 'freeze', 'late')


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure of one camera: `kind` on `stream`, from `start` for `duration` s of playing time.

    `stop`: nothing is sent. `freeze`: the last picture is sent again and again, with new stamps.
    `late`: every image arrives `delay` s after its stamp.
    """

    kind: str = 'none'
    stream: str = 'rgb'
    start: float = 0.0
    duration: float = 0.0
    delay: float = 0.0

    def hits(self, stream: str, at: float) -> bool:
        """Whether this stream fails at `at` s of playing time."""
        return (self.kind != 'none' and stream == self.stream
                and self.start <= at < self.start + self.duration)


@dataclass(order=True, frozen=True, slots=True)
class Parcel(Generic[T]):
    """A message on its way: to be sent `due` s into the playing time, with `stamp` (ns)."""

    due: float
    number: int
    stream: str = field(compare=False)
    stamp: int = field(compare=False)
    message: T = field(compare=False)


class Outbox(Generic[T]):
    """Messages between the camera's shutter and their sending.

    A stream stays in order whatever its delays are: what is on time waits for what is late.
    """

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault or Fault()
        self._waiting: list[Parcel[T]] = []
        self._numbers = count()
        self._due: dict[str, float] = {}
        self._shown: dict[str, T] = {}

    def add(self, at: float, stamp: int, messages: Mapping[str, T]) -> None:
        """Take what the cameras saw `at` s into the playing time, one message per stream."""
        for stream, message in messages.items():
            due = at
            if not self.fault.hits(stream, at):
                self._shown[stream] = message
            elif self.fault.kind == 'stop':
                continue
            elif self.fault.kind == 'late':
                due += self.fault.delay
            else:  # frozen from the first image on, where there is none to show
                message = self._shown.setdefault(stream, message)
            due = self._due[stream] = max(due, self._due.get(stream, due))
            heapq.heappush(self._waiting, Parcel(due, next(self._numbers), stream, stamp, message))

    def due(self, until: float = math.inf) -> Iterator[Parcel[T]]:
        """Yield the parcels to be sent before `until`, in order."""
        while self._waiting and self._waiting[0].due < until:
            yield heapq.heappop(self._waiting)
