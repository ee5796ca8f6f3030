"""`rgbt export`: the student of a trained recipe as one file for `rgbt track` and the node."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    p = argparse.ArgumentParser(prog='rgbt export', description=__doc__)
    p.add_argument('run', type=Path, help='folder of a finished run: what `rgbt train` had as '
                   '--out')
    p.add_argument('--out', type=Path, required=True, metavar='FILE',
                   help='the file to write, .safetensors')
    p.add_argument('--network', default='', metavar='[STAGE/]NAME', help="another network of the "
                   "run, as a teacher, or the student of an earlier stage (the recipe's result)")
    p.add_argument('--data', type=Path, help='folder of the data sets, where it is not where it '
                   'was')
    p.add_argument('--samples', type=_positive, help='samples kept aside that the confidence is '
                   "fitted to (the recipe's)")
    p.add_argument('--device', default='cpu', help='where that is computed: auto, cpu or cuda:N '
                   '(cpu)')
    p.add_argument('--workers', type=int, choices=range(65), default=0, metavar='N',
                   help='processes that draw samples (0)')
    p.add_argument('--threads', type=_positive, help="CPU threads (torch's choice)")
    return p


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of 1 or more')
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file and print its card. Returns 2 for what the user can put right."""
    args = parser().parse_args(argv)
    from rgbt_tracker_ros.runtime.device import DeviceError
    try:
        print(_export(args))
    except (ValueError, OSError, DeviceError) as error:
        print(f'rgbt export: {error}', file=sys.stderr)
        return 2
    return 0


def _export(args: argparse.Namespace) -> str:
    from rgbt_tracker_ros.distillation.run import RunError, open_run

    run = open_run(args.run)
    if args.out.suffix != '.safetensors' or args.out.is_dir():
        raise RunError(f'--out {args.out}: name a file that ends in .safetensors')
    result = run.recipe.result
    stage, _, network = args.network.rpartition('/')
    file = run.file(stage or result.stage, network or result.network)
    if not args.network:  # a result is that of the whole recipe
        for name, one in run.recipe.stages.items():
            run.file(name, next(n for n, spec in one.networks.items() if spec.learns))

    import torch

    from rgbt_tracker_ros.distillation.export import export
    from rgbt_tracker_ros.distillation.stages import Setting
    from rgbt_tracker_ros.runtime.device import resolve_device

    if args.threads:
        torch.set_num_threads(args.threads)
    setting = Setting(run.seed, args.data or run.data, None, args.run / 'cache')
    return str(export(run.recipe, setting, file, args.out, stage=stage,
                      device=resolve_device(args.device), samples=args.samples,
                      workers=args.workers))
