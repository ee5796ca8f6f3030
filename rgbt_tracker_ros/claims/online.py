"""What a student is worth where it is used: it follows targets through made-up videos."""
from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from rgbt_tracker_ros.claims.localise import Metrics
from rgbt_tracker_ros.data.layouts import open_layout
from rgbt_tracker_ros.data.suites import SUITES
from rgbt_tracker_ros.distillation.export import export
from rgbt_tracker_ros.distillation.recipe import Recipe
from rgbt_tracker_ros.distillation.stages import Setting
from rgbt_tracker_ros.runtime.eager import EagerStudent
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box

NEAR = 20.0     # px between centres, of images of 320 x 240: precision


def follow(file: Path, options: dict[str, Any]) -> Metrics:
    """Track each made-up video from its first box, on one thread.

    :param options: of the layout `synthetic`.
    :returns: `sr`, the area under the curve of overlaps x 100 (which is their mean), and `pr`, the
        share of centres within 20 px x 100: means over the videos. Frames without target are left
        out.
    """
    student, means = EagerStudent(file, 'cpu', threads=1), []
    for sequence in open_layout('synthetic', Path('.'), **options):
        tracker = Tracker(student)      # knows nothing of the cameras of the video before
        overlaps, near = [], []
        for number, pair in enumerate(sequence):
            truth = sequence.truth[number]
            if number == 0:
                tracker.init(pair, Box(*map(float, truth)))
                continue
            found = tracker.update(pair).box
            if np.isfinite(truth).all():
                box = Box(*map(float, truth))
                overlaps.append(found.iou(box))
                near.append(np.hypot(*np.subtract(found.center, box.center)) <= NEAR)
        means.append((np.mean(overlaps), np.mean(near)))
    sr, pr = 100 * np.mean(means, axis=0)
    return {'sr': float(sr), 'pr': float(pr)}


def suites(recipe: Recipe, run: Path, of: str, seed: int, *, videos: int = 4,
           frames: int = 60) -> Metrics:
    """Export a network that a run has trained, and measure it on the public benchmark.

    :param of: 'stage.network'. :param videos: the first ones of each suite; `frames` of each.
    :returns: what `follow` does, over all suites, and 'suite.sr' and so on of each.
    """
    stage, name = of.split('.')
    with TemporaryDirectory() as folder:
        file = Path(folder) / 'student.safetensors'
        export(recipe, Setting(seed), run / stage / f'{name}.safetensors', file, stage=stage)
        found = {suite: follow(file, {'suite': suite, 'sequences': videos, 'frames': frames})
                 for suite in SUITES}
    return {key: float(np.mean([m[key] for m in found.values()])) for key in ('sr', 'pr')} | {
        f'{suite}.{key}': value for suite, m in found.items() for key, value in m.items()}
