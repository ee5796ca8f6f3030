"""Random access to the messages of a bag: rosbag2 (MCAP, SQLite; folder or file) and ROS 1.

Through the `rosbags` library, without ROS. One pass over the chosen topics builds an index of
stamps; after that a message is found by its time through the bag's own index. MCAP files without
chunks have none (`ros2 bag record --storage-preset-profile fastwrite` writes such): for those the
position of every message is kept.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
import struct
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag1 import ReaderError as ReaderError1
from rosbags.rosbag2 import Reader as Reader2
from rosbags.rosbag2 import ReaderError as ReaderError2
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from rgbt_tracker_ros.data.sequence import LayoutError

BAG_SUFFIXES = ('.mcap', '.db3', '.bag')
IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
# What reading damaged files raises: the library's errors, and what slips through it
_BROKEN = (ReaderError1, ReaderError2, SerdeError, TypesysError, OSError, EOFError, ValueError,
           KeyError, IndexError, AssertionError, TypeError, struct.error, apsw.Error,
           RuntimeError)
_RECORD = struct.Struct('<BQHIQQ')      # opcode, length, channel, sequence, log and publish time
_MESSAGE, _FOOTER = 0x05, 0x02


@dataclass(frozen=True)
class TopicIndex:
    """The messages of a topic in the order of the bag.

    `stamps`: ns, of the header; of the recording where all headers say 0. `logged`: ns, when it
    was recorded; `nth`: number among messages of the topic with that time. `offsets`, `lengths`:
    where the message lies in a file without an index of its own, and `files`: in which.
    """

    stamps: NDArray[np.int64]
    logged: NDArray[np.int64]
    nth: NDArray[np.int64]
    offsets: NDArray[np.int64] | None = None
    lengths: NDArray[np.int64] | None = None
    files: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.stamps)


class Bag:
    """An open bag; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open a file of BAG_SUFFIXES, or a rosbag2 folder.

        :raises LayoutError: if it is none, is not complete, or has no message definitions.
        """
        self.path = path
        self.ros1 = path.suffix == '.bag'
        try:
            self._reader: Any = Reader1(path) if self.ros1 else Reader2(path)
            self._reader.open()
        except _BROKEN as error:
            hint = ('; was the recording cut off? `mcap recover` or `ros2 bag reindex` may repair '
                    'it' if not self.ros1 else '; `rosbag reindex` may repair it')
            raise LayoutError(path, f"the bag can't be opened: {error}{hint}") from error
        self.topics: dict[str, str] = {c.topic: c.msgtype for c in self._reader.connections}
        self.counts: dict[str, int] = {}
        for connection in self._reader.connections:
            self.counts[connection.topic] = (self.counts.get(connection.topic, 0)
                                             + connection.msgcount)
        self._store: Typestore = get_typestore(
            Stores.ROS1_NOETIC if self.ros1 else Stores.ROS2_JAZZY)
        self._plain = self._unindexed_files()

    def index(self, *topics: str) -> dict[str, TopicIndex]:
        """Read the stamps of all messages of topics, whose messages begin with a header.

        :raises LayoutError: if the bag is damaged.
        """
        if self._plain:
            return {topic: self._index_plain(topic) for topic in topics}
        found: dict[str, tuple[list[int], list[int]]] = {topic: ([], []) for topic in topics}
        for topic, time, raw in self._raw(topics):
            logged, stamps = found[topic]
            logged.append(time)
            stamps.append(self._stamp(topic, raw, len(stamps)))
        return {topic: TopicIndex(_stamps(stamps, logged), np.array(logged, np.int64),
                                  _nth(logged)) for topic, (logged, stamps) in found.items()}

    def read(self, topic: str, index: TopicIndex, at: int) -> Any:
        """Return message number `at` of `index`, deserialised.

        :raises LayoutError: if it can't be read any more.
        """
        return self._deserialize(topic, self._find(topic, index, at), at)

    def messages(self, topic: str) -> Iterator[Any]:
        """Yield all messages of a topic, deserialised; their definition must be in the bag.

        :raises LayoutError: if it is not, or a message does not fit it.
        """
        self._learn(topic)
        for number, (_, _, raw) in enumerate(self._raw((topic,))):
            yield self._deserialize(topic, raw, number)

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _raw(self, topics: tuple[str, ...], start: int | None = None, stop: int | None = None,
             ) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, time of recording, bytes); nothing where there is no topic."""
        connections = [c for c in self._reader.connections if c.topic in topics]
        try:
            for connection, time, raw in (self._reader.messages(connections, start, stop)
                                          if connections else ()):
                yield connection.topic, time, raw
        except _BROKEN as error:
            raise LayoutError(self.path, f'{" and ".join(topics)}: {type(error).__name__}: '
                              f'{error}') from error

    def _find(self, topic: str, index: TopicIndex, at: int) -> bytes:
        if index.offsets is not None and index.lengths is not None and index.files is not None:
            with self._plain[index.files[at]].open('rb') as file:
                file.seek(int(index.offsets[at]))
                return file.read(int(index.lengths[at]))
        time = int(index.logged[at])
        for nth, (_, _, raw) in enumerate(self._raw((topic,), time, time + 1)):
            if nth == index.nth[at]:
                return raw
        raise LayoutError(self.path, f'{topic}: the message of {time} ns is gone', at + 1)

    def _deserialize(self, topic: str, raw: bytes, at: int) -> Any:
        kind = self.topics[topic]
        try:
            if self.ros1:
                return self._store.deserialize_ros1(raw, kind)
            return self._store.deserialize_cdr(raw, kind)
        except _BROKEN as error:
            raise LayoutError(self.path, f'{topic}: message {at + 1} is no {kind}: {error}',
                              at + 1) from error

    def _learn(self, topic: str) -> None:
        """Take a topic's type from the definition in the bag, where the stock types lack it."""
        kind = self.topics[topic]
        if kind in self._store.fielddefs:
            return
        if not (text := self._definition(topic)):
            raise LayoutError(self.path, f'{topic}: the bag does not define {kind}')
        try:
            types = get_types_from_msg(text, kind)
        except TypesysError as error:
            raise LayoutError(self.path, f'{topic}: the definition of {kind} is broken: {error}'
                              ) from error
        self._store.register({k: v for k, v in types.items() if k not in self._store.fielddefs})

    def _definition(self, topic: str) -> str:
        """Return the text that defines a topic's type; empty where there is none in MSG format."""
        found = next(c for c in self._reader.connections if c.topic == topic).msgdef
        return str(found.data) if found.format == MessageDefinitionFormat.MSG else ''

    def _stamp(self, topic: str, raw: bytes, at: int) -> int:
        """Stamp of a message that starts with a header: the same place in CDR and in ROS 1."""
        form = 'II' if self.ros1 else 'iI'
        if len(raw) < 4 + struct.calcsize(form):
            raise LayoutError(self.path, f'{topic}: message {at + 1} has {len(raw)} bytes; the '
                              'stamp of a header does not fit in', at + 1)
        order = '>' if not self.ros1 and raw[1] == 0 else '<'
        seconds, nanoseconds = struct.unpack_from(order + form, raw, 4)
        return int(seconds) * 10**9 + int(nanoseconds)

    def _unindexed_files(self) -> list[Path]:
        """Return the files of a bag that is MCAP without chunks; otherwise none."""
        if self.ros1:
            return []
        storages = getattr(self._reader.storage, 'storages', [self._reader.storage])
        plain = [isinstance(s, McapReader) and not s.chunks for s in storages]
        compressed = self._reader.compression_mode == 'message'
        return [s.path for s in storages] if all(plain) and not compressed else []

    def _index_plain(self, topic: str) -> TopicIndex:
        storages = getattr(self._reader.storage, 'storages', [self._reader.storage])
        found: list[tuple[int, ...]] = []       # logged, stamp, offset, length, file
        for number, storage in enumerate(storages):
            channels = {c.id for c in storage.connections if c.topic == topic}
            with storage.path.open('rb') as file:
                file.seek(storage.data_start)
                while file.tell() < storage.data_end:
                    at = file.tell()
                    head = file.read(_RECORD.size + 12)
                    if len(head) < 9:
                        raise LayoutError(self.path, f'{storage.path.name} ends within the record '
                                          f'at byte {at}; `mcap recover` may repair it')
                    opcode, length = struct.unpack_from('<BQ', head)
                    if opcode == _MESSAGE and len(head) >= _RECORD.size + 12:
                        _, _, channel, _, logged, _ = _RECORD.unpack_from(head)
                        if channel in channels:
                            # of a short message, nothing of the next record
                            raw = head[_RECORD.size:9 + length]
                            found.append((logged, self._stamp(topic, raw, len(found)),
                                          at + _RECORD.size, length - 22, number))
                    elif opcode == _FOOTER:
                        break
                    file.seek(at + 9 + length)
        columns = np.array(found, np.int64).reshape(-1, 5).T
        logged_times = columns[0].tolist()
        return TopicIndex(_stamps(columns[1].tolist(), logged_times), columns[0],
                          _nth(logged_times), columns[2], columns[3], columns[4])


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: a file of BAG_SUFFIXES, or a folder with metadata.yaml."""
    if path.is_dir():
        return (path / 'metadata.yaml').is_file()
    return path.suffix in BAG_SUFFIXES


def _stamps(stamps: list[int], logged: list[int]) -> NDArray[np.int64]:
    return np.array(stamps if any(stamps) else logged, np.int64)


def _nth(times: list[int]) -> NDArray[np.int64]:
    seen: dict[int, int] = {}
    numbers = []
    for time in times:
        numbers.append(seen.get(time, 0))
        seen[time] = numbers[-1] + 1
    return np.array(numbers, np.int64)
