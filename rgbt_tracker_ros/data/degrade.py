"""What the world does to a camera: night, smoke, thermal crossover, noise, blur, loss."""
from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.objects import Rng, smooth_noise

Crop = NDArray[np.uint8]


def noisy(rng: Rng, image: Crop, sigma: float) -> Crop:
    """Add Gaussian noise of `sigma` grey levels."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * sigma
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def jitter(rng: Rng, image: Crop, contrast: float = 0.25, brightness: float = 25) -> Crop:
    """Change contrast and brightness a little."""
    gain = np.exp(rng.uniform(-contrast, contrast))
    return np.clip(image * np.float32(gain) + np.float32(rng.uniform(-brightness, brightness)),
                   0, 255).astype(np.uint8)


def dark(rng: Rng, image: Crop) -> Crop:
    """Night: a few per cent of the light, with the sensor's noise."""
    return noisy(rng, (image * np.float32(rng.uniform(0.02, 0.3))).astype(np.uint8),
                 rng.uniform(1, 8))


def smoke(rng: Rng, image: Crop, density: float) -> Crop:
    """Veil an RGB crop; `density` in [0, 1] is the share of the view it takes on average."""
    size = image.shape[0]
    field = 0.7 * smooth_noise(rng, size, int(rng.integers(2, 4))) \
        + 0.3 * smooth_noise(rng, size, int(rng.integers(4, 9)))
    alpha = np.clip((field - 0.5) * rng.uniform(1, 4) + density, 0, 1)
    colour = rng.uniform(110, 230) + rng.uniform(-25, 25, 3)
    tint = colour + 30 * (smooth_noise(rng, size, 4) - 0.5)
    return np.clip(image * (1 - alpha) + tint * alpha, 0, 255).astype(np.uint8)


def blurred(rng: Rng, image: Crop) -> Crop:
    """Defocus, or motion along a line."""
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 2.5))
    n = int(rng.integers(3, 12))
    kernel = np.zeros((n, n), np.float32)
    angle = rng.random() * np.pi
    c = (n - 1) / 2
    for t in np.linspace(-c, c, 2 * n):
        kernel[round(c + t * np.sin(angle)), round(c + t * np.cos(angle))] = 1
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def low_contrast(rng: Rng, image: Crop) -> Crop:
    """Thermal crossover: the scene is of nearly one temperature."""
    mean = np.float32(image.mean())
    return noisy(rng, np.clip((image - mean) * np.float32(rng.uniform(0.04, 0.3)) + mean
                              + np.float32(rng.uniform(-30, 90)), 0, 255).astype(np.uint8),
                 rng.uniform(1, 5))


def coloured(rng: Rng, thermal: Crop) -> Crop:
    """Invent an RGB background from a thermal crop: same edges, colours by a random curve."""
    knots = rng.integers(0, 256, (6, 3)).astype(np.float32)
    knots = 0.5 * knots + 0.5 * knots.mean(1, keepdims=True)
    levels = np.linspace(0, 255, 6)
    # scenes keep most of their heat in the lowest third of the range
    gamma = rng.uniform(0.35, 1)
    grey = 255 * (np.arange(256) / 255) ** gamma
    lut = np.stack([np.interp(grey, levels, knots[:, c]) for c in range(3)], 1)
    return lut[thermal].astype(np.uint8)
