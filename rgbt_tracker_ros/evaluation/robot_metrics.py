"""What a robot needs to know of its tracker besides precision and success.

Every frame but the first, which was given, is judged:

- the box is *right* where the target is there and the overlap is at least 0.1, else *wrong*;
- the tracker *claims* the target where it gives a box in state TRACKING or UNCERTAIN, and is
  *confident* in state TRACKING. Without states, both mean a confidence of at least 0.5; without
  confidences too, every box is a confident claim: a tracker that never says it is lost is taken at
  its word;
- *tracked* is a frame with the target there, claimed and right. The share is of the frames with
  the target there;
- a *false hold* is a frame that is confident and wrong. The share is of all frames;
- a *loss* begins with the first of at least five wrong frames in a row and is declared with the
  first of them that is not claimed: the time to declare it. A shorter dip counts only if declared.
  Where the frame before was not claimed either, it begins with the first claim;
- an *outage* is a row of frames with the target there that are not tracked; it begins when the
  target comes back or is dropped, and ends with the first tracked frame: the time to re-acquire.
  If the target leaves or the recording ends before, it was not re-acquired;
- the confidence is *calibrated* if boxes of confidence p overlap by a half or more in a share p of
  the frames (Naeini et al., AAAI 2015, for the expected calibration error).
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.metrics import Floats
from rgbt_tracker_ros.types import State

RIGHT_OVERLAP = 0.1
"""Below it a box is wrong; VOT's threshold of failure."""
GOOD_OVERLAP = 0.5
"""What a confidence promises."""
SURE = 0.5
"""Confidence that stands for a claim where no states are given."""
SHORTEST_LOSS = 5
"""Wrong frames in a row that make a loss."""
BINS = 10
"""Bins of the reliability diagram, of equal width."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Episode:
    """A loss or an outage: first frame, and how long until it was declared or over.

    `closed`: whether it was. If not, the length is that of the whole episode. `seconds` is None
    without stamps.
    """

    start: int
    frames: int
    closed: bool
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Calibration:
    """The reliability diagram.

    `bins`: (3, BINS) frames, sum of their confidences, and how many of them had a good box.
    `squares`: sum of the squared differences of confidence and outcome, for the Brier score.
    """

    bins: Floats
    squares: float

    @property
    def count(self) -> Floats:
        """Frames per bin, (BINS,)."""
        return self.bins[0]

    @property
    def confidence(self) -> Floats:
        """Mean confidence per bin, (BINS,); NaN in an empty one."""
        return self._per_frame(1)

    @property
    def good(self) -> Floats:
        """Share of good boxes per bin, (BINS,); NaN in an empty one."""
        return self._per_frame(2)

    @property
    def expected_error(self) -> float:
        """Expected calibration error (ECE): mean gap of confidence and share of good boxes."""
        return float(np.abs(self.bins[2] - self.bins[1]).sum() / max(self.count.sum(), 1))

    @property
    def brier(self) -> float:
        """Brier score: mean squared difference of confidence and outcome; 0 is best."""
        return self.squares / max(float(self.count.sum()), 1.0)

    def _per_frame(self, row: int) -> Floats:
        return np.divide(self.bins[row], self.count, where=self.count > 0,
                         out=np.full(len(self.count), np.nan))


@dataclass(frozen=True, eq=False)
class RobotMetrics:
    """Counts of one sequence or of several together; see the module's text for the terms.

    `longest_false_hold`: frames. `calibration` is None where no confidences were given.
    """

    frames: int
    present: int
    tracked: int
    false_holds: int
    longest_false_hold: int
    losses: tuple[Episode, ...]
    outages: tuple[Episode, ...]
    calibration: Calibration | None

    @property
    def tracked_share(self) -> float:
        """Tracked frames of those with the target there; NaN if it never was."""
        return self.tracked / self.present if self.present else float('nan')

    @property
    def false_hold_share(self) -> float:
        """False holds of all frames; NaN if there are none but the first."""
        return self.false_holds / self.frames if self.frames else float('nan')

    @staticmethod
    def total(items: Iterable[RobotMetrics]) -> RobotMetrics:
        """Return all of them as if they were one long recording: frames weigh the same."""
        all_of = list(items)
        parts = [m.calibration for m in all_of if m.calibration is not None]
        pooled = Calibration(np.sum([c.bins for c in parts], axis=0),
                             sum(c.squares for c in parts)) if parts else None
        return RobotMetrics(
            sum(m.frames for m in all_of), sum(m.present for m in all_of),
            sum(m.tracked for m in all_of), sum(m.false_holds for m in all_of),
            max((m.longest_false_hold for m in all_of), default=0),
            tuple(e for m in all_of for e in m.losses),
            tuple(e for m in all_of for e in m.outages), pooled)


def median_time(episodes: Iterable[Episode]) -> tuple[float, float]:
    """Median frames and seconds of the closed episodes; NaN where there are none."""
    closed = [e for e in episodes if e.closed]
    seconds = [e.seconds for e in closed if e.seconds is not None]
    return (float(np.median([e.frames for e in closed])) if closed else float('nan'),
            float(np.median(seconds)) if seconds else float('nan'))


def judge(iou: Floats, answered: Bools, confidences: NDArray[Any] | None = None,
          states: NDArray[Any] | None = None, stamps: NDArray[Any] | None = None) -> RobotMetrics:
    """Judge one sequence, (N,) each. `iou` is NaN where the target is absent; `stamps`: seconds.

    A state, confidence or stamp of NaN is one that is missing: no claim, not calibrated, no time.
    """
    claims, confident = _claims(answered, confidences, states)
    present, right = ~np.isnan(iou), np.nan_to_num(iou) >= RIGHT_OVERLAP
    tracked, wrong = present & claims & right, ~right
    holds = confident & wrong
    judged = slice(1, None)
    losses = []
    for start, stop in _runs(wrong, judged):
        if start > 1 and not claims[start - 1]:  # already declared: the next false claim counts
            claimed = np.flatnonzero(claims[start:stop])
            start = start + int(claimed[0]) if claimed.size else stop
        silent = np.flatnonzero(~claims[start:stop])
        if silent.size or stop - start >= SHORTEST_LOSS:
            wait = int(silent[0]) if silent.size else stop - start
            losses.append(_episode(start, wait, bool(silent.size), stamps))
    outages = [_episode(start, stop - start, stop < len(iou) and bool(tracked[stop]), stamps)
               for start, stop in _runs(present & ~tracked, judged)]
    return RobotMetrics(
        max(len(iou) - 1, 0), int(present[judged].sum()), int(tracked[judged].sum()),
        int(holds[judged].sum()), max((b - a for a, b in _runs(holds, judged)), default=0),
        tuple(losses), tuple(outages),
        None if confidences is None else _calibration(
            confidences[judged], np.nan_to_num(iou[judged]) >= GOOD_OVERLAP))


def _claims(answered: Bools, confidences: NDArray[Any] | None, states: NDArray[Any] | None,
            ) -> tuple[Bools, Bools]:
    if states is not None:
        in_sight = np.isin(states, [int(s) for s in State if s.in_sight])
        return answered & in_sight, answered & (states == int(State.TRACKING))
    if confidences is not None:
        sure = answered & (confidences >= SURE)
        return sure, sure
    return answered, answered


def _runs(flags: Bools, judged: slice) -> list[tuple[int, int]]:
    """First and one past the last index of each row of True among the judged frames."""
    padded = np.zeros(len(flags) + 2, np.int8)
    padded[1:-1][judged] = flags[judged]
    edges = np.flatnonzero(np.diff(padded))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _episode(start: int, frames: int, closed: bool, stamps: NDArray[Any] | None) -> Episode:
    seconds = None
    if stamps is not None:
        # an episode that is open at the end of the recording has seen no later stamp
        spent = float(stamps[min(start + frames, len(stamps) - 1)] - stamps[start])
        seconds = spent if np.isfinite(spent) else None
    return Episode(start, frames, closed, seconds)


def _calibration(confidences: NDArray[Any], good: Bools) -> Calibration:
    known = np.isfinite(confidences)
    p, hit = np.clip(confidences[known], 0.0, 1.0), good[known].astype(np.float64)
    which = np.minimum((p * BINS).astype(int), BINS - 1)
    bins = np.stack([np.bincount(which, w, BINS) for w in (np.ones(len(p)), p, hit)])
    return Calibration(bins.astype(np.float64), float(((p - hit) ** 2).sum()))
