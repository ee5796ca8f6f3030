"""Disks that are full, slow, gone or limited, and processes that are killed: nothing is harmed."""
from __future__ import annotations

import errno
import json
import os
from pathlib import Path
import random
import shutil
import signal
import subprocess
import sys
from threading import Event, current_thread
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

from rgbt_tracker_ros.recording import reserved_file, segment
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


def test_segments_that_others_took_away_do_not_count(tmp_path):
    made = settings(tmp_path, segment_bytes=3 * SIZE + 70_000, max_total_bytes=LIMIT)
    recorder = Recorder(made)
    for p in PAIRS:
        recorder.put_pair(p)
        settle(recorder)
        for name in segments(tmp_path):     # as whoever collects whole segments would
            if not name.endswith('.partial'):
                shutil.rmtree(tmp_path / name, ignore_errors=True)
    assert recorder.stop()
    assert (recorder.failure, recorder.pairs) == ('', len(PAIRS))


def test_a_segment_that_is_taken_away_at_once_is_no_failure(tmp_path, monkeypatch):
    taken, real = tmp_path / 'taken', segment.sync_folder
    taken.mkdir()

    def take(path: Path) -> None:
        real(path)
        for name in ('r_0000', 'r_0001'):
            if (path / name).is_dir():
                (path / name).rename(taken / name)
    monkeypatch.setattr(segment, 'sync_folder', take)
    recorder = record(settings(tmp_path / 'own'), *PAIRS[:3], 'split', *PAIRS[3:6])
    assert (recorder.failure, recorder.segments) == ('', 2)
    assert data_of(taken, 'r_0000', 'r_0001') == expected(6)


def test_one_that_goes_while_it_is_to_be_deleted_is_gone(tmp_path, monkeypatch):
    record(settings(tmp_path), *PAIRS[:2])
    place = Place(tmp_path, 'r')
    whole, = place.segments()
    real = json.loads
    monkeypatch.setattr(json, 'loads', lambda text: (shutil.rmtree(whole.path), real(text))[1])
    assert place.delete(whole)
    place.release()


def test_old_segments_are_deleted_in_the_recorder_s_own_thread(tmp_path, monkeypatch):
    record(settings(tmp_path, segment_bytes=3 * SIZE + 70_000), *PAIRS)
    where, delete = set[str](), Place.delete
    monkeypatch.setattr(Place, 'delete', lambda self, of: (
        where.add(current_thread().name), delete(self, of))[1])
    recorder = Recorder(settings(tmp_path, max_total_bytes=LIMIT, keep_newest=True))
    assert recorder.stop() and not recorder.failure
    assert where == {'recorder'}
    assert sum(p.stat().st_size for p in tmp_path.glob('*/*')) < LIMIT


def test_who_asks_what_is_free_waits_for_no_disk(tmp_path, monkeypatch):
    def free(_: Place) -> int:
        assert current_thread().name == 'recorder'
        return 10**9
    recorder = Recorder(settings(tmp_path))
    monkeypatch.setattr(Place, 'free', property(free))
    recorder.put_pair(PAIRS[0])
    settle(recorder)
    end = time.monotonic() + 10
    while recorder.free_bytes != 10**9:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert recorder.stop() and not recorder.failure
    assert recorder.free_bytes == 10**9


# --- the power is cut

def test_what_is_written_goes_on_the_disk_while_the_segment_is_open(tmp_path, monkeypatch):
    synced, real = list[tuple[str, int]](), os.fdatasync

    def note(file: int) -> None:
        real(file)
        synced.append((os.readlink(f'/proc/self/fd/{file}'), os.fstat(file).st_size))
    monkeypatch.setattr(reserved_file.os, 'fdatasync', note)
    recorder = Recorder(settings(tmp_path, flush_interval=20_000_000, sync_interval=50_000_000))
    for p in PAIRS[:3]:
        recorder.put_pair(p)
    end = time.monotonic() + 10
    while not synced or synced[-1][1] < 3 * SIZE:
        assert time.monotonic() < end
        time.sleep(0.01)
    count = len(synced)
    time.sleep(0.3)
    assert len(synced) == count     # nothing new, nothing to do
    assert {path for path, _ in synced} == {str(tmp_path / 'r_0000.partial' / 'r_0000_0.mcap')}
    assert recorder.stop() and not recorder.failure


def test_the_names_of_an_open_segment_are_on_the_disk(tmp_path, monkeypatch):
    synced, real = list[str](), os.fsync
    monkeypatch.setattr(reserved_file.os, 'fsync', lambda file: (
        synced.append(os.readlink(f'/proc/self/fd/{file}')), real(file))[1])
    recorder = Recorder(settings(tmp_path))
    recorder.put_pair(PAIRS[0])
    settle(recorder)
    end = time.monotonic() + 10
    while not recorder.pairs and time.monotonic() < end:
        time.sleep(0.01)
    assert {str(tmp_path), str(tmp_path / 'r_0000.partial')} <= set(synced)
    assert recorder.stop()


def test_a_disk_that_pauses_over_it_costs_no_pair(tmp_path, monkeypatch):
    began, go = Event(), Event()
    monkeypatch.setattr(reserved_file.os, 'fdatasync', lambda _: (began.set(), go.wait(20)))
    recorder = Recorder(settings(tmp_path, queue_bytes=3 * SIZE, flush_interval=1_000_000,
                                 sync_interval=1_000_000))
    for p in PAIRS:
        assert recorder.put_pair(p)
        settle(recorder)
        time.sleep(0.005)
    assert began.is_set() and not go.is_set()
    go.set()
    assert recorder.stop() and recorder.dropped == 0
    assert data_of(tmp_path, 'r_0000') == expected(len(PAIRS))


def test_what_the_disk_has_lost_ends_the_recording(tmp_path, monkeypatch):
    def lose(_: int) -> None:
        raise OSError(errno.EIO, 'Input/output error')
    monkeypatch.setattr(reserved_file.os, 'fdatasync', lose)
    recorder = Recorder(settings(tmp_path, flush_interval=1_000_000, sync_interval=1_000_000))
    end = time.monotonic() + 10
    for p in PAIRS:
        recorder.put_pair(p)
        time.sleep(0.02)
    while not recorder.failure and time.monotonic() < end:
        time.sleep(0.01)
    assert recorder.failure == f'{tmp_path}: Input/output error'
    assert segments(tmp_path) == ['r_0000.partial']


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
