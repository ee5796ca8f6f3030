"""Tables for the console: one tracker over its sequences, and several side by side."""
from __future__ import annotations

from collections.abc import Sequence

from rgbt_tracker_ros.evaluation.bootstrap import Interval, mean_interval, paired_difference
from rgbt_tracker_ros.evaluation.score_types import Run, Scores
from rgbt_tracker_ros.evaluation.summary import summarise

METRICS = ('PR', 'NPR', 'SR')


def scores_table(run: Run) -> str:
    """Return a line for each sequence and one for the mean: PR NPR SR fps.

    PR and SR are called MPR and MSR where they are the maximum over two truths.

    :raises ValueError: if there are no sequences.
    """
    mean = summarise(run.sequences)
    two = mean.two_truths
    rows = [[f'{run.tracker} ({run.convention})', 'MPR' if two else 'PR', 'NPR',
             'MSR' if two else 'SR', 'fps']]
    rows += [[s.name, *_figures(s)] for s in run.sequences]
    rows.append([f'mean of {len(run.sequences)}', *_figures(mean)])
    return _align(rows, rules=(1, len(rows) - 1))


def comparison_table(runs: Sequence[Run], samples: int = 10_000) -> str:
    """Return a line for each tracker over the sequences that all have, the best SR first.

    A mean of several has its 95 % bootstrap interval over sequences behind it; the last column is
    the difference in SR to the first tracker, on the same drawn sequences. An interval that holds
    0 says that the two can't be told apart.
    """
    shared = set.intersection(*({s.name for s in run.sequences} for run in runs))
    if not shared:
        return 'the trackers have no sequence in common: nothing to compare'
    parts = {r.tracker: [s for s in r.sequences if s.name in shared] for r in runs}
    means = {name: summarise(scores) for name, scores in parts.items()}
    order = sorted(parts, key=lambda name: -means[name].SR)
    title = f'{len(shared)} sequences, 95 % intervals' if len(shared) > 1 else '1 sequence'
    rows = [[title, *METRICS, 'fps', 'SR to the first']]
    for name in order:
        cells = [name]
        for metric in METRICS:
            cells.append(_interval(mean_interval(parts[name], metric, samples=samples), ''))
        cells.append(_fps(means[name]))
        d = paired_difference(parts[name], parts[order[0]], 'SR', samples=samples)
        cells.append('' if name == order[0] else _interval(d, '+'))
        rows.append(cells)
    return _align(rows, rules=(1,))


def _interval(found: Interval, sign: str) -> str:
    value, low, high = (f'{v:{sign}.3f}' for v in (found.value, found.low, found.high))
    return f'{value} [{low} {high}]' if found.sequences > 1 else value


def _figures(scores: Scores) -> list[str]:
    return [*(f'{getattr(scores, name):.3f}' for name in METRICS), _fps(scores)]


def _fps(scores: Scores) -> str:
    return '-' if scores.fps is None else f'{scores.fps:.1f}'


def _align(rows: list[list[str]], rules: tuple[int, ...] = ()) -> str:
    """Align columns, names left and figures right, with a rule before some rows."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        if number in rules:
            lines.append('-' * (sum(widths) + 2 * len(widths) - 2))
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines)
