"""Bags as data sets: every storage, pairing by stamps, topics, boxes, and what is wrong."""
from __future__ import annotations

from pathlib import Path
import pickle
import shutil
import subprocess
import sys
from typing import Any

from bag_kit import COMPRESSED, IMAGE, KINDS, MS, TRACK, Factory, Message, write_bag
import cv2
from layouts_kit import SIZE, box, number, rgb_image, thermal_image, write
import numpy as np
import pytest
from rosbags.rosbag2 import storage_mcap

from rgbt_tracker_ros.data.bag_pairs import choose_topics, nearest, pair_stamps
from rgbt_tracker_ros.data.layouts import LayoutError, open_layout
from rgbt_tracker_ros.data.recordings import BagFrames

RGB, THERMAL = '/camera/color/image_raw', '/boson/image_raw'
START = 1_700_000_000 * 10**9
FRAMES = 6


def stamp(index: int) -> int:
    return START + index * 50 * MS


def messages(make: Factory, frames: int = FRAMES, late: int = 3 * MS) -> list[Message]:
    """Return RGB and thermal images, thermal `late` ns after RGB; recorded 20 ms after that."""
    found: list[Message] = []
    for i in range(frames):
        found += [(RGB, IMAGE, stamp(i) + 20 * MS, make.image(rgb_image(i), 'rgb8', stamp(i), 5)),
                  (THERMAL, IMAGE, stamp(i) + 20 * MS,      # at the same time as RGB
                   make.image(thermal_image(i, np.uint16), 'mono16', stamp(i) + late))]
    return found


def bag(path: Path, kind: str = 'mcap', extra: Any = (), **options: Any) -> Path:
    make = Factory(kind)
    extra = extra(make) if callable(extra) else extra
    return write_bag(path, kind, make, [*messages(make, **options), *extra])


@pytest.mark.parametrize('kind', KINDS)
def test_every_storage_gives_the_pairs_in_any_order(kind, tmp_path):
    path = bag(tmp_path / 'walk', kind)
    dataset = open_layout('bag', path)
    assert dataset.name == 'bag' and dataset.sequence_names == ('walk',)
    assert dataset.problems() == []
    sequence = dataset['walk']
    assert len(sequence) == FRAMES and sequence.fps == pytest.approx(20)
    assert sequence.truth.shape == (0, 4)
    for i in (4, 0, 5, 2, 2):
        pair = sequence.pair(i)
        np.testing.assert_array_equal(pair.rgb, rgb_image(i))
        np.testing.assert_array_equal(pair.thermal, thermal_image(i, np.uint16))
        assert pair.thermal.dtype == np.uint16
        assert pair.stamp == stamp(i) and pair.skew == 3 * MS
    other = pickle.loads(pickle.dumps(sequence))
    np.testing.assert_array_equal(other.pair(3).rgb, rgb_image(3))
    with pytest.raises(IndexError):
        sequence.pair(FRAMES)


@pytest.mark.parametrize('kind', ['mcap', 'mcap_plain', 'sqlite', 'ros1'])
def test_messages_of_one_time_of_recording_are_told_apart(kind, tmp_path):
    make = Factory(kind)
    burst = [(t, ty, START, m) for t, ty, _, m in messages(make)]
    sequence = open_layout('bag', write_bag(tmp_path / 'walk', kind, make, burst))['walk']
    assert [number(p.rgb) for p in sequence] == list(range(FRAMES))
    assert [p.stamp for p in sequence] == [stamp(i) for i in range(FRAMES)]


def test_a_bag_is_opened_once_and_closed_on_demand(tmp_path, monkeypatch):
    sequence = open_layout('bag', bag(tmp_path / 'walk'))['walk']
    frames = sequence.frames
    assert isinstance(frames, BagFrames)
    sequence.pair(0)
    monkeypatch.setattr('rgbt_tracker_ros.data.recordings.Bag',
                        lambda path: pytest.fail('opened again'))
    sequence.pair(1)
    frames.close()
    with pytest.raises(pytest.fail.Exception):
        sequence.pair(1)


