#!/usr/bin/env python3
"""Follow M3SVD's three labelled tracks with a student; the table of the model card.

    scripts/validate.py DATA [--model FILE] [--json FILE]

DATA/m3svd holds visible/*.mp4, infrared/*.mp4 and tracks/*.csv (video,frame,x,y,w,h).
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
import csv
from itertools import islice
import json
from pathlib import Path

import numpy as np

from rgbt_tracker_ros.data.sources import PairSource
from rgbt_tracker_ros.evaluation.metrics import iou, precision, success
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box, Pair

INPUTS = {'both': ('rgb', 'thermal'), 'RGB alone': ('rgb',), 'thermal alone': ('thermal',)}


def pairs(folder: Path, video: str, first: int, count: int, names: tuple[str, ...],
          ) -> Iterator[Pair]:
    """Yield `count` pairs of a video, with the modalities in `names` alone."""
    source = PairSource(folder / 'visible' / f'{video}.mp4', folder / 'infrared' / f'{video}.mp4')
    for pair in islice(source.pairs(first), count):
        yield Pair(pair.rgb if 'rgb' in names else None,
                   pair.thermal if 'thermal' in names else None, pair.stamp)


def score(tracker: Tracker, track: Path, folder: Path, names: tuple[str, ...]) -> dict[str, float]:
    """One pass over a track from its first box: precision, success, and how sure it was."""
    with track.open(newline='') as file:
        rows = list(csv.DictReader(file))
    truth = np.array([[float(r[k]) for k in 'xywh'] for r in rows])
    source = pairs(folder, rows[0]['video'], int(rows[0]['frame']), len(rows), names)
    estimates = [tracker.init(next(source), Box(*truth[0]))]
    estimates += [tracker.update(pair) for pair in source]
    boxes = np.array([e.box.as_tuple() for e in estimates])
    sure = np.array([e.confidence for e in estimates])
    return {'precision': precision(boxes, truth), 'success': success(boxes, truth),
            'confidence': float(sure.mean()),
            'half overlaps': float((iou(boxes, truth) >= 0.5).mean()),
            'ms': 1e3 * float(np.median([e.timings['total'] for e in estimates[1:]]))}


def main() -> None:
    """Print one row per track and input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--model', default='')
    parser.add_argument('--json', type=Path)
    args = parser.parse_args()
    folder = args.data / 'm3svd'
    tracker = Tracker.load(args.model, 'cpu')
    tracks = sorted((folder / 'tracks').glob('*.csv'))
    table = {}
    print('| track | input | precision | success | mean confidence | overlap >= 0.5 |')
    print('|---|---|---|---|---|---|')
    for track in tracks:
        for name, names in INPUTS.items():
            s = table[f'{track.stem}, {name}'] = score(tracker, track, folder, names)
            print(f'| {track.stem} | {name} | {s["precision"]:.2f} | {s["success"]:.3f} | '
                  f'{s["confidence"]:.2f} | {s["half overlaps"]:.2f} |', flush=True)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1))


if __name__ == '__main__':
    main()
