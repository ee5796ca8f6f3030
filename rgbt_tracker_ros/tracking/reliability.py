"""How well each modality finds the target by itself, learned while both are there."""
from __future__ import annotations

from rgbt_tracker_ros.tracking.views import NAMES

RATE = 0.5   # share of the newest probe
FIRST = 0.1  # s to the first probe, from there to that of the other modality, and to one again
SURPRISE = 0.5  # difference from what was believed, after which it is asked again soon
AGAIN = 2    # times in a row that it is asked again, at most


class Reliability:
    """Says how far an answer can be believed when one modality is all there is.

    A template holds what both cameras saw. If RGB saw nothing but smoke then, RGB alone can't
    find the target later, however sure the network is of some other smoke. So, while both are
    there and agree, each is asked alone now and then, in turn, whether it would have found the
    same box. An answer that is far from what was believed is not taken from one frame: the same
    modality is asked again soon.
    """

    def __init__(self, names: tuple[str, ...], interval: float, stamp: int = 0) -> None:
        """Start at `stamp` (ns) with the modalities of the template; `interval` s between two
        probes, 0: none. It may be changed later.
        """
        self._chance = {name: 1.0 if name in names else 0.0 for name in NAMES}
        self._known: set[str] = set()
        self.interval = interval
        self._next = stamp + round(FIRST * 1e9)  # ns
        self._turn = 0
        self._again = 0

    def of(self, names: tuple[str, ...]) -> float:
        """Factor on the confidence, in [0, 1], with these modalities; 1 with both."""
        return 1.0 if len(names) != 1 else self._chance[names[0]]

    def believed(self, least: float) -> tuple[str, ...]:
        """Modalities that can be believed alone, as far as `least`."""
        return tuple(name for name in NAMES if self._chance[name] >= least)

    def due(self, stamp: int) -> str:
        """Return the modality to be asked alone now, '' where none is."""
        if self.interval <= 0:
            return ''
        if stamp < self._next - 2 * self.interval * 1e9:  # stamps went back
            self._next = stamp
        return NAMES[self._turn % 2] if stamp >= self._next else ''

    def learn(self, name: str, confidence: float, stamp: int) -> None:
        """Take the outcome of a probe: the confidence, 0 if it found something else."""
        rate = RATE if name in self._known else 1.0
        # one frame may be an exception: it is asked again before all hangs on that
        surprising = abs(confidence - self._chance[name]) > SURPRISE
        self._again = self._again + 1 if surprising and self._again < AGAIN else 0
        self._known.add(name)
        self._chance[name] += rate * (confidence - self._chance[name])
        soon = self._again or len(self._known) < 2
        self._next = stamp + round((min(FIRST, self.interval) if soon else self.interval) * 1e9)
        self._turn = NAMES.index(name) + (not self._again)
