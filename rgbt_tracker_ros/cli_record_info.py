"""`rgbt record-info`: what a recording holds, segment by segment, and what is wrong with it."""
from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
import sys
from typing import Any

import numpy as np

from rgbt_tracker_ros.command_line import CommandError, Parser, key_values
from rgbt_tracker_ros.data.layouts import LayoutError, open_layout
from rgbt_tracker_ros.data.segments import RecordingDataset
from rgbt_tracker_ros.data.segments_info import SegmentInfo, look, missing_numbers, text_of
from rgbt_tracker_ros.data.sequence import shorten
from rgbt_tracker_ros.data.sinks import SinkError, write_json

COLUMNS = ('segment', 'pairs', 'duration', 'rate', 'size', 'rgb', 'thermal', 'skew p50/p95',
           'thermal range', 'tracks', 'state')


def main(argv: Sequence[str]) -> int:
    """Run `rgbt record-info`: 0 all well, 1 something is wrong with it, 2 wrong usage."""
    args = _parser().parse_args(argv)
    try:
        for given, needed in ((args.json, '.json'), (args.picture, '.png')):
            if given and given != '-' and Path(given).suffix.lower() != needed:
                raise CommandError(f'{given}: must end in {needed}')
        root = Path(args.recording)
        dataset = open_layout('recording', root, **key_values(args.option))
        assert isinstance(dataset, RecordingDataset)
        infos = list(look(dataset))
        if args.picture:
            _draw(Path(args.picture), root, infos)
        whole = _whole(root, infos)
        if args.json:
            write_json(args.json, whole, indent=1)
        if args.json != '-':
            print(render(infos, whole))
    except (CommandError, LayoutError, SinkError) as error:
        print(f'rgbt record-info: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'rgbt record-info: {error.filename}: {error.strerror}', file=sys.stderr)
        return 2
    return int(bool(whole['problems']))


def render(infos: Sequence[SegmentInfo], whole: dict[str, Any]) -> str:
    """Return what is printed: a line a segment, the total, and what is wrong."""
    rows = [COLUMNS, *map(_row, infos)]
    total = whole['total']
    rows.append(('total', str(total['pairs']), _time(total['duration']), '',
                 _size(total['bytes']), '', '', _skews(total['skew_p50'], total['skew_p95']),
                 _range(total['thermal_range'], False), str(total['tracks']), ''))
    widths = [max(len(row[c]) for row in rows) for c in range(len(COLUMNS))]
    lines = ['  '.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
             for row in rows]
    lines.insert(1, '  '.join('-' * w for w in widths))
    lines.insert(-1, lines[1])
    if whole['topics']:
        lines += ['', *(f'{name}: {", ".join(topics)}'
                        for name, topics in whole['topics'].items())]
    lines += _uncalibrated(infos)
    problems = whole['problems']
    lines += ['', *(f'! {text}' for text in problems)] if problems else ['', 'nothing is wrong']
    return '\n'.join(lines)


def _uncalibrated(infos: Sequence[SegmentInfo]) -> list[str]:
    """Say which cameras have no camera_info; that is no fault where nobody needs one."""
    known = [i for i in infos if i.state not in ('bag', 'broken')]
    lines = []
    for name in ('rgb', 'thermal'):
        without = tuple(i.name for i in known if name in i.uncalibrated)
        if without:
            lines.append(f'no calibration of {name}' + (
                '' if len(without) == len(known) else f' in {shorten(without)}'))
    return lines


def _whole(root: Path, infos: Sequence[SegmentInfo]) -> dict[str, Any]:
    """Return what goes to JSON."""
    skews = np.abs(np.concatenate([i.skews for i in infos] or [np.empty(0)]))
    ranges = [i.thermal_range for i in infos if i.thermal_range]
    problems = [f'{i.name}: {text}' for i in infos for text in i.problems]
    problems += [f'{name} is not there: deleted, or moved'
                 for name in missing_numbers([i.name for i in infos])]
    return {
        'recording': str(root), 'segments': [i.as_dict() for i in infos],
        'total': {
            'segments': len(infos), 'pairs': sum(i.pairs for i in infos),
            'duration': sum(i.duration for i in infos), 'bytes': sum(i.bytes for i in infos),
            'tracks': sum(i.tracks for i in infos),
            'skew_p50': float(np.percentile(skews, 50)) if len(skews) else None,
            'skew_p95': float(np.percentile(skews, 95)) if len(skews) else None,
            'thermal_range': [min(r[0] for r in ranges), max(r[1] for r in ranges)]
            if ranges else None},
        'topics': {name: found for side, name in enumerate(('rgb', 'thermal'))
                   if (found := sorted({i.topics[side] for i in infos} - {''}))},
        'problems': problems}


def _row(info: SegmentInfo) -> tuple[str, ...]:
    formats = [', '.join(map(text_of, f)) or '-' for f in info.formats]
    return (info.name, str(info.pairs), _time(info.duration),
            f'{info.rate:.1f} Hz' if info.rate else '-', _size(info.bytes), *formats,
            _skews(info.skew(50), info.skew(95)), _range(info.thermal_range, info.sampled),
            str(info.tracks), info.state)


def _time(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f'{hours}:{minutes:02d}:{rest:04.1f}' if hours else f'{minutes}:{rest:04.1f}')


def _size(count: int) -> str:
    value, unit = float(count), 'B'
    for unit in ('B', 'kB', 'MB', 'GB', 'TB'):
        if value < 999.5 or unit == 'TB':
            break
        value /= 1000
    return f'{value:.3g} {unit}'


def _skews(p50: float | None, p95: float | None) -> str:
    return '-' if p50 is None or p95 is None else f'{p50:.1f} / {p95:.1f} ms'


def _range(limits: Sequence[float] | None, sampled: bool) -> str:
    return '-' if not limits else f'{limits[0]:g} to {limits[1]:g}' + ('*' if sampled else '')


def _draw(path: Path, root: Path, infos: Sequence[SegmentInfo]) -> None:
    import cv2

    from rgbt_tracker_ros.data.segments_sheet import contact_sheet
    pairs = sum(i.pairs for i in infos)
    first = next((i.first_stamp for i in infos if i.pairs), 0)
    when = datetime.fromtimestamp(first / 1e9, timezone.utc).strftime('%Y-%m-%d %H:%M:%S UTC')
    sheet = contact_sheet(f'{root.resolve().name}: {len(infos)} segments, {pairs} pairs, '
                          f'{_time(sum(i.duration for i in infos))}, from {when}', infos)
    ok, data = cv2.imencode('.png', sheet)
    assert ok   # of pixels in memory
    path.write_bytes(data.tobytes())


def _parser() -> Parser:
    made = Parser('rgbt record-info', description=(
        'Show what the recorder node has recorded: pairs, rate, sizes, skew and thermal range of '
        'each segment, also of one that was cut off, and what is wrong. Works on bags of other '
        'makers too. * behind a range: of some pairs only.'))
    add = made.add_argument
    add('recording', metavar='DIR', help='a folder of segments, a segment, or a bag')
    add('--json', metavar='FILE', help="write it all as JSON ('-': in place of the table)")
    add('--picture', metavar='FILE', help='write thumbnails over time and the skews as PNG')
    add('--option', metavar='KEY=VALUE', action='append', default=[],
        help='an option of the layout, as YAML, e.g. rgb_topic=/camera/image_raw')
    return made
