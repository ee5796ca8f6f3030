"""How things move in a made-up video, and when its cameras fail: paths and spells.

All lengths are in sizes of the target, all times in frames; every function draws its numbers by
names of its own, so that none of them changes what another one draws.
"""
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.random import Draws

Floats = NDArray[np.float64]
PASSING = 0.08
"""Sizes per frame at which what hides the target passes it."""


def dashes(draws: Draws, frames: int, count: float, speed: float) -> Floats:
    """Return (T, 2) how far sudden fast motions have carried by each frame.

    :param count: in 100 frames. :param speed: the fastest; each is at least 0.4 of it, and takes
        one to three frames.
    """
    number = int(count * frames / 100 + float(draws.uniform('dashes')))
    most = max(number, 1)
    at = draws.uniform('dash at', most, low=0.1, high=0.97)[0].double().numpy() * frames
    lengths = draws.integers('dash length', 3, most)[0].numpy() + 1
    pace = draws.uniform('dash speed', most, low=0.4, high=1.0)[0].double().numpy() * speed
    way = _directions(draws, 'dash direction', most)
    steps = np.zeros((frames, 2))
    for k in range(number):
        first = int(at[k])
        steps[first:first + int(lengths[k])] = way[k] * pace[k]
    return np.cumsum(steps, axis=0)


def folded(place: Floats, low: Floats, high: Floats) -> Floats:
    """Reflect places at the walls `low` and `high` until they are between them."""
    span = high - low
    turn = np.mod(place - low, 2 * span)
    return np.asarray(low + np.minimum(turn, 2 * span - turn))


def crossings(draws: Draws, target: Floats, number: int, count: float) -> Floats:
    """Return (T, number, 2) places of things that pass close to the target or over it.

    Each goes to and fro on a line through where the target has been and will be of late, at up
    to 0.6 to its side.

    :param target: (T, 2) its places. :param count: times in 100 frames that one of them passes.
    """
    frames = len(target)
    padded = np.concatenate((np.repeat(target[:1], 10, 0), target, np.repeat(target[-1:], 10, 0)))
    sums = np.concatenate((np.zeros((1, 2)), np.cumsum(padded, axis=0)))
    middle = (sums[21:] - sums[:-21]) / 21
    reach, beside, hurry, phase = (
        draws.uniform(f'crossing {name}', number, low=low, high=high)[0].double().numpy()
        for name, low, high in (('reach', 2.2, 4.0), ('beside', -0.6, 0.6), ('hurry', 0.6, 1.4),
                                ('phase', 0.15, 0.35)))
    way = _directions(draws, 'crossing direction', number)
    turn = np.arange(frames)[:, None] * (count / number / 200 * hurry) + phase
    wave = 1 - 4 * np.abs(np.mod(turn + 0.25, 1) - 0.5)     # 0 at 0, 1 at a quarter
    along = (wave * reach)[..., None] * way
    across = beside[:, None] * np.stack((-way[:, 1], way[:, 0]), -1)
    return np.asarray(middle[:, None] + along + across)


def hiding(draws: Draws, frames: int, count: float, longest: int) -> tuple[Floats, float]:
    """Return (T,) how far to the right of the target the middle of what hides it is, and how much
    wider than the target it is.

    The target is wholly hidden for 0.4 to 1 of `longest` frames each time; it is not in the first
    tenth of a second or so.

    :param count: times in 100 frames.
    """
    hidden = float(draws.uniform('hidden', low=0.4, high=1.0)) * longest
    wider = hidden * PASSING
    number = int(count * frames / 100 + float(draws.uniform('hidings')))
    at = draws.uniform('hidden at', max(number, 1))[0].double().numpy()
    early = (1 + wider / 2) / PASSING + 4       # when it begins to be covered
    moments = early + at[:number] * max(frames - early, 0)
    offset = np.full(frames, 1e6)
    way = 1.0 if bool(draws.chance('from left', 0.5)[0]) else -1.0
    for moment in moments:
        passing = (np.arange(frames) - moment) * PASSING * way
        offset = np.where(np.abs(passing) < np.abs(offset), passing, offset)
    return offset, wider


def spells(draws: Draws, name: str, frames: int, share: float, longest: int, first: int,
           ) -> list[tuple[int, int]]:
    """Return spells (start, stop) that add up to round(share * frames) frames, each of 1 to
    `longest`, none before frame `first`; all that follow it where there are fewer.
    """
    left = min(round(share * frames), max(frames - first, 0))
    gaps = max(frames - first, 0) - left
    lengths: list[int] = []
    for length in (draws.integers(f'{name} length', longest, frames)[0] + 1).tolist():
        lengths.append(min(int(length), left))
        left -= lengths[-1]
        if not left:
            break
    lengths = [length for length in lengths if length]
    before = np.sort(draws.integers(f'{name} at', gaps + 1, len(lengths))[0].numpy())
    done = np.cumsum([0, *lengths])
    return [(first + int(b + d), first + int(b + d) + n)
            for b, d, n in zip(before, done, lengths, strict=False)]


def _directions(draws: Draws, name: str, number: int) -> Floats:
    """Return (number, 2) unit vectors."""
    way = draws.normal(name, number, 2)[0].double().numpy() + np.array([1e-6, 0.0])
    return np.asarray(way / np.sqrt((way * way).sum(1, keepdims=True)))
