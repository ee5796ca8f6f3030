"""What `rgbt evaluate` leaves: tables, JSON, result files and the report."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
import os
from pathlib import Path
import sys

from rgbt_tracker_ros.command_line import CommandError
from rgbt_tracker_ros.data.layouts import Dataset
from rgbt_tracker_ros.data.sinks import write_json
from rgbt_tracker_ros.evaluation.compare import comparison_table, scores_table
from rgbt_tracker_ros.evaluation.evaluated import Evaluated, default_convention
from rgbt_tracker_ros.evaluation.opening import Illustrated, Opening
from rgbt_tracker_ros.evaluation.results_out import FORMATS, write_results


def cache_folder(args: Namespace) -> Path | None:
    """Return where answers are kept; None where no argument names a place."""
    if args.out:
        return Path(args.out)
    if args.report:
        return Path(args.report) / 'cache'
    return Path(f'{args.json}.cache') if args.json not in (None, '-') else None


def check_outputs(args: Namespace) -> None:
    """Refuse at once what would fail after hours of work; folders are made.

    :raises CommandError: where something can't be written.
    """
    if args.format and not args.save_results:
        raise CommandError(f'--format {args.format}: say with --save-results DIR where the files '
                           'go')
    if args.save_results and not (args.tracker or args.through_ros or args.ros_records) \
            and args.results:
        raise CommandError('--save-results: nothing is tracked, --results are files already; '
                           'name a --tracker too')
    if args.json not in (None, '-'):
        file = Path(args.json)
        if not file.absolute().parent.is_dir():
            raise CommandError(f'--json {file}: its folder does not exist; make it first')
        if file.is_dir():
            raise CommandError(f'--json {file}: is a folder; name a file in it')
    folders = {'--report': args.report, '--save-results': args.save_results, '--out': args.out}
    for flag, folder in folders.items():
        if folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = 'is a file; name a folder' if folder.is_file() else \
                f"this folder can't be made: {error.strerror}"
            raise CommandError(f'{flag} {folder}: {what}') from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise CommandError(f"{flag} {folder}: can't be written to: permission denied")


def write_outputs(args: Namespace, opening: Opening, everything: Sequence[Evaluated]) -> None:
    """Write what was asked for, and print the tables.

    :raises SinkError: if a file can't be written. :raises OSError: if a folder can't be made.
    """
    text = sys.stderr if args.json == '-' else sys.stdout
    scored = [done for done in everything if done.scores]
    written: list[object] = []
    if args.json:       # first: what comes after may fail
        data = [done.to_json() for done in everything]
        write_json(args.json, data[0] if len(data) == 1 else data)
        written += [args.json] if args.json != '-' else []
    for done in scored:
        print(scores_table(done.labelled), end='\n\n', file=text)
    if len(scored) > 1:
        print(comparison_table([done.labelled for done in scored]), end='\n\n', file=text)
    if args.save_results:
        written += _save_results(args, opening.open(), scored)
    if args.report and scored:
        written.append(_report(args, opening, scored))
    for path in written:
        print(f'wrote {path}', file=text)


def default_format(layout: str) -> str:
    """Return the format of a layout's result files where none is asked for."""
    convention = default_convention(layout)
    return convention if convention in FORMATS else 'plain'


def left_out(everything: Sequence[Evaluated]) -> Mapping[str, list[str]]:
    """Return the sequences that are not in the figures, by what was evaluated."""
    return {done.label: names for done in everything
            if (names := list(dict.fromkeys(f.sequence for f in done.failures)))}


def _save_results(args: Namespace, dataset: Dataset, scored: Sequence[Evaluated]) -> list[Path]:
    form = args.format or default_format(args.layout)
    # in such a format files of two trackers would have one name
    shared = '{tracker}' not in FORMATS[form].path
    written = []
    for done in scored:
        folder = args.save_results / done.file_name if shared else args.save_results
        files = write_results(done.results_in_full(dataset), folder, done.file_name, form)
        written += [file.parent for file in files[:1]]
    return written


def _report(args: Namespace, opening: Opening, scored: Sequence[Evaluated]) -> Path:
    from rgbt_tracker_ros.evaluation.report import ReportOptions, ReportRun, write_report
    seen = Illustrated(opening)
    runs = [ReportRun(done.run, done.results, seen, done.mode, done.figures, done.facts())
            for done in scored]
    title = f'{args.layout}, {args.root.resolve().name}'
    return write_report(runs, args.report, ReportOptions(title))
