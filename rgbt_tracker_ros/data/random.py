"""Random numbers that depend on (seed, sample, name of the draw) alone: the same on CPU and GPU.

A counter goes in, a number comes out: no state, so that a batch can be drawn at once, in any
grouping, on any device, and a new draw does not shift those there are. Everything up to the last
step is integer arithmetic without overflow, and the last step is exact.
"""
from __future__ import annotations

from functools import lru_cache
import math
from zlib import crc32

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_GOLDEN = 0x1E3779B1  # below 2^31, so that products of 32 bits stay below 2^63
_NOISE_BITS = 18


def mix(x: Tensor) -> Tensor:
    """Scramble 32-bit numbers held as int64: a bijection found by search (C. Wellons,
    "Prospecting for Hash Functions", the two-round one of the lowest bias).
    """
    x = x ^ (x >> 16)
    x.mul_(0x21F0AAAD).bitwise_and_(_MASK)
    x.bitwise_xor_(x >> 15)
    x.mul_(0x735A2D97).bitwise_and_(_MASK)
    return x.bitwise_xor_(x >> 15)


def _mixed(number: int) -> int:
    return int(mix(torch.tensor([number & _MASK]))[0])


@lru_cache
def _keys(seed: int, stream: int) -> tuple[int, int]:
    """Two unrelated 32-bit keys of a (seed, stream)."""
    key = _mixed(stream * _GOLDEN + 0x2545F491)
    for part in (seed & _MASK, (seed >> 32) & _MASK):
        key = _mixed((key + _GOLDEN) ^ part)
    return key, _mixed(key ^ 0x5BD1E995)


class Draws:
    """The random numbers of some samples of one seed.

    Streams of one seed never meet: `stream` 0 trains, 1 is held out.

    >>> draws = Draws(seed=7, index=torch.arange(32))
    >>> draws.uniform('speed', 2, low=-1, high=1).shape
    torch.Size([32, 2])
    """

    def __init__(self, seed: int, index: Tensor, stream: int = 0) -> None:
        """Take the sample numbers `index` (B,) int64, 0 or more; they say the device too."""
        first, self._second = _keys(int(seed), int(stream))
        self.index = index
        self._key = mix(mix((index & _MASK) ^ first) ^ (index >> 32))

    def __len__(self) -> int:
        return len(self.index)

    def _counter(self, count: int, name: str) -> Tensor:
        place = torch.arange(count, device=self.index.device).mul_(_GOLDEN)
        return place.add_(crc32(name.encode())).bitwise_and_(_MASK)

    def bits(self, name: str, *shape: int) -> Tensor:
        """Return (B, *shape) int64 of 32 random bits."""
        place = self._counter(math.prod(shape), name)
        value = mix((self._key[:, None] + place).bitwise_and_(_MASK)).bitwise_xor_(self._second)
        return mix(value).reshape(len(self), *shape)

    def uniform(self, name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return (B, *shape) float32 in [low, high)."""
        unit = unit_interval(self.bits(name, *shape))
        return unit.mul_(high - low).add_(low)

    def normal(self, name: str, *shape: int) -> Tensor:
        """Return (B, *shape) float32 of mean 0, variance 1, never beyond 3.5: the sum of four
        uniform numbers of 16 bits (Irwin-Hall), because a logarithm is rounded by each device in
        its own way.
        """
        bits = self.bits(name, *shape, 2)
        halves = ((bits & 0xFFFF) + (bits >> 16)).sum(-1)  # of whole numbers: exact
        return halves.float().mul_(2.0 ** -16).sub_(2.0 - 2.0 ** -15).mul_(math.sqrt(3.0))

    def chance(self, name: str, probability: float, *shape: int) -> Tensor:
        """Return (B, *shape) bool, True with that probability."""
        return self.uniform(name, *shape) < probability

    def integers(self, name: str, count: int, *shape: int) -> Tensor:
        """Return (B, *shape) int64 in [0, count)."""
        return (self.bits(name, *shape) * count) >> 32

    def lattice(self, name: str, channels: int, columns: Tensor, rows: Tensor) -> Tensor:
        """Return (B, channels, R, C) float32 in [0, 1): a number for every whole-numbered place
        of an endless plane.

        :param columns: (B, C) int64 places. :param rows: (B, R) int64.
        """
        key = mix((self._key[:, None] + self._counter(channels, name)) & _MASK)
        key = mix((key[:, :, None] ^ (columns[:, None] & _MASK)).bitwise_xor_(self._second))
        place = (rows & _MASK)[:, None, :, None] * _GOLDEN
        return unit_interval(mix((key[:, :, None] + place).bitwise_and_(_MASK)))


def unit_interval(bits: Tensor) -> Tensor:
    """Turn 32 random bits into float32 in [0, 1)."""
    return (bits >> 8).float().mul_(2.0 ** -24)


@lru_cache
def _noise(device: str) -> Tensor:
    index = torch.arange(1 << _NOISE_BITS)
    return Draws(0, index, stream=2).normal('noise').to(device)


def noise_rows(draws: Draws, name: str, rows: int, width: int) -> Tensor:
    """Return (B, rows, width) float32 noise, as `normal` has it, for every pixel of an image.

    Each row is a window of one long table: a sensor's noise need not be new for every pixel.
    """
    table = _noise(str(draws.index.device))
    windows = table.unfold(0, width, 1)
    start = draws.integers(name, len(windows), rows)
    return windows.index_select(0, start.reshape(-1)).reshape(len(draws), rows, width)
