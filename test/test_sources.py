"""Videos, folders of images, and pairs of them."""
from __future__ import annotations

import logging
from pathlib import Path
import threading
import time

import cv2
import numpy as np
import pytest

from rgbt_tracker_ros.data.sources import PairSource, SourceError, open_source, prefetch

SIZE = (64, 48)             # width, height


def frame(index: int) -> np.ndarray:
    """Return an RGB picture that tells its number: its gray level is 10 times that."""
    image = np.full((SIZE[1], SIZE[0], 3), 10 * index, np.uint8)
    image[:, :8] = (200, 40, 90)
    return image


def number(image: np.ndarray) -> int:
    return round(float(image[:, 16:].mean()) / 10)


def write_video(path: Path, frames: int, fps: float = 25.0, gray: bool = False) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), fps, SIZE)
    assert writer.isOpened()
    for i in range(frames):
        image = frame(i)[..., ::-1]
        writer.write(np.dstack([image[..., 0]] * 3) if gray else np.ascontiguousarray(image))
    writer.release()
    return path


def write_folder(path: Path, names: list[str], images: list[np.ndarray] | None = None) -> Path:
    path.mkdir()
    for i, name in enumerate(names):
        image = images[i] if images else frame(i)[..., ::-1]
        assert cv2.imwrite(str(path / name), image)
    return path


# --- one source

@pytest.mark.parametrize('kind', ['video', 'folder'])
def test_frames_come_in_order_as_rgb_and_can_be_read_twice(kind, tmp_path):
    path = (write_video(tmp_path / 'a.avi', 12) if kind == 'video' else
            write_folder(tmp_path / 'a', [f'{i}.png' for i in range(12)]))
    source = open_source(str(path))
    assert source.path == path and len(source) == 12 and source.expected_length == 12
    assert source.fps == (25.0 if kind == 'video' else None)
    for _ in range(2):
        frames = list(source)
        assert [number(f) for f in frames] == list(range(12))
        assert all(f.shape == (48, 64, 3) and f.dtype == np.uint8 for f in frames)
        np.testing.assert_allclose(frames[5][24, 3], (200, 40, 90), atol=12)      # red first
    assert [number(f) for f in source.frames(9)] == [9, 10, 11]
    assert list(source.frames(40)) == []


@pytest.mark.parametrize('names', [
    ['1.png', '2.png', '10.png', '100.png'],
    ['i000001.jpg', 'i000002.jpg', 'i000010.jpg', 'i000011.jpg'],
    ['00001v.png', '00002v.png', '00010v.png', '00011v.png'],
    ['cam1_2.bmp', 'cam1_10.bmp', 'cam2_1.bmp'],
    ['a.TIF', 'b.tiff', 'c.JPEG']])
def test_a_folder_is_in_the_order_of_its_numbers(names, tmp_path):
    path = write_folder(tmp_path / 'seq', names)
    for other in ('groundtruth.txt', '.hidden1.png', '._i000001.jpg', 'notes.md'):
        (path / other).write_text('1,2,3,4')
    assert [number(f) for f in open_source(path)] == list(range(len(names)))


@pytest.mark.parametrize('suffix, dtype, expected', [
    ('.png', np.uint16, np.uint16), ('.tiff', np.uint16, np.uint16),
    ('.tiff', np.float32, np.float32), ('.tiff', np.float64, np.float32),
    ('.png', np.uint8, np.uint8), ('.bmp', np.uint8, np.uint8)])
def test_one_channel_images_keep_their_values(suffix, dtype, expected, tmp_path):
    top = 250 if dtype == np.uint8 else 65000
    image = np.random.default_rng(1).uniform(0, top, (48, 64)).astype(dtype)
    source = open_source(write_folder(tmp_path / 'seq', [f'1{suffix}'], [image]))
    got, = source
    assert got.dtype == expected
    np.testing.assert_array_equal(got, image.astype(expected))


def test_alpha_is_left_out_and_16_bit_colour_becomes_8_bit(tmp_path):
    alpha = np.dstack([frame(3)[..., ::-1], np.full((48, 64), 7, np.uint8)])
    deep = frame(3)[..., ::-1].astype(np.uint16) * 256 + 99
    for got in open_source(write_folder(tmp_path / 'a', ['1.png', '2.png'], [alpha, deep])):
        np.testing.assert_array_equal(got, frame(3))


@pytest.mark.parametrize('make, said', [
    (lambda d: d / 'nothing.mp4', 'no such file'),
    (lambda d: d, 'no images'),
    (lambda d: write_folder(d / 's', ['1.png']) / '1.png', 'a single image'),
    (lambda d: (d / 'text.mp4', (d / 'text.mp4').write_text('no video'))[0], 'not a video'),
    (lambda d: (d / 'empty.avi', (d / 'empty.avi').touch())[0], 'not a video')],
    ids=['missing', 'empty folder', 'an image', 'text', 'empty file'])
