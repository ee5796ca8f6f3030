"""One-pass evaluation: a tracker is given the first box of a sequence and then only pictures.

A new tracker is made for every sequence, so that no figure depends on what was done before. Pairs
are decoded before the clock starts, one after the other and by the same thread: the seconds of a
frame are those of `init` or `update` alone, from the decoded pair to the box.
"""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from collections.abc import Sequence as Names
from dataclasses import dataclass, field
import hashlib
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.layouts import LayoutError, Sequence
from rgbt_tracker_ros.evaluation.cache import Answers, Cache, key_of
from rgbt_tracker_ros.evaluation.opening import Opening
from rgbt_tracker_ros.evaluation.pool import Done, run_jobs
from rgbt_tracker_ros.evaluation.trackers import OnePassTracker, TrackerError, TrackerSpec
from rgbt_tracker_ros.types import Box, BoxError, PairError

REPORT_EVERY = 16       # frames
Report = Callable[[int], None]


class SequenceError(ValueError):
    """A sequence that can't be tracked; the text names it and the frame."""


@dataclass(frozen=True)
class Span:
    """The frames of a sequence that are tracked: `first` is initialised with `box`, `stop` and
    later ones are left out.
    """

    first: int
    stop: int
    box: Box

    @property
    def frames(self) -> int:
        """Number of frames, the first one too."""
        return self.stop - self.first


@dataclass(frozen=True)
class Failure:
    """A sequence that a tracker could not finish: one line, and perhaps a traceback.

    `tracker` is empty where the sequence itself is at fault.
    """

    tracker: str
    sequence: str
    error: str
    trace: str = ''


@dataclass
class Outcome:
    """What one tracker answered: to which sequences, in the order asked for, and what failed.

    `kept` are the sequences that needed no new run.
    """

    spec: TrackerSpec
    identity: dict[str, Any]
    answers: dict[str, Answers] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)


def span_of(sequence: Sequence) -> Span:
    """Return what is tracked of a sequence: from its first true box to its last annotation.

    Where only every n-th frame is annotated, the n - 1 after the last are tracked too; where only
    one is, all that follow. An absent target (a row without area) starts nothing: the first row
    with a box does.

    :raises SequenceError: if there is no such row, or it is for a frame that is not there.
    """
    if not len(sequence.annotated):
        raise SequenceError(f'{sequence.name}: no true boxes; layout folder looks for '
                            'groundtruth.txt in it, videos for tracks/*.csv, bag for '
                            'groundtruth.csv in it')
    seen = np.flatnonzero(np.isfinite(sequence.truth).all(axis=1))
    if not seen.size:
        raise SequenceError(f'{sequence.name}: no annotation holds a box; nothing to start from')
    rows = sequence.annotated
    step = int(rows[-1] - rows[-2]) if len(rows) > 1 else len(sequence)
    first, stop = int(rows[seen[0]]), min(int(rows[-1]) + step, len(sequence))
    if first >= stop:
        raise SequenceError(f'{sequence.name}: its first box is for frame {first}; there are only '
                            f'{len(sequence)} frames')
    return Span(first, stop, Box(*map(float, sequence.truth[seen[0]])))


def follow(tracker: OnePassTracker, sequence: Sequence, span: Span | None = None,
           report: Report = lambda count: None) -> Answers:
    """Let a tracker go over a sequence once.

    :param report: called now and then with the number of frames done since the last time.
    :raises SequenceError: where a pair, or the first box, does not suit the tracker; the text
        names the frame.
    :raises LayoutError: where a frame can't be decoded.
    """
    span = span or span_of(sequence)
    boxes = np.empty((span.frames, 4))
    confidence, seconds = np.empty((2, span.frames))
    states, stamps = np.empty(span.frames, np.uint8), np.empty(span.frames, np.int64)
    reported = 0
    for i, pair in enumerate(sequence.pairs(span.first, span.stop)):
        begin = perf_counter()
        try:
            estimate = tracker.update(pair) if i else tracker.init(pair, span.box)
        except (PairError, BoxError) as error:
            raise SequenceError(f'{sequence.name}, frame {span.first + i}: {error}') from error
        seconds[i] = perf_counter() - begin
        boxes[i] = estimate.box.as_tuple() if i else span.box.as_tuple()
        confidence[i], states[i], stamps[i] = estimate.confidence, estimate.state, pair.stamp
        if (i + 1) % REPORT_EVERY == 0:
            report(i + 1 - reported)
            reported = i + 1
    if i + 1 != span.frames:
        raise SequenceError(f'{sequence.name}: ended after {i + 1} of {span.frames} frames')
    report(span.frames - reported)
    return Answers(span.first, boxes, confidence, states, seconds, stamps)


