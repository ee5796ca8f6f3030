"""The loop: what it plans, keeps, draws and says when a step fails, and once round with nodes."""
from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
import json
from pathlib import Path
import shutil
import signal
import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest

from rgbt_tracker_ros.command_line import CommandError
from rgbt_tracker_ros.data.layouts import open_layout
from rgbt_tracker_ros.loop import cameras, cli, robot, steps
from rgbt_tracker_ros.loop.cameras import CLIP, Plan, Take
from rgbt_tracker_ros.loop.report import draw, table
from rgbt_tracker_ros.loop.robot import Deployed, LoopError, Recorded, Robot
from rgbt_tracker_ros.loop.scores import NEW, ORIGINAL, Moment, Score, Shown
from rgbt_tracker_ros.loop.steps import Loop
from rgbt_tracker_ros.types import Box, Pair

pytest.importorskip('matplotlib', reason='matplotlib is not installed: pip install matplotlib')
torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')

TAKEN = Deployed(True, 'new has taken over from old', 60, 0, 30, 0)


def toy(folder: Path, **changes: Any) -> Plan:
    return replace(Plan(0, folder / 'cameras', videos=2, length=15, tests=2, clip=False),
                   **changes)


class FakeRobot:
    """Records by writing folders of the right names; `stop_after` so many takes it is stopped."""

    def __init__(self, stop_after: int = 1000, lost: int = 0) -> None:
        self.stop_after, self.lost = stop_after, lost
        self.played: list[str] = []
        self.deployed: list[Path] = []

    def record(self, takes: Sequence[Take], folder: Path, report: Any,
               ) -> Generator[tuple[Take, Recorded], None, None]:
        for take in takes:
            segment = f'pairs_{len([*folder.glob("*")]) if folder.is_dir() else 0:04d}'
            (folder / segment).mkdir(parents=True)
            (folder / segment / 'manifest.json').write_text('{"recording": "pairs"}')
            if len(self.played) == self.stop_after:
                raise KeyboardInterrupt
            self.played.append(take.name)
            report(take.pairs)
            yield take, Recorded(segment, take.pairs, take.pairs - self.lost, take.pairs - 3)

    def deploy(self, model: Path, take: Take) -> Deployed:
        self.deployed.append(model)
        return TAKEN


def loop(folder: Path, fake: Any = None, plan: Plan | None = None, **options: Any) -> Loop:
    return Loop(folder, plan or toy(folder), fake or FakeRobot(), **options)


def adapted(status: int = 0) -> Any:
    """Return what stands for `rgbt distill`: a student that is the shipped one but for a note."""
    def run(self: Loop) -> int:
        from rgbt_tracker_ros.models.checkpoint import SHIPPED, load, save
        work = self.out / 'student.work'
        work.mkdir(exist_ok=True)
        if status < 2:
            (work / 'verdict.json').write_text(json.dumps({'share': None if status else 1.0}))
        network, info = load(SHIPPED)
        file = work / 'blend_1.safetensors' if status else self.student
        save(network, file, calibration=info['calibration'], note='adapted')
        return status
    return run


# --- what is recorded and tested

@pytest.mark.parametrize(('pairs', 'videos', 'length', 'tests', 'clip'), [
    (45, 2, 22, 2, False), (120, 2, 60, 2, False), (399, 7, 57, 6, False),
    (400, 4, 60, 6, True), (1600, 24, 60, 20, True)])
def test_plan(pairs: int, videos: int, length: int, tests: int, clip: bool,
              tmp_path: Path) -> None:
    plan = Plan.of(pairs, 3, tmp_path)
    assert plan == Plan(3, tmp_path, videos, length, tests, clip)
    takes = list(plan.takes())
    assert abs(sum(t.pairs for t in takes) - pairs) < 0.08 * pairs + 2
    assert (takes[0].name == CLIP) == clip and len({t.name for t in takes}) == len(takes)


