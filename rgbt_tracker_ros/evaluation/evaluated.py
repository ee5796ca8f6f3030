"""One tracker's answers over a data set, scored: what tables, JSON and the report are made of."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
import re
import shlex
from typing import Any

from rgbt_tracker_ros.data.layouts import Dataset, LayoutError
from rgbt_tracker_ros.evaluation.cache import Answers
from rgbt_tracker_ros.evaluation.conventions import CONVENTIONS, ResultError
from rgbt_tracker_ros.evaluation.results_io import file_name, find_results, read_result
from rgbt_tracker_ros.evaluation.runner import Failure, Outcome
from rgbt_tracker_ros.evaluation.score_json import to_json
from rgbt_tracker_ros.evaluation.score_types import Run, SequenceResult, SequenceScores
from rgbt_tracker_ros.evaluation.scoring import result_of, score_answers, score_result
from rgbt_tracker_ros.evaluation.timing import Timing
from rgbt_tracker_ros.evaluation.trackers import labelled, versions

_OWN = {'lsotb': 'otb', 'ptb': 'otb'}


@dataclass
class Evaluated:
    """A tracker's results and scores of the sequences that it finished, in the same order.

    `answers`: of those that were tracked here, by name. `provenance`: JSON values that say where
    the figures come from. `mode`: how it was run, where that is done in several ways. `figures`:
    key figures besides the scores; `extra`: JSON values besides a sequence's scores, by its name.
    """

    tracker: str
    convention: str
    results: list[SequenceResult] = field(default_factory=list)
    scores: list[SequenceScores] = field(default_factory=list)
    answers: Mapping[str, Answers] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    mode: str = ''
    figures: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of tracker and mode, for tables."""
        return f'{self.tracker} ({self.mode})' if self.mode else self.tracker

    @property
    def file_name(self) -> str:
        """The same, for files."""
        return '_'.join([self.tracker, *re.findall(r'\w+', self.mode)])

    @property
    def labelled(self) -> Run:
        """The scores, called by the label."""
        return replace(self.run, tracker=self.label)

    @property
    def run(self) -> Run:
        """The scores alone."""
        return Run(self.tracker, self.convention, tuple(self.scores))

    def results_in_full(self, dataset: Dataset) -> Iterator[SequenceResult]:
        """Yield a row for every frame of each sequence that was tracked here."""
        for name, answers in self.answers.items():
            yield result_of(dataset[name], answers)

    def facts(self) -> dict[str, str]:
        """Return the provenance as short texts, for the report: files without their folders."""
        tracker = self.provenance.get('tracker', {})
        facts = {key: str(tracker[key]) for key in ('sha256', 'device', 'threads')
                 if key in tracker}
        facts |= {key: str(value) for key, value in self.provenance.items()
                  if key not in ('tracker', 'versions', 'layout', 'root')}
        if 'command' in facts:
            facts['command'] = _without_folders(facts['command'])
        if 'results' in facts:
            facts['results'] = Path(facts['results']).name
        return facts | {'versions': ', '.join(
            f'{k} {v}' for k, v in self.provenance.get('versions', {}).items())}

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` writes: see score_json, with times, failures and provenance.

        The figures of time (`fps`, `ms_median`, `ms_p95`) are all that differs where the same
        is done again.
        """
        data = to_json(self.run)
        for name, answers in self.answers.items():
            timing = Timing.of(answers.seconds)
            if timing is not None and name in data['sequences']:
                data['sequences'][name] |= asdict(timing)
        for name, values in self.extra.items():
            data['sequences'][name] |= values
        if self.mode:
            data |= {'mode': self.mode, 'figures': dict(self.figures)}
        return {**data, 'failed': {f.sequence: f.error for f in self.failures},
                'provenance': self.provenance}


def default_convention(layout: str) -> str:
    """Return the convention that a layout is scored by where none is asked for."""
    name = _OWN.get(layout, layout)
    return name if name in CONVENTIONS else 'plain'


def check_truths(dataset: Dataset, names: Sequence[str], convention: str) -> None:
    """Refuse a convention of two truths where there is but one, before anything is tracked.

    :raises ResultError: naming the sequence.
    """
    if CONVENTIONS[convention].truths != 'both':
        return
    for name in names:
        try:
            found = dataset[name].raw_truth_thermal
        except LayoutError:     # told when it is tracked
            continue
        if found is None:
            raise ResultError(name, f'convention {convention} needs the truth of RGB and of '
                              'thermal; only one is there: choose another by --convention')


def score_outcome(outcome: Outcome, dataset: Dataset, convention: str) -> Evaluated:
    """Score what a tracker answered; what the convention refuses is among the failures."""
    done = Evaluated(outcome.spec.name, convention, answers=outcome.answers,
                     failures=list(outcome.failures),
                     provenance={'tracker': outcome.identity, 'versions': versions()})
    for name, answers in outcome.answers.items():
        try:
            result, scores = score_answers(dataset[name], answers, convention)
        except ResultError as error:
            done.failures.append(Failure(done.tracker, name, str(error)))
            continue
        done.results.append(result)
        done.scores.append(scores)
    return done


def score_files(text: str, dataset: Dataset, names: Sequence[str], convention: str) -> Evaluated:
    """Score a folder of result files, one for each sequence: see results_io.

    :param text: the folder, or `LABEL=folder`; otherwise the files or the folder name it. Where
        several trackers' files lie in it, those that begin with the label.
    :raises ResultError: if there is no such folder, or not a file for each sequence in it.
    """
    label, path = labelled(text)
    files = find_results(Path(path).expanduser(), names, label)
    done = Evaluated(label or _tracker_of(files), convention,
                     provenance={'results': path, 'versions': versions()})
    for name in names:
        try:
            given = read_result(files[name], name, convention)
            result, scores = score_result(dataset[name], given, convention)
        except (ResultError, LayoutError) as error:
            done.failures.append(Failure(done.tracker, name, str(error)))
            continue
        done.results.append(result)
        done.scores.append(scores)
    return done


def _without_folders(command: str) -> str:
    """Return a command with the last part of each absolute path: pages are passed on."""
    def short(path: str) -> str:
        return Path(path).name if path.startswith(('/', '~')) else path

    words = []
    for word in shlex.split(command):
        label, equals, path = word.partition('=')
        words.append(short(word) if '/' in label else label + equals + short(path))
    return shlex.join(words)


def _tracker_of(files: Mapping[str, Path]) -> str:
    """Return who made result files: what stands before the sequence's name, or the folder."""
    name, file = next(iter(files.items()))
    prefix = file.stem.removesuffix(file_name(name)).rstrip('_-')
    return prefix or file.resolve().parent.name.removesuffix('_tracking_result') or 'results'
