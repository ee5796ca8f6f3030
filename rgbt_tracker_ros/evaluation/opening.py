"""How a data set is opened, in this process or another, with its images or without."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from rgbt_tracker_ros.data.layouts import Dataset, LayoutError, Sequence, open_layout


@dataclass(frozen=True)
class Opening:
    """How a data set is opened: what travels to other processes in its stead."""

    layout: str
    root: str
    options: tuple[tuple[str, Any], ...] = ()

    def open(self) -> Dataset:
        """Open it, once in each process.

        :raises LayoutError: see `open_layout`.
        """
        return _open(self)

    @property
    def with_images(self) -> Opening:
        """The same data set with its images."""
        return replace(self, options=tuple(o for o in self.options if o[0] != 'images'))


@lru_cache(maxsize=4)
def _open(opening: Opening) -> Dataset:
    return open_layout(opening.layout, opening.root, **dict(opening.options))


class Illustrated:
    """Sequences with their images where these are there, and without where they are not.

    For showing results that were scored without images.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._sequences: dict[str, Sequence] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._opening.open()

    def __getitem__(self, name: str) -> Sequence:
        """Open a sequence, each once.

        :raises KeyError: if there is none of that name. LayoutError: if it is broken.
        """
        if name not in self._sequences:
            bare = self._opening.open()[name]
            self._sequences[name] = self._with_images(name, bare) or bare
        return self._sequences[name]

    def _with_images(self, name: str, bare: Sequence) -> Sequence | None:
        if self._dataset is None or name not in self._dataset:
            return None
        try:
            sequence = self._dataset[name]
        except LayoutError:     # its boxes are all that can be shown
            return None
        # rows were scored as they are in `bare`
        return sequence if len(sequence.annotated) == len(bare.annotated) else None

    @cached_property
    def _dataset(self) -> Dataset | None:
        try:
            return self._opening.with_images.open()
        except LayoutError:
            return None
