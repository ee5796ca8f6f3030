"""Options of data sources: dataclass fields with limits, checked before anything is drawn."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, field, fields
import types
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

_T = TypeVar('_T')


class OptionError(ValueError):
    """An option that a data source does not have or can't use; the text names it."""


def number(default: float, low: float = 0.0, high: float = float('inf')) -> Any:
    """Declare a field that must lie in [low, high]."""
    return field(default=default, metadata={'low': low, 'high': high})


def one_of(default: str, *others: str) -> Any:
    """Declare a field that must be the default or one of `others`."""
    return field(default=default, metadata={'values': (default, *others)})


def parse(kind: str, cls: type[_T], given: Mapping[str, Any]) -> _T:
    """Make a `cls` (a dataclass) of the options given for a source of that kind.

    :raises OptionError: an unknown key, a value of another type, or outside its limits, or a
        missing key that has no default.
    """
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    for key, value in given.items():
        if key not in known:
            raise OptionError(f'{kind}: option {key!r} is unknown; use {", ".join(known)}')
        _check(f'{kind}: {key}', value, hints[key], known[key].metadata)
    for key, f in known.items():
        if key not in given and f.default is MISSING and f.default_factory is MISSING:
            raise OptionError(f'{kind}: option {key!r} must be given')
    return cls(**given)


def _check(name: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> None:
    kinds: tuple[Any, ...] = get_args(hint) if get_origin(hint) is types.UnionType else (hint,)
    kinds = tuple(get_origin(k) or k for k in kinds)
    allowed = tuple(t for k in kinds for t in {float: (int, float), tuple: (list, tuple)}.get(
        k, (k,)))
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        names = ' or '.join('nothing' if k is type(None) else k.__name__ for k in kinds)
        raise OptionError(f'{name} is {value!r}, it must be {names}')
    if 'values' in limits and value not in limits['values']:
        raise OptionError(f'{name} is {value!r}, it must be one of {", ".join(limits["values"])}')
    # written so that NaN fails
    if 'low' in limits and value is not None and not limits['low'] <= value <= limits['high']:
        raise OptionError(f'{name} is {value!r}, it must be from {limits["low"]:g} to '
                          f'{limits["high"]:g}')
