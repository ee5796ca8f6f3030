"""The options of recordings as training pairs: see `recorded_pairs`."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.options import OptionError, number, one_of

GENERATORS = ('regions', 'random', 'center')


@dataclass(frozen=True, slots=True)
class RecordedOptions:
    """What is recorded, and what is made of it.

    `layout`, `root`, `layout_options`, `sequences`: as of videos. `part`: of each sequence the
    pairs from this share to that. `tracks`: CSV file of pseudo tracks, '' for none; frames are
    those of the whole sequence, and those in that part are taken. `true_boxes`: its boxes are
    labels.
    `tracked`, `instant`, `replay`: shares of the kinds of samples, of any sum; without a file of
    tracks there is no `tracked`. `generator`: of regions for `instant`, or `all` three in turn.
    `max_gap`: pairs from template to search. `absent`: share of `tracked` whose template is
    another target's. `dressed`: share of `replay` that is shown as the recorded cameras would;
    `offset`: px (x, y) by which thermal lies off in the recordings, `pattern`: file (.npy) of the
    thermal sensor's fixed pattern, '' for none, which these are given, too.
    `homography`, `thermal_range`: as the tracker is given them (a range: 2 numbers; empty: by the
    image). `slots`: the batch of the training: sample i is of part i modulo `slots` of the
    recordings, so that each process of a training reads its own.
    """

    layout: str = 'recording'
    root: str = ''
    layout_options: dict[str, Any] = field(default_factory=dict)
    sequences: tuple[str, ...] = ()
    part: tuple[float, ...] = (0.0, 1.0)
    tracks: str = ''
    tracked: float = number(0.5, 0, 1)
    instant: float = number(0.2, 0, 1)
    replay: float = number(0.3, 0, 1)
    dressed: float = number(0.7, 0, 1)
    offset: tuple[float, ...] = ()
    pattern: str = ''
    true_boxes: bool = False
    generator: str = one_of('all', *GENERATORS)
    max_gap: int = number(60, 0)
    absent: float = number(0.06, 0, 1)
    homography: tuple[float, ...] = ()
    thermal_range: tuple[float, ...] = ()
    slots: int = number(32, 1)

    def __post_init__(self) -> None:
        part, matrix, levels = self.part, self.homography, self.thermal_range
        for name, value, good, want in (
                ('part', part, _are_numbers(part, 2) and 0 <= part[0] < part[1] <= 1,
                 'two shares, the lower one first'),
                ('homography', matrix, not matrix or (
                    _are_numbers(matrix, 9) and np.linalg.cond(np.reshape(matrix, (3, 3))) < 1e12),
                 '9 numbers that can be inverted, row by row, or none'),
                ('thermal_range', levels, not levels or (
                    _are_numbers(levels, 2) and levels[0] < levels[1]),
                 '2 numbers that rise, or none'),
                ('offset', self.offset, not self.offset or _are_numbers(self.offset, 2),
                 '2 numbers, or none')):
            if not good:
                raise OptionError(f'recorded: {name} is {list(value)}; it must be {want}')


def read_pattern(path: str) -> NDArray[np.float32]:
    """Read a fixed pattern (H, W). :raises OptionError: it can't be read, or is something else."""
    try:
        pattern = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise OptionError(f"recorded: pattern {path} can't be read: {error}") from error
    if pattern.ndim != 2 or pattern.dtype != np.float32 or not np.isfinite(pattern).all():
        raise OptionError(f'recorded: pattern {path} is {pattern.shape} {pattern.dtype}; it must '
                          'be (H, W) float32')
    return np.asarray(pattern, np.float32)


def _are_numbers(values: Sequence[object], count: int) -> bool:
    return len(values) == count and all(isinstance(v, int | float) and np.isfinite(v)
                                        for v in values)
