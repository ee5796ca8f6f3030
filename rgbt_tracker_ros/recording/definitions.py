"""Message definitions for the head of a file, with which any reader understands its messages."""
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

OURS = 'rgbt_tracker_ros'


@dataclass(frozen=True, slots=True)
class Definition:
    """A message type: 'pkg/msg/Name', its text with all it depends on, and its RIHS01 hash."""

    name: str
    text: str
    digest: str


@cache
def definition_of(name: str) -> Definition:
    """Return the definition of a type of ROS 2's own packages or of this package.

    :raises ValueError: if it is not known.
    """
    store = _store()
    try:
        text, _ = store.generate_msgdef(name, ros_version=2)
        return Definition(name, text, store.hash_rihs01(name))
    except (KeyError, TypesysError) as error:
        raise ValueError(f'{name} is not known here; messages of ROS 2 itself and of {OURS} can '
                         'be recorded') from error


@cache
def _store() -> Typestore:
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in _messages():
        store.register(get_types_from_msg(path.read_text(encoding='utf-8'),
                                          f'{OURS}/msg/{path.stem}'))
    return store


def _messages() -> list[Path]:
    """Return this package's .msg files: of the source tree, or of share/ where it is installed."""
    for folder in Path(__file__).resolve().parents:
        for found in (folder / 'msg', folder / 'share' / OURS / 'msg'):
            if paths := sorted(found.glob('*.msg')):
                return paths
    return []
