"""`rgbt train`: from data to a weights file, in one command that can be stopped and resumed."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
import sys

from rgbt_tracker_ros.distillation.plots import plot_losses
from rgbt_tracker_ros.distillation.recipe import load_recipe
from rgbt_tracker_ros.runtime.device import DeviceError, resolve_device


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    p = argparse.ArgumentParser(prog='rgbt train', description=__doc__)
    p.add_argument('recipe', help="name of a recipe ('student'), or a .yaml file")
    p.add_argument('--out', type=Path, required=True, help='folder of the run; give it again to '
                   'go on where it stopped')
    p.add_argument('--data', type=Path, help='folder that holds m3svd, hit_uav and drone_ir, or '
                   'some of them; without it, made-up scenes alone')
    p.add_argument('--steps', type=_positive, help="steps in all (the recipe's)")
    p.add_argument('--seed', type=_natural, help="seed (the recipe's)")
    p.add_argument('--until', type=_positive, help='stop after this step, to go on later')
    p.add_argument('--device', default='auto', help='auto, cpu or cuda:N')
    p.add_argument('--threads', type=_natural, default=0, help="CPU threads (0: torch's choice)")
    p.add_argument('--workers', type=_natural, default=1, help='processes that draw samples')
    p.add_argument('--calibration-samples', type=_positive, default=2048,
                   help='samples kept aside that the confidence is fitted to (2048)')
    return p


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of 0 or more')
    return int(text)


def _positive(text: str) -> int:
    if (number := _natural(text)) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of 1 or more')
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Train, calibrate, and leave OUT/student.safetensors, OUT/log.csv and OUT/losses.png.

    Returns the exit status: 2 for what the user can put right, 130 after ctrl-C.
    """
    args = parser().parse_args(argv)
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
    recipe = load_recipe(args.recipe, steps=args.steps, seed=args.seed, workers=args.workers)

    import torch

    from rgbt_tracker_ros.data import training_set
    from rgbt_tracker_ros.data.samples import Samples
    from rgbt_tracker_ros.distillation.calibrate import outcomes, platt
    from rgbt_tracker_ros.distillation.training import Training
    from rgbt_tracker_ros.models import checkpoint

    if args.threads:
        torch.set_num_threads(args.threads)
    device = str(resolve_device(args.device))
    clips: list[training_set.Clip] = []
    if args.data:
        training_set.build(args.data, args.out / 'cache')
        clips = training_set.load(args.out / 'cache')
    seen, aside = (training_set.split(clips, held_out=h) for h in (False, True))
    run = Training(recipe.train, args.out, device, recipe.student)
    if run.resume():
        print(f'going on from step {run.step} of {recipe.train.steps}')
    # far more samples than any run draws: each is its own draw, none is seen twice
    run.run(Samples(seen, 10 ** 9, recipe.train.seed, recipe.samples), args.until)
    plot_losses(args.out / 'log.csv', args.out / 'losses.png')
    if run.step < recipe.train.steps:
        return 0
    kept = Samples(aside, 10 ** 9, recipe.train.seed + 1, recipe.samples)
    outcome = outcomes(run.average, kept, args.calibration_samples, device=device)
    calibration = platt(outcome.logit, outcome.overlap >= 0.5)
    path = args.out / 'student.safetensors'
    checkpoint.save(run.average, path, step=run.step, recipe=recipe.name,
                    train=asdict(recipe.train), samples=asdict(recipe.samples),
                    data=sorted({c.name.split('.')[0] for c in clips}), calibration=calibration,
                    held_out={'overlap': float(outcome.overlap.mean()),
                              'hits': float((outcome.overlap >= 0.5).mean())})
    print(f'{path}: sha256 {checkpoint.sha256_of(path)}')
    print(f'kept aside: mean overlap {outcome.overlap.mean():.3f}, at least half in '
          f'{(outcome.overlap >= 0.5).mean():.1%}, calibration error {calibration["ece"]:.3f}')
    return 0
