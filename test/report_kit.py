"""Made-up evaluations for the tests of the report: trackers that drift, lose and find again."""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from rgbt_tracker_ros.evaluation.report import ReportRun
from rgbt_tracker_ros.evaluation.scores import Run, SequenceResult, score_sequence
from rgbt_tracker_ros.types import Pair, State

ATTRIBUTES = ('NO', 'PO', 'TO', 'HO', 'MB', 'LI', 'HI', 'AIV', 'LR', 'DEF', 'BC', 'SA', 'CM', 'TC',
              'FL', 'OV', 'FM', 'SV', 'ARC')
PLACES = ('pier', 'smoke', 'crossing', 'roof', 'tunnel', 'yard', 'bridge', 'harbour', 'field')
TARGETS = ('red', 'walker', 'cyclist', 'van', 'drone', 'dog', 'forklift')
SIZE = (640, 480)


class Recording:
    """One sequence: a target that moves smoothly over a background, RGB and thermal."""

    def __init__(self, seed: int, name: str, frames: int, images: bool = True):
        self.seed, self.name, self.images = seed, name, images
        rng = np.random.default_rng((seed, 1))
        t = np.arange(frames)
        phase, turns = rng.uniform(0, 6, 2), rng.uniform(0.5, 2.5, 2)
        side = rng.uniform(24, 60) * np.exp(0.3 * np.sin(t / frames * 6 + phase[0]))
        centre = [s * (0.5 + 0.32 * np.sin(turns[k] * 6.3 * t / frames + phase[k]))
                  for k, s in enumerate(SIZE)]
        h = side * rng.uniform(1.0, 2.2)
        self.truth = np.stack([centre[0] - side / 2, centre[1] - h / 2, side, h], axis=1).round()
        if seed % 5 == 3:       # the target is away for a while
            self.truth[frames // 2:frames // 2 + frames // 12] = np.nan
        self.truth_thermal = None
        self.annotated = np.arange(frames)
        count = int(rng.integers(2, 7))
        self.attributes = tuple(rng.choice(ATTRIBUTES, count, replace=False).tolist())

    @cached_property
    def background(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, 2))
        w, h = SIZE
        coarse = rng.uniform(60, 150, (6, 8, 3)).astype(np.float32)
        rgb = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
        thermal = cv2.resize(rng.uniform(20, 70, (4, 5)).astype(np.float32), SIZE,
                             interpolation=cv2.INTER_CUBIC)
        for _ in range(14):
            x, y = rng.integers(0, w), rng.integers(0, h)
            bw, bh = rng.integers(20, 160, 2)
            shade = rng.uniform(30, 200, 3)
            cv2.rectangle(rgb, (int(x), int(y)), (int(x + bw), int(y + bh)), shade.tolist(), -1)
            cv2.rectangle(thermal, (int(x), int(y)), (int(x + bw), int(y + bh)),
                          float(shade[0] * 0.4), -1)
        return rgb, thermal

    def pair(self, index: int) -> Pair:
        if not self.images:
            raise ValueError(f'{self.name}: frame {index} was asked for, but there are no images')
        rgb, thermal = (image.copy() for image in self.background)
        x, y, bw, bh = self.truth[index]
        if np.isfinite(x):
            centre, axes = (int(x + bw / 2), int(y + bh / 2)), (int(bw / 2), int(bh / 2))
            cv2.ellipse(rgb, centre, axes, 0, 0, 360, (190, 60, 50), -1)
            cv2.ellipse(thermal, centre, axes, 0, 0, 360, 225.0, -1)
        noise = np.random.default_rng((self.seed, index))
        rgb += noise.integers(-9, 10, rgb.shape, np.int8)
        thermal += noise.integers(-6, 7, thermal.shape, np.int8)
        return Pair(np.clip(rgb, 0, 255).astype(np.uint8),
                    np.clip(thermal, 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Skill:
    """How good a made-up tracker is: px of jitter, losses per 1000 frames, frames to come back."""

    jitter: float
    losses: float
    back: float
    honest: float
    milliseconds: float


SKILLS = {'student': Skill(0.07, 1.2, 40, 0.95, 11), 'CSRT': Skill(0.12, 3.5, 160, 0.4, 16),
          'KCF': Skill(0.16, 6.0, 400, 0.2, 6)}


def recordings(count: int, frames: tuple[int, int] = (120, 420), images: bool = True,
               ) -> dict[str, Recording]:
    """Return sequences with telling names."""
    rng = np.random.default_rng(7)
    found = {}
    for k in range(count):
        name = f'{PLACES[k % len(PLACES)]}_{TARGETS[k // len(PLACES) % len(TARGETS)]}'
        name += f'{k // 63 + 1}' if k >= 63 else ''
        found[name] = Recording(k, name, int(rng.integers(*frames)), images)
    return found


def answers(recording: Recording, skill: Skill, seed: int) -> SequenceResult:
    """Return what a tracker of that skill answers."""
    rng = np.random.default_rng((recording.seed, seed))
    n = len(recording.truth)
    truth = recording.truth.copy()
    for i in range(1, n):       # it stays where the target was last
        if not np.isfinite(truth[i, 0]):
            truth[i] = truth[i - 1]
    away = np.zeros(n, bool)
    i = 1
    while i < n:
        if rng.random() < skill.losses / 1000:
            stop = i + int(rng.exponential(skill.back)) + 6
            away[i:stop] = True
            i = stop
        i += 1
    drift = np.zeros((n, 2))
    for i in range(1, n):
        drift[i] = drift[i - 1] + rng.normal(2, 4, 2) if away[i] else drift[i - 1] * 0.4
    wobble = np.cumsum(rng.normal(0, 0.35, (n, 2)), axis=0)
    wobble -= np.linspace(0, 1, n)[:, None] * wobble[-1]
    boxes = truth.copy()
    boxes[:, :2] += drift + (rng.normal(0, 0.4, (n, 2)) + wobble) * skill.jitter * truth[:, 2:] / 2
    boxes[:, 2:] *= np.exp(rng.normal(0, skill.jitter, (n, 2)))
    boxes[0] = truth[0]
    lag = np.convolve(away, np.r_[np.zeros(16), np.ones(8) / 8])[:n]
    sure = np.clip(0.94 - skill.honest * 0.85 * lag - rng.gamma(1.2, 0.05, n), 0.01, 0.99)
    states = np.where(sure > 0.55, State.TRACKING, np.where(sure > 0.3, State.UNCERTAIN,
                                                            State.SEARCHING))
    seconds = skill.milliseconds * 1e-3 * rng.lognormal(0, 0.18, n)
    seconds[0] *= 6
    return SequenceResult(recording.name, boxes, sure, states, seconds, np.arange(n) / 25)


def run(name: str, dataset: dict[str, Recording], seed: int = 0, convention: str = 'plain',
        **fields) -> ReportRun:
    """Return a scored run of one of `SKILLS`; `fields` are further fields of a ReportRun."""
    skill = SKILLS.get(name, SKILLS['CSRT'])
    results = [answers(r, skill, seed + sum(map(ord, name))) for r in dataset.values()]
    scores = tuple(score_sequence(result, r.truth, convention, attributes=r.attributes)
                   for result, r in zip(results, dataset.values(), strict=True))
    return ReportRun(Run(name, convention, scores), results, dataset, **fields)


def bare(name: str, dataset: dict[str, Recording], convention: str = 'plain') -> ReportRun:
    """Return a run as a folder of result files gives it: boxes only, no images."""
    whole = run(name, dataset, convention=convention)
    results = [SequenceResult(r.name, r.boxes) for r in whole.results]
    scores = tuple(score_sequence(result, r.truth, convention, attributes=r.attributes)
                   for result, r in zip(results, dataset.values(), strict=True))
    return ReportRun(Run(name, convention, scores), results, None)
