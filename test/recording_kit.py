"""What the tests of the recorder share: pairs as cameras send them, and two foreign readers."""
from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import time
from typing import Any

from bag_kit import COMPRESSED, IMAGE, TRACK, Factory
import mcap.exceptions
from mcap.reader import make_reader
from mcap.records import Channel, Message
from mcap.stream_reader import StreamReader
import numpy as np
from rosbags.rosbag2 import Reader

from rgbt_tracker_ros.recording.raw_images import parse
from rgbt_tracker_ros.recording.recorder import Recorder, RecorderSettings
from rgbt_tracker_ros.recording.segment import Received, RecordedPair, Source

MS, SECOND = 1_000_000, 1_000_000_000
START = 1_700_000_000 * SECOND
PERIOD = 33 * MS
INFO = 'sensor_msgs/msg/CameraInfo'
FACTORY = Factory('mcap')
TOPICS = {'rgb': Source('/rgb/image_raw', IMAGE), 'thermal': Source('/thermal/image_raw', IMAGE)}

Row = tuple[str, int, int, bytes]       # topic, sequence, log time, bytes


def serialized(message: Any, kind: str) -> bytes:
    """Return a message as it is on the wire."""
    return bytes(FACTORY.store.serialize_cdr(message, kind))


def picture(size: tuple[int, int], encoding: str, seed: int) -> np.ndarray:
    """Return random pixels (h, w[, 3]) of an encoding."""
    shape = (*size[::-1], 3) if encoding in ('bgr8', 'rgb8') else size[::-1]
    dtype = np.uint16 if encoding == 'mono16' else np.uint8
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape).astype(dtype)


def image(stamp: int, encoding: str = 'bgr8', size: tuple[int, int] = (64, 48), seed: int = 0,
          padding: int = 0) -> bytes:
    """Return a serialised Image."""
    made = FACTORY.image(picture(size, encoding, seed), encoding, stamp, padding)
    return serialized(made, IMAGE)


def compressed(stamp: int, suffix: str = 'png', seed: int = 0) -> bytes:
    """Return a serialised CompressedImage."""
    return serialized(FACTORY.compressed(picture((64, 48), 'mono8', seed), suffix, stamp),
                      COMPRESSED)


def pair(number: int = 0, *, stamp: int | None = None, skew: int = 2 * MS,
         received: int | None = None, size: tuple[int, int] = (64, 48), seed: int | None = None,
         ) -> RecordedPair:
    """Return pair `number` of a camera of 30 Hz; its pixels depend on `seed`."""
    stamp = START + number * PERIOD if stamp is None else stamp
    received = stamp + 20 * MS if received is None else received
    seed = number if seed is None else seed
    # the thermal image came first, as it often does
    made = [Received(TOPICS['rgb'], image(stamp, 'bgr8', size, seed), received, received - MS),
            Received(TOPICS['thermal'], image(stamp + skew, 'mono16', size, seed),
                     received - 5 * MS, received - 6 * MS)]
    first, second = (parse(m.data, IMAGE) for m in made)
    return RecordedPair(made[0], made[1], (first, second), stamp, skew)


def info(stamp: int, focal: float = 500.0, topic: str = '/rgb/camera_info') -> Received:
    """Return a serialised CameraInfo."""
    k = np.array([focal, 0, 32, 0, focal, 24, 0, 0, 1])
    roi = FACTORY['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    made = FACTORY[INFO](FACTORY.header(stamp), 48, 64, 'plumb_bob', np.zeros(5), k,
                         np.eye(3).ravel(), np.zeros(12), 0, 0, roi)
    return Received(Source(topic, INFO), serialized(made, INFO), stamp, stamp)


def track(stamp: int) -> Received:
    """Return bytes that stand for a Track: the recorder does not look into it."""
    return Received(Source('/rgbt_tracker/track', TRACK),
                    b'\0\1\0\0' + stamp.to_bytes(8, 'little') + bytes(60), stamp, stamp)


def settings(folder: Path, **changes: Any) -> RecorderSettings:
    """Return settings for small recordings."""
    return RecorderSettings(**{'directory': folder, 'recording': 'r', 'chunk_bytes': 65536,
                               **changes})


def record(made: RecorderSettings, *items: RecordedPair | Received | str) -> Recorder:
    """Record pairs, camera_info ('..._info' topics), tracks, and 'split'; return when it is done.

    A recorder that fails on the way takes no more.
    """
    recorder = Recorder(made)
    for item in items:
        if isinstance(item, RecordedPair):
            recorder.put_pair(item)
        elif item == 'split':
            recorder.split()
        else:
            assert isinstance(item, Received)
            if item.source.type == INFO:
                recorder.put_info(item.source.topic.split('/')[1], item)
            else:
                recorder.put_track(item)
        settle(recorder)
    assert recorder.stop()
    return recorder


def settle(recorder: Recorder) -> None:
    """Wait until all that was put has been handled."""
    end = time.monotonic() + 10
    while recorder._queue and not recorder.failure:
        assert time.monotonic() < end
        time.sleep(0.001)


def segments(folder: Path) -> list[str]:
    """Return the names of the segments."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir())


def manifest(folder: Path, name: str) -> dict[str, Any]:
    """Return a segment's manifest."""
    return dict(json.loads((folder / name / 'manifest.json').read_text()))


def mcap_of(segment: Path) -> Path:
    """Return the one MCAP file of a segment."""
    found, = segment.glob('*.mcap')
    return found


def by_mcap(segment: Path) -> list[Row]:
    """Read a whole segment by the `mcap` library, in the order of the file, checksums included."""
    with mcap_of(segment).open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        return [(c.topic, m.sequence, m.log_time, m.data)
                for _, c, m in reader.iter_messages(log_time_order=False)]


def by_rosbags(segment: Path) -> list[tuple[str, int, bytes]]:
    """Read a whole segment by `rosbags`, as a bag: (topic, time, bytes) by time."""
    with Reader(segment) as reader:
        return [(c.topic, time, bytes(data)) for c, time, data in reader.messages()]


def by_streaming(segment: Path) -> list[Row]:
    """Read what there is of a segment that was not finished."""
    channels: dict[int, Channel] = {}
    found: list[Row] = []
    if not list(segment.glob('*.mcap')):
        return found
    with mcap_of(segment).open('rb') as file:
        for record_ in _until_broken(StreamReader(file, validate_crcs=True)):
            if isinstance(record_, Channel):
                channels[record_.id] = record_
            elif isinstance(record_, Message):
                found.append((channels[record_.channel_id].topic, record_.sequence,
                              record_.log_time, record_.data))
    return found


def _until_broken(reader: StreamReader) -> Iterator[Any]:
    try:
        yield from reader.records
    except (mcap.exceptions.McapError, AssertionError):
        return
