"""Write the report: one HTML file with its style, script and pictures inside."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
import platform

import numpy as np

from rgbt_tracker_ros import __version__
from rgbt_tracker_ros.data.sinks import write_file
from rgbt_tracker_ros.evaluation.conventions import convention
from rgbt_tracker_ros.evaluation.report import by_sequence, comparison, losses, sections
from rgbt_tracker_ros.evaluation.report.curves import chart
from rgbt_tracker_ros.evaluation.report.entries import Entry, measures
from rgbt_tracker_ros.evaluation.report.markup import Markup, join, script_json, tag
from rgbt_tracker_ros.evaluation.report.run import ReportRun

NAME = 'index.html'


@dataclass(frozen=True)
class ReportOptions:
    """What is shown, and how much of it.

    `dataset`: its name, for the title. `failures`: how many get a filmstrip, the worst first.
    `picture_bytes`: most bytes of all pictures together; what does not fit is named without
    pictures. `day`: the date on it, ISO; today if empty.
    """

    dataset: str = ''
    failures: int = 12
    picture_bytes: int = 4_000_000
    day: str = ''


def write_report(runs: Sequence[ReportRun], path: Path | str,
                 options: ReportOptions | None = None) -> Path:
    """Write the report of one tracker, or of several on the same data.

    :param path: an .html file, or a folder, which then gets an `index.html`.
    :return: the file.
    :raises ValueError: without runs, if their conventions differ, or if two have the same name
        and mode.
    :raises SinkError: if it can't be written; an older one stays.
    :raises OSError: if its folder can't be made.
    """
    text = page(runs, options or ReportOptions())
    path = Path(path)
    if path.suffix.lower() not in ('.html', '.htm'):
        path = path / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text)
    return path


def page(runs: Sequence[ReportRun], options: ReportOptions) -> str:
    """Return the page; see `write_report`."""
    _check(runs)
    entries = [Entry(i, run) for i, run in enumerate(runs)]
    figures = measures(s for e in entries for s in e.scores)
    titles = {m.key: m.title for m in figures}
    charts = sections.plots(entries, figures)
    drawn = [join(chart(c)) for c in charts]
    diagram = sections.reliability(entries)
    scored = any(e.scores for e in entries)
    parts = [
        ('summary', 'Summary', join(
            tag('h2', 'Summary', id='summary'), _coverage(entries),
            sections.headline(entries, figures))),
        ('ways', 'Ways', comparison.ways(entries, figures)),
        ('curves', 'Curves', join(
            tag('h2', 'Curves', id='curves'),
            tag('p', 'Point at a curve, or use the arrow keys, to read it out.', class_='lead'),
            tag('div', drawn, diagram, class_='grid charts' if diagram else 'grid'))
            if scored else Markup('')),
        ('compared', 'Compared', comparison.section(entries, titles)),
        ('failures', 'Failures', losses.section(entries, options.failures,
                                                options.picture_bytes)),
        ('attributes', 'Attributes', sections.attributes(entries, figures)),
        ('sequences', 'Sequences', by_sequence.sequences(entries, figures)),
        ('speed', 'Speed', sections.speed(entries, figures)),
    ]
    parts = [p for p in parts if p[2]]
    data = {'plots': {c.name: c.data() for c in charts}, 'levels': by_sequence.LEVELS,
            'courses': by_sequence.courses(entries)}
    title = f'Tracker evaluation{f": {options.dataset}" if options.dataset else ""}'
    links = [tag('li', tag('a', name, href=f'#{key}')) for key, name, _ in parts]
    head = tag(
        'head', tag('meta', charset='utf-8'), tag('title', title),
        tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
        tag('meta', name='color-scheme', content='light dark'),
        tag('link', rel='icon', href='data:,'),
        tag('style', Markup(_asset('report.css'))))
    body = tag(
        'body', tag('a', 'Skip to the figures', href='#summary', class_='skip'),
        _header(entries, title, options),
        tag('nav', tag('ul', links), aria_label='Sections'),
        tag('main', [tag('section', content) for _, _, content in parts],
            tag('footer', _footer(entries))),
        tag('script', script_json(data), type='application/json', id='data'),
        tag('script', Markup(_asset('report.js'))))
    return f'<!doctype html>\n{tag("html", head, body, lang="en")}\n'


def _check(runs: Sequence[ReportRun]) -> None:
    if not runs:
        raise ValueError('a report needs at least one run; got none')
    conventions = sorted({r.scores.convention for r in runs})
    if len(conventions) > 1:
        raise ValueError(f'runs scored by the conventions {", ".join(conventions)} cannot be '
                         'compared; score all of them by one')
    labels = [r.label for r in runs]
    twice = sorted({name for name in labels if labels.count(name) > 1})
    if twice:
        raise ValueError(f'two runs are named {twice[0]!r}; give them names or modes of their own')


def _header(entries: Sequence[Entry], title: str, options: ReportOptions) -> Markup:
    rules = convention(entries[0].run.scores.convention)
    scores = [s for e in entries for s in e.scores]
    names = {s.name for s in scores}
    frames = {s.name: s.frames for s in scores}
    facts: dict[str, str] = {
        'Convention': rules.name, 'Sequences': f'{len(names):,}',
        'Frames': f'{sum(frames.values()):,}',
        'Trackers' if len(entries) > 1 else 'Tracker': ', '.join(e.name for e in entries),
        'Date': options.day or date.today().isoformat()}
    items = [tag('li', tag('b', f'{key} '), value) for key, value in facts.items()]
    return tag('header', tag('h1', title), tag('p', rules.about, class_='note'),
               tag('ul', items, class_='facts'), class_='top')


def _coverage(entries: Sequence[Entry]) -> Markup:
    """Return notes where the runs have few sequences, none, or not the same ones."""
    notes = [f'{e.name}: no sequence was scored.' for e in entries if not e.scores]
    fewest = min((len(e.scores) for e in entries if e.scores), default=comparison.FEWEST)
    if fewest < comparison.FEWEST:
        notes.append(f'So few sequences ({fewest}) say little about others: intervals drawn over '
                     'them are narrower than the truth is unsure.')
    sets = [set(e.by_name) for e in entries if e.scores]
    if sets and any(s != sets[0] for s in sets):
        common = len(set.intersection(*sets))
        counts = ', '.join(f'{e.name} {len(e.scores)}' for e in entries if e.scores)
        notes.append(f'The trackers were not scored on the same sequences ({counts}); {common} '
                     'are common to all. Means are over the sequences of each: compare with care, '
                     'or look at the paired comparison.')
    return join([tag('p', n, class_='lead bad') for n in notes])


def _footer(entries: Sequence[Entry]) -> Markup:
    given = [e.run.provenance for e in entries]
    same = {k: v for k, v in given[0].items() if len(given) > 1
            and all(facts.get(k) == v for facts in given)}
    own = [(e.name, {k: v for k, v in e.run.provenance.items() if k not in same})
           for e in entries]
    rows = [tag('tr', tag('th', name, scope='row'),
                tag('td', [tag('div', tag('b', f'{k}: '), v) for k, v in facts.items()],
                    class_='left wide'))
            for name, facts in [('all', same), *own] if facts]
    made = (f'Made with rgbt_tracker_ros {__version__}, Python {platform.python_version()}, '
            f'numpy {np.__version__}. Intervals: 95 %, bootstrap over sequences, fixed seed.')
    if not rows:
        return tag('p', made)
    return join(tag('h2', 'Where it came from', id='provenance'),
                tag('div', tag('table', tag('caption', tag('span', 'What was run')),
                               tag('tbody', rows)), class_='box', tabindex=0, role='region',
                    aria_label='What was run'), tag('p', made))


def _asset(name: str) -> str:
    folder = resources.files('rgbt_tracker_ros.evaluation.report')
    return (folder / name).read_text(encoding='utf-8')
