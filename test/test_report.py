"""The report as a file: what is in it, what it must survive, and how large it may be."""
from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
import json
import math
import re

import numpy as np
import pytest
from report_kit import SKILLS, Recording, answers, bare, recordings, run

from rgbt_tracker_ros.evaluation.report import ReportOptions, ReportRun, write_report
from rgbt_tracker_ros.evaluation.report.by_sequence import LEVELS, encoded
from rgbt_tracker_ros.evaluation.report.comparison import duels
from rgbt_tracker_ros.evaluation.report.curves import style
from rgbt_tracker_ros.evaluation.report.entries import Entry, binned, measures
from rgbt_tracker_ros.evaluation.report.failures import (
    Failure,
    find_failures,
    moments,
    worst,
)
from rgbt_tracker_ros.evaluation.report.filmstrip import Shot, cut, windows
from rgbt_tracker_ros.evaluation.report.markup import (
    DASH,
    breakable,
    coordinate,
    number,
    polyline,
    script_json,
    tag,
)
from rgbt_tracker_ros.evaluation.report.small_charts import sparkline
from rgbt_tracker_ros.evaluation.scores import Run, SequenceResult, score_sequence

NAN = math.nan
VOID = {'meta', 'link', 'input', 'br', 'wbr'}
SECTIONS = {'summary', 'ways', 'curves', 'compared', 'failures', 'attributes', 'sequences',
            'speed'}


