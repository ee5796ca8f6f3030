"""Recipes' mappings to dataclasses, with errors that name the place, the value and the choices."""
from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
import difflib
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar('T')


class RecipeError(ValueError):
    """A recipe that does not exist, or holds what no part knows."""


def build(cls: type[T], values: object, where: str) -> T:
    """Make the dataclass `cls` of a mapping.

    Fields may be numbers, strings, booleans, Literals, tuples, dicts, other dataclasses, or one
    of these or None. A whole number is taken for a float, one item for a tuple of one.

    :param where: the place of `values` in the recipe, for the errors.
    :raises RecipeError: unknown or missing key, value of another type.
    """
    if not isinstance(values, dict):
        raise RecipeError(f'{where} is {values!r}; it must be a mapping of keys to values')
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    # `from` and others are keywords in Python: the field is `from_`
    names = {name.rstrip('_'): name for name in known}
    made = {}
    for key, value in values.items():
        if key not in names:
            raise RecipeError(f'{where}: key {key!r} is unknown{suggest(key, names)}')
        made[names[key]] = _value(hints[names[key]], value, f'{where}.{key}')
    for key, name in names.items():
        field = known[name]
        if name not in made and field.default is MISSING and field.default_factory is MISSING:
            raise RecipeError(f'{where}: key {key!r} is missing')
    try:
        return cls(**made)
    except ValueError as error:  # what the class itself refuses
        raise RecipeError(f'{where}: {error}') from error


def suggest(given: object, known: object) -> str:
    """Return '; did you mean ...' or '; use ...' with all that is possible."""
    choices = [str(k) for k in known]  # type: ignore[attr-defined]
    near = difflib.get_close_matches(str(given), choices, 1)
    text = f'; did you mean {near[0]!r}?' if near else ';'
    return f'{text} there {"is" if len(choices) == 1 else "are"} {", ".join(choices) or "none"}'


def _value(kind: Any, value: object, where: str) -> Any:
    """Return `value` as a `kind`, or raise."""
    if kind is Any:
        return value
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        kinds = [a for a in args if a is not type(None)]
        for other in kinds[:-1]:
            try:
                return _value(other, value, where)
            except RecipeError:
                continue
        return _value(kinds[-1], value, where)
    if is_dataclass(kind):
        return build(kind, value, where)  # type: ignore[arg-type]
    if origin is Literal:
        if value not in args:
            raise RecipeError(f'{where} is {value!r}{suggest(value, args)}')
        return value
    if origin is tuple:
        alone = isinstance(value, str) if args[0] is str else isinstance(value, dict)
        items = [value] if alone else value
        if not isinstance(items, (list, tuple)):
            raise RecipeError(f'{where} is {value!r}; it must be a list')
        return tuple(_value(args[0], v, f'{where}[{i}]') for i, v in enumerate(items))
    if origin is dict:
        if not isinstance(value, dict):
            raise RecipeError(f'{where} is {value!r}; it must be a mapping of names to values')
        return {str(k): _value(args[1], v, f'{where}.{k}') for k, v in value.items()}
    return _plain(kind, value, where)


def _plain(kind: type, value: object, where: str) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float:
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 (no point) as text
            try:
                return float(value)
            except ValueError:
                number = False
        if number:
            return float(value)  # type: ignore[arg-type]
    elif isinstance(value, kind) and (kind is not int or number):
        return value
    raise RecipeError(f'{where} is {value!r}, it must be {kind.__name__}')
