"""What was heard of a run through ROS, and the answers that it amounts to.

Two ways to read it. *Per pair*: the answer to each pair, however late it came; where there is none
(the pair was dropped) the last answer before it is held, as whoever waits for answers would.
*Live*: what was known when each pair was taken, which is the newest answer that had been published
by then; before the first one, the box that was given. A tracker that is fast enough differs in
*live* from *per pair* by one pair, and by what the target moves in that time.
"""
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.cache import Answers
from rgbt_tracker_ros.types import Box, State


class RecordError(ValueError):
    """Records of a run that say nothing, or not all; the text tells what is missing."""


@dataclass(frozen=True, slots=True)
class RosPair:
    """A pair that was played: its stamp as played and as recorded, and when it was out (ns)."""

    stamp: int
    recorded: int
    sent: int


@dataclass(frozen=True, slots=True)
class RosAnswer:
    """A Track message: the stamp of its pair, and when it was published (ns)."""

    stamp: int
    sent: int
    box: tuple[float, ...]
    state: int
    confidence: float


@dataclass
class RosRecords:
    """Fills with the lines of nodes/evaluation_client.py.

    `pairs`: by their number in the recording. `answers`: by the stamp of their pair.
    """

    pairs: dict[int, RosPair] = field(default_factory=dict)
    answers: dict[int, RosAnswer] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    device: str = ''
    model: str = ''
    failure: str = ''
    complete: bool = False

    def add(self, record: dict[str, Any]) -> None:
        """Take a line."""
        kind = record['kind']
        if kind == 'pair':
            self.pairs[record['number']] = RosPair(record['stamp'], record['recorded'],
                                                   record['sent'])
        elif kind == 'track':
            # a pair is answered once for a target
            self.answers.setdefault(record['stamp'], RosAnswer(
                record['stamp'], record['sent'], tuple(record['box']), record['state'],
                record['confidence']))
        elif kind == 'ready':
            self.device, self.model = record['device'], record['model']
        elif kind == 'failed':
            self.failure = record['reason']
        elif kind == 'status' and 'failed: ' in record['message'] and not self.device:
            self.failure = f'rgbt_tracker: {record["message"]}'
        elif kind == 'end':
            self.complete = True
            self.counters = {k: v for k, v in record.items() if k != 'kind'}

    @classmethod
    def read(cls, path: Path) -> RosRecords:
        """Read a file of lines.

        :raises RecordError: if a line is none of this kind, or the end is missing.
        :raises OSError: if it can't be read.
        """
        records = cls()
        for row, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
            try:
                records.add(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise RecordError(f'{path}, row {row}: no record of a run through ROS: {error!r}'
                                  ) from error
        if records.failure or not records.complete:
            raise RecordError(f'{path}: ' + (records.failure or 'the run did not come to its end'))
        return records

    def played(self, first: int, stop: int) -> list[RosPair]:
        """Return pairs `first` up to, not including, `stop`.

        :raises RecordError: if one was not played, or none was answered.
        """
        missing = [n for n in range(first, stop) if n not in self.pairs]
        if missing:
            raise RecordError(f'{len(missing)} of pairs {first} to {stop - 1} were not played; '
                              f'the first of them is {missing[0]}')
        pairs = [self.pairs[n] for n in range(first, stop)]
        if not any(p.stamp in self.answers for p in pairs):
            raise RecordError(f'rgbt_tracker answered none of {len(pairs)} pairs')
        return pairs


def per_pair(records: RosRecords, first: int, stop: int, given: Box) -> Answers:
    """Return the answer to every pair, the last one held where there is none.

    :param given: the box that the target was given by; it is the first answer, as in `follow`.
    :raises RecordError: see `RosRecords.played`.
    """
    pairs = records.played(first, stop)
    last: RosAnswer | None = None
    rows: list[RosAnswer | None] = []
    for pair in pairs:
        last = records.answers.get(pair.stamp, last)
        rows.append(last)
    return _answers(first, pairs, rows, given)


def live(records: RosRecords, first: int, stop: int, given: Box) -> Answers:
    """Return what was known when every pair was taken: the newest answer published by then.

    :raises RecordError: see `RosRecords.played`.
    """
    pairs = records.played(first, stop)
    told = sorted(records.answers.values(), key=lambda a: a.sent)
    times = [a.sent for a in told]
    rows = [told[n - 1] if (n := bisect_right(times, p.sent)) else None for p in pairs]
    return _answers(first, pairs, rows, given)


def _answers(first: int, pairs: Sequence[RosPair], rows: list[RosAnswer | None],
             given: Box) -> Answers:
    start = RosAnswer(0, 0, given.as_tuple(), int(State.TRACKING), 1.0)
    filled = [row or start for row in rows]
    boxes = np.array([row.box for row in filled], np.float64)
    boxes[0] = given.as_tuple()
    return Answers(
        first, boxes, np.array([row.confidence for row in filled], np.float64),
        np.array([row.state for row in filled], np.uint8),
        np.full(len(pairs), np.nan),        # the tracker's own time is not what this measures
        np.array([p.recorded for p in pairs], np.int64))


@dataclass(frozen=True, eq=False)
class Latency:
    """How many pairs were answered, and how late; several sequences can be taken together.

    `ages`: (answered,) s from both images being out to the answer's publication. `states`: (5,)
    answers by state. `dropped`: pairs that a newer one replaced while the tracker was at work, by
    the tracker's own count; `singles`: those that it answered without one of their images.
    """

    pairs: int
    ages: NDArray[np.float64]
    states: NDArray[np.int64]
    dropped: int = 0
    singles: int = 0

    @classmethod
    def of(cls, records: RosRecords, first: int, stop: int) -> Latency:
        """Measure pairs `first` up to, not including, `stop`.

        :raises RecordError: see `RosRecords.played`.
        """
        pairs = records.played(first, stop)
        given = [(p, records.answers[p.stamp]) for p in pairs if p.stamp in records.answers]
        return cls(len(pairs), np.array([(a.sent - p.sent) / 1e9 for p, a in given], np.float64),
                   np.bincount([a.state for _, a in given], minlength=len(State)),
                   records.counters.get('dropped', 0), records.counters.get('singles', 0))

    @classmethod
    def total(cls, parts: Iterable[Latency]) -> Latency:
        """Take sequences together.

        :raises ValueError: if there are none.
        """
        items = list(parts)
        return cls(sum(i.pairs for i in items), np.concatenate([i.ages for i in items]),
                   np.sum([i.states for i in items], axis=0), sum(i.dropped for i in items),
                   sum(i.singles for i in items))

    @property
    def answered_share(self) -> float:
        """Share of the pairs that were answered."""
        return len(self.ages) / self.pairs

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; ages in ms."""
        p50, p95 = np.percentile(self.ages, (50, 95)) * 1e3
        return {'pairs': self.pairs, 'answered': len(self.ages),
                'answered_share': self.answered_share, 'dropped': self.dropped,
                'singles': self.singles,
                'age_ms': {'p50': float(p50), 'p95': float(p95)},
                'states': {s.name.lower(): int(self.states[s]) for s in State if self.states[s]}}

    def figures(self) -> dict[str, float]:
        """Return the figures for the report, by what they are called there."""
        p50, p95 = np.percentile(self.ages, (50, 95)) * 1e3
        count = max(1, len(self.ages))
        return {'Pairs': self.pairs, 'Pairs answered': len(self.ages),
                'Pairs answered (%)': round(100 * self.answered_share, 2),
                'Pairs replaced by a newer one': self.dropped,
                'Pairs without one image': self.singles,
                'Age of an answer, median (ms)': round(float(p50), 1),
                'Age of an answer, 95 % (ms)': round(float(p95), 1)} | {
            f'Answers {s.name.lower()} (%)': round(100 * float(self.states[s]) / count, 1)
            for s in State if s != State.IDLE}
