"""How far the thermal image lies from the RGB image, found without labels or a target.

As the tracker finds it (see `tracking.shifts`), but over all pairs of a recording and at a finer
scale.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from rgbt_tracker_ros.data.crops import to_8_bits
from rgbt_tracker_ros.tracking.geometry import thermal_to_rgb
from rgbt_tracker_ros.tracking.shifts import Floats, Grid, correlation, peak
from rgbt_tracker_ros.types import Pair

_WORKING = 320      # px of the longer side
_REACH = 16         # px there, that are searched each way
_LEAST = 3 * _REACH  # px there, of the shorter side
_SURE = 7.5         # deviations of the correlation by which its peak stands out
_BLURS = (0.0, 2.0)  # px there: as it is, and without the noise of cameras in the dark


class Offset(NamedTuple):
    """`x`, `y`: px of the RGB image by which thermal lies right and down of where RGB has it;
    `sharpness`: how far the peak stands out, in deviations; `sure`: whether that is enough.
    """

    x: float
    y: float
    sharpness: float
    sure: bool


@dataclass
class _Rig:
    """Pairs whose images have the same sizes: correlations summed over them, at one scale."""

    scale: float
    pairs: int = 0
    totals: list[Floats] = field(default_factory=list)


def estimate_offset(pairs: Iterable[Pair], homography: tuple[float, ...] = ()) -> Offset:
    """Return how far thermal lies off, beyond what the homography (see TrackerConfig) says.

    :param pairs: of which those with both images count, unless they are very long and low; a
        hundred of different places are plenty. Where a camera was changed, those count whose
        images have the sizes that are most frequent: each rig lies off in a way of its own.
    """
    rigs: dict[tuple[tuple[int, ...], tuple[int, ...]], _Rig] = {}
    for pair in pairs:
        if pair.rgb is None or pair.thermal is None:
            continue
        thermal = to_8_bits(pair.thermal)
        grid = Grid(pair.rgb.shape, thermal.shape,
                    thermal_to_rgb(homography, (thermal.shape[1], thermal.shape[0]), pair.size),
                    min(_WORKING, max(pair.size)))
        if min(grid.shape) >= _LEAST:
            rig = rigs.setdefault((pair.rgb.shape, thermal.shape), _Rig(grid.scale))
            found = [correlation(*grid.edges(pair.rgb, thermal, blur), _REACH)
                     for blur in _BLURS]
            rig.totals = [a + b for a, b in zip(rig.totals, found, strict=True)] \
                if rig.totals else found
            rig.pairs += 1
    if not rigs:
        return Offset(0.0, 0.0, 0.0, False)
    rig = max(rigs.values(), key=lambda r: r.pairs)
    best = max(map(peak, rig.totals), key=lambda at: at.sharpness)
    return Offset(best.x / rig.scale, best.y / rig.scale, best.sharpness,
                  best.sharpness >= _SURE)
