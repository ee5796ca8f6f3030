"""Disks that are full, slow, gone or limited, and processes that are killed: nothing is harmed."""
from __future__ import annotations

import errno
import os
from pathlib import Path
import random
import shutil
import signal
import subprocess
import sys
from threading import Event
import time

import pytest
from recording_kit import (
    by_mcap,
    by_rosbags,
    by_streaming,
    info,
    manifest,
    mcap_of,
    pair,
    record,
    segments,
    settings,
    settle,
    track,
)

from rgbt_tracker_ros.recording import reserved_file
from rgbt_tracker_ros.recording.place import Place, RecordingError
from rgbt_tracker_ros.recording.recorder import Recorder
from rgbt_tracker_ros.recording.segment import Segment

PAIRS = [pair(n) for n in range(40)]
SIZE = PAIRS[0].size


def data_of(folder: Path, *names: str) -> list[bytes]:
    return [row[3] for name in names for row in by_mcap(folder / name)]


def expected(count: int, first: int = 0) -> list[bytes]:
    return [d for p in PAIRS[first:first + count] for d in (p.rgb.data, p.thermal.data)]


class SmallDisk:
    """Of `room` bytes, which the reserve takes its share of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, reserve: bool = True) -> None:
        self.room, self.reserve = room, reserve
        self.full = False
        monkeypatch.setattr(reserved_file.os, 'writev', self.writev)

    def writev(self, file: int, views: list[memoryview]) -> int:
        folder = Path(os.readlink(f'/proc/self/fd/{file}')).parent
        if self.room <= 0 and not (self.reserve and not (folder / 'reserve').exists()):
            self.full = True
            raise OSError(errno.ENOSPC, 'No space left on device')
        data = b''.join(views)
        if self.room > 0:
            data = data[:self.room]     # the last call before it is full writes a part
            self.room -= len(data)
        return os.write(file, data)


@pytest.mark.parametrize('room', [10 * SIZE, 10 * SIZE + 30, 7 * SIZE + 12_345])
def test_a_full_disk_ends_the_recording_and_no_pair_that_was_taken_is_lost(
        room, tmp_path, monkeypatch):
    record(settings(tmp_path), *PAIRS[:2])
    disk = SmallDisk(monkeypatch, room)
    recorder = record(settings(tmp_path), *PAIRS[2:])
    assert disk.full
    assert 'is full; free some space' in recorder.failure
    assert segments(tmp_path) == ['r_0000', 'r_0001']
    found = manifest(tmp_path, 'r_0001')
    assert (found['reason'], found['pairs']) == ('disk', recorder.pairs)
    assert room // SIZE <= recorder.pairs < len(PAIRS) - 2
    assert data_of(tmp_path, 'r_0000', 'r_0001') == expected(2 + recorder.pairs)
    assert not recorder.put_pair(PAIRS[0])


def test_a_disk_without_room_for_the_end_leaves_what_can_be_streamed(tmp_path, monkeypatch):
    record(settings(tmp_path), *PAIRS[:2])
    SmallDisk(monkeypatch, 10 * SIZE, reserve=False)
    recorder = record(settings(tmp_path), *PAIRS)
    assert 'is full' in recorder.failure
    assert segments(tmp_path) == ['r_0000', 'r_0001.partial']
    found = [row[3] for row in by_streaming(tmp_path / 'r_0001.partial')]
    assert found == expected(len(found) // 2)
    assert len(found) >= 2 * 4
    assert data_of(tmp_path, 'r_0000') == expected(2)


def test_no_room_for_the_reserve_leaves_nothing_behind(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(reserved_file.os, 'posix_fallocate', refuse)
    assert 'is full' in record(settings(tmp_path), *PAIRS[:3]).failure
    assert segments(tmp_path) == []


def test_too_little_free_space_refuses_to_start(tmp_path):
    with pytest.raises(RecordingError, match=r'bytes are free in .*, fewer than min_free_bytes'):
        Recorder(settings(tmp_path, min_free_bytes=10**18))
    assert segments(tmp_path) == []
    record(settings(tmp_path), PAIRS[0])        # and keeps no lock


def test_too_little_free_space_stops_cleanly(tmp_path, monkeypatch):
    free = [10**9]
    monkeypatch.setattr(Place, 'free', property(lambda _: free[0]))
    recorder = Recorder(settings(tmp_path, min_free_bytes=10**6))
    for n, p in enumerate(PAIRS[:6]):
        if n == 4:
            free[0] = 10**5
        recorder.put_pair(p)
        settle(recorder)
        time.sleep(0.02)
    assert recorder.stop()
    assert '100,000 bytes are free' in recorder.failure
    assert data_of(tmp_path, 'r_0000') == expected(4)
    assert manifest(tmp_path, 'r_0000')['reason'] == 'disk'


def test_a_folder_that_vanishes_ends_the_recording(tmp_path):
    record(settings(tmp_path), *PAIRS[:2])
    recorder = Recorder(settings(tmp_path))
    for p in PAIRS[2:5]:
        recorder.put_pair(p)
    end = time.monotonic() + 5
    while recorder.pairs < 3 and time.monotonic() < end:
        time.sleep(0.01)
    shutil.rmtree(tmp_path / 'r_0001.partial')
    recorder.put_pair(PAIRS[5])
    assert recorder.stop()
    assert recorder.failure.startswith(f'{tmp_path}/r_0001.partial has vanished')
    assert segments(tmp_path) == ['r_0000']
    assert data_of(tmp_path, 'r_0000') == expected(2)


def test_the_whole_directory_vanishes_while_nothing_comes(tmp_path):
    folder = tmp_path / 'disk'
    recorder = Recorder(settings(folder, flush_interval=10_000_000))
    recorder.put_pair(PAIRS[0])
    end = time.monotonic() + 5
    while not recorder.pairs and time.monotonic() < end:
        time.sleep(0.01)
    shutil.rmtree(folder)
    while not recorder.failure and time.monotonic() < end:
        time.sleep(0.01)
    assert 'has vanished' in recorder.failure
    assert recorder.free_bytes == 0
    record(settings(folder), PAIRS[1])
    assert segments(folder) == ['r_0000']


def test_a_folder_that_can_not_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(RecordingError, match=r'file/here can not be written: Not a directory'):
        Recorder(settings(tmp_path / 'file' / 'here'))


def test_what_a_killed_recorder_left_and_can_not_be_removed_is_named(tmp_path):
    (tmp_path / 'r_0000.partial' / 'reserve' / 'in it').mkdir(parents=True)
    for _ in range(2):      # no lock is left behind
        with pytest.raises(RecordingError, match=r'r_0000\.partial/reserve is in the way'):
            Recorder(settings(tmp_path))
    shutil.rmtree(tmp_path / 'r_0000.partial')
    assert Recorder(settings(tmp_path)).stop()


def test_the_reserve_holds_a_pair_of_any_size(tmp_path, monkeypatch):
    asked = []
    allocate = reserved_file.os.posix_fallocate
    monkeypatch.setattr(reserved_file.os, 'posix_fallocate',
                        lambda fd, at, size: (asked.append(size), allocate(fd, at, size))[1])
    record(settings(tmp_path, chunk_bytes=1000), PAIRS[0])
    assert asked[0] >= 2 * (1000 + PAIRS[0].size)


@pytest.mark.parametrize('name', ['', '../x', 'a/b', '.hidden', 'a b'])
def test_names_that_are_no_file_names(name, tmp_path):
    with pytest.raises(RecordingError, match=r'it must be a file name'):
        Recorder(settings(tmp_path, recording=name))


def test_two_recorders_keep_apart(tmp_path):
    first = Recorder(settings(tmp_path))
    with pytest.raises(RecordingError, match=r'another recorder writes'):
        Recorder(settings(tmp_path))
    other = Recorder(settings(tmp_path, recording='s'))
    for recorder in (first, other):
        recorder.put_pair(PAIRS[0])
        assert recorder.stop()
    assert segments(tmp_path) == ['r_0000', 's_0000']
    assert Recorder(settings(tmp_path)).stop()


# --- limits

LIMIT = 7 * SIZE + 600_000      # summaries are estimated at 65 kB


def test_keep_newest_deletes_whole_oldest_segments_of_this_recording_only(tmp_path):
    record(settings(tmp_path, recording='other'), *PAIRS[:5])
    foreign = tmp_path / 'r_0000'
    foreign.mkdir()
    (foreign / 'notes.txt').write_text('no manifest: somebody made this by hand')
    recorder = record(settings(tmp_path, segment_bytes=3 * SIZE + 70_000, max_total_bytes=LIMIT,
                               keep_newest=True), *PAIRS)
    assert not recorder.failure
    assert recorder.pairs == len(PAIRS)
    kept = [s for s in segments(tmp_path) if s.startswith('r_') and s != 'r_0000']
    assert 2 <= len(kept) < 13
    assert (tmp_path / 'r_0000' / 'notes.txt').exists()
    assert 'other_0000' in segments(tmp_path)
    found = data_of(tmp_path, *kept)
    assert found == expected(len(found) // 2, len(PAIRS) - len(found) // 2)
    assert sum(p.stat().st_size for k in kept for p in (tmp_path / k).iterdir()) <= LIMIT
    assert not list(tmp_path.glob('.*.deleting'))


def test_what_was_left_by_a_killed_recorder_goes_as_well(tmp_path):
    record(settings(tmp_path), *PAIRS[:4])
    (tmp_path / 'r_0000').rename(tmp_path / 'r_0000.partial')
    record(settings(tmp_path, segment_bytes=3 * SIZE + 70_000, max_total_bytes=LIMIT,
                    keep_newest=True), *PAIRS)
    assert 'r_0000.partial' not in segments(tmp_path)


def test_without_keep_newest_the_limit_ends_the_recording(tmp_path):
    recorder = record(settings(tmp_path, segment_bytes=3 * SIZE + 70_000, max_total_bytes=LIMIT),
                      *PAIRS)
    assert 'and max_total_bytes is' in recorder.failure
    found = data_of(tmp_path, *segments(tmp_path))
    assert found == expected(recorder.pairs)
    assert manifest(tmp_path, segments(tmp_path)[-1])['state'] == 'closed'
    with pytest.raises(RecordingError, match='delete segments'):
        Recorder(settings(tmp_path, max_total_bytes=LIMIT // 2))


# --- speed

def test_a_slow_disk_costs_counted_pairs_and_never_time(tmp_path, monkeypatch):
    go, write = Event(), Segment.add_pair
    monkeypatch.setattr(Segment, 'add_pair', lambda s, p: go.wait(10) and write(s, p))
    recorder = Recorder(settings(tmp_path, queue_bytes=5 * SIZE))
    assert recorder.put_pair(PAIRS[0])
    settle(recorder)                    # it is out of the queue, and waits for the disk
    taken = [recorder.put_pair(p) for p in PAIRS[1:10]]
    assert taken == [True] * 5 + [False] * 4
    assert recorder.queued_bytes == 5 * SIZE
    assert recorder.dropped == 4
    go.set()
    settle(recorder)
    assert recorder.put_pair(PAIRS[10])
    assert recorder.stop()
    assert data_of(tmp_path, 'r_0000') == expected(6) + expected(1, 10)
    assert manifest(tmp_path, 'r_0000')['dropped'] == 4


def test_tracks_have_a_bound_too(tmp_path, monkeypatch):
    go, write = Event(), Segment.add_pair
    monkeypatch.setattr(Segment, 'add_pair', lambda s, p: go.wait(10) and write(s, p))
    recorder = Recorder(settings(tmp_path))
    recorder.put_pair(PAIRS[0])
    one = track(PAIRS[0].stamp)
    taken = sum(recorder.put_track(one) for _ in range(20_000))
    go.set()
    assert recorder.stop()
    assert taken == recorder.tracks == (1 << 20) // len(one.data)


def test_what_fails_by_our_own_fault_is_told(tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError('a bug')
    monkeypatch.setattr(Segment, 'add_pair', broken)
    recorder = record(settings(tmp_path), *PAIRS[:3])
    assert recorder.failure == 'ZeroDivisionError: a bug'
    assert isinstance(recorder.error, ZeroDivisionError)
    assert not recorder.put_pair(PAIRS[0])
    record(settings(tmp_path), PAIRS[0])        # and keeps no lock


# --- processes that are killed

CHILD = """
import sys
from recording_kit import *
recorder = Recorder(settings(Path(sys.argv[1]), chunk_bytes=3 * 14_000, flush_interval=50_000_000,
                             segment_duration=20 * PERIOD))
