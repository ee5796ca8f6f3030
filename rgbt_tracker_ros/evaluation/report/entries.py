"""What the page shows of each run: figures with their intervals, courses of overlap, speed."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
import math

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.report.markup import number
from rgbt_tracker_ros.evaluation.report.run import Recorded, ReportRun
from rgbt_tracker_ros.evaluation.robot_metrics import Episode, median_time
from rgbt_tracker_ros.evaluation.score_types import (
    Scores,
    SequenceResult,
    SequenceScores,
    Summary,
)
from rgbt_tracker_ros.evaluation.scores import mean_interval, summarise

Floats = NDArray[np.float64]
NAN = math.nan
NO_INTERVAL = (NAN, NAN)
_DRAWS, _EPISODE_DRAWS = 2000, 500


@dataclass(frozen=True)
class Measure:
    """A figure of one sequence or of a whole run.

    `key`: a word for classes and links. `better`: 1 if more is better, -1 if less. `unit`: a share
    is shown in `%`. `most`: full scale of its bar, 0 for the largest value there is. `episodes`:
    what a median time is of; those that did not end are not in it, so that trackers can't be
    ranked by it.
    """

    key: str
    title: str
    about: str
    value: Callable[[Scores], float]
    better: int = 1
    digits: int = 3
    unit: str = ''
    most: float = 1.0
    episodes: Callable[[Scores], tuple[Episode, ...]] | None = None

    def text(self, value: float, unit: bool = True) -> str:
        """Return the value, with its unit."""
        scale = 100.0 if self.unit == '%' else 1.0
        text = number(value * scale, self.digits)
        if not (unit and self.unit and math.isfinite(value)):
            return text
        name = self.unit.removesuffix('s') if self.unit == 'frames' and text == '1' else self.unit
        return f'{text}\N{NO-BREAK SPACE}{name}'


def measures(items: Iterable[Scores]) -> list[Measure]:
    """Return the figures of a report; names and units depend on what was scored."""
    scores = list(items)
    two = bool(scores) and all(s.two_truths for s in scores)
    timed = any(e.seconds is not None for s in scores for e in (*s.robot.losses, *s.robot.outages))
    which, unit = (1, 's') if timed else (0, 'frames')
    digits = 2 if timed else 0
    maximum = ', the better of two truths' if two else ''
    return [
        Measure('SR', 'MSR' if two else 'SR', f'Success: area under the overlap curve{maximum}',
                lambda s: s.SR),
        Measure('PR', 'MPR' if two else 'PR',
                f'Precision: frames whose centre is near enough{maximum}', lambda s: s.PR),
        Measure('NPR', 'NPR', 'Normalised precision: the same in sizes of the target',
                lambda s: s.NPR),
        Measure('tracked', 'Time tracked', 'Frames with the target there that were tracked: '
                'claimed, and with an overlap of at least 0.1',
                lambda s: s.robot.tracked_share, 1, 1, '%'),
        Measure('holds', 'False holds', 'Frames on which it was sure of a wrong place',
                lambda s: s.robot.false_hold_share, -1, 1, '%', 0.0),
        Measure('declare', 'Time to declare a loss', 'Median, from the first wrong frame to the '
                'first that is no longer claimed; counted: losses declared',
                lambda s: median_time(s.robot.losses)[which], -1, digits, unit, 0.0,
                lambda s: s.robot.losses),
        Measure('reacquire', 'Time to re-acquire', 'Median, from the target being back, or '
                'dropped, to the first tracked frame; counted: those that ended',
                lambda s: median_time(s.robot.outages)[which], -1, digits, unit, 0.0,
                lambda s: s.robot.outages),
        Measure('ECE', 'Calibration error', 'Expected gap between confidence and share of boxes '
                'with an overlap of a half or more',
                lambda s: NAN if s.robot.calibration is None
                else s.robot.calibration.expected_error, -1, 3, '', 0.0),
        Measure('accuracy', 'VOT accuracy', 'Mean overlap before the run failed',
                lambda s: s.accuracy),
        Measure('robustness', 'VOT robustness', 'Share of the frames before the run failed',
                lambda s: s.robustness),
        Measure('fps', 'Frames per second', 'Of the tracker alone, without the first frame',
                lambda s: NAN if s.fps is None else s.fps, 1, 1, '', 0.0),
    ]


@dataclass(frozen=True)
class Entry:
    """One run in the page: its number, which chooses its colour, and its name."""

    index: int
    run: ReportRun

    @property
    def name(self) -> str:
        """The name in tables and legends."""
        return self.run.label

    @property
    def scores(self) -> Sequence[SequenceScores]:
        """Scores by sequence."""
        return self.run.scores.sequences

    @cached_property
    def summary(self) -> Summary | None:
        """Means over the sequences; None if there are none."""
        return summarise(self.scores) if self.scores else None

    @cached_property
    def by_name(self) -> dict[str, SequenceScores]:
        """Scores by the name of the sequence."""
        return {s.name: s for s in self.scores}

    @cached_property
    def results(self) -> dict[str, SequenceResult]:
        """Answers by the name of the sequence."""
        return {r.name: r for r in self.run.results}

    def value(self, measure: Measure) -> float:
        """Return a figure of the whole run; NaN where there is none."""
        return NAN if self.summary is None else measure.value(self.summary)

    def interval(self, measure: Measure) -> tuple[float, float]:
        """Return the figure's 95 % bootstrap interval over sequences; NaN where there is none."""
        if len(self.scores) < 2:
            return NO_INTERVAL
        if measure.key in ('PR', 'NPR', 'SR'):
            found = mean_interval(self.scores, measure.key)
            return found.low, found.high
        robots = [s.robot for s in self.scores]
        if measure.key == 'tracked':
            return _ratio([r.tracked for r in robots], [r.present for r in robots])
        if measure.key == 'holds':
            return _ratio([r.false_holds for r in robots], [r.frames for r in robots])
        if measure.episodes is not None:
            return _median([measure.episodes(s) for s in self.scores],
                           1 if measure.unit == 's' else 0)
        return NO_INTERVAL

    def recorded(self, name: str) -> Recorded | None:
        """Return truth and images of a sequence; None where the run has none."""
        dataset = self.run.dataset
        return dataset[name] if dataset is not None and name in dataset else None

    def at_rows(self, name: str, values: NDArray[np.float64] | None) -> Floats | None:
        """Bring values of a result, a row per image or per annotation, to the rows of the scores.

        Rows that the result does not have are NaN.
        """
        if values is None:
            return None
        count, given = len(self.by_name[name].iou), np.asarray(values, np.float64)
        recorded = self.recorded(name)
        if recorded is not None and count and len(given) > count:
            given = given[recorded.annotated[:count][recorded.annotated[:count] < len(given)]]
        full = np.full((count, *given.shape[1:]), NAN)
        full[:min(count, len(given))] = given[:count]
        return full

    @cached_property
    def milliseconds(self) -> Floats:
        """Times of all frames but the first of each sequence, in ms."""
        parts = [np.asarray(r.seconds, np.float64)[1:] for r in self.run.results
                 if r.seconds is not None]
        spent = np.concatenate(parts) if parts else np.zeros(0)
        return np.asarray(spent[np.isfinite(spent)] * 1e3, np.float64)


