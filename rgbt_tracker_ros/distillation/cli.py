"""`rgbt train`: from data to a weights file, in one command that can be stopped and resumed."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys

from rgbt_tracker_ros.distillation.schema import RecipeError


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    p = argparse.ArgumentParser(prog='rgbt train', description=__doc__, epilog='On several '
                                'machines: torchrun ... -m rgbt_tracker_ros.cli train RECIPE ...; '
                                '--out must be a folder that all of them see.')
    p.add_argument('recipe', help='name of a recipe (`rgbt recipes` lists them), or a .yaml file')
    p.add_argument('--out', type=Path, required=True, help='folder of the run; give it again to '
                   'go on where it stopped')
    p.add_argument('--scale', default='', help='tiny, full: what the recipe has (its first)')
    p.add_argument('--data', type=Path, help='folder of the data sets, for recipes and scales '
                   'that read any')
    p.add_argument('--init', type=Path, help='checkpoint to start from, where the recipe '
                   'wants one')
    p.add_argument('--seed', type=_natural, default=0, help='seed (0)')
    p.add_argument('--set', action='append', default=[], metavar='PATH=VALUE', dest='overrides',
                   help='change a value of the recipe: stages.student.batch=16; several times')
    steps = p.add_mutually_exclusive_group()
    steps.add_argument('--steps', type=_positive, help='steps of all stages together, shared as '
                       'in the recipe')
    steps.add_argument('--steps-scale', type=_scale, default=1.0, help='factor of all steps (1)')
    p.add_argument('--until', type=_positive, help='stop after this step, to go on later')
    p.add_argument('--reuse', type=Path, action='append', default=[], metavar='RUN',
                   help='take finished stages of the same description and seed from this run; '
                   'several times')
    p.add_argument('--device', default='auto', help='auto, cpu or cuda:N')
    p.add_argument('--devices', type=_positive, default=1, help='devices of each machine (1)')
    p.add_argument('--nodes', type=_positive, default=1, help='machines (1)')
    p.add_argument('--precision', choices=('32', 'bf16'), help="arithmetic (the recipe's)")
    p.add_argument('--threads', type=_natural, default=0, help="CPU threads (0: torch's choice)")
    p.add_argument('--workers', type=_natural, help="processes that draw samples (the recipe's)")
    p.add_argument('--log', choices=('csv', 'tensorboard'), default='csv',
                   help='log.csv in the folder of every stage (always), or TensorBoard beside it')
    p.add_argument('--calibration-samples', type=_positive,
                   help="samples kept aside that the confidence is fitted to (the recipe's)")
    return p


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of 0 or more')
    return int(text)


def _positive(text: str) -> int:
    if (number := _natural(text)) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of 1 or more')
    return number


def _scale(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float('inf'):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number above 0')
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Train all stages, and leave OUT/student.safetensors and OUT/STAGE/ for each of them.

    Returns the exit status: 2 for what the user can put right, 130 after ctrl-C.
    """
    args = parser().parse_args(argv)
    from rgbt_tracker_ros.runtime.device import DeviceError
    try:
        return _train(args)
    except (ValueError, OSError, DeviceError) as error:
        print(f'rgbt train: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'\nstopped; the same command goes on from the last checkpoint in {args.out}',
              file=sys.stderr)
        return 130


def _train(args: argparse.Namespace) -> int:
    from rgbt_tracker_ros.distillation.recipe import load_recipe, with_precision

    recipe = load_recipe(args.recipe, args.scale, args.overrides, args.steps_scale)
    if args.steps:
        steps = sum(s.steps for s in recipe.stages.values())
        recipe = load_recipe(args.recipe, args.scale, args.overrides, args.steps / steps)
    for option in (args.init, args.data, *args.reuse):
        if option is not None and not option.exists():
            raise RecipeError(f'{option} does not exist')

    import torch

    from rgbt_tracker_ros.distillation.devices import ending_children, make_fabric
    from rgbt_tracker_ros.distillation.result import write_result
    from rgbt_tracker_ros.distillation.stages import Setting
    from rgbt_tracker_ros.distillation.trainer import Options, Trainer

    if args.precision:
        recipe = with_precision(recipe, args.precision)
    setting = Setting(args.seed, args.data, args.init, args.out / 'cache')
    fabric = make_fabric(args.device, args.devices, args.nodes,
                         next(iter(recipe.stages.values())).precision)
    if args.threads:  # after the launch, which chooses a number of its own
        torch.set_num_threads(args.threads)
    with ending_children(fabric):
        trainer = Trainer(recipe, setting, Options(
            args.out, tuple(args.reuse), args.device, args.devices, args.nodes, args.until,
            args.workers, args.log == 'tensorboard'), fabric)
        done = trainer.run()
        if fabric.is_global_zero:
            print(write_result(recipe, setting, args.out, fabric.device,
                               args.calibration_samples, args.workers or 0) if done else
                  f'stopped by --until {args.until}, before the last step '
                  f'({sum(s.steps for s in recipe.stages.values())}); the same command without '
                  'it goes on')
        trainer.close()
    return 0
