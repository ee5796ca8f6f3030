"""What a recording holds and what is wrong with it: by segments, from the files themselves.

The manifest is asked only for what the file does not say: what was dropped before it was written,
and the thermal range of all pairs.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.bag_reader import IMAGE_TYPES
from rgbt_tracker_ros.data.image_messages import is_compressed
from rgbt_tracker_ros.data.recordings import BagFrames
from rgbt_tracker_ros.data.segments import RecordingDataset, SegmentFrames, read_manifest
from rgbt_tracker_ros.data.segments_folder import PARTIAL, is_held, is_segment, moved
from rgbt_tracker_ros.data.segments_mcap import Channel
from rgbt_tracker_ros.data.sequence import LayoutError, Sequence

Format = tuple[str, int | None, int | None]     # encoding or format, width, height
SAMPLES = 16    # pairs that are decoded where the thermal range was not written down
GAP = 3.0       # periods without a pair that are a gap
UNMATCHED = 0.02    # share of the pairs: above it images without a partner are worth a word
LATE = 0.5      # share of the time between two pairs; a skew above it may be of the wrong partner


@dataclass
class SegmentInfo:
    """What is known of a segment. Times in s, stamps in ns, skews in ms, sizes in bytes.

    `state`: whole, cut off, being written, bag (of another maker), or broken. `formats`: of each
    camera, with how many images. `thermal_range`: smallest and largest value; `sampled`: of some
    pairs only. `gaps`: (number of the pair before, s). `unpaired`: images in the file without a
    partner. `dropped`, `unmatched`: what the recorder says it lost before, None if it doesn't.
    `uncalibrated`: cameras, of 'rgb' and 'thermal', without a camera_info in a segment.
    """

    name: str
    path: Path
    state: str = 'whole'
    pairs: int = 0
    bytes: int = 0
    left_out: int = 0
    first_stamp: int = 0
    last_stamp: int = 0
    rate: float | None = None
    skews: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    topics: tuple[str, str] = ('', '')
    formats: tuple[Counter[Format], Counter[Format]] = field(
        default_factory=lambda: (Counter(), Counter()))
    thermal_range: tuple[float, float] | None = None
    sampled: bool = False
    tracks: int = 0
    gaps: list[tuple[int, float]] = field(default_factory=list)
    unpaired: int = 0
    dropped: int | None = None
    unmatched: int | None = None
    uncalibrated: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)
    sequence: Sequence | None = None

    @property
    def duration(self) -> float:
        """From the first to the last RGB stamp, s."""
        return (self.last_stamp - self.first_stamp) / 1e9

    def skew(self, share: float) -> float | None:
        """Percentile of the absolute skew, ms; None where there is no pair."""
        return float(np.percentile(np.abs(self.skews), share)) if len(self.skews) else None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        plain = ('name', 'state', 'pairs', 'bytes', 'left_out', 'first_stamp', 'last_stamp',
                 'duration', 'rate', 'thermal_range', 'sampled', 'tracks', 'unpaired', 'dropped',
                 'unmatched', 'uncalibrated', 'problems')
        return {'path': str(self.path), **{k: getattr(self, k) for k in plain},
                'skew_p50': self.skew(50), 'skew_p95': self.skew(95),
                'gaps': [{'after_pair': n, 'seconds': s} for n, s in self.gaps],
                'streams': {name: {'topic': topic, 'formats': [
                    {'encoding': e, 'width': w, 'height': h, 'images': n}
                    for (e, w, h), n in formats.items()]} for name, topic, formats in
                    zip(('rgb', 'thermal'), self.topics, self.formats, strict=True)}}


def look(dataset: RecordingDataset) -> Iterator[SegmentInfo]:
    """Yield what there is to say of each segment, in order; a broken one is described too."""
    for name, path in dataset.paths.items():
        info = SegmentInfo(name, moved(path))
        try:
            _describe(info, dataset)
        except LayoutError as error:
            if info.state != 'being written':   # which may hold nothing yet
                info.state, info.problems = 'broken', [*info.problems, error.what]
        yield info


def missing_numbers(names: list[str]) -> list[str]:
    """Name the segments that are not there, of those between the first and the last."""
    found: dict[str, list[int]] = {}
    for name in names:
        base, _, number = name.rpartition('_')
        if base and number.isdigit():
            found.setdefault(base, []).append(int(number))
    return [f'{base}_{n:04d}' for base, numbers in found.items()
            for n in range(min(numbers), max(numbers)) if n not in numbers]


def _describe(info: SegmentInfo, dataset: RecordingDataset) -> None:
    formats: dict[str, Counter[Format]] = {}

    def note(channel: Channel, head: bytes) -> None:
        if channel.kind in IMAGE_TYPES:
            formats.setdefault(channel.topic, Counter())[_format(channel.kind, head)] += 1

    ours = is_segment(info.path)
    if not ours:
        info.state = 'bag'
    elif info.path.name.endswith(PARTIAL):
        info.state = 'being written' if is_held(info.path) else 'cut off'
    info.bytes = sum(f.stat().st_size for f in (
        info.path.glob('*.*') if info.path.is_dir() else [info.path]))
    manifest: dict[str, Any] = {}
    if ours:
        try:
            manifest = read_manifest(info.path)
        except LayoutError as error:
            info.problems.append(error.what)
    sequence = info.sequence = dataset.noted(info.name, note)
    frames = sequence.frames
    assert isinstance(frames, BagFrames)
    pairing, info.topics = frames.pairing, (frames.topics[0], frames.topics[1])
    if not ours:
        formats = _first_formats(frames)
    info.formats = (formats.get(info.topics[0], Counter()), formats.get(info.topics[1], Counter()))
    info.pairs, info.rate = len(pairing), pairing.rate
    offset = float((manifest.get('skew') or {}).get('offset') or 0.0)
    info.skews = pairing.skews / 1e6 + offset
    info.first_stamp, info.last_stamp = (int(pairing.stamps[i]) for i in (0, -1)) \
        if info.pairs else (0, 0)
    info.unpaired = sum(len(i) for i in frames.indexes if i is not None) - 2 * info.pairs
    if isinstance(frames, SegmentFrames):
        info.uncalibrated = _uncalibrated(manifest, frames)
        info.left_out = frames.file.left_out
        info.tracks = sum(n for t, n in frames.file.counts.items()
                          if frames.file.kinds[t].endswith('/Track'))
        if not frames.file.whole:
            if info.state == 'whole':
                info.state = 'cut off'
            if info.state == 'cut off':
                info.problems.append(f'the file is {frames.file.cut}; ' + (
                    f'the {info.left_out:,} bytes behind the last whole chunk are left out'
                    if info.left_out else 'what it holds is whole'))
    _take_manifest(info, manifest)
    _find_range(info, manifest, sequence)
    _find_gaps(info, manifest, pairing.stamps)
    _judge(info)
    frames.close()


def _first_formats(frames: BagFrames) -> dict[str, Counter[Format]]:
    """Return each camera's format by its first image: of all, a bag can't tell without reading."""
    found = {}
    with frames.open() as bag:
        for topic, index in zip(frames.topics, frames.indexes, strict=True):
            if index is not None and len(index):
                image = bag.read(topic, index, 0)
                found[topic] = Counter[Format]({
                    (image.format, None, None) if is_compressed(image) else
                    (image.encoding, image.width, image.height): len(index)})
    return found


def _take_manifest(info: SegmentInfo, manifest: dict[str, Any]) -> None:
    if manifest.get('state') != 'closed':
        return
    info.dropped, info.unmatched = manifest.get('dropped'), manifest.get('unmatched')
    if (pairs := manifest.get('pairs')) != info.pairs:
        info.problems.append(f'the manifest says {pairs} pairs, the file has {info.pairs}')
    if manifest.get('reason') == 'disk':
        info.problems.append('the recording ended here: the disk was full')
    for name, hashes in (manifest.get('calibration') or {}).items():
        if len(hashes) > 1:
            info.problems.append(f'the calibration of {name} changed {len(hashes) - 1} times')


def _uncalibrated(manifest: dict[str, Any], frames: SegmentFrames) -> tuple[str, ...]:
    """Name the cameras without calibration: by the manifest of a segment that was closed, else by
    the topics beside those of the images.
    """
    told, file = manifest.get('calibration'), frames.file
    if manifest.get('state') == 'closed' and isinstance(told, dict):
        return tuple(s for s in ('rgb', 'thermal') if not told.get(s))
    there = {topic.rpartition('/')[0] for topic, kind in file.kinds.items()
             if kind.endswith('/CameraInfo') and file.counts[topic]}
    return tuple(s for s, topic in zip(('rgb', 'thermal'), frames.topics, strict=True)
                 if topic.removesuffix('/compressed').rpartition('/')[0] not in there)


def _find_range(info: SegmentInfo, manifest: dict[str, Any], sequence: Sequence) -> None:
    thermal = (manifest.get('streams') or {}).get('thermal') or {}
    low, high = thermal.get('minimum'), thermal.get('maximum')
    if low is None or high is None:
        info.sampled = True
        values = []
        for n in sorted({round(i) for i in np.linspace(0, info.pairs - 1, SAMPLES)}):
            if info.pairs and (image := sequence.pair(n).thermal) is not None:
                values.append(image[::8, ::8].astype(np.float64).ravel())
        finite = np.concatenate([v[np.isfinite(v)] for v in values] or [np.empty(0)])
        if not len(finite):
            return
        low, high = finite.min(), finite.max()
    info.thermal_range = float(low), float(high)


def _find_gaps(info: SegmentInfo, manifest: dict[str, Any], stamps: NDArray[np.int64]) -> None:
    gates = manifest.get('gates') or {}
    if info.rate is None or gates.get('scene_change'):      # leaves out what stands still
        return
    apart = np.diff(stamps) / 1e9
    for n in np.flatnonzero(apart > GAP / info.rate):
        info.gaps.append((int(n), float(apart[n])))


def _judge(info: SegmentInfo) -> None:
    if info.gaps:
        after, longest = max(info.gaps, key=lambda gap: gap[1])
        many = len(info.gaps)
        info.problems.append((f'{many} gaps, the longest of' if many > 1 else 'a gap of')
                             + f' {longest:.2f} s after pair {after}')
    if info.unpaired and info.state != 'bag':
        info.problems.append(f'{info.unpaired} images without a partner')
    if info.dropped:
        info.problems.append(f'{info.dropped} pairs dropped: the disk was slower than the cameras')
    if info.unmatched and info.unmatched > UNMATCHED * info.pairs:
        info.problems.append(f'{info.unmatched} images had no partner when they were recorded: '
                             'see pair_slop and thermal_time_offset of the recorder')
    p95 = info.skew(95)
    if info.rate and p95 is not None and p95 > 1e3 * LATE / info.rate:
        info.problems.append(f'skew is {p95:.1f} ms at the 95th percentile, more than half of the '
                             'time between two pairs')
    for name, formats in zip(('rgb', 'thermal'), info.formats, strict=True):
        if len(formats) > 1:
            info.problems.append(f'{name} images change: ' + ', '.join(
                f'{n} of {text_of(f)}' for f, n in formats.items()))
    if info.thermal_range and info.thermal_range[0] == info.thermal_range[1]:
        info.problems.append(f'all thermal values are {info.thermal_range[0]:g}')


def text_of(made: Format) -> str:
    """Return an image format in words: mono16 640x512."""
    encoding, width, height = made
    return encoding if width is None else f'{encoding} {width}x{height}'


def _format(kind: str, head: bytes) -> Format:
    """Read encoding and size from the beginning of a serialised image."""
    order = '>' if head[1] == 0 else '<'
    try:
        at = _after_text(head, 12, order)
        if kind != IMAGE_TYPES[0]:
            return _text(head, at, order), None, None
        height, width = struct.unpack_from(f'{order}II', head, at)
        return _text(head, at + 8, order), width, height
    except (struct.error, UnicodeDecodeError):
        return 'no image', None, None


def _text(head: bytes, at: int, order: str) -> str:
    length, = struct.unpack_from(f'{order}I', head, at)
    return head[at + 4:at + 3 + length].decode()


def _after_text(head: bytes, at: int, order: str) -> int:
    """Return where the number after a text begins: at a multiple of 4, from byte 4 on."""
    length, = struct.unpack_from(f'{order}I', head, at)
    return at + 4 + -(-int(length) // 4) * 4
