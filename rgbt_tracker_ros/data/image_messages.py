"""sensor_msgs Image and CompressedImage to numpy, without ROS: whoever read the message.

Messages may be rclpy's or those of `rosbags`: only their fields are looked at. Raw images are read
in place: row padding (`step`), byte order and odd sizes are the message's business, and no byte is
copied that need not be.
"""
from __future__ import annotations

from dataclasses import dataclass
import re
from typing import Any, Protocol, TypeGuard, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.types import Thermal

Array = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]


class RawImage(Protocol):
    """The fields of sensor_msgs/Image that are used."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImage(Protocol):
    """The fields of sensor_msgs/CompressedImage that are used."""

    format: str
    data: Any


class ImageError(ValueError):
    """A message that can't be read as an image; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the bytes of an encoding lie, and which cv2 conversion makes RGB of them, if any."""

    dtype: str
    channels: int
    to_rgb: int | None = None


GRAY = cv2.COLOR_GRAY2RGB
ENCODINGS = {
    'rgb8': Encoding('u1', 3),
    'bgr8': Encoding('u1', 3, cv2.COLOR_BGR2RGB),
    '8UC3': Encoding('u1', 3, cv2.COLOR_BGR2RGB),       # as OpenCV orders it
    'rgba8': Encoding('u1', 4, cv2.COLOR_RGBA2RGB),
    'bgra8': Encoding('u1', 4, cv2.COLOR_BGRA2RGB),
    '8UC4': Encoding('u1', 4, cv2.COLOR_BGRA2RGB),
    'mono8': Encoding('u1', 1, GRAY),
    '8UC1': Encoding('u1', 1, GRAY),
    'mono16': Encoding('u2', 1),
    '16UC1': Encoding('u2', 1),
    '32FC1': Encoding('f4', 1),
    # OpenCV names a Bayer pattern by its second row: ROS's rggb is OpenCV's BG.
    'bayer_rggb8': Encoding('u1', 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': Encoding('u1', 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': Encoding('u1', 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': Encoding('u1', 1, cv2.COLOR_BayerGB2RGB),
    'yuv422': Encoding('u1', 2, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': Encoding('u1', 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': Encoding('u1', 2, cv2.COLOR_YUV2RGB_YUYV),
    'yuyv': Encoding('u1', 2, cv2.COLOR_YUV2RGB_YUYV),
}
_WIDE = re.compile('(mono16|16[us]c1).*jpe?g', re.IGNORECASE)   # formats that say so
SINGLE_CHANNEL = ('mono8', '8UC1', 'mono16', '16UC1', '32FC1')
ACCEPTED = {
    'rgb': tuple(e for e, how in ENCODINGS.items() if how.dtype == 'u1'),
    'thermal': (*SINGLE_CHANNEL, 'rgb8', 'bgr8', '8UC3', 'rgba8', 'bgra8', '8UC4'),
}


def is_compressed(msg: RawImage | CompressedImage) -> TypeGuard[CompressedImage]:
    """Whether a message is a CompressedImage; isinstance of a protocol takes 100 times longer."""
    return not hasattr(msg, 'encoding')


def check(msg: RawImage | CompressedImage, stream: str) -> None:
    """Check, in microseconds and without touching the pixels, that `msg` can be converted.

    :param stream: 'rgb' or 'thermal'.
    :raises ImageError: unknown encoding, empty image, step or data length that do not match.
    """
    if is_compressed(msg):
        if not len(msg.data):
            raise ImageError(f'empty compressed image (format {msg.format!r})')
        if 'compresseddepth' in msg.format.lower():
            raise ImageError(f'format {msg.format!r} is not supported; use png for 16-bit images')
        # the values are cut off at 255: most thermal cameras' pictures are then all white
        if stream == 'thermal' and _WIDE.match(msg.format):
            raise ImageError(f'format {msg.format!r}: 16-bit images do not survive JPEG; set the '
                             "publisher's format to png")
        return
    msg = cast(RawImage, msg)
    how = ENCODINGS.get(msg.encoding)
    if how is None or msg.encoding not in ACCEPTED[stream]:
        raise ImageError(f'encoding {msg.encoding!r} can not be used as {stream}; '
                         f'use one of {", ".join(ACCEPTED[stream])}')
    if not msg.width or not msg.height:
        raise ImageError(f'empty image: {msg.width}x{msg.height} pixels')
    row = msg.width * how.channels * np.dtype(how.dtype).itemsize
    if msg.step < row:
        raise ImageError(f'step is {msg.step}; a row of {msg.width} {msg.encoding} pixels '
                         f'takes {row} bytes')
    if len(msg.data) != msg.step * msg.height:
        raise ImageError(f'data holds {len(msg.data)} bytes; {msg.height} rows of step {msg.step} '
                         f'take {msg.step * msg.height}')


def to_rgb(msg: RawImage | CompressedImage) -> NDArray[np.uint8]:
    """Return the image as (H, W, 3) uint8, red first; may share memory with `msg`.

    :raises ImageError: see `check`; also a compressed image that does not decode.
    """
    check(msg, 'rgb')
    if is_compressed(msg):
        encoding = msg.format.partition(';')[0].strip()     # of what was compressed, if it says so
        if encoding.startswith('bayer_'):
            mosaic = _decode(msg, cv2.IMREAD_UNCHANGED)
            if mosaic.ndim == 2:
                return _mosaic(mosaic, encoding)
        return _convert(_decode(msg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    raw = cast(RawImage, msg)
    return _colored(_pixels(raw), raw.encoding)


def to_thermal(msg: RawImage | CompressedImage) -> Thermal:
    """Return (H, W) uint8, uint16 or float32, or false colours as (H, W, 3) uint8, red first.

    :raises ImageError: see `check`; also a compressed image that does not decode.
    """
    check(msg, 'thermal')
    if is_compressed(msg):
        image = _decode(msg, cv2.IMREAD_UNCHANGED)
        if image.ndim == 2:
            return image
        if image.dtype != np.uint8:
            raise ImageError(f'compressed false colours decode to {image.dtype}; use 8 bits')
        return _convert(image, cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    raw = cast(RawImage, msg)
    pixels = _pixels(raw)
    return pixels if raw.encoding in SINGLE_CHANNEL else _colored(pixels, raw.encoding)


def _pixels(msg: RawImage) -> Array:
    """Return a checked message's pixels, (H, W) or (H, W, C), native byte order, contiguous."""
    how = ENCODINGS[msg.encoding]
    dtype = np.dtype(how.dtype).newbyteorder('>' if msg.is_bigendian else '<')
    size = how.channels * dtype.itemsize
    pixels: NDArray[np.generic] = np.ndarray(
        (msg.height, msg.width, how.channels), dtype, buffer=msg.data,
        strides=(msg.step, size, dtype.itemsize))
    if how.channels == 1:
        pixels = pixels[:, :, 0]
    # copies nothing that is contiguous and native already
    return cast(Array, np.ascontiguousarray(pixels, dtype.newbyteorder('=')))


def _mosaic(pixels: Array, encoding: str) -> NDArray[np.uint8]:
    """Take a Bayer mosaic that was compressed as it is, as image_transport does, to colours."""
    if encoding not in ENCODINGS or pixels.dtype != np.uint8:
        raise ImageError(f'compressed {encoding} of {pixels.dtype} can not be used as rgb; '
                         'compress debayered images, or an 8-bit mosaic')
    return _colored(pixels, encoding)


def _colored(pixels: Array, encoding: str) -> NDArray[np.uint8]:
    try:
        return _convert(pixels, ENCODINGS[encoding].to_rgb)
    except cv2.error as e:      # YUV of an odd width, Bayer of a single row
        raise ImageError(f'{pixels.shape[1]}x{pixels.shape[0]} pixels of {encoding} '
                         f'do not convert: {str(e).strip()}') from e


def _convert(pixels: Array, code: int | None) -> NDArray[np.uint8]:
    image: NDArray[Any] = pixels if code is None else cv2.cvtColor(pixels, code)
    return image.astype(np.uint8, copy=False)


def _decode(msg: CompressedImage, flags: int) -> Array:
    image: Array | None = cv2.imdecode(
        np.frombuffer(msg.data, np.uint8), flags)
    if image is None:
        raise ImageError(f'{len(msg.data)} bytes of format {msg.format!r} do not decode')
    return image
