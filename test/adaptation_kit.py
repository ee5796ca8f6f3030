"""What the tests of adaptation share: tiny recordings, a tiny student, a command in few steps.

As a script, mines, trains and judges: adaptation_kit.py STUDENT RECORDINGS WORK
"""
from __future__ import annotations

from pathlib import Path
import sys
from typing import Any

import numpy as np
from segments_kit import MS, Images, segment, stamp
import torch

from rgbt_tracker_ros.adaptation.judging import JudgingSettings
from rgbt_tracker_ros.adaptation.mining import MiningSettings
from rgbt_tracker_ros.adaptation.run import Adaptation, AdaptationSettings
from rgbt_tracker_ros.distillation.devices import make_fabric
from rgbt_tracker_ros.distillation.train_log import TrainLog
from rgbt_tracker_ros.distillation.trainer import Options
from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.student import Student, StudentConfig

SIZES = StudentConfig(template_size=32, search_size=64, stem=4, width8=8, width16=8, blocks8=1,
                      blocks16=1, head=8)
SURE = {'scale': 1.0, 'bias': 9.0}     # so that what it is asked moves its boxes
TRAINING = ('stages.adapt.steps=3', 'stages.adapt.batch=4', 'stages.adapt.save_every=1',
            'stages.adapt.precision="32"', 'result.calibration.samples=8')
MINING = MiningSettings(every=6, length=5, least=3, regions=2, confidence=0.0, returns=0.0)
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


def write_recording(root: Path, number: int, pairs: int = 12, first: int | None = None,
                    **options: Any) -> Path:
    """Write a segment as the recorder does, of pictures `first` (100 x its number) and later."""
    made = Images()
    return segment(
        root, number, pairs=pairs, first=100 * number if first is None else first,
        rgb=lambda i: made._raw(made.make.image(pictures(i)[0], 'rgb8', stamp(i))),
        thermal=lambda i: made._raw(made.make.image(pictures(i)[1], 'mono16', stamp(i) + 3 * MS)),
        **options)


def write_recordings(root: Path, count: int = 5, pairs: int = 12, **options: Any) -> Path:
    """Write a folder of segments."""
    for number in range(count):
        write_recording(root, number, pairs, **options)
    return root


def settings(student: Path, recordings: Path, work: Path, **changes: Any) -> AdaptationSettings:
    """Return settings that take a moment."""
    return AdaptationSettings(student, recordings, work, **{
        'overrides': TRAINING, 'mining': MINING, 'judging': JUDGING, **changes})


def main(student: str, recordings: str, work: str) -> None:
    """See the module."""
    torch.set_num_threads(1)
    TrainLog.plot = lambda self: None  # type: ignore[method-assign]
    one = Adaptation(settings(Path(student), Path(recordings), Path(work)))
    fabric = make_fabric('cpu')
    one.mine(fabric)
    one.train(fabric, Options(Path(work) / 'training', device='cpu', workers=0))
    if fabric.is_global_zero:
        one.judge()


if __name__ == '__main__':
    main(*sys.argv[1:])
