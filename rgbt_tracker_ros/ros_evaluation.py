"""Evaluation through ROS: a recording is played into the running node, and its answers scored.

Three processes in a ROS domain of their own: the cameras (player_node), the tracker (tracker_node)
and who gives the target and listens (evaluation_client). They are started anew for every sequence,
so that no figure depends on what was played before. See `evaluation.ros_records` for the two ways
in which the answers are read.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
import shutil
import tempfile
import time

from rgbt_tracker_ros.data.layouts import Dataset, LayoutError
from rgbt_tracker_ros.evaluation.cache import key_of, safe_name
from rgbt_tracker_ros.evaluation.evaluated import Evaluated
from rgbt_tracker_ros.evaluation.opening import Opening
from rgbt_tracker_ros.evaluation.results_io import file_name
from rgbt_tracker_ros.evaluation.ros_parameters import (
    cameras_of,
    player_parameters,
    tracker_parameters,
    transport_of,
)
from rgbt_tracker_ros.evaluation.ros_records import (
    Latency,
    RecordError,
    RosRecords,
    live,
    per_pair,
)
from rgbt_tracker_ros.evaluation.runner import Failure, SequenceError, span_of
from rgbt_tracker_ros.evaluation.runner import fingerprint as digest_of
from rgbt_tracker_ros.evaluation.scoring import score_answers
from rgbt_tracker_ros.evaluation.trackers import SUFFIX, TrackerError, TrackerSpec, versions
from rgbt_tracker_ros.processes import (
    JsonLines,
    NodeProcess,
    ProcessError,
    free_domain,
    ros_environment,
    shm_profile,
)

OFFLINE, PER_PAIR, LIVE = 'offline', 'through ROS', 'through ROS, live'
START_PATIENCE = 180.0  # s until the tracker is up: loading torch from a slow disk takes long
PLAY_PATIENCE = 60.0    # s until the first pair
GAP_PATIENCE = 600.0    # s without a pair: recordings have gaps, too
END_PATIENCE = 60.0     # s for the last answers, once the player is through
EXPECTED = (SequenceError, LayoutError, RecordError, ProcessError)
Report = Callable[[int], None]


def run_in_node(specs: Sequence[TrackerSpec]) -> list[TrackerSpec]:
    """Return those trackers that the node can run: the student, and networks from files.

    :raises TrackerError: if there are none.
    """
    found = [s for s in specs if not s.camera and (
        s.source == 'student' or s.source.endswith(SUFFIX))]
    if not found:
        raise TrackerError('none of the trackers runs in the node; through ROS there are student '
                           f'and files that end in {SUFFIX}, with both images')
    return found


def run_through_ros(specs: Sequence[TrackerSpec], opening: Opening, names: Sequence[str],
                    folder: Path | None, convention: str, *, speed: float = 1.0,
                    fresh: bool = False, report: Report = lambda count: None,
                    complain: Callable[[Failure], None] = lambda failure: None,
                    ) -> list[Evaluated]:
    """Play every sequence to every tracker and score the answers: two results for each tracker.

    :param folder: where what was heard is kept, and found again by the next call.
    :param speed: factor of the recordings' own rate.
    :param report: told of pairs as they are played. :param complain: of sequences that failed.
    """
    found: list[Evaluated] = []
    for spec in specs:
        identity = spec.identity()
        records: dict[str, RosRecords] = {}
        failures: list[Failure] = []
        for name in names:
            try:
                sequence = opening.open()[name]
                key = key_of({'tracker': identity, 'layout': opening.layout, 'sequence': name,
                              'options': opening.options, 'speed': speed,
                              'fingerprint': digest_of(sequence, span_of(sequence))})
                kept = folder and _kept(folder, spec.name, name, key)
                if kept and kept.is_file() and not fresh:
                    records[name] = RosRecords.read(kept)
                else:
                    records[name] = play(spec, opening, name, speed, kept, report)
            except EXPECTED as error:
                failures.append(Failure(spec.name, name, str(error)))
                complain(failures[-1])
        scored = score_records(spec.name, records, opening.open(), convention, failures)
        for done in scored:
            done.provenance |= {'tracker': identity, 'speed': speed}
        found += scored
    return found


def heard(folder: Path, dataset: Dataset, names: Sequence[str], convention: str,
          ) -> list[Evaluated]:
    """Score the files SEQUENCE.jsonl of a folder, which evaluate.launch.py has written.

    :raises TrackerError: if there is none.
    """
    files = {name: folder / f'{file_name(name)}.jsonl' for name in names}
    there = {name: path for name, path in files.items() if path.is_file()}
    if not there:
        raise TrackerError(f'{folder}: no records of these sequences; looked for '
                           f'{next(iter(files.values())).name}')
    records, failures = {}, []
    for name, path in there.items():
        try:
            records[name] = RosRecords.read(path)
        except RecordError as error:
            failures.append(Failure('rgbt_tracker', name, str(error)))
    models = {r.model for r in records.values()}
    tracker = models.pop().split('.')[0] if len(models) == 1 else 'rgbt_tracker'
    return score_records(tracker, records, dataset, convention, failures)


def score_records(tracker: str, records: dict[str, RosRecords], dataset: Dataset, convention: str,
                  failures: Sequence[Failure] = ()) -> list[Evaluated]:
    """Score what was heard of sequences, by their names: per pair, and live.

    :raises ResultError: if the data set's truth is not what the convention allows.
    """
    found = []
    for mode, read in ((PER_PAIR, per_pair), (LIVE, live)):
        done = Evaluated(tracker, convention, mode=mode, failures=list(failures),
                         provenance={'versions': versions()})
        latencies = {}
        answers = {}
        for name, heard in records.items():
            sequence = dataset[name]
            span = span_of(sequence)
            try:
                answers[name] = read(heard, span.first, span.stop, span.box)
                latencies[name] = Latency.of(heard, span.first, span.stop)
            except RecordError as error:
                done.failures.append(Failure(tracker, name, str(error)))
                continue
            result, scores = score_answers(sequence, answers[name], convention)
            done.results.append(result)
            done.scores.append(scores)
            done.provenance |= {'model': heard.model, 'ROS device': heard.device}
        done.answers = answers
        done.extra = {name: {'ros': latency.to_json()} for name, latency in latencies.items()}
        done.figures = Latency.total(latencies.values()).figures() if latencies else {}
        found.append(done)
    return found


def play(spec: TrackerSpec, opening: Opening, name: str, speed: float = 1.0,
         kept: Path | None = None, report: Report = lambda count: None) -> RosRecords:
    """Play one sequence from its first true box to its last annotation; return what was heard.

    :param kept: where the records are to be found later; logs of failures stay beside it.
    :raises SequenceError: if there is nothing to start from. LayoutError: if it can't be read.
    :raises ProcessError: if a process ends early, or something does not come. RecordError: if the
        tracker refuses the target.
    """
    sequence = opening.open()[name]
    span = span_of(sequence)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='rgbt_ros_')))
        domain = stack.enter_context(free_domain())
        environment = ros_environment(domain, shm_profile(folder, processes=3))

        def start(module: str, parameters: Sequence[str] = (), pipe: bool = False) -> NodeProcess:
            return stack.enter_context(NodeProcess(module, folder / f'{module}.log', environment,
                                                   parameters, pipe=pipe))

        transport = transport_of(sequence)
        tracker = start('tracker_node', tracker_parameters(
            spec, opening, cameras_of(sequence, span), transport))
        client = start('evaluation_client', pipe=True)
        lines, records = JsonLines(client, folder / 'records.jsonl'), RosRecords()
        watch = _Watch(lines, records, (tracker, client), report)
        watch.until(lambda: bool(records.device), START_PATIENCE, 'rgbt_tracker did not come up')
        player = start('player_node', player_parameters(opening, name, span, speed, transport))
        watch.until(lambda: bool(records.pairs), PLAY_PATIENCE, 'no pair was played', player)
        watch.until(lambda: player.status is not None, GAP_PATIENCE, 'no further pair was played',
                    player)
        watch.until(lambda: lines.ended, END_PATIENCE, 'rgbt_evaluation did not end', player)
        if not records.complete:
            raise ProcessError(f'rgbt_evaluation ended too early\n{client.tail()}')
        records.played(span.first, span.stop)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_name(f'{kept.name}.part')
            shutil.copyfile(folder / 'records.jsonl', part)
            part.replace(kept)
    return records


class _Watch:
    """Takes what the client says, and looks after the processes."""

    def __init__(self, lines: JsonLines, records: RosRecords, processes: Sequence[NodeProcess],
                 report: Report) -> None:
        self._lines, self._records, self._report = lines, records, report
        self._tracker, self._client = processes

    def until(self, done: Callable[[], bool], patience: float, complaint: str,
              player: NodeProcess | None = None) -> None:
        """Take lines until `done`.

        :raises RecordError: when the tracker can't load or refuses the target.
        :raises ProcessError: after `patience` s without a pair, or when a process fails.
        """
        deadline = time.monotonic() + patience
        processes = [p for p in (self._tracker, self._client, player) if p]
        while not done():
            before = len(self._records.pairs)
            for record in self._lines.take(timeout=0.05):
                self._records.add(record)
            if new := len(self._records.pairs) - before:
                self._report(new)
                deadline = time.monotonic() + patience
            if self._records.failure:
                raise RecordError(self._records.failure)
            self._tracker.require_running()
            for process in processes:
                if process.status:      # the client and the player end by themselves, with 0
                    process.require_running()
            if time.monotonic() > deadline:
                logs = '\n'.join(p.tail() for p in processes)
                raise ProcessError(f'{complaint} within {patience:.0f} s\n{logs}')


def _kept(folder: Path, tracker: str, sequence: str, key: str) -> Path:
    return folder / 'ros' / safe_name(tracker) / f'{safe_name(sequence)}.{key[:16]}.jsonl'
