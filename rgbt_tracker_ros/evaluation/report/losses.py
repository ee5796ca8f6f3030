"""The section of failures: filmstrip and course of the worst, a table of all."""
from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np

from rgbt_tracker_ros.data.sequence import Unseen
from rgbt_tracker_ros.evaluation.report.curves import key, style
from rgbt_tracker_ros.evaluation.report.entries import Entry, Floats, binned
from rgbt_tracker_ros.evaluation.report.failures import (
    HELD_OVERLAP,
    LOST_OVERLAP,
    LOST_ROWS,
    Failure,
    find_failures,
    moments,
    worst,
)
from rgbt_tracker_ros.evaluation.report.filmstrip import Shot, strip
from rgbt_tracker_ros.evaluation.report.markup import Markup, breakable, join, polyline, tag
from rgbt_tracker_ros.evaluation.report.run import Recorded
from rgbt_tracker_ros.evaluation.report.tables import Column, table

_NONE = np.full(4, math.nan)
_BEFORE, _AFTER, _POINTS = 30, 30, 240
_LISTED = 300


def section(entries: Sequence[Entry], count: int, picture_bytes: int) -> Markup:
    """Return filmstrips of the `count` worst failures and a table of all of them.

    Pictures are left out once they have taken `picture_bytes`.
    """
    by_index = {e.index: e for e in entries}
    failures = [f for e in entries for i, s in enumerate(e.scores)
                for f in find_failures(s.iou, e.index, i)]
    rule = (f'A failure begins where the overlap falls below {LOST_OVERLAP:g} for at least '
            f'{LOST_ROWS} annotated frames and lasts until it is {HELD_OVERLAP:g} again. ')
    title = tag('h2', 'Failures', id='failures')
    if not any(len(s.iou) for e in entries for s in e.scores):
        return Markup('')
    if not failures:
        return join(title, tag('p', rule + 'There was none.', class_='lead'))
    cards, left, without = [], picture_bytes, 0
    for failure in worst(failures, count):
        entry = by_index[failure.run]
        card, used, pictures = _card(entry, failure, left)
        cards.append(card)
        left -= used
        without += not pictures
    keys = tag('p', tag('span', class_='swatch truth', style='margin-left:2px'), 'truth',
               tag('span', class_='swatch answer'), 'answer',
               tag('span', class_='swatch wrong'), 'answer with an overlap below a half. ',
               'Under the pictures: overlap (bold) and confidence (thin) over the frames, the '
               'failure shaded, \N{BLACK UP-POINTING TRIANGLE} the moments shown.', class_='note')
    note = '' if not without else (
        f'{without} of them have no pictures: the images were not there, or the room for pictures '
        'was used up. ')
    counts = ', '.join(f'{e.name} {sum(f.run == e.index for f in failures)}' for e in entries)
    return join(title, tag('p', rule, f'In all: {counts}. Below are the longest of each tracker. ',
                           note, class_='lead'),
                keys, cards, _all(by_index, failures))


def _card(entry: Entry, failure: Failure, room: int) -> tuple[Markup, int, bool]:
    """Return a failure's card, the bytes that its pictures took, and whether it has any."""
    scores = entry.scores[failure.sequence]
    recorded = entry.recorded(scores.name)
    shots = _shots(entry, failure, recorded, pictures=room > 0)
    film, used, problem = Markup(''), 0, ''
    if shots:
        film = strip(shots, scores.name)
        used = len(film)
        if used > room and any(s.pair is not None for s in shots):
            shots = _shots(entry, failure, recorded, pictures=False)
            film, used = strip(shots, scores.name), 0
        problem = next((s.problem for s in shots if s.problem), '')
    pictures = any(s.pair is not None for s in shots)
    frame = _frames(entry, failure, recorded)
    what = f'lost at frame {frame[0]}, ' + (
        f'held again at frame {frame[1]}' if failure.recovered else 'not held again')
    head = tag('h3', key(entry.index), entry.name, tag('small', ' on '), scores.name,
               tag('small', f' \N{MIDDLE DOT} {what} \N{MIDDLE DOT} {failure.rows} annotated '
                   'frames'))
    return (tag('article', head, film, problem and tag('p', f'No pictures: {problem}',
                                                       class_='note'),
                _course(entry, failure), class_='card loss'), used if pictures else 0, pictures)


