"""Pictures of a training, drawn with OpenCV alone."""
from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

COLUMNS = ('loss', 'score', 'box')
WIDTH, HEIGHT, MARGIN = 900, 300, 56


def plot_losses(log: Path, path: Path) -> None:
    """Draw the losses of a log.csv over the steps, smoothed, one panel each, log scale; nothing
    where it holds fewer than two steps.

    :raises OSError: if the picture can't be written.
    """
    with log.open() as file:
        rows = list(csv.DictReader(file))
    if len(rows) < 2:
        return
    steps = np.array([int(r['step']) for r in rows])
    panels = []
    for name in COLUMNS:
        values = np.array([float(r[name]) for r in rows])
        width = max(len(values) // 150, 1)
        kernel = np.ones(width) / width
        smooth = np.convolve(values, kernel, 'valid')
        panels.append(_panel(steps[width - 1:], np.log10(np.maximum(smooth, 1e-6)), name))
    if not cv2.imwrite(str(path), np.vstack(panels)):
        raise OSError(f"{path}: the picture can't be written")


def _panel(x: np.ndarray, y: np.ndarray, title: str) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    low, high = float(y.min()), float(y.max())
    high = max(high, low + 1e-3)
    left, right, top, bottom = MARGIN, WIDTH - 20, 30, HEIGHT - 40
    for t in np.linspace(0, 1, 5):
        v = round(bottom + (top - bottom) * t)
        cv2.line(image, (left, v), (right, v), (225, 225, 225), 1)
        _text(image, f'{10 ** (low + (high - low) * t):.2f}', (4, v + 4))
        u = round(left + (right - left) * t)
        _text(image, f'{x[0] + (x[-1] - x[0]) * t:.0f}', (u - 14, HEIGHT - 16))
    points = np.stack((left + (x - x[0]) / max(x[-1] - x[0], 1) * (right - left),
                       bottom + (y - low) / (high - low) * (top - bottom)), 1)
    cv2.polylines(image, [points.round().astype(np.int32)], False, (180, 90, 20), 2, cv2.LINE_AA)
    _text(image, f'{title} over steps', (left, 20), 0.55)
    return image


def _text(image: np.ndarray, text: str, at: tuple[int, int], scale: float = 0.42) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (40, 40, 40), 1, cv2.LINE_AA)