def test_what_is_tested_is_not_what_was_recorded(tmp_path: Path) -> None:
    plan = toy(tmp_path)
    recorded = json.loads(next(plan.takes()).parameters['options'])
    new, original = (plan.tested(restyled)['made-up videos'] for restyled in (True, False))
    assert dict(new.options) == dict(original.options) | {'style': cameras.STYLE}
    assert dict(new.options)['seed'] != recorded['seed'] and recorded['style'] == cameras.STYLE
    one, other = (open_layout('synthetic', **options)['aligned_01'] for options in (
        recorded, dict(new.options)))
    assert not np.array_equal(one.truth, other.truth)


def test_the_clip_as_the_new_cameras_show_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pairs = [Pair(rng.integers(0, 255, (480, 640, 3), np.uint8),
                  rng.integers(0, 255, (480, 640), np.uint8), i) for i in range(3)]
    monkeypatch.setattr(cameras, 'PairSource', lambda *_: pairs)
    plan = toy(tmp_path, clip=True)
    plan.write_clip()
    sequence = open_layout('folder', plan.folder)[CLIP]
    assert len(sequence) == 3 and sequence.truth[0] == pytest.approx([260.5, 67, 36.5, 129])
    small = cameras._small(pairs[1])
    seen, made = sequence.pair(1), cameras.STYLES[cameras.STYLE].apply(small, 1, CLIP)
    assert seen.rgb is not None and seen.size == cameras.SIZE
    np.testing.assert_array_equal(seen.rgb, made.rgb)
    np.testing.assert_array_equal(seen.thermal, made.thermal)
    monkeypatch.setattr(cameras, 'PairSource', None)
    plan.write_clip()       # it is there


# --- what is kept, and gone on with

def test_a_recording_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    plan = toy(tmp_path, videos=3)
    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path, FakeRobot(stop_after=1), plan).record()
    for name, manifest in (('pairs_0007.partial', '{"recording": "pairs"}'),
                           ('walk_0000', '{"recording": "walk"}'), ('pairs_0009', '[')):
        folder = tmp_path / 'recording' / name
        folder.mkdir()
        (folder / 'manifest.json').write_text(manifest)
    later = FakeRobot()
    assert loop(tmp_path, later, plan).record() == (
        '45 of 45 pairs in 3 segments, 0 lost; the tracker answered 36')
    assert later.played == ['aligned_02', 'aligned_03']
    # what is of another recording is not the loop's to delete
    assert sorted(p.name for p in (tmp_path / 'recording').iterdir()) == [
        'pairs_0000', 'pairs_0003', 'pairs_0004', 'pairs_0009', 'walk_0000']
    assert loop(tmp_path, FakeRobot(stop_after=0), plan).record()     # nothing is left to play


def test_recordings_that_no_loop_has_made_are_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / 'recording' / 'pairs_0000'
    theirs.mkdir(parents=True)
    (theirs / 'manifest.json').write_text('{"recording": "pairs"}')
    with pytest.raises(CommandError, match=r'recording is not empty, and no loop has made it'):
        loop(tmp_path)
    assert (theirs / 'manifest.json').is_file() and not (tmp_path / 'loop.json').exists()
    # a loop that was stopped in its first take goes on
    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path / 'b', FakeRobot(stop_after=0)).record()
    assert 'in 2 segments' in loop(tmp_path / 'b').record()


def test_the_fewest_pairs_are_enough_to_judge_by(tmp_path: Path) -> None:
    from rgbt_tracker_ros.adaptation.judging import JudgingSettings
    from rgbt_tracker_ros.adaptation.split import split
    from rgbt_tracker_ros.adaptation.stretches import LEAST, cut
    for pairs in range(cli.FEWEST, 1700, 5):
        takes = list(Plan.of(pairs, 0, tmp_path).takes())
        kept = split([t.pairs for t in takes], [t.name for t in takes], 0.2, tmp_path)
        assert kept.held_part == (0.0, 1.0)     # whole ones, the clip none of them
        aside = [range(t.pairs) for t in takes if t.name in kept.held_out]
        assert len(cut(aside, JudgingSettings().length)) >= LEAST


def test_what_was_lost_is_told(tmp_path: Path) -> None:
    assert '26 of 30 pairs in 2 segments, 4 lost' in loop(tmp_path, FakeRobot(lost=2)).record()
    with pytest.raises(LoopError, match='none of 30 pairs was recorded'):
        loop(tmp_path / 'b', FakeRobot(lost=15)).record()


