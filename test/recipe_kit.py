"""The recipes at sizes that train in a moment: for tests of the trainer, not of accuracy.

As a script, trains some: recipe_kit.py RECIPE,... OUT STEPS [LIVES]; kills itself with SIGKILL in
pass LIVES + 1 of its graph.
"""
from __future__ import annotations

import os
from pathlib import Path
import signal
import sys
from typing import Any
from unittest.mock import patch

import torch

from rgbt_tracker_ros.distillation.graph import Graph
from rgbt_tracker_ros.distillation.recipe import Recipe, load_recipe
from rgbt_tracker_ros.distillation.stages import Setting
from rgbt_tracker_ros.distillation.train_log import TrainLog
from rgbt_tracker_ros.distillation.trainer import Options, Trainer

VIT = '{template_size: 16, search_size: 32, stride: 8, dim: 16, depth: 4, heads: 2, ' \
      'head_widths: [8, 8]}'
CONV = '{template_size: 16, search_size: 32, stride: 8, backbone: tiny, stages: 3, ' \
       'widths: [8, 8, 8], blocks: [0, 0, 0], width: 8, kernel: 1, head: [8, 8]}'
DIMP = '{template_size: 16, search_size: 32, stride: 4, widths: [8, 8], blocks: [0, 0], ' \
       'channels: 8, filter_size: 4, steps: 2, box_width: 8, template_steps: 2}'
STUDENT = '{template_size: 32, search_size: 64, stem: 4, width8: 8, width16: 8, blocks8: 1, ' \
          'blocks16: 1, head: 8}'
# recipe -> stage -> network -> config
SIZES = {
    'ckd': {'joint.tracker': VIT, 'mce.tracker': VIT},
    'mutual_prompt': {'teacher.teacher': VIT, 'student.teacher': VIT, 'student.student': VIT},
    'cmd_rgbt': {'teacher.teacher': CONV, 'student.teacher': CONV, 'student.student': CONV},
    'cmd_tir': {'rgb.tracker': DIMP, 'cmd.teacher': DIMP, 'cmd.student': DIMP},
    'shipped': {'teacher.teacher': STUDENT, 'student.teacher': STUDENT,
                'student.student': STUDENT},
    'student': {'student.student': STUDENT},
}


def overrides(name: str, steps: int = 3, batch: int = 4, extra: tuple[str, ...] = ()) -> list[str]:
    """Return `--set` values that shrink a recipe's tiny scale."""
    found = []
    for place, config in SIZES[name].items():
        stage, network = place.split('.')
        found += [f'stages.{stage}.networks.{network}.config={config}',
                  f'stages.{stage}.steps={steps}', f'stages.{stage}.batch={batch}',
                  f'stages.{stage}.save_every=1']
    return [*found, 'result.calibration.samples=32', *extra]


def small(name: str, steps: int = 3, batch: int = 4, extra: tuple[str, ...] = ()) -> Recipe:
    """Return a recipe in a few steps at the smallest sizes."""
    return load_recipe(name, 'tiny', overrides(name, steps, batch, extra))


def train(recipe: Recipe, out: Path, **options: Any) -> Trainer:
    """Train on the CPU, and return the trainer."""
    trainer = Trainer(recipe, Setting(), Options(out, device='cpu', **options))
    trainer.run()
    return trainer


def main(names: str, out: str, steps: str, lives: str = '') -> None:
    """See the module; more recipes than one go to folders of their names."""
    torch.set_num_threads(1)
    left = int(lives or -1)
    forward = Graph.forward

    def mortal(self: Graph, *args: Any) -> Any:
        nonlocal left
        if self.training:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return forward(self, *args)

    if left >= 0:
        Graph.forward = mortal  # type: ignore[method-assign]
    with patch.object(TrainLog, 'plot'):
        for name in names.split(','):
            extra = tuple(f'stages.{place.split(".")[0]}.{key}' for place in SIZES[name]
                          for key in ('save_every=2', 'ema=0.9'))
            folder = Path(out) / name if ',' in names else Path(out)
            trainer = train(small(name, int(steps), extra=extra), folder)
    trainer.close()  # once: processes that let go of one another can't meet again


if __name__ == '__main__':
    main(*sys.argv[1:])
