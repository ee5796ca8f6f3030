"""Which pair a target is meant in, and in the pixels of which camera its box is."""
from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from rgbt_tracker_ros.nodes.pairing import RGB, STREAMS, THERMAL, Match
from rgbt_tracker_ros.nodes.registration import box_in_rgb
from rgbt_tracker_ros.nodes.ring import TOLERANCE, PairRing, RingError
from rgbt_tracker_ros.nodes.session_types import Target, sizes_of
from rgbt_tracker_ros.types import Box, Pair, PairError

CARRIED = 200_000_000   # ns; no further is a box taken to a pair that has both images


@dataclass(frozen=True, slots=True)
class Cameras:
    """What the parameters say of the cameras. `thermal_offset`: ns, added to thermal stamps."""

    use_rgb: bool = True
    use_thermal: bool = True
    thermal_offset: int = 0


class TargetPairs:
    """Finds targets' pairs in the ring. Belongs to the worker's thread.

    A box without a frame_id is in pixels of the reference image: RGB where that is used, thermal
    where the ring has no RGB image. A template of both images is worth more than the very image
    that the box was seen in: beside a slow camera most pairs have one only.
    """

    def __init__(self, ring: PairRing) -> None:
        self.cameras = Cameras()
        self._ring = ring
        self._frames: dict[str, str] = {}       # frame_id of each camera's last image

    def note(self, match: Match[Any]) -> None:
        """Remember what the cameras call their frames, also while one of them is missing."""
        for stream in STREAMS:
            if (image := getattr(match, stream)) is not None:
                self._frames[stream] = image.header.frame_id

    def find(self, target: Target) -> Match[Any]:
        """Return the pair that a target is meant in.

        :raises FutureStamp: if it is still to come. :raises RingError: if there is none of that
            time, or none with an image of the camera that the target names.
        """
        pairs = self._ring.after(-1)
        for pair in pairs:
            self.note(pair)
        stream, sure = self._camera(target)
        stamp = self.stamp_of(target)
        nearest = self._ring.find(stamp) if stamp else self._ring.newest()
        self._require_known(target)
        asked = stamp or nearest.stamp

        def away(pair: Match[Any]) -> int:
            return abs(pair.stamp - asked)

        pairs.sort(key=away)
        reach = min(CARRIED, max(TOLERANCE, self._period(pairs))) if stamp else CARRIED
        for pair in pairs:
            if self.is_full(pair) and away(pair) <= reach:
                return pair
        for pair in pairs:
            # who gives no stamp means what is shown now: of a camera that stands still, the last
            if getattr(pair, stream) is not None and (not stamp or away(pair) <= TOLERANCE):
                return pair
        if target.patient and sure:
            raise RingError(f'no {stream} image has come yet')
        if sure:
            raise RingError(
                f'its box is in {stream} pixels (frame_id {target.frame_id!r}), and there is no '
                f'{stream} image of that time; give it when there is, or in the pixels of the '
                'other camera with the frame_id of that one')
        if stamp and any(getattr(pair, stream) is not None for pair in pairs):
            # a few lost images do not make the other camera the one whose pixels are meant
            raise RingError(
                f'its box has no frame_id, which means {stream} pixels, and there is no {stream} '
                'image of that time; give frame_id, that of the image that it was found in')
        return nearest

    def stamp_of(self, target: Target) -> int:
        """Return a target's stamp as those of pairs are, ns: with `thermal_time_offset` where it
        is a thermal image's.
        """
        thermal = target.stamp and self._camera(target)[0] == THERMAL
        return target.stamp + self.cameras.thermal_offset if thermal else target.stamp

    def box_in(self, pair: Pair, match: Match[Any], target: Target,
               homography: tuple[float, ...]) -> Box:
        """Return the target's box in pixels of the reference image of `pair`, made of `match`.

        :raises BoxError: if it lies outside the image that it is given in. :raises PairError: if
            that image could not be read.
        """
        stream, _ = self._camera(target)
        if getattr(pair, stream) is None:
            if getattr(match, stream) is not None:
                raise PairError(f'the {stream} image of its stamp can not be used')
            return target.box       # nobody has named the camera: it is the other one's
        sizes = sizes_of(pair)
        if stream == THERMAL and RGB in sizes:
            return box_in_rgb(target.box.checked(*sizes[THERMAL]), homography, sizes[THERMAL],
                              sizes[RGB])
        return target.box

    def marked_in(self, target: Target) -> str:
        """Return the camera in whose pixels a target's box is."""
        return self._camera(target)[0]

    def is_full(self, match: Match[Any]) -> bool:
        """Whether it has an image of every camera that is used."""
        return ((match.rgb is not None or not self.cameras.use_rgb)
                and (match.thermal is not None or not self.cameras.use_thermal))

    def _camera(self, target: Target) -> tuple[str, bool]:
        """Return in whose pixels the box is, and whether it can't be in the other camera's."""
        thermal, rgb = self._frames.get(THERMAL), self._frames.get(RGB)
        if not self.cameras.use_rgb:
            return THERMAL, False
        if target.frame_id and self.cameras.use_thermal and target.frame_id == thermal != rgb:
            return THERMAL, True
        return RGB, bool(target.frame_id) or target.patient

    def _require_known(self, target: Target) -> None:
        """Refuse a frame_id that may be that of a thermal camera which has sent nothing yet.

        :raises RingError: if it may.
        """
        rgb = self._frames.get(RGB)
        if (self.cameras.use_rgb and self.cameras.use_thermal and THERMAL not in self._frames
                and rgb is not None and target.frame_id not in ('', rgb)):
            raise RingError(
                f'its frame_id {target.frame_id!r} is not that of the rgb images ({rgb!r}), and '
                'no thermal image has come yet to tell whether it is that of the thermal camera; '
                f'give a box in rgb pixels with {rgb!r} or an empty frame_id, one in thermal '
                'pixels when that camera is there')

    def _period(self, pairs: list[Match[Any]]) -> int:
        """Return the slower camera's period, ns: that of pairs with both images; 0: unknown."""
        stamps = sorted(p.stamp for p in pairs if self.is_full(p))
        return int(median(b - a for a, b in pairwise(stamps))) if stamps[1:] else 0