def test_a_folder_of_another_loop_is_refused(tmp_path: Path) -> None:
    loop(tmp_path).record()
    with pytest.raises(CommandError, match='holds a loop with other settings'):
        loop(tmp_path, plan=toy(tmp_path, length=16))
    (tmp_path / 'loop.json').write_text('{')
    with pytest.raises(CommandError, match='is damaged'):
        loop(tmp_path)


def test_a_student_is_distilled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(Loop, '_run_distill', lambda self: calls.append(1) or adapted()(self))
    one = loop(tmp_path)
    one.record()
    assert one.distil().startswith('a new student after')
    assert loop(tmp_path).distil().startswith('a new student after') and len(calls) == 1
    loop(tmp_path, steps=9).distil()
    assert len(calls) == 2
    one.student.write_bytes(b'')
    loop(tmp_path, steps=9).distil()
    assert len(calls) == 3


def test_a_refused_student_is_not_distilled_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(Loop, '_run_distill', lambda self: calls.append(1) or adapted(1)(self))
    loop(tmp_path).record()
    first = loop(tmp_path).distil()
    assert first.startswith('refused after') and loop(tmp_path).distil() == first
    assert len(calls) == 1
    loop(tmp_path, steps=9).distil()
    assert len(calls) == 2
    shutil.rmtree(tmp_path / 'student.work')    # what the evaluation shows is gone
    loop(tmp_path, steps=9).distil()
    assert len(calls) == 3


def test_an_exchange_that_failed_is_tried_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, '_run_distill', adapted())
    robot = FakeRobot()
    monkeypatch.setattr(robot, 'deploy', lambda model, take: replace(
        TAKEN, success=False, message='timed out'))
    loop(tmp_path, robot).record()
    one = loop(tmp_path, robot)
    one.distil()
    assert one.deploy().startswith('timed out')
    later = FakeRobot()
    for _ in range(2):
        assert loop(tmp_path, later).deploy().startswith('new has taken over from old')
    assert len(later.deployed) == 1


def test_a_folder_that_another_process_works_in_is_refused(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with steps.alone(tmp_path):
        assert cli.main(['--out', str(tmp_path)]) == 2
    assert f'another rgbt loop works in {tmp_path}' in capsys.readouterr().err
    with steps.alone(tmp_path):
        pass


@pytest.mark.parametrize('status', [2, -9, 130])
def test_a_distill_that_fails_ends_the_loop(
        status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, '_run_distill', lambda self: status)
    (tmp_path / 'student.work').mkdir()
    (tmp_path / 'student.work' / 'verdict.json').write_text('{"share": 1.0}')   # of before
    with pytest.raises(LoopError, match=f'rgbt distill ended with status {status}'):
        loop(tmp_path).distil()
    assert json.loads((tmp_path / 'loop.json').read_text())['distil']['seconds'] >= 0


def test_ctrl_c_is_handed_on_to_the_training_and_waited_for(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / 'python'
    script.write_text(f'#!/bin/sh\ntrap "sleep 0.2; echo > {tmp_path}/saved; exit 130" INT\n'
                      f'echo "$@" > {tmp_path}/began\nwhile :; do sleep 0.05; done\n')
    script.chmod(0o755)
    monkeypatch.setattr(steps.sys, 'executable', str(script))

    def interrupt() -> None:
        while not (tmp_path / 'began').is_file():
            time.sleep(0.02)
        time.sleep(0.5)         # main may still be at starting it
        # as the terminal does; main waits in a system call that only its own signal ends
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    one = loop(tmp_path / 'out', steps=7, overrides=['--workers', '0'])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)   # ignored in a background
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            one._run_distill()
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / 'saved').is_file()
    words = (tmp_path / 'began').read_text().split()
    assert words[:3] == ['-m', 'rgbt_tracker_ros.cli', 'distill']
    assert words[-4:] == ['--steps', '7', '--workers', '0']


# --- what is counted around the exchange

