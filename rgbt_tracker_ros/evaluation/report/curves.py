"""Charts as inline SVG: curves that can be read out, reliability diagram, bars and whiskers."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.report.markup import Markup, number, polyline, tag

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 36, 370, 10, 212
STYLES = 8


def style(run: int) -> str:
    """Return the classes for colour and dashes of a run; no two of the first 64 share both."""
    return f'c{run % STYLES} d{(run + run // STYLES) % STYLES}'


def key(run: int) -> Markup:
    """Return the sample of a run's line that stands before its name."""
    line = tag('line', x1=0, x2=26, y1=5, y2=5, class_='curve')
    return tag('svg', line, class_=f'key {style(run)}', viewBox='0 0 26 10', aria_hidden='true')


@dataclass(frozen=True)
class Curve:
    """One run's curve over the chart's thresholds; `score` is the figure of its legend."""

    run: int
    name: str
    values: NDArray[np.float64]
    score: float


@dataclass(frozen=True)
class Chart:
    """A chart of curves over common thresholds, values in [0, 1].

    `start`: index of the threshold that is read out at first. `label`: what the read-out calls a
    threshold, `{}` stands for it.
    """

    name: str
    title: str
    score: str
    x: NDArray[np.float64]
    axis: str
    label: str
    digits: int
    start: int
    curves: Sequence[Curve]
    note: str = ''
    marks: Sequence[float] = field(default=())

    def data(self) -> dict[str, Any]:
        """Return what the page's script reads out."""
        return {'x': self.x.tolist(), 'y': [c.values.tolist() for c in self.curves],
                'frame': [LEFT, RIGHT, TOP, BOTTOM], 'label': self.label, 'digits': self.digits,
                'start': self.start}


def chart(plot: Chart) -> Markup:
    """Draw curves with axes, rule and a legend sorted by score."""
    low, high = float(plot.x[0]), float(plot.x[-1])

    def at(x: float) -> float:
        return LEFT + (x - low) / (high - low) * (RIGHT - LEFT)

    curves, dots, rows = [], [], []
    order = sorted(range(len(plot.curves)), reverse=True,
                   key=lambda i: plot.curves[i].score if math.isfinite(plot.curves[i].score)
                   else -math.inf)
    for i in reversed(order):           # the best is drawn last, on top
        curve = plot.curves[i]
        points = [(at(float(x)), level(float(y))) for x, y in zip(plot.x, curve.values,
                                                                 strict=True)]
        curves.append(tag('path', tag('title', curve.name), d=polyline(points), data_run=curve.run,
                          class_=f'curve {style(curve.run)}'))
        dots.append(tag('circle', r=4.5, cx=at(float(plot.x[plot.start])), visibility='hidden',
                        class_=f'dot at-dot {style(curve.run)}', data_series=i,
                        data_run=curve.run))
    for i in order:
        curve = plot.curves[i]
        rows.append(tag(
            'li',
            tag('button', key(curve.run), tag('span', curve.name), type='button',
                aria_pressed='true', data_toggle=curve.run),
            tag('b', number(curve.score)),
            tag('span', number(float(curve.values[plot.start])), data_at=i,
                data_name=curve.name)))
    middle = at(float(plot.x[plot.start]))
    rule = tag('line', class_='rule', x1=middle, x2=middle, y1=TOP, y2=BOTTOM, visibility='hidden')
    marks = [tag('line', class_='ideal', x1=at(x), x2=at(x), y1=TOP, y2=BOTTOM)
             for x in plot.marks]
    best = plot.curves[order[0]]
    about = (f'{plot.title}, {len(order)} curves; best: {best.name}, {plot.score} '
             f'{number(best.score)}. Arrow keys read values out.')
    svg = tag('svg', grid(low, high, plot.axis), marks, rule, curves, dots, class_='plot',
              viewBox=f'0 0 {WIDTH} {HEIGHT}', data_plot=plot.name, role='img', tabindex=0,
              aria_label=about)
    hint = 'Tap a name to hide it' if len(order) > 1 else ''
    head = tag('li', tag('span', hint), tag('span', plot.score),
               tag('span', plot.label.replace('{}', number(float(plot.x[plot.start]),
                                                           plot.digits)), class_='at-x'),
               class_='head')
    return tag('figure', tag('h3', plot.title), svg, tag('ul', head, rows, class_='legend'),
               tag('p', class_='said skip', aria_live='polite'),
               plot.note and tag('figcaption', plot.note), class_='card')


