"""Data sets of `table.FOLDER_LAYOUTS`: one folder of images per modality, boxes in text files."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cached_property
import logging
from pathlib import Path

import numpy as np

from rgbt_tracker_ros.data.layouts.images import ImageFiles, gap, list_images, match_lengths
from rgbt_tracker_ros.data.layouts.rows import fit_rows, read_tracks
from rgbt_tracker_ros.data.layouts.table import FOLDER_LAYOUTS, Flags, FolderLayout
from rgbt_tracker_ros.data.layouts.text import read_boxes, read_column, read_flags, read_names
from rgbt_tracker_ros.data.sequence import (
    Boxes,
    Dataset,
    Frames,
    LayoutError,
    Sequence,
    Unseen,
)
from rgbt_tracker_ros.data.sources import natural_order

_log = logging.getLogger(__name__)


def open_folders(name: str, root: Path, *, split: str | None = None, images: bool = True,
                 strict: bool = True, truth: bool = True) -> Dataset:
    """Open a data set of FOLDER_LAYOUTS.

    :param split: which part of it, of the layout's `splits`; None takes the first.
    :param truth: False leaves files of boxes unread: they may be missing, or not fit.
    :raises LayoutError: if there is no such split, or no sequence in it.
    """
    layout = FOLDER_LAYOUTS[name]
    split = next(iter(layout.splits)) if split is None else split
    if split not in layout.splits:
        raise LayoutError(root, f'layout {name} has no split {split!r}; it has '
                          + ', '.join(layout.splits))
    return FolderDataset(name, root, layout, split, images, strict, truth)


class FolderDataset(Dataset):
    """See `open_folders`."""

    def __init__(self, name: str, root: Path, layout: FolderLayout, split: str, images: bool,
                 strict: bool, truth: bool = True) -> None:
        self.layout = layout
        self._images, self._strict, self._wants_truth = images, strict, truth
        bases = [b for pattern in layout.splits[split] for b in _matching(root, pattern)
                 if b.is_dir()]
        everything = [p for patterns in layout.splits.values() for p in patterns]
        undivided = not bases and not any(True for p in everything for _ in _matching(root, p))
        if undivided:
            bases = [root]
        places = (root, *bases, *(b.parent for b in bases), root.parent)
        self._places = list(dict.fromkeys(places)) if layout.around else [root]
        self._folders = _named(
            {f for base in bases for f in self._sequence_folders(base, 2)}, root)
        if not images:
            self._folders.update((n, None) for n in self._annotated_names() if n not in
                                 self._folders)
        there = sorted(self._folders, key=lambda n: natural_order(Path(n)))
        official = self._official(split)
        names = there if official is None else [n for n in official if n in self._folders]
        if official and there and not names:
            raise LayoutError(self._list_of(split) or root, f'names none of the {len(there)} '
                              f'sequences in {root}, {there[0]} for one; mend it or move it away')
        if not names:
            wanted = ' or '.join(f'{s}/' for s in layout.splits[split]) or 'folders'
            sought = [*layout.rgb, *layout.thermal] if images else [*layout.truth]
            raise LayoutError(root, f'no {name} sequence (split {split}); looked in {wanted} for '
                              f'sequences with {" or ".join(sought)}')
        if undivided and official is None and split != next(iter(layout.splits)) \
                and set(layout.splits[split]) != set(everything) \
                and not _like(root.resolve().name, layout.splits[split]):
            _log.warning('%s: no %s in it, and no list: all of its %d sequences are taken for '
                         'split %s', root, ' or '.join(layout.splits[split]), len(names), split)
        missing = () if official is None else tuple(n for n in official if n not in self._folders)
        super().__init__(name, root, tuple(names), missing)

    def problems(self) -> list[str]:
        """See Dataset.problems; attribute files that are not there or wrong are problems too."""
        found = []
        if isinstance(self.layout.attributes, Flags):
            places = self.layout.attributes.folders
        else:
            places = (self.layout.attributes.folder,) if self.layout.attributes else ()
        if places and not any(self._find(p) for p in places):
            found.append(f'{self.root}: no attributes; looked for {" or ".join(places)}')
        return found + super().problems()

    def _open(self, name: str) -> Sequence:
        layout, folder = self.layout, self._folders[name]
        rgb, thermal = self._list(folder) if self._images and folder else ([], [])
        places, places_thermal = (layout.truth, layout.truth_thermal) if self._wants_truth \
            else ((), ())
        count = len(rgb) or len(thermal)
        holder = f'there are {count} images{gap(rgb or thermal)}' if self._images else ''
        truth, raw, annotated = self._truth(name, folder, places, count, holder)
        second, raw_thermal, _ = self._truth(name, folder, places_thermal, count, holder)
        if truth is None and layout.needs_truth and self._wants_truth:
            raise LayoutError(folder or self.root, f'{name} has no boxes; looked for '
                              + ' or '.join(layout.truth))
        rows = len(raw)
        if truth and truth.suffix != '.csv' and self._images:
            rows, count = fit_rows(truth, len(raw), count, layout.step, self._strict,
                                   gap(rgb or thermal))
        if second and self._strict and len(raw_thermal) != len(raw):
            raise LayoutError(second, f'{len(raw_thermal)} rows; {truth} has {len(raw)}',
                              min(len(raw), len(raw_thermal)) + 1)
        rows = min(rows, len(raw_thermal)) if second else rows
        raw, annotated = raw[:rows], annotated[:rows]
        frames: Frames = (ImageFiles(rgb[:count], thermal[:count], trusting=not self._strict)
                          if self._images else
                          Unseen(self.root, int(annotated[-1]) + 1 if len(annotated) else 0))
        return Sequence(name, frames, raw, annotated, raw_thermal[:rows] if second else None,
                        self._attributes(name))

    def _list(self, folder: Path) -> tuple[list[Path], list[Path]]:
        layout = self.layout
        places = [_child(folder, names) for names in (layout.rgb, layout.thermal)]
        optional = not layout.needs_truth       # your own may be of one modality
        for place, names in zip(places, (layout.rgb, layout.thermal), strict=True):
            if names and place is None and not optional:
                raise LayoutError(folder, f'no folder {" or ".join(names)} in it')
        rgb, thermal = places
        others = (layout.thermal_name, layout.rgb_name) if self._strict else ('', '')
        return match_lengths(list_images(rgb, others[0]) if rgb else [],
                             list_images(thermal, others[1]) if thermal else [],
                             self._strict, folder)

    def _truth(self, name: str, folder: Path | None, places: tuple[str, ...], count: int,
               holder: str) -> tuple[Path | None, Boxes, np.ndarray]:
        """Return (file, boxes, frame of each); without a file None and no boxes.

        A table's frames must be below `count` where there is a `holder`: see Track.check.
        """
        layout = self.layout
        for place in places:
            path = (self._find(place.format(name=name)) if '{name}' in place else
                    _child(folder, (place,)) if folder else None)
            if path is None:
                continue
            if path.suffix == '.csv':
                track = read_tracks(path)[0]
                if holder:
                    track.check(path, count, holder)
                return path, *track.filled()
            boxes = read_boxes(path, layout.form, layout.delimiters)
            if not len(boxes):
                raise LayoutError(path, 'no boxes')
            return path, boxes, np.arange(len(boxes), dtype=np.int64) * layout.step
        return None, np.empty((0, 4)), np.empty(0, np.int64)

    def _attributes(self, name: str) -> tuple[str, ...]:
        how = self.layout.attributes
        if isinstance(how, Flags):
            path = next((p for f in how.folders if (p := self._find(f'{f}/{name}.txt'))), None)
            return read_flags(path, how.names) if path else ()
        return self._columns.get(name, ())

    @cached_property
    def _columns(self) -> dict[str, tuple[str, ...]]:
        how = self.layout.attributes
        if how is None or isinstance(how, Flags) or not (folder := self._find(how.folder)):
            return {}
        order = next((p for f in how.order if (p := self._find(f))), None)
        names = read_names(order) if order else sorted(self._folders)
        flags = {a: read_column(folder / f'{a}.txt', len(names)) for a in how.names}
        return {n: tuple(a for a in how.names if flags[a][i]) for i, n in enumerate(names)}

    def _official(self, split: str) -> list[str] | None:
        path = self._list_of(split)
        return None if path is None else read_names(path)

    def _list_of(self, split: str) -> Path | None:
        return next((p for f in self.layout.lists.get(split, ()) if (p := self._find(f))), None)

    def _find(self, place: str) -> Path | None:
        """Return the first of root, the split's folders and those around them that has it."""
        return next((p / place for p in self._places if (p / place).exists()), None)

    def _sequence_folders(self, base: Path, depth: int) -> Iterator[Path]:
        layout = self.layout
        inside = (*layout.rgb, *layout.thermal) if self._images else ()
        files = tuple(t for t in layout.truth if '{' not in t)
        if _child(base, (*inside, *files)):
            yield base
        elif depth:
            for folder in sorted(p for p in base.iterdir()
                                 if p.is_dir() and not p.name.startswith('.')):
                yield from self._sequence_folders(folder, depth - 1)

    def _annotated_names(self) -> Iterator[str]:
        for place in self.layout.truth:
            folder, _, file = place.rpartition('/')
            if file == '{name}.txt' and (found := self._find(folder)):
                yield from (p.stem for p in found.glob('*.txt'))
                return


def _matching(root: Path, pattern: str) -> Iterator[Path]:
    """Return what matches a pattern, in whatever case it is written."""
    either = ''.join(f'[{c.lower()}{c.upper()}]' if c.isalpha() else c for c in pattern)
    return iter(sorted(root.glob(either)))


def _like(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name.lower(), p.lower()) for p in patterns)


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first of `names` that is in a folder, in whatever case it is written."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    entries = {p.name.lower(): p for p in folder.iterdir()} if names else {}
    return next((entries[n.lower()] for n in names if n.lower() in entries), None)


def _named(folders: set[Path], root: Path) -> dict[str, Path | None]:
    """Name sequences by their folder; by the path to it where that is not unique."""
    names = {f: f.name or f.resolve().name for f in sorted(folders)}  # the root may be '.'
    count = Counter(names.values())
    return {n if count[n] == 1 else f.relative_to(root).as_posix(): f for f, n in names.items()}


