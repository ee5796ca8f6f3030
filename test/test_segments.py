"""Recordings read back: by pair, bit for bit, also what a killed recorder has left."""
from __future__ import annotations

import fcntl
import gc
from pathlib import Path
import pickle
import shutil
import tracemalloc
from typing import Any

from bag_kit import IMAGE, MS
from layouts_kit import rgb_image, thermal_image, write
from mcap.writer import CompressionType, Writer
import numpy as np
import pytest
from segments_kit import (
    FRAMES,
    RGB,
    THERMAL,
    TRACKS,
    Images,
    cut,
    mcap_file,
    segment,
    stamp,
)

from rgbt_tracker_ros.data.layouts import LayoutError, open_layout
from rgbt_tracker_ros.data.segments import SegmentFrames
from rgbt_tracker_ros.data.segments_mcap import McapFile
from rgbt_tracker_ros.types import Box, State

COMPRESSIONS = ('none', 'lz4', 'zstd')


def frames_of(sequence: Any) -> SegmentFrames:
    assert isinstance(sequence.frames, SegmentFrames)
    return sequence.frames


def check_pairs(sequence: Any, first: int = 0) -> None:
    """Hold every pair to the bytes that were written; in an order of their own."""
    made, frames = Images(), frames_of(sequence)
    for n in [*range(1, len(sequence), 2), *range(0, len(sequence), 2)]:
        i = first + n
        assert frames.raw(0, n) == made.rgb(i) and frames.raw(1, n) == made.thermal(i)
        pair = sequence.pair(n)
        np.testing.assert_array_equal(pair.rgb, rgb_image(i))
        np.testing.assert_array_equal(pair.thermal, thermal_image(i, np.uint16))
        assert pair.thermal.dtype == np.uint16
        assert (pair.stamp, pair.skew) == (stamp(i), 3 * MS)


@pytest.mark.parametrize('chunk_pairs', [1, 4])
@pytest.mark.parametrize('compression', COMPRESSIONS)
def test_a_recording_is_its_segments_bit_for_bit(
        compression: str, chunk_pairs: int, tmp_path: Path) -> None:
    for n in range(3):
        segment(tmp_path, n, first=n * FRAMES, compression=compression, chunk_pairs=chunk_pairs)
    dataset = open_layout('recording', tmp_path)
    assert dataset.sequence_names == ('walk_0000', 'walk_0001', 'walk_0002')
    assert dataset.problems() == []
    for n, sequence in enumerate(dataset):
        assert len(sequence) == FRAMES and sequence.fps == pytest.approx(20)
        check_pairs(sequence, n * FRAMES)
        check_pairs(pickle.loads(pickle.dumps(sequence)), n * FRAMES)
        frames_of(sequence).close()
        check_pairs(sequence, n * FRAMES)
        with pytest.raises(IndexError):
            sequence.pair(FRAMES)


def test_one_segment_is_a_recording_too(tmp_path: Path) -> None:
    path = segment(tmp_path, 7)
    assert open_layout('recording', path).sequence_names == ('walk_0007',)


def chunk_ends(folder: Path) -> list[tuple[int, int]]:
    """Return (offset, chunks that end up to it) for the end of every chunk of a file."""
    data = mcap_file(folder).read_bytes()
    at, ends = 8, []
    while at < len(data):
        opcode, length = data[at], int.from_bytes(data[at + 1:at + 9], 'little')
        at += 9 + length
        if opcode == 0x06:
            ends.append(at)
    return [(end, n + 1) for n, end in enumerate(ends)]


