"""What a report is made of: `ReportRun`, one tracker's scores and what can be shown of them."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.score_types import Run, SequenceResult
from rgbt_tracker_ros.types import Pair

Figure = float | int | str | None
"""A figure of a table: numbers are aligned and compared, None and NaN are shown as a dash."""


class Recorded(Protocol):
    """One sequence's truth and images, such as a `data.sequence.Sequence`."""

    @property
    def annotated(self) -> NDArray[np.int64]: ...

    @property
    def truth(self) -> NDArray[np.float64]: ...

    @property
    def truth_thermal(self) -> NDArray[np.float64] | None: ...

    def pair(self, index: int) -> Pair:
        """Return the pair of frame `index`, counted from 0; a ValueError says why it can't be."""
        ...


class Recordings(Protocol):
    """Sequences by their names, such as a `data.sequence.Dataset`."""

    def __contains__(self, name: object) -> bool: ...

    def __getitem__(self, name: str) -> Recorded: ...


@dataclass(frozen=True)
class ReportRun:
    """One tracker over the sequences of one data set; several of them make a comparison.

    `scores` is all that is needed. `results` are the answers to the same sequences, with which
    there are confidences, times and boxes. `dataset` gives truth and images for filmstrips;
    sequences that are not in it, or whose images are not there, are reported without pictures.
    `mode` tells two runs of one tracker apart, such as 'offline' and 'through ROS': both of them
    in one report are set side by side. `figures` are key figures besides the scores, such as the
    age of an answer or the dropped pairs, shown as they are. `provenance` says where it came from
    (versions, device, command).
    """

    scores: Run
    results: Sequence[SequenceResult] = ()
    dataset: Recordings | None = None
    mode: str = ''
    figures: Mapping[str, Figure] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name in tables and legends."""
        tracker = self.scores.tracker
        return f'{tracker} ({self.mode})' if self.mode else tracker
