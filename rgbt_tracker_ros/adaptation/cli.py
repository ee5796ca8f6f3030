"""`rgbt distill`: the student made better for the cameras of a recording, without labels.

The student as it is follows what stands out in the recordings, there and back again; from what
holds, and from made-up scenes against forgetting, a new one is trained. It is handed over only if
it is better on recordings that it was not trained on.
"""
from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
import sys
from typing import TYPE_CHECKING

from rgbt_tracker_ros.command_line import CommandError, Parser, key_values
from rgbt_tracker_ros.distillation.needs import require

if TYPE_CHECKING:
    from rgbt_tracker_ros.adaptation.judging import Verdict


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    p = Parser(prog='rgbt distill', description=__doc__, epilog='Stopped, or '
                                'killed, the same command goes on where it was. On several '
                                'machines: torchrun ... -m rgbt_tracker_ros.cli distill ...; '
                                '--work must be a folder that all of them see. Returns 1 where '
                                'the new student is not better: then nothing is written.')
    p.add_argument('--from', type=Path, required=True, dest='recordings', metavar='RECORDINGS',
                   help='folder that the recorder node wrote, or of bags with two image topics')
    p.add_argument('--out', type=Path, required=True, metavar='FILE',
                   help='the student to write, .safetensors')
    p.add_argument('--student', type=Path, help='the student to start from (the shipped one)')
    p.add_argument('--work', type=Path, help='folder of the run (OUT without its suffix, with '
                   '.work)')
    p.add_argument('--config', type=Path, help="the tracker's settings on the robot, as "
                   'tracker.yaml: homography and thermal range count')
    p.add_argument('--option', action='append', default=[], metavar='KEY=VALUE',
                   help='of the recordings, as `rgbt evaluate --layout recording` takes them: '
                   'rgb_topic=/camera/image; several times')
    p.add_argument('--held-out', type=float, default=0.2, metavar='SHARE',
                   help='of the pairs, kept aside to judge by (0.2)')
    p.add_argument('--seed', type=int, default=0, help='seed (0)')
    p.add_argument('--steps', type=int, help="steps of the training (the recipe's)")
    p.add_argument('--set', action='append', default=[], metavar='PATH=VALUE', dest='overrides',
                   help='change a value of the recipe (adaptation/recipe.yaml): '
                   'stages.adapt.data.options.replay=0.5; or of what is followed, or judged by: '
                   'mining.every=10, judging.windows=96; several times')
    p.add_argument('--device', default='auto', help='auto, cpu or cuda:N')
    p.add_argument('--devices', type=int, default=1, help='devices of each machine (1)')
    p.add_argument('--nodes', type=int, default=1, help='machines (1)')
    p.add_argument('--threads', type=int, default=0, help="CPU threads (0: torch's choice)")
    p.add_argument('--workers', type=int, help="processes that draw samples (the recipe's)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Adapt and judge. Returns 1 where the new student is refused, 2 for what the user can put
    right, 130 after ctrl-C.
    """
    args = parser().parse_args(argv)
    from rgbt_tracker_ros.runtime.device import DeviceError
    try:
        return _distill(args)
    except (ValueError, OSError, DeviceError) as error:
        print(f'rgbt distill: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('\nstopped; the same command goes on where it was', file=sys.stderr)
        return 130


def _distill(args: argparse.Namespace) -> int:
    _check(args)
    import torch

    from rgbt_tracker_ros.adaptation.overrides import chosen
    from rgbt_tracker_ros.adaptation.report import table
    from rgbt_tracker_ros.adaptation.run import Adaptation, AdaptationSettings
    from rgbt_tracker_ros.distillation.devices import make_fabric
    from rgbt_tracker_ros.distillation.trainer import Options
    from rgbt_tracker_ros.evaluation.settings import read_config
    from rgbt_tracker_ros.models.checkpoint import SHIPPED
    from rgbt_tracker_ros.tracking.config import TrackerConfig

    if args.threads:
        torch.set_num_threads(args.threads)
    work = args.work or args.out.with_suffix('.work')
    steps = () if args.steps is None else (f'stages.adapt.steps={args.steps}',)
    mining, judging, overrides = chosen(args.overrides)
    adaptation = Adaptation(AdaptationSettings(
        args.student or SHIPPED, args.recordings, work,
        layout_options=key_values(args.option),
        config=read_config(args.config) if args.config else TrackerConfig(),
        held_out=args.held_out, seed=args.seed, overrides=(*steps, *overrides), mining=mining,
        judging=judging))
    fabric = make_fabric(args.device, args.devices, args.nodes,
                         adaptation.recipe.stages['adapt'].precision)
    tracks = adaptation.mine(fabric)
    if fabric.is_global_zero:
        print(adaptation.describe(tracks))
    options = Options(work / 'training', device=args.device, workers=args.workers)
    adaptation.train(fabric, options)
    if not fabric.is_global_zero:
        return 0
    verdicts, share = adaptation.judge()
    print(table(verdicts))
    if share is not None:
        print(adaptation.hand_over(share, verdicts[share], args.out))
    _draw(work / 'report.png', verdicts, share)
    if share is None:
        print(f'rgbt distill: {args.out} is not written: '
              f'{next(iter(verdicts.values())).reason}; the old student stays', file=sys.stderr)
        return 1
    return 0


def _draw(path: Path, verdicts: Mapping[float, Verdict], share: float | None) -> None:
    from rgbt_tracker_ros.adaptation.report import draw
    try:
        draw(path, verdicts, share)
    except Exception as error:  # of what others wrote; the student does not depend on it
        print(f'rgbt distill: {path} can not be drawn: {error or type(error).__name__}',
              file=sys.stderr)


def _check(args: argparse.Namespace) -> None:
    require()
    if args.out.suffix != '.safetensors' or args.out.is_dir():
        raise CommandError(f'--out {args.out}: name a file that ends in .safetensors')
    for flag, value, least in (('--seed', args.seed, 0), ('--steps', args.steps, 1),
                               ('--devices', args.devices, 1), ('--nodes', args.nodes, 1),
                               ('--threads', args.threads, 0), ('--workers', args.workers, 0)):
        if value is not None and value < least:
            raise CommandError(f'{flag} is {value}; it must be {least} or more')
    for flag, path in (('--from', args.recordings), ('--student', args.student)):
        if path is not None and not path.exists():
            raise CommandError(f'{flag} {path} does not exist')


if __name__ == '__main__':
    sys.exit(main())
