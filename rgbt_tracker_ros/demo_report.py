"""What the demo measured: numbers, table and pictures."""
from __future__ import annotations

from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rgbt_tracker_ros.data.shipped import SMOKE
from rgbt_tracker_ros.data.sinks import VideoSink, write_file
from rgbt_tracker_ros.data.sources import PairSource
from rgbt_tracker_ros.evaluation.metrics import precision, success
from rgbt_tracker_ros.types import Box, Estimate, State
from rgbt_tracker_ros.visualization import film_strip, side_by_side

ANSWER_SHARE = 0.99  # of the pairs must be answered
STRIP_PICTURES, STRIP_COLUMNS = 6, 2
NO_ANSWER = (np.nan,) * 4


@dataclass
class Results:
    """Fills with the client's records; answers are filed by the stamp of their pair."""

    frames: int
    ready: bool = False
    device: str = ''
    model: str = ''
    failure: str = ''
    truth: dict[int, list[float]] = field(default_factory=dict)
    tracks: dict[int, dict[str, Any]] = field(default_factory=dict)
    reads: list[float] = field(default_factory=list)

    def add(self, record: dict[str, Any]) -> None:
        """Take a record of nodes/demo_client.py."""
        kind = record['kind']
        if kind == 'ready':
            self.ready, self.device, self.model = True, record['device'], record['model']
        elif kind == 'sent':
            self.truth[record['stamp']] = record['box']
        elif kind == 'track' and record['target']:  # empty: no target yet
            self.tracks[record['stamp']] = record
        elif kind == 'reply' and record['final'] and not record['accepted']:
            self.failure = f'the target was refused: {record["reason"]}'
        elif kind == 'status' and 'failed: ' in record['message'] and not self.ready:
            self.failure = f'rgbt_tracker: {record["message"]}'
        elif kind == 'read':
            self.reads.append(record['ms'])

    @property
    def pairs_sent(self) -> int:
        """Pairs sent from the one on which the target was given, which is the first."""
        return len(self.truth)

    @property
    def pairs_answered(self) -> int:
        """Pairs for which an answer came."""
        return len(self.truth.keys() & self.tracks.keys())

    @property
    def answered_share(self) -> float:
        """Share of the pairs for which an answer came."""
        return self.pairs_answered / max(1, self.pairs_sent)

    def summary(self) -> dict[str, Any]:
        """Return the content of demo.json."""
        truth = list(self.truth.values())
        boxes = [self.tracks[s]['box'] if s in self.tracks else NO_ANSWER for s in self.truth]
        answers = [self.tracks[s] for s in self.truth if s in self.tracks]
        return {
            'pairs_sent': self.pairs_sent,
            'pairs_answered': self.pairs_answered,
            'pairs_dropped': self.pairs_sent - self.pairs_answered,
            'age_ms': _percentiles([1e3 * a['age'] for a in answers]),
            'network_ms': _percentiles([1e3 * a['network_time'] for a in answers]),
            'parameter_read_ms': _percentiles(self.reads),
            'precision': round(precision(boxes, truth), 4),
            'success': round(success(boxes, truth), 4),
            'device': self.device,
            'model': self.model,
        }

    def save(self, path: Path) -> None:
        """Write demo.json. :raises SinkError: it can't be written."""
        write_file(path, json.dumps(self.summary(), indent=2) + '\n')

    def table(self) -> str:
        """Return the numbers as a table."""
        s = self.summary()
        rows = [
            ('pairs sent', str(s['pairs_sent'])),
            ('pairs answered', f'{s["pairs_answered"]} ({self.answered_share:.1%})'),
            ('pairs dropped', str(s['pairs_dropped'])),
            *((name, f'{_ms(s[key]["p50"])} / {_ms(s[key]["p95"])}') for name, key in (
                ('age of an answer, ms, p50 / p95', 'age_ms'),
                ('network time, ms, p50 / p95', 'network_ms'),
                ('parameter read, ms, p50 / p95', 'parameter_read_ms'))),
            ('success (area under the curve)', f'{s["success"]:.3f}'),
            ('precision (20 px)', f'{s["precision"]:.3f}'),
            ('device', s['device']),
            ('model', s['model']),
        ]
        width = max(len(name) for name, _ in rows)
        return '\n'.join(['', *(f'  {name:{width}}  {value}' for name, value in rows), ''])

    def estimates(self) -> list[Estimate]:
        """Return what to draw on each frame."""
        return [_estimate(self.tracks.get(stamp)) for stamp in self.truth]


def save_pictures(results: Results, output: Path) -> None:
    """Write overlay.mp4, and strip.png with moments of it.

    :raises SinkError: if one can't be written.
    """
    source = PairSource(SMOKE.rgb, SMOKE.thermal)
    estimates, truth = results.estimates(), list(results.truth.values())
    chosen = np.linspace(0, len(estimates) - 1, STRIP_PICTURES).round().astype(int)
    pictures: list[Any] = []
    with VideoSink(output / 'overlay.mp4', source.fps) as video:
        for index, (pair, estimate, box) in enumerate(zip(source, estimates, truth, strict=False)):
            picture = side_by_side(pair, estimate, groundtruth=Box(*box),
                                   lines=[f'{index / source.fps:.1f} s'])
            video.write(picture)
            if index in chosen:
                pictures.append(cv2.resize(picture, None, fx=0.5, fy=0.5,
                                           interpolation=cv2.INTER_AREA))
    if pictures:
        strip = cv2.cvtColor(film_strip(pictures, STRIP_COLUMNS), cv2.COLOR_RGB2BGR)
        _, png = cv2.imencode('.png', strip, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        write_file(output / 'strip.png', png.tobytes())


def _estimate(track: dict[str, Any] | None) -> Estimate:
    if track is None:
        return Estimate(Box(0, 0, 0, 0), 0.0, State.IDLE)
    return Estimate(Box(*track['box']), track['confidence'], State(track['state']),
                    track['weight_rgb'], track['weight_thermal'])


def _percentiles(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {'p50': None, 'p95': None}
    return {f'p{p}': round(float(np.percentile(values, p)), 2) for p in (50, 95)}


def _ms(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f}'
