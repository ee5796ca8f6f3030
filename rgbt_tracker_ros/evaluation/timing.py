"""The tracker's own time: frames per second, and milliseconds per frame."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Timing:
    """The tracker's own time, without the first frame: frames per second and ms per frame."""

    fps: float
    ms_median: float
    ms_p95: float

    @classmethod
    def of(cls, seconds: ArrayLike | None) -> Timing | None:
        """Take the seconds of `init` and every `update`; NaN where a frame was not timed.

        `fps` is the number of updates over the sum of their seconds. None where no time was
        measured, or there was no update.
        """
        if seconds is None:
            return None
        spent = np.asarray(seconds, np.float64)[1:]
        spent = spent[np.isfinite(spent)]
        if not spent.sum() > 0:
            return None
        median, p95 = np.percentile(spent, (50, 95)) * 1e3
        return cls(len(spent) / float(spent.sum()), float(median), float(p95))
