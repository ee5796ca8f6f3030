"""What an adaptation brought, as a table and as a picture."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rgbt_tracker_ros.adaptation.judging import Verdict
from rgbt_tracker_ros.distillation import resume

MEASURES = {'tracking': 'tracking there and back, kept aside',
            'finding': 'finding in the next pair, kept aside', 'kept': 'made-up scenes'}
COLOURS = ('#d9480f', '#f08c3a', '#f7b780')
"""Of the new students, as many as are ever judged."""


def table(verdicts: Mapping[float, Verdict]) -> str:
    """Return the measures of each share of the way, a line each; figures are mean overlaps in
    points, gains with their 95 % intervals.
    """
    lines = [f'{"":38}{"old":>6}{"new":>7}   gain']
    for share, verdict in verdicts.items():
        lines.append(f'{share:.0%} of the way: '
                     + (f'better; by chance alone as much in {verdict.chance:.1%} of cases'
                        if verdict.better else f'refused: {verdict.reason}'))
        for name, text in MEASURES.items():
            d = getattr(verdict, name)
            lines.append(f'  {text:36}{d.old:6.1f}{d.new:7.1f}   {d.gain:+.1f} '
                         f'({d.low:+.1f} to {d.high:+.1f})')
    return '\n'.join(lines)


def draw(path: Path, verdicts: Mapping[float, Verdict], share: float | None) -> None:
    """Draw old and new side by side.

    :raises OSError: if it can't be written. :raises ValueError: more students than COLOURS.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4), dpi=110, layout='constrained')
    axes = figure.subplots()
    first = next(iter(verdicts.values()))
    bars = [('old student', [getattr(first, m).old for m in MEASURES], '#9aa5b1')]
    bars += [(f'new, {a:.0%} of the way{" (chosen)" if a == share else ""}',
              [getattr(v, m).new for m in MEASURES], colour)
             for (a, v), colour in zip(verdicts.items(), COLOURS[:len(verdicts)], strict=True)]
    width = 0.8 / len(bars)
    for number, (label, heights, colour) in enumerate(bars):
        places = [i + (number - (len(bars) - 1) / 2) * width for i in range(len(heights))]
        drawn = axes.bar(places, heights, width * 0.94, label=label, color=colour)
        axes.bar_label(drawn, fmt='%.1f', fontsize=8, padding=1)
    axes.set_xticks(range(len(MEASURES)), [t.replace(', ', ',\n') for t in MEASURES.values()])
    axes.set_ylabel('mean overlap, points')
    axes.set_ylim(0, 118)   # the legend lies above the bars
    axes.set_title('chosen' if share is not None else 'refused: the old student stays',
                   loc='left', fontsize=10)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(fontsize=8, loc='upper center', ncols=2, frameon=False)
    FigureCanvasAgg(figure)
    resume.replace(path, lambda part: figure.savefig(part, format='png'))
