"""The public benchmark of made-up videos as a data set: drawn when asked for, nothing on disk."""
from __future__ import annotations

from collections.abc import Sequence as Names
from functools import lru_cache
from pathlib import Path

import numpy as np

from rgbt_tracker_ros.data.scene_video import Look, SceneVideo
from rgbt_tracker_ros.data.sequence import Dataset, LayoutError, Sequence
from rgbt_tracker_ros.data.suite_video import suite_video
from rgbt_tracker_ros.data.suites import ABSENT_BELOW, SEQUENCES, SUITES, sequence_name
from rgbt_tracker_ros.types import Pair

KEPT = 128
"""Pairs of a sequence that are kept once they are drawn: the next tracker sees the same."""


class SyntheticFrames:
    """The first `count` pairs of a made-up video.

    `identity`: all that they follow from, besides this code: a first picture does not tell.
    """

    def __init__(self, video: SceneVideo, count: int) -> None:
        self.video = video
        self.identity = repr((video.seed, video.options, video.look))
        self._count = count
        self._pairs: dict[int, Pair] = {}

    def __len__(self) -> int:
        return self._count

    def pair(self, index: int) -> Pair:
        """Draw pair `index`, or copy it where it has been drawn."""
        pair = self._pairs.get(index)
        if pair is None:
            pair = self.video.pair(index)
            if len(self._pairs) < KEPT:
                self._pairs[index] = pair
        return Pair(None if pair.rgb is None else pair.rgb.copy(),
                    None if pair.thermal is None else pair.thermal.copy(), pair.stamp, pair.skew)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, '_pairs': {}}      # drawn again in another process


def open_synthetic(name: str, root: Path, *, suite: str | Names[str] = tuple(SUITES),
                   sequences: int = SEQUENCES, frames: int | None = None, seed: int = 0,
                   style: str | None = None, images: bool = True, strict: bool = True) -> Dataset:
    """Lay out suites of the benchmark; `root` is not looked at.

    :param suite: one of SUITES or several, also with commas between them. `sequences`: of each.
        `frames`: only so many at the start of each. `seed`: 0 is the benchmark, others are for
        tuning. `style`: of the cameras, one of `camera_style.STYLES`.
    :param images: has no effect, as `strict`: the boxes need no drawing.
    :raises LayoutError: if there is no such suite or style, or a number can't be used.
    """
    suites = [s.strip() for s in suite.split(',')] if isinstance(suite, str) else list(suite)
    for wanted in suites:
        if wanted not in SUITES or suites.count(wanted) > 1:
            raise LayoutError(root, f'suite {wanted!r} ' + (
                'is named twice' if wanted in SUITES else
                f'is not known; choose from {", ".join(SUITES)}'))
    for option, value, most in (('sequences', sequences, 10_000), ('frames', frames, 10**6)):
        least = 2 if option == 'frames' else 1
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)
                                  or not least <= value <= most):
            raise LayoutError(root, f'{option} is {value!r}; it must be a whole number from '
                              f'{least} to {most}')
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise LayoutError(root, f'seed is {seed!r}; it must be a whole number from 0 to 2^31 - 1')
    return SyntheticDataset(name, root, tuple(suites), sequences, frames, seed,
                            _look(root, style))


def _look(root: Path, style: str | None) -> Look | None:
    if style is None:
        return None
    from rgbt_tracker_ros.data import camera_style
    try:
        return camera_style.style(style).apply
    except ValueError as error:
        raise LayoutError(root, str(error)) from error


class SyntheticDataset(Dataset):
    """See `open_synthetic`."""

    def __init__(self, name: str, root: Path, suites: tuple[str, ...], sequences: int,
                 frames: int | None, seed: int, look: Look | None) -> None:
        self._where = {sequence_name(suite, number): (suite, number)
                       for suite in suites for number in range(1, sequences + 1)}
        super().__init__(name, root, tuple(self._where))
        self._frames, self._seed, self._look = frames, seed, look
        # trackers take a sequence in turn: its pairs need not be drawn for each
        self._last = lru_cache(maxsize=1)(self._laid_out)

    def _open(self, name: str) -> Sequence:
        return self._last(name)

    def _laid_out(self, name: str) -> Sequence:
        suite, number = self._where[name]
        video = suite_video(suite, number, self._seed, self._look)
        count = min(len(video), self._frames or len(video))
        truth = np.where(video.visible[:, None] < ABSENT_BELOW, 0.0, video.truth)[:count]
        return Sequence(name, SyntheticFrames(video, count), truth, np.arange(count),
                        attributes=(suite,), fps=video.options.fps)
