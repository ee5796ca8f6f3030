"""Pseudo tracks of recordings: what the tracker said while it ran, and what it finds there now.

A region that stands out is followed for a while and back again: where that ends at the region it
began with, the tracker can be believed (forward-backward error, Kalal et al., ICPR 2010).
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as List
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from rgbt_tracker_ros.data.pseudo_tracks import PseudoTrack
from rgbt_tracker_ros.data.regions import regions_of
from rgbt_tracker_ros.data.segments import SegmentFrames, Tracked
from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box, BoxError, Pair, PairError, State

FRAME = 33_333_333  # ns from pair to pair where pairs are shown in an order of our own
_SAME = 0.3         # overlap (IoU) of two regions that are of one thing

Fresh = Callable[[], Tracker]
"""Makes a tracker that has seen nothing: what it saw last must not change what it finds next."""


@dataclass(frozen=True)
class MiningSettings:
    """`every`: pairs from one start to the next; `length`: pairs that a region is followed for;
    `most`: starts in all, spread over what is recorded where there would be more; `least`: fewer
    pairs make no track; `regions`: followed from each start; `confidence`: of every box;
    `returns`: overlap of the way there and the way back, at the region and wherever both are
    believed.
    """

    every: int = 20
    length: int = 20
    most: int = 500
    least: int = 5
    regions: int = 4
    confidence: float = 0.3
    returns: float = 0.5

    def __post_init__(self) -> None:
        for name in ('every', 'length', 'most', 'least', 'regions'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} is {getattr(self, name)}; it must be 1 or more')
        for name in ('confidence', 'returns'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} is {getattr(self, name)}; it must be 0 to 1')


def recorded_tracks(sequence: Sequence, spans: List[range],
                    settings: MiningSettings) -> list[PseudoTrack]:
    """Return what the tracker followed with confidence while a segment was recorded, cut at the
    ends of the spans.

    :raises LayoutError: if the messages can't be read.
    """
    if not isinstance(sequence.frames, SegmentFrames):
        return []
    said = sorted(sequence.frames.tracks(), key=lambda t: (t.target_id, t.pair))
    found: list[PseudoTrack] = []
    for _, of_target in groupby(said, key=lambda t: t.target_id):
        sure: dict[int, Tracked] = {
            t.pair: t for t in of_target if t.state == State.TRACKING
            and t.confidence >= settings.confidence and min(t.box.w, t.box.h) >= 1}
        if not sure:
            continue
        track = _track(sequence.name, list(sure), [t.box for t in sure.values()],
                       [t.confidence for t in sure.values()])
        found += [t for t in map(track.within, spans) if len(t) >= settings.least]
    return found


def starts(span: range, settings: MiningSettings) -> list[range]:
    """Return the pairs that regions are followed through, from each start in a span."""
    return [range(first, min(first + settings.length, span.stop))
            for first in range(span.start, span.stop - settings.least + 1, settings.every)]


def mine(fresh: Fresh, sequence: Sequence, through: range, settings: MiningSettings,
         taken: List[PseudoTrack] = ()) -> Iterator[PseudoTrack]:
    """Yield tracks of regions of the first of some pairs that are followed there and back.

    :param through: one of `starts`. :param taken: tracks that there are; regions on their boxes
        are left to them.
    :raises LayoutError: if an image can't be decoded.
    """
    pairs = in_order(sequence.pairs(through.start, through.stop))
    known = [t.box(int(row)) for t in taken for row in np.flatnonzero(t.frames == through.start)]
    followed: list[Box] = []
    for region in regions_of(pairs[0], fresh().config.homography):
        if len(followed) == settings.regions:
            break
        if any(region.iou(other) > _SAME for other in (*known, *followed)):
            continue
        followed.append(region)
        track = there_and_back(fresh, pairs, region, settings)
        if track is not None:
            kept, boxes, sure = track
            yield _track(sequence.name, [through[i] for i in kept], boxes, sure)


def there_and_back(fresh: Fresh, pairs: List[Pair], region: Box, settings: MiningSettings,
                   ) -> tuple[list[int], list[Box], list[float]] | None:
    """Follow a region through pairs and back; return numbers of pairs, boxes and confidences
    where both ways agree, None where these are too few, or the way back ends elsewhere.

    A box is the mean of both ways'. They are looked at up to where the way there was sure.
    """
    there, sure = follow(fresh, pairs, region, settings.confidence)
    if len(there) < settings.least:
        return None
    back = follow_back(fresh, pairs, there)
    agree = [a.iou(b) for a, b in zip(there, back, strict=False)]
    kept = [i for i, overlap in enumerate(agree) if overlap >= settings.returns]
    if not kept or kept[0] or len(kept) < settings.least:
        return None
    return kept, [_mean(there[i], back[i]) for i in kept], [sure[i] for i in kept]


def returned(fresh: Fresh, pairs: List[Pair], boxes: List[Box]) -> float:
    """Return how far what was followed through pairs overlaps its first box (IoU) when it is
    followed back from its last one; 0 where the way back ends early.
    """
    back = follow_back(fresh, pairs, boxes)
    return back[0].iou(boxes[0]) if back else 0.0


def follow_back(fresh: Fresh, pairs: List[Pair], boxes: List[Box]) -> list[Box]:
    """Follow what was followed through pairs back from its last box; return the boxes in the
    order of `boxes`, none where the way back ends early.
    """
    back, _ = follow(fresh, in_order(reversed(pairs[:len(boxes)])), boxes[-1], 0.0)
    return back[::-1] if len(back) == len(boxes) else []


def _mean(a: Box, b: Box) -> Box:
    return Box(*((u + v) / 2 for u, v in zip(a.as_tuple(), b.as_tuple(), strict=True)))


def follow(fresh: Fresh, pairs: List[Pair], box: Box,
           confidence: float) -> tuple[list[Box], list[float]]:
    """Track from a box in the first pair; return boxes and confidences of all pairs, that one
    included, up to the first one below `confidence`, or that can't be used.
    """
    tracker = fresh()
    try:
        boxes, sure = [tracker.init(pairs[0], box).box], [1.0]
    except (BoxError, PairError):  # a region at the edge; a picture that is frozen
        return [], []
    for pair in pairs[1:]:
        try:
            estimate = tracker.update(pair)
        except PairError:  # images of another size from here on
            break
        if estimate.confidence < confidence:
            break
        boxes.append(estimate.box)
        sure.append(estimate.confidence)
    return boxes, sure


def in_order(pairs: Iterator[Pair]) -> list[Pair]:
    """Return pairs with the stamps of a camera of 30 Hz, in the order in which they come."""
    return [replace(p, stamp=i * FRAME) for i, p in enumerate(pairs)]


def _track(name: str, frames: List[int], boxes: List[Box], sure: List[float]) -> PseudoTrack:
    return PseudoTrack(name, np.array(frames, np.int64),
                       np.array([b.as_tuple() for b in boxes]), np.array(sure))
