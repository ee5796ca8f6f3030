"""What is kept aside, cut into stretches: they are counted where chance is reckoned with.

Pairs of one scene show the same things: any number of samples of it are little more evidence than
one. Recordings stand for themselves where there are enough of them. Fewer are cut, and into long
pieces rather than into many, since neighbours have the less in common the longer they are; ten
means are enough to judge by (batch means: Schmeiser, Operations Research, 1982).
"""
from __future__ import annotations

from collections.abc import Sequence as List
from itertools import pairwise
import math
from typing import NamedTuple

LEAST, ENOUGH = 8, 10
"""Stretches: what can be judged by, and how many pieces fewer recordings are cut into, or somewhat
more.
"""
SHORTEST = 4
"""Pairs of a stretch."""


class Stretch(NamedTuple):
    """Pairs of the sequence that has a place in the list of all."""

    place: int
    pairs: range


def cut(spans: List[range], length: int) -> list[Stretch]:
    """Return the stretches of what is kept aside, in order; pieces of a recording have `length`
    pairs or more.

    :param spans: of each sequence; those shorter than SHORTEST are left out. Of LEAST others or
        more only those are cut that are much longer than the rest.
    """
    used = [(place, span) for place, span in enumerate(spans) if len(span) >= SHORTEST]
    total = sum(len(span) for _, span in used)
    wanted = LEAST if len(used) >= LEAST else ENOUGH
    # the longest pieces of which there are enough
    size = next((size for size in range(math.ceil(total / wanted), length, -1)
                 if sum(_pieces(span, size) for _, span in used) >= wanted), length)
    found = []
    for place, span in used:
        pieces = _pieces(span, size)
        edges = [span.start + len(span) * k // pieces for k in range(pieces + 1)]
        found += [Stretch(place, range(a, b)) for a, b in pairwise(edges)]
    return found


def _pieces(span: range, size: int) -> int:
    return max(len(span) // size, 1)