class FakeLines:
    """What the client said, at once."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self._records, self.silent = list(records), 0.0

    def take(self, timeout: float) -> Any:
        while self._records:
            yield self._records.pop(0)
        self.silent = 10.0


def said(pairs: range, answered: range = range(0)) -> list[dict[str, Any]]:
    return [r for i in pairs for r in (
        {'kind': 'pair', 'stamp': i}, {'kind': 'track', 'stamp': i})[:1 + (i in answered)]]


def test_pairs_lost_in_the_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robot, 'AFTER', 4)
    verdict = {'kind': 'reloaded', 'success': True, 'message': 'taken'}
    watch = robot._Watch(FakeLines(         # type: ignore[arg-type]
        *said(range(5), range(2, 4)), {'kind': 'asked'}, *said(range(5, 8), range(5, 7)), verdict,
        *said(range(8, 14), range(9, 14)), {'kind': 'track', 'stamp': 4}), ())
    for kind in ('asked', 'reloaded'):
        watch.until(lambda r, kind=kind: r['kind'] == kind, 1, '')
    watch.settle()
    # before: 2 to 4, of which 4 was answered late; then 5 to 11, without 7 and 8
    assert watch.deployed(verdict) == Deployed(True, 'taken', 7, 2, 3, 0)


def test_what_a_node_says_ends_the_loop() -> None:
    watch = robot._Watch(FakeLines({'kind': 'failed', 'reason': 'the disk is full'}),
                         ())                # type: ignore[arg-type]
    with pytest.raises(LoopError, match='the disk is full'):
        watch.until(lambda r: False, 1, '')
    with pytest.raises(LoopError, match='nothing came within 0 s'):
        watch.until(lambda r: False, 0, 'nothing came')


# --- table and picture

def scores(gain: float = 6.0, spread: float = 2.0) -> list[Score]:
    return [Score(NEW, 'made-up videos', 20, 60.0, 60 + gain, gain - spread, gain + spread),
            Score(NEW, 'clip', 1, 65.0, 70.0),
            Score(ORIGINAL, 'made-up videos', 20, 80.0, 79.96, -1.0, 0.8),
            Score(ORIGINAL, 'clip', 1, 73.0, 73.0)]


def shown(width: int = 32) -> Shown:
    pair = Pair(np.zeros((24, width, 3), np.uint8), np.zeros((24, width), np.uint8))
    return Shown(pair, Box(4, 4, 8, 8), Box(14, 4, 8, 8), Box(5, 4, 8, 8))


def test_table() -> None:
    first, new, _, original, _ = table(scores()).splitlines()
    assert first.split() == ['success,', 'points', 'old', 'new', 'gain', '(95', '%)']
    assert new.split('(20)')[1].split() == ['60.0', '66.0', '+6.0', '(+4.0', 'to', '+8.0)']
    assert original.split('(20)')[1].split()[:3] == ['80.0', '80.0', '+0.0']
    assert '(+' not in table([replace(scores()[0], sequences=3)])   # too few for an interval


@pytest.mark.parametrize(('gain', 'accepted', 'deploy', 'title', 'footer'), [
    (6.0, True, asdict(TAKEN), '+6.0 points on new cameras', '0 of 60 pairs lost while'),
    (1.0, True, asdict(replace(TAKEN, success=False)), 'No certain gain', 'did not take'),
    (-9.0, True, asdict(TAKEN), '-9.0 points on new cameras', '1,573 pairs recorded, 27 lost'),
    (6.0, False, None, 'The new student was refused', '8.5 minutes of distilling')])
def test_picture(gain: float, accepted: bool, deploy: Any, title: str, footer: str,
                 tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure
    texts: list[str] = []
    saved = Figure.savefig
    monkeypatch.setattr(Figure, 'savefig', lambda self, *a, **k: (
        texts.extend(t.get_text() for t in self.texts), saved(self, *a, **k)))
    found = {'distil': {'accepted': accepted, 'seconds': 510.0}, 'deploy': deploy,
             'evaluation': [asdict(s) for s in scores(gain)]}
    draw(tmp_path / 'x.png', found, Recorded('', 1600, 1573, 1500),
         Moment('aligned_01', 7, shown(), shown(64)))
    assert cv2.imread(str(tmp_path / 'x.png')).shape == (808, 1430, 3)
    assert texts[0].startswith(title) and footer in texts[-1]
    assert any('aligned_01: pair 7' in t for t in texts)


# --- the command

@pytest.mark.parametrize(('words', 'complaint'), [
    (['--pairs', '599'], '--pairs is 599; it must be 600 to 100000'),
    (['--steps', '0'], '--steps is 0; it must be 1 or more'),
    (['--seed', '-1'], '--seed is -1')])
def test_wrong_usage(words: list[str], complaint: str, tmp_path: Path,
                     capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['--out', str(tmp_path), *words]) == 2
    assert complaint in capsys.readouterr().err


def test_what_is_missing_is_said_before_anything_is_recorded(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr('rgbt_tracker_ros.distillation.needs.find_spec', lambda name: None)
    assert cli.main(['--out', str(tmp_path / 'out')]) == 2
    said = capsys.readouterr().err
    assert 'not installed: lightning_fabric, matplotlib; pip install ' in said
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('error', 'status', 'text'), [
    (LoopError('none was recorded'), 1, 'rgbt loop: none was recorded'),
    (OSError(28, 'No space left on device'), 1, 'No space left'),
    (KeyboardInterrupt(), 130, 'stopped; the same command goes on where it was')])
def test_a_step_that_fails(error: BaseException, status: int, text: str, tmp_path: Path,
                           monkeypatch: pytest.MonkeyPatch,
                           capsys: pytest.CaptureFixture[str]) -> None:
    def fail(self: Loop) -> str:
        raise error
    monkeypatch.setattr(Loop, 'record', fail)
    assert cli.main(['--out', str(tmp_path)]) == status
    assert text in capsys.readouterr().err


def test_a_recorder_that_can_not_record_is_told(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'recording').write_text('no folder')
    assert cli.main(['--out', str(tmp_path), '--pairs', '600']) == 1
    said = capsys.readouterr().err
    assert 'rgbt_recorder: ' in said and str(tmp_path / 'recording') in said


def test_a_refused_student_is_not_deployed(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Loop, '_run_distill', adapted(1))
    fake = FakeRobot()
    assert cli.run(loop(tmp_path, fake, toy(tmp_path, length=4))) == 1
    assert not fake.deployed and (tmp_path / 'loop.png').is_file()
    out, err = capsys.readouterr()
    assert 'refused after' in out and 'the old one stays' in err
    found = json.loads((tmp_path / 'loop.json').read_text())
    assert not found['distil']['accepted'] and 'deploy' not in found


def test_once_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the training, which has tests of its own: nodes, topics, recording, exchange."""
    monkeypatch.setattr(Loop, '_run_distill', adapted())
    monkeypatch.setattr(robot, 'AFTER', 10)
    with Robot(tmp_path / 'logs', 'cpu') as real:
        assert cli.run(loop(tmp_path, real)) == 0
    found = json.loads((tmp_path / 'loop.json').read_text())
    # how many are recorded and answered depends on the machine
    recorded = found['recording']
    assert [r['sent'] for r in recorded.values()] == [15, 15]
    recording = open_layout('recording', tmp_path / 'recording')
    assert {s.name: len(s) for s in recording} == {
        r['segment']: r['recorded'] for r in recorded.values()}
    style = json.loads(next(toy(tmp_path).takes()).parameters['options'])
    played = open_layout('synthetic', **style)['aligned_01']
    first = recording[recorded['aligned_01']['segment']].pair(0)
    assert any(np.array_equal(first.rgb, p.rgb) and np.array_equal(first.thermal, p.thermal)
               for p in played)
    said = {t.target_id for s in recording for t in s.frames.tracks() if t.target_id}
    assert len(said) == 2       # a target of its own in each segment
    assert found['deploy']['success'] and 'has taken over from' in found['deploy']['message']
    assert found['deploy']['pairs'] >= 10
    before, after = ([s[k] for s in found['evaluation']] for k in ('before', 'after'))
    assert before == after and min(before) > 20     # the student is the same but for a note
    assert cv2.imread(str(tmp_path / 'loop.png')) is not None

    # again: nothing is recorded, distilled or deployed once more
    fake = FakeRobot(stop_after=0)
    assert cli.run(loop(tmp_path, fake)) == 0 and not fake.deployed
