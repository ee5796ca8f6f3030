"""Weights as safetensors with their sizes and calibration inside; nothing is ever unpickled."""
from __future__ import annotations

from dataclasses import fields
import hashlib
import json
import math
from pathlib import Path

from safetensors import SafetensorError, safe_open
import safetensors.torch

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
    """Write weights, sizes and `info` (JSON values: calibration, seeds, ...) to one file.

    The same weights and info give the same bytes, so that a sha256 can be reproduced.

    :raises OSError: if it can't be written; an old file is then still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {'format': FORMAT, 'config': json.dumps(student.config.as_dict()),
            'info': json.dumps(info)}
    data = _sorted(safetensors.torch.save({
        k: v.contiguous() for k, v in student.state_dict().items()
        if not k.endswith('num_batches_tracked')}, metadata=meta))
    part = path.with_suffix('.part')
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _sorted(data: bytes) -> bytes:
    """Return a safetensors file with its metadata in order: the library writes them in any."""
    end = 8 + int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:end])
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    return len(text).to_bytes(8, 'little') + text + data[end:]


def load(path: Path, sha256: str = '') -> tuple[Student, dict[str, object]]:
    """Return the student of a file in evaluation mode, and the `info` saved with it.

    :param sha256: what the file's sha256 must be (any prefix of 8 digits or more), '' for any.
    :raises CheckpointError: file missing or not safetensors, sha256, format or shapes wrong,
        weights that are not finite, or a calibration that is none.
    """
    if not path.is_file():
        raise CheckpointError(f'weights file {path} does not exist; give the path of a '
                              '.safetensors file, or leave it empty for the shipped student')
    try:
        if sha256:
            found = sha256_of(path)
            if len(sha256) < 8 or not found.startswith(sha256.lower()):
                raise CheckpointError(f'sha256 of {path} is {found}, expected {sha256}; '
                                      'the file is not the one you meant, or it is damaged')
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
        if 'calibration' in info:
            for key in ('scale', 'bias'):
                if not math.isfinite(info['calibration'][key]):
                    raise ValueError(f'{key} of its calibration is not finite')
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError,
            RuntimeError) as error:
        raise CheckpointError(
            f'{path} has a broken description of its network: {error!r}') from error
    wanted = {k: tuple(v.shape) for k, v in student.state_dict().items()
              if not k.endswith('num_batches_tracked')}
    given = {k: tuple(v.shape) for k, v in state.items()}
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            raise CheckpointError(
                f'{path}: tensor {name} has shape {given.get(name, "missing")}, the network needs '
                f'{wanted.get(name, "none of that name")}')
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f'{path}: tensor {name} has values that are not finite; the '
                                  'training diverged, or the file is damaged')
    student.load_state_dict(state, strict=False)
    return student.eval(), info
