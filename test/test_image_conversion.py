"""Image messages to numpy: every encoding, padding, byte order; and why a message is refused."""
from __future__ import annotations

from array import array
from typing import Any

import cv2
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from rgbt_tracker_ros.nodes.camera_messages import compressed_message, image_message
from rgbt_tracker_ros.nodes.image_conversion import (
    ACCEPTED,
    ImageError,
    check,
    to_rgb,
    to_thermal,
)

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (6, 8, 3), np.uint8)
GRAY = RNG.integers(0, 256, (6, 8), np.uint8)
FLAT = np.full((6, 8, 3), (200, 100, 50), np.uint8)     # survives mosaics and subsampling


def message(pixels: Any, encoding: str, padding: int = 0, big: bool = False) -> Image:
    """Return `pixels` (H, W) or (H, W, C) as a message with `padding` bytes after each row."""
    pixels = np.atleast_3d(np.asarray(pixels))
    ordered = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = [row.tobytes() + b'\xee' * padding for row in ordered]
    return Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
                 is_bigendian=int(big), step=len(rows[0]), data=array('B', b''.join(rows)))


def bayer(pattern: str) -> Any:
    """Return the mosaic of FLAT whose first two rows begin with `pattern`, as in rggb."""
    value = dict(zip('rgb', (200, 100, 50), strict=True))
    cell = np.array([value[c] for c in pattern], np.uint8).reshape(2, 2)
    return np.tile(cell, (3, 4))


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(('encoding', 'pixels', 'expected'), [
    ('rgb8', COLORS, COLORS),
    ('bgr8', COLORS[..., ::-1], COLORS),
    ('8UC3', COLORS[..., ::-1], COLORS),
    ('rgba8', np.dstack([COLORS, GRAY]), COLORS),
    ('bgra8', np.dstack([COLORS[..., ::-1], GRAY]), COLORS),
    ('8UC4', np.dstack([COLORS[..., ::-1], GRAY]), COLORS),
    ('mono8', GRAY, np.dstack([GRAY] * 3)),
    ('8UC1', GRAY, np.dstack([GRAY] * 3)),
    *((f'bayer_{p}8', bayer(p), FLAT) for p in ('rggb', 'bggr', 'gbrg', 'grbg')),
])
def test_rgb(encoding: str, pixels: Any, expected: Any, padding: int) -> None:
    out = to_rgb(message(pixels, encoding, padding))
    assert out.dtype == np.uint8 and out.flags.c_contiguous
    np.testing.assert_array_equal(out[1:-1, 1:-1], expected[1:-1, 1:-1])


