"""The command `rgbt`: its table, `rgbt track` in full, and what it says when it can't."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from inspect import signature
import json
import os
from pathlib import Path
import resource
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from rgbt_tracker_ros import __version__, cli, cli_track
from rgbt_tracker_ros.data import sinks
from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
from rgbt_tracker_ros.data.sources import open_source
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box, Estimate, Pair, PairError, State

FRAMES = 8
BOX = '20,16,12,10'


class FakeTracker:
    """Moves its box by 2 px a frame; loses it at frame 6; can raise at a frame."""

    device = 'cpu'
    model_name = 'fake.safetensors 0123456789ab'
    raises: BaseException | None = None
    loaded: tuple[object, ...] = ()

    @classmethod
    def load(cls, model: str = '', device: str = 'auto', config: TrackerConfig | None = None, *,
             sha256: str = '', threads: int = 0, precision: str = 'auto') -> FakeTracker:
        cls.loaded = (model, device, config, threads)
        return cls()

    def warm_up(self) -> None:
        self.frame = 0

    def init(self, pair: Pair, box: Box, marked_in: str = '') -> Estimate:
        self.box = box.checked(*pair.size)
        self.stamps = [pair.stamp]
        return Estimate(self.box, 1.0, State.TRACKING, 0.5, 0.5)

    def update(self, pair: Pair) -> Estimate:
        time.sleep(0.001)
        self.frame += 1
        if self.raises and self.frame == 5:
            raise self.raises
        self.box = Box(self.box.x + 2, self.box.y, self.box.w, self.box.h)
        state = State.TRACKING if self.frame < 6 else State.LOST
        return Estimate(self.box, 0.123456789, state, 0.5, 0.5)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr('rgbt_tracker_ros.tracking.tracker.Tracker', FakeTracker)
    monkeypatch.setattr(FakeTracker, 'raises', None)
    return FakeTracker


@pytest.fixture
def folders(tmp_path):
    """Write two folders of FRAMES images each and return `rgbt track`'s options for them."""
    rng = np.random.default_rng(3)
    for name in ('rgb', 'thermal'):
        (tmp_path / name).mkdir()
        for i in range(FRAMES):
            shape = (48, 64, 3) if name == 'rgb' else (48, 64)
            image = rng.integers(0, 255, shape, dtype=np.uint8)
            cv2.imwrite(str(tmp_path / name / f'{i:05}.png'), image)
    return ['track', '--rgb', str(tmp_path / 'rgb'), '--thermal', str(tmp_path / 'thermal')]


# --- the table

def test_help_lists_every_command(capsys):
    assert cli.main(['--help']) == 0
    out = capsys.readouterr().out
    for name, command in cli.COMMANDS.items():
        assert name in out and command.help in out


def test_every_command_of_the_table_exists():
    for name, command in cli.COMMANDS.items():
        module, function = command.target.split(':')
        assert find_spec(module), f'rgbt {name}: there is no {module}'
        assert f'def {function}(' in Path(find_spec(module).origin).read_text()


def test_help_imports_nothing_heavy():
    code = ("import sys; from rgbt_tracker_ros.cli import main; main(['--help']);"
            "bad = {'torch', 'cv2', 'numpy', 'rclpy'} & set(sys.modules); sys.exit(str(bad)"
            " if bad else 0)")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version(capsys):
    assert cli.main(['--version']) == 0
    assert capsys.readouterr().out == f'rgbt {__version__}\n'


def test_help_of_track_needs_no_torch():
    code = ("import sys; from rgbt_tracker_ros import cli\n"
            "try: cli.main(['track', '--help'])\n"
            "finally: print('torch' in sys.modules)")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.endswith('False\n') and '--thermal-range' in done.stdout


# --- rgbt track

@pytest.mark.parametrize('sources', ['both', 'rgb', 'thermal'])
def test_the_json_holds_one_answer_per_frame(sources, fake, folders, tmp_path, capsys):
    argv = {'both': folders, 'rgb': folders[:3], 'thermal': [folders[0], *folders[3:]]}[sources]
    file = tmp_path / 'out.json'
    assert cli.main([*argv, '--box', BOX, '--json', str(file)]) == 0
    result = json.loads(file.read_text())
    assert result['boxes'] == [[20 + 2 * i, 16, 12, 10] for i in range(FRAMES)]
    assert result['confidence'] == [1.0] + [0.1235] * (FRAMES - 1)
    assert result['state'] == ['tracking'] * 6 + ['lost'] * 2
    assert 0 < result['fps'] <= 1000 and result['start'] == 0
    assert (result['model'], result['device']) == (fake.model_name, 'cpu')
    captured = capsys.readouterr()
    assert captured.err == ''
    assert captured.out.splitlines()[0].startswith('8 frames, target in sight in 75%')
    assert os.listdir(tmp_path).count('out.json') == 1 and not list(tmp_path.glob('.*'))


