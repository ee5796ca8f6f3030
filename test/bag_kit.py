"""Bags of every kind, written by the tests."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
from mcap.writer import CompressionType
from mcap.writer import Writer as PlainWriter
import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
TRACK = 'rgbt_tracker_ros/msg/Track'
TRACK_FIELDS = 'std_msgs/Header header\nrgbt_tracker_ros/Box box\n'
BOX_FIELDS = 'float64 x\nfloat64 y\nfloat64 w\nfloat64 h\n'
KINDS = ('mcap', 'mcap_zstd', 'mcap_message', 'mcap_file', 'mcap_plain', 'sqlite', 'ros1')
MS = 1_000_000

Message = tuple[str, str, int, Any]     # topic, type, time of recording, message


class Factory:
    """Makes messages for one kind of bag."""

    def __init__(self, kind: str) -> None:
        self.ros1 = kind == 'ros1'
        self.store = get_typestore(Stores.ROS1_NOETIC if self.ros1 else Stores.ROS2_JAZZY)
        for text, name in ((BOX_FIELDS, 'rgbt_tracker_ros/msg/Box'), (TRACK_FIELDS, TRACK)):
            self.store.register(get_types_from_msg(text, name))

    def __getitem__(self, name: str) -> Any:
        return self.store.types[name]

    def header(self, stamp: int) -> Any:
        time = self['builtin_interfaces/msg/Time'](stamp // 10**9, stamp % 10**9)
        extra = {'seq': 0} if self.ros1 else {}
        return self['std_msgs/msg/Header'](stamp=time, frame_id='camera', **extra)

    def image(self, pixels: np.ndarray, encoding: str, stamp: int, padding: int = 0) -> Any:
        row = pixels.reshape(len(pixels), -1).view(np.uint8)
        data = np.pad(row, ((0, 0), (0, padding)))
        return self[IMAGE](self.header(stamp), pixels.shape[0], pixels.shape[1], encoding, 0,
                           data.shape[1], data.ravel())

    def compressed(self, pixels: np.ndarray, suffix: str, stamp: int) -> Any:
        ok, data = cv2.imencode(f'.{suffix}', pixels if pixels.ndim == 2 else pixels[..., ::-1])
        assert ok
        return self[COMPRESSED](self.header(stamp), suffix, data.ravel())

    def track(self, box: tuple[float, ...], stamp: int) -> Any:
        return self[TRACK](self.header(stamp), self['rgbt_tracker_ros/msg/Box'](*box))


def write_bag(path: Path, kind: str, factory: Factory, messages: Iterable[Message]) -> Path:
    """Write a bag; returns its path, with a suffix where it is a file."""
    messages = sorted(messages, key=lambda m: m[2])
    if kind == 'mcap_plain':
        return _write_plain(path.with_suffix('.mcap'), factory, messages)
    if kind == 'ros1':
        path = path.with_suffix('.bag')
        writer: Any = Writer1(path)
        writer.set_compression(Writer1.CompressionFormat.LZ4)
    else:
        writer = Writer2(path, version=9, storage_plugin=StoragePlugin.SQLITE3
                         if kind == 'sqlite' else StoragePlugin.MCAP)
        mode = {'mcap_zstd': CompressionMode.STORAGE, 'mcap_message': CompressionMode.MESSAGE,
                'mcap_file': CompressionMode.FILE}.get(kind)
        if mode is not None:
            writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, type_, time, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_, typestore=factory.store)
            raw = (factory.store.serialize_ros1 if kind == 'ros1' else
                   factory.store.serialize_cdr)(message, type_)
            writer.write(connections[topic], time, raw)
    return path


def _write_plain(path: Path, factory: Factory, messages: list[Message]) -> Path:
    """Write an MCAP file without chunks or summary, as rosbag2's preset `fastwrite` does."""
    with path.open('wb') as file:
        writer = PlainWriter(file, use_chunking=False, compression=CompressionType.NONE,
                             use_statistics=False, use_summary_offsets=False)
        writer.start(profile='ros2', library='test')
        channels: dict[str, int] = {}
        for topic, type_, time, message in messages:
            if topic not in channels:
                text, _ = factory.store.generate_msgdef(type_, ros_version=2)
                schema = writer.register_schema(type_, 'ros2msg', text.encode())
                channels[topic] = writer.register_channel(topic, 'cdr', schema)
            raw = bytes(factory.store.serialize_cdr(message, type_))
            writer.add_message(channels[topic], time, raw, time)
        writer.finish()
    return path
