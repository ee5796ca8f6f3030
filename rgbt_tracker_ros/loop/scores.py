"""How good the student is before and after, on the new cameras and on the original ones.

Offline, with the tracker of the node: every pair is answered, the same figures every time.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.evaluation.bootstrap import paired_difference
from rgbt_tracker_ros.evaluation.cache import Answers, Cache
from rgbt_tracker_ros.evaluation.opening import Opening
from rgbt_tracker_ros.evaluation.runner import Failure, run_trackers
from rgbt_tracker_ros.evaluation.scoring import score_answers
from rgbt_tracker_ros.evaluation.trackers import TrackerError, TrackerSpec
from rgbt_tracker_ros.loop.cameras import Plan
from rgbt_tracker_ros.types import Box, Pair

NEW, ORIGINAL = 'new cameras', 'original cameras'
BEFORE, AFTER = 'before', 'after'
SEEN, MISSED = 0.6, 0.3     # overlaps of a moment that shows the difference
_CLEAR = 1.0                # what such a moment is worth more than any other


@dataclass(frozen=True)
class Score:
    """Success (area under the curve of overlaps, in points) of both students on a data set;
    `low` and `high`: 95 % interval of the gain, None of a single sequence.
    """

    cameras: str
    what: str
    sequences: int
    before: float
    after: float
    low: float | None = None
    high: float | None = None

    @property
    def gain(self) -> float:
        """Points that the new student is better by."""
        return self.after - self.before


@dataclass(frozen=True)
class Shown:
    """A pair with the boxes of truth and of both students, in px of its RGB image."""

    pair: Pair
    truth: Box
    before: Box
    after: Box


@dataclass(frozen=True)
class Moment:
    """One moment as both pairs of cameras show it."""

    sequence: str
    frame: int
    new: Shown
    original: Shown


@dataclass(frozen=True)
class _Followed:
    sequence: Sequence
    before: Answers
    after: Answers

    def boxes(self) -> Iterator[tuple[int, Box, Box, Box]]:
        """Yield (frame, truth, before, after) of the frames that show the target, but for the
        first, which is given.
        """
        truth = dict(zip(map(int, self.sequence.annotated), self.sequence.truth, strict=True))
        for row in range(1, len(self.before)):
            frame = self.before.first + row
            if frame in truth and np.isfinite(truth[frame]).all():
                yield (frame, _box(truth[frame]), _box(self.before.boxes[row]),
                       _box(self.after.boxes[row]))

    def at(self, wanted: int) -> Shown | None:
        """Return a frame with its boxes, None where it does not show the target."""
        for frame, truth, before, after in self.boxes():
            if frame == wanted:
                return Shown(self.sequence.pair(frame), truth, before, after)
        return None


def evaluate(plan: Plan, students: dict[str, Path], cache: Path, processes: int = 1,
             ) -> tuple[list[Score], Moment | None]:
    """Let both students follow all that is tested; return scores, and a moment that shows what
    has changed on the new cameras.

    :param students: weights of BEFORE and AFTER. :param cache: folder of answers.
    :raises TrackerError: a student can't be loaded, or a sequence can't be followed.
    """
    specs = [TrackerSpec(name, str(file)) for name, file in students.items()]
    scores: list[Score] = []
    followed: dict[str, dict[str, list[_Followed]]] = {}
    for cameras in (NEW, ORIGINAL):
        followed[cameras] = {}
        for what, opening in plan.tested(cameras == NEW).items():
            dataset = opening.open()
            done = _follow(specs, opening, Cache(cache), processes, f'{cameras}, {what}')
            sets = [_Followed(dataset[name], done[BEFORE][name], done[AFTER][name])
                    for name in dataset.sequence_names]
            followed[cameras][what] = sets
            scores.append(_score(cameras, what, sets))
    return scores, _moment(followed)


def _follow(specs: list[TrackerSpec], opening: Opening, cache: Cache, processes: int,
            title: str) -> dict[str, dict[str, Answers]]:
    """Return the answers of each tracker to each sequence, what is kept of them not made again."""
    found = {}
    with tqdm(unit='pair', desc=title, disable=None) as bar:
        def report(count: int) -> None:
            bar.update(count)

        for outcome in run_trackers(specs, opening, opening.open().sequence_names, cache,
                                    processes=processes, prepare=bar.reset, progress=report):
            if isinstance(outcome, Failure):
                raise TrackerError(f'{outcome.sequence}: {outcome.error}')
            found[outcome.spec.name] = outcome.answers
    return found


def _score(cameras: str, what: str, sets: list[_Followed]) -> Score:
    before, after = ([score_answers(f.sequence, a, 'plain')[1] for f, a in zip(
        sets, answers, strict=True)] for answers in (
            [f.before for f in sets], [f.after for f in sets]))
    old, new = (100 * float(np.mean([s.SR for s in scores])) for scores in (before, after))
    if len(sets) < 2:
        return Score(cameras, what, len(sets), old, new)
    gain = paired_difference(after, before)
    return Score(cameras, what, len(sets), old, new, 100 * gain.low, 100 * gain.high)


def _moment(followed: dict[str, dict[str, list[_Followed]]]) -> Moment | None:
    """Return the moment at which the new student sees best what the old one has lost, of the clip
    where there is one.
    """
    best: tuple[float, Moment] | None = None
    for what, sets in sorted(followed[NEW].items()):    # the clip before made-up videos
        for number, one in enumerate(sets):
            found = _telling(one)
            if found is None or (best is not None and found[0] <= best[0]):
                continue
            gain, frame = found
            new = one.at(frame)
            original = _same(followed[ORIGINAL][what], one, number).at(frame)
            if new is not None and original is not None:
                best = gain, Moment(one.sequence.name, frame, new, original)
        if best is not None and best[0] > _CLEAR:
            break
    return best and best[1]


def _same(sets: list[_Followed], one: _Followed, number: int) -> _Followed:
    """Return the same sequence by the original cameras."""
    by_name = {f.sequence.name: f for f in sets}
    return by_name.get(one.sequence.name, sets[number])


def _telling(one: _Followed) -> tuple[float, int] | None:
    """Return (worth, frame) of the frame that shows most: the gain in overlap; those where the
    new student sees the target, and the old one does not, go first.
    """
    overlaps = np.array([(frame, t.iou(b), t.iou(a)) for frame, t, b, a in one.boxes()])
    if not len(overlaps):
        return None
    _, before, after = overlaps.T
    gain: NDArray[np.float64] = after - before
    clear = (after >= SEEN) & (before <= MISSED)
    worth = gain + _CLEAR * clear
    row = int(np.argmax(worth))
    return float(worth[row]), int(overlaps[row, 0])


def _box(row: NDArray[np.float64]) -> Box:
    return Box(*map(float, row))
