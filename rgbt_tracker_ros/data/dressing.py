"""Made-up samples as a recorded camera would show them: exact boxes in another camera's style.

From a crop of a recorded pair come the levels of each channel (mean and deviation: Reinhard et
al., *Color Transfer between Images*, 2001), what is left of it without its smooth part, which is
the sensor's noise and fixed pattern, and its scale, which tells how far thermal lies off. The
deviation is that of the scene alone: a camera of much noise would else be given contrast for it.
"""
from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.jitter import CropView

Levels = NDArray[np.uint8]
_FLAT = 4.0             # deviations below this are those of an empty picture
_GAIN = (0.12, 3.0)     # of a channel's deviation; an empty crop says little of the camera's
_CLIP = 3.0             # deviations of the noise; beyond it are edges of the scene


def dress(rng: np.random.Generator, views: tuple[CropView, CropView], recorded: CropView,
          shift: tuple[float, float]) -> None:
    """Give template and search view the style of a recorded crop, in place.

    :param recorded: as large as the search view or larger, at the scale of both; a modality that
        it, or a view, lacks stays as it is. :param shift: px of the crops by which thermal is
        moved right and down.
    """
    for name, there in zip(('rgb', 'thermal'), recorded.present, strict=True):
        if not there:
            continue
        theirs = getattr(recorded, name).astype(np.float32)
        ours = getattr(views[1], name).astype(np.float32)
        noise = sensor_noise(theirs)
        gain, bias = _levels(ours, theirs, noise)
        for view in views:
            if not view.present[name == 'thermal']:
                continue
            image = getattr(view, name).astype(np.float32) * gain + bias
            if name == 'thermal' and any(shift):
                move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
                image = cv2.warpAffine(image, move, image.shape[1::-1],
                                       borderMode=cv2.BORDER_REPLICATE)
            size = image.shape[0]
            y, x = rng.integers(noise.shape[0] - size + 1), rng.integers(noise.shape[1] - size + 1)
            image = image + noise[y:y + size, x:x + size]
            setattr(view, name, np.clip(image + 0.5, 0, 255).astype(np.uint8))


def _levels(ours: NDArray[np.float32], theirs: NDArray[np.float32], noise: NDArray[np.float32],
            ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return gain and bias, per channel, that bring our mean and deviation to theirs without
    their `noise`.
    """
    mean, std = ours.mean((0, 1)), _deviation(ours, sensor_noise(ours))
    gain = np.clip(_deviation(theirs, noise) / np.maximum(std, _FLAT), *_GAIN)
    return np.asarray(gain, np.float32), np.asarray(theirs.mean((0, 1)) - gain * mean, np.float32)


def _deviation(image: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.sqrt(np.maximum(image.var((0, 1)) - noise.var((0, 1)), 0))


def sensor_noise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a picture has beyond its smooth part, with the scene's edges cut down."""
    rest = image - cv2.GaussianBlur(image, (0, 0), 2.0)
    most = _CLIP * 1.4826 * float(np.median(np.abs(rest)))
    return np.asarray(np.clip(rest, -most, most), np.float32)
