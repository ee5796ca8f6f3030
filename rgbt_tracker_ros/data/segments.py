"""Recordings of the recorder node as sequences, a segment each; also one that was cut off.

`rgbt_tracker_ros.recording` tells how a recording is laid out. A segment is random access by pair
number: what is in memory is where each message lies. Of a segment whose writer was killed all is
read that has reached the file in whole chunks.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.bag_pairs import Pairing, choose_topics, pair_stamps
from rgbt_tracker_ros.data.bag_reader import IMAGE_TYPES, Bag, TopicIndex, is_bag
from rgbt_tracker_ros.data.recordings import BagDataset, BagFrames
from rgbt_tracker_ros.data.segments_bag import SegmentBag
from rgbt_tracker_ros.data.segments_folder import (
    MANIFEST,
    PARTIAL,
    is_held,
    is_segment,
    mcap_of,
    moved,
    segment_name,
)
from rgbt_tracker_ros.data.segments_mcap import McapFile, Note
from rgbt_tracker_ros.data.sequence import Boxes, Dataset, LayoutError, Sequence
from rgbt_tracker_ros.data.sources import natural_order
from rgbt_tracker_ros.types import Box, State

__all__ = ['PARTIAL', 'TRACK', 'RecordingDataset', 'SegmentFrames', 'Tracked', 'cameras',
           'find_segments', 'is_segment', 'numbered_pairs', 'open_recording', 'read_manifest']

TRACK = 'rgbt_tracker_ros/msg/Track'
_log = logging.getLogger(__name__)


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

    @property
    def identity(self) -> str:
        """See BagFrames."""
        self.path = moved(self.path)
        return super().identity

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
            streams = read_manifest(moved(self.path))['streams']
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
    """See `open_recording`. Some segments are none of its sequences, unless there are no others: a
    kill must not cost what is whole, and one that grows while it is read is not the same twice.

    `empty`: name -> folder of those that were cut off before there was an image. `left_out`: name
    -> why, of those that a recorder is still writing, and of broken ones; of these a warning is
    logged when a sequence is opened. By its own folder each can be opened, or says why not.
    """

    empty: dict[str, Path]
    left_out: dict[str, LayoutError]
    _found: dict[str, Path]
    _told = False

    @property
    def paths(self) -> dict[str, Path]:
        """Name -> folder of all there is, also of what is left out."""
        both = {**self._bags, **self._found}
        return {name: both[name] for name in sorted(both, key=lambda n: natural_order(Path(n)))}

    def __contains__(self, name: object) -> bool:
        return name in self.left_out or super().__contains__(name)

    def __getitem__(self, name: str) -> Sequence:
        """Open a sequence: see Dataset."""
        if not self._told:
            self._told = True
            for error in self.left_out.values():
                _log.warning('%s (this segment is left out)', error)
        return self._open(name) if name in self.left_out else super().__getitem__(name)

    def __iter__(self) -> Iterator[Sequence]:
        """Open the segments one after the other; one that is broken is left out with a warning.

        :raises LayoutError: if none of them can be opened.
        """
        first, count = None, 0
        for name in self.sequence_names:
            try:
                sequence = self[name]
            except LayoutError as error:
                first = first or error
                _log.warning('%s (this segment is left out)', error)
                continue
            count += 1
            yield sequence
        if first is not None and not count:
            raise first

    def problems(self) -> list[str]:
        """List all that is incomplete: see Dataset."""
        return [*map(str, self.left_out.values()), *super().problems()]

    def _find(self, root: Path) -> dict[str, Path]:
        self._found = found = find_segments(root)
        blank = {n: p for n, p in found.items() if is_segment(p) and _is_empty(p)}
        self.empty = {n: p for n, p in blank.items() if p.name.endswith(PARTIAL)}
        self.left_out = {n: error for n, p in found.items() if n not in self.empty
                         and (error := self._trouble(p, root, n in blank)) is not None}
        kept = {n: p for n, p in found.items() if n not in self.empty and n not in self.left_out}
        if not kept:        # all there is is to be opened, then, and to say why that fails
            self.left_out = {}
            kept = {n: p for n, p in found.items() if n not in self.empty}
        if not kept:
            self.empty, kept = {}, found
        return kept or super()._find(root)

    def _trouble(self, path: Path, root: Path, blank: bool) -> LayoutError | None:
        """Return why a segment can't be used; None if it can be, as far as is seen at a glance."""
        try:
            _require_free(path, root)
            if blank:
                cameras(path, McapFile(mcap_of(path)), self._topics)
        except LayoutError as error:
            return error
        return None

    def noted(self, name: str, note: Note) -> Sequence:
        """Open a sequence as `dataset[name]` does; of a segment's messages `note` is told.

        :raises LayoutError: if it is not as it should be.
        """
        return self._open(name, note)

    def _open(self, name: str, note: Note | None = None) -> Sequence:
        path = moved(self._found.get(name) or self._bags[name])
        if note is None:
            _require_free(path, self.root)
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


def _require_free(path: Path, root: Path) -> None:
    """Refuse a segment that grows; not where it is the one that was named.

    :raises LayoutError: if a recorder is at work on it.
    """
    if path != root and is_held(path):
        raise LayoutError(path, 'a recorder is writing this segment, which is whole once ~/split '
                          'or ~/stop of the recorder was called; to read what is there by now, '
                          'give this folder itself')


def _is_empty(path: Path) -> bool:
    """Whether a segment holds no image at all."""
    try:
        file = McapFile(mcap_of(path), until=IMAGE_TYPES)
        return not any(file.kinds[t] in IMAGE_TYPES for t in file.first_topics)
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