@pytest.mark.parametrize(('encoding', 'order'), [
    ('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('yuyv', 'yuyv')])
def test_yuv(encoding: str, order: str) -> None:
    planes = cv2.cvtColor(FLAT, cv2.COLOR_RGB2YUV_I420).ravel()
    y, u, v = planes[0], planes[48], planes[-1]
    pair = [{'y': y, 'u': u, 'v': v}[c] for c in order]
    pixels = np.tile(np.array(pair, np.uint8).reshape(1, 2, 2), (6, 4, 1))
    assert np.abs(to_rgb(message(pixels, encoding)).astype(int) - FLAT).max() < 5


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize(('encoding', 'dtype'), [
    ('mono8', 'u1'), ('8UC1', 'u1'), ('mono16', 'u2'), ('16UC1', 'u2'), ('32FC1', 'f4')])
def test_thermal(encoding: str, dtype: str, padding: int, big: bool) -> None:
    pixels = (RNG.random((6, 8)) * 250).astype(dtype) * np.asarray(1 if dtype == 'u1' else 100,
                                                                   dtype)
    out = to_thermal(message(pixels, encoding, padding, big))
    assert out.dtype == np.dtype(dtype) and out.dtype.isnative and out.flags.c_contiguous
    np.testing.assert_array_equal(out, pixels)


def test_thermal_in_false_colours() -> None:
    np.testing.assert_array_equal(to_thermal(message(COLORS[..., ::-1], 'bgr8')), COLORS)


def test_plain_images_are_not_copied() -> None:
    for convert, msg in ((to_rgb, message(COLORS, 'rgb8')), (to_thermal, message(GRAY, 'mono8'))):
        assert np.shares_memory(convert(msg), np.frombuffer(msg.data, np.uint8))


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 9), st.booleans(),
       st.sampled_from(['u1', 'u2', 'f4']))
def test_any_size_padding_and_byte_order(height: int, width: int, padding: int, big: bool,
                                         dtype: str) -> None:
    pixels = np.arange(height * width).reshape(height, width).astype(dtype)
    encoding = {'u1': 'mono8', 'u2': 'mono16', 'f4': '32FC1'}[dtype]
    np.testing.assert_array_equal(to_thermal(message(pixels, encoding, padding, big)), pixels)


@pytest.mark.parametrize('frame', [COLORS, GRAY, GRAY.astype(np.uint16) * 200,
                                   GRAY.astype(np.float32)])
def test_what_the_player_sends_is_read(frame: Any) -> None:
    convert = to_rgb if frame.ndim == 3 else to_thermal
    np.testing.assert_array_equal(convert(image_message(frame)), frame)


def test_compressed() -> None:
    smooth = cv2.resize(FLAT, (64, 48))
    assert np.abs(to_rgb(compressed_message(smooth, 95)).astype(int) - smooth).max() < 8
    sixteen = GRAY.astype(np.uint16) * 200
    np.testing.assert_array_equal(to_thermal(compressed_message(sixteen)), sixteen)
    _, png = cv2.imencode('.png', COLORS[..., ::-1])
    msg = CompressedImage(format='png', data=array('B', png.tobytes()))
    np.testing.assert_array_equal(to_rgb(msg), COLORS)
    np.testing.assert_array_equal(to_thermal(msg), COLORS)


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_a_mosaic_that_was_compressed_as_it_is(pattern: str) -> None:
    """As image_transport does: colours, not the pattern in grey."""
    for kind, close in (('.png', 0), ('.jpg', 12)):
        _, data = cv2.imencode(kind, bayer(pattern), [cv2.IMWRITE_JPEG_QUALITY, 100])
        msg = CompressedImage(format=f'bayer_{pattern}8; {kind[1:]} compressed ',
                              data=array('B', data.tobytes()))
        out = to_rgb(msg).astype(int)
        assert np.abs(out[1:-1, 1:-1] - FLAT[1:-1, 1:-1]).max() <= close


def test_a_mosaic_that_was_debayered_before_it_was_compressed() -> None:
    _, png = cv2.imencode('.png', COLORS[..., ::-1])
    msg = CompressedImage(format='bayer_rggb8; png compressed bgr8',
                          data=array('B', png.tobytes()))
    np.testing.assert_array_equal(to_rgb(msg), COLORS)


def test_a_mosaic_of_16_bits_is_refused() -> None:
    for encoding in ('bayer_rggb16', 'bayer_rggb8'):
        _, png = cv2.imencode('.png', GRAY.astype(np.uint16) * 200)
        msg = CompressedImage(format=f'{encoding}; png compressed ',
                              data=array('B', png.tobytes()))
        with pytest.raises(ImageError, match=f'compressed {encoding} of uint16'):
            to_rgb(msg)


@pytest.mark.parametrize('encoding', ['mono16', '16UC1', '16SC1'])
def test_thermal_of_16_bits_over_jpeg_is_refused(encoding: str) -> None:
    """OpenCV cuts its values off at 255: a picture all white, and always the same."""
    _, jpeg = cv2.imencode('.jpg', GRAY)
    msg = CompressedImage(format=f'{encoding}; jpeg compressed ',
                          data=array('B', jpeg.tobytes()))
    for read in (to_thermal, lambda m: check(m, 'thermal')):
        with pytest.raises(ImageError, match="do not survive JPEG; set the publisher's format to"):
            read(msg)
    msg.format = 'mono8; jpeg compressed '
    assert to_thermal(msg).shape == GRAY.shape
    _, png = cv2.imencode('.png', GRAY.astype(np.uint16) * 200)
    msg = CompressedImage(format=f'{encoding}; png compressed ', data=array('B', png.tobytes()))
    assert to_thermal(msg).dtype == np.uint16


@pytest.mark.parametrize(('fields', 'reason'), [
    ({'encoding': 'rgb9'}, "encoding 'rgb9' can not be used as rgb; use one of rgb8, bgr8"),
    ({'encoding': '32FC1'}, "encoding '32FC1' can not be used as rgb"),
    ({'height': 0}, 'empty image: 8x0 pixels'),
    ({'width': 0}, 'empty image: 0x6 pixels'),
    ({'step': 23}, 'step is 23; a row of 8 rgb8 pixels takes 24 bytes'),
    ({'step': 25}, 'data holds 144 bytes; 6 rows of step 25 take 150'),
    ({'height': 7}, 'data holds 144 bytes; 7 rows of step 24 take 168'),
    ({'data': array('B')}, 'data holds 0 bytes'),
    ({'encoding': 'yuv422', 'width': 7}, '7x6 pixels of yuv422 do not convert'),
])
def test_refused(fields: dict[str, Any], reason: str) -> None:
    msg = message(COLORS, 'rgb8')
    for name, value in fields.items():
        setattr(msg, name, value)
    with pytest.raises(ImageError) as error:
        to_rgb(msg)
    assert reason in str(error.value)


@pytest.mark.parametrize(('msg', 'reason'), [
    (CompressedImage(format='jpeg'), "empty compressed image (format 'jpeg')"),
    (CompressedImage(format='jpeg', data=array('B', b'junk')), 'do not decode'),
    (CompressedImage(format='16UC1; compressedDepth png', data=array('B', b'junk')),
     'is not supported'),
])
def test_refused_compressed(msg: CompressedImage, reason: str) -> None:
    for convert in (to_rgb, to_thermal):
        with pytest.raises(ImageError, match=r'.') as error:
            convert(msg)
        assert reason in str(error.value)


@pytest.mark.parametrize('stream', ['rgb', 'thermal'])
def test_check_knows_what_is_accepted(stream: str) -> None:
    assert 'rgb8' in ACCEPTED[stream] and 'mono8' in ACCEPTED[stream]
    assert ('32FC1' in ACCEPTED[stream]) == (stream == 'thermal')
    for encoding in ('', 'rgb16', 'nv12'):
        with pytest.raises(ImageError):
            check(message(COLORS, encoding), stream)
