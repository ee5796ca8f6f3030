"""How far the second of two images lies off the first, where cameras of two kinds made them.

What both cameras see has its edges at the same places and in the same directions, whatever the
contrast and whichever side is the brighter. So an image becomes a field of edges: at every pixel a
complex number whose angle is twice that of the gradient (an edge and its negative are one), and
whose length grows as the root of its strength (no single edge decides). Two fields are correlated
over all shifts by FFT, the spectrum flattened most of the way to phase correlation (Kuglin and
Hines, 1975), which makes the peak narrow. What only one camera sees is noise that does not add up.
"""
from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.tracking.geometry import Crop, Matrix

_BLUR = 0.8         # px
_BORDER = 2         # px at the rim, whose gradients are of the border
_FLOOR = 0.5        # of the median strength (squared gradient): much weaker edges are noise
_FLATTENED = 0.7    # share of phase correlation: 0 none, 1 all
_PEAK = 5           # px around a peak that belong to it

Floats = NDArray[np.float32]
Levels = NDArray[np.uint8]


class Shift(NamedTuple):
    """`x`, `y`: px by which the second image lies right and down; `sharpness`: by how many
    deviations of the rest of the correlation its peak stands out.
    """

    x: float
    y: float
    sharpness: float


class Grid:
    """A coarse grid over the RGB image, on which both images of a rig's pairs become fields of
    edges.
    """

    def __init__(self, rgb: tuple[int, ...], thermal: tuple[int, ...], registration: Matrix,
                 size: int) -> None:
        """Make the grid of `size` px along the longer side, for images of these shapes.

        :param registration: 3x3 map from thermal px to RGB px.
        """
        longest = max(rgb[:2])
        self.scale = size / longest
        """px of the grid per px of the RGB image."""
        self.shape = round(rgb[0] * self.scale), round(rgb[1] * self.scale)
        self._shapes = rgb[:2], thermal[:2]
        self._crop = Crop(0, 0, longest, size)
        self._registration = registration
        covered = self._small(np.full(thermal[:2], 255, np.uint8), registration)
        outside = cv2.dilate((covered < 255).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        # where thermal ends within the picture is no edge; `edges` itself leaves out the rim
        self._outside = outside if outside[_BORDER + 1:-_BORDER - 1,
                                           _BORDER + 1:-_BORDER - 1].any() else None

    def fits(self, rgb: tuple[int, ...], thermal: tuple[int, ...], registration: Matrix) -> bool:
        """Whether this is the grid for images of these shapes and this registration."""
        return self._shapes == (rgb[:2], thermal[:2]) and np.array_equal(self._registration,
                                                                         registration)

    def edges(self, rgb: Levels, thermal: Levels, blur: float = 0.0) -> tuple[Floats, Floats]:
        """Return both fields of edges of (H, W, 3) and (H', W') uint8.

        :param blur: px of the grid by which both are blurred first, against noise (deviation).
        """
        field, ours = (edges(image if not blur else cv2.GaussianBlur(
            image.astype(np.float32), (0, 0), blur)) for image in (
                self._small(thermal, self._registration), self._small(rgb)))
        if self._outside is not None:
            field[self._outside] = 0
        return ours, field

    def _small(self, image: Levels, to_rgb: Matrix | None = None) -> Levels:
        """Lay an image over the grid. Halved first, as the mean of four pixels, which is quick."""
        height, width = image.shape[:2]
        while max(image.shape) >= 2 * self._crop.size:
            half = max(image.shape[1] // 2, 1), max(image.shape[0] // 2, 1)
            image = cv2.resize(image, half)
        m = np.diag([width / image.shape[1], height / image.shape[0], 1.0])
        rows, columns = self.shape
        return self._crop.cut(image, m if to_rgb is None else to_rgb @ m)[:rows, :columns]


def edges(image: Levels | Floats) -> Floats:
    """Return the field of edges (H, W, 2), real and imaginary, of an image (H, W) or (H, W, C):
    that of all its channels, as in the structure tensor of Di Zenzo (1986).
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32), (5, 5), _BLUR)
    xx, yy, xy = np.zeros((3, *image.shape[:2]), np.float32)
    for channel in cv2.split(smooth):
        x, y = cv2.Sobel(channel, cv2.CV_32F, 1, 0), cv2.Sobel(channel, cv2.CV_32F, 0, 1)
        if image.ndim == 2:  # columns and rows of a thermal sensor are no edges of the scene
            x -= x.mean(0, keepdims=True)
            y -= y.mean(1, keepdims=True)
        xx += x * x
        yy += y * y
        xy += x * y
    # (x + iy)^2 has twice the angle
    strength = xx + yy
    scale = cv2.pow(strength + (_FLOOR * np.median(strength[::4, ::4]) + 1e-6), -0.75)
    field = np.zeros((*image.shape[:2], 2), np.float32)
    inner = slice(_BORDER, -_BORDER)
    field[inner, inner, 0] = ((xx - yy) * scale)[inner, inner]
    field[inner, inner, 1] = (2 * xy * scale)[inner, inner]
    return field


def correlation(first: Floats, second: Floats, reach: int) -> Floats:
    """Correlate two fields of edges over shifts of -reach to reach px.

    :returns: (2 reach + 1, 2 reach + 1): rows are shifts down, columns shifts to the right of the
        second image against the first; mean 0 and deviation 1, but for a peak.
    """
    height, width = first.shape[:2]
    size = cv2.getOptimalDFTSize(height), cv2.getOptimalDFTSize(width)
    spectra = [cv2.dft(cv2.copyMakeBorder(f, 0, size[0] - height, 0, size[1] - width,
                                          cv2.BORDER_CONSTANT)) for f in (second, first)]
    both = cv2.mulSpectrums(spectra[0], spectra[1], 0, conjB=True)
    power = cv2.magnitude(both[..., 0], both[..., 1])
    both *= cv2.pow(power + 1e-9, -_FLATTENED)[..., None]
    found = cv2.dft(both, flags=cv2.DFT_INVERSE | cv2.DFT_REAL_OUTPUT)
    at = np.arange(-reach, reach + 1)
    found = found[np.ix_(at, at)]
    mean, deviation = _rest(found)
    return np.asarray((found - mean) / max(deviation, 1e-9), np.float32)


def peak(surface: Floats) -> Shift:
    """Return the shift at which a correlation, or a sum of some, is highest, to parts of a px."""
    reach = len(surface) // 2
    row, column = _highest(surface)
    mean, deviation = _rest(surface)
    sharpness = (float(surface[row, column]) - mean) / max(deviation, 1e-9)
    return Shift(column + _between(surface[row], column) - reach,
                 row + _between(surface[:, column], row) - reach, sharpness)


def _highest(surface: Floats) -> tuple[int, int]:
    row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    return int(row), int(column)


def _rest(surface: Floats) -> tuple[float, float]:
    """Return mean and deviation of all but the peak."""
    row, column = _highest(surface)
    at = np.arange(len(surface))
    rest = surface[np.add.outer((at - row) ** 2, (at - column) ** 2) > _PEAK ** 2]
    return float(rest.mean()), float(rest.std())


def _between(line: Floats, at: int) -> float:
    """Return where between the samples a parabola through the peak has its top."""
    if not 0 < at < len(line) - 1:
        return 0.0
    a, b, c = (float(v) for v in line[at - 1:at + 2])
    return 0.5 * (a - c) / (a - 2 * b + c) if a - 2 * b + c else 0.0
