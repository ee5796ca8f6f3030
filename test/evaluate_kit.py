"""What the tests of the evaluation share: sequences on disk, and trackers to be named by it."""
from __future__ import annotations

import os
from pathlib import Path
import time

import cv2

from rgbt_tracker_ros.data.scenes import Scene, SceneConfig
from rgbt_tracker_ros.types import Box, Estimate, Pair, PairError, State

SIDES = {'a': 96, 'b': 112, 'c': 128}
"""Sequence -> side of its images, by which a tracker knows where it is."""


def write_scenes(root: Path, names: str = 'abc', frames: int = 12, images: bool = True) -> Path:
    """Write made-up scenes as the layout `folder`."""
    for name in names:
        scene = Scene(SIDES[name], SceneConfig(frames, SIDES[name], 24.0, 2.0, 1))
        for kind in ('rgb', 'thermal') if images else ():
            (root / name / kind).mkdir(parents=True)
        boxes = []
        for i, (pair, box, _) in enumerate(scene):
            boxes.append(','.join(map(repr, map(float, box.as_tuple()))))
            if images:
                cv2.imwrite(str(root / name / 'rgb' / f'{i:04}.png'), pair.rgb[..., ::-1])
                cv2.imwrite(str(root / name / 'thermal' / f'{i:04}.png'), pair.thermal)
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / 'groundtruth.txt').write_text('\n'.join(boxes) + '\n')
    return root


class Steady:
    """Leaves the box where it was; writes the side of every image that it sees to $CALLS."""

    def init(self, pair: Pair, box: Box) -> Estimate:
        self.box, self.frame = box, 0
        self.saw(pair)
        return Estimate(box, 1.0, State.TRACKING)

    def update(self, pair: Pair) -> Estimate:
        self.frame += 1
        self.saw(pair)
        time.sleep(float(os.environ.get('SLEEP', '0.001')))
        return Estimate(self.box, 0.5, State.TRACKING)

    def saw(self, pair: Pair) -> None:
        if calls := os.environ.get('CALLS'):
            with Path(calls).open('a') as file:
                file.write(f'{pair.size[0]}\n')


def steady() -> Steady:
    return Steady()


class FailsOnB(Steady):
    """Comes to grief at frame 3 of sequence b."""

    def __init__(self, how: str) -> None:
        self.how = how

    def update(self, pair: Pair) -> Estimate:
        if pair.size[0] == SIDES['b'] and self.frame == 2:
            if self.how == 'exit':
                os._exit(7)
            raise {'pair': PairError, 'runtime': RuntimeError}[self.how]('out of cheese')
        return super().update(pair)


def raises() -> FailsOnB:
    return FailsOnB('runtime')


def refuses() -> FailsOnB:
    return FailsOnB('pair')


def exits() -> FailsOnB:
    return FailsOnB('exit')


not_a_function = 3