def test_a_folder_of_bags_is_a_data_set(tmp_path):
    bag(tmp_path / 'b10')
    bag(tmp_path / 'b9', 'mcap_plain')
    bag(tmp_path / 'c', 'ros1')
    (tmp_path / 'session').mkdir()
    bag(tmp_path / 'session/segment_0000')
    write(tmp_path / 'notes/readme.txt', 'nothing')
    dataset = open_layout('bag', tmp_path)
    assert dataset.sequence_names == ('b9', 'b10', 'c', 'session/segment_0000')
    assert [len(s) for s in dataset] == [FRAMES] * 4


# --- images

@pytest.mark.parametrize(('encoding', 'thermal'), [
    ('mono8', thermal_image(1)), ('8UC1', thermal_image(1)),
    ('mono16', thermal_image(900, np.uint16)), ('16UC1', thermal_image(900, np.uint16)),
    ('32FC1', thermal_image(1, np.float32) / 7), ('rgb8', rgb_image(2))])
@pytest.mark.parametrize('kind', ['mcap', 'ros1'])
def test_thermal_encodings(encoding, thermal, kind, tmp_path):
    make = Factory(kind)
    path = write_bag(tmp_path / 'a', kind, make, [
        ('/thermal', IMAGE, START, make.image(thermal, encoding, START))])
    pair = open_layout('bag', path)['a'].pair(0)
    np.testing.assert_array_equal(pair.thermal, thermal)
    assert pair.thermal.dtype == thermal.dtype and pair.rgb is None and pair.stamp == START


@pytest.mark.parametrize(('encoding', 'pixels'), [
    ('rgb8', rgb_image(3)), ('bgr8', rgb_image(3)[..., ::-1].copy()),
    ('bayer_rggb8', np.tile(np.array([[200, 40], [40, 90]], np.uint8), (24, 32)))])
def test_rgb_encodings(encoding, pixels, tmp_path):
    make = Factory('mcap')
    path = write_bag(tmp_path / 'a', 'mcap', make, [
        ('/rgb', IMAGE, START, make.image(pixels, encoding, START))])
    pair = open_layout('bag', path)['a'].pair(0)
    np.testing.assert_array_equal(pair.rgb[20, 20], (200, 40, 90))
    assert pair.thermal is None


@pytest.mark.parametrize('kind', ['mcap', 'ros1'])
def test_compressed_images(kind, tmp_path):
    make = Factory(kind)
    hot = thermal_image(700, np.uint16)
    path = write_bag(tmp_path / 'a', kind, make, [
        ('/rgb/compressed', COMPRESSED, START, make.compressed(rgb_image(4), 'jpg', START)),
        ('/ir/compressed', COMPRESSED, START, make.compressed(hot, 'png', START))])
    pair = open_layout('bag', path)['a'].pair(0)
    assert number(pair.rgb) == 4
    np.testing.assert_allclose(pair.rgb[24, 8], (200, 40, 90), atol=8)
    np.testing.assert_array_equal(pair.thermal, hot)


def damaged(make: Factory, what: str) -> Any:
    message = make.image(thermal_image(1), 'mono8', stamp(0) + 3 * MS)
    if what == 'encoding':
        message.encoding = 'yuv999'
    elif what == 'short':
        message.data = message.data[:-1]
    return message


@pytest.mark.parametrize(('what', 'said'), [
    ('encoding', "encoding 'yuv999' can not be used as thermal"), ('short', 'data holds')])
def test_an_image_that_can_not_be_used_is_named(what, said, tmp_path):
    make = Factory('mcap')
    path = write_bag(tmp_path / 'a', 'mcap', make, [
        *messages(make, frames=1)[:1], (THERMAL, IMAGE, START, damaged(make, what))])
    sequence = open_layout('bag', path)['a']
    with pytest.raises(LayoutError, match=said) as error:
        sequence.pair(0)
    assert error.value.path == path and error.value.row == 1 and THERMAL in str(error.value)


