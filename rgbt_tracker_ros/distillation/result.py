"""What a recipe is for: its student alone, with a calibrated confidence, in one file."""
from __future__ import annotations

from pathlib import Path

import torch

from rgbt_tracker_ros.distillation.export import export
from rgbt_tracker_ros.distillation.recipe import Recipe
from rgbt_tracker_ros.distillation.stages import Setting

FILE = 'student.safetensors'


def write_result(recipe: Recipe, setting: Setting, out: Path, device: torch.device,
                 samples: int | None = None, workers: int = 0) -> str:
    """Write OUT/student.safetensors of a run whose stages are all trained; see `export`.

    :param samples: how many the confidence is fitted to; None: the recipe's.
    :returns: a few lines about it.
    :raises OSError: it can't be written.
    """
    at = recipe.result
    return str(export(recipe, setting, out / at.stage / f'{at.network}.safetensors', out / FILE,
                      device=device, samples=samples, workers=workers))
