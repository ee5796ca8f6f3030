"""Pictures of a training."""
from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from rgbt_tracker_ros.distillation.needs import require

COLUMNS = 3  # panels in a row


def plot_losses(log: Path, path: Path) -> None:
    """Draw the terms of a log.csv over the steps, raw and smoothed, one panel each; nothing
    where it holds fewer than two steps. Parts of terms (`task.l1`) are in the log alone.

    :raises NotInstalledError: matplotlib is not there.
    :raises OSError: the picture can't be written.
    """
    with log.open(newline='') as file:
        rows = list(csv.DictReader(file))
    if len(rows) < 2:
        return
    require('matplotlib')
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = np.array([int(r['step']) for r in rows])
    names = [k for k in rows[0] if k not in ('step', 'rate') and '.' not in k]
    columns = min(len(names), COLUMNS)
    height = math.ceil(len(names) / columns)
    figure = Figure(figsize=(4.2 * columns, 2.6 * height), layout='constrained')
    FigureCanvasAgg(figure)
    for i, name in enumerate(names):
        axes = figure.add_subplot(height, columns, i + 1)
        values = np.array([float(r[name]) for r in rows])
        known = np.isfinite(values)     # a term that is over has none
        at, values = steps[known], values[known]
        width = max(len(values) // 100, 1)
        smooth = np.convolve(values, np.ones(width) / width, 'valid')
        axes.plot(at, values, color='#c8d4e8', linewidth=0.6)
        axes.plot(at[width - 1:], smooth, color='#1f4e8c', linewidth=1.4)
        if (smooth > 0).all() and smooth.max() > 5 * smooth.min():
            axes.set_yscale('log')
        axes.set_ylim(*_limits(values, smooth))
        axes.set_title('norm of the gradient' if name == 'norm' else name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(True, color='#e6e6e6', linewidth=0.6)
        if i + columns >= len(names):
            axes.set_xlabel('step', fontsize=8)
    figure.savefig(path, dpi=100)


def _limits(values: np.ndarray, smooth: np.ndarray) -> tuple[float, float]:
    """Limits that single spikes don't decide."""
    low, high = np.quantile(values, (0.005, 0.995))
    low, high = min(low, smooth.min()), max(high, smooth.max())
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return float(low * 0.9 if low > 0 else low - margin), float(high + margin)
