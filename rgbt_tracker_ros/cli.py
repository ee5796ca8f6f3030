"""The command `rgbt`: one table of subcommands, each imported when it is called."""
from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
import logging
import os
import sys
from typing import NamedTuple

from rgbt_tracker_ros import __version__
from rgbt_tracker_ros.runtime.threads import wait_briefly


class Command(NamedTuple):
    """A subcommand: a function of the arguments after its name, that returns an exit status."""

    target: str
    help: str


COMMANDS = {
    'track': Command('rgbt_tracker_ros.cli_track:main',
                     'follow a target through videos or folders of images'),
    'evaluate': Command('rgbt_tracker_ros.cli_evaluate:main',
                        'score trackers on a data set, or results of others'),
    'play': Command('rgbt_tracker_ros.cli_play:main',
                    'play a bag, a sequence or videos into ROS 2 topics, as cameras would'),
    'record-info': Command('rgbt_tracker_ros.cli_record_info:main',
                           'show what a recording of the recorder node holds, and what is wrong'),
    'demo': Command('rgbt_tracker_ros.demo:main',
                    'play a clip to the tracker node over ROS 2 and show what comes back'),
    'train': Command('rgbt_tracker_ros.distillation.cli:main',
                     'train a recipe: a tracker, or a teacher and its student'),
    'distill': Command('rgbt_tracker_ros.adaptation.cli:main',
                       'make the student better for the cameras of a recording, without labels'),
    'loop': Command('rgbt_tracker_ros.loop.cli:main',
                    'record, distil, deploy and evaluate once round, without cameras'),
    'export': Command('rgbt_tracker_ros.distillation.cli_export:main',
                      'take the student of a trained recipe to a file that tracks'),
    'recipes': Command('rgbt_tracker_ros.distillation.cli_recipes:main',
                       'list the recipes: what they need, what their networks cost'),
    'claims': Command('rgbt_tracker_ros.claims.cli:main',
                      'measure and judge what the recipes claim'),
}
# Read by libraries when they are loaded; what the user has set stays.
_ENVIRONMENT = {
    # on a file that does not open they write lines of their own; ours says it in one
    'OPENCV_LOG_LEVEL': 'SILENT', 'OPENCV_FFMPEG_LOGLEVEL': '-8',
}


def usage() -> str:
    """Return the text of `rgbt --help`."""
    width = max(map(len, COMMANDS))
    rows = [f'  {name:{width}}  {command.help}' for name, command in COMMANDS.items()]
    return '\n'.join([
        'usage: rgbt [-h | --version] COMMAND ...',
        '', 'Follow one target in a pair of cameras, RGB and thermal.',
        '', 'commands:', *rows,
        '', '`rgbt COMMAND --help` tells the options of each.'])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit status: 2 for wrong usage, 130 after ctrl-C."""
    name, *rest = [*(sys.argv[1:] if argv is None else argv)] or ['']
    if name in ('-h', '--help'):
        print(usage())
        return 0
    if name == '--version':
        print(f'rgbt {__version__}')
        return 0
    if name not in COMMANDS:
        known = ', '.join(COMMANDS)
        print(f'rgbt: {f"no command {name!r}" if name else "no command given"}; '
              f'there are {known}; see rgbt --help', file=sys.stderr)
        return 2
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    wait_briefly()
    logging.basicConfig(format=f'rgbt {name}: %(levelname)s: %(message)s')
    module, function = COMMANDS[name].target.split(':')
    try:
        return int(getattr(import_module(module), function)(rest) or 0)
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
