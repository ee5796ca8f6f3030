"""Charts that stand in a line of text or a cell: bars, sparklines, dots, intervals."""
from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.report.curves import style
from rgbt_tracker_ros.evaluation.report.markup import Markup, number, tag


def meter(value: float, low: float, high: float, run: int, most: float = 1.0) -> Markup:
    """Return a bar from 0 to `most` with a whisker from low to high; empty without a value."""
    parts = [tag('rect', class_='track', x=0, y=4, width=300, height=4, rx=2)]
    if math.isfinite(value) and most > 0:
        scale = 300 / most
        parts.append(tag('rect', class_='bar', x=0, y=3, height=6, rx=2,
                         width=float(np.clip(value * scale, 0, 300))))
        if math.isfinite(low) and math.isfinite(high):
            left, right = (float(np.clip(v * scale, 0, 300)) for v in (low, high))
            parts.append(tag('path', d=f'M{left:.1f} 2v8M{left:.1f} 6H{right:.1f}M{right:.1f} 2v8',
                             class_='rule', fill='none', vector_effect='non-scaling-stroke'))
    return tag('svg', parts, viewBox='0 0 300 12', preserveAspectRatio='none', aria_hidden='true',
               class_=f'meter {style(run)}')


def sparkline(values: NDArray[np.float64], run: int, about: str) -> Markup:
    """Return values in [0, 1] as a small area chart; NaN leaves a gap."""
    width, high = 120, 26
    count = len(values)
    edges = (np.arange(count + 1) / max(count, 1) * width).round()
    shapes: list[str] = []
    start = -1
    for i in range(count + 1):
        there = i < count and math.isfinite(values[i])
        if there and start < 0:
            start = i
        if start >= 0 and not there:
            ys = [f'{1 + (1 - y) * (high - 2):.0f}' for y in values[start:i]]
            steps = ' '.join(f'{x:.0f} {y}' for x, y in zip(edges[start:i], ys, strict=True))
            shapes.append(f'M{edges[start]:.0f} {high - 1}L{steps}H{edges[i]:.0f}V{high - 1}z')
            start = -1
    base = tag('path', class_='base', d=f'M0 {high - 0.5}h{width}')
    return tag('svg', base, tag('path', class_='area', d=''.join(shapes)),
               class_=f'spark {style(run)}', viewBox=f'0 0 {width} {high}', role='img',
               aria_label=about)


def dot_plot(rows: Sequence[tuple[int, str, float]], low: float, high: float) -> Markup:
    """Return values of several runs, (run, name, value), as dots on one line from low to high."""
    width, middle = 220, 11
    parts = [tag('line', class_='gridline', x1=6, x2=width - 6, y1=middle, y2=middle)]
    for run, name, value in rows:
        if math.isfinite(value):
            x = 6 + (value - low) / ((high - low) or 1) * (width - 12)
            parts.append(tag('g', tag('title', f'{name}: {number(value)}'),
                             _marker(run, x, middle), data_run=run, class_=style(run)))
    about = ', '.join(f'{name} {number(value)}' for _, name, value in rows)
    return tag('svg', parts, class_='dots', viewBox=f'0 0 {width} 22', role='img',
               aria_label=about)


def forest(value: float, low: float, high: float, most: float, run: int) -> Markup:
    """Return a difference with its interval on a line from -most to most, zero in the middle."""
    width, middle = 200, 12

    def at(x: float) -> float:
        return width / 2 + float(np.clip(x / most, -1, 1)) * (width / 2 - 6) if most else width / 2

    parts = [tag('line', class_='gridline', x1=6, x2=width - 6, y1=middle, y2=middle),
             tag('line', class_='ideal', x1=width / 2, x2=width / 2, y1=1, y2=23)]
    if math.isfinite(value):
        if math.isfinite(low) and math.isfinite(high):
            parts.append(tag('line', class_='whisker', x1=at(low), x2=at(high), y1=middle,
                             y2=middle))
        parts.append(_marker(run, at(value), middle))
    return tag('svg', parts, class_=f'forest {style(run)}', viewBox=f'0 0 {width} 24', role='img',
               aria_label=f'{number(value)}, from {number(low)} to {number(high)}')


def _marker(run: int, x: float, y: float) -> Markup:
    """Return a disc, square, triangle or diamond: the colour is not all that tells runs apart."""
    kind = run % 4
    if kind == 0:
        return tag('circle', class_='dot', cx=x, cy=y, r=5.0)
    shape = {1: 'M-4.5-4.5h9v9h-9z', 2: 'M0-6 5.5 4.5h-11z', 3: 'M0-6.2 6 0 0 6.2-6 0z'}[kind]
    return tag('path', class_='dot', d=shape, transform=f'translate({x:.1f} {y:.1f})')