def fingerprint(sequence: Sequence, span: Span) -> str:
    """Digest of a sequence: its annotations, its length, its first tracked pair, and what its
    frames say of themselves, their `identity`: of files, names, sizes and times of change.

    :raises LayoutError: if that pair can't be decoded.
    """
    digest = hashlib.sha256(repr((len(sequence), span)).encode())
    digest.update(getattr(sequence.frames, 'identity', '').encode())
    pair = sequence.pair(span.first)
    arrays: tuple[NDArray[Any] | None, ...] = (
        sequence.raw_truth, sequence.annotated, sequence.raw_truth_thermal, pair.rgb,
        pair.thermal)
    for array in arrays:
        if array is None:
            digest.update(b'none')
            continue
        digest.update(f'{array.shape} {array.dtype.str}'.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Job:
    """One tracker on one sequence; travels to other processes."""

    spec: TrackerSpec
    opening: Opening
    name: str
    key: str
    frames: int


def run_job(job: Job, report: Report) -> Answers:
    """Make the tracker and let it follow the sequence, in whatever process this is."""
    return follow(job.spec.make(), job.opening.open()[job.name], report=report)


def run_trackers(specs: Names[TrackerSpec], opening: Opening, names: Names[str], cache: Cache, *,
                 processes: int = 1, fresh: bool = False,
                 prepare: Callable[[int], None] = lambda total: None,
                 progress: Report = lambda count: None,
                 ) -> Generator[Outcome | Failure, None, None]:
    """Run every tracker over every sequence that is not in the cache.

    Sequences are kept as they are finished, so that an interrupted call loses only those that it
    was at. Yields every `Failure` when it happens, and at the end one `Outcome` for each tracker.

    :param prepare: called once with the number of frames that have to be tracked.
    :param fresh: do all again, whatever is kept.
    """
    outcomes = {spec.name: Outcome(spec, spec.identity()) for spec in specs}
    jobs: list[Job] = []
    dataset = opening.open()
    for name in names:
        try:
            sequence = dataset[name]
            span = span_of(sequence)
            digest = fingerprint(sequence, span)
        except (ValueError, OSError) as error:     # a broken frame, nothing to start from
            failure = Failure('', name, str(error))
            for outcome in outcomes.values():
                outcome.failures.append(failure)
            yield failure
            continue
        for spec in specs:
            key = key_of({'tracker': outcomes[spec.name].identity, 'layout': opening.layout,
                          'sequence': name, 'fingerprint': digest})
            kept = None if fresh else cache.load(spec.name, name, key)
            if kept is None:
                jobs.append(Job(spec, opening, name, key, span.frames))
            else:
                outcomes[spec.name].answers[name] = kept
                outcomes[spec.name].kept.add(name)
    prepare(sum(job.frames for job in jobs))
    # the longest first: the last ones to end leave the fewest processes idle
    order = sorted(jobs, key=lambda job: -job.frames) if processes > 1 else jobs
    for done in run_jobs(run_job, order, processes, progress, {'OMP_NUM_THREADS': '1'},
                         (SequenceError, TrackerError, LayoutError)):
        yield from _take(done, outcomes[done.job.spec.name], cache)
    for outcome in outcomes.values():
        outcome.answers = {n: outcome.answers[n] for n in names if n in outcome.answers}
        yield outcome


def _take(done: Done[Job, Answers], outcome: Outcome, cache: Cache) -> Iterator[Failure]:
    job = done.job
    if done.result is None:
        failure = Failure(job.spec.name, job.name, done.error, done.trace)
        outcome.failures.append(failure)
        yield failure
    else:
        cache.save(job.spec.name, job.name, job.key, done.result)
        outcome.answers[job.name] = done.result
