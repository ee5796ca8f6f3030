"""The state of a training on disk: a kill or a power cut leaves either the old file or the new."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import json
from pathlib import Path
from typing import Any

import torch

from rgbt_tracker_ros.models.checkpoint import put_in_place


class ResumeError(ValueError):
    """A run's folder that holds another run, or a damaged one."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give errors of the system that do not say which file they are about the name of `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file beside `path`, then put it in its place in one step.

    :raises OSError: if it can't be written; an old file is then still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part')
    try:
        with naming(part):
            write(part)
            put_in_place(part, path)
    except RuntimeError as error:  # what torch makes of a full disk
        raise OSError(f"{part} can't be written; is the disk full? "
                      f'({_first_line(error)})') from error
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file in one step. :raises OSError: see `replace`."""
    replace(path, lambda part: part.write_text(json.dumps(value, indent=1) + '\n'))


def read_json(path: Path) -> Any:
    """Read a JSON file, None where there is none. :raises ResumeError: it is damaged."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ResumeError(f"{path} can't be read ({_first_line(error)}); delete the folder "
                          f'{path.parent} to start it again') from error


def save_state(path: Path, state: dict[str, Any], identity: dict[str, Any]) -> None:
    """Keep everything that the next step depends on. :raises OSError: see `replace`."""
    replace(path, lambda part: torch.save(state | {'identity': json.dumps(identity)}, part))


def load_state(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return what `save_state` kept, on the CPU; None where there is no file.

    :raises ResumeError: the file is damaged, or of another run.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True)
        theirs = json.loads(state.pop('identity'))
    except Exception as error:  # a damaged pickle may raise anything
        raise ResumeError(f"{path} can't be read ({_first_line(error)}); delete it to start "
                          'the stage again') from error
    same(theirs, identity, path)
    return state


def same(theirs: object, ours: object, path: Path) -> None:
    """Refuse to go on with a run of another description.

    :raises ResumeError: names the first difference.
    """
    if (found := difference(theirs, ours)) is not None:
        where, a, b = found
        raise ResumeError(f'{path} is of a run with {where} = {short(a)}, not {short(b)}; '
                          'choose another --out, or the same options')


def plain(value: object) -> Any:
    """Return a value as JSON gives it back: tuples are lists, keys are text."""
    return json.loads(json.dumps(value))


def difference(a: object, b: object, where: str = '') -> tuple[str, object, object] | None:
    """Return the place of the first difference of two values as JSON keeps them, and both values
    there.
    """
    return _difference(plain(a), plain(b), where)


def _difference(a: object, b: object, where: str) -> tuple[str, object, object] | None:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            if key not in a or key not in b:
                return f'{where}.{key}'.lstrip('.'), a.get(key), b.get(key)
            if found := _difference(a[key], b[key], f'{where}.{key}'.lstrip('.')):
                return found
        return None
    return None if a == b else (where, a, b)


def short(value: object) -> str:
    """Return a JSON value as text of one line."""
    text = 'nothing' if value is None else json.dumps(value)
    return text if len(text) < 80 else text[:77] + '...'


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]