@pytest.mark.parametrize('compression', COMPRESSIONS)
def test_of_a_killed_segment_every_whole_chunk_is_read(compression: str, tmp_path: Path) -> None:
    path = segment(tmp_path, open_=True, compression=compression)
    whole = mcap_file(path).read_bytes()
    ends = chunk_ends(path)
    assert len(ends) == FRAMES
    rng = np.random.default_rng(0)
    places = {len(whole), *(end + d for end, _ in ends for d in (-1, 0, 1)),
              *map(int, rng.integers(ends[0][0], len(whole), 20))}
    for size in places:
        mcap_file(path).write_bytes(whole[:size])
        expected = max(n for end, n in ends if end <= size) if size >= ends[0][0] else 0
        file = McapFile(mcap_file(path))
        assert not file.whole and file.cut.startswith('cut off at')
        assert len(file.messages(RGB)) == len(file.messages(THERMAL)) == expected
        if expected:
            check_pairs(open_layout('recording', tmp_path)['walk_0000'])
        # the piece behind the last whole record is counted: of a chunk, of its index, or nothing
        assert 0 <= file.left_out <= size and file.chunks_left_out <= bool(file.left_out)
    middle = (ends[2][0] + ends[3][0]) // 2
    mcap_file(path).write_bytes(whole[:middle])
    file = McapFile(mcap_file(path))
    assert file.chunks_left_out == 1 and 0 < file.left_out < ends[3][0] - ends[2][0]


@pytest.mark.parametrize(('damage', 'left', 'said'), [
    (lambda d, ends: d[:ends[3] + 40] + bytes(len(d)), 4, '0x00'),      # zeros of a lost page
    (lambda d, ends: d[:ends[3] - 300] + bytes(50) + d[ends[3] - 250:], 3, 'checksum'),
    (lambda d, ends: d[:ends[1]] + b'\x7f' * 1000, 2, 'no record begins with 0x7f')])
def test_what_a_power_cut_has_left_is_held_to_its_checksums(
        damage: Any, left: int, said: str, tmp_path: Path) -> None:
    path = segment(tmp_path, open_=True)
    ends = [end for end, _ in chunk_ends(path)]
    file = mcap_file(path)
    file.write_bytes(damage(file.read_bytes(), ends))
    found = McapFile(file)
    sequence = open_layout('recording', tmp_path)['walk_0000']
    assert len(sequence) in (left, left + 1) and found.left_out > 0
    assert said in found.cut or 'cut off at' in found.cut
    check_pairs(sequence)


def test_a_killed_segment_stands_beside_whole_ones_under_its_later_name(tmp_path: Path) -> None:
    segment(tmp_path, 0)
    path = segment(tmp_path, 1, first=FRAMES, open_=True)
    dataset = open_layout('recording', tmp_path)
    assert dataset.sequence_names == ('walk_0000', 'walk_0001')
    path.rename(tmp_path / 'walk_0001')     # the recorder was only not done yet
    check_pairs(dataset['walk_0001'], FRAMES)


def test_a_segment_without_its_manifest_is_read_by_the_order_of_its_topics(tmp_path: Path) -> None:
    path = segment(tmp_path, topics=('/cam1/image', '/cam0/image'), open_=True)
    (path / 'manifest.json').unlink()
    sequence = open_layout('recording', tmp_path)['walk_0000']
    check_pairs(sequence)
    assert frames_of(sequence).topics == ('/cam1/image', '/cam0/image')
    write(path / 'manifest.json', '{"form')
    check_pairs(open_layout('recording', tmp_path)['walk_0000'])


def test_pairs_are_those_of_the_recorder_whatever_the_stamps_say(tmp_path: Path) -> None:
    made = Images()
    segment(tmp_path, thermal=lambda i: made.thermal(i, 400 * MS))
    pairs = list(open_layout('recording', tmp_path)['walk_0000'])
    assert [(p.stamp, p.skew) for p in pairs] == [(stamp(i), 400 * MS) for i in range(FRAMES)]


def test_numbers_of_another_writer_are_not_believed(tmp_path: Path) -> None:
    path = segment(tmp_path)
    data = bytearray(mcap_file(path).read_bytes())
    at = 8
    while at < len(data):       # rosbag2 leaves every sequence number at 0
        length = int.from_bytes(data[at + 1:at + 9], 'little')
        if data[at] == 0x06:
            name = int.from_bytes(data[at + 37:at + 41], 'little')
            inner, end = at + 41 + name + 8, at + 9 + length
            while inner < end:
                if data[inner] == 0x05:
                    data[inner + 11:inner + 15] = bytes(4)
                inner += 9 + int.from_bytes(data[inner + 1:inner + 9], 'little')
        at += 9 + length
    mcap_file(path).write_bytes(data)
    check_pairs(open_layout('recording', tmp_path)['walk_0000'])


