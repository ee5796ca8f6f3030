"""Weights as safetensors with their sizes and calibration inside; nothing is ever unpickled."""
from __future__ import annotations

from dataclasses import fields
import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rgbt_tracker_ros.models.student import Student, StudentConfig

FORMAT = 'rgbt-student-1'
SHIPPED = Path(__file__).parent.parent / 'weights' / 'student.safetensors'


class CheckpointError(ValueError):
    """A weights file that is missing, altered, or made for another network."""


def sha256_of(path: Path) -> str:
    """Return the file's sha256 in hexadecimal."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() \
            if hasattr(hashlib, 'file_digest') else hashlib.sha256(file.read()).hexdigest()


def save(student: Student, path: Path, **info: object) -> None:
    """Write weights, sizes and `info` (JSON values: calibration, seeds, ...) to one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {'format': FORMAT, 'config': json.dumps(student.config.as_dict()),
            'info': json.dumps(info)}
    part = path.with_suffix('.part')
    save_file({k: v.contiguous() for k, v in student.state_dict().items()
               if not k.endswith('num_batches_tracked')}, part, metadata=meta)
    part.chmod(0o644)  # safetensors makes it private
    part.replace(path)


def load(path: Path, sha256: str = '') -> tuple[Student, dict[str, object]]:
    """Return the student of a file in evaluation mode, and the `info` saved with it.

    :param sha256: what the file's sha256 must be (any prefix of 8 digits or more), '' for any.
    :raises CheckpointError: file missing or not safetensors, sha256, format or shapes wrong.
    """
    if not path.is_file():
        raise CheckpointError(f'weights file {path} does not exist; give the path of a '
                              '.safetensors file, or leave it empty for the shipped student')
    if sha256:
        found = sha256_of(path)
        if len(sha256) < 8 or not found.startswith(sha256.lower()):
            raise CheckpointError(f'sha256 of {path} is {found}, expected {sha256}; '
                                  'the file is not the one you meant, or it is damaged')
    try:
        with safe_open(path, 'pt') as file:
            meta = file.metadata() or {}
            state = {k: file.get_tensor(k) for k in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{path} is not a readable safetensors file: {error}') from error
    if meta.get('format') != FORMAT:
        raise CheckpointError(f'{path} has format {meta.get("format")!r}, expected {FORMAT!r}; '
                              'it was not made by this version of `rgbt train`')
    try:
        stored = json.loads(meta['config'])
        info = json.loads(meta.get('info', '{}'))
        known = {f.name for f in fields(StudentConfig)}
        student = Student(StudentConfig(**{k: v for k, v in stored.items() if k in known}))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f'{path} has a broken description of its network: {error}') from error
    wanted = {k: tuple(v.shape) for k, v in student.state_dict().items()
              if not k.endswith('num_batches_tracked')}
    given = {k: tuple(v.shape) for k, v in state.items()}
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            raise CheckpointError(
                f'{path}: tensor {name} has shape {given.get(name, "missing")}, the network needs '
                f'{wanted.get(name, "none of that name")}')
    student.load_state_dict(state, strict=False)
    return student.eval(), info