class Page(HTMLParser):
    """A page that was read: its elements, ids, texts, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.elements, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, text):
        self.text.append(text)

    def all(self, name):
        return [attributes for n, attributes in self.elements if n == name]

    @property
    def ids(self):
        return [a['id'] for _, a in self.elements if 'id' in a]


def read(runs, tmp_path, **options) -> tuple[Page, str]:
    path = write_report(runs, tmp_path / 'report.html', ReportOptions(**options))
    text = path.read_text(encoding='utf-8')
    return Page(text), text


@pytest.fixture(scope='module')
def dataset():
    return recordings(8)


@pytest.fixture(scope='module')
def runs(dataset):
    return [run('student', dataset, mode='offline', figures={'Dropped pairs': 0},
                provenance={'device': 'cpu'}),
            run('student', dataset, seed=1, mode='through ROS',
                figures={'Dropped pairs': 37, 'Age of an answer, ms': 21.5}),
            run('CSRT', dataset), run('KCF', dataset)]


# --- the whole page

def test_page_is_one_whole_file(runs, tmp_path):
    page, text = read(runs, tmp_path, dataset='harbour', day='2026-01-31')
    assert text.startswith('<!doctype html>')
    assert set(page.ids) >= SECTIONS and len(page.ids) == len(set(page.ids))
    assert 'Tracker evaluation: harbour' in page.text and '2026-01-31' in page.text
    # nothing is loaded from anywhere
    loaded = [a[k] for _, a in page.elements for k in ('src', 'href', 'xlink:href') if k in a]
    assert all(link.startswith(('data:', '#')) for link in loaded)
    assert not re.search(r'url\(|@import|https?://(?!www\.w3\.org)', text)
    assert {a['href'][1:] for a in page.all('a')} <= set(page.ids)


def test_page_is_accessible(runs, tmp_path):
    page, text = read(runs, tmp_path)
    assert page.all('html')[0]['lang'] == 'en' and len(page.all('h1')) == 1
    assert any(a.get('name') == 'viewport' for a in page.all('meta'))
    assert text.count('<table') == text.count('<caption')
    for a in page.all('svg'):
        assert a.get('aria-hidden') == 'true' or (a.get('role') == 'img' and a['aria-label'])
    levels = [int(n[1]) for n, _ in page.elements if n in ('h1', 'h2', 'h3', 'h4')]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(a.get('scope') for a in page.all('th'))


def test_page_shows_the_figures_of_the_scores(runs, tmp_path):
    page, _ = read(runs, tmp_path)
    shown = set(page.text)
    for r in runs:
        entry = Entry(0, r)
        for measure in measures(entry.scores)[:3]:
            low, high = entry.interval(measure)
            assert low < entry.value(measure) < high
            assert f'{entry.value(measure):.3f}' in shown
            assert f'{low:.3f} {DASH} {high:.3f}' in shown
    assert '+37' in shown       # dropped pairs, through ROS against offline
    assert '21.5' in shown


def test_pictures_are_in_the_page_and_are_bounded(runs, tmp_path):
    page, text = read(runs, tmp_path, failures=4)
    images = [a['href'] for a in page.all('image')]
    assert 4 * 4 <= len(images) <= 4 * 5 * 2
    assert all(i.startswith('data:image/jpeg;base64,') for i in images)
    assert text.count('class="card loss"') == 4
    few, _ = read(runs, tmp_path, failures=4, picture_bytes=120_000)
    assert 0 < sum(len(a['href']) for a in few.all('image')) <= 120_000
    none, _ = read(runs, tmp_path, failures=4, picture_bytes=0)
    assert not none.all('image')
    assert any('4 of them have no pictures' in t for t in none.text)
    assert not read(runs, tmp_path, failures=0)[0].all('image')


def test_size_of_a_benchmark(tmp_path):
    """245 sequences and 3 trackers stay small enough to be sent by mail."""
    data = recordings(245, frames=(60, 90))
    path = write_report([run(name, data) for name in SKILLS], tmp_path)
    assert path == tmp_path / 'index.html'
    assert path.stat().st_size < 3_000_000


# --- what it must survive

@pytest.mark.parametrize('make, missing', [
    (lambda d: [run('student', d)], {'compared', 'ways'}),
    (lambda d: [run('student', dict([*d.items()][:1]))], {'compared', 'ways'}),
    (lambda d: [bare('a', d), bare('b', recordings(3))], {'ways', 'speed'}),
    (lambda d: [ReportRun(run('student', d).scores)], {'compared', 'ways'}),
    (lambda d: [ReportRun(Run('nothing', 'plain', ()))],
     {'ways', 'curves', 'compared', 'failures', 'attributes', 'sequences', 'speed'}),
    (lambda d: [run('student', d), ReportRun(Run('nothing', 'plain', ()))], {'ways', 'compared'}),
    (lambda d: [run('student', d, convention='lasher'), run('KCF', d, convention='lasher')],
     {'ways'}),
], ids=['one tracker', 'one sequence', 'boxes only', 'scores only', 'empty', 'one empty',
        'lasher'])
def test_page_of_little(make, missing, tmp_path, dataset):
    made = make(dataset)
    page, text = read(made, tmp_path)
    assert SECTIONS - set(page.ids) == missing
    assert not re.search(r'\b(nan|NaN|inf|None)\b', ' '.join(page.text[:-2]))
    assert all('nan' not in v and 'inf' not in v for n, a in page.elements
               for k, v in a.items() if k in ('d', 'x', 'y', 'cx', 'cy', 'width', 'points'))
    curves = sum(len(r.scores.sequences) > 0 for r in made) * 3
    assert text.count('class="plot"') == (3 if curves else 0)
    assert len(re.findall(r'<path d="M[^"]+L[^"]+" data-run="\d+" class="curve', text)) == curves


def test_sequences_without_frames_and_with_odd_values(tmp_path, dataset):
    whole = run('student', dataset)
    odd = [replace(s, iou=np.zeros(0), center_error=np.zeros(0), fps=None)
           if i == 0 else replace(s, iou=np.full(50, NAN)) if i == 1 else s
           for i, s in enumerate(whole.scores.sequences)]
    results = [replace(r, confidences=np.full(len(r.boxes), NAN), boxes=r.boxes * NAN)
               if i == 2 else r for i, r in enumerate(whole.results)]
    page, text = read([replace(whole, scores=Run('x', 'plain', tuple(odd)), results=results)],
                      tmp_path)
    assert set(page.ids) >= {'sequences', 'failures'}
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1),
                      parse_constant=pytest.fail)
    assert data['courses'][0][1] == [''] and set(data['courses'][1][1][0]) == {'.'}


NAMES = ['<script>alert(1)</script>', '" onmouseover="x()', "it's & <b>", 'Straße_渡り_🚁',
         '\ud800', 'a\0b', '</script><!--', 'x' * 300, ' ', '{}']


def test_names_are_escaped(tmp_path):
    data = {name: Recording(k, name, 40) for k, name in enumerate(NAMES)}
    made = run('student', data, mode='<i>', provenance={'<u>': '&amp;'}, figures={'<s>': '<q>'})
    scores = tuple(replace(s, attributes=('<A&B>',)) for s in made.scores.sequences)
    hostile = replace(made, scores=replace(made.scores, tracker='<img src=x onerror=x()>',
                                           sequences=scores))
    page, text = read([hostile, run('KCF', data)], tmp_path, dataset='</title><script>')
    assert not {'img', 'b', 'i', 'u', 's', 'q'} & (
        {n for n, _ in page.elements} - {'b'})          # b is ours
    assert len(page.all('script')) == 2
    assert not any(k.startswith('on') for _, a in page.elements for k in a)
    joined = ''.join(page.text)
    for name in NAMES[:4]:
        assert name in joined
    assert '\0' not in text and 'a\N{REPLACEMENT CHARACTER}b' in joined


@pytest.mark.parametrize('make, words', [
    (lambda d: [], 'at least one run'),
    (lambda d: [run('student', d), run('student', d)], "two runs are named 'student'"),
    (lambda d: [run('student', d), run('KCF', d, convention='lasher')], 'lasher, plain')])
def test_runs_that_make_no_report(make, words, tmp_path, dataset):
    with pytest.raises(ValueError, match=words):
        write_report(make(dataset), tmp_path)
    assert not list(tmp_path.iterdir())


def test_images_that_cannot_be_read_are_named(tmp_path):
    data = recordings(3, images=False)
    page, _ = read([run('KCF', data)], tmp_path)
    assert not page.all('image')
    assert any(t.startswith('No pictures: ') and 'was asked for' in t for t in page.text)
    assert sum('truth' in a.get('class', '') for a in page.all('rect'))     # the boxes are shown


def test_different_sequences_are_pointed_out(tmp_path):
    data = recordings(6)
    page, _ = read([run('student', data), run('KCF', dict([*data.items()][2:]))], tmp_path)
    assert any('4 are common to all' in t for t in page.text)


@pytest.mark.parametrize('count, sure', [(5, False), (6, True)])
def test_few_sequences_decide_nothing(count, sure, tmp_path):
    data = recordings(count)
    runs = [run('student', data), run('KCF', data)]
    page, _ = read(runs, tmp_path)
    assert ('student is better' in page.text) is sure
    assert ('too few sequences to say' in page.text) is not sure
    assert any(t.startswith('So few sequences (5)') for t in page.text) is not sure


# --- failures

@pytest.mark.parametrize('overlap, expected', [
    ([1] * 10, []),
    ([1] + [0] * 4 + [1], []),                          # too short
    ([1] + [0] * 5 + [1], [(1, 6, True)]),
    ([1] + [0] * 5, [(1, 6, False)]),
    ([1] + [0] * 5 + [0.3, 0, 0.49, 0.5], [(1, 9, True)]),      # not held before 0.5
    ([1, 0, 0, NAN, NAN, 0, 0, 0, 1], [(1, 8, True)]),  # absence neither counts nor interrupts
    ([1] + [0.1] * 9, []),                              # not below
    ([0] * 5 + [1] + [0] * 6 + [1], [(0, 5, True), (6, 12, True)]),
    ([NAN] * 5, []), ([], [])])
def test_failures(overlap, expected):
    found = find_failures(np.array(overlap, np.float64))
    assert [(f.start, f.stop, f.recovered) for f in found] == expected


def test_worst_failures_come_from_every_run_and_sequence():
    failures = [Failure(0, 0, 0, 90, True), Failure(0, 0, 100, 180, True),
                Failure(0, 1, 0, 10, True), Failure(1, 0, 0, 20, True)]
    assert [(f.run, f.sequence, f.rows) for f in worst(failures, 3)] == [
        (0, 0, 90), (1, 0, 20), (0, 1, 10)]
    assert len(worst(failures, 9)) == 4 and worst(failures, 0) == [] == worst([], 3)


@pytest.mark.parametrize('failure, expected', [
    (Failure(0, 0, 20, 60, True), [19, 20, 24, 40, 60]),
    (Failure(0, 0, 20, 100, False), [19, 20, 24, 60, 99]),
    (Failure(0, 0, 0, 5, True), [0, 2, 4, 5])])
def test_moments(failure, expected):
    overlap = np.where(np.arange(100) < 20, 0.9, 0.0)
    assert moments(failure, overlap) == expected


def _shot(truth, answer):
    return Shot(0, np.array(truth, float), np.full(4, NAN), np.array(answer, float), 0, NAN)


@pytest.mark.parametrize('truth, answer, size', [
    ((300, 200, 40, 60), (320, 210, 40, 60), (640, 480)),
    ((300, 200, 40, 60), (-900, 210, 40, 60), (640, 480)),
    ((0, 0, 10, 10), (2, 2, 10, 10), (640, 480)),
    ((600, 440, 40, 40), (NAN,) * 4, (640, 480)),
    ((NAN,) * 4, (20, 20, 9, 9), (640, 480)), ((NAN,) * 4, (NAN,) * 4, (640, 480)),
    ((0, 0, 600, 400), (2, 2, 10, 10), (640, 480)), ((5, 5, 9, 9), (900, 5, 9, 9), None)])
def test_windows_show_the_target_and_stay_inside(truth, answer, size):
    (x, y, w, h), = windows([_shot(truth, answer)], size)
    assert w / h == pytest.approx(4 / 3) and np.isfinite((x, y, w, h)).all()
    if size:
        assert x >= 0 and y >= 0 and x + w <= size[0] + 1e-6 and y + h <= size[1] + 1e-6
    if math.isfinite(truth[0]) and truth[2] < w:
        assert x <= truth[0] + truth[2] / 2 <= x + w


@pytest.mark.parametrize('image', [
    np.zeros((480, 640, 3), np.uint8), np.zeros((240, 320), np.uint16),
    np.full((60, 80), NAN, np.float32), np.zeros((5, 4), np.uint8)],
    ids=['RGB', '16 bit', 'NaN', 'tiny'])
def test_any_image_is_cut_to_a_small_jpeg(image):
    uri = cut(image, (600.5, 400.0, 160.0, 120.0), (640, 480))
    assert uri.startswith('data:image/jpeg;base64,/9j/') and len(uri) < 20_000


# --- small parts

@pytest.mark.parametrize('text, expected', [
    (tag('p', '<&', class_='a"b', data_x=1.0), '<p class="a&quot;b" data-x="1">&lt;&amp;</p>'),
    (tag('p', None, False, ['a', ('b',)], hidden=True, title=None), '<p hidden>ab</p>'),
    (tag('br'), '<br>'), (tag('p', tag('b', 'x')), '<p><b>x</b></p>'),
    (number(NAN), DASH), (number(None), DASH), (number(-0.0001), '0.000'),
    (number(-1, 1), '\N{MINUS SIGN}1.0'),
    (coordinate(-0.01), '0'), (coordinate(2.04), '2'), (coordinate(2.06), '2.1'),
    (polyline([(0, 0), (1, NAN), (2, 2), (3, 3)]), 'M0 0M2 2L3 3'),
    (breakable('a_b<c.d'), 'a_<wbr>b&lt;c.<wbr>d'),
    (script_json({'a': [NAN, math.inf, 1, np.float64(0.5), '</script>&']}),
     '{"a":[null,null,1,0.5,"\\u003c/script\\u003e\\u0026"]}'),
    (encoded(np.array([0, 1, NAN, 2.0])), f'{LEVELS[0]}{LEVELS[-1]}.{LEVELS[-1]}')])
def test_markup(text, expected):
    assert text == expected


@pytest.mark.parametrize('values, bins, expected', [
    ([1, 3, NAN, 5], 2, [2, 5]), ([1, 2], 9, [1, 2]), ([], 4, []), ([NAN, NAN], 1, [NAN])])
def test_binned(values, bins, expected):
    np.testing.assert_allclose(binned(np.array(values, float), bins), expected)


def test_a_gap_in_a_sparkline_stays_a_gap():
    path = sparkline(np.array([1, 1, NAN, 0.5, 0.5]), 0, '')
    assert len(re.findall('M', re.search(r'class="area" d="([^"]*)"', path).group(1))) == 2


def test_styles_differ():
    assert len({style(run) for run in range(64)}) == 64


def test_the_better_of_a_pair_comes_first_and_sequences_are_counted(dataset):
    duel, = duels([Entry(0, run('KCF', dataset)), Entry(1, run('student', dataset))])
    assert duel.one.name == 'student' and duel.verdict == 'student is better'
    assert sum(duel.record) == len(dataset)
    mean = np.mean([d for d, _ in duel.by_sequence])
    assert duel.differences['SR'].value == pytest.approx(mean)


def test_values_of_results_are_brought_to_the_annotated_rows():
    """A result has a row per image where only every tenth is annotated."""
    recording = Recording(0, 'sparse', 101)
    recording.annotated, recording.truth = recording.annotated[::10], recording.truth[::10]
    boxes = np.repeat(recording.truth, 10, axis=0)[:101]
    sure = np.arange(101) / 101
    scores = score_sequence(SequenceResult('sparse', boxes[::10]), recording.truth, 'plain')
    result = SequenceResult('sparse', boxes, sure)
    entry = Entry(0, ReportRun(Run('a', 'plain', (scores,)), [result], {'sparse': recording}))
    np.testing.assert_array_equal(entry.at_rows('sparse', sure), sure[::10])
    np.testing.assert_array_equal(entry.at_rows('sparse', sure[:5]), [*sure[:5], *[NAN] * 6])


def test_kit_is_the_same_every_time():
    recording = Recording(3, 'a', 50)
    one, two = (answers(recording, SKILLS['CSRT'], 1) for _ in range(2))
    np.testing.assert_array_equal(one.boxes, two.boxes)
