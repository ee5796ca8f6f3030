"""Messages as camera drivers publish them: images, compressed images, calibrations."""
from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
import yaml

# (channels, dtype) of a frame -> its encoding
ENCODINGS = {(3, 'uint8'): 'rgb8', (1, 'uint8'): 'mono8', (1, 'uint16'): 'mono16',
             (1, 'float32'): '32FC1'}


def image_message(frame: NDArray[Any]) -> Image:
    """Return a frame, (H, W, 3) uint8 RGB or (H, W) uint8, uint16 or float32, as a message.

    :raises ValueError: for any other shape or type.
    """
    encoding = _encoding(frame)
    little = np.ascontiguousarray(frame, frame.dtype.newbyteorder('<'))
    data = array('B')  # other types are converted element by element, a thousand times slower
    data.frombytes(little.data.cast('B'))
    height, width = frame.shape[:2]
    return Image(height=height, width=width, encoding=encoding, step=little.strides[0], data=data)


def compressed_message(frame: NDArray[Any], quality: int = 90) -> CompressedImage:
    """Return a frame as JPEG of that quality (1 to 100), or as PNG where it has 16 bits.

    :raises ValueError: if it has another shape, or 32 bits.
    """
    encoding = _encoding(frame)
    if frame.dtype == np.float32:
        raise ValueError('32-bit images have no compressed form; publish them raw')
    kind, options = ('png', []) if frame.dtype == np.uint16 else (
        'jpeg', [cv2.IMWRITE_JPEG_QUALITY, quality])
    stored = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) if frame.ndim == 3 else frame
    ok, coded = cv2.imencode(f'.{kind}', stored, options)
    if not ok:
        raise ValueError(f'OpenCV could not make {kind} of a {frame.shape} {frame.dtype} image')
    data = array('B')
    data.frombytes(coded.data.cast('B'))
    pixels = 'bgr8' if frame.ndim == 3 else encoding
    return CompressedImage(format=f'{encoding}; {kind} compressed {pixels}', data=data)


def as_image(message: Any) -> Image | CompressedImage:
    """Return the image of a recording (ROS 1 or 2, any type with its fields), bytes untouched."""
    data = array('B')
    data.frombytes(np.ascontiguousarray(message.data, np.uint8).data)
    made: Image | CompressedImage
    if hasattr(message, 'encoding'):
        made = Image(height=message.height, width=message.width, encoding=message.encoding,
                     is_bigendian=int(message.is_bigendian), step=message.step, data=data)
    else:
        made = CompressedImage(format=message.format, data=data)
    made.header.frame_id = message.header.frame_id
    return made


def as_camera_info(message: Any) -> CameraInfo:
    """Return the calibration of a recording, of ROS 1 (`K`) or 2 (`k`)."""
    made = CameraInfo(height=message.height, width=message.width,
                      distortion_model=message.distortion_model,
                      binning_x=message.binning_x, binning_y=message.binning_y)
    made.header.frame_id = message.header.frame_id
    for name in 'dkrp':
        numbers = getattr(message, name if hasattr(message, name) else name.upper())
        setattr(made, name, [float(v) for v in numbers])
    for name in ('x_offset', 'y_offset', 'height', 'width', 'do_rectify'):
        setattr(made.roi, name, getattr(message.roi, name))
    return made


def read_camera_info(path: str | Path) -> CameraInfo:
    """Read a calibration as camera_calibration writes it (YAML).

    :raises ValueError: if it is no calibration; the text names what is missing.
    :raises OSError: if the file can't be read.
    """
    try:
        found = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
        return CameraInfo(
            width=int(found['image_width']), height=int(found['image_height']),
            distortion_model=str(found['distortion_model']),
            d=[float(v) for v in found['distortion_coefficients']['data']],
            k=_numbers(found, 'camera_matrix', 9), r=_numbers(found, 'rectification_matrix', 9),
            p=_numbers(found, 'projection_matrix', 12))
    except KeyError as error:
        raise ValueError(f'{path}: no {error} in this calibration') from error
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f'{path}: not a camera calibration: {error}') from error


def _numbers(found: dict[str, Any], name: str, length: int) -> NDArray[np.float64]:
    numbers = np.array(found[name]['data'], np.float64)
    if numbers.shape != (length,):
        raise ValueError(f'{name} has {numbers.size} numbers, it must have {length}')
    return numbers


def _encoding(frame: NDArray[Any]) -> str:
    channels = frame.shape[2] if frame.ndim == 3 else 1
    encoding = ENCODINGS.get((channels, frame.dtype.name))
    if encoding is None or frame.ndim not in (2, 3) or 0 in frame.shape:
        raise ValueError(f'no image encoding for a frame of shape {frame.shape}, {frame.dtype}; '
                         'it must be (H, W, 3) uint8, or (H, W) uint8, uint16 or float32')
    return encoding
