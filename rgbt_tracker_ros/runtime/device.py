"""Which processor runs the network."""
from __future__ import annotations

import torch


class DeviceError(RuntimeError):
    """A device that does not exist here, or a name that means none."""


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device; `auto` is cuda:0 where there is one.

    :raises DeviceError: unknown name, or a GPU that is not there; a GPU that was asked for is
        never silently replaced by the CPU.
    """
    if name == 'auto':
        return torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')
    if name == 'cpu':
        return torch.device('cpu')
    kind, _, number = name.partition(':')
    if kind != 'cuda' or not (number == '' or number.isdecimal()):
        raise DeviceError(f"device {name!r} is unknown; use 'auto', 'cpu' or 'cuda:N'")
    if not torch.cuda.is_available():
        why = 'this build of torch has no CUDA' if torch.version.cuda is None \
            else 'torch finds no CUDA GPU (driver? container without --gpus?)'
        raise DeviceError(f"device {name!r} was asked for, but {why}; use 'cpu' or 'auto'")
    index = int(number or 0)
    count = torch.cuda.device_count()
    if index >= count:
        raise DeviceError(f'device {name!r} was asked for, but there are {count} GPUs, '
                          f'cuda:0 to cuda:{count - 1}')
    return torch.device(f'cuda:{index}')
