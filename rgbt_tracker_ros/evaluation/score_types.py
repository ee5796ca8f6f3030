"""What is known of one sequence's result and of its scores: the types that evaluation speaks.

All figures are fractions in [0, 1]; errors are pixels; times are seconds.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.metrics import Floats
from rgbt_tracker_ros.evaluation.robot_metrics import RobotMetrics
from rgbt_tracker_ros.evaluation.vot import Tally


@dataclass(frozen=True, eq=False)
class SequenceResult:
    """What a tracker answered on one sequence, one row per image.

    `boxes`: (N, 4) x, y, w, h in px; a row of NaN where it gave no answer. `confidences`: (N,)
    calibrated chance in [0, 1] of an overlap of a half or more. `states`: (N,) numbers of `State`.
    `seconds`: (N,) the tracker's own time per frame. `stamps`: (N,) seconds at which the frames
    were taken, from any origin. `source`: the file the boxes came from, for messages.
    """

    name: str
    boxes: Floats
    confidences: Floats | None = None
    states: NDArray[Any] | None = None
    seconds: Floats | None = None
    stamps: Floats | None = None
    source: str = ''


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """Figures of one sequence, or their means over several, by one convention.

    `PR`, `NPR`, `SR`: what the convention reports. Where it uses two truths, PR and SR are the
    maximum forms, given again as `MPR` and `MSR`; NPR then takes the better truth too, which is
    our reading: the benchmarks with two truths don't define it. `NPR_value` is the normalised
    precision at 0.20, `NPR_area` the mean of its curve. The curves are (T,), over the
    convention's thresholds. `frames`: how many counted. `vot`: see `vot`, one run per sequence.
    `robot`: see `robot_metrics`. `fps`: of the tracker alone, without the first frame; None where
    it was not measured.
    """

    name: str
    convention: str
    PR: float
    NPR: float
    SR: float
    NPR_value: float
    NPR_area: float
    frames: int
    precision_curve: Floats
    normalised_precision_curve: Floats
    success_curve: Floats
    vot: Tally
    robot: RobotMetrics
    two_truths: bool = False
    fps: float | None = None

    @property
    def MPR(self) -> float | None:
        """PR against the better of two truths; None with one."""
        return self.PR if self.two_truths else None

    @property
    def MSR(self) -> float | None:
        """SR against the better of two truths; None with one."""
        return self.SR if self.two_truths else None

    @property
    def accuracy(self) -> float:
        """VOT accuracy: mean overlap before the runs failed."""
        return self.vot.accuracy

    @property
    def robustness(self) -> float:
        """VOT robustness: share of the frames before the runs failed."""
        return self.vot.robustness


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceScores(Scores):
    """Scores of one sequence.

    `iou`, `center_error`: (N,) per row of the truth, NaN where the target was absent; without an
    answer the overlap is 0 and the error infinite. `attributes`: challenges it is labelled with.
    """

    iou: Floats
    center_error: Floats
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Summary(Scores):
    """Means over `sequences` sequences, weighed as the convention does."""

    sequences: int


@dataclass(frozen=True, eq=False)
class Run:
    """One tracker over the sequences of one data set, all by one convention."""

    tracker: str
    convention: str
    sequences: tuple[SequenceScores, ...]
