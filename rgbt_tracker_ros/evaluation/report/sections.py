"""The sections of the page over all sequences: headline, curves, attributes, speed."""
from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np

from rgbt_tracker_ros.evaluation.conventions import convention
from rgbt_tracker_ros.evaluation.report import curves
from rgbt_tracker_ros.evaluation.report.by_sequence import compared_columns
from rgbt_tracker_ros.evaluation.report.entries import NAN, Entry, Measure, run_in_modes
from rgbt_tracker_ros.evaluation.report.markup import Markup, join, number, tag
from rgbt_tracker_ros.evaluation.report.small_charts import dot_plot, meter
from rgbt_tracker_ros.evaluation.report.tables import (
    Column,
    figure,
    select,
    table,
)
from rgbt_tracker_ros.evaluation.scores import by_attribute

BENCHMARK = ('SR', 'PR', 'NPR')
CARDS = (*BENCHMARK, 'tracked', 'holds', 'declare', 'reacquire', 'ECE', 'fps')
_LATENCIES = (('median', 50), ('95 %', 95), ('99 %', 99), ('longest', 100))


def headline(entries: Sequence[Entry], measures: Sequence[Measure]) -> Markup:
    """Return a card for each figure: every run's value, its interval and a bar."""
    cards = []
    for measure in measures:
        values = [e.value(measure) for e in entries]
        if measure.key not in CARDS or not any(map(math.isfinite, values)):
            continue
        spans = [e.interval(measure) for e in entries]
        any_span = any(math.isfinite(low) for low, _ in spans)
        finite = [v for v in values if math.isfinite(v)]
        best = max(finite) if measure.better > 0 else min(finite)
        most = measure.most or max([*finite, *(h for _, h in spans if math.isfinite(h))]) or 1.0
        # a bar that is measured by itself says nothing
        bare = len(entries) == 1 and not measure.most
        rows = []
        for entry, value, (low, high) in zip(entries, values, spans, strict=True):
            text = '' if not math.isfinite(low) else \
                f'{measure.text(low, unit=False)} \N{EN DASH} {measure.text(high)}'
            span = any_span and tag('span', text, class_='range',
                                    title='95 % interval, bootstrap over sequences')
            first = len(finite) > 1 and value == best and measure.episodes is None
            rows.append(tag(
                'div',
                tag('span', curves.key(entry.index),
                    tag('span', entry.name, _ended(entry, measure)), class_='name'),
                tag('span', measure.text(value), class_='value'), span,
                not bare and meter(value, low, high, entry.index, most),
                class_='score' + ' first' * first + ' spans' * any_span,
                data_metric=measure.key))
        arrow = 'more is better' if measure.better > 0 else 'less is better'
        title = tag('h3', measure.title, tag('small', f' \N{MIDDLE DOT} {arrow}'))
        cards.append(tag('section', title,
                         tag('p', measure.about, class_='hint'), rows, class_='card'))
    return tag('div', cards, class_='grid cards')


def plots(entries: Sequence[Entry], measures: Sequence[Measure]) -> list[curves.Chart]:
    """Return the charts of precision, normalised precision and success."""
    shown = [(e, e.summary) for e in entries if e.summary is not None]
    if not shown:
        return []
    rules = convention(shown[0][0].run.scores.convention)
    titles = {m.key: m.title for m in measures}
    near = 'nearer than' if rules.center_strict else 'within'
    limit = float(rules.center_thresholds[rules.center_at])
    npr = 'the mean of the curve' if rules.normalised_area else 'the curve at 0.2'

    def lines(field: str, score: str) -> list[curves.Curve]:
        return [curves.Curve(e.index, e.name, getattr(s, field), getattr(s, score))
                for e, s in shown]

    return [
        curves.Chart('success', 'Success', titles['SR'], rules.overlap_thresholds,
                     'overlap (IoU)', 'above {}', 2, len(rules.overlap_thresholds) // 2,
                     lines('success_curve', 'SR'), 'Frames with an overlap above a threshold; '
                     f'{titles["SR"]} is the area under the curve.'),
        curves.Chart('precision', 'Precision', titles['PR'], rules.center_thresholds,
                     'distance of the centres, px', f'{near} {{}} px',
                     1 if rules.center_thresholds[1] < 1 else 0, rules.center_at,
                     lines('precision_curve', 'PR'), f'Frames whose centre is {near} so many '
                     f'pixels; {titles["PR"]} is the curve at {limit:g} px.', (limit,)),
        curves.Chart('normalised', 'Normalised precision', titles['NPR'],
                     rules.normalised_thresholds, 'distance of the centres, sizes of the target',
                     'within {}', 2, 20, lines('normalised_precision_curve', 'NPR'),
                     f'The same in sizes of the target; {titles["NPR"]} is {npr}.',
                     () if rules.normalised_area else (0.2,))]


