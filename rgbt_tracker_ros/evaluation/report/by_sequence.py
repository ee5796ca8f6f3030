"""The section of single sequences: the table of all, and the course of each."""
from __future__ import annotations

from collections.abc import Sequence
import math
from typing import Any

import numpy as np

from rgbt_tracker_ros.evaluation.report import curves
from rgbt_tracker_ros.evaluation.report.entries import NAN, Entry, Floats, Measure, binned
from rgbt_tracker_ros.evaluation.report.markup import Markup, breakable, join, tag
from rgbt_tracker_ros.evaluation.report.small_charts import sparkline
from rgbt_tracker_ros.evaluation.report.tables import Column, search_field, select, table

SPARK_BINS, COURSE_BINS = 40, 160
LEVELS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+*'
"""Values 0 to 1 of a course, one character each; any other character stands for none."""


def sequences(entries: Sequence[Entry], measures: Sequence[Measure]) -> Markup:
    """Return the table of all sequences, with the course of the overlap."""
    names = list(dict.fromkeys(s.name for e in entries for s in e.scores))
    if not names:
        return Markup('')
    any_of = [next(e.by_name[n] for e in entries if n in e.by_name) for n in names]
    openers = [tag('button', breakable(n), type='button', class_='more', title=n,
                   aria_expanded='false', data_sequence=i) for i, n in enumerate(names)]
    shapes = [Column(f'IoU, {e.name}' if len(entries) > 1 else 'IoU over the frames',
                     [_spark(e, n) for n in names], sorts=False) for e in entries]
    columns = [Column('Sequence', openers, descending=False)]
    groups: list[tuple[str, str]] = []
    for measure in measures:
        values = [[measure.value(e.by_name[n]) if n in e.by_name else NAN for n in names]
                  for e in entries]
        if not any(math.isfinite(v) for row in values for v in row):
            continue
        groups.append((measure.key, measure.title))
        # one tracker: all figures beside each other; several: one figure at a time
        columns += compared_columns(entries, measure, values,
                                    measure.key if len(entries) > 1 else '')
    if len(entries) > 1:
        columns += shapes
    else:
        columns[2:2] = shapes
    columns.append(Column('Frames', [s.frames for s in any_of]))
    labels = [', '.join(s.attributes) for s in any_of]
    if any(labels):
        columns.append(Column('Attributes', labels, classes='left', sorts=False))
    tools = [search_field('by-sequence', 'Find')]
    if len(entries) > 1:
        tools.insert(0, select('by-sequence', 'Show', groups, 'SR'))
    caption = 'Tap a title to sort, a sequence for its course.' + (
        ' The best of each row is bold.' if len(entries) > 1 else '')
    return join(tag('h2', 'By sequence', id='sequences'), tag('div', tools, class_='tools'),
                table('by-sequence', caption, columns, group='SR' if len(entries) > 1 else '',
                      search=[f'{n} {a}' for n, a in zip(names, labels, strict=True)]))


def courses(entries: Sequence[Entry]) -> list[list[Any]]:
    """Return, for the page's script, the frames, overlaps and confidences of every sequence."""
    names = list(dict.fromkeys(s.name for e in entries for s in e.scores))
    found: list[list[Any]] = []
    for name in names:
        frames, overlaps, confidences = 0, [], []
        for entry in entries:
            scores = entry.by_name.get(name)
            if scores is None:
                overlaps.append('')
                confidences.append('')
                continue
            frames = max(frames, len(scores.iou))
            overlaps.append(encoded(scores.iou))
            result = entry.results.get(name)
            sure = entry.at_rows(name, result.confidences) if result is not None else None
            confidences.append('' if sure is None else encoded(sure))
        found.append([frames, overlaps, confidences])
    return found


def encoded(values: Floats) -> str:
    """Return values in [0, 1] as characters of `LEVELS`, at most `COURSE_BINS`; `.` for NaN."""
    part = binned(values, COURSE_BINS)
    levels = np.clip(np.nan_to_num(part), 0, 1) * (len(LEVELS) - 1)
    letters = np.array(list(LEVELS))[levels.round().astype(int)]
    return ''.join(np.where(np.isnan(part), '.', letters))


def compared_columns(entries: Sequence[Entry], measure: Measure, values: Sequence[Sequence[float]],
             group: str | None = None) -> list[Column]:
    """Return a column of a figure for every run, the best of each row bold."""
    table_of = np.array(values, np.float64)
    several = len(entries) > 1 and measure.episodes is None
    with np.errstate(all='ignore'):
        signed = np.where(np.isfinite(table_of), table_of * measure.better, -np.inf)
    best = signed.max(axis=0)
    columns = []
    for entry, row, marks in zip(entries, table_of, signed, strict=True):
        cells: list[object] = []
        for value, mark, top in zip(row, marks, best, strict=True):
            text = measure.text(float(value))
            cells.append(tag('b', text, class_='best') if several and mark == top > -np.inf
                         else text)
        title: object = join(curves.key(entry.index), entry.name) if len(entries) > 1 \
            else measure.title
        columns.append(Column(title, cells, descending=measure.better > 0,
                              values=[float(v) for v in row],
                              group=measure.key if group is None else group))
    return columns


def _spark(entry: Entry, name: str) -> Markup | str:
    scores = entry.by_name.get(name)
    if scores is None or not len(scores.iou):
        return ''
    return sparkline(binned(scores.iou, SPARK_BINS), entry.index, f'overlap, {entry.name}')
