"""The small text files of data sets: boxes, attribute flags, lists of names.

UTF-8 with or without a byte order mark, any line ends, blank lines at the end only.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rgbt_tracker_ros.data.sequence import Boxes, LayoutError

DELIMITERS = {',': 'commas', '\t': 'tabs', ' ': 'spaces', ';': 'semicolons'}
BOX_FORMS = {'xywh': 'x, y, w, h', 'corners': 'x1, y1, x2, y2'}


def read_lines(path: Path) -> list[str]:
    """Return a text file's lines without white space around them, and without blanks at the end.

    :raises LayoutError: if it is not there, or not text.
    """
    try:
        lines = [line.strip() for line in path.read_text('utf-8-sig').splitlines()]
    except FileNotFoundError as error:
        raise LayoutError(path, 'no such file') from error
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(path, f"can't be read as text: {error}") from error
    while lines and not lines[-1]:
        lines.pop()
    return lines


def read_boxes(path: Path, form: str = 'xywh', delimiters: str = ',') -> Boxes:
    """Read one box a line as (N, 4) float64 x, y, w, h; NaN, zeros and negatives as they are.

    :param form: of BOX_FORMS; corners become w = x2 - x1, h = y2 - y1.
    :param delimiters: characters of which one (spaces and tabs: a run) stands between numbers.
    :raises LayoutError: with the row, if a line does not hold four numbers.
    """
    lines = read_lines(path)
    delimiter = next((d for d in delimiters if lines and d in lines[0]), delimiters[0])
    numbers = np.empty((len(lines), 4))
    for row, line in enumerate(lines):
        fields = line.split() if delimiter.isspace() else line.split(delimiter)
        try:
            a, b, c, d = map(float, fields)
            numbers[row] = a, b, c, d
        except ValueError:
            raise LayoutError(path, _bad_row(line, form, delimiters), row + 1) from None
    if form == 'corners':
        numbers[:, 2:] -= numbers[:, :2]
    return numbers


def read_flags(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return those of `names` whose number in the file's one row (or column) is not 0.

    :raises LayoutError: if there are more or fewer numbers than names, or something else.
    """
    text = ' '.join(read_lines(path)).replace(',', ' ').split()
    if len(text) != len(names):
        raise LayoutError(path, f'{len(text)} flags; {len(names)} are expected: '
                          + ', '.join(names), 1)
    try:
        return tuple(name for name, flag in zip(names, text, strict=True) if float(flag))
    except ValueError as error:
        raise LayoutError(path, f'flags must be 0 or 1: {error}', 1) from error


def read_column(path: Path, count: int) -> list[bool]:
    """Read `count` flags, one a line.

    :raises LayoutError: with the row, if there are more or fewer, or something else.
    """
    lines = read_lines(path)
    for row, line in enumerate(lines, 1):
        if line not in ('0', '1'):
            raise LayoutError(path, f'{line!r} is neither 0 nor 1', row)
    if len(lines) != count:
        raise LayoutError(path, f'{len(lines)} flags for {count} sequences', len(lines))
    return [line == '1' for line in lines]


def read_names(path: Path) -> list[str]:
    """Read sequence names, one a line.

    :raises LayoutError: with the row, if a name comes twice.
    """
    names: dict[str, int] = {}
    for row, line in enumerate(read_lines(path), 1):
        if not line:
            continue
        name = line.strip('/')
        if name in names:
            raise LayoutError(path, f'{name} is there twice, first in row {names[name]}', row)
        names[name] = row
    return list(names)


def _bad_row(line: str, form: str, delimiters: str) -> str:
    wanted = ' or '.join(DELIMITERS[d] for d in delimiters)
    what = f'{line[:60]!r} is not four numbers ({BOX_FORMS[form]}) separated by {wanted}'
    others = [name for d, name in DELIMITERS.items() if d in line and d not in delimiters]
    return what + (f'; it seems to be separated by {others[0]}' if others else '')
