"""Segments on disk: what foreign readers find in them, where they are cut, what a crash leaves."""
from __future__ import annotations

from bisect import bisect_right
from collections import Counter
import os
from pathlib import Path
import random

from bag_kit import COMPRESSED, IMAGE
from mcap.reader import make_reader
from mcap.records import Chunk
from mcap.stream_reader import StreamReader, breakup_chunk
import numpy as np
import pytest
from recording_kit import (
    FACTORY,
    INFO,
    MS,
    PERIOD,
    SECOND,
    START,
    by_mcap,
    by_rosbags,
    by_streaming,
    compressed,
    image,
    info,
    manifest,
    mcap_of,
    pair,
    picture,
    record,
    segments,
    serialized,
    settings,
    track,
)
import yaml

from rgbt_tracker_ros.data.image_messages import ImageError
from rgbt_tracker_ros.recording.definitions import definition_of
from rgbt_tracker_ros.recording.gates import Gates, GateSettings
from rgbt_tracker_ros.recording.manifest import EDGES, Manifest, calibration_hash
from rgbt_tracker_ros.recording.raw_images import parse, sampled, stamp_of

PAIRS = [pair(n) for n in range(30)]
# of both messages of a pair, with what the format adds
SIZE = PAIRS[0].size + 62


def names(count: int) -> list[str]:
    return [f'r_{n:04d}' for n in range(count)]


# --- what is in a segment

@pytest.mark.parametrize('compression', ['none', 'lz4', 'zstd'])
def test_foreign_readers_find_every_byte(compression, tmp_path):
    recorder = record(settings(tmp_path, compression=compression, chunk_bytes=50_000),
                      info(START), *PAIRS, track(START))
    assert (recorder.pairs, recorder.tracks, recorder.segments) == (30, 1, 1)
    assert segments(tmp_path) == names(1)
    rows = by_mcap(tmp_path / 'r_0000')
    images = [row for row in rows if row[0] in ('/rgb/image_raw', '/thermal/image_raw')]
    assert images == [row for n, p in enumerate(PAIRS) for row in (
        ('/rgb/image_raw', n, p.rgb.received, p.rgb.data),
        ('/thermal/image_raw', n, p.thermal.received, p.thermal.data))]
    assert Counter(row[0] for row in rows) == {
        '/rgb/image_raw': 30, '/thermal/image_raw': 30, '/rgb/camera_info': 1,
        '/rgbt_tracker/track': 1}
    assert rows[0][0] == '/rgb/camera_info'
    assert sorted(by_rosbags(tmp_path / 'r_0000')) == sorted((t, at, d) for t, _, at, d in rows)
    # and by streaming, though there was no need to
    assert by_streaming(tmp_path / 'r_0000') == rows


def test_a_pair_is_in_one_chunk(tmp_path):
    record(settings(tmp_path), info(START), *PAIRS)
    with mcap_of(tmp_path / 'r_0000').open('rb') as file:
        chunks = [breakup_chunk(r) for r in StreamReader(file, emit_chunks=True).records
                  if isinstance(r, Chunk)]
    assert len(chunks) > 5
    for chunk in chunks:
        numbers = Counter(m.sequence for m in chunk if m.channel_id > 1)
        assert set(numbers.values()) <= {2}


def test_the_file_says_what_its_messages_mean(tmp_path):
    record(settings(tmp_path), info(START), *PAIRS[:2], track(START))
    from mcap.reader import make_reader
    with mcap_of(tmp_path / 'r_0000').open('rb') as file:
        reader = make_reader(file)
        assert reader.get_header().profile == 'ros2'
        summary = reader.get_summary()
    assert summary is not None
    for channel in summary.channels.values():
        schema = summary.schemas[channel.schema_id]
        assert (channel.message_encoding, schema.encoding) == ('cdr', 'ros2msg')
        assert channel.metadata.keys() == {'offered_qos_profiles', 'topic_type_hash'}
        assert schema.data.decode() == definition_of(schema.name).text
        assert 'MSG: std_msgs/Header' in schema.data.decode()
    assert {s.name for s in summary.schemas.values()} == {
        IMAGE, INFO, 'rgbt_tracker_ros/msg/Track'}


