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

__all__ = ['ABOUT', 'LAYOUTS', 'ROOTLESS', 'Dataset', 'LayoutError', 'Sequence', 'open_layout']

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
    'recording': 'rgbt_tracker_ros.data.segments:open_recording',
    'synthetic': f'{_ROOM}.synthetic:open_synthetic',
}
"""Layout -> the function that opens it: (name, root, **options) -> Dataset."""

ROOTLESS = ('synthetic',)
"""Layouts that are drawn, not read: they have no root."""

ABOUT: dict[str, str] = {
    'lasher': 'LasHeR: `testingset/NAME/{visible,infrared}/`, `init.txt` in it; lists, attributes',
    'rgbt234': 'RGBT234: `NAME/{visible,infrared}/`, `visible.txt` and `infrared.txt` in it',
    'rgbt210': 'RGBT210: `NAME/{visible,infrared}/`, `init.txt` in it',
    'gtot': 'GTOT: `NAME/{v,i}/`, `groundTruth_v.txt` and `groundTruth_i.txt` (corners) in it',
    'vtuav': 'VTUAV: `test_ST/NAME/{rgb,ir}/`, `rgb.txt` and `ir.txt` (every tenth frame) in it',
    'lsotb': 'LSOTB-TIR, evaluation set: `sequences/NAME/img/`, `anno/NAME.txt`; thermal alone',
    'ptb': 'PTB-TIR: `tirsequences/NAME/img/`, `tiranno/NAME.txt`; thermal alone',
    'folder': 'your own images: `NAME/{rgb,thermal}/`, `groundtruth.txt` (x,y,w,h a line) in it',
    'lsotb_train': 'LSOTB-TIR, training set: `TrainingData/`, `Annotations/` (XML)',
    'kaist': 'KAIST pedestrians: `images/set06/V000/{visible,lwir}/` and annotations; a sequence '
             'for each person',
    'flir': 'FLIR ADAS v2: `video_{rgb,thermal}_test/`, `rgb_to_thermal_vid_map.json`; a sequence '
            'for each object',
    'videos': 'your own videos: `visible/NAME.mp4`, `infrared/NAME.mp4`, `tracks/*.csv` '
              '(video,frame,x,y,w,h)',
    'bag': 'rosbag2 (MCAP, SQLite) or ROS 1 bag, or a folder of them; `groundtruth.csv` (frame or '
           'stamp,x,y,w,h) in the bag, or `BAG.csv` beside it',
    'recording': 'what the recorder node writes: `NAME_0000/`, `NAME_0001/` ... a sequence each, '
                 'and `NAME_0002.partial/`, as far as it goes; boxes as in a bag',
    'synthetic': 'the public benchmark of made-up videos: no files; option `suite`',
}
"""Layout -> where its images and true boxes are, in Markdown."""


def open_layout(name: str, root: str | Path = '', **options: Any) -> Dataset:
    """Index a data set; no image is opened. `root`: where it is; not looked at for ROOTLESS ones.

    Options of all layouts: `images` (True): False where there are only annotations, for scoring
    results; `strict` (True): False cuts sequences of unequal lengths to the shortest with a
    warning, believes the folders' names, and pairs images of other numbers as they stand. Others:
    see the function that LAYOUTS names.

    :raises LayoutError: if there is no such layout, nothing at `root`, nothing of that layout in
        it, or an option that the layout does not have.
    """
    root = Path(name) if name in ROOTLESS else Path(root).expanduser()
    if name not in LAYOUTS:
        raise LayoutError(root, f'no layout {name!r}; there are {", ".join(LAYOUTS)}')
    if name not in ROOTLESS and not root.exists():
        raise LayoutError(root, f'no such file or folder; give the root of a {name} data set')
    module, function = LAYOUTS[name].split(':')
    opener: Callable[..., Dataset] = getattr(import_module(module), function)
    known = [p for p in inspect.signature(opener).parameters if p not in ('name', 'root')]
    if unknown := sorted(set(options) - set(known)):
        raise LayoutError(root, f'layout {name} has no option {", ".join(unknown)}; it has '
                          + ', '.join(known))
    return opener(name, root, **options)
