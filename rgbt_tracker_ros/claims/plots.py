"""One picture for each recipe: its arms side by side, with intervals and every seed."""
from __future__ import annotations

from dataclasses import dataclass
import math
from pathlib import Path
from typing import Any

from rgbt_tracker_ros.claims.judge import Interval, Results, interval


@dataclass(frozen=True)
class Panel:
    """Rows of (label, arm, metric); `log`: of the axis."""

    title: str
    rows: tuple[tuple[str, str, str], ...]
    log: bool = False


def _arms(system: str, metric: str, **labels: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((label, f'{system}/{arm}', metric) for arm, label in labels.items())


def _tir(generator: str) -> tuple[tuple[str, str, str], ...]:
    return _arms('cmd_tir', 'sr', **{
        f'a_{generator}': f'A, {generator}', f'c_{generator}': f'C, {generator}',
        f'self_{generator}': f'no RGB, {generator}'})


def _steps(metric: str) -> tuple[tuple[str, str, str], ...]:
    return _arms('mutual_prompt', metric, teacher='teacher', distilled='student, distilled',
                 alone='student alone', distilled_early='distilled, 1/4 of the steps',
                 alone_early='alone, 1/4 of the steps')


_PROMPTS = {'teacher': 'mutual', 'teacher_none': 'no prompts', 'teacher_to_rgb': 'to RGB',
            'teacher_to_thermal': 'to thermal'}
_COUPLED = {'coupled': 'distilled, masked', 'masked': 'masked alone', 'style': 'style alone',
            'plain': 'neither', 'mce': 'pruned, one vote', 'ce': 'pruned, two votes',
            'zero': 'pruned, zeros', 'heads': 'pruned, head alone learns',
            'whole': 'second stage, not pruned'}
_SHALLOW = {'teacher': 'teacher', 'distilled': 'SCFD, MPSD, response', 'both': 'SCFD, MPSD',
            'scfd': 'SCFD', 'mpsd': 'MPSD', 'alone': 'student alone', 'uniform': 'uniform paths',
            'single': 'one path', 'common': 'without specific term'}
PLOTS: dict[str, tuple[Panel, ...]] = {
    'cmd_tir': (Panel('SR on thermal', (
        ('RGB weights', 'cmd_tir/rgb', 'thermal_sr'), *_tir('detector'), *_tir('random'),
        *_tir('center'), ('supervised', 'cmd_tir/supervised', 'sr'))),),
    'mutual_prompt': (
        Panel('PR', _steps('pr')), Panel('SR', _steps('sr')),
        Panel('PR of teachers, RGB degraded', _arms('mutual_prompt', 'pr_rgb_degraded',
                                                    **_PROMPTS))),
    'ckd': (Panel('SR', _arms('ckd', 'sr', **_COUPLED)),
            Panel('SR, RGB degraded', _arms('ckd', 'sr_rgb_degraded', **_COUPLED)),
            Panel('style gap by layer', tuple(
                (f'{label}, layer {i + 1}', f'ckd/{arm}', f'gap.{i}') for i in range(4)
                for arm, label in (('masked', 'masked alone'), ('coupled', 'distilled'))),
                  log=True)),
    'cmd_rgbt': (Panel('PR', _arms('cmd_rgbt', 'pr', **_SHALLOW)),
                 Panel('PR, RGB degraded', _arms('cmd_rgbt', 'pr_rgb_degraded', **_SHALLOW)),
                 Panel('PR, thermal degraded', _arms('cmd_rgbt', 'pr_thermal_degraded',
                                                     **_SHALLOW))),
    'shipped': tuple(Panel(f'{metric.upper()} over the suites', _arms(
        'shipped', metric, teacher='teacher', all='all', mutual_prompt='response (mutual_prompt)',
        cmd_rgbt='SCFD, MPSD (cmd_rgbt)', ckd='style (ckd)', cmd_tir='reliable (cmd_tir)',
        labels='labels alone')) for metric in ('sr', 'pr')),
    'adapt': tuple(
        Panel(title, tuple((label, 'adapt/distilled', f'{metric}{cameras}') for metric, label in (
            ('shipped', 'shipped'), ('distilled', 'distilled, no labels'),
            ('labelled', 'supervised')))) for title, cameras in (
                ('SR on the new cameras', ''), ('SR on the cameras of before', '_original'))),
}


_FRAME = ('teacher', 'supervised', 'RGB weights')  # what the others lie between


def plot(system: str, results: Results, path: Path) -> bool:
    """Draw the panels of a recipe that have results; False where none has.

    :raises ValueError: matplotlib is not installed. :raises OSError: it can't be written.
    """
    panels = [(p, rows) for p in PLOTS[system] if (rows := _found(p, results))]
    if not panels:
        return False
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError('the plots are drawn with matplotlib, which is not installed; '
                         'pip install matplotlib') from error
    most = max(len(rows) for _, rows in panels)
    figure = Figure(figsize=(4.3 * len(panels) + 0.4, 0.34 * most + 0.9), layout='constrained')
    FigureCanvasAgg(figure)
    for i, (panel, rows) in enumerate(panels):
        _draw(figure.add_subplot(1, len(panels), i + 1), panel, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={'Software': None})
    return True


def _found(panel: Panel, results: Results) -> list[tuple[str, Interval]]:
    out = []
    for label, arm, metric in panel.rows:
        values = [m[metric] for _, m in sorted(results.get(arm, {}).items()) if metric in m]
        if values:
            out.append((label, interval(values)))
    return out


def _draw(axes: Any, panel: Panel, rows: list[tuple[str, Interval]]) -> None:
    for row, (label, found) in enumerate(rows):
        color = '#8a6d3b' if label in _FRAME else '#1f4e8c'
        if not math.isnan(found.low):
            low = max(found.low, found.mean * 0.02) if panel.log else found.low
            axes.plot([low, found.high], [row, row], color=color, linewidth=6, alpha=0.25,
                      solid_capstyle='butt')
        axes.plot(found.values, [row] * len(found.values), 'o', color=color, markersize=3,
                  alpha=0.6)
        axes.plot([found.mean], [row], '|', color=color, markersize=14, markeredgewidth=2.2)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(panel.title, fontsize=9)
    axes.tick_params(axis='x', labelsize=8)
    axes.grid(True, axis='x', color='#e6e6e6', linewidth=0.6)
    axes.set_axisbelow(True)
    if panel.log:
        axes.set_xscale('log')
