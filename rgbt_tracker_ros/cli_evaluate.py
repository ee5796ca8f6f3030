"""`rgbt evaluate`: let trackers follow the sequences of a data set once, and score them."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path
import shlex
import sys

from rgbt_tracker_ros.command_line import CommandError, key_values
from rgbt_tracker_ros.data.layouts import ABOUT, ROOTLESS, Dataset, LayoutError
from rgbt_tracker_ros.data.sequence import shorten
from rgbt_tracker_ros.data.sinks import SinkError
from rgbt_tracker_ros.data.sources import SourceError
from rgbt_tracker_ros.data.suites import SUITES
from rgbt_tracker_ros.evaluation.arguments import parser
from rgbt_tracker_ros.evaluation.cache import Cache
from rgbt_tracker_ros.evaluation.conventions import CONVENTIONS, ResultError
from rgbt_tracker_ros.evaluation.evaluated import (
    Evaluated,
    check_truths,
    default_convention,
    score_files,
    score_outcome,
)
from rgbt_tracker_ros.evaluation.opening import Opening
from rgbt_tracker_ros.evaluation.outputs import (
    cache_folder,
    check_outputs,
    left_out,
    write_outputs,
)
from rgbt_tracker_ros.evaluation.results_out import FORMATS
from rgbt_tracker_ros.evaluation.runner import Failure, Outcome, run_trackers
from rgbt_tracker_ros.evaluation.settings import read_config
from rgbt_tracker_ros.evaluation.trackers import (
    NAMES,
    TrackerError,
    TrackerSpec,
    parse_trackers,
)
from rgbt_tracker_ros.processes import terminable


def main(argv: Sequence[str]) -> int:
    """Run `rgbt evaluate`: 0 all done, 1 a sequence failed, 2 wrong usage, 130 after ctrl-C."""
    args = parser().parse_args(argv)
    args.command = shlex.join(['rgbt', 'evaluate', *argv])
    try:
        _place(args)
        return _list(args) if args.list else _evaluate(args)
    except OSError as error:
        _say(f'{error.filename}: {error.strerror}' if error.filename else str(error))
    except (CommandError, LayoutError, SourceError, TrackerError, ResultError,
            SinkError) as error:
        _say(str(error))
    return 2


def _evaluate(args: Namespace) -> int:
    if not args.layout or not args.root:
        raise CommandError('--layout and --root are needed; see rgbt evaluate --help')
    if args.rate is not None and not args.through_ros:
        raise CommandError(f'--rate {args.rate:g}: is for --through-ros')
    trackers = args.tracker or ([] if args.results or args.ros_records else ['student'])
    opening = _opening(args, images=bool(trackers))
    dataset = opening.open()
    names = _selected(args, dataset)
    convention = args.convention or default_convention(args.layout)
    check_truths(dataset, names, convention)
    config = read_config(args.config) if args.config else None
    specs = parse_trackers(trackers, config, args.device)
    if args.through_ros:
        from rgbt_tracker_ros.ros_evaluation import run_in_node
        run_in_node(specs)      # say no before any work
    files = [score_files(text, dataset, names, convention) for text in args.results]
    _check_labels([*(s.name for s in specs), *(f.tracker for f in files)])
    for failure in (f for done in files for f in done.failures):
        _complain(failure)
    check_outputs(args)
    try:
        outcomes = _run(args, specs, opening, names)
        played = _through_ros(args, specs, opening, names, convention)
    except KeyboardInterrupt:
        kept = cache_folder(args)
        _say('interrupted; ' + (
            f'finished sequences are kept in {kept}, the same command goes on' if kept else
            'nothing is kept: give --out, --report or --json'))
        return 130
    offline = [score_outcome(o, dataset, convention) for o in outcomes]
    for outcome, done in zip(outcomes, offline, strict=True):
        done.mode = 'offline' if played else ''
        for failure in done.failures[len(outcome.failures):]:
            _complain(failure)
    everything = [*offline, *played, *files]
    for done in everything:
        done.provenance |= {'command': args.command, 'processes': args.processes,
                            'layout': args.layout, 'root': str(args.root)}
    write_outputs(args, opening, everything)
    failed = left_out(everything)
    for label, missing in failed.items():
        _say(f'{label}: {len(missing)} of {len(names)} sequences failed and are in no figure: '
             + shorten(tuple(missing)))
    return 1 if failed else 0


def _place(args: Namespace) -> None:
    """Let what is drawn be called by its suites where messages name the root."""
    if args.layout in ROOTLESS:
        if args.root:
            raise CommandError(f'--root {args.root}: layout {args.layout} is drawn, not read; '
                               'leave --root out')
        args.root = Path(args.suite or 'all suites')


def _opening(args: Namespace, images: bool) -> Opening:
    options = {} if images else {'images': False}
    options |= {name: value for name in ('suite', 'seed', 'frames', 'style')
                if (value := getattr(args, name)) is not None}
    options |= {'split': args.split} if args.split else {}
    options |= key_values(args.option)
    return Opening(args.layout, str(args.root), tuple(
        (k, tuple(v) if isinstance(v, list) else v) for k, v in options.items()))


def _selected(args: Namespace, dataset: Dataset) -> list[str]:
    names = list(args.sequences or dataset.sequence_names)
    for name in names:
        if name not in dataset:
            close = get_close_matches(name, dataset.sequence_names, 3)
            hint = f'did you mean {" or ".join(close)}?' if close else '--list shows them'
            raise CommandError(f'{args.root}: no sequence {name!r}; {hint}')
    for missing in () if args.sequences else dataset.missing:
        _say(f'sequence {missing} is on the official list but not in {args.root}')
    if args.attribute:
        names = _labelled(dataset, names, args.attribute)
    return names[:args.limit]


def _labelled(dataset: Dataset, names: list[str], attribute: str) -> list[str]:
    """Return those that carry an attribute, and those that can't be read: they are told later."""
    labels: dict[str, tuple[str, ...] | None] = {}
    for name in names:
        try:
            labels[name] = dataset[name].attributes
        except LayoutError:
            labels[name] = None
    if not any(found and attribute in found for found in labels.values()):
        known = sorted({a for found in labels.values() for a in found or ()})
        raise CommandError(f'no sequence carries attribute {attribute!r}; there are '
                           f'{", ".join(known) or "none"}')
    return [name for name, found in labels.items() if found is None or attribute in found]


