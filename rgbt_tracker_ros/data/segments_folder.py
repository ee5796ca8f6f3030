"""A segment's folder: its two names, the file in it, and whether a recorder is at work there."""
from __future__ import annotations

from pathlib import Path
import re

from rgbt_tracker_ros.data.sequence import LayoutError
from rgbt_tracker_ros.data.sources import natural_order

PARTIAL, MANIFEST = '.partial', 'manifest.json'
_NUMBERED = re.compile(r'(.+)_(\d{4,})')


def is_segment(path: Path) -> bool:
    """Whether a folder is a segment of the recorder, whole or not."""
    return path.is_dir() and ((path / MANIFEST).is_file() or (
        path.name.endswith(PARTIAL) and bool(_NUMBERED.fullmatch(path.name[:-len(PARTIAL)]))))


def segment_name(path: Path) -> str:
    """Return the name of a segment's sequence: that of its folder, once it is whole."""
    name = path.resolve().name
    return path.stem if path.is_file() else name.removesuffix(PARTIAL)


def moved(path: Path) -> Path:
    """Return where a segment is now: it is renamed when it is whole."""
    whole = path.with_name(path.name.removesuffix(PARTIAL))
    return whole if whole != path and not path.exists() and whole.exists() else path


def mcap_of(path: Path) -> Path:
    """Return the MCAP file of a segment.

    :raises LayoutError: if there is none.
    """
    found = sorted(path.glob('*.mcap'), key=natural_order)
    if not found:
        raise LayoutError(path, 'there is no .mcap file in this segment; nothing of it has '
                          'reached the disk, or it was moved away')
    return found[0]


def is_held(partial: Path) -> bool:
    """Whether a recorder is at work on a segment: on the last one of a recording that is locked.

    The lock is looked for, not tried: a recorder that starts just then must get it.
    """
    if not partial.name.endswith(PARTIAL):
        return False
    name = partial.name.removesuffix(PARTIAL).rpartition('_')[0]
    if max(partial.parent.glob(f'{name}_*{PARTIAL}'), key=natural_order, default=None) != partial:
        return False
    try:
        number = (partial.parent / f'.{name}.lock').stat().st_ino
        locks = [line.split() for line in Path('/proc/locks').read_text().splitlines()]
    except OSError:
        return False
    return any('FLOCK' in words and words[-3].endswith(f':{number}') for words in locks
               if len(words) > 3)