def test_metadata_is_what_rosbag2_writes(tmp_path):
    record(settings(tmp_path), *PAIRS[:3])
    text = (tmp_path / 'r_0000' / 'metadata.yaml').read_text()
    found = yaml.safe_load(text)['rosbag2_bagfile_information']
    assert (found['version'], found['storage_identifier']) == (9, 'mcap')
    assert found['relative_file_paths'] == ['r_0000_0.mcap'] == [f['path'] for f in found['files']]
    assert found['message_count'] == 6
    assert found['starting_time']['nanoseconds_since_epoch'] == PAIRS[0].thermal.received
    assert found['duration']['nanoseconds'] == 2 * PERIOD + 5 * MS
    assert {t['topic_metadata']['name']: t['message_count']
            for t in found['topics_with_message_count']} == {
                '/rgb/image_raw': 3, '/thermal/image_raw': 3}
    assert '&id' not in text        # yaml-cpp of old reads no anchors


def test_the_manifest_counts(tmp_path):
    skews = [-60 * MS, -2 * MS, 0, 2 * MS, 2 * MS, 60 * MS]
    made = [pair(n, skew=s) for n, s in enumerate(skews)]
    made.append(pair(6, size=(32, 24)))
    calibration = info(START)
    record(settings(tmp_path, recorder='/robot/rgbt_recorder', offset=3 * MS), calibration, *made,
           track(START))
    found = manifest(tmp_path, 'r_0000')
    assert (found['state'], found['reason'], found['recording'], found['segment']) == (
        'closed', 'stop', 'r', 0)
    assert (found['pairs'], found['tracks'], found['recorder']) == (7, 1, '/robot/rgbt_recorder')
    assert found['bytes'] == mcap_of(tmp_path / 'r_0000').stat().st_size
    assert (found['first_stamp'], found['last_stamp']) == (START, START + 6 * PERIOD)
    assert found['first_received'] == START     # of the track
    thermal = found['streams']['thermal']
    assert thermal['formats'] == [
        {'encoding': 'mono16', 'width': 64, 'height': 48, 'pairs': 6},
        {'encoding': 'mono16', 'width': 32, 'height': 24, 'pairs': 1}]
    values = np.concatenate([picture((64, 48), 'mono16', n)[::8, ::8].ravel() for n in range(6)]
                            + [picture((32, 24), 'mono16', 6)[::8, ::8].ravel()])
    assert (thermal['minimum'], thermal['maximum']) == (values.min(), values.max())
    assert (thermal['topic'], thermal['type']) == ('/thermal/image_raw', IMAGE)
    expected = [0] * (len(EDGES) + 1)
    for skew in [*skews, 2 * MS]:
        expected[bisect_right(EDGES, skew / MS)] += 1
    assert found['skew']['counts'] == expected
    assert expected[0] == expected[-1] == 1
    assert (found['skew']['median'], found['skew']['p95'], found['skew']['offset']) == (2, 60, 3)
    assert found['calibration'] == {'rgb': [calibration_hash(calibration.data)], 'thermal': []}


def test_camera_info_is_written_once_and_again_when_it_changes(tmp_path):
    items = [info(START), PAIRS[0], info(START + 1), PAIRS[1], info(START + 2, 600.0), PAIRS[2],
             'split', PAIRS[3]]
    record(settings(tmp_path), *items)
    first, second = (by_mcap(tmp_path / name) for name in names(2))
    assert [d for t, _, _, d in first if t.endswith('info')] == [items[0].data, items[4].data]
    assert [d for t, _, _, d in second if t.endswith('info')] == [items[4].data]
    assert len(manifest(tmp_path, 'r_0000')['calibration']['rgb']) == 2


# --- where segments begin

def test_a_clock_that_is_set_back_once_is_one_cut_also_with_camera_info(tmp_path):
    back = 3600 * SECOND
    items = [info(START), *PAIRS[:4], *(
        pair(n, received=START + n * PERIOD + 20 * MS - back) for n in range(4, 12))]
    record(settings(tmp_path), *items)
    assert segments(tmp_path) == names(2)
    found = [manifest(tmp_path, name) for name in names(2)]
    assert [(m['pairs'], m['reason']) for m in found] == [(4, 'clock'), (8, 'stop')]
    assert [len(m['calibration']['rgb']) for m in found] == [1, 1]


