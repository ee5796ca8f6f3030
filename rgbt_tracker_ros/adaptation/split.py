"""What of the recordings is trained on and what is kept aside, and how they are told apart."""
from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass
import hashlib
from pathlib import Path

import numpy as np

from rgbt_tracker_ros.data.sequence import LayoutError, Sequence
from rgbt_tracker_ros.distillation.schema import RecipeError

LEAST, LEAST_ASIDE = 40, 8
"""Pairs, in all and kept aside."""
_WHOLE = 5      # from so many recordings on, whole ones are kept aside
_EXCESS = 0.2   # of all pairs, that these may be more than was asked for


@dataclass(frozen=True)
class Split:
    """Which recordings are trained on and which are kept aside, and the part of each."""

    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    trained_part: tuple[float, float] = (0.0, 1.0)
    held_part: tuple[float, float] = (0.0, 1.0)


def split(lengths: List[int], names: List[str], held_out: float, root: Path) -> Split:
    """Keep the last recordings aside, a share of all pairs or somewhat more; where that can't be
    done, since they are few or of very unequal lengths, the end of each.

    :raises LayoutError: too few pairs. :raises RecipeError: the share is none.
    """
    if not 0.05 <= held_out <= 0.5:
        raise RecipeError(f'--held-out is {held_out:g}; it must be 0.05 to 0.5')
    total = sum(lengths)
    if total < LEAST:
        raise LayoutError(root, f'{total} pairs are too few to learn from; {LEAST} are the least, '
                          '2,000 are a good start')
    if len(names) >= _WHOLE:
        aside, pairs = 0, 0
        while pairs < held_out * total:
            aside += 1
            pairs += lengths[-aside]
        if LEAST_ASIDE <= pairs <= min(held_out + _EXCESS, 0.6) * total:
            return Split(tuple(names[:-aside]), tuple(names[-aside:]))
    share = 1 - held_out
    pairs = sum(n - round(share * n) for n in lengths)
    if pairs < LEAST_ASIDE:
        raise LayoutError(root, f'--held-out {held_out:g} keeps {pairs} of {total} pairs aside, '
                          f'too few to judge by; {LEAST_ASIDE} are the least')
    return Split(tuple(names), tuple(names), (0.0, share), (share, 1.0))


def fingerprint(sequence: Sequence) -> str:
    """Return what a recording is told by: its length, and a digest of its first and last pair.

    :raises LayoutError: if these can't be decoded.
    """
    digest = hashlib.sha256()
    for index in (0, len(sequence) - 1):
        pair = sequence.pair(index)
        digest.update(f'{pair.stamp} {pair.skew}'.encode())
        for image in (pair.rgb, pair.thermal):
            if image is not None:
                digest.update(f'{image.shape} {image.dtype}'.encode())
                digest.update(np.ascontiguousarray(image).tobytes())
    return f'{len(sequence)} pairs, {digest.hexdigest()[:16]}'
