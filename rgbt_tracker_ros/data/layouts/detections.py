"""Boxes of many objects, frame by frame, and the tracks of single objects made of them."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
import xml.etree.ElementTree as ET

import numpy as np

from rgbt_tracker_ros.data.layouts.text import read_lines
from rgbt_tracker_ros.data.sequence import Boxes, LayoutError
from rgbt_tracker_ros.types import Box


@dataclass(frozen=True, slots=True)
class Detection:
    """A labelled object in one frame; `identity`: who it is from frame to frame, if known."""

    label: str
    box: Box
    identity: str | None = None


@dataclass(frozen=True)
class ObjectTrack:
    """One object from the frame it is first seen in, `start`, to the last; zeros in between."""

    name: str
    start: int
    boxes: Boxes


def link(frames: list[list[Detection]], shortest: int = 1, overlap: float = 0.5,
         ) -> list[ObjectTrack]:
    """Make tracks: by identity, or without one by overlap from frame to frame.

    Tracks of fewer than `shortest` boxes are left out. Without identities a track ends where no
    box of its label overlaps by `overlap` or more; the best overlaps are joined first. Such tracks
    are numbered, without the numbers that are somebody's identity.
    """
    known_names = {f'{d.label}_{d.identity}' for detections in frames for d in detections
                   if d.identity is not None}
    tracks: dict[str, dict[int, Box]] = {}
    counts: dict[str, int] = {}
    alive: dict[str, Detection] = {}
    for index, detections in enumerate(frames):
        free = [d for d in detections if d.identity is None]
        joined: dict[str, Detection] = {
            f'{d.label}_{d.identity}': d for d in detections if d.identity is not None}
        options = sorted(((known.box.iou(d.box), name, i) for name, known in alive.items()
                          for i, d in enumerate(free) if d.label == known.label), reverse=True)
        taken: set[int] = set()
        for iou, name, i in options:
            if iou >= overlap and name not in joined and i not in taken:
                joined[name] = free[i]
                taken.add(i)
        for i, detection in enumerate(free):
            if i not in taken:
                name = ''
                while not name or name in known_names:
                    counts[detection.label] = counts.get(detection.label, 0) + 1
                    name = f'{detection.label}_{counts[detection.label]}'
                joined[name] = detection
        alive = {n: d for n, d in joined.items() if d.identity is None}
        for name, detection in joined.items():
            tracks.setdefault(name, {})[index] = detection.box
    return [_track(name, boxes) for name, boxes in tracks.items() if len(boxes) >= shortest]


def _track(name: str, boxes: dict[int, Box]) -> ObjectTrack:
    start = min(boxes)
    rows = np.zeros((max(boxes) - start + 1, 4))
    for index, box in boxes.items():
        rows[index - start] = box.as_tuple()
    return ObjectTrack(name, start, rows)


def read_bbgt(path: Path) -> list[Detection]:
    """Read Piotr Dollar's text form: a comment line, then `label x y w h ...` for each object.

    :raises LayoutError: with the row, if one is different.
    """
    found = []
    for row, line in enumerate(read_lines(path), 1):
        if not line or line.startswith('%'):
            continue
        fields = line.split()
        try:
            x, y, w, h = map(float, fields[1:5])
        except ValueError as error:
            raise LayoutError(path, f'{line[:60]!r} is not a label and x, y, w, h separated by '
                              'spaces', row) from error
        found.append(Detection(fields[0], Box(x, y, w, h)))
    return found


def read_voc(path: Path) -> list[Detection]:
    """Read the objects of a Pascal VOC file; corners, or x, y, w, h; identities where it has them.

    :raises LayoutError: if it is no XML, or an object (the row counts them) lacks a number.
    """
    try:
        root = ET.parse(path).getroot()
    except (OSError, ET.ParseError) as error:
        raise LayoutError(path, f"can't be read as XML: {error}") from error
    found = []
    for row, item in enumerate(root.iter('object'), 1):
        box = item.find('bndbox')
        try:
            values = {} if box is None else {e.tag: float(e.text or '') for e in box}
            if 'xmax' in values:
                x, y = values['xmin'], values['ymin']
                w, h = values['xmax'] - x, values['ymax'] - y
            else:
                x, y, w, h = (values[k] for k in 'xywh')
        except (KeyError, ValueError) as error:
            raise LayoutError(path, f'object {row} has no bndbox of four numbers (xmin, ymin, '
                              f'xmax, ymax or x, y, w, h): {error}', row) from error
        identity = next((e.text for tag in ('trackid', 'track_id', 'id')
                         if (e := item.find(tag)) is not None), None)
        found.append(Detection((item.findtext('name') or 'object').strip(), Box(x, y, w, h),
                               identity))
    return found


def read_vbb(path: Path) -> list[list[Detection]]:
    """Read Piotr Dollar's video form (a MATLAB file): the objects of every frame, with identities.

    :raises LayoutError: if SciPy is not installed, or the file is something else.
    """
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
        from scipy.io.matlab import MatReadError  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise LayoutError(path, 'reading .vbb files needs SciPy: pip install scipy') from error
    try:
        video: Any = loadmat(path, squeeze_me=True, struct_as_record=False)['A']
        labels = [str(label) for label in np.atleast_1d(video.objLbl)]
        return [[Detection(labels[int(o.id) - 1], Box(*(float(v) for v in o.pos)), str(int(o.id)))
                 for o in np.atleast_1d(objects)] for objects in np.atleast_1d(video.objLists)]
    except (OSError, ValueError, KeyError, AttributeError, IndexError, TypeError,
            NotImplementedError, MatReadError) as error:
        raise LayoutError(path, f'not a .vbb file: {type(error).__name__}: {error}') from error
