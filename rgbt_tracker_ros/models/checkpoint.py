"""Weights as safetensors with a description inside; nothing is ever unpickled.

A file of format `rgbt-network-2` has these texts in its metadata:

- `format`; `version` of the package that wrote it;
- `network`: its name in `registry.NETWORKS`; `config`: the fields of its configuration, JSON;
- `info`: JSON of what else is known: `calibration` (`scale`, `bias`), `recipe`, `scale`, `seed`,
  `commit`, `parameters`, `macs` ...

Files of `rgbt-student-1` hold a `student`, without its name.
"""
from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
import safetensors.torch
import torch
from torch import Tensor, nn

from rgbt_tracker_ros import __version__
from rgbt_tracker_ros.models.network import Network, NetworkConfig
from rgbt_tracker_ros.models.registry import NETWORKS, build, name_of, network_class

FORMAT = 'rgbt-network-2'
STUDENTS = 'rgbt-student-1'
SHIPPED = Path(__file__).parent.parent / 'weights' / 'student.safetensors'
# what a network's crops may be: beyond it a file is damaged, or means harm
_LIMITS = {'template_size': (8, 4096), 'search_size': (8, 4096), 'template_factor': (1, 16),
           'search_factor': (1, 16), 'stride': (1, 64)}
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# what a description that is nonsense can make of the code that reads it
_NONSENSE = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError,
             TypeError, ValueError)


class CheckpointError(ValueError):
    """A weights file that is missing, altered, or made for another network."""


def sha256_of(path: Path) -> str:
    """Return the file's sha256 in hexadecimal."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() \
            if hasattr(hashlib, 'file_digest') else hashlib.sha256(file.read()).hexdigest()


def save(network: Network, path: Path, **info: object) -> None:
    """Write weights, name, sizes and `info` (JSON values: calibration, seeds, ...) to one file.

    The same weights and info give the same bytes, so that a sha256 can be reproduced.

    :raises OSError: if it can't be written; an old file is then still there.
    :raises ValueError: `info` holds a number that is not finite.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {'format': FORMAT, 'version': __version__, 'network': name_of(network),
            'config': json.dumps(network.config.as_dict()),
            'info': json.dumps(info, allow_nan=False)}
    data = _sorted(safetensors.torch.save(
        {k: v.contiguous() for k, v in _kept(network).items()}, metadata=meta))
    part = path.with_suffix('.part')
    try:
        part.write_bytes(data)
        put_in_place(part, path)
    finally:
        part.unlink(missing_ok=True)


def put_in_place(part: Path, path: Path) -> None:
    """Rename a finished file of the same disk to its name: after a power cut, too, that is the
    old file or all of the new one.
    """
    _sync(part, os.O_RDONLY)
    part.replace(path)
    with suppress(OSError):     # not every network's file system can
        _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _kept(module: nn.Module) -> dict[str, Tensor]:
    """Return the state but for the batch norms' counters, which nothing uses."""
    return {k: v for k, v in module.state_dict().items() if not k.endswith('num_batches_tracked')}


def _sorted(data: bytes) -> bytes:
    """Return a safetensors file with its metadata in order: the library writes them in any."""
    end = 8 + int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:end])
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    return len(text).to_bytes(8, 'little') + text + data[end:]


def load(path: Path, sha256: str = '') -> tuple[Network, dict[str, Any]]:
    """Return the network of a file in evaluation mode, and the `info` saved with it.

    :param sha256: what the file's sha256 must be (any prefix of 8 digits or more), '' for any.
    :raises CheckpointError: file missing or not safetensors; sha256, format, architecture, sizes,
        names, shapes or types wrong; weights that are not finite; a calibration that is none.
    """
    return load_with_digest(path, sha256)[:2]


def load_with_digest(path: Path, sha256: str = '') -> tuple[Network, dict[str, Any], str]:
    """Load as `load`; return the file's sha256, too: that of what was loaded."""
    path = path.expanduser()
    meta, state, digest = _read(path, sha256)
    name, config, info = _described(path, meta)
    try:
        with torch.device('meta'):  # sizes out of proportion cost nothing here
            wanted = _kept(build(name, **config))
    except _NONSENSE as error:
        raise _broken(path, error) from error
    _compare(path, name, wanted, state)
    network = build(name, **config)
    network.load_state_dict(state, strict=False)
    return network.eval(), info, digest


