"""What the player plays: recordings, as the shots of two cameras at their times."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from rgbt_tracker_ros.data.scenes import Scene, SceneConfig
from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.data.sources import PairSource
from rgbt_tracker_ros.nodes.camera_messages import compressed_message, image_message
from rgbt_tracker_ros.nodes.pairing import STREAMS
from rgbt_tracker_ros.types import Box, Pair

FRAME_RATE = 30.0       # Hz, of sources that don't tell theirs
SCENE_FRAMES = 300


@dataclass(frozen=True, slots=True)
class PlayedPair:
    """A pair that is out: its number in the recording, the stamp that it is played with (ns since
    the recording began), the stamp that it was recorded with (ns), its reference image's frame_id,
    and its true box.
    """

    number: int
    stamp: int
    recorded: int
    frame_id: str = ''
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Shot:
    """What leaves the cameras at one time, `at`, with `stamp`; both in ns since the recording
    began. `pair` is the one that this completes, if it does.
    """

    at: int
    stamp: int
    images: dict[str, Any]
    pair: PlayedPair | None = None

    def later(self, by: int) -> Shot:
        """Return the same shot, `by` ns later."""
        pair = self.pair and replace(self.pair, stamp=self.pair.stamp + by)
        return Shot(self.at + by, self.stamp + by, self.images, pair)


class PlaySource(Protocol):
    """A recording that can be played any number of times.

    `streams`: message type of each camera's images. `infos`: a camera's calibration, where it is
    known. `rate`: pairs per second. `origin`: ns, when the recording began; `stamp_origin`: the
    same by the clock of its stamps. `apart`: whether every image is sent on its own, with a stamp
    of its own.
    """

    streams: Mapping[str, type]
    infos: Mapping[str, CameraInfo]
    rate: float
    origin: int
    stamp_origin: int
    has_truth: bool
    apart: bool

    def shots(self) -> Iterator[Shot]:
        """Yield what leaves the cameras, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a recording that is played: from `start` s on, but not before pair `first`, as
    far as `duration` s from `start` (0: to the end); of that at most `count` pairs (0: all).
    """

    start: float = 0.0
    duration: float = 0.0
    first: int = 0
    count: int = 0

    def of(self, length: int | None, index: Callable[[float], int]) -> range:
        """Return the pairs of a recording of `length`, None where that is not known.

        :param index: the number of the first pair at or after a time (s since the beginning).
        :raises ValueError: if none is left.
        """
        first, stop = max(self.first, index(self.start)), 2**62 if length is None else length
        if self.duration:
            stop = min(stop, index(self.start + self.duration))
        if self.count:
            stop = min(stop, first + self.count)
        if first >= stop:
            raise ValueError(f'nothing to play: it would be pairs {first} to {stop - 1}' + (
                '' if length is None else f', and there are {length}'))
        return range(first, stop)


class Numbered(NamedTuple):
    """A pair with its number in the recording and the target's true box."""

    number: int
    pair: Pair
    box: Box | None


class PairsAtOnce:
    """Plays pairs whose two images are of one instant."""

    apart = False

    def __init__(self, read: Callable[[], Iterator[Numbered]], streams: tuple[str, ...],
                 own_rate: float, *, has_truth: bool, frame_ids: Mapping[str, str],
                 rate: float = 0.0, compressed: bool = False) -> None:
        """Prepare.

        :param rate: Hz; 0: as the stamps say.
        """
        self.streams: Mapping[str, type] = dict.fromkeys(
            streams, CompressedImage if compressed else Image)
        self.infos: Mapping[str, CameraInfo] = {}
        self.rate, self.has_truth = rate or own_rate, has_truth
        self.origin = self.stamp_origin = 0
        self._read, self._frame_ids = read, frame_ids
        self._spacing = 1 / rate if rate else 0.0
        self._make: Callable[[Any], Any] = compressed_message if compressed else image_message

    def shots(self) -> Iterator[Shot]:
        """Yield the pairs: see PlaySource."""
        began: int | None = None
        for count, (number, pair, box) in enumerate(self._read()):
            began = pair.stamp if began is None else began
            at = round(count * self._spacing * 1e9) if self._spacing else pair.stamp - began
            images = {}
            for stream in self.streams:
                if (image := getattr(pair, stream)) is not None:
                    images[stream] = self._make(image)
                    images[stream].header.frame_id = self._frame_ids[stream]
            frame_id = self._frame_ids[next(iter(images))]
            yield Shot(at, at, images, PlayedPair(number, at, pair.stamp, frame_id, box))


def files(source: PairSource, boxes: Mapping[int, Box], part: Part, **options: Any) -> PairsAtOnce:
    """Play videos or folders of images.

    :param options: see PairsAtOnce.
    :raises ValueError: if nothing of it is to be played.
    """
    numbers = part.of(None, lambda s: round(s * source.fps))    # headers of videos may be wrong

    def read() -> Iterator[Numbered]:
        for number, pair in zip(numbers, source.pairs(numbers.start), strict=False):
            yield Numbered(number, pair, boxes.get(number))

    streams = tuple(s for s in STREAMS if getattr(source, s) is not None)
    return PairsAtOnce(read, streams, source.fps, has_truth=bool(boxes), **options)


def sequence(played: Sequence, part: Part, **options: Any) -> PairsAtOnce:
    """Play a sequence of any layout; its first pair is decoded to see which images there are.

    :raises ValueError: if nothing of it is to be played, or it can't be read (LayoutError).
    """
    rate = played.fps or FRAME_RATE
    numbers = part.of(len(played), lambda s: round(s * rate))
    boxes = true_boxes(played)
    first = played.pair(numbers.start)

    def read() -> Iterator[Numbered]:
        for number, pair in zip(numbers, played.pairs(numbers.start), strict=False):
            yield Numbered(number, pair, boxes.get(number))

    streams = tuple(s for s in STREAMS if getattr(first, s) is not None)
    return PairsAtOnce(read, streams, rate, has_truth=bool(boxes), **options)


def scene(seed: int, part: Part, **options: Any) -> PairsAtOnce:
    """Play a made-up scene, as long as `part` wants it.

    :raises ValueError: if nothing of it is to be played.
    """
    config = SceneConfig()
    last = round((part.start + part.duration) * config.fps) if part.duration else 0
    begin = max(part.first, round(part.start * config.fps))
    frames = max(last, begin + part.count if part.count else 0) or SCENE_FRAMES
    made = Scene(seed, SceneConfig(frames=frames))
    numbers = part.of(frames, lambda s: round(s * config.fps))

    def read() -> Iterator[Numbered]:
        for number, (pair, box, visible) in enumerate(made):
            if number in numbers:
                yield Numbered(number, pair, box if visible else None)

    return PairsAtOnce(read, STREAMS, config.fps, has_truth=True, **options)


def true_boxes(played: Sequence) -> dict[int, Box]:
    """Return the true box of each annotated pair that shows the target."""
    seen = np.isfinite(played.truth).all(axis=1)
    return {int(n): Box(*map(float, row)) for n, row in
            zip(played.annotated[seen], played.truth[seen], strict=True)}


