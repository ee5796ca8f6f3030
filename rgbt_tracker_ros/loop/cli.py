"""`rgbt loop`: record, distil, deploy and evaluate, once round, without cameras of one's own.

Made-up videos and the shipped clip are played over ROS 2 as a pair of cameras of another style
would show them; the recorder node records them while the tracker node follows; a student is
distilled from that without labels; the running node takes it; and both students are scored on the
new cameras and on the original ones.
"""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys

from rgbt_tracker_ros.command_line import CommandError, Parser
from rgbt_tracker_ros.data.layouts import LayoutError
from rgbt_tracker_ros.data.sinks import SinkError
from rgbt_tracker_ros.distillation.needs import NotInstalledError, require
from rgbt_tracker_ros.evaluation.trackers import TrackerError
from rgbt_tracker_ros.loop.cameras import Plan
from rgbt_tracker_ros.loop.robot import LoopError, Robot
from rgbt_tracker_ros.loop.steps import STEPS, Loop, alone
from rgbt_tracker_ros.processes import ProcessError, terminable

PAIRS, FEWEST = 1600, 600
"""Recorded if nothing else is asked for; of fewer, too little is kept aside to judge by."""


def main(argv: Sequence[str] | None = None) -> int:
    """Go once round: 0 a better student runs in the node, 1 it was refused or a step failed, 2
    wrong usage, 130 after ctrl-C.
    """
    args = _parser().parse_args(argv)
    try:
        _check(args)
        plan = Plan.of(args.pairs, args.seed, args.out / 'cameras')
        with terminable(), alone(args.out), Robot(args.out / 'logs') as robot:
            return run(Loop(args.out, plan, robot, args.steps, args.distill))
    except (CommandError, NotInstalledError) as error:
        print(f'rgbt loop: {error}', file=sys.stderr)
        return 2
    except (LoopError, ProcessError, LayoutError, TrackerError, SinkError, OSError) as error:
        print(f'rgbt loop: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nstopped; the same command goes on where it was', file=sys.stderr)
        return 130


def run(loop: Loop) -> int:
    """Take the steps, telling of each; return the exit status.

    :raises LoopError, ProcessError, LayoutError, TrackerError, SinkError, OSError: a step failed.
    """
    def step(name: str) -> None:
        print(f'[{STEPS.index(name) + 1}/{len(STEPS)}] {name}', flush=True)

    for name in ('record', 'distil', 'deploy'):
        step(name)
        print(f'  {getattr(loop, name)()}', flush=True)
    step('evaluate')
    text, moment = loop.evaluate()
    print(text, flush=True)
    step('draw')
    print(f'  {loop.draw(moment)}', flush=True)
    if not loop.found['distil']['accepted']:
        print('rgbt loop: the new student was refused; the old one stays', file=sys.stderr)
        return 1
    if not loop.found['deploy']['success']:
        print('rgbt loop: the node did not take the new student; the old one goes on',
              file=sys.stderr)
        return 1
    return 0


def _check(args: argparse.Namespace) -> None:
    if not FEWEST <= args.pairs <= 100_000:
        raise CommandError(f'--pairs is {args.pairs}; it must be {FEWEST} to 100000')
    if args.steps is not None and args.steps < 1:
        raise CommandError(f'--steps is {args.steps}; it must be 1 or more')
    if not 0 <= args.seed < 2**20:
        raise CommandError(f'--seed is {args.seed}; it must be 0 to {2**20 - 1}')
    require()


def _parser() -> Parser:
    made = Parser('rgbt loop', description=__doc__, epilog='Stopped, or killed, the same command '
                  'goes on where it was.')
    add = made.add_argument
    add('--out', type=Path, default=Path('runs/loop'), metavar='DIR',
        help='folder for all of it; what is there is not done again (runs/loop)')
    add('--pairs', type=int, default=PAIRS, metavar='N',
        help=f'pairs to record, about ({PAIRS})')
    add('--steps', type=int, metavar='N', help="steps of the training (the recipe's)")
    add('--seed', type=int, default=0, metavar='N', help='of videos and training (0)')
    add('--distill', nargs=argparse.REMAINDER, default=[], metavar='...',
        help='what follows is handed to `rgbt distill`, such as --set PATH=VALUE')
    return made


if __name__ == '__main__':
    sys.exit(main())