def test_what_is_no_source_is_refused_with_its_path(make, said, tmp_path):
    path = make(tmp_path)
    with pytest.raises(SourceError, match=said) as error:
        open_source(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('content', [b'', b'not an image'])
def test_an_image_that_does_not_decode_is_named_with_its_number(content, tmp_path):
    path = write_folder(tmp_path / 'seq', ['1.png', '2.png', '3.png'])
    (path / '2.png').write_bytes(content)
    frames = iter(open_source(path))
    next(frames)
    with pytest.raises(SourceError, match=r'2\.png: frame 1 '):
        next(frames)


def test_a_cut_off_video_counts_what_decodes_and_says_so(tmp_path, caplog):
    whole = write_video(tmp_path / 'whole.avi', 24).read_bytes()
    path = tmp_path / 'cut.avi'
    path.write_bytes(whole[:len(whole) // 2])
    source = open_source(path)
    expected = source.expected_length
    if expected == len(list(source)):
        pytest.skip('this OpenCV does not believe the header itself')
    with caplog.at_level(logging.WARNING):
        frames = len(list(open_source(path)))
        assert len(open_source(path)) == frames == source.expected_length
    assert 0 < frames < 24
    assert f'{frames} could be decoded' in caplog.text


# --- pairs

def test_pairs_carry_both_images_and_evenly_spaced_stamps(tmp_path):
    rgb = write_video(tmp_path / 'rgb.avi', 6)
    thermal = write_video(tmp_path / 'thermal.avi', 6, gray=True)
    source = PairSource(rgb, thermal, fps=30.0)
    pairs = list(source)
    assert len(pairs) == len(source) == source.expected_length == 6
    for i, pair in enumerate(pairs):
        assert number(pair.rgb) == i and pair.rgb.shape == (48, 64, 3)
        assert number(pair.thermal) == i and pair.thermal.shape == (48, 64)
        assert pair.stamp == int(i * 1e9 / 30) and pair.skew == 0
    later = list(source.pairs(4))
    assert [(number(p.rgb), p.stamp) for p in later] == [(i, pairs[i].stamp) for i in (4, 5)]


def test_false_colours_stay_three_channels(tmp_path):
    pair, = PairSource(None, write_folder(tmp_path / 't', ['1.png']))
    assert pair.rgb is None and pair.thermal.shape == (48, 64, 3)


def test_one_modality_is_enough_and_gray_rgb_gets_three_channels(tmp_path):
    gray = [np.full((48, 64), 10 * i, np.uint8) for i in range(3)]
    path = write_folder(tmp_path / 'gray', ['1.png', '2.png', '3.png'], gray)
    rgb, thermal = list(PairSource(path, None)), list(PairSource(None, open_source(path)))
    assert all(p.thermal is None and p.rgb.shape == (48, 64, 3) for p in rgb)
    assert all(p.rgb is None and p.thermal.shape == (48, 64) for p in thermal)


@pytest.mark.parametrize('rgb, thermal', [(5, 8), (8, 5)])
@pytest.mark.parametrize('kind', ['video', 'folder'])
def test_the_shorter_source_ends_the_pairs_with_a_warning(rgb, thermal, kind, tmp_path, caplog):
    def make(name: str, frames: int) -> Path:
        return (write_video(tmp_path / f'{name}.avi', frames) if kind == 'video' else
                write_folder(tmp_path / name, [f'{i}.png' for i in range(frames)]))
    source = PairSource(make('rgb', rgb), make('thermal', thermal))
    with caplog.at_level(logging.WARNING):
        assert len(list(source)) == len(source) == 5
    message, = caplog.messages
    assert 'has 5 frames' in message and 'has 8' in message


def test_pairs_decode_no_video_for_its_length(tmp_path, monkeypatch):
    """Neither `if source` nor the first pair may read a long video to its end."""
    rgb, thermal = (open_source(write_video(tmp_path / n, 6)) for n in ('rgb.avi', 'thermal.avi'))
    monkeypatch.setattr(type(rgb), '__len__', lambda self: pytest.fail('decoded for its length'))
    assert rgb and thermal
    pairs = PairSource(rgb, thermal).pairs()
    assert number(next(pairs).rgb) == 0
    pairs.close()


@pytest.mark.parametrize('rate, warned', [(25.0, False), (25.1, False), (9.0, True)])
def test_sources_of_different_rate_are_warned_about(rate, warned, tmp_path, caplog):
    rgb = write_video(tmp_path / 'rgb.avi', 3)
    thermal = write_video(tmp_path / 'thermal.avi', 3, fps=rate)
    assert len(list(PairSource(rgb, thermal))) == 3
    assert ('25 frames/s' in caplog.text and '9: frame by frame' in caplog.text) == warned


@pytest.mark.parametrize('rgb, thermal, fps, said', [
    (False, False, 30.0, 'neither'),
    (True, False, 0.0, 'fps'),
    (True, False, float('nan'), 'fps')])
def test_senseless_pairs_are_refused(rgb, thermal, fps, said, tmp_path):
    path = write_folder(tmp_path / 'seq', ['1.png'])
    with pytest.raises(SourceError, match=said):
        PairSource(path if rgb else None, path if thermal else None, fps)


def test_a_16_bit_rgb_source_is_refused(tmp_path):
    path = write_folder(tmp_path / 'seq', ['1.png'], [np.zeros((48, 64), np.uint16)])
    with pytest.raises(SourceError, match=r'frame 0 is uint16.*thermal'):
        list(PairSource(path, None))


# --- prefetch

def test_prefetch_changes_neither_items_nor_their_order():
    assert list(prefetch(range(50), depth=3)) == list(range(50))
    assert list(prefetch([])) == []


def test_prefetch_hands_on_an_exception_in_its_place():
    def items():
        yield 1
        yield 2
        raise SourceError('third')
    got = []
    with pytest.raises(SourceError, match='third'):
        for item in prefetch(items()):
            got.append(item)
    assert got == [1, 2]


def test_prefetch_stops_reading_and_closes_its_source_when_left_early():
    read, closed = [], threading.Event()

    def items():
        try:
            for i in range(1000):
                time.sleep(0.001)
                read.append(i)
                yield i
        finally:
            closed.set()
    for item in (reader := prefetch(items(), depth=4)):
        if item == 2:
            break
    reader.close()
    assert closed.is_set() and len(read) < 20
    assert not [t for t in threading.enumerate() if t.name.startswith('prefetch')]
