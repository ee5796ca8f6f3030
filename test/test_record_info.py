"""`rgbt record-info`: the table, what is wrong, JSON, and the picture."""
from __future__ import annotations

import fcntl
import json
from pathlib import Path
import shutil
import time
from typing import Any

from bag_kit import MS
import cv2
import numpy as np
import pytest
from segments_kit import FRAMES, Images, cut, mcap_file, segment, stamp

from rgbt_tracker_ros.cli import main
from rgbt_tracker_ros.data.layouts import open_layout
from rgbt_tracker_ros.data.segments_info import look, missing_numbers


def info(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    status = main(['record-info', str(root), *options])
    said = capsys.readouterr()
    return status, said.out, said.err


def facts(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    _, out, err = info(root, capsys, '--json', '-')
    assert not err
    return json.loads(out)  # type: ignore[no-any-return]


def test_a_whole_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(2):
        segment(tmp_path, n, first=n * FRAMES, tracks=True)
    status, out, _ = info(tmp_path, capsys)
    lines = out.splitlines()
    assert status == 0 and lines[-1] == 'nothing is wrong'
    for line, first in zip(lines[2:4], ('walk_0000', 'walk_0001'), strict=True):
        words = line.split()
        assert words[0] == first and words[1:5] == ['6', '0:00.2', '20.0', 'Hz']
        assert 'rgb8 64x48' in line and 'mono16' in line and '3.0 / 3.0 ms' in line
        assert words[-2:] == ['6', 'whole']
    assert lines[5].split()[:2] == ['total', '12']
    found = facts(tmp_path, capsys)
    assert found['total']['pairs'] == 12 and found['problems'] == []
    assert found['total']['skew_p95'] == pytest.approx(3.0)
    one = found['segments'][1]
    assert (one['first_stamp'], one['last_stamp']) == (stamp(FRAMES), stamp(2 * FRAMES - 1))
    assert one['streams']['thermal']['formats'][0]['images'] == FRAMES
    assert one['rate'] == pytest.approx(20) and one['sampled'] is True


WRONG = {
    'killed': (lambda d: cut(segment(d, open_=True), -200), 'cut off', 'is cut off at'),
    'gap': (lambda d: segment(d, rgb=lambda i: Images().rgb(i + 20 * (i > 2), i)), 'whole',
            'a gap of 1.05 s after pair 2'),
    'dropped': (lambda d: segment(d, dropped=4), 'whole', '4 pairs dropped'),
    'unmatched': (lambda d: segment(d, unmatched=4), 'whole', '4 images had no partner'),
    'manifest': (lambda d: segment(d, pairs_told=7), 'whole', 'the manifest says 7 pairs'),
    'disk': (lambda d: segment(d, reason='disk'), 'whole', 'the disk was full'),
    'calibration': (lambda d: segment(d, calibration={'rgb': ['a', 'b']}), 'whole',
                    'the calibration of rgb changed 1 times'),
    'size': (lambda d: segment(d, thermal=lambda i: Images().thermal(i, size=(8, 6 + (i > 2)))),
             'whole', 'thermal images change: 3 of mono16 8x6, 3 of mono16 8x7'),
    'flat': (lambda d: segment(d, thermal=lambda i: Images().thermal(i, size=(8, 6))), 'whole',
             'all thermal values are 0'),
    'skew': (lambda d: segment(d, thermal=lambda i: Images().thermal(i, 40 * MS)), 'whole',
             'skew is 40.0 ms at the 95th percentile'),
    'empty': (lambda d: segment(d, pairs=0), 'broken', 'images are on no topic'),
    'gone': (lambda d: mcap_file(segment(d)).unlink(), 'broken', 'there is no .mcap file'),
    'garbage': (lambda d: (segment(d) / 'manifest.json').write_text('{'), 'whole', 'no manifest'),
}


@pytest.mark.parametrize('name', WRONG)
def test_what_is_wrong_is_said(name: str, tmp_path: Path,
                               capsys: pytest.CaptureFixture[str]) -> None:
    make, state, said = WRONG[name]
    make(tmp_path)
    segment(tmp_path, 1, first=FRAMES)      # a sound one beside it
    status, out, err = info(tmp_path, capsys)
    assert status == 1 and not err
    problems = [line for line in out.splitlines() if line.startswith('! ')]
    assert any(said in p and p.startswith('! walk_0000: ') for p in problems), out
    assert not any('walk_0001' in p for p in problems)
    assert out.splitlines()[2].endswith(state)


def test_the_offset_of_the_recorder_counts(tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    segment(tmp_path, thermal=lambda i: Images().thermal(i, 40 * MS), skew={'offset': -40.0})
    found = facts(tmp_path, capsys)
    assert found['problems'] == [] and found['segments'][0]['skew_p95'] == pytest.approx(0)


def test_the_manifest_s_thermal_range_is_of_all_pairs(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = {'topic': '/boson/image_raw', 'minimum': 7.0, 'maximum': 30000.0}
    segment(tmp_path, streams={'rgb': {'topic': '/camera/color/image_raw'}, 'thermal': stream})
    one = facts(tmp_path, capsys)['segments'][0]
    assert one['thermal_range'] == [7.0, 30000.0] and one['sampled'] is False


def test_segments_that_are_not_there_are_named(tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    for n in (0, 3):
        segment(tmp_path, n)
    assert facts(tmp_path, capsys)['problems'] == [
        'walk_0001 is not there: deleted, or moved', 'walk_0002 is not there: deleted, or moved']
    assert missing_numbers(['a_0001', 'b_0003', 'zoo', 'a_0002']) == []


def test_a_segment_that_is_being_written_is_not_called_broken(tmp_path: Path) -> None:
    segment(tmp_path, 0, open_=True)
    segment(tmp_path, 1, open_=True)
    with (tmp_path / '.walk.lock').open('w') as lock:
        for held, states in ((True, ['cut off', 'being written']), (False, ['cut off'] * 2)):
            fcntl.flock(lock, fcntl.LOCK_EX if held else fcntl.LOCK_UN)
            dataset: Any = open_layout('recording', tmp_path)
            assert [i.state for i in look(dataset)] == states


def test_a_segment_without_an_image_is_told(tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    segment(tmp_path, 0)
    cut(segment(tmp_path, 1, open_=True), 200)
    status, out, err = info(tmp_path, capsys)
    assert status == 1 and not err
    assert '! walk_0001: no pair: images are on no topic' in out
    with (tmp_path / '.walk.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)        # it was only begun just now
        status, out, err = info(tmp_path, capsys)
        assert status == 0 and 'being written' in out


def test_cameras_without_calibration_are_named(tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    both, one = {'rgb': ['a'], 'thermal': ['b']}, {'rgb': ['a'], 'thermal': []}
    segment(tmp_path, 0, calibration=both)
    assert 'no calibration' not in info(tmp_path, capsys)[1]
    segment(tmp_path, 1, first=FRAMES, calibration=one)
    status, out, _ = info(tmp_path, capsys)
    assert status == 0 and out.splitlines()[-1] == 'nothing is wrong'
    assert 'no calibration of thermal in walk_0001' in out.splitlines()
    assert facts(tmp_path, capsys)['segments'][1]['uncalibrated'] == ['thermal']
    segment(tmp_path, 2, first=2 * FRAMES, calibration={'rgb': [], 'thermal': []})
    assert 'no calibration of rgb in walk_0002' in info(tmp_path, capsys)[1].splitlines()
    assert 'no calibration of rgb' in info(tmp_path / 'walk_0002', capsys)[1].splitlines()


def test_the_calibration_of_a_killed_segment_is_looked_for_in_its_file(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from recording_kit import info as camera_info
    from recording_kit import pair, settings

    from rgbt_tracker_ros.recording.recorder import Recorder
    recorder = Recorder(settings(tmp_path, recording='walk', flush_interval=1_000_000))
    recorder.put_info('rgb', camera_info(0))
    recorder.put_pair(pair(0))
    end = time.monotonic() + 10
    while not (found := list(tmp_path.glob('*/*.mcap'))) or found[0].stat().st_size < 15_000:
        assert time.monotonic() < end
        time.sleep(0.01)
    shutil.copytree(tmp_path / 'walk_0000.partial', tmp_path / 'killed' / 'walk_0000.partial')
    assert recorder.stop()
    for folder in (tmp_path / 'killed', tmp_path):
        lines = info(folder, capsys)[1].splitlines()
        assert 'no calibration of thermal' in lines and 'no calibration of rgb' not in lines


def test_any_bag_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from test_recordings import bag
    path = bag(tmp_path / 'zoo')
    status, out, _ = info(path, capsys)
    assert status == 0 and out.splitlines()[2].split()[:2] == ['zoo', '6']
    assert 'rgb8 64x48' in out and out.splitlines()[2].endswith('bag')


def test_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segment(tmp_path, 0, pairs=20)
    cut(segment(tmp_path, 1, first=20, open_=True), -200)
    status, _, err = info(tmp_path, capsys, '--picture', str(tmp_path / 'sheet.png'))
    assert status == 1 and not err
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    assert sheet.shape[2] == 3 and sheet.shape[1] > 1000
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 50
    blue = (sheet == (190, 120, 50)).all(axis=2)        # bars of the histogram, at its bottom
    assert blue[-220:].any() and not blue[:-220].any()


def test_a_picture_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segment(tmp_path, pairs=0)
    status, _, err = info(tmp_path, capsys, '--picture', str(tmp_path / 'sheet.png'))
    assert status == 1 and not err and cv2.imread(str(tmp_path / 'sheet.png')) is not None


@pytest.mark.parametrize(('arguments', 'said'), [
    (['/none'], 'no such file or folder'), ([], 'required: DIR'),
    (['.', '--picture', 'a.jpg'], 'a.jpg: must end in .png'),
    (['.', '--json', 'a.txt'], 'a.txt: must end in .json'),
    (['.', '--option', 'colour=1'], 'no option colour'),
    (['.', '--option', 'x'], 'must be KEY=VALUE')])
def test_wrong_usage(arguments: list[str], said: str, tmp_path: Path,
                     capsys: pytest.CaptureFixture[str]) -> None:
    segment(tmp_path)
    arguments = [str(tmp_path) if a == '.' else a for a in arguments]
    try:
        status = main(['record-info', *arguments])
    except SystemExit as stop:
        status = int(stop.code or 0)
    assert status == 2 and said in capsys.readouterr().err
