#!/usr/bin/env python3
"""The model card's table, from what `rgbt evaluate --layout synthetic` has measured.

    rgbt evaluate --layout synthetic --json ours.json
    rgbt evaluate --layout synthetic --json theirs.json \
        --tracker csrt-rgb,csrt-thermal,csrt-mean,kcf-rgb,kcf-thermal,kcf-mean
    python benchmarks/suites_table.py ours.json theirs.json

The first tracker is held against the best of the others, suite by suite, each by its mean
success (area under the curve of overlaps x 100) over the videos. False holds: share of all frames
in which the tracker says that it follows the target and its box hardly touches it, or there is
none; ECE: expected calibration error of the confidence over all frames of a suite.
"""
from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
import sys
from typing import Any

import numpy as np

Tracker = Mapping[str, Any]


def main(files: list[str]) -> int:
    """Print the table of JSON files."""
    trackers: list[Tracker] = []
    for file in files:
        found = json.loads(Path(file).read_text())
        trackers += found if isinstance(found, list) else [found]
    ours, others = trackers[0], trackers[1:]
    for other in others:
        if lacking := sorted(set(ours['sequences']) - set(other['sequences'])):
            print(f"{other['tracker']} has no figures of {len(lacking)} videos, {lacking[0]} for "
                  'one: evaluate it on the same', file=sys.stderr)
            return 2
        if other['convention'] != ours['convention']:
            print(f"{other['tracker']} was scored by convention {other['convention']}, not "
                  f"{ours['convention']}", file=sys.stderr)
            return 2
    print('| suite | success | best of the others | ahead by | precision | false holds | ECE |')
    print('|---|---|---|---|---|---|---|')
    for suite in suites(ours):
        best = max(((mean(o, suite, 'SR', ours), str(o['tracker'])) for o in others),
                   default=(float('nan'), '-'))
        mine = mean(ours, suite, 'SR')
        held, error = robot(ours, suite)
        print(f'| `{suite}` | {100 * mine:.1f} | {100 * best[0]:.1f} ({best[1]}) '
              f'| {100 * (mine - best[0]):+.1f} | {100 * mean(ours, suite, "PR"):.1f} '
              f'| {100 * held:.1f} % | {error:.3f} |')
    held, error = robot(ours)
    print(f'| all | {100 * mean(ours, "", "SR"):.1f} | | | {100 * mean(ours, "", "PR"):.1f} '
          f'| {100 * held:.1f} % | {error:.3f} |')
    return 0


def suites(tracker: Tracker) -> list[str]:
    """Return the suites that were evaluated, in their order."""
    return list(dict.fromkeys(name.rsplit('_', 1)[0] for name in tracker['sequences']))


def _of(tracker: Tracker, suite: str, like: Tracker | None = None) -> list[Any]:
    return [tracker['sequences'][name] for name in (like or tracker)['sequences']
            if name.startswith(f'{suite}_') or not suite]


def mean(tracker: Tracker, suite: str, key: str, like: Tracker | None = None) -> float:
    """Return the mean of a figure over the videos of a suite that `like` has (default: the
    tracker itself); of all, where the suite is ''.
    """
    return float(np.mean([s[key] for s in _of(tracker, suite, like)]))


def robot(tracker: Tracker, suite: str = '') -> tuple[float, float]:
    """Return the share of false holds and the expected calibration error over all frames."""
    found = [s['robot'] for s in _of(tracker, suite)]
    bins = np.sum([r['calibration']['bins'] for r in found], axis=0)
    return (sum(r['false_holds'] for r in found) / sum(r['frames'] for r in found),
            float(np.abs(bins[2] - bins[1]).sum() / bins[0].sum()))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
