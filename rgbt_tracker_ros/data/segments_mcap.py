"""Where the messages of an MCAP file lie, also of one whose writer was killed.

The file is walked record by record from its beginning; the summary at its end is not needed. Where
it is whole, uncompressed chunks are stepped over: only the first bytes of each message are read.
Where it is not, every chunk is read and held to its checksum, up to the first that is not there in
full: what a crash has left behind it is counted, and not believed. https://mcap.dev/spec
"""
from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
import os
from pathlib import Path
import struct
from threading import local

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.storage_mcap import decompress

from rgbt_tracker_ros.data.segments_folder import moved
from rgbt_tracker_ros.data.sequence import LayoutError

MAGIC = b'\x89MCAP0\r\n'
HEAD = 512      # bytes kept of each message while walking: header, size and encoding of an image
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
_KNOWN = frozenset(range(0x01, 0x10))
_RECORD = struct.Struct('<BQ')
_CHUNK_HEAD = struct.Struct('<QQQII')   # first and last time, size, checksum, length of the name
_MESSAGE_HEAD = struct.Struct('<HIQQ')  # channel, sequence, log and publish time
_BROKEN = (ReaderError, RuntimeError, ValueError, struct.error, EOFError, OSError)


@dataclass(frozen=True)
class Channel:
    """A topic of a file: its type as pkg/msg/Name, and the text that defines the type."""

    topic: str
    kind: str
    definition: str


Note = Callable[[Channel, bytes], None]


@dataclass(frozen=True)
class Messages:
    """The messages of a topic in the order of the file, a column each.

    `stamps`: ns, of the header. `logged`: ns, when each was received. `sequence`: the writer's
    number. `chunks`: where its compressed chunk begins, -1 where there is none; `offsets`: where
    the message begins, in that chunk once decompressed, else in the file; `lengths`: bytes.
    """

    stamps: NDArray[np.int64]
    logged: NDArray[np.int64]
    sequence: NDArray[np.int64]
    chunks: NDArray[np.int64]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stamps)


_COLUMNS = fields(Messages)
_last = local()     # the chunk that each thread has decompressed last: both images of a pair


