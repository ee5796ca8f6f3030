"""Recordings of the recorder node as sequences, a segment each; also one that was cut off.

`rgbt_tracker_ros.recording` tells how a recording is laid out. A segment is random access by pair
number: what is in memory is where each message lies. Of a segment whose writer was killed all is
read that has reached the file in whole chunks.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import json
from pathlib import Path
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.bag_pairs import Pairing, choose_topics, pair_stamps
from rgbt_tracker_ros.data.bag_reader import IMAGE_TYPES, Bag, TopicIndex, is_bag
from rgbt_tracker_ros.data.recordings import BagDataset, BagFrames
from rgbt_tracker_ros.data.segments_bag import SegmentBag
from rgbt_tracker_ros.data.segments_mcap import McapFile, Note
from rgbt_tracker_ros.data.sequence import Boxes, Dataset, LayoutError, Sequence
from rgbt_tracker_ros.data.sources import natural_order
from rgbt_tracker_ros.types import Box, State

PARTIAL, MANIFEST = '.partial', 'manifest.json'
_NUMBERED = re.compile(r'(.+)_(\d{4,})')
TRACK = 'rgbt_tracker_ros/msg/Track'


@dataclass(frozen=True)
class Tracked:
    """What the tracker said of a pair while it was recorded; `box` in px of the RGB image."""

    pair: int
    box: Box
    confidence: float
    state: State
    target_id: str


class SegmentFrames(BagFrames):
    """The pairs of a segment. `file`: the index of its MCAP file."""

    def __init__(self, path: Path, file: McapFile, topics: tuple[str, str],
                 indexes: tuple[TopicIndex | None, TopicIndex | None], pairing: Pairing) -> None:
        super().__init__(path, topics, indexes, pairing)
        self.file = file

    def open(self) -> Bag:
        """Open the segment: see BagFrames."""
        return SegmentBag(self.path, self.file)

    def raw(self, side: int, pair: int) -> bytes:
        """Return the message of a pair as it was received, the CDR with its encapsulation; `side`
        0 is RGB, 1 thermal.

        :raises LayoutError: if it can't be read any more.
        """
        numbers = (self.pairing.rgb, self.pairing.thermal)[side]
        return self.file.read(self.file.messages(self.topics[side]), int(numbers[pair]))

    def _frames(self) -> tuple[str, str]:
        """Return the frames of RGB and thermal; '' where the manifest can't tell."""
        try:
            streams = read_manifest(self.path)['streams']
            return str(streams['rgb']['frame_id']), str(streams['thermal']['frame_id'])
        except (LayoutError, KeyError, TypeError):
            return '', ''

    def tracks(self) -> Iterator[Tracked]:
        """Yield what the tracker said of the pairs, where it ran; tracks without a pair are left
        out (those of pairs that a gate left out, or of the segment before), and so are those in
        px of the thermal image: their target was given while RGB was missing.

        :raises LayoutError: if a message can't be read.
        """
        number = {int(s): n for n, s in enumerate(self.pairing.stamps)}
        rgb, thermal = self._frames()
        with self.open() as bag:
            for topic in (t for t, kind in bag.topics.items() if kind == TRACK):
                for stamp, message in zip(self.file.messages(topic).stamps, bag.messages(topic),
                                          strict=True):
                    frame = message.header.frame_id
                    pair = number.get(int(stamp))
                    if pair is not None and (frame in ('', rgb) or frame != thermal):
                        b = message.box
                        yield Tracked(pair, Box(b.x, b.y, b.w, b.h), message.confidence,
                                      State(message.state), message.target_id)


def open_recording(name: str, root: Path, *, rgb_topic: str | None = None,
                   thermal_topic: str | None = None, slop: float = 0.025,
                   thermal_offset: float = 0.0, truth: str | Path | None = None,
                   truth_topic: str | None = None, images: bool = True, strict: bool = True,
                   ) -> Dataset:
    """Open a folder of segments, or one of them; bags of other makers may lie between them.

    In segments the recorder has said which images are a pair. For other bags, of which complete
    pairs alone are taken, and for the options see `recordings.open_bags`. `truth_topic`: may be
    the recorded ~/track: boxes of tracks that are of no pair are left out.

    :raises LayoutError: if there is no segment and no bag, or a number makes no sense.
    """
    if not 0 <= slop < 60:
        raise LayoutError(root, f'slop is {slop!r}; it must be 0 to 60 s')
    return RecordingDataset(name, root, (rgb_topic, thermal_topic), int(slop * 1e9),
                            int(thermal_offset * 1e9), True, Path(truth) if truth else None,
                            truth_topic, strict)


