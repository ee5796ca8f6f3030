"""What the tests of adaptation share: tiny recordings, a tiny student, a command in few steps.

As a script, mines, trains and judges: adaptation_kit.py STUDENT RECORDINGS WORK
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
import sys
from typing import Any
from unittest.mock import patch

import numpy as np
from segments_kit import MS, Images, segment, stamp
import torch
from tracker_kit import Oracle, moved, scene

from rgbt_tracker_ros.adaptation.judging import JudgingSettings, Measured
from rgbt_tracker_ros.adaptation.mining import MiningSettings
from rgbt_tracker_ros.adaptation.run import Adaptation, AdaptationSettings
from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.distillation.devices import make_fabric
from rgbt_tracker_ros.distillation.train_log import TrainLog
from rgbt_tracker_ros.distillation.trainer import Options
from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.student import Student, StudentConfig
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box, Pair

SIZES = StudentConfig(template_size=32, search_size=64, stem=4, width8=8, width16=8, blocks8=1,
                      blocks16=1, head=8)
BOX = Box(100, 80, 40, 40)
SURE = {'scale': 1.0, 'bias': 9.0}     # so that what it is asked moves its boxes
TRAINING = ('stages.adapt.steps=3', 'stages.adapt.batch=4', 'stages.adapt.save_every=1',
            'stages.adapt.precision="32"', 'result.calibration.samples=8')
PAIRS = 32      # of a recording: enough stretches to judge by, of 4 pairs each
MINING = MiningSettings(every=16, length=5, least=3, regions=2, confidence=0.0, returns=0.0)
JUDGING = JudgingSettings(windows=2, length=4, samples=8)


def write_student(path: Path, seed: int = 0, **sizes: int) -> Path:
    """Save an untrained student."""
    torch.manual_seed(seed)
    config = StudentConfig(**{**SIZES.as_dict(), **sizes})
    checkpoint.save(Student(config), path, calibration=SURE)
    return path


def pictures(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return RGB and 16-bit thermal, 96x64 px, of a square that moves to the right; each hundred
    has a thermal range of its own.
    """
    rng = np.random.default_rng(number)
    gray = rng.integers(60, 90, (64, 96), dtype=np.uint8)
    x = 16 + 2 * (number % 12)
    gray[22:42, x:x + 20] = 220
    return np.dstack([gray] * 3), 7000 + (4 + number // 100) * gray.astype(np.uint16)


def write_recording(root: Path, number: int, pairs: int = PAIRS, first: int | None = None,
                    **options: Any) -> Path:
    """Write a segment as the recorder does, of pictures `first` (100 x its number) and later."""
    made = Images()
    return segment(
        root, number, pairs=pairs, first=100 * number if first is None else first,
        rgb=lambda i: made._raw(made.make.image(pictures(i)[0], 'rgb8', stamp(i))),
        thermal=lambda i: made._raw(made.make.image(pictures(i)[1], 'mono16', stamp(i) + 3 * MS)),
        **options)


def write_recordings(root: Path, count: int = 5, pairs: int = PAIRS, **options: Any) -> Path:
    """Write a folder of segments."""
    for number in range(count):
        write_recording(root, number, pairs, **options)
    return root


class Frames(list):
    """Pairs in memory."""

    pair = list.__getitem__


def sequence(pairs: list[Pair], name: str = 'walk') -> Sequence:
    """Return pairs as a sequence without boxes."""
    return Sequence(name, Frames(pairs), np.empty((0, 4)), np.empty(0, np.int64))


def fresh(logit: float = Oracle.logit) -> Callable[[], Tracker]:
    """Return what makes trackers whose network sees white."""
    oracle = Oracle()
    oracle.logit = logit
    return partial(Tracker, oracle, TrackerConfig())


def walk(length: int = 12, decoy: Box | None = None) -> list[Pair]:
    """A white square that goes to the right, and a gray one that the oracle is blind to."""
    pairs = []
    for i in range(length):
        pair = scene(moved(BOX, (3, 1), i), (320, 240), number=i)
        if decoy is not None:
            x, y, w, h = map(int, decoy.as_tuple())
            for image in (pair.rgb, pair.thermal):
                image[y:y + h, x:x + w] = 150
        pairs.append(pair)
    return pairs


def measured(tracking: float = 0.5, finding: float = 0.5, kept: float = 0.8,
             spread: float = 0.0) -> Measured:
    """Overlaps of 40 samples in 8 stretches, half of them above these means by `spread`, half
    below.
    """
    of = np.arange(40) // 5
    return Measured(*(v + spread * np.tile((1.0, -1.0), 20) for v in (tracking, finding, kept)),
                    of, of)


def settings(student: Path, recordings: Path, work: Path, **changes: Any) -> AdaptationSettings:
    """Return settings that take a moment."""
    return AdaptationSettings(student, recordings, work, **{
        'overrides': TRAINING, 'mining': MINING, 'judging': JUDGING, **changes})


def main(student: str, recordings: str, work: str) -> None:
    """See the module."""
    torch.set_num_threads(1)
    one = Adaptation(settings(Path(student), Path(recordings), Path(work)))
    fabric = make_fabric('cpu')
    one.mine(fabric)
    with patch.object(TrainLog, 'plot'):
        one.train(fabric, Options(Path(work) / 'training', device='cpu', workers=0))
    if fabric.is_global_zero:
        one.judge()


if __name__ == '__main__':
    main(*sys.argv[1:])