def _run(args: Namespace, specs: list[TrackerSpec], opening: Opening,
         names: list[str]) -> list[Outcome]:
    from tqdm import tqdm
    if not specs:
        return []
    folder = cache_folder(args)
    quiet = not (args.progress or sys.stderr.isatty())
    outcomes: list[Outcome] = []
    with tqdm(unit='frame', disable=quiet, leave=False) as bar:
        def progress(count: int) -> None:
            bar.update(count)

        events = run_trackers(specs, opening, names, Cache(folder), processes=args.processes,
                              fresh=args.fresh, prepare=bar.reset, progress=progress)
        with closing(events):
            for event in events:
                if isinstance(event, Failure):
                    bar.clear()
                    _complain(event)
                else:
                    outcomes.append(event)
    return outcomes


def _through_ros(args: Namespace, specs: list[TrackerSpec], opening: Opening, names: list[str],
                 convention: str) -> list[Evaluated]:
    from rgbt_tracker_ros.ros_evaluation import heard, run_in_node, run_through_ros
    if args.ros_records:
        played = heard(args.ros_records, opening.open(), names, convention)
        for failure in played[0].failures:
            _complain(failure)
        return played
    if not args.through_ros:
        return []
    from tqdm import tqdm
    quiet = not (args.progress or sys.stderr.isatty())
    with tqdm(unit='pair', desc='through ROS', disable=quiet, leave=False) as bar, terminable():
        def report(count: int) -> None:
            bar.update(count)

        return run_through_ros(run_in_node(specs), opening, names, cache_folder(args), convention,
                               speed=args.rate or 1.0, fresh=args.fresh, complain=_complain,
                               report=report)


def _complain(failure: Failure) -> None:
    print(failure.trace, end='', file=sys.stderr)
    where, error = failure.sequence, failure.error.removeprefix(f'{failure.sequence}: ')
    _say(f'{failure.tracker} failed on {where}: {error}' if failure.tracker else
         f'sequence {where} is left out: {error}')


def _say(text: str) -> None:
    print(f'rgbt evaluate: {text}', file=sys.stderr)


def _list(args: Namespace) -> int:
    if not args.root:
        print('trackers: ' + ', '.join(NAMES) + ', FILE.safetensors, module:function')
        for title, table in (
                ('layouts', {name: about.replace('`', '') for name, about in ABOUT.items()}),
                ('conventions', {name: rules.about for name, rules in CONVENTIONS.items()}),
                ('suites of layout synthetic', {n: suite.about for n, suite in SUITES.items()}),
                ('formats of result files', {n: form.about for n, form in FORMATS.items()})):
            print(f'{title}:')
            for name, about in table.items():
                print(f'  {name:{max(map(len, table))}}  {about}')
        return 0
    if not args.layout:
        raise CommandError('--list with --root needs --layout too')
    dataset = _opening(args, images=True).open()
    status = 0
    for name in _selected(args, dataset):
        try:
            sequence = dataset[name]
        except LayoutError as error:
            _complain(Failure('', name, str(error)))
            status = 1
            continue
        print(f'{name}  {len(sequence)} frames, {len(sequence.annotated)} annotated  '
              + ' '.join(sequence.attributes))
    return status


def _check_labels(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise CommandError(f'two of the trackers are called {name!r}; name one of them by '
                               'LABEL=... before it')