def test_tracks_belong_to_the_pair_of_their_stamp(tmp_path: Path) -> None:
    segment(tmp_path, tracks=True)
    sequence = open_layout('recording', tmp_path)['walk_0000']
    tracks = list(frames_of(sequence).tracks())
    assert [t.pair for t in tracks] == list(range(FRAMES - 1))   # the last is of no pair
    assert tracks[3].box == Box(3, 5, 10, 8) and tracks[3].state is State.TRACKING
    assert (tracks[3].confidence, tracks[3].target_id) == (0.5, 't1')
    boxes = open_layout('recording', tmp_path, truth_topic=TRACKS)['walk_0000']
    assert boxes.annotated.tolist() == list(range(FRAMES - 1))
    np.testing.assert_array_equal(boxes.truth[2], (2, 5, 10, 8))


@pytest.mark.parametrize('rgb, thermal, count', [
    ('camera', 'boson', FRAMES - 1), ('color', 'camera', 0), ('camera', 'camera', FRAMES - 1),
    ('', '', FRAMES - 1)])
def test_tracks_in_px_of_the_thermal_image_are_left_out(
        rgb: str, thermal: str, count: int, tmp_path: Path) -> None:
    streams = {'rgb': {'topic': RGB, 'frame_id': rgb},
               'thermal': {'topic': THERMAL, 'frame_id': thermal}}
    segment(tmp_path, tracks=True, streams=streams)
    assert len(list(frames_of(open_layout('recording', tmp_path)['walk_0000']).tracks())) == count


def test_boxes_beside_a_segment_are_read(tmp_path: Path) -> None:
    path = segment(tmp_path)
    write(path / 'groundtruth.csv', 'frame,x,y,w,h\n1,5,5,10,8\n')
    assert open_layout('recording', tmp_path)['walk_0000'].annotated.tolist() == [1]


def test_other_bags_may_lie_beside_segments(tmp_path: Path) -> None:
    from test_recordings import bag
    segment(tmp_path, 0)
    bag(tmp_path / 'zoo', late=30 * MS, frames=8)
    dataset = open_layout('recording', tmp_path, slop=0.04)
    assert dataset.sequence_names == ('walk_0000', 'zoo')
    assert all(p.thermal is not None and p.rgb is not None for p in dataset['zoo'])


def test_any_bag_is_a_recording(tmp_path: Path) -> None:
    from test_recordings import bag
    dataset = open_layout('recording', bag(tmp_path / 'zoo'))
    assert len(dataset['zoo']) == FRAMES


@pytest.mark.parametrize(('make', 'options', 'said'), [
    (lambda d: d, {}, 'no bag'),
    (lambda d: cut(segment(d, open_=True), 5), {}, 'this is no MCAP file'),
    (lambda d: cut(segment(d, open_=True), 0), {}, 'nothing of this segment has reached'),
    (lambda d: cut(segment(d, open_=True), 300), {}, 'no pair: images are on no topic; the file'),
    (lambda d: segment(d, pairs=0), {}, 'no pair: images are on no topic'),
    (lambda d: [mcap_file(p := segment(d)).unlink(), p][1], {}, r'no \.mcap file'),
    (lambda d: segment(d), {'rgb_topic': '/none'}, 'no images on /none'),
    (lambda d: segment(d), {'rgb_topic': ''}, 'a segment has two cameras'),
    (lambda d: segment(d), {'slop': -1}, 'slop is -1')])
def test_what_can_not_be_read_is_named(make: Any, options: dict[str, Any], said: str,
                                       tmp_path: Path) -> None:
    root = make(tmp_path)
    with pytest.raises(LayoutError, match=said):
        open_layout('recording', root, **options)['walk_0000']