def start_told_to_others(segment: Path) -> int:
    """Return when a segment begins by metadata.yaml, which must agree with the MCAP file; ns."""
    text = yaml.safe_load((segment / 'metadata.yaml').read_text())
    told = text['rosbag2_bagfile_information']['starting_time']['nanoseconds_since_epoch']
    with mcap_of(segment).open('rb') as file:
        summary = make_reader(file).get_summary()
    assert summary is not None and summary.statistics is not None
    assert summary.statistics.message_start_time == told
    assert told == manifest(segment.parent, segment.name)['first_received']
    return int(told)


def test_every_segment_begins_with_its_first_pair_for_others_too(tmp_path):
    record(settings(tmp_path, segment_duration=4 * PERIOD), info(START - 600 * SECOND),
           *PAIRS[:12])
    assert segments(tmp_path) == names(3)
    for n, name in enumerate(names(3)):
        first = PAIRS[4 * n].thermal
        assert start_told_to_others(tmp_path / name) == first.received
        topic, _, logged, data = by_mcap(tmp_path / name)[0]
        assert (topic, logged) == ('/rgb/camera_info', first.received)
        assert stamp_of(data) == START - 600 * SECOND       # the bytes are as they came


def test_what_comes_before_the_first_pair_by_a_clock_set_back_is_of_the_next_segment(tmp_path):
    back = 3600 * SECOND
    later = [pair(n, received=START + n * PERIOD + 20 * MS - back) for n in (2, 3)]
    record(settings(tmp_path), *PAIRS[:2], track(START + PERIOD), track(START + 2 * PERIOD - back),
           info(START + 2 * PERIOD - back), *later)
    assert [start_told_to_others(tmp_path / name) for name in names(2)] == [
        PAIRS[0].thermal.received, later[0].thermal.received]
    first, second = (Counter(row[0] for row in by_mcap(tmp_path / name)) for name in names(2))
    assert (first['/rgbt_tracker/track'], first['/rgb/camera_info']) == (1, 0)
    assert second['/rgb/camera_info'] == 1


@pytest.mark.parametrize('calibrated', [True, False])
def test_the_first_chunk_has_a_pair_in_it(calibrated, tmp_path):
    record(settings(tmp_path), *([info(START)] if calibrated else []), *PAIRS)
    with mcap_of(tmp_path / 'r_0000').open('rb') as file:
        chunk = next(r for r in StreamReader(file, emit_chunks=True).records
                     if isinstance(r, Chunk))
    assert len(breakup_chunk(chunk)) >= 2 + calibrated


def test_times_may_be_zero():
    made = Manifest('', 'r', 0, '', 'none', {}, {})
    for time in (0, 5, 3):
        made.add_received(time)
    assert (made.first_received, made.last_received) == (0, 5)


# --- where segments end

CUTS = {
    'size': ({'segment_bytes': 3 * SIZE + 70_000}, PAIRS[:10], [3, 3, 3, 1]),
    'time': ({'segment_duration': 4 * PERIOD}, PAIRS[:10], [4, 4, 2]),
    'split': ({}, [*PAIRS[:3], 'split', *PAIRS[3:5]], [3, 2]),
    'split without a pair': ({}, ['split', PAIRS[0], 'split', 'split', PAIRS[1]], [1, 1]),
    'stamps that go back': ({}, [pair(100), pair(101), pair(0), pair(1)], [2, 2]),
    'equal stamps': ({}, [pair(0), pair(0, received=START + SECOND)], [1, 1]),
    'a clock set back an hour': ({}, [
        pair(0), pair(1, received=START - 3600 * SECOND), pair(2, received=START)], [1, 2]),
}
REASONS = {'size': 'size', 'time': 'time', 'split': 'split', 'split without a pair': 'split',
           'stamps that go back': 'clock', 'equal stamps': 'clock',
           'a clock set back an hour': 'clock'}


