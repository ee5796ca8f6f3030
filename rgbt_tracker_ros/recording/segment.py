"""One segment: a bag in the making, which becomes whole by a rename."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgbt_tracker_ros.recording.bag_metadata import Topic, describe, dump
from rgbt_tracker_ros.recording.definitions import definition_of
from rgbt_tracker_ros.recording.manifest import Manifest, calibration_hash
from rgbt_tracker_ros.recording.mcap_file import McapFile
from rgbt_tracker_ros.recording.place import PARTIAL, RESERVE, Stored
from rgbt_tracker_ros.recording.raw_images import RawCompressed, RawImage
from rgbt_tracker_ros.recording.reserved_file import ReservedFile, sync_folder, write_durably

LARGEST = 8 << 20       # bytes of the reserve, besides two chunks and a pair: the summary


@dataclass(frozen=True, slots=True)
class Source:
    """A topic that is recorded, its type, and its publishers' profiles as rosbag2 writes them."""

    topic: str
    type: str
    qos: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came, serialised. Times in ns."""

    source: Source
    data: bytes
    received: int
    published: int


@dataclass(frozen=True, slots=True)
class RecordedPair:
    """Two messages that belong together. `stamp`: of RGB, `skew`: thermal minus RGB, ns."""

    rgb: Received
    thermal: Received
    images: tuple[RawImage | RawCompressed, RawImage | RawCompressed]
    stamp: int
    skew: int

    @property
    def size(self) -> int:
        """Bytes of both messages."""
        return len(self.rgb.data) + len(self.thermal.data)

    @property
    def received(self) -> int:
        """When it was complete, ns."""
        return max(self.rgb.received, self.thermal.received)


@dataclass(slots=True)
class _Open:
    topic: Topic
    channel: int


class Segment:
    """Between opening and `close` (or `abandon`). Not thread-safe."""

    def __init__(self, folder: Path, manifest: Manifest, chunk_bytes: int,
                 pair_bytes: int = 0) -> None:
        """Make `folder` with PARTIAL at its end, and the files in it.

        :param pair_bytes: of a pair, by which a chunk may be longer than `chunk_bytes`.
        :raises OSError: if that is impossible.
        """
        self.folder = folder
        self.manifest = manifest
        self.partial = folder.with_name(folder.name + PARTIAL)
        self._topics: dict[str, _Open] = {}
        self.partial.mkdir()
        stream: ReservedFile | None = None
        try:
            manifest.write(self.partial)
            stream = ReservedFile(self.partial / manifest.file, self.partial / RESERVE,
                                  2 * chunk_bytes + pair_bytes + LARGEST)
            # what is in a file is lost by a power cut where its name is not on the disk
            sync_folder(self.partial)
            sync_folder(self.partial.parent)
        except OSError:
            if stream is not None:
                stream.close()
            for path in self.partial.iterdir():
                path.unlink()
            self.partial.rmdir()
            raise
        self._stream = stream
        self._mcap = McapFile(stream, chunk_bytes, manifest.compression)

    @property
    def size(self) -> int:
        """Bytes of the file so far, with what is not written yet."""
        return self._stream.position + self._mcap.pending

    @property
    def full(self) -> bool:
        """Whether the disk is: the segment can be closed, and should be."""
        return self._stream.full

    @property
    def vanished(self) -> bool:
        """Whether the file is no longer where it was made."""
        return self._stream.vanished

    def announce(self, others: Sequence[Source], pair: RecordedPair) -> None:
        """Put topics in the head of the file, so that none ends the first chunk before there is a
        pair in it: those of `others`, and of the pair.
        """
        for source in (*others, pair.rgb.source, pair.thermal.source):
            self._of(source)

    def add_pair(self, pair: RecordedPair) -> None:
        """Write a pair, and the chunk if it has its size now."""
        number = self.manifest.pairs
        for message in (pair.rgb, pair.thermal):
            self._of(message.source)    # both before either: a new topic ends a chunk
        for message in (pair.rgb, pair.thermal):
            self._add(message, number)
        self.manifest.add_pair(dict(zip(('rgb', 'thermal'), pair.images, strict=True)), pair.stamp,
                               pair.skew)
        if self._mcap.is_due:
            self.flush()

    def add_track(self, message: Received) -> None:
        """Write a track."""
        self._add(message)
        self.manifest.tracks += 1

    def add_info(self, stream: str, message: Received) -> None:
        """Write a camera_info, unless it says what the last one did."""
        made = calibration_hash(message.data)
        known = self.manifest.calibration[stream]
        if not known or known[-1] != made:
            known.append(made)
            self._add(message)

    def flush(self) -> None:
        """Hand what there is to the operating system."""
        self._mcap.flush()

    def sync_behind(self) -> None:
        """Begin to put on the disk what the operating system has, and don't wait for it.

        :raises OSError: if that has failed since the last call.
        """
        self._stream.sync_behind()

    def close(self, reason: str) -> tuple[Path, int]:
        """Complete all files, and name the folder as what it now is: whole. Return it, and how
        many bytes it has; where it is after that is for others to decide.

        :raises OSError: if that is impossible; what was written can then be read as far as it got.
        """
        mcap, manifest = self._mcap, self.manifest
        try:
            mcap.flush()
            for made in self._topics.values():
                made.topic.count = mcap.counts[made.channel]
            information = describe(manifest.file, [t.topic for t in self._topics.values()],
                                   mcap.first_time, mcap.last_time)
            mcap.add_metadata('rosbag2', {'serialized_metadata': dump(information)})
            mcap.finish()
            self._stream.sync()
        finally:
            self._stream.close()
        write_durably(self.partial / 'metadata.yaml',
                      dump({'rosbag2_bagfile_information': information}))
        manifest.state, manifest.reason, manifest.bytes = 'closed', reason, self._stream.position
        manifest.write(self.partial)
        sync_folder(self.partial)
        size = Stored(manifest.segment, self.partial).size
        self.partial.rename(self.folder)
        sync_folder(self.folder.parent)
        return self.folder, size

    def abandon(self) -> None:
        """Close the file as it is."""
        self._stream.close()

    def _add(self, message: Received, number: int | None = None) -> None:
        made = self._of(message.source)
        if number is None:
            number = self._mcap.counts[made.channel]
        self._mcap.add(made.channel, number, message.received, message.published, message.data)
        self.manifest.add_received(message.received)

    def _of(self, source: Source) -> _Open:
        """Return what there is of a topic; announce it in the file where that is new."""
        if source.topic in self._topics:
            return self._topics[source.topic]
        definition = definition_of(source.type)
        channel = self._mcap.add_topic(source.topic, definition, dump(list(source.qos)).strip())
        made = _Open(Topic(source.topic, source.type, definition.digest, source.qos), channel)
        self._topics[source.topic] = made
        return made
