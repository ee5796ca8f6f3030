"""The demo: what it counts, how it fails, and once from end to end."""
from __future__ import annotations

import json
import math
import os
from pathlib import Path
import sys
import time
from typing import Any

import cv2
import pytest

from rgbt_tracker_ros import demo, processes
from rgbt_tracker_ros.demo_report import Results, save_pictures
from rgbt_tracker_ros.processes import NodeProcess, ProcessError, free_domain, shm_profile

TRUTH = [100.0, 100.0, 40.0, 40.0]


def sent(i: int) -> dict[str, Any]:
    return {'kind': 'sent', 'stamp': i, 'box': TRUTH}


def track(i: int, dx: float = 0.0, target: str = 'a', **more: Any) -> dict[str, Any]:
    return {'kind': 'track', 'stamp': i, 'target': target, 'state': 2, 'confidence': 0.9,
            'box': [TRUTH[0] + dx, *TRUTH[1:]], 'weight_rgb': 0.5, 'weight_thermal': 0.5,
            'age': 0.02, 'network_time': 0.01} | more


def results(*records: dict[str, Any], frames: int = 4) -> Results:
    made = Results(frames)
    for record in records:
        made.add(record)
    return made


def test_summary() -> None:
    made = results(
        {'kind': 'ready', 'device': 'cpu', 'model': 'student 0123'},
        sent(0), track(0, target=''), sent(1), track(1, 40.0), track(0), sent(2),
        track(2, age=0.04), sent(3), track(9), {'kind': 'read', 'ms': 2.0})
    summary = made.summary()
    assert made.ready and made.answered_share == 0.75
    assert summary == {
        'pairs_sent': 4, 'pairs_answered': 3, 'pairs_dropped': 1,
        'age_ms': {'p50': 20.0, 'p95': 38.0}, 'network_ms': {'p50': 10.0, 'p95': 10.0},
        'parameter_read_ms': {'p50': 2.0, 'p95': 2.0},
        'precision': 0.5,  # right, 40 px away, right, none
        'success': round(2 / 4 * 20 / 21, 4), 'device': 'cpu', 'model': 'student 0123'}
    assert '3 (75.0%)' in made.table() and '20.0 / 38.0' in made.table()


def test_without_answers_there_are_no_percentiles() -> None:
    made = results(sent(0))
    assert made.summary()['age_ms'] == {'p50': None, 'p95': None}
    assert made.summary()['precision'] == 0.0
    assert '- / -' in made.table()


@pytest.mark.parametrize(('record', 'failure'), [
    ({'kind': 'reply', 'accepted': False, 'final': True, 'reason': 'no area'},
     'the target was refused: no area'),
    ({'kind': 'reply', 'accepted': False, 'final': False, 'reason': 'too early'}, ''),
    ({'kind': 'reply', 'accepted': True, 'final': True, 'reason': ''}, ''),
    ({'kind': 'status', 'message': 'configure failed: no such file'},
     'rgbt_tracker: configure failed: no such file'),
    ({'kind': 'status', 'message': 'loading the model'}, ''),
])
def test_failures(record: dict[str, Any], failure: str) -> None:
    assert results(record).failure == failure


def test_pictures(tmp_path: Path) -> None:
    made = results(*(r for i in range(6) for r in (sent(i), track(i, i))[:1 if i == 3 else 2]))
    save_pictures(made, tmp_path)
    video = cv2.VideoCapture(str(tmp_path / 'overlay.mp4'))
    frames = 0
    while (shown := video.read())[0]:
        assert shown[1].shape == (480, 1280, 3)
        frames += 1
    assert frames == 6
    strip = cv2.imread(str(tmp_path / 'strip.png'))
    assert strip is not None and strip.shape[1] >= 1280 and strip.shape[0] >= 720


@pytest.mark.parametrize(('share', 'status'), [(1.0, 0), (0.98, 1)])
def test_exit_status(share: float, status: int, tmp_path: Path,
                     monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = results(*(r for i in range(100) for r in (sent(i), track(i))[:1 + (i < 100 * share)]))
    monkeypatch.setattr(demo, 'run', lambda *_: made)
    monkeypatch.setattr(demo, 'save_pictures', lambda *_: None)
    assert demo.main(['--output', str(tmp_path / 'out')]) == status
    captured = capsys.readouterr()
    assert 'pairs answered' in captured.out
    assert ('98 of 100 pairs answered; 99% are needed' in captured.err) == bool(status)
    assert json.loads((tmp_path / 'out' / 'demo.json').read_text())['pairs_sent'] == 100


def test_a_model_that_does_not_load_ends_the_demo(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    assert demo.main(['--output', str(tmp_path), '--model', '/no/weights.safetensors']) == 1
    assert '/no/weights.safetensors' in capsys.readouterr().err


def test_from_end_to_end(tmp_path: Path) -> None:
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    made = demo.run(tmp_path)
    made.save(tmp_path / 'demo.json')
    summary = json.loads((tmp_path / 'demo.json').read_text())
    # how many are answered depends on the machine: `make demo` asks for 99 %
    assert summary['pairs_sent'] == 133 and summary['pairs_answered'] > 0
    assert summary['device'] and summary['model'].startswith('student.safetensors ')
    assert made.reads


def test_a_process_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    with NodeProcess('no_such_node', tmp_path / 'log', {'PATH': ''}) as process:
        deadline = time.monotonic() + 30
        while process.status is None and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(ProcessError, match=r'(?s)no_such_node ended with status 1.*No module'):
            process.require_running()


def test_domains_are_lent_to_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, 'DOMAINS', range(90, 93))
    with free_domain() as a, free_domain() as b, free_domain() as c:
        assert {a, b, c} == {90, 91, 92}
        with pytest.raises(RuntimeError, match='none of the ROS domains 90 to 92'), free_domain():
            pass
    with free_domain() as again:
        assert again in (90, 91, 92)


@pytest.mark.parametrize(('free', 'largest', 'segment'), [
    (2**30, math.inf, None), (64 * 2**20, math.inf, 16 * 2**20), (0, math.inf, 2**20),
    (2**30, 5_000_000, 5_000_000)])
def test_shared_memory_profile_fits(free: int, largest: float, segment: int | None, tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type('usage', (), {'free': free})
    monkeypatch.setattr(processes.shutil, 'disk_usage', lambda _: usage)
    profile = shm_profile(tmp_path, processes=3, largest=largest)
    if segment is None:
        assert profile == processes.shared_file('config', 'fastdds_shm.xml')
    else:
        assert f'<segment_size>{segment}</segment_size>' in profile.read_text()
        assert profile.parent == tmp_path


@pytest.mark.parametrize('chosen', [None, *processes.TRANSPORT_VARIABLES])
def test_transports_that_the_user_has_chosen_are_left_alone(
        chosen: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in processes.TRANSPORT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if chosen:
        monkeypatch.setenv(chosen, 'LARGE_DATA')
    made = processes.ros_environment(7, tmp_path / 'profile.xml')
    added = processes.shm_variables(os.environ, processes=2)
    for variables in (made, added):
        found = {name: variables[name] for name in processes.TRANSPORT_VARIABLES
                 if name in variables and name != chosen}
        assert set(found) == (set() if chosen else set(processes.PROFILE_VARIABLES))
    assert all(Path(profile).is_file() for profile in added.values())


def test_a_shared_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('AMENT_PREFIX_PATH', '/one:/two')
    with pytest.raises(FileNotFoundError, match=r'no\.yaml is not in .*/one/share') as e:
        processes.shared_file('config', 'no.yaml')
    assert sys.prefix in str(e.value)
