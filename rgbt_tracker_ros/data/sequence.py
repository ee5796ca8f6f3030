"""Sequences with known boxes, whatever they are stored as: Sequence, Dataset, LayoutError."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.types import Pair

Boxes = NDArray[np.float64]


class LayoutError(ValueError):
    """A data set that is not laid out as it should be; the text names the file and the row.

    `path`: the file or folder. `row`: 1-based line of a text file, or number of a frame counted
    from 1; None where the whole file is meant.
    """

    def __init__(self, path: str | Path, what: str, row: int | None = None) -> None:
        super().__init__(f'{path}{"" if row is None else f", row {row}"}: {what}')
        self.path = Path(path)
        self.what = what
        self.row = row

    def __reduce__(self) -> tuple[type, tuple[Path, str, int | None]]:
        return type(self), (self.path, self.what, self.row)     # survives worker processes


class Frames(Protocol):
    """Where the images of a sequence come from; each is decoded when it is asked for."""

    def __len__(self) -> int: ...

    def pair(self, index: int) -> Pair:
        """Return pair `index`, counted from 0.

        :raises LayoutError: if its images can't be decoded or used.
        """
        ...


def identity_of(files: Iterable[Path]) -> str:
    """Return a digest of files by their names, sizes and times of change, without reading them.

    For the `identity` of Frames that are made of them: see `evaluation.runner.fingerprint`.

    :raises LayoutError: if one is not there any more.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            found = file.stat()
        except OSError as error:
            raise LayoutError(file, f"can't be read: {error.strerror}") from error
        digest.update(f'{file.name}\0{found.st_size} {found.st_mtime_ns}\0'.encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Unseen:
    """The frames of a sequence whose images were not asked for: their number is all there is."""

    path: Path
    count: int

    def __len__(self) -> int:
        return self.count

    def pair(self, index: int) -> Pair:
        """Refuse: there are no images.

        :raises LayoutError: always.
        """
        raise LayoutError(self.path, f'frame {index} was asked for, but the data set was opened '
                          'with images=False')


@dataclass(frozen=True, eq=False)
class Sequence:
    """One sequence: lazily decoded pairs and the boxes of one target.

    `raw_truth`: (N, 4) float64 rows of x, y, w, h in px as the file has them (corners turned to
    w = x2 - x1, h = y2 - y1), zeros and all: benchmark rules look at those. `annotated`: (N,)
    int64, ascending: the frame that each row is for. N is 0 where nothing is annotated.
    `raw_truth_thermal`: the same for a second track drawn on the thermal images, or None.
    `attributes`: challenges it is filed under. `fps`: frames per second, None if not known.
    """

    name: str
    frames: Frames
    raw_truth: Boxes
    annotated: NDArray[np.int64]
    raw_truth_thermal: Boxes | None = None
    attributes: tuple[str, ...] = ()
    fps: float | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def __bool__(self) -> bool:
        return True

    def pair(self, index: int) -> Pair:
        """Decode pair `index`: RGB red first, thermal as stored, None for what there is not.

        :raises IndexError: if there is no such frame.
        :raises LayoutError: if its images can't be decoded or used.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'{self.name}: no frame {index}; there are {len(self)}')
        return self.frames.pair(index)

    def pairs(self, start: int = 0, stop: int | None = None) -> Iterator[Pair]:
        """Yield the pairs from frame `start` up to, not including, `stop`: see `pair`."""
        for index in range(start, len(self) if stop is None else min(stop, len(self))):
            yield self.pair(index)

    def __iter__(self) -> Iterator[Pair]:
        return self.pairs()

    @cached_property
    def truth(self) -> Boxes:
        """(N, 4) float64 x, y, w, h; NaN rows where the target is absent."""
        return absent_as_nan(self.raw_truth)

    @cached_property
    def truth_thermal(self) -> Boxes | None:
        """The second track as `truth`, or None where there is only one."""
        raw = self.raw_truth_thermal
        return None if raw is None else absent_as_nan(raw)


class Dataset(ABC):
    """Named sequences under one root. Indexing opens no image; a sequence is read when asked for.

    `name`: of the layout. `root`: the folder (or file) it was opened with. `sequence_names`: what
    is there, in the order of the official list if its file is there, else by name. `missing`:
    what the list names and the disk lacks.
    """

    def __init__(self, name: str, root: Path, sequence_names: tuple[str, ...],
                 missing: tuple[str, ...] = ()) -> None:
        self.name = name
        self.root = root
        self.sequence_names = sequence_names
        self.missing = missing

    def __len__(self) -> int:
        return len(self.sequence_names)

    def __contains__(self, name: object) -> bool:
        return name in self.sequence_names

    def __iter__(self) -> Iterator[Sequence]:
        """Open the sequences one after the other."""
        return map(self.__getitem__, self.sequence_names)

    def __getitem__(self, name: str) -> Sequence:
        """Open a sequence: its file names and annotations are read, no image is.

        :raises KeyError: if there is none of that name.
        :raises LayoutError: if it is not as it should be.
        """
        if name not in self.sequence_names:
            raise KeyError(f'{self.root}: no sequence {name!r} of layout {self.name}; there are '
                           + shorten(self.sequence_names))
        return self._open(name)

    @abstractmethod
    def _open(self, name: str) -> Sequence:
        """Open a sequence that is there."""

    def problems(self) -> list[str]:
        """List all that is incomplete, a line each; empty when every sequence can be opened.

        Reads every sequence's file names and annotations, no images.
        """
        found = [f'{self.root}: sequence {name} is on the list but not there'
                 for name in self.missing]
        for name in self.sequence_names:
            try:
                self._open(name)
            except LayoutError as error:
                found.append(str(error))
        return found


def absent_as_nan(boxes: Boxes) -> Boxes:
    """Return a copy of (N, 4) x, y, w, h with NaN rows where w or h is not above 0, or no number.

    What benchmarks write for an absent target: 0,0,0,0, negative sizes, or NaN.
    """
    there = np.isfinite(boxes).all(axis=1) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    return np.where(there[:, None], boxes, np.nan)


def shorten(names: tuple[str, ...], most: int = 8) -> str:
    """Join names for a message, the first few if they are many."""
    more = f', ... ({len(names)} in all)' if len(names) > most else ''
    return (', '.join(names[:most]) or 'none') + more