def test_options_reach_the_tracker(fake, folders):
    assert cli.main([*folders, '--box', BOX, '--model', 'm.safetensors', '--device', 'cuda:1',
                     '--threads', '3', '--thermal-range', '-20,150.5',
                     '--homography', '1,0,5,0,1,6,0,0,1']) == 0
    model, device, config, threads = fake.loaded
    assert (model, device, threads) == ('m.safetensors', 'cuda:1', 3)
    assert config == TrackerConfig(thermal_range='fixed', thermal_min=-20.0, thermal_max=150.5,
                                   homography=(1, 0, 5, 0, 1, 6, 0, 0, 1))


def test_start_skips_frames(fake, folders, tmp_path):
    file = tmp_path / 'out.json'
    assert cli.main([*folders, '--box', BOX, '--start', '5', '--json', str(file)]) == 0
    result = json.loads(file.read_text())
    assert len(result['boxes']) == FRAMES - 5 and result['start'] == 5


def test_the_first_box_is_the_one_given_even_partly_outside(fake, folders, tmp_path):
    file = tmp_path / 'out.json'
    assert cli.main([*folders, '--box', '-4,-2.5,20,20', '--json', str(file)]) == 0
    assert json.loads(file.read_text())['boxes'][0] == [-4, -2.5, 20, 20]


def test_json_on_standard_output_is_all_there_is(fake, folders, capsys):
    assert cli.main([*folders, '--box', BOX, '--json', '-', '--progress']) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)['boxes']) == FRAMES
    assert '8 frames' in captured.err and '/8 [' in captured.err


