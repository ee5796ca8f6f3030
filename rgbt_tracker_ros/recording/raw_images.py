"""Look into serialised images (CDR) without deserialising them: stamps, formats, a few pixels."""
from __future__ import annotations

from dataclasses import dataclass
import struct
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.image_messages import ENCODINGS, ImageError, check
from rgbt_tracker_ros.recording.reserved_file import Buffer

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
STEP = 8        # every so many pixels and rows are looked at
_HEAD = 4       # encapsulation; alignment counts from its end


@dataclass(frozen=True, slots=True)
class RawImage:
    """The fields of an Image in its bytes; `data` is a part of them."""

    frame_id: str
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class RawCompressed:
    """The fields of a CompressedImage in its bytes."""

    frame_id: str
    format: str
    data: memoryview


def stamp_of(raw: Buffer) -> int:
    """Return the stamp (ns) of a serialised message that begins with a std_msgs/Header.

    :raises ImageError: if it is shorter than that.
    """
    if len(raw) < 12:
        raise ImageError(f'a message of {len(raw)} bytes, which is no message with a header')
    seconds, nanoseconds = struct.unpack_from(_order(raw) + 'iI', raw, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def parse(raw: Buffer, kind: str) -> RawImage | RawCompressed:
    """Return the fields of a serialised message of type IMAGE or COMPRESSED.

    :raises ImageError: if the bytes are not such a message.
    """
    try:
        order, view = _order(raw), memoryview(raw)
        frame_id, at = _string(view, 12, order)
        if kind == COMPRESSED:
            format_, at = _string(view, at, order)
            return RawCompressed(frame_id, format_, _bytes(view, at, order))
        at = _aligned(at)
        height, width = struct.unpack_from(order + 'II', view, at)
        encoding, at = _string(view, at + 8, order)
        is_bigendian = view[at]
        at = _aligned(at + 1)
        step, = struct.unpack_from(order + 'I', view, at)
        return RawImage(frame_id, height, width, encoding, is_bigendian, step,
                        _bytes(view, at + 4, order))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ImageError(f'the bytes of a message are no {kind}: {error}') from error


def require_image(image: RawImage | RawCompressed, stream: str) -> None:
    """Check that an image can be used as `stream`.

    :raises ImageError: see data.image_messages.check.
    """
    check(cast(Any, image), stream)     # frozen: its protocols' fields may be set


def sampled(image: RawImage | RawCompressed) -> NDArray[np.generic]:
    """Return every STEP-th pixel of every STEP-th row, in its own depth: (h, w) or (h, w, C).

    Of a compressed image: gray, an eighth of its size, decoded no further than that for JPEG.

    :raises ImageError: if it can't be decoded.
    """
    if isinstance(image, RawCompressed):
        found = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        if found is None:
            raise ImageError(f'a compressed image ({image.format!r}) that does not decode')
        return np.asarray(found)
    how = ENCODINGS[image.encoding]
    dtype = np.dtype(how.dtype).newbyteorder('>' if image.is_bigendian else '<')
    size = dtype.itemsize * how.channels
    # packed YUV and Bayer patterns repeat over two pixels; 8 is a multiple of that
    pixels: NDArray[np.generic] = np.ndarray(
        (-(-image.height // STEP), -(-image.width // STEP), how.channels), dtype, image.data, 0,
        (STEP * image.step, STEP * size, dtype.itemsize))
    return pixels


def _order(raw: Buffer) -> str:
    return '<' if raw[1] & 1 else '>'


def _aligned(at: int) -> int:
    return at + (_HEAD - at) % 4


def _string(view: memoryview, at: int, order: str) -> tuple[str, int]:
    """Return the string at `at`, and where it ends."""
    data = _bytes(view, _aligned(at), order)
    return bytes(data[:-1]).decode(), _aligned(at) + 4 + len(data)


def _bytes(view: memoryview, at: int, order: str) -> memoryview:
    at = _aligned(at)
    length, = struct.unpack_from(order + 'I', view, at)
    data = view[at + 4:at + 4 + length]
    if len(data) < length:
        raise IndexError(f'{length} bytes announced, {len(data)} are there')
    return data
