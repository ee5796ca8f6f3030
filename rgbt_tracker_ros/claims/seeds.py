"""Which seeds are evidence: not those that were looked at while a recipe was made."""
from __future__ import annotations

from collections.abc import Iterable

_FIRST = {'mutual_prompt': 4, 'cmd_rgbt': 4, 'adapt': 4}
"""System -> its first seed where that is not 1. Of these, seeds 1 to 3 had been judged before the
recipe was changed once more. Seed 0 is the one that all recipes were tuned with."""


def first_seed(arm: str) -> int:
    """Return the first seed that counts for an arm (or a system)."""
    return _FIRST.get(arm.split('/')[0], 1)


def seeds_of(arm: str, count: int) -> range:
    """Return the first `count` seeds that count for an arm."""
    return range(first_seed(arm), first_seed(arm) + count)


def told(systems: Iterable[str]) -> str:
    """Return who begins with which seed, in words."""
    groups: dict[int, list[str]] = {}
    for system in systems:
        groups.setdefault(first_seed(system), []).append(f'`{system}`')
    return '; '.join(f'{", ".join(names)} from seed {first} on'
                     for first, names in sorted(groups.items()))