@pytest.mark.parametrize('case', CUTS)
def test_segments_are_cut_between_pairs(case, tmp_path):
    changes, items, counts = CUTS[case]
    recorder = record(settings(tmp_path, **changes), *items)
    assert not recorder.failure
    assert segments(tmp_path) == names(len(counts))
    found = [manifest(tmp_path, name) for name in names(len(counts))]
    assert [m['pairs'] for m in found] == counts
    assert [m['reason'] for m in found] == [REASONS[case]] * (len(counts) - 1) + ['stop']
    rows = [by_mcap(tmp_path / name) for name in names(len(counts))]
    assert [len(r) for r in rows] == [2 * n for n in counts]
    assert [d for r in rows for _, _, _, d in r] == [
        d for p in items if p != 'split' for d in (p.rgb.data, p.thermal.data)]
    if case == 'size':
        assert all(m['bytes'] <= changes['segment_bytes'] for m in found)


def test_a_new_start_goes_on_with_the_next_number(tmp_path):
    record(settings(tmp_path), PAIRS[0])
    (tmp_path / 'r_0006.partial').mkdir()       # left by one that was killed
    (tmp_path / 'other_0009').mkdir()
    record(settings(tmp_path), PAIRS[1])
    assert segments(tmp_path) == ['other_0009', 'r_0000', 'r_0006.partial', 'r_0007']


def test_without_a_pair_there_is_no_segment(tmp_path):
    record(settings(tmp_path), info(START), track(START))
    assert segments(tmp_path) == []


# --- a file that ends anywhere

@pytest.mark.parametrize('compression', ['none', 'zstd'])
def test_all_whole_chunks_of_a_torn_file_are_read(compression, tmp_path):
    record(settings(tmp_path, compression=compression), info(START), *PAIRS)
    file = mcap_of(tmp_path / 'r_0000')
    data, rows = file.read_bytes(), by_mcap(tmp_path / 'r_0000')
    most = 1 + 2 * -(-65536 // PAIRS[0].size)       # messages in a chunk
    rng, last = random.Random(1), 0
    for end in sorted(rng.sample(range(5000, len(data)), 12)):
        os.truncate(file, 0)
        file.write_bytes(data[:end])
        found = by_streaming(tmp_path / 'r_0000')
        assert found == rows[:len(found)]
        assert last <= len(found)
        last = len(found)
        if compression == 'none':
            written = sum(len(row[3]) for row in rows[:len(found) + most])
            assert written > end - 20_000       # no more than one chunk is missing


# --- looking into bytes

@pytest.mark.parametrize('encoding', ['bgr8', 'mono8', 'mono16'])
@pytest.mark.parametrize('size', [(64, 48), (61, 43)])
@pytest.mark.parametrize('padding', [0, 6])
def test_images_are_understood_in_their_bytes(encoding, size, padding):
    raw = image(START + 5, encoding, size, 3, padding)
    found = parse(raw, IMAGE)
    assert stamp_of(raw) == START + 5
    assert (found.frame_id, found.encoding, found.width, found.height) == (
        'camera', encoding, *size)
    pixels = picture(size, encoding, 3)
    expected = pixels[::8, ::8].reshape(*pixels[::8, ::8].shape[:2], -1)
    assert np.array_equal(sampled(found), expected)


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
def test_compressed_images_are_understood_too(suffix):
    found = parse(compressed(START, suffix), COMPRESSED)
    assert found.format == suffix
    assert sampled(found).shape == (6, 8)


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'abcd', 'täßt'])
def test_names_of_any_length_move_what_follows(frame_id):
    message = FACTORY.image(picture((16, 8), 'mono8', 0), 'mono8', START)
    message.header.frame_id = frame_id
    found = parse(serialized(message, IMAGE), IMAGE)
    assert (found.frame_id, found.width, found.height, found.step) == (frame_id, 16, 8, 16)
    assert bytes(found.data) == bytes(message.data)


@pytest.mark.parametrize('cut', [0, 3, 11, 13, 30, 60, 500])
def test_bytes_that_are_no_image_are_refused(cut):
    with pytest.raises(ImageError, match=r'bytes'):
        raw = image(START)[:cut]
        stamp_of(raw)
        parse(raw, IMAGE)