@pytest.mark.parametrize('suffix', ['.mp4', '.avi'])
def test_the_video_shows_every_frame(suffix, fake, folders, tmp_path, capsys):
    file = tmp_path / f'out{suffix}'
    assert cli.main([*folders, '--box', BOX, '--video', str(file)]) == 0
    video, frames = cv2.VideoCapture(str(file)), 0
    while True:
        ok, image = video.read()
        if not ok:
            break
        frames += 1
        assert image.shape == (48, 128, 3)
    assert frames == FRAMES
    assert f'wrote {file}' in capsys.readouterr().out


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Refuse to let files grow, as a full disk does; Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('room', [0, 1500])
@pytest.mark.parametrize('suffix', ['.mp4', '.avi'])
def test_a_video_that_a_full_disk_refuses_is_an_error(suffix, room, fake, folders, tmp_path,
                                                      capsys):
    file = tmp_path / f'out{suffix}'
    file.write_bytes(b'of before')
    with files_of_at_most(room):
        assert cli.main([*folders, '--box', BOX, '--video', str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f'rgbt track: {file}: ') and 'wrote' not in captured.out
    assert file.read_bytes() == b'of before'
    assert not list(tmp_path.glob('.out*'))


def test_a_video_that_lacks_a_frame_is_none(tmp_path):
    with pytest.raises(sinks.SinkError, match='of 4 frames 3 are in the file; is the disk full'), \
            sinks.VideoSink(tmp_path / 'out.avi', 25.0) as video:
        for _ in range(3):
            video.write(np.zeros((48, 64, 3), np.uint8))
        video._frames += 1      # OpenCV has said nothing
    assert not list(tmp_path.iterdir())


def test_ctrl_c_leaves_what_was_done(fake, folders, tmp_path, capsys):
    fake.raises = KeyboardInterrupt()
    file, video = tmp_path / 'out.json', tmp_path / 'out.mp4'
    assert cli.main([*folders, '--box', BOX, '--json', str(file), '--video', str(video)]) == 130
    result = json.loads(file.read_text())
    assert [len(result[k]) for k in ('boxes', 'confidence', 'state')] == [5, 5, 5]
    assert capsys.readouterr().out.startswith('interrupted after 5 frames')
    assert cv2.VideoCapture(str(video)).isOpened()


def test_an_undecodable_frame_leaves_what_was_done(fake, folders, tmp_path, capsys):
    (tmp_path / 'thermal' / '00004.png').write_bytes(b'damaged')
    file = tmp_path / 'out.json'
    assert cli.main([*folders, '--box', BOX, '--json', str(file)]) == 2
    assert len(json.loads(file.read_text())['boxes']) == 4
    assert 'frame 4' in capsys.readouterr().err


def test_an_image_of_another_size_is_told_with_its_number(folders, tmp_path, capsys, fake):
    fake.raises = PairError('rgb image is 32x24, the target was given in 64x48')
    file = tmp_path / 'out.json'
    assert cli.main([*folders, '--box', BOX, '--start', '1', '--json', str(file)]) == 2
    assert capsys.readouterr().err == f'rgbt track: frame 6: {fake.raises}\n'
    assert len(json.loads(file.read_text())['boxes']) == 5


def test_the_source_is_never_overwritten(fake, tmp_path, capsys):
    path = tmp_path / 'clip.avi'
    with sinks.VideoSink(path, 25.0) as video:
        for _ in range(3):
            video.write(np.zeros((48, 64, 3), np.uint8))
    before = path.read_bytes()
    (tmp_path / 'link.avi').symlink_to(path)
    for option in ('--video', '--json'):
        assert 'is the source itself' in said(
            ['track', '--rgb', str(path), '--box', BOX, option, str(tmp_path / 'link.avi')],
            capsys)
    assert path.read_bytes() == before


def test_an_unexpected_error_is_not_hidden(fake, folders):
    fake.raises = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cli.main([*folders, '--box', BOX])


def test_sources_of_different_length_are_warned_about(fake, folders, tmp_path, caplog):
    (tmp_path / 'thermal' / '00007.png').unlink()
    assert cli.main([*folders, '--box', BOX]) == 0
    assert 'has 7 frames' in caplog.text and 'has 8' in caplog.text


# --- what can't be done: one line on stderr, exit status 2, nothing written

def said(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run, expect exit status 2, and return the one line."""
    try:
        status = cli.main(argv)
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2 and captured.out == '' and captured.err.endswith('\n')
    line, = captured.err.splitlines()
    return line


@pytest.mark.parametrize('argv, text', [
    ([], 'there are track, evaluate, play, record-info, demo'),
    (['follow'], "'follow'"),
    (['track'], '--box'),
    (['track', '--box', BOX], 'neither'),
    (['track', '--box', '1,2,3', '--rgb', '.'], "'1,2,3' is not 4 numbers"),
    (['track', '--box', '1,2,3,nan', '--rgb', '.'], 'is not 4 numbers'),
    (['track', '--box', BOX, '--rgb', 'missing.mp4'], 'missing.mp4: no such file'),
    (['track', '--box', BOX, '--rgb', os.devnull], 'not a video'),
    (['track', '--box', BOX, '--start', '-1'], "'-1' is not"),
    (['track', '--box', BOX, '--thermal-range', 'bright'], "'bright' is not 2 numbers"),
    (['track', '--box', BOX, '--thermal-range', '9,3'], 'MIN must be below MAX'),
    (['track', '--box', BOX, '--homography', '1,2'], 'is not 9 numbers'),
    (['track', '--box', BOX, '--colour', 'red'], '--colour')])
def test_wrong_usage_is_told_in_one_line(argv, text, capsys):
    line = said(argv, capsys)
    assert line.startswith('rgbt') and text in line


@pytest.mark.parametrize('options, text', [
    (['--box', '500,500,20,20'], 'lies outside the 64x48 image'),
    (['--box', '5,5,0,20'], 'has no area'),
    (['--box', BOX, '--start', '99'], 'has only 8 frames'),
    (['--box', BOX, '--video', 'out.gif'], '.mp4 or .avi'),
    (['--box', BOX, '--json', 'no/such/folder/out.json'], 'its folder does not exist'),
    (['--box', BOX, '--json', 'rgb'], 'is a folder'),
    (['--box', BOX, '--json', '/dev/full'], "/dev/full: can't be written: No space"),
    (['--box', BOX, '--video', '-'], 'needs a file'),
    (['--box', BOX, '--homography', '1,2,3,2,4,6,0,0,1'], 'must be invertible')])
def test_what_does_not_fit_the_frames_is_told_in_one_line(options, text, fake, folders, capsys,
                                                          monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir())
    assert text in said([*folders, '--json', 'out.json', *options], capsys)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize('options, text', [
    (['--model', 'missing.safetensors'], 'missing.safetensors'),
    (['--model', 'damaged.safetensors'], 'damaged.safetensors'),
    (['--device', 'gpu'], "'gpu'"),
    (['--device', 'cuda:99'], "'cuda:99'")])
def test_weights_and_devices_that_are_not_there(options, text, folders, capsys, monkeypatch,
                                                tmp_path):
    monkeypatch.chdir(tmp_path)
    Path('damaged.safetensors').write_bytes(b'damaged')
    assert text in said([*folders, '--box', BOX, *options], capsys)


# --- results on disk

def test_json_is_written_whole_or_not_at_all(tmp_path):
    file = tmp_path / 'out.json'
    sinks.write_json(file, {'a': 1})
    with pytest.raises(ValueError, match='JSON'):
        sinks.write_json(file, {'a': float('nan')})
    assert json.loads(file.read_text()) == {'a': 1}
    assert os.listdir(tmp_path) == ['out.json']


def test_a_video_keeps_its_first_size_and_colours(tmp_path):
    file = tmp_path / 'out.avi'
    with sinks.VideoSink(file, 25.0) as video:
        for size in ((48, 64), (48, 64), (24, 32)):
            video.write(np.full((*size, 3), (200, 100, 20), np.uint8))
    frames = list(open_source(file))
    assert len(frames) == 3
    for frame in frames:
        np.testing.assert_allclose(frame, np.full((48, 64, 3), (200, 100, 20)), atol=10)


def test_a_link_stays_one_and_a_missing_folder_is_named(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'file')
    sinks.write_file(tmp_path / 'link', 'a')
    sinks.write_file(tmp_path / 'link', b'b')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'file').read_text() == 'b'
    for folder in ('nowhere', 'file'):
        with pytest.raises(sinks.SinkError, match=rf"{folder}/x: can't be written: N"):
            sinks.write_file(tmp_path / folder / 'x', 'a')


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    sinks.write_json(os.devnull, {'a': 1})
    assert Path(os.devnull).is_char_device()


def test_negative_numbers_are_values_and_no_options():
    assert cli_track._join_negative(['--box', '-1,2,3,4', '--start', '-1', '--json', '-']) == [
        '--box=-1,2,3,4', '--start', '-1', '--json', '-']


# --- the real tracker

def test_end_to_end_with_untrained_weights(folders, tmp_path):
    import torch

    from rgbt_tracker_ros.models import checkpoint
    from rgbt_tracker_ros.models.student import Student, StudentConfig
    torch.manual_seed(0)
    weights, file = tmp_path / 'w.safetensors', tmp_path / 'out.json'
    checkpoint.save(Student(StudentConfig()), weights)
    done = subprocess.run(
        [sys.executable, '-m', 'rgbt_tracker_ros.cli', *folders, '--box', BOX,
         '--json', str(file), '--model', str(weights), '--device', 'cpu', '--threads', '1'],
        capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == '', done.stderr
    result = json.loads(file.read_text())
    assert len(result['boxes']) == len(result['confidence']) == len(result['state']) == FRAMES
    assert result['device'] == 'cpu' and result['model'].startswith('w.safetensors ')


@pytest.mark.skipif(not (Path(cli.__file__).parent / 'weights/student.safetensors').is_file(),
                    reason='this tree has no shipped weights')
def test_the_shipped_student_follows_the_person_through_the_smoke(tmp_path):
    truth, file = read_boxes(SMOKE.groundtruth), tmp_path / 'out.json'
    start = min(truth)
    box = ','.join(str(v) for v in truth[start].as_tuple())
    assert cli.main(['track', '--rgb', str(SMOKE.rgb), '--thermal', str(SMOKE.thermal), '--box',
                     box, '--start', str(start), '--json', str(file), '--device', 'cpu']) == 0
    boxes = json.loads(file.read_text())['boxes']
    near = [np.hypot(*np.subtract(Box(*boxes[f - start]).center, b.center)) <= 20
            for f, b in truth.items()]
    assert np.mean(near) >= 0.9


@pytest.mark.parametrize('name', ['load', 'warm_up', 'init', 'update'])
def test_the_fake_is_called_as_the_tracker_is(name):
    real, fake = (list(signature(getattr(c, name)).parameters) for c in (Tracker, FakeTracker))
    assert real == fake
