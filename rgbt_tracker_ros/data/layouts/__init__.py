"""Data sets as their makers lay them out, behind one interface.

    dataset = open_layout('lasher', '~/data/LasHeR', split='test')
    for sequence in dataset:
        tracker.init(sequence.pair(0), Box(*sequence.truth[0]))

`LAYOUTS` tells which there are.
"""
from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
import inspect
from pathlib import Path
from typing import Any

from rgbt_tracker_ros.data.sequence import Dataset, LayoutError, Sequence

__all__ = ['LAYOUTS', 'Dataset', 'LayoutError', 'Sequence', 'open_layout']

_ROOM = 'rgbt_tracker_ros.data.layouts'
LAYOUTS: dict[str, str] = {
    'lasher': f'{_ROOM}.folders:open_folders',
    'rgbt234': f'{_ROOM}.folders:open_folders',
    'rgbt210': f'{_ROOM}.folders:open_folders',
    'gtot': f'{_ROOM}.folders:open_folders',
    'vtuav': f'{_ROOM}.folders:open_folders',
    'lsotb': f'{_ROOM}.folders:open_folders',
    'ptb': f'{_ROOM}.folders:open_folders',
    'folder': f'{_ROOM}.folders:open_folders',
    'lsotb_train': f'{_ROOM}.tracked:open_lsotb_train',
    'kaist': f'{_ROOM}.tracked:open_kaist',
    'flir': f'{_ROOM}.flir:open_flir',
    'videos': f'{_ROOM}.videos:open_videos',
    'bag': 'rgbt_tracker_ros.data.recordings:open_bags',
}
"""Layout -> the function that opens it: (name, root, **options) -> Dataset."""


def open_layout(name: str, root: str | Path, **options: Any) -> Dataset:
    """Index a data set; no image is opened.

    Options of all layouts: `images` (True): False where there are only annotations, for scoring
    results; `strict` (True): False cuts sequences of unequal lengths to the shortest with a
    warning, and believes the folders' names. Others: see the function that LAYOUTS names.

    :raises LayoutError: if there is no such layout, nothing at `root`, nothing of that layout in
        it, or an option that the layout does not have.
    """
    root = Path(root).expanduser()
    if name not in LAYOUTS:
        raise LayoutError(root, f'no layout {name!r}; there are {", ".join(LAYOUTS)}')
    if not root.exists():
        raise LayoutError(root, f'no such file or folder; give the root of a {name} data set')
    module, function = LAYOUTS[name].split(':')
    opener: Callable[..., Dataset] = getattr(import_module(module), function)
    known = [p for p in inspect.signature(opener).parameters if p not in ('name', 'root')]
    if unknown := sorted(set(options) - set(known)):
        raise LayoutError(root, f'layout {name} has no option {", ".join(unknown)}; it has '
                          + ', '.join(known))
    return opener(name, root, **options)
