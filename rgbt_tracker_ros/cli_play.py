"""`rgbt play`: play a recording into ROS 2 topics as two cameras would; no tool of ROS 2 needed.

It turns into the node `rgbt_player` with the right parameters: signals and the exit status are
the node's own.
"""
from __future__ import annotations

import argparse
from collections.abc import Sequence
import json
import os
from pathlib import Path
import sys
from typing import Any

from rgbt_tracker_ros.command_line import Parser, key_values
from rgbt_tracker_ros.data.bag_reader import is_bag
from rgbt_tracker_ros.data.layouts import LAYOUTS, ROOTLESS
from rgbt_tracker_ros.data.segments import find_segments
from rgbt_tracker_ros.data.sources import IMAGE_SUFFIXES
from rgbt_tracker_ros.processes import PACKAGE, shm_variables

# option of the command -> parameter of the node, where the one is the other
_SAME = ('sequence', 'groundtruth', 'camera_info', 'start', 'duration', 'loop', 'clock', 'stamps',
         'start_stamp', 'start_delay', 'compressed', 'decode', 'reliability', 'scene')


def main(argv: Sequence[str]) -> int:
    """Start the player in this process's place; return 2 for wrong usage."""
    try:
        words = command(argv)
    except ValueError as error:
        print(f'rgbt play: {error}', file=sys.stderr)
        return 2
    environment = dict(os.environ, PYTHONUNBUFFERED='1')
    environment.update(shm_variables(environment, processes=2))
    sys.stdout.flush()
    os.execve(words[0], words, environment)


def command(argv: Sequence[str]) -> list[str]:
    """Return the command that plays what the arguments of `rgbt play` say.

    :raises ValueError: for a source that is none, or options that exclude each other.
    :raises SystemExit: after --help, and for arguments that are not known.
    """
    args = _parser().parse_args(argv)
    if not 0.001 <= args.rate <= 1000:
        raise ValueError(f'--rate {args.rate:g}: must be from 0.001 to 1000')
    values = _source(args) | {
        'speed': args.rate, 'wait_for_subscribers': 'none' if args.no_wait else 'images'}
    values |= {name: value for name in _SAME if (value := getattr(args, name)) is not None}
    words = [sys.executable, '-m', f'{PACKAGE.name}.nodes.player_node', '--ros-args']
    for name, value in values.items():
        # text in quotes: a sequence may be called 007
        words += ['-p', f'{name}:={json.dumps(value)}']
    for stream in ('rgb', 'thermal'):
        words += _remapped(stream, getattr(args, f'{stream}_topic'))
    return words


