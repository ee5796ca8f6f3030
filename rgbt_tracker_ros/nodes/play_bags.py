"""Bags as the player plays them: every image at its own time, with the bytes that it had."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from rgbt_tracker_ros.data.bag_reader import Bag
from rgbt_tracker_ros.data.image_messages import is_compressed, to_rgb, to_thermal
from rgbt_tracker_ros.data.recordings import BagFrames
from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.nodes.camera_messages import as_camera_info, as_image, image_message
from rgbt_tracker_ros.nodes.pairing import RGB, STREAMS
from rgbt_tracker_ros.nodes.play_sources import FRAME_RATE, Part, PlayedPair, Shot, true_boxes

SAME_CLOCK = 60 * 10**9     # ns; stamps farther from the recording's time are of another clock


class BagShots:
    """Plays a bag: every image when it was recorded, as it was recorded."""

    apart = True

    def __init__(self, played: Sequence, part: Part, *, decode: bool = False) -> None:
        """Take a sequence of the layout `bag` or `recording`.

        :param decode: make raw images of compressed ones.
        :raises ValueError: if nothing of it is to be played, or it can't be read (LayoutError).
        """
        frames = played.frames
        assert isinstance(frames, BagFrames)
        self._frames, self._decode = frames, decode
        self._boxes = true_boxes(played)
        self._frame_ids: dict[str, str] = {}    # of the last image of each camera
        self.has_truth = bool(self._boxes)
        self.rate = played.fps or FRAME_RATE
        pairing = frames.pairing
        since = (pairing.stamps - pairing.stamps[0]) / 1e9
        # half a nanosecond of patience with times that were rounded when they were written down
        self._pairs = part.of(len(pairing), lambda s: int(np.searchsorted(since, s - 1e-9)))
        self._order = self._messages(whole=len(self._pairs) == len(pairing))
        logged, stamps = (np.array(c, np.int64) for c in zip(
            *((m.logged, m.stamp) for m in self._order), strict=True))
        self.origin = self.stamp_origin = int(logged[0])
        if np.median(np.abs(logged - stamps)) > SAME_CLOCK:
            self.stamp_origin = int(stamps.min())
        with frames.open() as bag:
            self.streams: Mapping[str, type] = {
                s: CompressedImage if bag.topics[t].endswith('CompressedImage') and not decode
                else Image for s, t in zip(STREAMS, frames.topics, strict=True) if t}
            self.infos: Mapping[str, CameraInfo] = dict(self._calibrations(bag))

    def shots(self) -> Iterator[Shot]:
        """Yield the images one by one: see PlaySource."""
        complete = {max(self._of_pair(n), key=self._place.__getitem__): n for n in self._pairs}
        with self._frames.open() as bag:
            for logged, stamp, side, number in self._order:
                index = self._frames.indexes[side]
                assert index is not None
                message = bag.read(self._frames.topics[side], index, number)
                self._frame_ids[STREAMS[side]] = message.header.frame_id
                done = complete.get((side, number))
                yield Shot(logged - self.origin, stamp - self.stamp_origin,
                           {STREAMS[side]: self._image(message, STREAMS[side])},
                           None if done is None else self._played(done))

    def _image(self, message: Any, stream: str) -> Any:
        if self._decode and is_compressed(message):
            made = image_message(to_rgb(message) if stream == RGB else to_thermal(message))
            made.header.frame_id = self._frame_ids[stream]
            return made
        return as_image(message)

    def _played(self, number: int) -> PlayedPair:
        side, at = self._of_pair(number)[0]     # RGB where there is one
        index = self._frames.indexes[side]
        assert index is not None
        return PlayedPair(number, int(index.stamps[at]) - self.stamp_origin,
                          int(self._frames.pairing.stamps[number]),
                          self._frame_ids.get(STREAMS[side], ''), self._boxes.get(number))

    def _of_pair(self, number: int) -> list[tuple[int, int]]:
        pairing = self._frames.pairing
        return [(side, int(numbers[number])) for side, numbers in
                enumerate((pairing.rgb, pairing.thermal)) if numbers[number] >= 0]

    def _messages(self, whole: bool) -> list[_Message]:
        """Return what is to be sent, in order: the images of the pairs, and all between them."""
        found = []
        for side, index in enumerate(self._frames.indexes):
            if index is None:
                continue
            used = [at for n in self._pairs for s, at in self._of_pair(n) if s == side]
            if whole:
                used = [0, len(index) - 1]
            for at in range(min(used), max(used) + 1) if used else ():
                found.append(_Message(int(index.logged[at]), int(index.stamps[at]), side, at))
        found.sort()
        self._place = {(m.side, m.number): place for place, m in enumerate(found)}
        return found

    def _calibrations(self, bag: Bag) -> Iterator[tuple[str, CameraInfo]]:
        for stream, topic in zip(STREAMS, self._frames.topics, strict=True):
            base = topic.removesuffix('/compressed').rpartition('/')[0]
            known = bag.topics.get(f'{base}/camera_info', '') if topic else ''
            if known.endswith('/CameraInfo'):
                for message in bag.messages(f'{base}/camera_info'):
                    yield stream, as_camera_info(message)
                    break


class _Message(NamedTuple):
    """A message of a bag: when it was recorded, its stamp (ns), camera and number there."""

    logged: int
    stamp: int
    side: int
    number: int
