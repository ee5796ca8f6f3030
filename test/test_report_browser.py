"""The report in a real browser: no error, every curve seen, whatever can be tapped works."""
from __future__ import annotations

from collections.abc import Iterator
import re
import shutil
from typing import Any

import pytest
from report_kit import Recording, recordings, run

from rgbt_tracker_ros.evaluation.report import ReportOptions, write_report
from rgbt_tracker_ros.evaluation.report.markup import DASH

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
ARGUMENTS = ['--no-sandbox', '--headless', '--disable-gpu', '--disable-background-networking',
             '--disable-component-update', '--disable-sync', '--no-first-run', '--disable-quic']
DESKTOP, PHONE = (1280, 900), (390, 844)
TRACKERS = 3
TEXTS = ('p.lead', '.hint', '.facts li', 'nav a', '.score .value', '.score .range', 'td', 'th',
         'caption span', '.more', 'figcaption', '.legend .head span', 'td .note', 'footer p')
# contrast of a text and of the first opaque background behind it, by WCAG 2
CONTRAST = """element => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let behind = element, back;
  do {
    back = parse(getComputedStyle(behind).backgroundColor);
    behind = behind.parentElement;
  } while (behind && back.length === 4 && back[3] === 0);
  const style = getComputedStyle(element);
  const ink = parse(element instanceof SVGElement && style.stroke !== 'none'
    ? style.stroke : style.color);
  const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed; '
                                   'pip install "rgbt_tracker_ros[test]"')
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f'none of {", ".join(BROWSERS)} is on the PATH; apt install chromium')
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    data = recordings(9)
    long = 'a_sequence_with_a_name_that_is_much_too_long_for_a_telephone_' * 2
    data[long] = Recording(99, long, 60)
    runs = [run('student', data, mode='offline', figures={'Dropped pairs': 0}),
            run('student', data, seed=1, mode='through ROS', figures={'Dropped pairs': 37}),
            run('KCF', data)]
    return write_report(runs, tmp_path_factory.mktemp('report'), ReportOptions(failures=3))


@pytest.fixture
def open_page(browser, report):
    """Open the report at a size and in a colour scheme; a word on the console is an error."""
    pages, errors = [], []

    def open_at(size=DESKTOP, scheme='light', path=None):
        context = browser.new_context(
            viewport={'width': size[0], 'height': size[1]}, color_scheme=scheme,
            has_touch=size == PHONE, is_mobile=size == PHONE)
        page = context.new_page()
        page.on('console', lambda message: errors.append(f'{message.type}: {message.text}'))
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.on('request', lambda request: request.url.startswith(('file:', 'data:'))
                or errors.append(f'loads {request.url}'))
        page.goto((path or report).as_uri())
        pages.append(context)
        return page

    yield open_at
    for context in pages:
        context.close()
    assert not errors


def first_column(page) -> list[str]:
    return page.locator('#by-sequence tbody tr:not([hidden]) > th').all_inner_texts()


@pytest.mark.parametrize('size', [DESKTOP, PHONE])
def test_every_curve_of_every_tracker_is_seen(open_page, size):
    page = open_page(size)
    for name in ('success', 'precision', 'normalised'):
        plot = page.locator(f'svg[data-plot={name}]')
        frame = plot.bounding_box()
        curves = plot.locator('path.curve')
        assert curves.count() == TRACKERS
        looks = set()
        for k in range(TRACKERS):
            curve = curves.nth(k)
            box = curve.bounding_box()
            assert box['width'] > 0.8 * frame['width'] and box['height'] > 0.1 * frame['height']
            assert frame['x'] <= box['x'] and box['y'] >= frame['y'] - 2
            assert box['y'] + box['height'] <= frame['y'] + frame['height']
            assert curve.is_visible() and len(curve.get_attribute('d').split('L')) >= 21
            assert curve.evaluate('e => e.getTotalLength()') > 100
            looks.add(curve.evaluate('e => getComputedStyle(e).stroke + '
                                     'getComputedStyle(e).strokeDasharray'))
        assert len(looks) == TRACKERS
    assert page.locator('svg.reliability path.curve').count() == TRACKERS


@pytest.mark.parametrize('size', [DESKTOP, PHONE, (320, 640)])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_page_is_never_wider_than_the_screen(open_page, size, scheme):
    page = open_page(size, scheme)
    assert page.evaluate('document.documentElement.scrollWidth') <= size[0]
    page.locator('#by-sequence .more').first.click()
    page.locator('details summary').click()
    assert page.evaluate('document.documentElement.scrollWidth') <= size[0]
    # what is too wide scrolls in its box
    boxes = page.locator('.box')
    for k in range(boxes.count()):
        assert boxes.nth(k).bounding_box()['width'] <= size[0]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_contrast(open_page, scheme):
    page = open_page(DESKTOP, scheme)
    for what, least in (*((text, 4.5) for text in TEXTS), ('h1', 7), ('path.curve', 3)):
        found = page.locator(what).evaluate_all(f'all => all.slice(0, 50).map({CONTRAST})')
        assert found and min(found) >= least, f'{what}: {min(found):.1f}'


def test_dark_is_dark_and_light_is_light(open_page):
    light, dark = (open_page(DESKTOP, s).evaluate(
        'Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])')
        for s in ('light', 'dark'))
    assert light > 200 and dark < 50


def test_columns_sort_up_and_down(open_page):
    page = open_page()
    head = page.locator('#by-sequence thead th:visible').nth(1)
    cells = page.locator('#by-sequence tbody tr td.m-SR:nth-child(2)')
    before = first_column(page)
    head.locator('button').click()
    assert head.get_attribute('aria-sort') == 'descending'
    values = [float(v) for v in cells.all_inner_texts()]
    assert len(values) == 10 and values == sorted(values, reverse=True)
    head.locator('button').click()
    assert head.get_attribute('aria-sort') == 'ascending'
    assert [float(v) for v in cells.all_inner_texts()] == values[::-1]
    page.locator('#by-sequence thead button').first.click()
    assert first_column(page) == sorted(before)
    assert page.locator('#by-sequence [aria-sort]').count() == 1


def test_what_is_missing_sorts_last(open_page, tmp_path):
    data = recordings(4)
    path = write_report([run('student', data), run('KCF', dict([*data.items()][1:]))], tmp_path)
    page = open_page(path=path)
    for _ in range(2):
        page.locator('#by-sequence thead th.m-SR button').nth(1).click()
        assert page.locator('#by-sequence td.m-SR:nth-child(3)').last.inner_text() == DASH


def test_figures_are_chosen_and_rows_are_found(open_page):
    page = open_page()
    assert page.locator('#by-sequence td.m-SR').first.is_visible()
    assert not page.locator('#by-sequence td.m-PR').first.is_visible()
    page.locator('#by-sequence-by').select_option('PR')
    assert page.locator('#by-sequence td.m-PR').first.is_visible()
    assert not page.locator('#by-sequence td.m-SR').first.is_visible()
    page.locator('[data-filter-of=by-sequence]').fill('PIER')
    assert first_column(page) == ['pier_red']
    assert page.locator('#by-sequence-count').inner_text() == '1 of 10'
    page.locator('[data-filter-of=by-sequence]').fill('')
    assert len(first_column(page)) == 10


@pytest.mark.parametrize('size', [DESKTOP, PHONE])
def test_a_tap_reads_the_curves_out(open_page, size):
    page = open_page(size)
    plot = page.locator('svg[data-plot=precision]')
    figure = page.locator('figure', has=plot)
    values = figure.locator('[data-at]')
    before = values.all_inner_texts()
    assert figure.locator('.at-x').inner_text() == 'within 20 px'
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    where = {'x': box['width'] * 0.15, 'y': box['height'] / 2}
    if size == PHONE:
        plot.tap(position=where)
    else:
        plot.hover(position=where)
    assert re.fullmatch(r'within [1-9] px', figure.locator('.at-x').inner_text())
    after = values.all_inner_texts()
    assert all(0 < float(a) < float(b) for a, b in zip(after, before, strict=True))
    rule = plot.locator('.rule')    # a line has no area, so that it never counts as visible
    assert rule.evaluate('e => getComputedStyle(e).visibility') == 'visible'
    assert box['x'] < rule.bounding_box()['x'] < box['x'] + box['width'] * 0.3
    assert plot.locator('.at-dot[visibility=inherit]').count() == TRACKERS


def test_arrow_keys_read_the_curves_out(open_page):
    page = open_page()
    plot = page.locator('svg[data-plot=precision]')
    plot.focus()
    plot.press('ArrowRight')
    figure = page.locator('figure', has=plot)
    assert figure.locator('.at-x').inner_text() == 'within 21 px'
    assert re.match(r'within 21 px: .*KCF 0\.\d{3}', figure.locator('.said').text_content())
    plot.press('Home')
    assert figure.locator('.at-x').inner_text() == 'within 0 px'
    assert set(figure.locator('[data-at]').all_inner_texts()) != {DASH}


def test_a_legend_hides_its_tracker_everywhere(open_page):
    page = open_page()
    buttons = page.locator('button[data-toggle="2"]')
    curves = page.locator('path.curve[data-run="2"]')
    assert buttons.count() == 4 and curves.count() == 3
    buttons.first.click()
    assert all(not curves.nth(k).is_visible() for k in range(3))
    assert all(buttons.nth(k).get_attribute('aria-pressed') == 'false' for k in range(4))
    assert page.locator('path.curve[data-run="0"]').first.is_visible()
    buttons.nth(1).click()
    assert all(curves.nth(k).is_visible() for k in range(3))


def test_a_sequence_opens_to_its_course(open_page):
    page = open_page()
    opener = page.locator('#by-sequence .more').nth(2)
    opener.click()
    course = page.locator('svg.course')
    assert opener.get_attribute('aria-expanded') == 'true' and course.is_visible()
    paths = course.locator('path.curve')
    assert paths.count() == 2 * TRACKERS        # overlap and confidence
    assert all(paths.nth(k).bounding_box()['width'] > 100 for k in range(2 * TRACKERS))
    page.locator('#by-sequence thead button').first.click()     # sorting closes it
    assert course.count() == 0 and opener.get_attribute('aria-expanded') == 'false'


@pytest.mark.parametrize('size', [DESKTOP, PHONE])
def test_filmstrips_show_their_pictures(open_page, size):
    page = open_page(size)
    assert page.locator('.loss').count() == 3
    image = page.locator('.loss image')
    assert image.count() >= 3 * 3 * 2
    image.first.scroll_into_view_if_needed()
    box = image.first.bounding_box()
    assert box['width'] > 120 and box['height'] > 90
    assert page.evaluate("""async () => {
      for (const image of document.querySelectorAll('.loss image')) {
        const copy = new Image();
        copy.src = image.href.baseVal;
        await copy.decode();
        if (!copy.naturalWidth) return false;
      }
      return true;
    }""")


def test_page_prints(open_page):
    page = open_page(DESKTOP, 'dark')
    page.emulate_media(media='print')
    assert not page.locator('nav').is_visible()
    assert page.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'
    assert page.locator('path.curve').first.is_visible()
    assert len(page.pdf()) > 50_000


def test_without_script_all_is_there(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator('svg[data-plot=success] path.curve').first.is_visible()
    assert page.locator('#by-sequence td.m-SR').first.is_visible()
    assert page.locator('#by-sequence .spark').first.is_visible()
    context.close()
