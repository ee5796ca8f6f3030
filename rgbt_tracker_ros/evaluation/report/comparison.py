"""Trackers side by side: paired differences, wins and losses, and ways of running one."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
import math
from typing import Any

from rgbt_tracker_ros.evaluation.bootstrap import Interval
from rgbt_tracker_ros.evaluation.report.curves import key
from rgbt_tracker_ros.evaluation.report.entries import Entry, Measure, run_in_modes
from rgbt_tracker_ros.evaluation.report.markup import Markup, breakable, join, number, tag
from rgbt_tracker_ros.evaluation.report.run import Figure
from rgbt_tracker_ros.evaluation.report.small_charts import forest
from rgbt_tracker_ros.evaluation.report.tables import Column, figure, table
from rgbt_tracker_ros.evaluation.scores import paired_difference

TIE = 0.005
"""Two successes on a sequence that differ by no more count as a tie."""
FEWEST = 6
"""With fewer sequences, winning all of them is not sure at 95 % either (sign test: 2 / 2^5)."""
MOST_PAIRS = 28
_SHOWN = 5


@dataclass(frozen=True)
class Duel:
    """Two runs on the sequences that both have: `one` minus `other`, by metric."""

    one: Entry
    other: Entry
    differences: dict[str, Interval]
    by_sequence: list[tuple[float, str]]

    @property
    def record(self) -> tuple[int, int, int]:
        """Sequences won, tied and lost in success."""
        steps = [d for d, _ in self.by_sequence]
        won, lost = sum(d > TIE for d in steps), sum(d < -TIE for d in steps)
        return won, len(steps) - won - lost, lost

    @property
    def verdict(self) -> str:
        """What the interval of the difference in success says."""
        d = self.differences['SR']
        if d.sequences < FEWEST:
            return 'too few sequences to say'
        if d.low <= 0 <= d.high:
            return 'cannot be told apart'
        return f'{(self.one if d.value > 0 else self.other).name} is better'


def duels(entries: Sequence[Entry]) -> list[Duel]:
    """Compare every run with every other, the better one first."""
    found = []
    for a, b in combinations([e for e in entries if e.scores], 2):
        names = [s.name for s in a.scores if s.name in b.by_name]
        if not names:
            continue
        mine = [a.by_name[n] for n in names], [b.by_name[n] for n in names]
        if sum(s.SR for s in mine[1]) > sum(s.SR for s in mine[0]):
            a, b, mine = b, a, (mine[1], mine[0])
        steps = sorted((x.SR - y.SR, x.name) for x, y in zip(*mine, strict=True))
        found.append(Duel(a, b, {m: paired_difference(*mine, m) for m in ('SR', 'PR', 'NPR')},
                          steps))
        if len(found) == MOST_PAIRS:
            break
    return found


def section(entries: Sequence[Entry], titles: dict[str, str]) -> Markup:
    """Return the table of paired differences and where they come from; empty for one run."""
    found = duels(entries)
    if not found:
        return Markup('')
    most = max((max(abs(d.differences['SR'].low), abs(d.differences['SR'].high))
                for d in found), default=0.0) or 0.01
    columns = [
        Column('Pair', [_pair(d) for d in found], sorts=False),
        Column(f'{titles["SR"]} difference', [_difference(d.differences['SR']) for d in found],
               values=[d.differences['SR'].value for d in found]),
        Column(f'95 % interval, ±{most:.2f}',
               [forest(d.differences['SR'].value, d.differences['SR'].low,
                       d.differences['SR'].high, most, d.one.index) for d in found], sorts=False),
        Column('Verdict', [d.verdict for d in found], classes='left'),
        Column('Won / tied / lost', [' / '.join(map(str, d.record)) for d in found],
               values=[float(d.record[0] - d.record[2]) for d in found]),
        *(Column(f'{titles[m]} difference', [_difference(d.differences[m]) for d in found],
                 values=[d.differences[m].value for d in found]) for m in ('PR', 'NPR'))]
    caption = ('The first of a pair minus the second, on the sequences that both were scored on. '
               'The interval is drawn over sequences (paired bootstrap): where it holds 0, the '
               'two cannot be told apart on this data. Sequences whose success differs by at most '
               f'{TIE:g} are tied.')
    return join(tag('h2', 'Compared', id='compared'), table('pairs', caption, columns),
                tag('div', [_extremes(d, titles['SR']) for d in found[:6]],
                    class_='grid cards duels'))


def ways(entries: Sequence[Entry], measures: Sequence[Measure]) -> Markup:
    """Return a table for each tracker that was run in several modes; empty without one.

    The first mode is what the others are measured by: each has its difference beside it.
    """
    parts: list[Markup] = []
    for n, (tracker, group) in enumerate(run_in_modes(entries).items()):
        rows: list[tuple[str, list[object]]] = []
        for m in measures:
            values: list[Figure] = [e.value(m) for e in group]
            if any(_is_number(v) for v in values):
                rows.append((m.title, _beside(values, m.text)))
        for name in dict.fromkeys(k for e in group for k in e.run.figures):
            rows.append((name, _beside([e.run.figures.get(name) for e in group], figure)))
        columns = [Column('Figure', [title for title, _ in rows], sorts=False)]
        columns += [Column(e.run.mode, [cells[i] for _, cells in rows], sorts=False)
                    for i, e in enumerate(group)]
        text = (f'{tracker} on the same recordings. In small: the difference to '
                f'{group[0].run.mode}.')
        parts.append(table(f'ways{n}', text, columns))
    if not parts:
        return Markup('')
    return join(tag('h2', 'Ways of running it', id='ways'),
                tag('p', 'What is lost, or not, when the tracker runs live: images that came too '
                    'late, pairs that were dropped, answers that were old.', class_='lead'), parts)


def _beside(values: Sequence[Figure], text: Callable[[Any], object]) -> list[object]:
    """Return the texts of a figure in each mode, with the difference to the first under it."""
    first, cells = values[0], []
    for i, value in enumerate(values):
        cell = text(value)
        if i and _is_number(first) and _is_number(value):
            step = value - first            # type: ignore[operator]
            cell = join(tag('span', cell), tag('span', _signed(step, str(text(step))),
                                               class_='note under'))
        cells.append(cell)
    return cells


def _is_number(value: Figure) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _pair(duel: Duel) -> Markup:
    return join(tag('span', key(duel.one.index), tag('span', duel.one.name), class_='pair'),
                tag('span', key(duel.other.index),
                    tag('span', tag('span', 'against ', class_='note'), duel.other.name),
                    class_='pair'))


def _difference(interval: Interval) -> Markup:
    sure = interval.sequences >= FEWEST and not interval.low <= 0 <= interval.high
    text = f'{"+" if interval.value > 0 else ""}{number(interval.value)}'
    if interval.sequences < 2:
        return tag('span', text)
    return join(tag('b' if sure else 'span', text), tag(
        'span', f'[{number(interval.low)}, {number(interval.high)}]', class_='note under'))


def _extremes(duel: Duel, title: str) -> Markup:
    steps = duel.by_sequence
    best = [s for s in reversed(steps) if s[0] > TIE][:_SHOWN]
    least = [s for s in steps if s[0] < -TIE][:_SHOWN]

    def listed(items: Sequence[tuple[float, str]], sign: str) -> Markup:
        if not items:
            return tag('p', 'none', class_='hint')
        return tag('ul', [tag('li', tag('b', f'{sign}{number(abs(d))}'),
                              tag('span', breakable(name))) for d, name in items],
                   class_='plain')

    return tag('section', tag('h3', duel.one.name, tag('small', ' against '), duel.other.name),
               bars(duel),
               tag('div', tag('div', tag('p', f'{title} most ahead', class_='hint'),
                              listed(best, '+')),
                   tag('div', tag('p', f'{title} most behind', class_='hint'),
                       listed(least, '\N{MINUS SIGN}')), class_='versus'), class_='card')


def bars(duel: Duel) -> Markup:
    """Return the differences by sequence, sorted, as one area around zero."""
    steps = [d for d, _ in reversed(duel.by_sequence)]
    width, middle, high = 320.0, 46.0, 32.0      # the numbers stand above and below the bars
    most = max(map(abs, steps), default=0.0)
    parts = []
    for entry, positive in ((duel.one, True), (duel.other, False)):
        path = ''.join(
            f'M{i / len(steps) * width:.1f} {middle:g}v{-d / most * high:.1f}'
            f'h{max(width / len(steps) - 0.3, 0.4):.1f}V{middle:g}z'
            for i, d in enumerate(steps) if (d > 0) == positive and d)
        parts.append(tag('path', d=path, class_=f'bar c{entry.index % 8}'))
    won, tied, lost = duel.record
    parts.append(tag('line', x1=0, x2=width, y1=middle, y2=middle, class_='axis'))
    if most:
        parts += [tag('text', f'+{most:.2f}', x=width, y=10, text_anchor='end'),
                  tag('text', f'\N{MINUS SIGN}{most:.2f}', x=0, y=2 * middle - 2)]
    return tag('svg', parts, viewBox=f'0 0 {width:g} {2 * middle:g}', class_='duel', role='img',
               aria_label=f'Difference in success by sequence, sorted: {won} won, {tied} tied, '
               f'{lost} lost')


def _signed(step: float, text: str) -> str:
    """Return the text of a difference, a plus before it where it is above zero."""
    return f'+{text}' if step > 0 and any(c in '123456789' for c in text) else text
