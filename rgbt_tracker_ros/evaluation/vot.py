"""Accuracy, robustness and expected average overlap, as VOT defines them since 2020.

A run starts at an anchor frame and goes to the sequence's end, or backward to its start. It fails
where the overlap is at most 0.1 in 10 frames in a row that show the target; it then counts as
having ended before those frames. Accuracy is the mean overlap until then, robustness the share of
frames until then. Kristan et al., The Eighth Visual Object Tracking VOT2020 Challenge Results,
section 2; the sums over runs are those of vot-toolkit 0.9, which uses no burn-in here. The
supervised form of VOT2019 and before (a restart after each failure, ten frames of burn-in left
out of the accuracy) needs a tracker that was restarted, which a one-pass result can't give.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.metrics import Floats
from rgbt_tracker_ros.evaluation.metrics import overlaps as box_overlaps

GRACE = 10
"""Frames in a row that must fail."""
THRESHOLD = 0.1
"""Overlap at or below which a frame fails."""


@dataclass(frozen=True)
class Tally:
    """Sums over runs: overlaps before failure, frames before failure, frames in all."""

    overlap: float
    progress: float
    length: float

    @property
    def accuracy(self) -> float:
        """Mean overlap before failure; 0 if there was none."""
        return self.overlap / self.progress if self.progress else 0.0

    @property
    def robustness(self) -> float:
        """Share of the frames before failure."""
        return self.progress / self.length if self.length else 0.0

    @staticmethod
    def total(tallies: Iterable[Tally]) -> Tally:
        """Return the sum: accuracy and robustness over all the runs together."""
        items = list(tallies)
        return Tally(sum(t.overlap for t in items), sum(t.progress for t in items),
                     sum(t.length for t in items))


def progress(overlaps: Floats, grace: int = GRACE, threshold: float = THRESHOLD) -> int:
    """Frames of a run before it failed. `overlaps`: (N,), NaN where the target is absent.

    A frame without target ends a row of failures, as in the toolkit.
    """
    failed = overlaps <= threshold  # NaN compares false
    in_a_row = np.convolve(failed, np.ones(grace, int))[:len(failed)] == grace
    ends = np.flatnonzero(in_a_row)
    return int(ends[0]) + 1 - grace if ends.size else len(overlaps)


def single_run(overlaps: Floats) -> Tally:
    """Judge a one-pass result as the one run from its first frame.

    A frame without target counts as overlap 0 in the accuracy, as in the toolkit.
    """
    n = progress(overlaps)
    return Tally(float(np.nansum(overlaps[:n])), n, len(overlaps))


def run_overlaps(boxes: NDArray[Any], truth: NDArray[Any], anchor: int, backward: bool = False,
                 size: tuple[int, int] | None = None) -> Floats:
    """Overlaps of one run with the truth it went over, (n,); NaN where the target is absent.

    `boxes`: (n, 4) in the order of the run. `truth`: (N, 4) of the whole sequence. `anchor`: index
    of the run's first frame. `size`: width and height of the image, to which VOT bounds both.

    :raises ValueError: if the run's length is not that from its anchor to the end.
    """
    expected = truth[:anchor + 1][::-1] if backward else truth[anchor:]
    if len(boxes) != len(expected):
        raise ValueError(f'run {"back " if backward else ""}from frame {anchor}: {len(boxes)} '
                         f'boxes, but {len(expected)} frames to the end')
    absent = ~((expected[:, 2:] > 0).all(axis=1) & np.isfinite(expected).all(axis=1))
    if size is not None:
        boxes, expected = _bounded(boxes, size), _bounded(expected, size)
    return np.where(absent, np.nan, np.nan_to_num(box_overlaps(boxes, expected)))


def multistart(sequences: Iterable[tuple[int, Sequence[Floats]]]) -> tuple[float, float]:
    """Accuracy and robustness over sequences: of each its length and the overlaps of its runs.

    Within a sequence, runs weigh by their frames; between sequences, accuracy weighs by the frames
    before failure and robustness by the sequence's length.

    :raises ValueError: if there is no sequence, or one without runs.
    """
    overlap = frames = robust = lengths = 0.0
    for length, runs in sequences:
        tally = Tally.total(single_run(r) for r in runs)
        if not tally.length:
            raise ValueError('a sequence has no runs; give one array of overlaps for each anchor')
        overlap, frames = overlap + tally.overlap, frames + tally.progress
        robust, lengths = robust + tally.robustness * length, lengths + length
    if not lengths:
        raise ValueError('no sequences; accuracy and robustness need at least one')
    return (overlap / frames if frames else 0.0), robust / lengths


def expected_average_overlap(runs: Iterable[Floats], low: int = 115, high: int = 755) -> float:
    """Expected average overlap (EAO): mean of its curve from `low` to before `high` frames.

    The curve at j is the mean overlap of frames 1 to j over the runs that reach so far, and over
    those that failed, whose later frames count as 0. 115 and 755 are those of VOT-RGBT2020, whose
    toolkit leaves out frame 755 itself.

    :raises ValueError: if low and high are not 1 or more, in order.
    """
    if not 1 <= low < high:
        raise ValueError(f'low and high must be 1 or more and in order, got {low} and {high}')
    total, active = np.zeros(high), np.zeros(high)
    j = np.arange(1, high)
    for overlaps in runs:
        n = len(overlaps)
        stop = progress(overlaps)
        kept = np.nan_to_num(overlaps[1:])
        kept[max(stop - 1, 0):] = 0.0
        sums = np.concatenate([[0.0], np.cumsum(kept)])
        inside = j < n
        total[j[inside]] += sums[j[inside]] / j[inside]
        active[j[inside]] += 1
        if stop < n:  # a failed run stays in, with nothing added
            later = j[~inside & (j > 1)]
            total[later] += sums[-1] / (later - 1)
            active[later] += 1
    curve = np.divide(total, active, out=np.zeros(high), where=active > 0)
    return float(curve[low:].mean())


def _bounded(boxes: NDArray[Any], size: tuple[int, int]) -> Floats:
    low = np.clip(boxes[:, :2], 0, size)
    high = np.clip(boxes[:, :2] + boxes[:, 2:], 0, size)
    return np.hstack([low, high - low])