def run_in_modes(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Return the runs of each tracker that was run in several modes, by its name."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.run.scores.tracker, []).append(entry)
    return {name: group for name, group in groups.items()
            if len(group) > 1 and all(e.run.mode for e in group)}


def _ratio(top: Sequence[int], bottom: Sequence[int]) -> tuple[float, float]:
    """Return the interval of sum(top) / sum(bottom) over drawn sequences."""
    count, rng = len(top), np.random.default_rng(0)
    drawn = rng.multinomial(count, np.full(count, 1 / count), _DRAWS)
    with np.errstate(invalid='ignore', divide='ignore'):
        return _percentiles((drawn @ np.array(top)) / (drawn @ np.array(bottom)))


def _median(episodes: Sequence[Sequence[Episode]], which: int) -> tuple[float, float]:
    """Return the interval of the median length of closed episodes over drawn sequences."""
    lengths = [np.array([NAN if v is None else v for v in
                         ((e.frames, e.seconds)[which] for e in group if e.closed)], np.float64)
               for group in episodes]
    lengths = [values[np.isfinite(values)] for values in lengths]
    if sum(map(len, lengths)) < 2:
        return NO_INTERVAL
    rng = np.random.default_rng(0)
    medians = []
    for row in rng.integers(0, len(lengths), (_EPISODE_DRAWS, len(lengths))):
        values = np.concatenate([lengths[k] for k in row])
        medians.append(float(np.median(values)) if len(values) else NAN)
    return _percentiles(np.array(medians))


def _percentiles(values: Floats) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return NO_INTERVAL
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def binned(values: Floats, bins: int) -> Floats:
    """Return the mean of values in at most `bins` stretches of equal length; NaN is left out."""
    bins = min(bins, len(values))
    if not bins:
        return np.zeros(0)
    edges = np.linspace(0, len(values), bins + 1).round().astype(int)[:-1]
    known = np.isfinite(values)
    total = np.add.reduceat(np.where(known, values, 0.0), edges)
    count = np.add.reduceat(known.astype(np.float64), edges)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), NAN), np.float64)
