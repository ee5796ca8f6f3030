#!/usr/bin/env python3
"""Time `Tracker.update`, from a pair of images to a box, beside OpenCV's CSRT.

Both follow the person of the shipped clip (640x480) in turn, so that whatever else the machine
does slows both down alike: pass by pass, and once more frame by frame, where each finds the
caches full of what the other left and its threads asleep, as beside cameras and a planner.
Decoding the video is not counted, and neither is the first pass, in which caches fill. Printed
are the median and the 95th percentile of each in ms, for ours also its parts, and how many times
CSRT's frame rate ours is (by the medians). Ours now and then runs the network twice in an update
(see `TrackerConfig.probe_interval`): that is part of it.

    python benchmarks/update_speed.py --threads 2

Needs OpenCV's contrib modules. Other processes on the same cores spoil figures of two threads or
more first: threads that wait for one another wait for the slowest. --least RATIO exits with 1
where ours is not so many times as fast.
"""
from __future__ import annotations

import argparse
from itertools import product
import os
import sys
import time

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.runtime.threads import wait_briefly

Times = dict[str, list[float]]


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description='Time Tracker.update beside CSRT.')
    parser.add_argument('--model', default='', help='.safetensors file; default: the shipped one')
    parser.add_argument('--threads', type=int, default=2, help='of torch and OpenCV (%(default)s)')
    parser.add_argument('--passes', type=int, default=3, help='over the clip (%(default)s)')
    parser.add_argument('--view', default='mean', choices=('rgb', 'thermal', 'mean'),
                        help='picture that CSRT sees (%(default)s)')
    parser.add_argument('--precision', default='auto', help='of ours: auto, float32, bf16')
    parser.add_argument('--least', type=float, default=0.0, metavar='RATIO')
    args = parser.parse_args()
    # read by torch's threads when they start
    os.environ.setdefault('OMP_NUM_THREADS', str(args.threads))
    wait_briefly()
    least = float('inf')
    for turns, times in measure(args.model, args.threads, args.passes, args.view,
                                args.precision).items():
        print(f'in turn, {turns} by {turns}, {args.threads} threads:')
        for name, values in times.items():
            at: NDArray[np.float64] = 1e3 * np.percentile(values, (50, 95))
            print(f'  {name:14} median {at[0]:6.2f} ms   95 % {at[1]:6.2f} ms   of {len(values)}')
        ratio = float(np.median(times['csrt']) / np.median(times['ours']))
        print(f'  ours is {ratio:.2f} times as fast as CSRT on {args.view}')
        least = min(least, ratio)
    return int(least < args.least)


def measure(model: str, threads: int, passes: int, view: str, precision: str) -> dict[str, Times]:
    """Return the seconds of every update after the first pass, ours and CSRT's, of both kinds of
    turns.
    """
    import cv2

    from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
    from rgbt_tracker_ros.data.sources import PairSource
    from rgbt_tracker_ros.evaluation.baselines import OpenCVTracker
    from rgbt_tracker_ros.tracking.tracker import Tracker

    cv2.setNumThreads(threads)
    boxes = read_boxes(SMOKE.groundtruth)
    pairs = list(PairSource(SMOKE.rgb, SMOKE.thermal))
    ours = Tracker.load(model, 'cpu', threads=threads, precision=precision)
    csrt = OpenCVTracker('csrt', view)
    both: dict[str, Times] = {}
    for turns in ('pass', 'frame'):
        for _ in range(passes + 1):
            times: Times = {'ours': [], '  crop': [], '  network': [], 'csrt': []}
            ours.init(pairs[0], boxes[0])
            csrt.init(pairs[0], boxes[0])
            trackers: tuple[Tracker | OpenCVTracker, ...] = (ours, csrt)
            for tracker, pair in (product(trackers, pairs[1:]) if turns == 'pass'
                                  else ((t, p) for p in pairs[1:] for t in trackers)):
                start = time.perf_counter()
                estimate = tracker.update(pair)
                times['ours' if tracker is ours else 'csrt'].append(time.perf_counter() - start)
                for part in ('crop', 'network') if tracker is ours else ():
                    times[f'  {part}'].append(estimate.timings[part])
            # of the first pass only the place is kept
            both[turns] = {n: both[turns][n] + v for n, v in times.items()} if turns in both \
                else {n: [] for n in times}
    return both


if __name__ == '__main__':
    sys.exit(main())
