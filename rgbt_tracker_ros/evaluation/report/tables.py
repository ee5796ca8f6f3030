"""Tables: sortable, scrolling inside their box, each with a caption."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

from rgbt_tracker_ros.evaluation.report.markup import DASH, Markup, join, number, tag
from rgbt_tracker_ros.evaluation.report.run import Figure


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `cells` are texts, markup, or numbers, which are shown with `digits` decimals. `sorts`: whether
    a tap on the title sorts by it; `descending`: whether the largest come first then. `group`: a
    word for a select that shows one group at a time; '' is always shown. `classes`: for its cells.
    `values`: numbers to sort by where the cells are pictures.
    """

    title: object
    cells: Sequence[object]
    digits: int = 3
    sorts: bool = True
    descending: bool = True
    group: str = ''
    classes: str = ''
    values: Sequence[float] | None = None

    def class_of(self) -> str | None:
        """Return the classes of its cells."""
        group = f'm m-{self.group}' if self.group else ''
        return f'{group} {self.classes}'.strip() or None


def table(identity: str, caption: object, columns: Sequence[Column], *,
          search: Sequence[str] | None = None, group: str = '') -> Markup:
    """Return a table in its box; the first column's cells are the rows' headings.

    :param search: what a row is found by, by row; its text if None.
    :param group: the group of columns shown at first.
    """
    heads = []
    for column in columns:
        title = column.title
        if column.sorts:
            title = tag('button', title, type='button', data_sort=True)
        heads.append(tag('th', title, scope='col', class_=column.class_of(),
                         data_first=None if column.descending else 'ascending'))
    rows = []
    for i in range(len(columns[0].cells)):
        cells = []
        for k, column in enumerate(columns):
            raw = None if column.values is None else _sortable(column.values[i])
            if k == 0:
                cells.append(tag('th', column.cells[i], scope='row', data_v=raw))
            else:
                cells.append(tag('td', shown(column.cells[i], column.digits), data_v=raw,
                                 class_=column.class_of()))
        rows.append(tag('tr', cells, data_search=None if search is None else search[i]))
    groups = {c.group for c in columns if c.group}
    body = tag('table', tag('caption', tag('span', caption)), tag('thead', tag('tr', heads)),
               tag('tbody', rows), id=identity, data_metric=group or None)
    rules = ''.join(f'#{identity}[data-metric={g}] .m:not(.m-{g}){{display:none}}'
                    for g in sorted(groups))
    return tag('div', rules and tag('style', Markup(rules)), body, tabindex=0,
               class_='box tall' if len(rows) > 24 else 'box',
               role='region', aria_label=f'Table {identity}')


def shown(cell: object, digits: int = 3) -> object:
    """Return a cell's text: numbers short and aligned, what is missing as a dash."""
    if isinstance(cell, bool) or isinstance(cell, Markup):
        return cell
    if isinstance(cell, int):
        return f'{cell}'
    if isinstance(cell, float):
        return number(cell, digits)
    return DASH if cell is None or cell == '' else cell


def figure(value: Figure) -> object:
    """Return a free figure: whole numbers whole, others with about three digits that count."""
    if not isinstance(value, float) or not math.isfinite(value):
        return shown(value)
    size = abs(value)
    return number(value, 0 if size >= 100 or value == int(value) else 1 if size >= 10 else
                  2 if size >= 1 else 3)


def select(identity: str, label: str, groups: Sequence[tuple[str, str]], chosen: str) -> Markup:
    """Return the control that chooses the group of columns of a table."""
    options = [tag('option', text, value=group, selected=group == chosen)
               for group, text in groups]
    field = tag('select', options, data_metric_of=identity, id=f'{identity}-by')
    return tag('label', label, field)


def search_field(identity: str, label: str) -> Markup:
    """Return the control that filters the rows of a table, with the count of what is left."""
    field = tag('input', type='search', data_filter_of=identity, placeholder='name or attribute',
                autocomplete='off')
    count = tag('output', id=f'{identity}-count', aria_live='polite')
    return join(tag('label', label, field), count)


def _sortable(value: float) -> str:
    return f'{value:.6g}' if math.isfinite(value) else ''
