"""In which numbers a network computes: bfloat16 where the processor is quicker in it.

bfloat16 keeps 8 binary digits of float32's 24. Convolutions that are followed by a batch norm and
summed in float32 bear that: on the shipped clip edges move by a few hundredths of a pixel. What
needs its digits stays in float32: a head's last layers, cosines, softmaxes, and all that lies
between two stacks of convolutions.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.runtime.folding import stacks

PRECISIONS = ('auto', 'float32', 'bf16')
# As Linux names them. Intel's processors without AMX (or whose host hides it) have the former,
# too, and are slower in it: 11.6 ms an update in place of 9.0; AMD's take 6.7 in place of 8.6.
_VECTORS, _TILES, _QUICK_VECTORS = 'avx512_bf16', 'amx_bf16', 'AuthenticAMD'
_CPU_INFO = Path('/proc/cpuinfo')


def resolve_precision(name: str, device: torch.device) -> str:
    """Turn `auto` into `bf16` where that is quicker on this device, into `float32` elsewhere.

    :raises ValueError: a name not in PRECISIONS; one that was asked for is never replaced, so
        `bf16` on a processor without it is slow, but answers.
    """
    if name not in PRECISIONS:
        raise ValueError(f'precision {name!r} is unknown; use one of {", ".join(PRECISIONS)}')
    if name != 'auto':
        return name
    return 'bf16' if device.type == 'cpu' and cpu_has_bf16() else 'float32'


def cpu_has_bf16(info: Path = _CPU_INFO) -> bool:
    """Tell whether the CPU multiplies bfloat16 more quickly than float32, and torch makes use of
    it (Linux on x86-64).

    Without these instructions oneDNN imitates them, slower than float32. torch's own tests for
    them are private and not in all versions that this package runs with.
    """
    # ATEN_CPU_CAPABILITY may hold torch to less than the processor has
    if not has_onednn() or not torch.backends.cpu.get_cpu_capability().startswith('AVX512') \
            or not info.is_file():
        return False
    found: dict[str, str] = {}      # of the first processor
    with info.open(encoding='utf-8', errors='replace') as lines:
        for line in lines:
            key, _, value = line.partition(':')
            found.setdefault(key.strip(), value)
            if key.startswith('flags'):
                break
    flags = found.get('flags', '').split()
    return _TILES in flags or (
        _VECTORS in flags and found.get('vendor_id', '').strip() == _QUICK_VECTORS)


def has_onednn() -> bool:
    """Tell whether torch was built with oneDNN, which computes convolutions on CPUs."""
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def to_bf16(network: nn.Module) -> int:
    """Have every stack of convolutions with folded batch norms compute in bfloat16, in place.

    A stack takes and gives float32, so that the network around it need not know.

    :returns: how many stacks there are: see `folding.stacks`.
    """
    found = list(stacks(network))
    for stack in found:
        for part in stack:
            part.to(torch.bfloat16)
        stack[0].register_forward_pre_hook(_narrow)
        stack[-1].register_forward_hook(_widen)
    return len(found)


def _narrow(stack: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.to(torch.bfloat16) for x in args)


def _widen(stack: nn.Module, args: Any, out: Tensor) -> Tensor:
    return out.float()
