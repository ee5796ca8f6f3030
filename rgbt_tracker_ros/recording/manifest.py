"""manifest.json: what a segment holds, counted while it is written."""
from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
import hashlib
import json
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rgbt_tracker_ros import __version__
from rgbt_tracker_ros.recording.raw_images import RawCompressed, RawImage, sampled
from rgbt_tracker_ros.recording.reserved_file import Buffer, write_durably
from rgbt_tracker_ros.recording.tally import Lost

FORMAT = 1
EDGES = (-50, -30, -20, -15, -10, -7, -5, -3, -2, -1, 0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50)  # ms


@dataclass(slots=True)
class StreamCounts:
    """What was seen of one camera."""

    topic: str
    type: str
    frame_id: str = ''
    formats: Counter[tuple[str, int | None, int | None]] = field(default_factory=Counter)
    minimum: float | None = None
    maximum: float | None = None
    received: int = 0
    missed: int = 0

    def add(self, image: RawImage | RawCompressed) -> None:
        """Count an image."""
        self.frame_id = image.frame_id
        if isinstance(image, RawCompressed):
            self.formats[image.format, None, None] += 1
            return
        self.formats[image.encoding, image.width, image.height] += 1
        values = sampled(image)
        low, high = float(np.fmin.reduce(values, None)), float(np.fmax.reduce(values, None))
        if isfinite(low) and isfinite(high):
            self.minimum = low if self.minimum is None else min(low, self.minimum)
            self.maximum = high if self.maximum is None else max(high, self.maximum)

    def as_dict(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        return {'topic': self.topic, 'type': self.type, 'frame_id': self.frame_id,
                'formats': [{'encoding': e, 'width': w, 'height': h, 'pairs': n}
                            for (e, w, h), n in self.formats.items()],
                'minimum': self.minimum, 'maximum': self.maximum,
                'received': self.received, 'missed': self.missed}


@dataclass(slots=True)
class Manifest:
    """See the package's docstring for what the fields mean. Times in ns."""

    recorder: str
    recording: str
    segment: int
    file: str
    compression: str
    gates: dict[str, Any]
    streams: dict[str, StreamCounts]
    offset: int = 0
    state: str = 'open'
    reason: str = ''
    pairs: int = 0
    tracks: int = 0
    bytes: int = 0
    first_stamp: int | None = None
    last_stamp: int | None = None
    first_received: int | None = None
    last_received: int | None = None
    calibration: dict[str, list[str]] = field(
        default_factory=lambda: {'rgb': [], 'thermal': []})
    skipped: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    unmatched: int = 0
    lost: list[Lost] = field(default_factory=list)
    skews: list[int] = field(default_factory=list)      # ns; 8 bytes a pair, for the median

    def add_pair(self, images: dict[str, RawImage | RawCompressed], stamp: int, skew: int) -> None:
        """Count a pair by the stamp of its RGB image."""
        for stream, image in images.items():
            self.streams[stream].add(image)
        self.pairs += 1
        self.skews.append(skew)
        self.first_stamp = stamp if self.first_stamp is None else self.first_stamp
        self.last_stamp = stamp

    def add_received(self, time: int) -> None:
        """Take note of a message's log_time."""
        first, last = self.first_received, self.last_received
        self.first_received = time if first is None else min(time, first)
        self.last_received = time if last is None else max(time, last)

    def add_tally(self, counts: Counter[tuple[str, str]], lost: list[Lost]) -> None:
        """Take over what `Tally.take` gives."""
        for stream, made in self.streams.items():
            made.received += counts['received', stream]
            made.missed += counts['missed', stream]
            self.unmatched += counts['unmatched', stream]
        self.dropped += counts['dropped', 'pair']
        self.lost += lost

    def as_dict(self) -> dict[str, Any]:
        """Return what manifest.json says."""
        counts = [0] * (len(EDGES) + 1)
        for skew in self.skews:
            counts[bisect_right(EDGES, skew / 1e6)] += 1
        sizes = sorted(abs(s) / 1e6 for s in self.skews)
        return {
            'format': FORMAT, 'state': self.state, 'reason': self.reason,
            'software': f'rgbt_tracker_ros {__version__}', 'recorder': self.recorder,
            'recording': self.recording, 'segment': self.segment, 'file': self.file,
            'compression': self.compression, 'pairs': self.pairs, 'tracks': self.tracks,
            'bytes': self.bytes, 'first_stamp': self.first_stamp, 'last_stamp': self.last_stamp,
            'first_received': self.first_received, 'last_received': self.last_received,
            'streams': {s: c.as_dict() for s, c in self.streams.items()},
            'skew': {'edges': list(EDGES), 'counts': counts,
                     'median': median(sizes) if sizes else None,
                     'p95': sizes[min(len(sizes) - 1, len(sizes) * 95 // 100)] if sizes else None,
                     'offset': self.offset / 1e6},
            'calibration': self.calibration, 'gates': self.gates,
            'skipped': {k: self.skipped[k] for k in ('every_n', 'interval', 'unchanged')},
            'dropped': self.dropped, 'unmatched': self.unmatched, 'lost': self.lost}

    def write(self, folder: Path) -> None:
        """Write manifest.json, in the place of one that is there."""
        write_durably(folder / 'manifest.json', json.dumps(self.as_dict(), indent=1) + '\n')


def calibration_hash(raw: Buffer) -> str:
    """Return the sha256 of a serialised CameraInfo without encapsulation and stamp."""
    return hashlib.sha256(memoryview(raw)[12:]).hexdigest()