def _read(path: Path, sha256: str) -> tuple[dict[str, str], dict[str, Tensor], str]:
    """Return the texts, the tensors and the sha256 of a file, which may be written over meanwhile:
    it is read once, so that what was checked is what is used, and not mapped: a file that gets
    shorter under a mapping ends the process.
    """
    if path.is_dir():
        raise CheckpointError(f'weights file {path} is a folder; give a .safetensors file (`rgbt '
                              'export` makes one of a run of `rgbt train`)')
    if not path.is_file():
        raise CheckpointError(f'weights file {path} does not exist; give the path of a '
                              '.safetensors file, or leave it empty for the shipped student')
    try:
        data = path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if sha256:
            if len(sha256) < 8 or not found.startswith(sha256.lower()):
                raise CheckpointError(f'sha256 of {path} is {found}, expected {sha256}; '
                                      'the file is not the one you meant, or it is damaged')
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8:8 + int.from_bytes(data[:8], 'little')])
        return header.get('__metadata__') or {}, tensors, found
    except (SafetensorError, OSError, *_NONSENSE) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f'{path} is not a readable safetensors file: {error}; copy it '
                              'again, or make it with `rgbt export`') from error


def _described(path: Path, meta: Mapping[str, str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the architecture's name, its config and the info of a file, checked."""
    if meta.get('format') not in (FORMAT, STUDENTS):
        raise CheckpointError(f'{path} has format {meta.get("format")!r}, expected {FORMAT!r} or '
                              f'{STUDENTS!r}; it was not made by this version of `rgbt train` or '
                              '`rgbt export`')
    first = meta['format'] == STUDENTS
    name = 'student' if first else meta.get('network', '')
    if name not in NETWORKS:
        raise CheckpointError(f'{path} holds a network {name!r}, which this version does not '
                              f'know; it knows {", ".join(NETWORKS)}')
    try:
        stored, info = json.loads(meta['config']), json.loads(meta.get('info', '{}'))
        known = {f.name for f in fields(network_class(name).Config)}
        if first:  # its config held more than sizes
            stored = {k: v for k, v in stored.items() if k in known}
        elif unknown := sorted(stored.keys() - known):
            raise ValueError(f'no field {unknown[0]!r}; was it made by a newer version?')
        _check_crops(network_class(name).Config(), stored)
        _check_calibration(info)
    except _NONSENSE as error:
        raise _broken(path, error) from error
    return name, stored, info


def _check_crops(default: NetworkConfig, stored: Mapping[str, Any]) -> None:
    for key, (low, high) in _LIMITS.items():
        if not low <= (value := stored.get(key, getattr(default, key))) <= high:
            raise ValueError(f'{key} is {value}; it must be from {low} to {high}')


def _check_calibration(info: Mapping[str, Any]) -> None:
    if info.get('calibration') is not None:
        for key in ('scale', 'bias'):
            if not math.isfinite(info['calibration'][key]):
                raise ValueError(f'{key} of its calibration is not finite')


def _broken(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f'{path} has a broken description of its network: {error!r}; copy it '
                           'again, or make it anew with `rgbt export`')


def _compare(path: Path, name: str, wanted: Mapping[str, Tensor],
             given: Mapping[str, Tensor]) -> None:
    """Raise a CheckpointError for the first tensor that does not fit the network, or is broken."""
    for key in sorted(wanted.keys() | given.keys()):
        has = tuple(given[key].shape) if key in given else 'missing'
        needs = tuple(wanted[key].shape) if key in wanted else 'none of that name'
        if has != needs:
            raise CheckpointError(
                f'{path}: tensor {key} has shape {has}, the network {name!r} needs {needs}; the '
                'file was altered, or made by another version')
        if given[key].dtype not in (_FLOATS if wanted[key].is_floating_point()
                                    else (wanted[key].dtype,)):
            raise CheckpointError(f'{path}: tensor {key} holds {given[key].dtype}, the network '
                                  f'{name!r} needs {wanted[key].dtype}; the file was altered')
        value = given[key].to(wanted[key].dtype)    # 1e300 is not finite where it is used
        if not value.isfinite().all():
            raise CheckpointError(f'{path}: tensor {key} has values that are not finite; the '
                                  'training diverged, or the file is damaged')
        if key.endswith('running_var') and bool((value < 0).any()):
            raise CheckpointError(f'{path}: tensor {key} has a variance below 0; the file is '
                                  'damaged')