class McapFile:
    """The index of a file, in memory; the messages are read when they are asked for.

    `size`: bytes there are. `whole`: whether the file has its end. `cut`: '' or what is missing;
    `left_out`: bytes from there on, which hold `chunks_left_out` chunks that were begun: 0 or 1.
    `first_topics`: topics with messages, in the order of the first ones.
    """

    def __init__(self, path: Path, note: Note | None = None, *, until: Collection[str] = ()
                 ) -> None:
        """Walk the file.

        :param note: is given the channel and the first bytes (up to HEAD) of every message.
        :param until: go no farther than the first chunk with messages of one of these types.
        :raises LayoutError: if the file can't be read, or is no MCAP file.
        """
        self.path = path
        self.channels: dict[int, Channel] = {}
        self.cut, self.left_out, self.chunks_left_out = '', 0, 0
        self._schemas: dict[int, tuple[str, str]] = {}
        self._rows: dict[str, array[int]] = {}
        self._note, self._until = note, until
        self._file: int | None = None       # open while walking only
        self._key = object()                # of this file's chunks in _last
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self.size = os.fstat(self._file).st_size
            if os.pread(self._file, len(MAGIC), 0) != MAGIC:
                raise LayoutError(path, 'this is no MCAP file' if self.size else 'the file is '
                                  'empty: nothing of this segment has reached the disk')
            self.whole = self.size > 37 and self._at(self.size - len(MAGIC), len(MAGIC)) == MAGIC
            self._walk(len(MAGIC))
        except OSError as error:
            raise LayoutError(path, f"can't be read: {error.strerror}") from error
        finally:
            self._close()
        self.first_topics = tuple(t for t, rows in self._rows.items() if len(rows))
        self._columns = {topic: np.array(rows, np.int64).reshape(-1, len(_COLUMNS)).T.copy()
                         for topic, rows in self._rows.items()}
        self._rows.clear()

    @property
    def kinds(self) -> dict[str, str]:
        """Topic -> type."""
        return {c.topic: c.kind for c in self.channels.values()}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Topic -> number of its messages."""
        return {t: len(self.messages(t)) for t in self.kinds}

    def messages(self, topic: str) -> Messages:
        """Return the index of a topic; empty where it is not in the file."""
        return Messages(*self._columns.get(topic, np.empty((len(_COLUMNS), 0), np.int64)))

    def read(self, messages: Messages, at: int) -> bytes:
        """Return the bytes of message `at`: the CDR with its encapsulation.

        :raises LayoutError: if they are not there any more.
        """
        offset, length = int(messages.offsets[at]), int(messages.lengths[at])
        chunk = int(messages.chunks[at])
        try:
            if chunk < 0:
                return self._at(offset, length)
            if getattr(_last, 'key', None) != (self._key, chunk):
                head, name, start, size = self._chunk_head(chunk)
                _last.chunk = decompress(self._at(start, size), name, head[2], head[3])
                _last.key = self._key, chunk
        except _BROKEN as error:
            raise LayoutError(self.path, f"can't be read any more: {error}", at + 1) from error
        unpacked: bytes = _last.chunk
        return unpacked[offset:offset + length]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, '_key': None, '_note': None}   # what was noted stays here

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _key=object())

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _at(self, offset: int, size: int) -> bytes:
        """Return bytes of the file, which is opened for that: there may be thousands.

        :raises EOFError: if it has less.
        """
        if self._file is not None:
            return _read(self._file, offset, size)
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # the recorder was only not done yet when this was opened: no byte has changed since
            self.path = moved(self.path.parent) / self.path.name
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read(file, offset, size)
        finally:
            os.close(file)

    def _walk(self, at: int) -> None:
        """Go through the records from `at` on, as far as they are good."""
        while True:
            begun = False
            try:
                opcode, length = _RECORD.unpack(self._at(at, _RECORD.size))
                begun = opcode == _CHUNK
                if opcode not in _KNOWN and opcode < 0x80:
                    raise ValueError(f'no record begins with {opcode:#04x}')
                if at + _RECORD.size + length > self.size:
                    raise EOFError('a record is there in part')
                if opcode == _CHUNK:
                    self._take_chunk(at)
                elif opcode in (_SCHEMA, _CHANNEL):
                    self._define(opcode, self._at(at + 9, length))
                elif opcode == _MESSAGE:
                    head = self._at(at + 9, min(length, 22 + HEAD))
                    self._take(head, length, -1, at + 9 + 22)
                elif opcode == _FOOTER:
                    return
                if self._until and any(
                        self._rows[c.topic] for c in self.channels.values()
                        if c.kind in self._until):
                    break
            except _BROKEN as error:
                self.whole, self.left_out = False, self.size - at
                self.chunks_left_out = int(begun)
                self.cut = f'cut off at {at} bytes' + (
                    '' if isinstance(error, EOFError) else f': {error}')
                return
            at += _RECORD.size + length

    def _chunk_head(self, at: int) -> tuple[tuple[int, ...], str, int, int]:
        """Return a chunk's numbers, its compression, and where its content lies."""
        head = _CHUNK_HEAD.unpack(self._at(at + 9, _CHUNK_HEAD.size))
        start = at + 9 + _CHUNK_HEAD.size + head[4] + 8
        name = self._at(at + 9 + _CHUNK_HEAD.size, head[4] + 8)
        return head, name[:-8].decode(), start, int.from_bytes(name[-8:], 'little')

    def _take_chunk(self, at: int) -> None:
        head, name, start, size = self._chunk_head(at)
        if start + size > self.size:
            raise EOFError('a chunk is there in part')
        if name or not self.whole:
            data = decompress(self._at(start, size), name, head[2], head[3])
            found = list(self._records(lambda a, n: data[a:a + n], 0, len(data)))
        else:
            found = list(self._records(self._at, start, start + size))
        for opcode, length, body, content in found:
            if opcode == _MESSAGE:
                self._take(content, length, at if name else -1,
                           body + 22 + (0 if name or self.whole else start))
            else:
                self._define(opcode, content)

    def _records(self, read: Callable[[int, int], bytes], at: int, end: int,
                 ) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield (opcode, length, where its content begins, content) of a chunk's records; of
        messages the content is the first bytes.
        """
        while at < end:
            opcode, length = _RECORD.unpack(read(at, _RECORD.size))
            if at + _RECORD.size + length > end:
                raise ValueError('a record goes beyond its chunk')
            if opcode in (_MESSAGE, _SCHEMA, _CHANNEL):
                most = 22 + HEAD if opcode == _MESSAGE else length
                yield opcode, length, at + 9, read(at + 9, min(length, most))
            at += _RECORD.size + length

    def _define(self, opcode: int, content: bytes) -> None:
        number, = struct.unpack_from('<H', content)
        if opcode == _SCHEMA:
            name, at = _text(content, 2)
            _, at = _text(content, at)
            self._schemas[number] = name, _text(content, at)[0]
            return
        schema, = struct.unpack_from('<H', content, 2)
        topic, _ = _text(content, 4)
        kind, definition = self._schemas.get(schema, ('', ''))
        self.channels[number] = Channel(topic, kind, definition)
        self._rows.setdefault(topic, array('q'))

    def _take(self, head: bytes, length: int, chunk: int, offset: int) -> None:
        number, sequence, logged, _ = _MESSAGE_HEAD.unpack_from(head)
        if number not in self.channels:
            raise ValueError(f'a message of channel {number}, which was not announced')
        topic = self.channels[number].topic
        rows = self._rows[topic]
        if not rows:    # in the order of the first messages
            self._rows[topic] = self._rows.pop(topic)
        rows.extend((_stamp(head, logged), logged, sequence, chunk, offset, length - 22))
        if self._note is not None:
            self._note(self.channels[number], head[22:])


def _read(file: int, offset: int, size: int) -> bytes:
    data = os.pread(file, size, offset)
    while len(data) < size:
        if not (more := os.pread(file, size - len(data), offset + len(data))):
            raise EOFError(f'the file ends at {offset + len(data)} bytes')
        data += more
    return data


def _stamp(head: bytes, logged: int) -> int:
    """Return the stamp of a message that begins with a header; other messages' is never used."""
    if len(head) < 34:
        return logged
    seconds, nanoseconds = struct.unpack_from('>iI' if head[23] == 0 else '<iI', head, 26)
    return int(seconds) * 10**9 + int(nanoseconds)


def _text(content: bytes, at: int) -> tuple[str, int]:
    """Return the text at `at`, and where it ends."""
    length, = struct.unpack_from('<I', content, at)
    return content[at + 4:at + 4 + length].decode(), at + 4 + length
