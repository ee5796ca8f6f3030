"""Made-up samples as a recorded camera would show them: exact boxes in another camera's style.

From a crop of a recorded pair come the levels of each channel (mean and deviation: Reinhard et
al., *Color Transfer between Images*, 2001; of RGB also the curve, by the skewness), what is left
of it without its smooth part, which is the sensor's noise, and its scale, which tells how far
thermal lies off. The fixed pattern of the thermal sensor is that of many pairs. The deviation is
that of the scene alone: a camera of much noise would else be given contrast for it. What is black,
as beyond the edge of a picture, stays.
"""
from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.jitter import CropView

Levels = NDArray[np.uint8]
_FLAT = 4.0             # deviations below this are those of an empty picture
_GAIN = (0.08, 3.0)     # of a channel's deviation; an empty crop says little of the camera's
_BLUR = 2.0             # px
_GAMMAS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)     # of RGB cameras
_INVERTED = 0.5         # chance of a thermal picture to be: which palettes fall is not known
_CLIP = 3.0             # deviations of the noise; beyond it are edges of the scene


def dress(rng: np.random.Generator, views: tuple[CropView, CropView], recorded: CropView,
          shift: tuple[float, float], pattern: NDArray[np.float32] | None = None) -> None:
    """Give template and search view the style of a recorded crop, in place.

    :param recorded: as large as the search view or larger, at the scale of both; a modality that
        it, or a view, lacks stays as it is. :param shift: px of the crops by which thermal is
        moved right and down.
    :param pattern: of the thermal sensor (see `fixed_pattern`), in that crop.
    """
    for name, there in zip(('rgb', 'thermal'), recorded.present, strict=True):
        if not there:
            continue
        theirs = getattr(recorded, name).astype(np.float32)
        still = pattern if name == 'thermal' and pattern is not None else np.float32(0)
        noise = sensor_noise(theirs - still)
        table = _table(getattr(views[1], name), theirs - still, noise, name == 'rgb',
                       name == 'thermal' and rng.random() < _INVERTED)
        noise = noise + still
        for view in views:
            if not view.present[name == 'thermal']:
                continue
            drawn = getattr(view, name)
            image = np.take_along_axis(table, drawn.reshape(-1, table.shape[1]).astype(np.int64),
                                       0).reshape(drawn.shape)
            if name == 'thermal' and any(shift):
                move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
                image = cv2.warpAffine(image, move, image.shape[1::-1],
                                       borderMode=cv2.BORDER_REPLICATE)
            size = image.shape[0]
            y, x = rng.integers(noise.shape[0] - size + 1), rng.integers(noise.shape[1] - size + 1)
            image = image + noise[y:y + size, x:x + size]
            image[_outside(drawn)] = 0
            setattr(view, name, np.clip(image + 0.5, 0, 255).astype(np.uint8))


def _table(drawn: Levels, theirs: NDArray[np.float32], noise: NDArray[np.float32], bends: bool,
           inverted: bool) -> NDArray[np.float32]:
    """Return (256, C) what levels of each channel become: with mean and deviation of theirs
    without their `noise`, and, where the camera's curve `bends`, about their skewness.
    """
    seen = ~_outside(drawn)
    if not seen.any():
        seen[:] = True
    levels = np.arange(256, dtype=np.float32)
    if bends:
        wanted = _skewness(theirs - noise)
        smooth = cv2.GaussianBlur(drawn, (0, 0), _BLUR)[seen][::16]
        bend = min(_GAMMAS, key=lambda g: abs(
            _skewness((smooth / np.float32(255)) ** np.float32(g)) - wanted))
        levels = np.asarray(255 * (levels / 255) ** bend, np.float32)
    ours = levels[drawn]
    gain = np.clip(_deviation(theirs.reshape(-1, *theirs.shape[2:]),
                              noise.reshape(-1, *noise.shape[2:]))
                   / np.maximum(_deviation(ours[seen], sensor_noise(ours)[seen]), _FLAT), *_GAIN)
    gain = -gain if inverted else gain
    bias = theirs.mean((0, 1)) - gain * ours[seen].mean(0)
    return np.asarray(np.outer(levels, gain) + bias, np.float32)


def _deviation(pixels: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.maximum(pixels.var(0) - noise.var(0), 0)), np.float32)


def _skewness(pixels: NDArray[np.float32]) -> float:
    """Return how far the bright pixels of (..., C) lie from the mean, and the dark ones less."""
    light = pixels.mean(-1).ravel()
    light = light - light.mean()
    return float((light ** 3).mean() / max(float((light ** 2).mean()) ** 1.5, 1e-9))


def _outside(drawn: Levels) -> NDArray[np.bool_]:
    """Return where a crop is black, in areas, not in single pixels."""
    black = (drawn if drawn.ndim == 2 else drawn.max(2)) == 0
    return cv2.morphologyEx(black.astype(np.uint8), cv2.MORPH_OPEN,
                            np.ones((5, 5), np.uint8)).astype(bool)


def sensor_noise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a picture has beyond its smooth part, with the scene's edges cut down."""
    rest = image - cv2.GaussianBlur(image, (0, 0), _BLUR)
    most = _CLIP * 1.4826 * float(np.median(np.abs(rest)))
    return np.asarray(np.clip(rest, -most, most), np.float32)
