"""Random numbers that depend on (seed, sample number) alone, not on who draws them or when.

A batch split over processes, or resumed after a kill, draws the same as one that was not.
"""
from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9


def _mix(x: Tensor) -> Tensor:
    """Scramble 32-bit numbers held as int64 (C. Wellons, "Prospecting for Hash Functions").

    The factors are below 2^31, so that no product overflows.
    """
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & _MASK
    x = ((x ^ (x >> 15)) * 0x735A2D97) & _MASK
    return x ^ (x >> 15)


def uniform(seed: int, index: Tensor, count: int, stream: int = 0) -> Tensor:
    """Return (B, count) float32 numbers in [0, 1), the same on every device.

    :param index: (B,) int64 sample numbers.
    :param stream: another number, other draws: one for every purpose.
    """
    key = torch.full_like(index, (seed ^ (seed >> 32)) & _MASK)
    key = _mix((key + stream * _GOLDEN) & _MASK)
    for part in (index & _MASK, (index >> 32) & _MASK):
        key = _mix((key * 31 + part) & _MASK)
    place = torch.arange(1, count + 1, device=index.device) * _GOLDEN
    bits = _mix(_mix((key[:, None] + place) & _MASK))
    return (bits >> 8).float() / (1 << 24)
