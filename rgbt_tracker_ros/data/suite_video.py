"""The videos of the public benchmark, from the name of a suite and a number.

All that is in a video follows from (seed, suite, number); one in which the target can hardly be
told from what is behind it, or is covered at the start, is drawn again. The seed of the benchmark
is 0: tune on others.
"""
from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import torch

from rgbt_tracker_ros.data.options import OptionError
from rgbt_tracker_ros.data.random import Draws
from rgbt_tracker_ros.data.scene_video import Look, SceneVideo
from rgbt_tracker_ros.data.suites import SUITES, Setting, sequence_name

_STREAM = 4
_CONTRAST = (15.0, 15.0)    # least, in RGB and thermal, of a target that can be told
_ATTEMPTS = 1000


def suite_video(suite: str, number: int, seed: int = 0, look: Look | None = None) -> SceneVideo:
    """Lay out a video of a suite, numbered from 1; the same everywhere.

    :param seed: another one has other videos. :param look: see SceneVideo.
    :raises OptionError: if there is no such suite, or the seed can't be used.
    """
    if suite not in SUITES:
        raise OptionError(f'no suite {suite!r}; there are {", ".join(SUITES)}')
    if not 0 <= seed < 2**31:
        raise OptionError(f'suite {suite}: seed is {seed}; it must be from 0 to {2**31 - 1}')
    kind = SUITES[suite]
    for attempt in range(_ATTEMPTS):
        key = crc32(f'{kind.twin or suite} {number} {attempt}'.encode())
        own = (seed << 32) + key
        video = SceneVideo(own, look, **_drawn(kind.settings, own))
        if attempt == _ATTEMPTS - 1 or _is_fair(video):
            break
    video.name = sequence_name(suite, number)
    return video


def _drawn(settings: Mapping[str, Setting], seed: int) -> dict[str, int | float]:
    draws = Draws(seed, torch.tensor([0]), _STREAM)
    out: dict[str, int | float] = {}
    for name, value in settings.items():
        if not isinstance(value, tuple):
            out[name] = value
        elif isinstance(value[0], int):
            out[name] = value[0] + int(draws.integers(name, int(value[1]) - value[0] + 1))
        else:
            out[name] = float(draws.uniform(name, low=value[0], high=value[1]))
    return out


def _is_fair(video: SceneVideo) -> bool:
    """Whether the target is in sight when it is given, and stands out in either camera when good:
    on its first picture and on its way.
    """
    last = len(video) - 1
    return bool(video.visible[:3].min() > 0.98) and all(
        found >= least for index in (0, last // 3, 2 * last // 3, last)
        for found, least in zip(video.contrast(index), _CONTRAST, strict=True))
