"""`rgbt track`: follow a target through recorded frames, without ROS."""
from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from contextlib import closing, nullcontext
import math
from pathlib import Path
import re
import sys
from time import perf_counter
from typing import TYPE_CHECKING

from rgbt_tracker_ros.command_line import CommandError, Parser
from rgbt_tracker_ros.data.sinks import SinkError, VideoSink, write_json
from rgbt_tracker_ros.data.sources import PairSource, SourceError, open_source, prefetch
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.types import Box, BoxError, Estimate, Pair, PairError
from rgbt_tracker_ros.visualization import side_by_side

if TYPE_CHECKING:
    from rgbt_tracker_ros.tracking.tracker import Tracker

FALLBACK_FPS = 30.0


def main(argv: Sequence[str]) -> int:
    """Run `rgbt track` and return the exit status."""
    args = _parser().parse_args(_join_negative(argv))
    try:
        return _track(args)
    except (CommandError, SourceError, SinkError, BoxError, PairError, OSError) as error:
        print(f'rgbt track: {error}', file=sys.stderr)
        return 2


def _parser() -> Parser:
    parser = Parser('rgbt track', description=__doc__, epilog=(
        'SOURCE is a video file or a folder of images, ordered by the numbers in their names. '
        'One of --rgb and --thermal is enough. The JSON holds boxes ([x, y, w, h] of every frame '
        'from --start on, the first being --box), confidence and state of every frame, and fps: '
        'frames a second of the tracker alone, reading excluded.'))
    add = parser.add_argument
    add('--rgb', metavar='SOURCE', help='RGB frames')
    add('--thermal', metavar='SOURCE', help='thermal frames, 8 or 16 bit, float32 or false colour')
    add('--box', metavar='X,Y,W,H', type=_box, required=True,
        help='the target in the first frame, in pixels of the RGB image (thermal without one)')
    add('--start', metavar='N', type=_natural, default=0, help='number of the first frame (0)')
    add('--json', metavar='FILE', help="where the boxes go; '-' is standard output")
    add('--video', metavar='FILE', help='where a video of it goes, .mp4 or .avi')
    add('--model', metavar='FILE', default='', help='weights; default: those shipped')
    add('--device', default='auto', metavar='auto|cpu|cuda:N', help='where to compute (auto)')
    add('--threads', metavar='N', type=_natural, default=0, help='CPU threads; 0: as torch does')
    add('--thermal-range', metavar='auto|percentile|MIN,MAX', type=_thermal_range, default={},
        help="how thermal values become levels: 8-bit as it is and others by percentile (auto), "
             "all by percentile, or a fixed range in the camera's units")
    add('--homography', metavar='H11,...,H33', type=_homography, default=(),
        help='9 numbers, row by row, from thermal to RGB pixels; default: scale to the same size')
    add('--progress', action='store_true', help='show progress where stderr is no terminal too')
    return parser


def _track(args: Namespace) -> int:
    if args.video == '-':
        raise CommandError('--video -: a video needs a file')
    for file in (args.json, args.video):
        if file and file != '-':
            _check_output(Path(file), [Path(s) for s in (args.rgb, args.thermal) if s])
    rgb, thermal = (s and open_source(s) for s in (args.rgb, args.thermal))
    fps = next((s.fps for s in (rgb, thermal) if s is not None and s.fps), FALLBACK_FPS)
    source = PairSource(rgb, thermal, fps)
    video = VideoSink(args.video, fps) if args.video else None
    run = _Run(args, _load(args))
    interrupted = False
    try:
        with video or nullcontext():
            run.follow(source, video)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        # also on an error in mid-way: what was done is worth keeping
        if args.json and run.answers:
            write_json(args.json, run.result())
    text = sys.stderr if args.json == '-' else sys.stdout
    print(('interrupted after ' if interrupted else '') + run.summary(), file=text)
    for file in (args.json, args.video):
        if file and file != '-' and run.answers:
            print(f'wrote {file}', file=text)
    return 130 if interrupted else 0


def _check_output(file: Path, sources: list[Path]) -> None:
    """Refuse at once what would fail, or do harm, after minutes of work."""
    if not file.absolute().parent.is_dir():
        raise CommandError(f'{file}: its folder does not exist; make it first')
    if file.is_dir():
        raise CommandError(f'{file}: is a folder; name a file in it')
    if any(s.exists() and file.exists() and s.samefile(file) for s in sources):
        raise CommandError(f'{file}: is the source itself; name another file')


