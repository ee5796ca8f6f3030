"""An MCAP file of ROS 2 messages, written chunk by chunk without copying them.

mcap.writer.Writer copies a message four times on its way; at 100 MB/s of images that is half of
one core. Here a chunk stays a list of the buffers that came, and goes to disk in one call. All
other records are made by `mcap.records`. Format: https://mcap.dev/spec
"""
from __future__ import annotations

from collections.abc import Callable
import struct
from typing import Any
import zlib

import lz4.frame  # type: ignore[import-untyped]
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
import zstandard

from rgbt_tracker_ros import __version__
from rgbt_tracker_ros.recording.definitions import Definition
from rgbt_tracker_ros.recording.reserved_file import Buffer, ReservedFile

MAGIC = b'\x89MCAP0\r\n'
LIBRARY = f'rgbt_tracker_ros {__version__}'
_MESSAGE = struct.Struct('<BQHIQQ')     # opcode, length, channel, sequence, log and publish time
_CHUNK = struct.Struct('<BQQQQI')       # opcode, length, first and last time, size, checksum


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)


COMPRESSION: dict[str, Callable[[bytes], bytes] | None] = {
    'none': None, 'lz4': lz4.frame.compress, 'zstd': _zstd}


class McapFile:
    """Writes the head at once; `finish` writes the summary. What is between is in chunks."""

    def __init__(self, stream: ReservedFile, chunk_bytes: int, compression: str = 'none') -> None:
        """Begin the file.

        :param chunk_bytes: a chunk that has grown to this is written. :param compression: of the
            chunks, one of COMPRESSION.
        """
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._name = '' if compression == 'none' else compression
        self._compress = COMPRESSION[compression]
        self._schemas: dict[str, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._indexes: list[ChunkIndex] = []
        self._metadata: list[MetadataIndex] = []
        self.counts: dict[int, int] = {}
        self.first_time, self.last_time = 2**64 - 1, 0
        self._buffers: list[Buffer] = []
        self._index: dict[int, list[tuple[int, int]]] = {}
        self._size, self._first, self._last = 0, 2**64 - 1, 0
        stream.write([MAGIC, record(Header('ros2', LIBRARY))])

    def add_topic(self, topic: str, definition: Definition, qos: str) -> int:
        """Announce a topic and return its channel; `qos`: the publishers' profiles, as YAML."""
        self.flush()    # what is outside chunks comes in the order of writing
        head = []
        schema = self._schemas.get(definition.name)
        if schema is None:
            schema = Schema(len(self._schemas) + 1, definition.text.encode(), 'ros2msg',
                            definition.name)
            self._schemas[definition.name] = schema
            head.append(record(schema))
        channel = Channel(len(self._channels) + 1, topic, 'cdr', {
            'offered_qos_profiles': qos, 'topic_type_hash': definition.digest}, schema.id)
        self._channels[channel.id] = channel
        self.counts[channel.id] = 0
        self._stream.write([*head, record(channel)])
        return channel.id

    def add(self, channel: int, sequence: int, log_time: int, publish_time: int,
            data: Buffer) -> None:
        """Append a message; `data` must not change any more. Times in ns."""
        head = _MESSAGE.pack(Opcode.MESSAGE, 22 + len(data), channel, sequence, log_time,
                             publish_time)
        self._index.setdefault(channel, []).append((log_time, self._size))
        self._buffers += (head, data)
        self._size += len(head) + len(data)
        self._first, self._last = min(self._first, log_time), max(self._last, log_time)
        self.counts[channel] += 1

    @property
    def pending(self) -> int:
        """Bytes that are not with the operating system yet."""
        return self._size

    @property
    def is_due(self) -> bool:
        """Whether the chunk has its size; it is for the caller to say where it may end."""
        return self._size >= self._chunk_bytes

    def flush(self) -> None:
        """Write the chunk, if there is something in it."""
        if not self._size:
            return
        checksum = 0
        for buffer in self._buffers:
            checksum = zlib.crc32(buffer, checksum)
        buffers = self._buffers
        if self._compress is not None:
            buffers = [self._compress(b''.join(buffers))]
        name, size = self._name.encode(), sum(map(len, buffers))
        tail = struct.pack('<I', len(name)) + name + struct.pack('<Q', size)
        head = _CHUNK.pack(Opcode.CHUNK, _CHUNK.size - 9 + len(tail) + size, self._first,
                           self._last, self._size, checksum) + tail
        start, length = self._stream.position, len(head) + size
        offsets, indexes, at = {}, [], start + length
        for channel, entries in self._index.items():
            offsets[channel] = at
            indexes.append(record(MessageIndex(channel, entries)))
            at += len(indexes[-1])
        self._stream.write([head, *buffers, *indexes])
        self._indexes.append(ChunkIndex(
            chunk_length=length, chunk_start_offset=start, compression=self._name,
            compressed_size=size, message_end_time=self._last, message_start_time=self._first,
            message_index_length=at - start - length, message_index_offsets=offsets,
            uncompressed_size=self._size))
        self.first_time = min(self.first_time, self._first)
        self.last_time = max(self.last_time, self._last)
        self._begin_chunk()

    def add_metadata(self, name: str, values: dict[str, str]) -> None:
        """Write a metadata record, after all messages so far."""
        self.flush()
        data = record(Metadata(name=name, metadata=values))
        self._metadata.append(MetadataIndex(self._stream.position, len(data), name))
        self._stream.write([data])

    def finish(self) -> None:
        """Write the last chunk and the summary; the stream stays open."""
        self.flush()
        total = sum(self.counts.values())
        statistics = Statistics(
            attachment_count=0, channel_count=len(self._channels),
            channel_message_counts=dict(self.counts), chunk_count=len(self._indexes),
            message_count=total, metadata_count=len(self._metadata),
            message_start_time=self.first_time if total else 0, message_end_time=self.last_time,
            schema_count=len(self._schemas))
        groups: list[tuple[Opcode, list[Any]]] = [
            (Opcode.SCHEMA, [*self._schemas.values()]),
            (Opcode.CHANNEL, [*self._channels.values()]), (Opcode.STATISTICS, [statistics]),
            (Opcode.CHUNK_INDEX, self._indexes), (Opcode.METADATA_INDEX, self._metadata)]
        self._stream.write([record(DataEnd(0))])
        start = at = self._stream.position
        summary, offsets = b'', b''
        for opcode, records in groups:
            data = b''.join(map(record, records))
            if data:
                offsets += record(SummaryOffset(opcode, at, len(data)))
            summary += data
            at += len(data)
        summary += offsets
        # the checksum covers the footer up to itself
        checksum = zlib.crc32(struct.pack('<BQQQ', Opcode.FOOTER, 20, start, at),
                              zlib.crc32(summary))
        self._stream.write([summary, record(Footer(
            summary_start=start, summary_offset_start=at, summary_crc=checksum)), MAGIC])

    def _begin_chunk(self) -> None:
        self._buffers, self._index = [], {}
        self._size, self._first, self._last = 0, 2**64 - 1, 0


def record(made: McapRecord) -> bytes:
    """Return a record as bytes."""
    builder = RecordBuilder()
    made.write(builder)
    return bytes(builder.end())  # type: ignore[no-untyped-call]
