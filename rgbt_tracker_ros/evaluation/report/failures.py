"""Where a tracker lost its target: the stretches, the worst of them, and the moments to show."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOST_OVERLAP = 0.1
"""An overlap below it is no hold on the target."""
LOST_ROWS = 5
"""So many annotated frames in a row make a failure."""
HELD_OVERLAP = 0.5
"""An overlap from which the target counts as held again."""


@dataclass(frozen=True)
class Failure:
    """A stretch of annotated frames without a hold on the target.

    `run`, `sequence`: numbers in the report. `start`, `stop`: rows of the sequence's annotation,
    stop not included. `recovered`: whether the target was held again at row `stop`.
    """

    run: int
    sequence: int
    start: int
    stop: int
    recovered: bool

    @property
    def rows(self) -> int:
        """Number of annotated frames it lasted, those without a target included."""
        return self.stop - self.start


def find_failures(overlap: NDArray[np.float64], run: int = 0, sequence: int = 0) -> list[Failure]:
    """Return the failures of one sequence, in order.

    One begins at the first of `LOST_ROWS` frames in a row with an overlap below `LOST_OVERLAP`
    and lasts until it is `HELD_OVERLAP` again. Frames without a target (NaN) neither count nor
    interrupt.

    :param overlap: (N,) IoU by row, NaN where there is no target.
    """
    rows = np.flatnonzero(np.isfinite(overlap))
    low = np.zeros(len(rows) + 2, np.int8)
    low[1:-1] = overlap[rows] < LOST_OVERLAP
    starts, stops = (np.flatnonzero(np.diff(low) == step) for step in (1, -1))
    held = np.flatnonzero(overlap[rows] >= HELD_OVERLAP)
    found: list[Failure] = []
    end = 0
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if start < end or stop - start < LOST_ROWS:
            continue
        after = int(np.searchsorted(held, start))
        recovered = after < len(held)
        end = int(held[after]) if recovered else len(rows)
        found.append(Failure(run, sequence, int(rows[start]),
                             int(rows[end]) if recovered else int(rows[-1]) + 1, recovered))
    return found


def worst(failures: Sequence[Failure], count: int) -> list[Failure]:
    """Return the `count` longest failures, each run having its turn.

    A sequence's later failures come after the longest of every other one: many sequences say more
    than many stretches of one.
    """
    queues: dict[int, list[Failure]] = {}
    seen: set[tuple[int, int]] = set()
    later: dict[int, list[Failure]] = {}
    for failure in sorted(failures, key=lambda f: (-f.rows, f.sequence, f.start)):
        place = (failure.run, failure.sequence)
        (later if place in seen else queues).setdefault(failure.run, []).append(failure)
        seen.add(place)
    for run, rest in later.items():
        queues[run].extend(rest)
    chosen: list[Failure] = []
    depth = 0
    while len(chosen) < count and any(depth < len(q) for q in queues.values()):
        chosen.extend(queues[run][depth] for run in sorted(queues) if depth < len(queues[run]))
        depth += 1
    return chosen[:max(count, 0)]


def moments(failure: Failure, overlap: NDArray[np.float64]) -> list[int]:
    """Return the rows to show: the last hold, the loss, soon after, its middle, and its end."""
    held = np.flatnonzero(np.nan_to_num(overlap[:failure.start]) >= HELD_OVERLAP)
    before = int(held[-1]) if held.size else failure.start - 1
    end = failure.stop if failure.recovered else failure.stop - 1
    rows = (before, failure.start, failure.start + LOST_ROWS - 1,
            (failure.start + failure.stop) // 2, end)
    return sorted({int(np.clip(row, 0, len(overlap) - 1)) for row in rows})
