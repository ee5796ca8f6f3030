"""The segments of a recording as the player plays them: as the one recording that they are."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from sensor_msgs.msg import CameraInfo

from rgbt_tracker_ros.data.recordings import BagFrames
from rgbt_tracker_ros.data.sequence import Sequence as Segment
from rgbt_tracker_ros.nodes.play_bags import BagShots
from rgbt_tracker_ros.nodes.play_sources import FRAME_RATE, Part, Shot

LONGEST = 5_000_000_000     # ns between two segments; what is longer, or negative, is left out


class JoinedShots:
    """Plays segments one after the other. `shortened`: pauses between them that are left out."""

    apart = True

    def __init__(self, segments: Sequence[Segment], part: Part, *, decode: bool = False) -> None:
        """Take sequences of the layout `recording`; `part`, and the numbers of pairs, are of all.

        :param decode: make raw images of compressed ones.
        :raises ValueError: if nothing of it is to be played, or it can't be read (LayoutError).
        """
        self.shortened = 0
        self.rate = segments[0].fps or FRAME_RATE
        since, left_out, saved, begin, before = [], [], 0, 0, None
        for segment in segments:
            assert isinstance(segment.frames, BagFrames)
            stamps = segment.frames.pairing.stamps
            if before is not None:
                pause = used = int(stamps[0]) - before
                if not 0 < pause <= LONGEST:
                    used = round(1e9 / self.rate)
                    self.shortened += 1
                saved += pause - used
                begin += used
            since.append(begin + stamps - stamps[0])
            left_out.append(saved)
            begin, before = int(since[-1][-1]), int(stamps[-1])
        seconds = np.concatenate(since) / 1e9
        pairs = part.of(len(seconds), lambda s: int(np.searchsorted(seconds, s - 1e-9)))
        self._parts: list[tuple[int, int, BagShots]] = []   # (pairs, ns left out before it, it)
        count = 0
        for segment, skipped in zip(segments, left_out, strict=True):
            first, stop = max(pairs.start - count, 0), min(pairs.stop - count, len(segment))
            if first < stop:
                self._parts.append((count, skipped, BagShots(
                    segment, Part(first=first, count=stop - first), decode=decode)))
            count += len(segment)
        head = self._parts[0][2]
        self.streams: Mapping[str, type] = head.streams
        self.infos: Mapping[str, CameraInfo] = head.infos
        self.origin, self.stamp_origin = head.origin, head.stamp_origin
        self.has_truth = any(p.has_truth for _, _, p in self._parts)
        for _, _, other in self._parts:
            if other.streams != self.streams:
                raise ValueError('the segments have different kinds of images; play them one by '
                                 'one, by `sequence`')

    def shots(self) -> Iterator[Shot]:
        """Yield the images one by one: see PlaySource."""
        skipped_first = self._parts[0][1]
        for count, skipped, part in self._parts:
            later = part.origin - self.origin - (skipped - skipped_first)
            for shot in part.shots():
                made = shot.later(later)
                yield made if made.pair is None else replace(
                    made, pair=replace(made.pair, number=made.pair.number + count))
