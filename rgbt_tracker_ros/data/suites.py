"""The public benchmark of made-up videos: a table of suites, from names to what is hard in them.

A suite is a set of videos that anyone can draw again from its name: see `suite_video`. Changing a
number here makes another benchmark, whose figures must not be compared with those of before.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SEQUENCES = 20
ABSENT_BELOW = 0.1
"""Share of the target in sight below which it counts as absent."""

Setting = int | float | tuple[int, int] | tuple[float, float]


@dataclass(frozen=True)
class Suite:
    """Videos of one kind. `about`: what is hard in them. `settings`: options of SceneVideo; of a
    pair each video draws its own number between the two. `twin`: the suite whose videos these
    are but for the settings, '' for none.
    """

    about: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    twin: str = ''


_LOOKS: dict[str, Setting] = {'cells': (0.7, 3.0), 'saturation': (0.1, 0.8)}
_CALM: dict[str, Setting] = {
    'target': (20.0, 44.0), 'speed': (0.06, 0.12), 'degraded': 0.0, 'occlusions': 0.0,
    'similarity': 0.3, 'distractors': 0.4, 'clutter': 0.4, 'difficulty': (0.6, 1.0),
    'aspect': 0.35, **_LOOKS}

_MISALIGNED = Suite(
    'thermal off by up to 16 px each way, the same in a whole video; the truth is of RGB',
    {**_CALM, 'target': (20.0, 40.0), 'degraded': 0.4, 'spell': 15, 'dark': 0.3, 'occlusions': 0.5,
     'distractors': 0.5, 'similarity': 0.4, 'registration_error': 16.0})
_DROPOUT = Suite(
    'one camera or the other sends nothing in a third of the frames, or the same picture again',
    {**_CALM, 'speed': (0.1, 0.15), 'distractors': 0.6, 'similarity': 0.5, 'occlusions': 0.5,
     'missing': 1 / 3, 'frozen': 0.06, 'outage': 16, 'clean': 5})

SUITES: dict[str, Suite] = {
    'plain': Suite('clean and easy', _CALM),
    'hard': Suite(
        'something of everything: dark, smoke, crossover, camera out, fast motion, full occlusion '
        'of up to 1 s, others like it, small or large',
        {'target': (14.0, 40.0), 'speed': (0.1, 0.15), 'drift': 0.35, 'aspect': 0.35,
         'degraded': 0.5, 'spell': 15, 'haze': 0.4, 'occlusions': 0.6, 'hidden': 24,
         'dashes': 0.8, 'dash': 2.0, 'crossings': (1.0, 3.0), 'similarity': (0.4, 0.6),
         'distractors': 0.6, 'clutter': 0.6, 'missing': 0.08, 'frozen': 0.05, 'clean': 5,
         'registration_error': 3.0, 'difficulty': (0.7, 1.2), **_LOOKS}),
    'night': Suite(
        'RGB nearly black most of the time',
        {'target': (16.0, 36.0), 'speed': (0.08, 0.14), 'aspect': 0.35, 'degraded': 0.92,
         'rgb_share': 1.0, 'spell': 10, 'clean': (0, 8), 'dark': (0.01, 0.06), 'occlusions': 0.5,
         'similarity': (0.3, 0.5), 'distractors': 0.6, 'clutter': 0.5,
         'difficulty': (0.8, 1.3), **_LOOKS}),
    'small': Suite(
        'targets of 8 to 16 px',
        {'target': (9.5, 14.0), 'speed': (0.1, 0.2), 'drift': 0.05, 'aspect': 0.12,
         'degraded': 0.3, 'spell': 15, 'occlusions': 0.5, 'similarity': 0.3, 'distractors': 0.4,
         'clutter': 0.4, 'difficulty': (0.6, 1.0), **_LOOKS}),
    'crossing': Suite(
        'others like it that pass close to it or over it, before it or behind it, several times',
        {'target': (20.0, 36.0), 'speed': (0.08, 0.12), 'aspect': 0.3, 'degraded': 0.25,
         'spell': 15, 'occlusions': 0.0, 'crossings': (4.0, 7.0), 'similarity': (0.5, 0.7),
         'distractors': 1.0, 'clutter': 0.4, 'difficulty': (0.6, 1.0), **_LOOKS}),
    'dropout': _DROPOUT,
    'complete': Suite('the videos of dropout with all pictures',
                      {**_DROPOUT.settings, 'missing': 0.0, 'frozen': 0.0}, 'dropout'),
    'misaligned': _MISALIGNED,
    'aligned': Suite('the videos of misaligned with thermal where it belongs',
                     {**_MISALIGNED.settings, 'registration_error': 0.0}, 'misaligned'),
}
"""Name -> suite."""


def sequence_name(suite: str, number: int) -> str:
    """Return the name of a video, numbered from 1: night_07."""
    return f'{suite}_{number:02d}'