def _shots(entry: Entry, failure: Failure, recorded: Recorded | None,
           pictures: bool) -> list[Shot]:
    scores = entry.scores[failure.sequence]
    result = entry.results.get(scores.name)
    if recorded is None or result is None:
        return []
    boxes = entry.at_rows(scores.name, result.boxes)
    sure = entry.at_rows(scores.name, result.confidences)
    shots = []
    for row in moments(failure, scores.iou):
        frame = int(recorded.annotated[row])
        pair, problem = None, ''
        if pictures and not isinstance(getattr(recorded, 'frames', None), Unseen):
            try:
                pair = recorded.pair(frame)
            except (ValueError, IndexError, OSError) as error:
                path = getattr(error, 'path', None)     # its folder is nobody else's business
                problem = str(error).replace(str(path), path.name) if path else str(error)
        thermal = recorded.truth_thermal
        shots.append(Shot(
            frame, recorded.truth[row], _NONE if thermal is None else thermal[row],
            _NONE if boxes is None else boxes[row], float(scores.iou[row]),
            math.nan if sure is None else float(sure[row]), pair, problem))
    return shots


def _frames(entry: Entry, failure: Failure, recorded: Recorded | None) -> tuple[int, int]:
    """Return the frames at which it began and ended; rows where the frames are not known."""
    stop = min(failure.stop, len(entry.scores[failure.sequence].iou) - 1)
    if recorded is None:
        return failure.start, stop
    return int(recorded.annotated[failure.start]), int(recorded.annotated[stop])


def _course(entry: Entry, failure: Failure) -> Markup:
    """Return overlap and confidence around the failure, the failure shaded."""
    scores = entry.scores[failure.sequence]
    result = entry.results.get(scores.name)
    sure = entry.at_rows(scores.name, result.confidences) if result is not None else None
    first = max(0, failure.start - _BEFORE)
    last = min(len(scores.iou), failure.stop + _AFTER)
    width, high, left, right, top, bottom = 560, 118, 34, 556, 6, 84

    def at(row: float) -> float:
        return left + (row - first) / max(last - first, 1) * (right - left)

    def line(values: Floats) -> str:
        part = binned(values[first:last], _POINTS)
        step = (last - first) / len(part)
        return polyline([(at(first + (i + 0.5) * step), bottom - float(v) * (bottom - top))
                         for i, v in enumerate(part)])

    parts = [tag('rect', x=at(failure.start), y=top, width=at(failure.stop) - at(failure.start),
                 height=bottom - top, class_='shade')]
    for level in (0.0, 0.5, 1.0):
        y = bottom - level * (bottom - top)
        parts += [tag('line', x1=left, x2=right, y1=y, y2=y, class_='gridline'),
                  tag('text', f'{level:g}', x=left - 5, y=y + 4, text_anchor='end')]
    if sure is not None:
        parts.append(tag('path', d=line(sure), class_='confidence'))
    parts.append(tag('path', d=line(scores.iou), class_=f'curve {style(entry.index)}',
                     style='stroke-dasharray:none'))
    for row in (r for r in moments(failure, scores.iou) if first <= r < last):
        parts.append(tag('path', d=f'M{at(row + 0.5):.1f} {bottom}l-4 8h8z', class_='tick'))
    recorded = entry.recorded(scores.name)
    for row, x, anchor in ((first, left, 'start'), (last - 1, right, 'end')):
        frame = row if recorded is None else int(recorded.annotated[row])
        parts.append(tag('text', f'frame {frame}', x=x, y=high - 2, text_anchor=anchor))
    return tag('svg', parts, viewBox=f'0 0 {width} {high}', class_='around', role='img',
               aria_label='Overlap and confidence around the failure')


def _all(entries: dict[int, Entry], failures: Sequence[Failure]) -> Markup:
    listed = sorted(failures, key=lambda f: -f.rows)[:_LISTED]
    scores = [entries[f.run].scores[f.sequence] for f in listed]
    frames = [_frames(entries[f.run], f, entries[f.run].recorded(s.name))
              for f, s in zip(listed, scores, strict=True)]
    columns = [
        Column('Sequence', [breakable(s.name) for s in scores], descending=False),
        Column('Tracker', [join(key(f.run), entries[f.run].name) for f in listed],
               classes='left', descending=False),
        Column('Lost at frame', [a for a, _ in frames]),
        Column('Held again at', [b if f.recovered else None
                                 for f, (_, b) in zip(listed, frames, strict=True)]),
        Column('Annotated frames', [f.rows for f in listed])]
    some = f'The {_LISTED} longest of {len(failures)}.' if len(failures) > _LISTED else \
        f'All {len(failures)}.'
    return tag('details', tag('summary', 'All failures as a table'),
               table('all-failures', some, columns))