recorder.put_info('rgb', info(START))
for n in range(100_000):
    recorder.put_pair(pair(n))
    if n % 5 == 4:
        settle(recorder)
        print(n + 1, flush=True)
"""


def run_child(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, '-c', CHILD, str(folder)], stdout=subprocess.PIPE,
                            text=True, cwd=Path(__file__).parent)


@pytest.mark.parametrize('moment', range(5))
def test_sigkill_costs_no_more_than_the_last_chunk(moment, tmp_path):
    count = random.Random(moment).randint(25, 150)
    with run_child(tmp_path) as child:
        assert child.stdout is not None
        handled = next(n for n in map(int, child.stdout) if n >= count)
        time.sleep(random.Random(moment + 99).random() * 0.02)
        child.send_signal(signal.SIGKILL)
    found = segments(tmp_path)
    whole = [name for name in found if not name.endswith('.partial')]
    assert found == [f'r_{n:04d}' for n in range(len(whole))] + [
        f'r_{n:04d}.partial' for n in range(len(whole), len(found))]
    assert len(found) - len(whole) <= 1
    rows = []
    for name in found:
        read = by_streaming if name.endswith('.partial') else by_mcap
        rows += [row for row in read(tmp_path / name) if row[0].endswith('image_raw')]
        if name in whole:
            assert len(by_rosbags(tmp_path / name)) == 41       # 20 pairs and a camera_info
            assert manifest(tmp_path, name)['pairs'] == 20
    assert len(rows) % 2 == 0
    pairs = [pair(n) for n in range(len(rows) // 2)]
    assert [row[3] for row in rows] == [d for p in pairs for d in (p.rgb.data, p.thermal.data)]
    assert len(pairs) >= handled - 4            # a chunk holds three pairs
    assert sorted(by_streaming(tmp_path / found[0]))        # even of whole ones
    record(settings(tmp_path), info(0), PAIRS[0])
    assert not list(tmp_path.glob('*/reserve'))
    assert segments(tmp_path) == [*found, f'r_{len(found):04d}']
    assert mcap_of(tmp_path / f'r_{len(found):04d}').stat().st_size