def level(value: float) -> float:
    """Return the y coordinate of a value in [0, 1] of a chart."""
    return BOTTOM - value * (BOTTOM - TOP)


def grid(low: float, high: float, axis: str, steps: int = 5) -> Markup:
    """Return grid lines, axes and their numbers for x from low to high and y from 0 to 1."""
    parts: list[Markup] = []
    for k in range(6):
        y = level(k / 5)
        parts.append(tag('line', x1=LEFT, x2=RIGHT, y1=y, y2=y,
                         class_='gridline' if k else 'axis'))
        parts.append(tag('text', f'{k / 5:.1f}', x=LEFT - 6, y=y + 4, text_anchor='end'))
    for k in range(steps + 1):
        x = LEFT + k / steps * (RIGHT - LEFT)
        parts.append(tag('line', x1=x, x2=x, y1=TOP, y2=BOTTOM,
                         class_='gridline' if k else 'axis'))
        parts.append(tag('text', f'{low + k / steps * (high - low):g}', x=x, y=BOTTOM + 16,
                         text_anchor='middle'))
    parts.append(tag('text', axis, x=(LEFT + RIGHT) / 2, y=HEIGHT - 4, text_anchor='middle'))
    return tag('g', parts, aria_hidden='true')


def reliability_diagram(curves: Sequence[tuple[int, str, Sequence[tuple[float, float, int]]]],
                        scores: Sequence[tuple[int, str, float]]) -> Markup:
    """Draw how often a confidence was right.

    :param curves: (run, name, bins); a bin is (mean confidence, share right, frames), frames 0
        where it is empty.
    :param scores: (run, name, expected calibration error).
    """
    def at(x: float) -> float:
        return LEFT + x * (RIGHT - LEFT)

    parts: list[Markup] = [tag('line', class_='ideal', x1=LEFT, y1=BOTTOM, x2=RIGHT, y2=TOP)]
    for run, name, bins in curves:
        full = [(c, s, n) for c, s, n in bins if n > 0]
        largest = max((n for _, _, n in full), default=1)
        points = [(at(c), level(s)) for c, s, _ in full]
        discs = [tag('circle', tag('title', f'{name}: said {c:.2f}, right {s:.2f} ({n} frames)'),
                     class_='dot', cx=x, cy=y, r=2.5 + 5 * math.sqrt(n / largest))
                 for (x, y), (c, s, n) in zip(points, full, strict=True)]
        parts.append(tag('g', tag('path', d=polyline(points), class_='curve'), discs,
                         class_=style(run), data_run=run))
    rows = [tag('li', tag('button', key(run), tag('span', name), type='button',
                          aria_pressed='true', data_toggle=run), tag('span'),
                tag('b', number(ece)))
            for run, name, ece in sorted(scores, key=lambda s: (math.isnan(s[2]), s[2]))]
    hint = 'Tap a name to hide it' if len(scores) > 1 else ''
    head = tag('li', tag('span', hint), tag('span'), tag('span', 'ECE'),
               class_='head')
    best = min((e for _, _, e in scores if math.isfinite(e)), default=math.nan)
    svg = tag('svg', grid(0, 1, 'confidence that the tracker gave'), parts, role='img',
              class_='plot reliability', viewBox=f'0 0 {WIDTH} {HEIGHT}', style='cursor:default',
              aria_label=f'Reliability of the confidence; least calibration error {number(best)}')
    note = ('Share of frames with an overlap of at least 0.5, among those with this confidence; a '
            'tracker that knows itself runs along the dotted line, one below it boasts. Larger '
            'discs: more frames. ECE: expected calibration error, 0 is best.')
    return tag('figure', tag('h3', 'Reliability of the confidence'), svg,
               tag('ul', head, rows, class_='legend'), tag('figcaption', note), class_='card')
