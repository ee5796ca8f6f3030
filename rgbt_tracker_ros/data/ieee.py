"""Functions made of what IEEE 754 fixes alone: the same bits on every device."""
from __future__ import annotations

from torch import Tensor


def exp(x: Tensor) -> Tensor:
    """Return e^x for |x| up to 2, to 3 % (0.1 % for |x| up to 0.7): (1 + t + t^2 / 2)^8, where
    t = x / 8.
    """
    t = x * 0.125
    y = t * t * 0.5 + t + 1.0
    for _ in range(3):
        y = y * y
    return y


def sqrt(x: Tensor) -> Tensor:
    """Return the root of numbers from 1e-3 to 1e3, to the last bit or two (Heron's method).

    torch's own is left to the maths library of each platform.
    """
    y = x * 0.5 + 0.5
    for _ in range(9):
        y = (y + x / y) * 0.5
    return y


def fold(x: Tensor) -> Tensor:
    """Fold numbers into [0, 1]: a triangle wave of period 2, 0 at 0."""
    y = x * 0.5
    y = (y - (y + 0.5).floor()) * 2.0
    return y.abs()