def reliability(entries: Sequence[Entry]) -> Markup:
    """Return the reliability diagram; empty where no run gave confidences."""
    found = [(e, c) for e in entries if e.summary is not None
             and (c := e.summary.robot.calibration) is not None and c.count.sum() > 0]
    if not found:
        return Markup('')
    bins = [(e.index, e.name, [(float(p), float(g), int(n)) for p, g, n in
                               zip(c.confidence, c.good, c.count, strict=True)])
            for e, c in found]
    return curves.reliability_diagram(
        bins, [(e.index, e.name, c.expected_error) for e, c in found])


def attributes(entries: Sequence[Entry], measures: Sequence[Measure]) -> Markup:
    """Return the table and chart by attribute; empty where no sequence carries any."""
    found = {e.index: by_attribute(e.scores) for e in entries}
    names = list(dict.fromkeys(a for group in found.values() for a in group))
    if not names:
        return Markup('')
    chosen = [m for m in measures if m.key in (*BENCHMARK, 'tracked', 'holds')]
    counts = [max(g[a].sequences for g in found.values() if a in g) for a in names]
    columns = [Column('Attribute', names, descending=False),
               Column('Sequences', counts)]
    for measure in chosen:
        values = [[measure.value(found[e.index][a]) if a in found[e.index] else NAN
                   for a in names] for e in entries]
        finite = [v for row in values for v in row if math.isfinite(v)]
        if not finite:
            continue
        low, high = _scale(finite, measure)
        dots = [dot_plot([(e.index, e.name, row[i]) for e, row in
                                 zip(entries, values, strict=True)], low, high)
                for i in range(len(names))]
        columns.append(Column(f'{measure.text(low)} to {measure.text(high)}', dots, sorts=False,
                              group=measure.key))
        columns += compared_columns(entries, measure, values)
    groups = [(m.key, m.title) for m in chosen if any(c.group == m.key for c in columns)]
    caption = 'Means over the sequences that carry an attribute; a sequence can carry several.' + (
        ' The best of each row is bold.' if len(entries) > 1 else '')
    return join(tag('h2', 'By attribute', id='attributes'),
                tag('div', select('by-attribute', 'Show', groups, 'SR'), class_='tools'),
                table('by-attribute', caption, columns, group='SR'))


def speed(entries: Sequence[Entry], measures: Sequence[Measure]) -> Markup:
    """Return the table of speed, and of key figures that came with the runs."""
    fps = next(m for m in measures if m.key == 'fps')
    rows: list[tuple[str, list[object]]] = []
    if any(math.isfinite(e.value(fps)) for e in entries):
        rows.append((fps.title, [number(e.value(fps), 1) for e in entries]))
    if any(len(e.milliseconds) for e in entries):
        for name, share in _LATENCIES:
            spent = [float(np.percentile(e.milliseconds, share)) if len(e.milliseconds) else NAN
                     for e in entries]
            rows.append((f'Time per frame, ms, {name}', [number(ms, 1) for ms in spent]))
    side_by_side = [e for group in run_in_modes(entries).values() for e in group]
    others = [e for e in entries if e not in side_by_side]     # shown there already
    for name in dict.fromkeys(k for e in others for k in e.run.figures):
        rows.append((name, [figure(e.run.figures.get(name)) for e in entries]))
    if not rows:
        return Markup('')
    columns = [Column('Figure', [r[0] for r in rows], sorts=False)]
    columns += [Column(join(curves.key(e.index), e.name), [r[1][i] for r in rows], sorts=False)
                for i, e in enumerate(entries)]
    return join(tag('h2', 'Speed and key figures', id='speed'),
                table('speed-table', "The tracker's own time, without reading images and without "
                      "each sequence's first frame; other figures as they came with the run.",
                      columns))


def _ended(entry: Entry, measure: Measure) -> Markup | None:
    """Return how many of the episodes behind a median time ended, of how many."""
    if measure.episodes is None or entry.summary is None:
        return None
    episodes = measure.episodes(entry.summary)
    return tag('small', f' {sum(e.closed for e in episodes)} of {len(episodes)}', class_='note')


def _scale(values: Sequence[float], measure: Measure) -> tuple[float, float]:
    """Return round ends of a scale around values."""
    low, high = min(values), max(values)
    step = 0.1 if high - low > 0.15 else 0.05
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return (max(low, 0.0), high) if high > low else (max(low - step, 0.0), high + step)