def test_a_pair_that_can_not_be_used_is_named(tmp_path, monkeypatch):
    sequence = open_layout('bag', bag(tmp_path / 'a'))['a']
    monkeypatch.setattr('rgbt_tracker_ros.data.recordings.to_thermal',
                        lambda message: np.zeros((4, 4)))
    with pytest.raises(LayoutError, match=f'{RGB} and {THERMAL}: thermal must be') as error:
        sequence.pair(2)
    assert error.value.path == tmp_path / 'a' and error.value.row == 3


@pytest.mark.parametrize('kind', ['mcap', 'mcap_plain', 'sqlite', 'ros1'])
def test_a_message_too_short_for_its_header_is_named(kind, tmp_path, monkeypatch):
    make = Factory(kind)
    name = 'serialize_ros1' if kind == 'ros1' else 'serialize_cdr'
    real, seen = getattr(make.store, name), []

    def cut(message, kind):
        seen.append(kind)
        return real(message, kind)[:8 if len(seen) == 3 else None]      # the second of RGB

    monkeypatch.setattr(make.store, name, cut)
    path = write_bag(tmp_path / 'a', kind, make, messages(make))
    with pytest.raises(LayoutError, match=f'{RGB}: message 2 has 8 bytes; the stamp') as error:
        open_layout('bag', path)['a']
    assert error.value.path == path and error.value.row == 2


def test_exchanged_topics_are_refused_by_their_encoding(tmp_path):
    path = bag(tmp_path / 'a')
    sequence = open_layout('bag', path, rgb_topic=THERMAL, thermal_topic=RGB)['a']
    with pytest.raises(LayoutError, match="encoding 'mono16' can not be used as rgb") as error:
        sequence.pair(0)
    assert error.value.path == path and error.value.row == 1


# --- pairing

@pytest.mark.parametrize(('rgb', 'thermal', 'slop', 'expected'), [
    # (RGB, thermal, stamp, skew); -1: missing
    ([0, 50, 100], [3, 53, 103], 10, [(0, 0, 0, 3), (1, 1, 50, 3), (2, 2, 100, 3)]),
    ([0, 50, 100], [3, 53, 103], 2, [(0, -1, 0, 0), (1, -1, 50, 0), (2, -1, 100, 0)]),
    # one to one: the nearer wins, the other goes alone (RGB) or is left out (thermal)
    ([0, 10], [4], 10, [(0, 0, 0, 4), (1, -1, 10, 0)]),
    ([10], [4, 12], 10, [(0, 1, 10, 2)]),
    # while RGB is missing thermal goes alone
    ([0, 50, 400, 450], [0, 50, 100, 150, 200, 250, 300], 10,
     [(0, 0, 0, 0), (1, 1, 50, 0), (-1, 4, 200, 0), (-1, 5, 250, 0), (2, -1, 400, 0),
      (3, -1, 450, 0)]),
    ([], [5, 6], 10, [(-1, 0, 5, 0), (-1, 1, 6, 0)]),
    ([7], [], 10, [(0, -1, 7, 0)]),
    ([], [], 10, []),
    # out of order in the bag
    ([50, 0], [3, 53], 10, [(1, 0, 0, 3), (0, 1, 50, 3)])])
def test_pairs_by_stamp(rgb, thermal, slop, expected):
    pairs = pair_stamps(np.array(rgb, np.int64), np.array(thermal, np.int64), slop)
    got = [tuple(map(int, p)) for p in zip(pairs.rgb, pairs.thermal, pairs.stamps, pairs.skews,
                                           strict=True)]
    assert got == expected
    full = pair_stamps(np.array(rgb, np.int64), np.array(thermal, np.int64), slop, complete=True)
    assert len(full) == sum(min(e[:2]) >= 0 for e in expected)