def _source(args: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters that name the recording."""
    sources: list[str] = args.source
    root, layout = args.root, args.layout
    if len(sources) == 1 and not layout:
        named = Path(sources[0]).expanduser()
        # a whole segment is a bag too, but says more of itself
        layout = 'recording' if find_segments(named) else 'bag' if is_bag(named) else None
    if len(sources) == 1 and layout:
        root, sources = sources[0], []
    given = [root is not None, args.root is not None and root != args.root, bool(sources),
             bool(args.rgb or args.thermal), args.scene is not None]
    if sum(given) > 1 or len(sources) > 2:
        raise ValueError('more than one recording is named; give a bag, RGB and THERMAL, '
                         '--layout with --root, or --scene')
    if layout in ROOTLESS and sum(given):
        raise ValueError(f'layout {layout} is drawn, not read: leave everything else out but '
                         '--sequence and --option')
    if root is not None or layout in ROOTLESS:
        options = key_values(args.option)
        return {'layout': layout or 'bag', 'root': _path(root) if root is not None else '',
                'options': json.dumps(options) if options else ''}
    if layout or args.sequence or args.option:
        raise ValueError('--layout, --sequence and --option say which part of a data set is '
                         'played; give its --root')
    if args.scene is not None and args.scene < 0:
        raise ValueError(f'--scene {args.scene}: must be 0 or more')
    files = dict(zip(('rgb', 'thermal'), sources, strict=False)) or {
        name: path for name in ('rgb', 'thermal') if (path := getattr(args, name))}
    for path in map(_path, files.values()):
        if Path(path).is_dir() and not any(
                p.suffix.lower() in IMAGE_SUFFIXES for p in Path(path).iterdir()):
            raise ValueError(f'{path}: neither a bag nor a folder of images; a data set, or a '
                             'folder of bags, needs --layout')
    return {name: _path(path) for name, path in files.items()}


def _path(text: str) -> str:
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise ValueError(f'{text}: no such file or folder')
    return str(path)


def _remapped(stream: str, topic: str | None) -> list[str]:
    if topic is None:
        return []
    base = topic.rpartition('/')[0]
    info = f'{base}/camera_info' if '/' in topic else 'camera_info'
    return ['-r', f'{stream}/image_raw:={topic}',
            '-r', f'{stream}/image_raw/compressed:={topic}/compressed',
            '-r', f'{stream}/camera_info:={info}']


def _parser() -> Parser:
    made = Parser('rgbt play', description=(
        'Play a recording into rgb/image_raw and thermal/image_raw, as two cameras would: a bag, '
        'or a folder that the recorder node has filled (rgbt play BAG), videos or folders of '
        'images (rgbt play RGB THERMAL), a sequence of a '
        'data set (rgbt play ROOT --layout lasher --sequence NAME) or of the benchmark of made-up '
        'ones (rgbt play --layout synthetic --sequence night_07), a made-up scene (--scene 1), '
        'or, where nothing is named, the clip that comes with the package. Ctrl-C ends it.'))
    add = made.add_argument
    add('source', nargs='*', metavar='SOURCE', help='a bag; RGB and THERMAL; or a data set')
    add('--rgb', metavar='SOURCE', help='RGB video or folder of images')
    add('--thermal', metavar='SOURCE', help='thermal video or folder of images')
    add('--layout', metavar='NAME', choices=list(LAYOUTS), help=', '.join(LAYOUTS))
    add('--root', metavar='DIR', help='the data set, or the bag')
    add('--sequence', metavar='NAME', help='which one of it')
    add('--option', metavar='KEY=VALUE', action='append', default=[],
        help='an option of the layout, as YAML, e.g. rgb_topic=/camera/image_raw')
    add('--scene', metavar='SEED', type=int, help='a made-up scene')
    add('--groundtruth', metavar='FILE', help='true boxes (CSV: frame,x,y,w,h)')
    add('--camera-info', metavar='FILE', help='calibration of the RGB camera (YAML)')
    add('--rate', metavar='X', type=float, default=1.0,
        help="factor of the recording's own rate (1)")
    add('--start', metavar='S', type=float, help='leave out the first S seconds')
    add('--duration', metavar='S', type=float, help='play S seconds')
    add('--start-delay', metavar='S', type=float, help='wait so long once there are subscribers')
    add('--no-wait', action='store_true', help='play, whether anybody has subscribed or not')
    for flag, text in (('--loop', 'again and again'),
                       ('--clock', 'publish /clock, for nodes with use_sim_time'),
                       ('--compressed', 'publish .../compressed (not of bags)'),
                       ('--decode', 'publish raw images of a bag with compressed ones')):
        add(flag, action='store_true', default=None, help=text)
    add('--stamps', choices=('auto', 'sent', 'kept', 'recorded'),
        help='sent: the present time; kept: begin now, at the distances of the recording; '
             'recorded: those of the bag (auto: kept for bags, else sent)')
    add('--start-stamp', metavar='S', type=float, help='begin with this stamp in place of now')
    add('--reliability', choices=('reliable', 'best_effort'), help='of the images (reliable)')
    add('--rgb-topic', metavar='TOPIC', help='in place of rgb/image_raw')
    add('--thermal-topic', metavar='TOPIC', help='in place of thermal/image_raw')
    return made
