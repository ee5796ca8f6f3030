"""Thermal images as the network wants them, and pictures that stand still."""
from __future__ import annotations

from collections import deque
import math
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.palettes import detect_palette, to_levels
from rgbt_tracker_ros.types import PairError

# Percentiles are read from about so many pixels, on a regular grid.
_SAMPLES = 8192
# The narrowest range that is stretched to 256 levels: one count of the sensor to either side, or
# 0.03 K where floats are kelvin. A flat image comes out mid grey, and nothing divides by zero.
_MIN_COUNTS = 2.0
_MIN_RELATIVE = 1e-4
# How often a camera has a new picture: the median of so many times, once there are so few. A
# picture is overdue after this share of it: stamps are never quite even. For so many of them the
# last picture stands in for one that is not there.
_TIMES, _FEW, _DUE, _HELD = 9, 3, 0.75, 1.5


class ThermalNormalizer:
    """Turn thermal images of any depth into (H, W) uint8, hotter never darker.

    `config.thermal_range` decides: `auto` leaves 8-bit images as they are and stretches others by
    percentile; `fixed` and `percentile` stretch all. A flat image comes out mid grey. NaN
    (no reading) becomes 0, infinities 0 and 255.

    The percentile range follows the scene slowly (`thermal_smoothing`), so that a hot object which
    enters does not change the look of the rest. It starts anew at another dtype, and where it has
    nothing in common with the frame's own range, as after a jump of the camera's offset; after a
    switch of its gain it may take a second or two to follow.

    False colours (H, W, 3) are taken back to levels first: by the palette when the first colourful
    image fits one of `palettes.PALETTES` (the choice holds until `look_again`), otherwise by their
    luma, which is exact for gray in three channels, and for other palettes keeps the order of
    temperatures only where these grow brighter as they get hotter (not in rainbows). The levels
    are then an 8-bit image to all modes. The camera chose their scale: none of it is undone.
    """

    def __init__(self, config: TrackerConfig) -> None:
        """Start with no range; `config` may be replaced between two frames."""
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forget the range and the palette: the next image is the first."""
        self._smooth: tuple[float, float] | None = None
        self._range: tuple[float, float] | None = None
        self._dtype: np.dtype[Any] | None = None
        self._palette: str | None = None

    def look_again(self) -> None:
        """Forget the palette alone: the operator may have changed it."""
        self._palette = None

    @property
    def range(self) -> tuple[float, float] | None:
        """(low, high) in the camera's units that became 0 and 255 last; None before any image."""
        return self._range

    @property
    def palette(self) -> str | None:
        """Palette of the false colours; '' where none fits, None while none were seen."""
        return self._palette

    def __call__(self, thermal: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the image as (H, W) uint8, contiguous; an 8-bit one may be returned itself.

        :param thermal: (H, W) of any integer or float dtype and byte order, or (H, W, 3) uint8
            RGB; need not be contiguous or writable, and is not written to.
        :raises PairError: if it is anything else, or empty.
        """
        image = self._levels(thermal) if thermal.ndim == 3 else thermal
        if image.ndim != 2 or image.dtype.kind not in 'uif' or not image.size:
            raise PairError('thermal must be (H, W) of numbers or (H, W, 3) uint8; '
                            f'got {thermal.shape} {thermal.dtype}')
        mode = self.config.thermal_range
        if mode == 'auto' and image.dtype == np.uint8:
            self._range = (0.0, 255.0)
            return np.ascontiguousarray(image)
        if mode == 'fixed':
            low, high = self.config.thermal_min, self.config.thermal_max
        else:
            low, high = self._follow(image)
        self._range = (low, high)
        if image.dtype == np.uint8:
            return cv2.LUT(image, _stretch(np.arange(256), low, high)).astype(np.uint8, copy=False)
        return _stretch(image, low, high)

    def _levels(self, colours: NDArray[Any]) -> NDArray[np.uint8]:
        """Take (H, W, 3) false colours back to (H, W) levels."""
        if colours.dtype != np.uint8 or colours.shape[2] != 3 or not colours.size:
            raise PairError('thermal in colours must be (H, W, 3) uint8; '
                            f'got {colours.shape} {colours.dtype}')
        if self._palette is None:
            self._palette = detect_palette(colours)
        if self._palette:
            return to_levels(colours, self._palette)
        luma = cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_RGB2GRAY)
        return luma.astype(np.uint8, copy=False)

    def _follow(self, image: NDArray[Any]) -> tuple[float, float]:
        """Return the range of this frame's percentiles, smoothed over time."""
        if image.dtype != self._dtype:
            self._dtype, self._smooth = image.dtype, None
        now = self._percentiles(image)
        if now is None:             # no pixel is finite: nothing new is known
            return _at_least(*(self._smooth or (0.0, 1.0)), image.dtype)
        old, keep = self._smooth, self.config.thermal_smoothing
        if old is not None and now[0] <= old[1] and old[0] <= now[1]:
            now = (keep * old[0] + (1 - keep) * now[0], keep * old[1] + (1 - keep) * now[1])
        self._smooth = now
        return _at_least(*now, image.dtype)

    def _percentiles(self, image: NDArray[Any]) -> tuple[float, float] | None:
        step = max(1, math.isqrt(image.size // _SAMPLES))
        values = image[::step, ::step].ravel().astype(np.float32)
        values = values[np.isfinite(values)]
        if not values.size:
            return None
        # the nearest ranks will do, and cost a tenth of np.percentile
        percent = self.config.thermal_low, self.config.thermal_high
        ranks = [round((values.size - 1) * p / 100) for p in percent]
        low, high = np.partition(values, ranks)[ranks]
        return float(low), float(high)


class FrozenDetector:
    """Tell when a camera keeps sending one and the same picture (a shutter, a hung driver).

    Only byte-identical pictures count: a live sensor's noise changes some pixel at every frame.
    """

    def __init__(self, frozen_after: float) -> None:
        """Set how long a picture must stay the same, in s; 0 means that none is ever frozen or
        overdue. May be changed later.

        :raises ValueError: if it is negative or not finite.
        """
        if not (math.isfinite(frozen_after) and frozen_after >= 0):
            raise ValueError(f'frozen_after is {frozen_after!r}; it must be 0 s or more')
        self.frozen_after = frozen_after
        self.reset()

    def reset(self) -> None:
        """Forget the last picture."""
        self.repeated = False   # whether the newest picture is the one before it
        self._times: deque[int] = deque(maxlen=_TIMES)  # ns from one new picture to the next
        self._last: NDArray[Any] | None = None
        self._since = 0
        self._stamp = 0

    @property
    def overdue(self) -> bool:
        """Whether the newest picture is an old one where this camera usually has a new one: a
        slow camera's pictures are repeated as a rule.
        """
        return (self.repeated and self.frozen_after > 0 and len(self._times) >= _FEW
                and self._stamp - self._since >= _DUE * median(self._times))

    def held(self, stamp_ns: int) -> NDArray[Any] | None:
        """Return the newest picture where none has come with others of `stamp_ns`, and it is no
        older than a slow camera's are, or one that has lost a picture; None otherwise.
        """
        age = stamp_ns - self._since
        if self.frozen_after and age >= self.frozen_after * 1e9:
            return None     # it would count as frozen
        if len(self._times) < _FEW or not 0 <= age <= _HELD * median(self._times):
            return None
        return self._last

    def update(self, image: NDArray[Any], stamp_ns: int) -> bool:
        """Take the next picture; True when it has been the same for `frozen_after` s of stamps.

        Another shape or dtype, and stamps that go back, start anew. The picture is copied, so the
        caller may reuse its buffer.
        """
        last, self.repeated = self._last, False
        if last is None or last.shape != image.shape or last.dtype != image.dtype:
            self._last = np.array(image, order='C')
        elif stamp_ns >= self._stamp and _same_bytes(last, image):
            self._stamp, self.repeated = stamp_ns, True
            return 0 < self.frozen_after * 1e9 <= stamp_ns - self._since
        else:
            np.copyto(last, image)
            if stamp_ns > self._since:
                self._times.append(stamp_ns - self._since)
        self._since = self._stamp = stamp_ns
        return False


def _stretch(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Map low..high to 0..255, rounded and cut off at both ends; NaN becomes 0."""
    with np.errstate(over='ignore', invalid='ignore'):
        levels: NDArray[np.float32] = np.subtract(
            image, low, dtype=np.float32, casting='unsafe', order='C')
        levels *= 255.0 / (high - low)
        levels += 0.5
    np.clip(levels, 0, 255.5, out=levels)
    if image.dtype.kind == 'f':
        cv2.patchNaNs(levels, 0.0)
    return levels.astype(np.uint8)


def _at_least(low: float, high: float, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Widen a range around its middle to what can be told apart in this dtype."""
    least = _MIN_COUNTS if dtype.kind in 'ui' else max(
        _MIN_RELATIVE, _MIN_RELATIVE * max(abs(low), abs(high)))
    if high - low >= least:
        return low, high
    middle = (low + high) / 2
    return middle - least / 2, middle + least / 2


def _same_bytes(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Compare two arrays of one shape and dtype bit by bit: a thin grid first, then all of it."""
    bits = np.dtype(f'u{a.dtype.itemsize}')       # as bits, NaN equals itself
    a, b = a.view(bits), b.view(bits)
    return bool(np.array_equal(a[::16, ::16], b[::16, ::16]) and np.array_equal(a, b))