def _load(args: Namespace) -> Tracker:
    try:
        config = TrackerConfig(homography=args.homography, **args.thermal_range)
    except ValueError as error:
        raise CommandError(str(error)) from error
    # imports torch, so after all that can fail at once
    from rgbt_tracker_ros.models.checkpoint import CheckpointError
    from rgbt_tracker_ros.runtime.device import DeviceError
    from rgbt_tracker_ros.tracking.tracker import Tracker
    try:
        tracker = Tracker.load(args.model, args.device, config, threads=args.threads)
    except (CheckpointError, DeviceError) as error:
        raise CommandError(str(error)) from error
    tracker.warm_up()
    return tracker


class _Run:
    """One target followed through one source, and what came of it."""

    def __init__(self, args: Namespace, tracker: Tracker) -> None:
        self.args = args
        self.tracker = tracker
        self.answers: list[tuple[Box, Estimate]] = []
        self.seconds = 0.0

    def follow(self, source: PairSource, video: VideoSink | None) -> None:
        from tqdm import tqdm
        start, expected = self.args.start, source.expected_length
        quiet = not (self.args.progress or sys.stderr.isatty())
        total = None if expected is None else max(0, expected - start)
        with closing(prefetch(source.pairs(start))) as pairs, \
                tqdm(total=total, unit='frame', disable=quiet, leave=False) as progress:
            for number, pair in enumerate(pairs, start):
                estimate = self._answer(pair)
                if video is not None:
                    video.write(side_by_side(pair, estimate, lines=[f'frame {number}'],
                                             homography=self.args.homography))
                progress.update()
        if not self.answers:
            raise CommandError(f'--start {start}: the source has only {len(source)} frames')

    def _answer(self, pair: Pair) -> Estimate:
        if not self.answers:
            estimate = self.tracker.init(pair, self.args.box)
            self.answers.append((self.args.box, estimate))
        else:
            since = perf_counter()
            try:
                estimate = self.tracker.update(pair)
            except PairError as error:
                number = self.args.start + len(self.answers)
                raise CommandError(f'frame {number}: {error}') from error
            self.seconds += perf_counter() - since
            self.answers.append((estimate.box, estimate))
        return estimate

    @property
    def fps(self) -> float:
        return (len(self.answers) - 1) / self.seconds if self.seconds else 0.0

    def result(self) -> dict[str, object]:
        return {
            'boxes': [[round(float(v), 3) for v in box.as_tuple()] for box, _ in self.answers],
            'confidence': [round(float(e.confidence), 4) for _, e in self.answers],
            'state': [e.state.name.lower() for _, e in self.answers],
            'fps': round(self.fps, 2), 'start': self.args.start,
            'model': self.tracker.model_name, 'device': self.tracker.device}

    def summary(self) -> str:
        frames = len(self.answers)
        seen = sum(e.state.in_sight for _, e in self.answers) / max(1, frames)
        return (f'{frames} frames, target in sight in {seen:.0%}, {self.fps:.1f} frames/s '
                f'on {self.tracker.device} ({self.tracker.model_name})')


def _join_negative(argv: Sequence[str]) -> list[str]:
    """Join an option and a list of numbers that starts with a minus, as argparse does not."""
    joined: list[str] = []
    for arg in argv:
        if joined and re.match(r'-[\d.].*,', arg) and joined[-1].startswith('--'):
            joined[-1] += f'={arg}'
        else:
            joined.append(arg)
    return joined


def _numbers(text: str, count: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(v) for v in re.split(r'[,\s]+', text.strip()))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ArgumentTypeError(f'{text!r} is not {count} numbers with commas between them')
    return numbers


def _box(text: str) -> Box:
    return Box(*_numbers(text, 4))


def _homography(text: str) -> tuple[float, ...]:
    return _numbers(text, 9)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f'{text!r} is not a number of 0 or more')
    return int(text)


def _thermal_range(text: str) -> dict[str, object]:
    if text in ('auto', 'percentile'):
        return {'thermal_range': text}
    low, high = _numbers(text, 2)
    if not low < high:
        raise ArgumentTypeError(f'{text!r}: MIN must be below MAX')
    return {'thermal_range': 'fixed', 'thermal_min': low, 'thermal_max': high}
