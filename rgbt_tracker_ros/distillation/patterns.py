"""Names by pattern: parameters to freeze or to train faster, outputs layer by layer."""
from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
import re


def selects(patterns: Sequence[str], name: str) -> bool:
    """Tell whether the last pattern that matches selects `name`; '!PATTERN' takes names out."""
    selected = False
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix('!')):
            selected = not pattern.startswith('!')
    return selected


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which layer 10 comes after layer 9."""
    return tuple((0, int(part), '') if part.isdecimal() else (1, 0, part)
                 for part in re.split(r'(\d+)', name))


def expand(pattern: str, names: Collection[str]) -> list[str]:
    """Return the names that a pattern means.

    `*` is one part between dots and gives names in natural order; `{3,7}` lists parts, in their
    order; a pattern without either is one name. None at all where a part that is listed is not
    there: a layer less would change a loss in silence.
    """
    if found := re.search(r'\{([^}]*)\}', pattern):
        parts = [expand(pattern[:found.start()] + part.strip() + pattern[found.end():], names)
                 for part in found[1].split(',')]
        return [name for part in parts for name in part] if all(parts) else []
    regex = re.compile('[^.]+'.join(map(re.escape, pattern.split('*'))))
    return sorted((n for n in names if regex.fullmatch(n)), key=natural)


def rename(mapping: dict[str, str], name: str) -> str | None:
    """Return the new name by the first pattern that matches, None where none does.

    `*` on the left is what `*` on the right stands for.
    """
    for left, right in mapping.items():
        regex = '(.*)'.join(map(re.escape, left.split('*', 1)))
        if found := re.fullmatch(regex, name):
            return right.replace('*', found[1], 1) if '*' in left else right
    return None
