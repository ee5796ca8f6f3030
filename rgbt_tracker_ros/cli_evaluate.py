"""`rgbt evaluate`: let trackers follow the sequences of a data set once, and score them."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path
import shlex
import sys
from typing import Any

from rgbt_tracker_ros.data.layouts import LAYOUTS, Dataset, LayoutError
from rgbt_tracker_ros.data.sinks import SinkError, write_json
from rgbt_tracker_ros.data.sources import SourceError
from rgbt_tracker_ros.evaluation.arguments import parser
from rgbt_tracker_ros.evaluation.cache import Cache
from rgbt_tracker_ros.evaluation.compare import comparison_table, scores_table
from rgbt_tracker_ros.evaluation.conventions import CONVENTIONS, ResultError
from rgbt_tracker_ros.evaluation.evaluated import (
    Evaluated,
    default_convention,
    score_files,
    score_outcome,
)
from rgbt_tracker_ros.evaluation.results_out import FORMATS, write_results
from rgbt_tracker_ros.evaluation.runner import Failure, Opening, Outcome, run_trackers
from rgbt_tracker_ros.evaluation.settings import read_config
from rgbt_tracker_ros.evaluation.trackers import (
    NAMES,
    TrackerError,
    TrackerSpec,
    parse_trackers,
)
from rgbt_tracker_ros.processes import terminable


class CommandError(Exception):
    """What the user can put right; shown as one line."""


def main(argv: Sequence[str]) -> int:
    """Run `rgbt evaluate`: 0 all done, 1 a sequence failed, 2 wrong usage, 130 after ctrl-C."""
    args = parser().parse_args(argv)
    args.command = shlex.join(['rgbt', 'evaluate', *argv])
    try:
        return _list(args) if args.list else _evaluate(args)
    except (CommandError, LayoutError, SourceError, TrackerError, ResultError, SinkError,
            OSError) as error:
        print(f'rgbt evaluate: {error}', file=sys.stderr)
        return 2


def _evaluate(args: Namespace) -> int:
    if not args.layout or not args.root:
        raise CommandError('--layout and --root are needed; see rgbt evaluate --help')
    if args.json not in (None, '-') and not Path(args.json).absolute().parent.is_dir():
        raise CommandError(f'{args.json}: its folder does not exist; make it first')
    trackers = args.tracker or ([] if args.results or args.ros_records else ['student'])
    opening = _opening(args, images=bool(trackers))
    dataset = opening.open()
    names = _selected(args, dataset)
    convention = args.convention or default_convention(args.layout)
    config = read_config(args.config) if args.config else None
    specs = parse_trackers(trackers, config, args.device)
    if args.through_ros:
        from rgbt_tracker_ros.ros_evaluation import run_in_node
        run_in_node(specs)      # say no before any work
    files = [score_files(text, dataset, names, convention) for text in args.results]
    _check_labels([*(s.name for s in specs), *(f.tracker for f in files)])
    for failure in (f for done in files for f in done.failures):
        _complain(failure)
    try:
        outcomes = _run(args, specs, opening, names)
        played = _through_ros(args, specs, opening, names, convention)
    except KeyboardInterrupt:
        kept = _cache_folder(args)
        print('rgbt evaluate: interrupted; ' + (
            f'finished sequences are kept in {kept}, the same command goes on' if kept else
            'nothing is kept: give --out, --report or --json'), file=sys.stderr)
        return 130
    offline = [score_outcome(o, dataset, convention) for o in outcomes]
    for done in offline:
        done.mode = 'offline' if played else ''
    everything = [*offline, *played, *files]
    for done in everything:
        done.provenance |= {'command': args.command, 'processes': args.processes,
                            'layout': args.layout, 'root': str(args.root)}
    _write(args, dataset, everything)
    return 1 if any(done.failures for done in everything) else 0


def _opening(args: Namespace, images: bool) -> Opening:
    import yaml
    options: dict[str, Any] = {} if images else {'images': False}
    if args.split:
        options['split'] = args.split
    for text in args.option:
        key, equals, value = text.partition('=')
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise CommandError(f'--option {text}: the value is not YAML') from error
        if not equals or not key.isidentifier():
            raise CommandError(f'--option {text}: must be KEY=VALUE')
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
        print(f'rgbt evaluate: sequence {missing} is on the official list but not in {args.root}',
              file=sys.stderr)
    if args.attribute:
        labels = {name: dataset[name].attributes for name in names}
        names = [name for name in names if args.attribute in labels[name]]
        if not names:
            known = sorted({a for found in labels.values() for a in found})
            raise CommandError(f'no sequence carries attribute {args.attribute!r}; there are '
                               f'{", ".join(known) or "none"}')
    return names[:args.limit]


def _run(args: Namespace, specs: list[TrackerSpec], opening: Opening,
         names: list[str]) -> list[Outcome]:
    from tqdm import tqdm
    if not specs:
        return []
    folder = _cache_folder(args)
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

        return run_through_ros(run_in_node(specs), opening, names, _cache_folder(args), convention,
                               speed=args.rate, fresh=args.fresh, complain=_complain,
                               report=report)


def _complain(failure: Failure) -> None:
    print(failure.trace, end='', file=sys.stderr)
    print(f'rgbt evaluate: {failure.tracker} failed on {failure.sequence}: {failure.error}',
          file=sys.stderr)


def _cache_folder(args: Namespace) -> Path | None:
    if args.out:
        return args.out
    if args.report:
        return args.report / 'cache'
    return Path(f'{args.json}.cache') if args.json not in (None, '-') else None


def _write(args: Namespace, dataset: Dataset, everything: list[Evaluated]) -> None:
    text = sys.stderr if args.json == '-' else sys.stdout
    scored = [done for done in everything if done.scores]
    for done in scored:
        print(scores_table(done.labelled), end='\n\n', file=text)
    if len(scored) > 1:
        print(comparison_table([done.labelled for done in scored]), end='\n\n', file=text)
    if args.json:
        data = [done.to_json() for done in everything]
        write_json(args.json, data[0] if len(data) == 1 else data)
    written: list[object] = [args.json] if args.json not in (None, '-') else []
    if args.save_results:
        form = args.format or (args.layout if args.layout in FORMATS else 'plain')
        for done in scored:
            # in this format files of two trackers would have one name
            shared = '{tracker}' not in FORMATS[form].path
            folder = args.save_results / done.file_name if shared else args.save_results
            files = write_results(done.results_in_full(dataset), folder, done.file_name, form)
            written += [file.parent for file in files[:1]]
    if args.report and scored:
        written.append(_report(args, dataset, scored))
    for path in written:
        print(f'wrote {path}', file=text)


def _report(args: Namespace, dataset: Dataset, scored: list[Evaluated]) -> Path:
    from rgbt_tracker_ros.evaluation.report import ReportOptions, ReportRun, write_report
    runs = [ReportRun(done.run, done.results, dataset, done.mode, done.figures, done.facts())
            for done in scored]
    return write_report(runs, args.report, ReportOptions(f'{args.layout}, {args.root.name}'))


def _list(args: Namespace) -> int:
    if not args.root:
        print('layouts:     ' + ', '.join(LAYOUTS))
        print('trackers:    ' + ', '.join(NAMES) + ', FILE.safetensors, module:function')
        print('conventions:')
        for name, rules in CONVENTIONS.items():
            print(f'  {name:{max(map(len, CONVENTIONS))}}  {rules.about}')
        return 0
    if not args.layout:
        raise CommandError('--list with --root needs --layout too')
    dataset = _opening(args, images=True).open()
    for name in _selected(args, dataset):
        sequence = dataset[name]
        print(f'{name}  {len(sequence)} frames, {len(sequence.annotated)} annotated  '
              + ' '.join(sequence.attributes))
    return 0


def _check_labels(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise CommandError(f'two of the trackers are called {name!r}; name one of them by '
                               'LABEL=... before it')