@pytest.mark.parametrize(('value', 'index'), [(-5, 0), (0, 0), (4, 0), (5, 0), (6, 1), (10, 1),
                                              (99, 2)])
def test_nearest(value, index):
    assert nearest(np.array([value]), np.array([0, 10, 20])).tolist() == [index]


@pytest.mark.parametrize(('options', 'late', 'skews'), [
    ({}, 40 * MS, [None, -10, -10, -10, -10, -10]),     # the one before is nearer
    ({'slop': 0.005}, 40 * MS, [None] * 6),
    ({'thermal_offset': -0.04}, 40 * MS, [0] * 6),
    ({'complete': True}, 40 * MS, [-10] * 5)])
def test_slop_and_offset(options, late, skews, tmp_path):
    sequence = open_layout('bag', bag(tmp_path / 'a', late=late), **options)['a']
    got = [None if p.thermal is None else p.skew // MS for p in sequence]
    assert got == skews


def test_headers_without_a_stamp_fall_back_to_the_time_of_recording(tmp_path):
    make = Factory('mcap')
    path = write_bag(tmp_path / 'a', 'mcap', make, [
        ('/thermal', IMAGE, stamp(i), make.image(thermal_image(i), 'mono8', 0)) for i in range(3)])
    assert [p.stamp for p in open_layout('bag', path)['a']] == [stamp(i) for i in range(3)]


def test_cameras_that_never_meet_are_refused_where_pairs_must_be_complete(tmp_path):
    path = bag(tmp_path / 'a', late=25 * MS)
    with pytest.raises(LayoutError, match=r'no pair: .* within 0\.001 s'):
        open_layout('bag', path, complete=True, slop=0.001)['a']


# --- topics

def topics(*names: str) -> dict[str, str]:
    return {n: COMPRESSED if 'compressed' in n else IMAGE for n in names}


@pytest.mark.parametrize(('names', 'given', 'expected'), [
    ((RGB, THERMAL), (None, None), (RGB, THERMAL)),
    (('/cam0/image', '/lwir/image'), (None, None), ('/cam0/image', '/lwir/image')),
    (('/rgb/image', '/rgb/image/compressed', '/flir_boson/image_raw/compressed'), (None, None),
     ('/rgb/image', '/flir_boson/image_raw/compressed')),
    (('/color/image', '/depth/image', '/thermal'), (None, None), ('/color/image', '/thermal')),
    (('/left/image', '/right/image', '/ir'), ('/right/image', None), ('/right/image', '/ir')),
    (('/left/image', '/right/image'), ('/right/image', '/left/image'),
     ('/right/image', '/left/image')),
    (('/rgb', '/thermal'), ('', None), ('', '/thermal')),
    (('/rgb', '/thermal'), (None, ''), ('/rgb', '')),
    (('/image',), (None, None), ('/image', '')),
    (('/thermal',), (None, None), ('', '/thermal'))])
def test_topics_are_found_by_type_and_name(names, given, expected):
    found = {**topics(*names), '/thermal/camera_info': 'sensor_msgs/msg/CameraInfo'}
    counts = dict.fromkeys(found, 5)
    assert choose_topics(found, counts, *given, Path('a')) == expected


@pytest.mark.parametrize(('names', 'given', 'said'), [
    (('/left/image', '/right/image', '/ir'), (None, None),
     'more than one topic may be rgb: /left/image, /right/image; give rgb_topic'),
    (('/rgb', '/ir', '/thermal'), (None, None), 'more than one topic may be thermal'),
    (('/rgb',), ('/colour', None), r'no images on /colour; the topics with images: /rgb \(Image'),
    ((), (None, None), 'no topic to read; the topics with images: none'),
    (('/rgb',), ('', ''), 'no topic to read')])
def test_topics_that_names_do_not_tell_are_asked_for(names, given, said):
    with pytest.raises(LayoutError, match=said):
        choose_topics(topics(*names), dict.fromkeys(names, 5), *given, Path('a'))


def test_of_a_raw_and_a_compressed_topic_the_fuller_counts():
    found = topics('/rgb/image', '/rgb/image/compressed')
    counts = {'/rgb/image': 3, '/rgb/image/compressed': 5}
    assert choose_topics(found, counts, None, None, Path('a'))[0] == '/rgb/image/compressed'


# --- boxes

def test_boxes_by_frame_beside_the_bag(tmp_path):
    path = bag(tmp_path / 'a')
    write(path / 'groundtruth.csv', 'frame,x,y,w,h\n1,5,5,10,8\n3,7,5,10,8\n')
    sequence = open_layout('bag', path)['a']
    assert sequence.annotated.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(sequence.truth, [box(1), [np.nan] * 4, box(3)])


@pytest.mark.parametrize('seconds', [False, True])
def test_boxes_by_stamp_in_a_file_of_the_bag_s_name(seconds, tmp_path):
    path = bag(tmp_path / 'a', 'mcap_plain')
    def text(ns: int) -> str:
        return f'{ns // 10**9}.{ns % 10**9:09d}' if seconds else str(ns)
    write(tmp_path / 'a.csv', 'stamp,x,y,w,h\n' + ''.join(
        f'{text(stamp(i) + 2 * MS)},' + ','.join(map(str, box(i))) + '\n' for i in (4, 2)))
    sequence = open_layout('bag', path)['a']
    assert sequence.annotated.tolist() == [2, 4]
    np.testing.assert_array_equal(sequence.truth, [box(2), box(4)])


@pytest.mark.parametrize('kind', ['mcap', 'mcap_plain', 'sqlite', 'ros1'])
def test_boxes_from_a_topic(kind, tmp_path):
    def tracks(make: Factory) -> list[Message]:
        return [('/truth', TRACK, stamp(i), make.track(box(i) if i != 2 else (0, 0, 0, 0),
                                                       stamp(i))) for i in (1, 2, 5)]
    path = bag(tmp_path / 'a', kind, tracks)
    sequence = open_layout('bag', path, truth_topic='/truth')['a']
    assert sequence.annotated.tolist() == [1, 2, 5]
    np.testing.assert_array_equal(sequence.truth, [box(1), [np.nan] * 4, box(5)])


def row(index: int, at: int | None = None) -> str:
    return f'{stamp(index) if at is None else at},1,2,10,10\n'


@pytest.mark.parametrize(('text', 'said', 'line'), [
    ('frame,x,y,w,h\n0,1,1,1,1\n6,1,1,1,1\n', r'a box for pair 6 \(counted from 0\)', 3),
    ('stamp,x,y,w,h\n' + row(0) + row(1, stamp(1) - 30 * MS * 10), 'no pair within 0.025 s', 3),
    ('stamp,x,y,w,h\n' + row(0) + row(0, stamp(0) + 1), 'a second box for the same pair', 3),
    ('stamp;x;y;w;h\n', 'no column', 1),
    ('stamp,x,y,w,h\nnow,1,1,1,1\n', 'does not give stamp, x, y, w, h', 2)])
def test_boxes_that_do_not_belong_are_named(text, said, line, tmp_path):
    path = bag(tmp_path / 'a')
    file = write(tmp_path / 'boxes.csv', text)
    dataset = open_layout('bag', path, truth=file)
    with pytest.raises(LayoutError, match=said) as error:
        dataset['a']
    assert error.value.path == file and error.value.row == line
    assert len(dataset.problems()) == 1


def test_boxes_without_a_pair_can_be_left_out(tmp_path, caplog):
    path = bag(tmp_path / 'a')
    file = write(tmp_path / 'boxes.csv', 'stamp,x,y,w,h\n' + row(3) + row(0, START - 10**9))
    sequence = open_layout('bag', path, truth=file, strict=False)['a']
    assert sequence.annotated.tolist() == [3] and '1 boxes without a pair' in caplog.text


@pytest.mark.parametrize(('extra', 'topic', 'said'), [
    ((), '/none', 'no topic /none for the boxes; there are /boson'),
    ((), RGB, 'holds no box that is known here')])
def test_truth_topics_that_can_not_be_used_are_refused(extra, topic, said, tmp_path):
    path = bag(tmp_path / 'a', extra=extra)
    with pytest.raises(LayoutError, match=said):
        open_layout('bag', path, truth_topic=topic)['a']


# --- broken

@pytest.mark.parametrize(('kind', 'said'), [
    ('mcap_plain', 'mcap recover'), ('ros1', 'rosbag reindex'), ('sqlite', "can't be opened")])
def test_a_recording_that_was_cut_off_says_how_to_repair_it(kind, said, tmp_path):
    path = bag(tmp_path / 'a', kind)
    file = next(iter(path.glob('*.db3'))) if path.is_dir() else path
    file.write_bytes(file.read_bytes()[:len(file.read_bytes()) // 3])
    with pytest.raises(LayoutError, match=said) as error:
        open_layout('bag', path)['a'].pair(0)
    assert error.value.path == path


def test_a_folder_that_lost_its_file_is_named(tmp_path):
    path = bag(tmp_path / 'a')
    next(iter(path.glob('*.mcap'))).unlink()
    with pytest.raises(LayoutError, match='files are missing'):
        open_layout('bag', path)['a']


@pytest.mark.parametrize(('make', 'options', 'said'), [
    (lambda d: d, {}, 'no bag; looked for .mcap'),
    (lambda d: write(d / 'a.txt', ''), {}, 'no bag'),
    (lambda d: bag(d / 'a'), {'slop': -1}, 'slop is -1'),
    (lambda d: (bag(d / 'a'), bag(d / 'b'), d)[2], {'truth': 'x.csv'}, 'one file of boxes for 2')])
def test_what_is_no_bag_is_refused(make, options, said, tmp_path):
    with pytest.raises(LayoutError, match=said):
        open_layout('bag', make(tmp_path), **options)


def test_a_bag_that_was_moved_away_is_said_when_read(tmp_path):
    path = bag(tmp_path / 'a')
    sequence = open_layout('bag', path)['a']
    shutil.move(path, tmp_path / 'b')
    with pytest.raises(LayoutError, match="can't be opened"):
        sequence.pair(0)


def test_nothing_of_ros_is_imported(tmp_path):
    path = bag(tmp_path / 'a')
    code = ('import sys\nfrom rgbt_tracker_ros.data.layouts import open_layout\n'
            f'print(open_layout("bag", {str(path)!r})["a"].pair(0).rgb.shape)\n'
            'bad = {m.split(".")[0] for m in sys.modules} & {"rclpy", "sensor_msgs", "torch"}\n'
            'assert not bad, bad')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f'({SIZE[1]}, {SIZE[0]}, 3)'


def test_a_jump_into_a_long_bag_reads_its_own_chunk_only(tmp_path, monkeypatch):
    make = Factory('mcap')
    big = [cv2.resize(rgb_image(i), (800, 600)) for i in range(4)]
    path = write_bag(tmp_path / 'a', 'mcap', make, [
        ('/rgb', IMAGE, stamp(i), make.image(big[i % 4], 'rgb8', stamp(i))) for i in range(8)])
    sequence = open_layout('bag', path)['a']
    opened: list[int] = []
    real = storage_mcap.decompress
    monkeypatch.setattr(storage_mcap, 'decompress',
                        lambda *a: (opened.append(1), real(*a))[1])
    assert number(sequence.pair(7).rgb[:, 400:]) == 3 and len(opened) == 1
