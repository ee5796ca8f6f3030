"""The arguments of `rgbt evaluate`."""
from __future__ import annotations

from argparse import ArgumentTypeError
import math
from pathlib import Path

from rgbt_tracker_ros.command_line import Parser
from rgbt_tracker_ros.data.layouts import LAYOUTS
from rgbt_tracker_ros.data.suites import SUITES
from rgbt_tracker_ros.evaluation.conventions import CONVENTIONS
from rgbt_tracker_ros.evaluation.results_out import FORMATS

ABOUT = ('Let trackers follow the sequences of a data set once, and score them: rgbt evaluate '
         '--layout folder --root DATA --tracker student,csrt --json scores.json --report report')


def parser() -> Parser:
    """Return the parser of `rgbt evaluate`."""
    made = Parser('rgbt evaluate', description=ABOUT, epilog=(
        'TRACKER is student, a .safetensors file, csrt, kcf or mosse (-rgb, -thermal, -mean: the '
        'picture that it sees; -mean where nothing is said), or module:function of a function '
        'that returns an object with init(pair, box) and update(pair). TRACKER@rgb and '
        'TRACKER@thermal are shown one image of each pair. LABEL=TRACKER names it. '
        'Each is given the first box and no other; frames per second are those of update alone, '
        'on one thread. For figures of speed leave --processes at 1. What is done is kept and '
        'not done again by the same command; any change of tracker, settings, versions or data '
        'makes it anew.'))
    add = made.add_argument
    data = made.add_argument_group('data')
    data.add_argument('--layout', metavar='NAME', help=', '.join(LAYOUTS))
    data.add_argument('--root', metavar='DIR', type=Path, help='where the data set is')
    data.add_argument('--split', metavar='NAME', help='part of it; default: that for testing')
    data.add_argument('--option', metavar='KEY=VALUE', action='append', default=[],
                      help='a further option of the layout, as YAML')
    data.add_argument('--sequences', metavar='A,B', type=_names, help='only these')
    data.add_argument('--attribute', metavar='X', help='only those that carry this attribute')
    data.add_argument('--limit', metavar='N', type=_positive, help='only the first N of them')
    drawn = made.add_argument_group('layout synthetic', (
        'The public benchmark of made-up videos: nothing to download, no --root; the same videos '
        'everywhere. --option sequences=N: the first N of each suite.'))
    drawn.add_argument('--suite', metavar='NAME,...', help=f'default: all: {", ".join(SUITES)}')
    drawn.add_argument('--seed', metavar='N', type=int,
                       help='0 (default) is the benchmark; others are for tuning')
    drawn.add_argument('--frames', metavar='N', type=int, help='only the first N of each video')
    drawn.add_argument('--style', metavar='NAME', help='seen by cameras of another style')
    who = made.add_argument_group('trackers')
    who.add_argument('--tracker', metavar='TRACKER,...', type=_names, action='extend', default=[],
                     help='default: student, where no --results are given')
    who.add_argument('--results', metavar='DIR', action='append', default=[],
                     help='result files of somebody else; LABEL=DIR names them. Without '
                          '--tracker no image is read')
    who.add_argument('--config', metavar='FILE', type=Path,
                     help="settings of the tracker: YAML, also the node's tracker.yaml")
    who.add_argument('--device', default='auto', metavar='auto|cpu|cuda:N',
                     help='where networks compute (auto)')
    ros = made.add_argument_group('through ROS', (
        'The recording is played into the running node; its answers are scored in two ways. '
        '"through ROS": the answer to each pair, however late, and the last one held where a pair '
        'was dropped. "through ROS, live": what was known when each pair was taken, the newest '
        'answer published by then. The age of an answer is the time from both images being out to '
        'its publication.'))
    ros.add_argument('--through-ros', action='store_true',
                     help='also play every sequence into the running node, and score what it '
                          'answers, late answers and dropped pairs and all (student and '
                          '.safetensors)')
    ros.add_argument('--rate', metavar='X', type=_factor,
                     help='factor of their own rate at which they are played (1)')
    ros.add_argument('--ros-records', metavar='DIR', type=Path,
                     help='score what evaluate.launch.py has written down: SEQUENCE.jsonl')
    add('--convention', metavar='NAME', choices=list(CONVENTIONS),
        help=f"how it is scored; default: the layout's own, or plain: {', '.join(CONVENTIONS)}")
    add('--json', metavar='FILE', help="where the scores go: an object for one tracker, a list "
        "of them for several; '-' is standard output")
    add('--report', metavar='DIR', type=Path, help='where the report goes: index.html')
    add('--save-results', metavar='DIR', type=Path, help='where files of all boxes go')
    add('--format', choices=list(FORMATS), help="form of these files; default: the layout's own")
    add('--out', metavar='DIR', type=Path,
        help='where answers are kept for the next call; default: cache in the --report folder, '
             'or FILE.cache beside --json FILE')
    add('--processes', metavar='N', type=_positive, default=1,
        help='sequences at a time, each on one thread (1)')
    again = made.add_mutually_exclusive_group()
    again.add_argument('--resume', dest='fresh', action='store_false', default=False,
                       help='do only what is missing (this is the default)')
    again.add_argument('--fresh', dest='fresh', action='store_true', help='do all again')
    add('--progress', action='store_true', help='show progress where stderr is no terminal too')
    add('--list', action='store_true',
        help='list layouts, trackers and conventions, or the sequences of --root')
    return made


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(',')]
    if not all(names):
        raise ArgumentTypeError(f'{text!r} is not a list of names with commas between them')
    return names


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.001 <= value <= 1000:
        raise ArgumentTypeError(f'{text!r} is not a number from 0.001 to 1000')
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f'{text!r} is not a number of 1 or more')
    return int(text)
