"""Segments as the recorder leaves them, written here by the `mcap` library."""
from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

from bag_kit import IMAGE, MS, TRACK, Factory
from layouts_kit import rgb_image, thermal_image
from mcap.writer import CompressionType, Writer
import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

MSG = Path(__file__).resolve().parents[1] / 'msg'
RGB, THERMAL = '/camera/color/image_raw', '/boson/image_raw'
TRACKS = '/rgbt_tracker/track'
START = 1_700_000_000 * 10**9
FRAMES = 6


def stamp(index: int) -> int:
    return START + index * 50 * MS


class Images:
    """The messages of pair `index`, serialised."""

    def __init__(self) -> None:
        self.make = Factory('mcap')
        self.store = get_typestore(Stores.ROS2_JAZZY)
        for path in MSG.glob('*.msg'):
            self.store.register(get_types_from_msg(path.read_text(),
                                                   f'rgbt_tracker_ros/msg/{path.stem}'))

    def rgb(self, index: int, number: int | None = None) -> bytes:
        shown = rgb_image(index if number is None else number)
        return self._raw(self.make.image(shown, 'rgb8', stamp(index), 5))

    def thermal(self, index: int, late: int = 3 * MS, *, number: int | None = None,
                size: tuple[int, int] | None = None) -> bytes:
        shown = np.zeros(size[::-1], np.uint16) if size else thermal_image(
            index if number is None else number, np.uint16)
        return self._raw(self.make.image(shown, 'mono16', stamp(index) + late))

    def track(self, index: int, at: int) -> bytes:
        store = self.store
        box = store.types['rgbt_tracker_ros/msg/Box'](float(index), 5.0, 10.0, 8.0)
        message = store.types[TRACK](
            header=self.make.header(at), target_id='t1', state=2, box=box, confidence=0.5,
            weight_rgb=0.5, weight_thermal=0.5, pair_skew=0.0, age=0.0, network_time=0.0)
        return bytes(store.serialize_cdr(message, TRACK))

    def _raw(self, message: Any) -> bytes:
        return bytes(self.store.serialize_cdr(message, IMAGE))


def segment(root: Path, number: int = 0, *, pairs: int = FRAMES, first: int = 0,
            compression: str = 'none', open_: bool = False, name: str = 'walk',
            topics: tuple[str, str] = (RGB, THERMAL), tracks: bool = False,
            chunk_pairs: int = 1, rgb: Callable[[int], bytes] | None = None,
            thermal: Callable[[int], bytes] | None = None, pairs_told: int | None = None,
            **manifest: Any) -> Path:
    """Write a segment of pairs `first`, `first` + 1 ...; `open_`: as a killed recorder leaves it.

    `chunk_pairs`: pairs in a chunk. `manifest` overwrites keys of manifest.json, `pairs_told` its
    number of pairs.
    """
    made = Images()
    folder = root / (f'{name}_{number:04d}' + ('.partial' if open_ else ''))
    folder.mkdir(parents=True)
    file = f'{name}_{number:04d}_0.mcap'
    with (folder / file).open('wb') as stream:
        writer = Writer(stream, chunk_size=2**30, compression=getattr(
            CompressionType, compression.upper()))
        writer.start(profile='ros2', library='test')
        channels = []
        for topic in topics:
            text, _ = made.store.generate_msgdef(IMAGE, ros_version=2)
            channels.append(writer.register_channel(topic, 'cdr', writer.register_schema(
                IMAGE, 'ros2msg', text.encode())))
        if tracks:
            channels.append(writer.register_channel(TRACKS, 'cdr', writer.register_schema(
                TRACK, 'ros2msg', made.store.generate_msgdef(TRACK, ros_version=2)[0].encode())))
        for n in range(pairs):
            i = first + n
            got = stamp(i) + 20 * MS
            writer.add_message(channels[0], got, (rgb or made.rgb)(i), got, n)
            writer.add_message(channels[1], got - MS, (thermal or made.thermal)(i), got, n)
            if tracks:
                at = stamp(i) + (n == pairs - 1)    # the last is of an image that was left out
                writer.add_message(channels[2], got + MS, made.track(i, at), got, n)
            if (n + 1) % chunk_pairs == 0:
                writer.flush()
        if not open_:
            writer.finish()
    told = {'format': 1, 'state': 'open' if open_ else 'closed', 'pairs':
            0 if open_ else pairs if pairs_told is None else pairs_told,
            'recording': name, 'segment': number, 'file': file, 'compression': compression,
            'streams': {'rgb': {'topic': topics[0]}, 'thermal': {'topic': topics[1]}}, **manifest}
    (folder / 'manifest.json').write_text(json.dumps(told))
    return folder


def mcap_file(folder: Path) -> Path:
    found, = folder.glob('*.mcap')
    return found


def cut(folder: Path, size: int) -> Path:
    """Leave the first `size` bytes of a segment's file (less than 0: all but so many)."""
    file = mcap_file(folder)
    data = file.read_bytes()
    file.write_bytes(data[:size])
    return folder