def test_a_segment_that_goes_away_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = segment(tmp_path)
    sequence = open_layout('recording', tmp_path)['walk_0000']
    shutil.rmtree(path)
    with pytest.raises(LayoutError, match="can't be read any more") as error:
        sequence.pair(0)
    assert path in error.value.path.parents


def test_only_the_index_is_in_memory(tmp_path: Path) -> None:
    big = bytes(1_000_000)
    path = segment(tmp_path, pairs=40, thermal=lambda i: Images().thermal(i % 6),
                   rgb=lambda i: Images().rgb(i % 6) + big)
    assert mcap_file(path).stat().st_size > 40e6
    gc.collect()
    tracemalloc.start()
    sequence = open_layout('recording', tmp_path)['walk_0000']
    for n in range(40):
        frames_of(sequence).raw(0, n)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6


def test_a_whole_segment_is_indexed_without_reading_its_images(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = segment(tmp_path, rgb=lambda i: Images().rgb(i) + bytes(1_000_000))
    read: list[int] = []
    real = McapFile._at
    monkeypatch.setattr(McapFile, '_at', lambda s, at, n: (read.append(n), real(s, at, n))[1])
    McapFile(mcap_file(path))
    assert sum(read) < 40_000


# --- played

def test_segments_are_played_as_the_one_recording_that_they_are(tmp_path: Path) -> None:
    from rgbt_tracker_ros.nodes.play_segments import JoinedShots
    from rgbt_tracker_ros.nodes.play_sources import Part
    for n in range(2):
        segment(tmp_path, n, first=n * FRAMES, open_=n == 1)
    segments = list(open_layout('recording', tmp_path))
    shots = list((joined := JoinedShots(segments, Part())).shots())
    assert [s.at for s in shots] == sorted(s.at for s in shots) and not joined.shortened
    pairs = [s.pair for s in shots if s.pair]
    assert [p.number for p in pairs] == list(range(2 * FRAMES))
    assert [p.recorded for p in pairs] == [stamp(i) for i in range(2 * FRAMES)]
    assert [joined.stamp_origin + p.stamp for p in pairs] == [p.recorded for p in pairs]
    part = [s.pair.number for s in JoinedShots(segments, Part(first=4, count=4)).shots() if s.pair]
    assert part == [4, 5, 6, 7]
    late = [s.pair.number for s in JoinedShots(segments, Part(start=0.45)).shots() if s.pair]
    assert late == [9, 10, 11]


@pytest.mark.parametrize('first', [FRAMES + 20 * 3600, 0])      # an hour later; the clock was set
def test_pauses_between_segments_are_left_out(first: int, tmp_path: Path) -> None:
    from rgbt_tracker_ros.nodes.play_segments import JoinedShots
    from rgbt_tracker_ros.nodes.play_sources import Part
    segment(tmp_path, 0)
    made = Images()
    segment(tmp_path, 1, first=first, rgb=lambda i: made.rgb(i, i % 6),
            thermal=lambda i: made.thermal(i, number=i % 6))
    joined = JoinedShots(list(open_layout('recording', tmp_path)), Part())
    at = [s.at for s in joined.shots() if s.pair]
    assert joined.shortened == 1
    assert np.diff(at) == pytest.approx(50 * MS)


def test_the_player_takes_a_recording_or_one_segment(tmp_path: Path) -> None:
    from rgbt_tracker_ros.cli_play import command
    from rgbt_tracker_ros.nodes.play_segments import JoinedShots
    from rgbt_tracker_ros.nodes.player_parameters import PlayerParameters, open_played
    made = Images()
    for n in range(2):
        path = segment(tmp_path, n, first=n * 200, rgb=lambda i: made.rgb(i, i % 6),
                       thermal=lambda i: made.thermal(i, number=i % 6))
    words = ' '.join(command([str(tmp_path)]))
    assert 'layout:="recording"' in words and f'root:="{tmp_path}"' in words
    assert 'layout:="recording"' in ' '.join(command([str(path)]))
    both = open_played(PlayerParameters(layout='recording', root=str(tmp_path)))
    assert isinstance(both, JoinedShots)
    assert sum(s.pair is not None for s in both.shots()) == 2 * FRAMES
    one = open_played(PlayerParameters(layout='recording', root=str(tmp_path),
                                       sequence='walk_0001', stamps='recorded'))
    assert [s.pair.recorded for s in one.shots() if s.pair] == [
        stamp(200 + i) for i in range(FRAMES)]
    with pytest.raises(ValueError, match='pauses between the segments'):
        open_played(PlayerParameters(layout='recording', root=str(tmp_path), stamps='recorded'))


def test_the_recorder_s_own_files_are_read(tmp_path: Path) -> None:
    from rgbt_tracker_ros.recording.raw_images import parse
    from rgbt_tracker_ros.recording.recorder import Recorder, RecorderSettings
    from rgbt_tracker_ros.recording.segment import Received, RecordedPair, Source
    made, sources = Images(), (Source(RGB, IMAGE), Source(THERMAL, IMAGE))
    recorder = Recorder(RecorderSettings(tmp_path, 'walk'))
    for i in range(FRAMES):
        raw = made.rgb(i), made.thermal(i)
        got = [Received(s, r, stamp(i) + 20 * MS, stamp(i) + 19 * MS)
               for s, r in zip(sources, raw, strict=True)]
        images = parse(raw[0], IMAGE), parse(raw[1], IMAGE)
        assert recorder.put_pair(RecordedPair(*got, images, stamp(i), 3 * MS))
        if i == 3:
            recorder.split()
    assert recorder.stop()
    dataset = open_layout('recording', tmp_path)
    assert [len(s) for s in dataset] == [4, 2]
    for first, sequence in zip((0, 4), dataset, strict=True):
        check_pairs(sequence, first)
        assert frames_of(sequence).file.whole


def test_segments_that_hold_nothing_are_left_out(tmp_path: Path) -> None:
    segment(tmp_path, 0)
    cut(segment(tmp_path, 1, open_=True), 200)
    mcap_file(segment(tmp_path, 2, open_=True)).unlink()
    cut(segment(tmp_path, 3, first=FRAMES, open_=True), -1)
    dataset = open_layout('recording', tmp_path)
    assert dataset.sequence_names == ('walk_0000', 'walk_0003') and dataset.problems() == []
    assert list(dataset.empty) == ['walk_0001', 'walk_0002']
    assert list(dataset.paths) == [f'walk_000{n}' for n in range(4)]


# --- while others are recorded, and after a kill

@pytest.mark.parametrize('compression', COMPRESSIONS)
def test_a_segment_that_becomes_whole_while_it_is_open_is_read_on(
        compression: str, tmp_path: Path) -> None:
    path = segment(tmp_path, open_=True, compression=compression, tracks=True)
    dataset = open_layout('recording', tmp_path)
    sequence, copy = dataset['walk_0000'], pickle.dumps(dataset['walk_0000'])
    sequence.pair(0)
    path.rename(tmp_path / 'walk_0000')
    check_pairs(sequence)
    check_pairs(pickle.loads(copy))
    assert len(list(frames_of(sequence).tracks())) == FRAMES - 1
    assert frames_of(sequence).identity


def test_a_broken_segment_costs_no_other(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from rgbt_tracker_ros.nodes.player_parameters import PlayerParameters, open_played
    segment(tmp_path, 0)
    segment(tmp_path, 1, pairs=0)
    segment(tmp_path, 2, first=FRAMES)
    dataset: Any = open_layout('recording', tmp_path)
    assert dataset.sequence_names == ('walk_0000', 'walk_0002')
    assert list(dataset.paths) == ['walk_0000', 'walk_0001', 'walk_0002']
    assert len(dataset.problems()) == 1 and not caplog.text
    assert [len(dataset[name]) for name in dataset.sequence_names] == [FRAMES] * 2
    assert [q.name for q in dataset] == ['walk_0000', 'walk_0002']
    assert caplog.text.count('left out') == 1
    assert 'walk_0001: no pair: images are on no topic' in caplog.text
    with pytest.raises(LayoutError, match='no pair'):
        dataset['walk_0001']
    played = open_played(PlayerParameters(layout='recording', root=str(tmp_path)))
    assert sum(s.pair is not None for s in played.shots()) == 2 * FRAMES


def test_one_that_turns_out_to_be_broken_when_it_is_opened_costs_no_other(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(2):
        path = segment(tmp_path, n)
    dataset = open_layout('recording', tmp_path)
    mcap_file(path).unlink()
    assert [q.name for q in dataset] == ['walk_0000']
    assert 'walk_0001: there is no .mcap file' in caplog.text


def test_where_all_are_broken_that_is_an_error(tmp_path: Path) -> None:
    for n in range(2):
        segment(tmp_path, n, pairs=0)
    with pytest.raises(LayoutError, match='walk_0000: no pair'):
        list(open_layout('recording', tmp_path))


@pytest.mark.parametrize('lag', ['one chunk', 'two chunks'])
def test_a_kill_before_the_first_image_leaves_nothing_to_read(lag: str, tmp_path: Path) -> None:
    """Segments of before: camera_info was in a chunk of its own, and images came in the next."""
    from recording_kit import FACTORY, INFO, info
    for number, first_only in ((0, True), (1, lag == 'one chunk')):
        path = segment(tmp_path, number, open_=True)
        with mcap_file(path).open('wb') as stream:
            writer = Writer(stream, chunk_size=2**30, compression=CompressionType.NONE)
            writer.start(profile='ros2', library='test')
            for kind, topic, data in (
                    (INFO, '/camera/color/camera_info', [info(0).data]),
                    (IMAGE, RGB, [Images().rgb(0)]), (IMAGE, THERMAL, [Images().thermal(0)])):
                text, _ = FACTORY.store.generate_msgdef(kind, ros_version=2)
                channel = writer.register_channel(topic, 'cdr', writer.register_schema(
                    kind, 'ros2msg', text.encode()))
                for message in data:
                    if kind == INFO or not first_only:
                        writer.add_message(channel, stamp(0), message, stamp(0), 0)
                if kind != IMAGE:
                    writer.flush()
            writer.flush()
    segment(tmp_path, 2)
    dataset: Any = open_layout('recording', tmp_path)
    kept = ['walk_0002'] if lag == 'one chunk' else ['walk_0001', 'walk_0002']
    assert [q.name for q in dataset] == list(dataset.sequence_names) == kept


def test_what_a_kill_in_the_first_second_leaves_is_left_out(tmp_path: Path) -> None:
    from recording_kit import info, pair, settings, settle

    from rgbt_tracker_ros.recording.recorder import Recorder
    segment(tmp_path, 0)
    recorder = Recorder(settings(tmp_path, recording='walk', chunk_bytes=2**20))
    recorder.put_info('rgb', info(0))
    recorder.put_pair(pair(0))
    settle(recorder)
    while not recorder.pairs:
        assert not recorder.failure
    shutil.copytree(tmp_path / 'walk_0001.partial', tmp_path / 'killed' / 'walk_0001.partial')
    segment(tmp_path / 'killed', 0)
    assert recorder.stop()
    dataset = open_layout('recording', tmp_path / 'killed')
    assert [q.name for q in dataset] == ['walk_0000']
    assert dataset.problems() == []


def test_what_is_being_written_is_left_out_of_the_whole(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = segment(tmp_path, 1, open_=True)
    with (tmp_path / '.walk.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for read in (list, lambda d: d['walk_0001']):
            with pytest.raises(LayoutError, match='a recorder is writing this segment'):
                read(open_layout('recording', tmp_path))
        check_pairs(next(iter(open_layout('recording', path))))     # whoever names it gets it
        segment(tmp_path, 0, open_=True)        # left by a kill
        dataset = open_layout('recording', tmp_path)
        assert dataset.sequence_names == ('walk_0000',)
        assert [q.name for q in dataset] == ['walk_0000']
        with pytest.raises(LayoutError, match='a recorder is writing this segment'):
            dataset['walk_0001']
        assert 'walk_0001.partial: a recorder is writing' in caplog.text
    assert [q.name for q in open_layout('recording', tmp_path)] == ['walk_0000', 'walk_0001']