class RecordingDataset(BagDataset):
    """See `open_recording`. `empty`: name -> folder of segments that are left out, since nothing
    was written before the recorder was killed.
    """

    empty: dict[str, Path]

    @property
    def paths(self) -> dict[str, Path]:
        """Name -> folder of all there is, empty segments too."""
        both = {**self._bags, **self.empty}
        return {name: both[name] for name in sorted(both, key=lambda n: natural_order(Path(n)))}

    def _find(self, root: Path) -> dict[str, Path]:
        found = find_segments(root)
        self.empty = {n: p for n, p in found.items() if p.name.endswith(PARTIAL) and _is_empty(p)}
        if len(self.empty) == len(found):   # to be opened, then, and to say why that fails
            self.empty = {}
        return {n: p for n, p in found.items() if n not in self.empty} or super()._find(root)

    def noted(self, name: str, note: Note) -> Sequence:
        """Open a sequence as `dataset[name]` does; of a segment's messages `note` is told.

        :raises LayoutError: if it is not as it should be.
        """
        return self._open(name, note)

    def _open(self, name: str, note: Note | None = None) -> Sequence:
        path = moved(self._bags[name])
        return self._segment(name, path, note) if is_segment(path) else super()._open(name)

    def _segment(self, name: str, path: Path, note: Note | None) -> Sequence:
        file = McapFile(mcap_of(path), note)
        topics = cameras(path, file, self._topics)
        bag = SegmentBag(path, file)
        indexes = bag.index(*topics)
        rgb, thermal = (indexes[t] for t in topics)
        pairing = numbered_pairs(file, topics, rgb, thermal)
        if pairing is None:
            pairing = pair_stamps(rgb.stamps, thermal.stamps + self._offset, self._slop, True)
        boxes, annotated = self._boxes(bag, pairing)
        return Sequence(name, SegmentFrames(path, file, topics, (rgb, thermal), pairing), boxes,
                        annotated, fps=pairing.rate)

    def _at_stamps(self, boxes: Boxes, stamps: NDArray[np.int64], rows: NDArray[np.int64],
                   file: Path, pairing: Pairing) -> tuple[Boxes, NDArray[np.int64]]:
        if self._truth_topic is None:
            return super()._at_stamps(boxes, stamps, rows, file, pairing)
        # a track has the stamp of the image it is about, to the nanosecond
        _, at, of = np.intersect1d(pairing.stamps, stamps, return_indices=True)
        return boxes[of], at


def find_segments(root: Path) -> dict[str, Path]:
    """Return name -> folder of the segments in a folder, or of the one that `root` is, and of the
    bags beside them; of a segment that is there both whole and cut off the whole one.

    Nothing if there is no segment.
    """
    if is_segment(root):
        return {segment_name(root): root}
    if not root.is_dir():
        return {}
    inside = sorted((p for p in root.iterdir() if not p.name.startswith('.')), key=natural_order)
    if not any(map(is_segment, inside)):
        return {}
    found: dict[str, Path] = {}
    for path in inside:
        if is_segment(path) or is_bag(path):
            name = segment_name(path)
            if name not in found or found[name].name.endswith(PARTIAL):
                found[name] = path
    return dict(sorted(found.items(), key=lambda item: natural_order(Path(item[0]))))


def is_segment(path: Path) -> bool:
    """Whether a folder is a segment of the recorder, whole or not."""
    return path.is_dir() and ((path / MANIFEST).is_file() or (
        path.name.endswith(PARTIAL) and bool(_NUMBERED.fullmatch(path.name[:-len(PARTIAL)]))))


def segment_name(path: Path) -> str:
    """Return the name of a segment's sequence: that of its folder, once it is whole."""
    name = path.resolve().name
    return path.stem if path.is_file() else name.removesuffix(PARTIAL)


def moved(path: Path) -> Path:
    """Return where a segment is now: it is renamed when it is whole."""
    whole = path.with_name(path.name.removesuffix(PARTIAL))
    return whole if whole != path and not path.exists() and whole.exists() else path


def mcap_of(path: Path) -> Path:
    """Return the MCAP file of a segment.

    :raises LayoutError: if there is none.
    """
    found = sorted(path.glob('*.mcap'), key=natural_order)
    if not found:
        raise LayoutError(path, 'there is no .mcap file in this segment; nothing of it has '
                          'reached the disk, or it was moved away')
    return found[0]


def _is_empty(path: Path) -> bool:
    """Whether a segment that was cut off holds no message at all."""
    try:
        return not McapFile(mcap_of(path), first_only=True).first_topics
    except LayoutError:
        return True


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a segment; empty where there is none.

    :raises LayoutError: if it is no JSON object.
    """
    file = path / MANIFEST
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise LayoutError(file, f'no manifest: {error}') from error
    if not isinstance(found, dict):
        raise LayoutError(file, 'no manifest: it is no JSON object')
    return found


def cameras(path: Path, file: McapFile, given: tuple[str | None, str | None]) -> tuple[str, str]:
    """Return the RGB and the thermal topic of a segment: as given, as its manifest says, or the
    two that have images: the recorder writes RGB first.

    :raises LayoutError: if that does not name two topics with images.
    """
    if given != (None, None):
        chosen = choose_topics(file.kinds, file.counts, *given, path)
        if not all(chosen):
            raise LayoutError(path, 'a segment has two cameras; give rgb_topic and thermal_topic '
                              'or neither')
        return chosen
    images = [t for t in file.first_topics if file.kinds[t] in IMAGE_TYPES and file.counts[t]]
    try:
        streams = read_manifest(path).get('streams') or {}
        topics = [streams[s]['topic'] for s in ('rgb', 'thermal')]
    except (LayoutError, KeyError, TypeError):  # broken by what has cut the segment off
        topics = images
    if len(topics) != 2 or not set(topics) <= set(images):
        raise LayoutError(path, 'no pair: images are on ' + (', '.join(images) or 'no topic')
                          + (f'; the file is {file.cut}' if file.cut else ''))
    return topics[0], topics[1]


def numbered_pairs(file: McapFile, topics: tuple[str, str], rgb: TopicIndex, thermal: TopicIndex,
                   ) -> Pairing | None:
    """Pair by the numbers that the recorder gave; None where they are those of another writer."""
    first, second = (file.messages(t).sequence for t in topics)
    if any(len(np.unique(n)) < len(n) for n in (first, second)):
        return None
    _, a, b = np.intersect1d(first, second, return_indices=True)
    return Pairing(a, b, rgb.stamps[a], thermal.stamps[b] - rgb.stamps[a])
