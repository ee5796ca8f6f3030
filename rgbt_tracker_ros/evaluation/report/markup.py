"""Make HTML and SVG: elements, texts escaped, numbers short."""
from __future__ import annotations

from html import escape
import json
import math
import re
from typing import Any

VOID = frozenset({'br', 'col', 'hr', 'img', 'input', 'link', 'meta', 'wbr'})
DASH = '\N{EN DASH}'


class Markup(str):
    """A text that is markup already; all others are escaped where they are put."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element.

    :param children: markup, or anything else, which is escaped; None and False are left out,
        lists and tuples are taken apart.
    :param attributes: an underscore in a name stands for a hyphen, one at its end is dropped
        (`class_`). None and False leave the attribute out, True gives it without a value.
    """
    parts = [name]
    for key, value in attributes.items():
        key = key.rstrip('_').replace('_', '-')
        if value is True:
            parts.append(key)
        elif value is not None and value is not False:
            parts.append(f'{key}="{escape(_text(value))}"')
    start = f'<{" ".join(parts)}>'
    if name in VOID:
        return Markup(start)
    return Markup(f'{start}{join(*children)}</{name}>')


def join(*children: object) -> Markup:
    """Return children one after the other, those that are not markup escaped."""
    out: list[str] = []
    for child in children:
        if child is None or child is False:
            continue
        if isinstance(child, (list, tuple)):
            out.append(join(*child))
        else:
            out.append(child if isinstance(child, Markup) else escape(_text(child), quote=False))
    return Markup(''.join(out))


def breakable(name: str) -> Markup:
    """Return a name that may be broken after its underscores, hyphens, dots and slashes."""
    return Markup(re.sub(r'([_./-])(?=[^_./-])', r'\1<wbr>', join(name)))


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` decimals; a dash where it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f'{value:.{digits}f}'
    return text.replace('-', '\N{MINUS SIGN}') if float(text) else text.lstrip('-')


def coordinate(value: float) -> str:
    """Return a coordinate for SVG: one decimal, as short as it goes."""
    text = f'{value:.1f}'.removesuffix('.0')
    return '0' if text == '-0' else text


def polyline(points: list[tuple[float, float]]) -> str:
    """Return the path data through points; one that is not finite leaves a gap."""
    out: list[str] = []
    gap = True
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            gap = True
            continue
        out.append(f'{"M" if gap else "L"}{coordinate(x)} {coordinate(y)}')
        gap = False
    return ''.join(out)


def script_json(data: Any) -> Markup:
    """Return data as JSON that can stand in a script element: NaN is null, `<` is escaped."""
    text = json.dumps(_finite(data), ensure_ascii=True, allow_nan=False, separators=(',', ':'))
    return Markup(text.replace('<', '\\u003c').replace('>', '\\u003e').replace('&', '\\u0026'))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    if isinstance(data, (str, bool, int)) or data is None:
        return data
    value = float(data)
    return round(value, 5) if math.isfinite(value) else None


def _text(value: object) -> str:
    """Return the text of a value, without what no HTML page can hold: lone surrogates, NUL."""
    text = coordinate(value) if isinstance(value, float) else str(value)
    text = text.encode('utf-8', 'replace').decode('utf-8')
    return ''.join(c if c >= ' ' or c in '\n\t' else '\N{REPLACEMENT CHARACTER}' for c in text)