# --- gates

def looks(value: int, stamp: int, noise: int = 0) -> tuple:
    """Return a stamp and two images with a bright patch of that value."""
    rng = np.random.default_rng(stamp)
    pixels = np.linspace(0, 200, 64 * 48).reshape(48, 64) + rng.integers(0, noise + 1, (48, 64))
    pixels[:24, :24] += value
    raw = serialized(FACTORY.image(pixels.clip(0, 255).astype(np.uint8), 'mono8', stamp), IMAGE)
    return stamp, (parse(raw, IMAGE), parse(raw, IMAGE))


GATES = [
    ({}, [looks(0, n) for n in range(4)], [1, 1, 1, 1], {}),
    ({'every_n': 3}, [looks(0, n) for n in range(7)], [1, 0, 0, 1, 0, 0, 1], {'every_n': 4}),
    ({'min_interval': 100}, [looks(0, n) for n in (0, 60, 110, 150, 210)], [1, 0, 1, 0, 1],
     {'interval': 2}),
    ({'min_interval': 2 * SECOND}, [looks(0, n * SECOND) for n in (100, 101, 5, 6, 7)],
     [1, 0, 1, 0, 1], {'interval': 2}),         # the clock went back: that is no short interval
    ({'scene_change': 10.0}, [looks(v, n) for n, v in enumerate((0, 0, 50, 50, 0))],
     [1, 0, 1, 0, 1], {'unchanged': 2}),
    ({'scene_change': 10.0}, [looks(0, n, noise=8) for n in range(5)], [1, 0, 0, 0, 0],
     {'unchanged': 4}),
    ({'scene_change': 10.0}, [looks(v, n) for n, v in enumerate((0, 8, 16, 24, 32))],
     [1, 0, 0, 1, 0], {'unchanged': 3}),        # slow change adds up
    ({'every_n': 2, 'scene_change': 10.0}, [looks(v, n) for n, v in enumerate((0, 90, 0, 90, 90))],
     [1, 0, 0, 0, 1], {'every_n': 2, 'unchanged': 1})]


@pytest.mark.parametrize('changes, pairs, expected, skipped', GATES)
def test_gates(changes, pairs, expected, skipped):
    gates = Gates(GateSettings(**changes))
    assert [int(gates.admit(stamp, images)) for stamp, images in pairs] == expected
    assert gates.skipped == skipped


def test_another_size_is_a_change():
    gates = Gates(GateSettings(scene_change=50.0))
    assert gates.admit(*looks(0, 0))
    small = parse(image(1, 'mono8', (32, 24)), IMAGE)
    assert gates.admit(1, (small, small))


def test_what_gates_leave_out_is_in_the_manifest(tmp_path):
    record(settings(tmp_path, gates=GateSettings(every_n=4)), *PAIRS[:9], 'split', *PAIRS[9:14])
    found = [manifest(tmp_path, name) for name in names(2)]
    assert [m['pairs'] for m in found] == [3, 1]
    assert [m['skipped']['every_n'] for m in found] == [6, 4]
    assert found[0]['gates'] == {'every_n': 4, 'min_interval': 0, 'scene_change': 0}


def test_definitions_of_unknown_types_are_refused():
    with pytest.raises(ValueError, match=r'acme/msg/Thing is not known here'):
        definition_of('acme/msg/Thing')


def test_folders_are_whole_or_partial(tmp_path):
    seen: set[str] = set()
    from rgbt_tracker_ros.recording.recorder import Recorder
    recorder = Recorder(settings(tmp_path, segment_duration=2 * PERIOD),
                        changed=lambda: seen.update(segments(tmp_path)))
    for p in PAIRS[:5]:
        recorder.put_pair(p)
    assert recorder.stop()
    assert seen == {'r_0000.partial', 'r_0000', 'r_0001.partial', 'r_0001', 'r_0002.partial',
                    'r_0002'}
    assert segments(tmp_path) == names(3)
    for name in names(3):
        assert {p.name for p in Path(tmp_path / name).iterdir()} == {
            f'{name}_0.mcap', 'metadata.yaml', 'manifest.json'}
