"""The few types that every room speaks: Box, Pair, State, Estimate."""
from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
import math

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Thermal = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]


class BoxError(ValueError):
    """A box that can't be followed: not finite, without area, or outside the image."""


class PairError(ValueError):
    """A pair whose images can't be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box in pixels of the reference image.

    `x`, `y` is the top-left corner, `w`, `h` the size. Continuous coordinates: pixel (0, 0)
    covers [0, 1) x [0, 1), as in the RGB-T benchmarks.
    """

    x: float
    y: float
    w: float
    h: float

    @classmethod
    def from_center(cls, cx: float, cy: float, w: float, h: float) -> Box:
        """Return the box of size (w, h) around (cx, cy)."""
        return cls(cx - w / 2, cy - h / 2, w, h)

    @property
    def center(self) -> tuple[float, float]:
        """Centre (cx, cy) in pixels."""
        return self.x + self.w / 2, self.y + self.h / 2

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.w * self.h

    def as_tuple(self) -> tuple[float, float, float, float]:
        """Return (x, y, w, h)."""
        return self.x, self.y, self.w, self.h

    def iou(self, other: Box) -> float:
        """Intersection over union with another box, in [0, 1]."""
        iw = min(self.x + self.w, other.x + other.w) - max(self.x, other.x)
        ih = min(self.y + self.h, other.y + other.h) - max(self.y, other.y)
        if iw <= 0 or ih <= 0:
            return 0.0
        inter = iw * ih
        return min(inter / (self.area + other.area - inter), 1.0)

    def checked(self, width: int, height: int, min_size: float = 4.0) -> Box:
        """Return this box cut to an image of `width` x `height` px.

        :raises BoxError: if it is not finite, or less than `min_size` px of it lie inside.
        """
        if not all(math.isfinite(v) for v in self.as_tuple()):
            raise BoxError(f'box {self.as_tuple()} is not finite; give x, y, w, h in pixels')
        if self.w <= 0 or self.h <= 0:
            raise BoxError(f'box {self.as_tuple()} has no area; w and h must be above 0')
        x1, y1 = max(self.x, 0.0), max(self.y, 0.0)
        x2, y2 = min(self.x + self.w, float(width)), min(self.y + self.h, float(height))
        if x2 <= x1 or y2 <= y1:
            raise BoxError(f'box {self.as_tuple()} lies outside the {width}x{height} image')
        if min(x2 - x1, y2 - y1) < min_size:
            raise BoxError(f'box {self.as_tuple()} shows {x2 - x1:.1f}x{y2 - y1:.1f} px inside '
                           f'the {width}x{height} image; {min_size:g} px a side are needed')
        return Box(x1, y1, x2 - x1, y2 - y1)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """An RGB and a thermal image of one instant; one of them may be missing.

    `rgb`: (H, W, 3) uint8, red first. `thermal`: (H', W') uint8, uint16 or float32, or
    (H', W', 3) uint8 where the camera sends false colours. `stamp`: ns of the reference image,
    from any origin; it must rise from pair to pair, as motion, frozen pictures and how long a
    target has been lost are told by it. `skew`: ns, thermal stamp minus RGB stamp.
    """

    rgb: Image | None = None
    thermal: Thermal | None = None
    stamp: int = 0
    skew: int = 0

    def __post_init__(self) -> None:
        if self.rgb is None and self.thermal is None:
            raise PairError('a pair needs an RGB image, a thermal image, or both; got neither')
        if self.rgb is not None and (
                self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8
                or 0 in self.rgb.shape):
            raise PairError(f'RGB must be (H, W, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}')
        t = self.thermal
        if t is not None and not (
                0 not in t.shape
                and ((t.ndim == 2 and t.dtype in (np.uint8, np.uint16, np.float32))
                     or (t.ndim == 3 and t.shape[2] == 3 and t.dtype == np.uint8))):
            raise PairError('thermal must be (H, W) uint8, uint16 or float32, or (H, W, 3) uint8; '
                            f'got {t.shape} {t.dtype}')

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the reference image: RGB, or thermal without it."""
        image = self.rgb if self.rgb is not None else self.thermal
        assert image is not None
        return image.shape[1], image.shape[0]


class State(IntEnum):
    """What the tracker knows of its target; the numbers are those of Track.msg."""

    IDLE = 0
    SEARCHING = 1
    TRACKING = 2
    UNCERTAIN = 3
    LOST = 4

    @property
    def in_sight(self) -> bool:
        """Whether the box is the tracker's word on where the target is now."""
        return self in (State.TRACKING, State.UNCERTAIN)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One answer of a tracker.

    `box`: in the reference image. `confidence`: calibrated chance in [0, 1] that the box overlaps
    the target by half or more. `weight_rgb`, `weight_thermal`: share of each modality, adding up
    to 1, or both 0 where there is no answer; 0 where it was missing or frozen and no picture of
    it stood in. `timings`: seconds by stage (`crop`, `network`,
    `total`). `frozen`: modalities whose picture has not changed for long.
    """

    box: Box
    confidence: float
    state: State
    weight_rgb: float = 0.0
    weight_thermal: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
