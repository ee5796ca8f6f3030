"""Read the tensors of other people's checkpoint files, without running anything in them."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import pickle
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

State = dict[str, Tensor]
_WRAPPERS = ('net', 'model', 'state_dict')


class PretrainedError(ValueError):
    """A checkpoint that can't be read, or does not fit the network."""


def read(path: Path) -> State:
    """Read the tensors of a checkpoint file, by name.

    :raises PretrainedError: missing, damaged, or no tensors in it.
    """
    if not path.is_file():
        raise PretrainedError(f'checkpoint {path} does not exist; give the path of a .pth or '
                              '.safetensors file of an RGB tracker')
    try:
        content: Any = safetensors.torch.load_file(path) if path.suffix == '.safetensors' \
            else _unpickle(path)
    except pickle.UnpicklingError as error:
        raise PretrainedError(
            f'{path} holds more than tensors, and is not trusted to run code. Where its own code '
            'is installed, and if you trust it, convert it: torch.save(torch.load(PATH, '
            f"weights_only=False)['net'], NEW). torch says: {error}") from error
    except Exception as error:  # bytes of another kind make an unpickler raise anything
        raise PretrainedError(f'{path} is not a readable checkpoint: '
                              f'{str(error) or type(error).__name__}') from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise PretrainedError(f'{path} holds a {type(content).__name__}, not tensors by name')
    state = {str(k).removeprefix('module.'): v for k, v in content.items()
             if isinstance(v, Tensor)}
    broken = next((k for k, v in state.items()
                   if v.is_floating_point() and not v.isfinite().all()), None)
    if broken or not state:
        what = f'{broken} has values that are not finite' if broken else 'there are no tensors'
        raise PretrainedError(f'{path}: {what}; the file is damaged or of another kind')
    return state


class _Ignored:
    """Stands for a class that a checkpoint mentions: takes anything, does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _unpickle(path: Path) -> object:
    """Load with torch's restricted unpickler.

    Checkpoints of this family keep settings and statistics beside the weights, as objects of
    classes that exist in their code only: those become `_Ignored`, of whatever name.
    """
    serialization = torch.serialization
    if not hasattr(serialization, 'get_unsafe_globals_in_checkpoint'):  # before torch 2.6
        return torch.load(path, map_location='cpu', weights_only=True)
    try:
        unknown = serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:  # the format before torch 1.6, which can't be looked into
        unknown = []
    stand_ins: Any = [(type('_Ignored', (_Ignored,), {}), name) for name in unknown]
    with serialization.safe_globals(stand_ins):
        return torch.load(path, map_location='cpu', weights_only=True)
