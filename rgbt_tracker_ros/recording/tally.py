"""What came and what is not in the files: how many, and of the first ones which."""
from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import NamedTuple

LISTED = 100        # losses that a manifest names; of more there is the number


class Lost(NamedTuple):
    """What came and is not in the files. `stamp`: ns, of its header; `whose`: 'rgb', 'thermal' or
    'pair'; `reason`: 'unmatched' or 'dropped'.
    """

    stamp: int
    whose: str
    reason: str


class Tally:
    """One thread adds, another takes; totals may be read by any.

    By stream: 'received' images, 'missed' ones (sent, but they never came), 'unmatched' ones. Of
    'pair': 'dropped' ones, because the queue was full.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._taken: Counter[tuple[str, str]] = Counter()
        self._lost: list[Lost] = []

    def add(self, what: str, whose: str, count: int = 1, stamp: int | None = None) -> None:
        """Count; with the stamp of a loss, name it too."""
        with self._lock:
            self._counts[what, whose] += count
            if stamp is not None and len(self._lost) < LISTED:
                self._lost.append(Lost(stamp, whose, what))

    def total(self, what: str, whose: str | None = None) -> int:
        """Return how many there were so far, of one stream or of all."""
        with self._lock:
            return sum(n for (a, b), n in self._counts.items() if a == what and whose in (None, b))

    def take(self) -> tuple[Counter[tuple[str, str]], list[Lost]]:
        """Return what came in since this was called last: counts by (what, whose), and losses."""
        with self._lock:
            new, self._taken = self._counts - self._taken, self._counts.copy()
            lost, self._lost = self._lost, []
        return new, lost
