"""Lifecycle, parameter files, signals, and the real tracker; over a live graph."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nodes_kit import FakeTracker, robot, wait_for
import pytest
from rclpy.context import Context
import yaml

from rgbt_tracker_ros.msg import Track, TrackerStatus
from rgbt_tracker_ros.nodes.parameters import TABLE, Parameters, render_yaml

ROOT = Path(__file__).parents[1]


def change(r: Any, transition: int) -> bool:
    request = ChangeState.Request()
    request.transition.id = transition
    return bool(r.call(ChangeState, 'change_state', request).success)


def state(r: Any) -> str:
    return str(r.call(GetState, 'get_state', GetState.Request()).current_state.label)


def test_every_transition(ros_context: Context) -> None:
    loaded: list[FakeTracker] = []

    def load(_: object) -> FakeTracker:
        loaded.append(FakeTracker())
        return loaded[-1]

    with robot(ros_context, load=load, autostart=False) as (r, _):
        assert state(r) == 'unconfigured'
        assert 'the node is unconfigured' in r.until(lambda s: s.message).message
        assert change(r, Transition.TRANSITION_CONFIGURE)
        assert r.until(lambda s: s.model).message == 'the node is inactive'
        assert loaded[0].calls == [('warm_up', 0)]
        assert not r.cameras.publishers['rgb'].get_subscription_count()
        for _ in range(2):
            assert change(r, Transition.TRANSITION_ACTIVATE)
            if not r.cameras.ident:
                r.cameras.start()
            r.answers(3, None)
            assert r.request().request_accepted
            r.answers(3)
            (ok, reason), = r.set(image_qos='sensor_data')
            assert not ok and 'deactivate the node first' in reason
            assert change(r, Transition.TRANSITION_DEACTIVATE)
            wait_for(lambda: not r.cameras.publishers['rgb'].get_subscription_count())
            assert r.until(lambda s: 'inactive' in s.message and not s.target_id).state == 0
            assert not r.request().request_accepted
        assert r.set(image_qos='sensor_data') == [(True, '')]
        assert change(r, Transition.TRANSITION_CLEANUP)
        r.until(lambda s: 'unconfigured' in s.message and not s.model)
        assert change(r, Transition.TRANSITION_CONFIGURE)
        assert len(loaded) == 2
        assert change(r, Transition.TRANSITION_INACTIVE_SHUTDOWN)
        assert state(r) == 'finalized'
        assert 'the node is finalized' in r.until(lambda s: 'finalized' in s.message).message
        assert 'the node is finalized' in r.request().request_message


def test_activation_that_fails_says_why(ros_context: Context) -> None:
    try:
        import message_filters  # noqa: F401
        pytest.skip('message_filters is installed')
    except ImportError:
        pass
    with robot(ros_context, pairing='exact') as (r, _):
        assert 'ros-jazzy-message-filters' in r.until(lambda s: 'failed' in s.message).message
        assert state(r) == 'inactive'
        assert r.set(buffer_duration=1.0) == [(True, '')]       # is tried again, and fails again
        assert 'failed' in r.until(lambda s: s.message).message and state(r) == 'inactive'
        assert r.set(pairing='nearest') == [(True, '')]
        wait_for(lambda: state(r) == 'active', what='activation')
        assert 'failed' not in r.until(lambda s: 'inactive' not in s.message).message
        r.start()


def test_activation_that_fails_waits_for_who_leads_the_node(ros_context: Context,
                                                            monkeypatch: pytest.MonkeyPatch
                                                            ) -> None:
    from rgbt_tracker_ros.nodes import lifecycle
    tried: list[int] = []

    def fail(*_: object, **__: object) -> None:
        tried.append(1)
        raise ValueError('no such thing')

    with robot(ros_context, autostart=False) as (r, _):
        assert change(r, Transition.TRANSITION_CONFIGURE)
        monkeypatch.setattr(lifecycle, 'CameraInputs', fail)
        assert not change(r, Transition.TRANSITION_ACTIVATE)
        assert 'activate failed: no such thing' in r.until(lambda s: 'failed' in s.message).message
        assert r.set(buffer_duration=1.0) == [(True, '')]
        assert change(r, Transition.TRANSITION_CLEANUP) and tried == [1]
        r.until(lambda s: s.message == 'the node is unconfigured')      # what failed is forgotten


def test_a_pause_ends_with_the_activation(ros_context: Context) -> None:
    from std_srvs.srv import SetBool
    with robot(ros_context) as (r, _):
        r.start()
        assert r.call(SetBool, 'enable', SetBool.Request(data=False)).success
        r.until(lambda s: 'paused' in s.message)
        assert change(r, Transition.TRANSITION_DEACTIVATE)
        assert change(r, Transition.TRANSITION_ACTIVATE)
        r.answers(1, state=None)
        assert r.request().request_accepted
        r.answers(3)


def test_settings_reach_the_tracker_between_two_frames(ros_context: Context) -> None:
    tracker = FakeTracker()
    with robot(ros_context, tracker) as (r, node):
        r.start()
        assert r.set(lost_frames=9, buffer_duration=0.5, debug_image_rate=0) == [(True, '')] * 3
        wait_for(lambda: tracker.config.lost_frames == 9)
        assert node._ring.duration == 500_000_000
        r.answers(3)


@contextmanager
def process(*arguments: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run the node in a process of its own; its output is merged into stdout."""
    made = subprocess.Popen(
        [sys.executable, '-m', 'rgbt_tracker_ros.nodes.tracker_node', '--ros-args', *arguments],
        cwd=ROOT, env={**os.environ, **(env or {})}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # a shell starts what runs in its background with SIGINT ignored, and that is inherited
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        yield made
    finally:
        made.kill()
        made.wait()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(domain_id: int, number: int) -> None:
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    with process('-p', 'model:=/no/such/file') as p:
        assert p.stdout is not None
        line = next(line for line in p.stdout if 'configure failed' in line)
        assert '/no/such/file' in line
        p.send_signal(number)
        out, _ = p.communicate(timeout=60)
        assert p.returncode == 0, out
        assert 'Traceback' not in out and 'Error' not in out


def is_up(out: str) -> bool:
    """Whether a signal met the program, not Python that was starting: no line of ours had run."""
    return 'KeyboardInterrupt' not in out or re.search(r'tracker_node.py", line \d+, in main',
                                                      out) is not None


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('after', [0.05, 0.2, 0.5, 0.9])     # s: imports, node, loading
def test_signals_while_it_starts(domain_id: int, number: int, after: float) -> None:
    while True:
        with process() as p:
            time.sleep(after)
            p.send_signal(number)
            out, _ = p.communicate(timeout=60)
        if is_up(out):
            break
        after *= 2      # a busy machine
    assert p.returncode in (0, -number), out
    assert 'Traceback' not in out and 'Error' not in out, out


@pytest.mark.parametrize('namespace', ['/', '/robot/front'])
def test_parameter_file_holds_in_any_namespace(domain_id: int, tmp_path: Path,
                                               namespace: str) -> None:
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    file = tmp_path / 'tracker.yaml'
    file.write_text(render_yaml().replace("model: ''", 'model: /from/the/file'))
    with process('--params-file', str(file), '-r', f'__ns:={namespace}') as p:
        assert p.stdout is not None
        line = next(line for line in p.stdout if 'configure failed' in line)
        assert '/from/the/file' in line


@pytest.mark.parametrize('lists', ['[]', 'null'])     # null is what older versions dump
def test_a_dump_of_its_parameters_starts_the_node(ros_context: Context, tmp_path: Path,
                                                  lists: str) -> None:
    from rclpy.parameter import parameter_value_to_python

    from rgbt_tracker_ros.nodes.lifecycle import TrackerNode

    def start(file: Path) -> TrackerNode:
        return TrackerNode(context=ros_context, load_tracker=lambda _: FakeTracker(),
                           cli_args=['--ros-args', '--params-file', str(file)])

    node, dump = start(ROOT / 'config' / 'tracker.yaml'), tmp_path / 'dump.yaml'
    values = {name: parameter_value_to_python(node.get_parameter(name).get_parameter_value())
              for name in TABLE}
    node.destroy_node()
    text = yaml.dump({'/rgbt_tracker': {'ros__parameters': values}})
    assert text.count(': []') == 2
    dump.write_text(text.replace('[]', lists))
    node = start(dump)
    assert node._settings.get() == Parameters()
    node.destroy_node()


def test_the_real_tracker_follows_in_a_process_of_its_own(
        ros_context: Context, domain_id: int, tmp_path: Path) -> None:
    torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    from nodes_kit import Robot, spinning

    from rgbt_tracker_ros.models.checkpoint import save
    from rgbt_tracker_ros.models.student import Student, StudentConfig
    torch.manual_seed(0)
    save(Student(StudentConfig()), tmp_path / 'random.safetensors')    # as good as any, for this
    r = Robot(ros_context, ('rgb', 'thermal'), best_effort=False)
    with spinning(ros_context, r.node), process(
            '-p', f'model:={tmp_path}/random.safetensors', '-p', 'device:=cpu') as p:
        wait_for(lambda: r.statuses and r.status.model, 60, 'a loaded model')
        assert (r.status.device, r.status.model[:18]) == ('cpu', 'random.safetensors')
        r.start()
        tracks = r.answers(10, None)
        wait_for(lambda: r.tracks[-1].target_id)
        for camera in ('rgb', 'thermal'):
            r.cameras.on[camera] = False
            r.until(lambda s, c=camera: getattr(s, f'{c}_health') == TrackerStatus.STOPPED)
            r.answers(3, None)
            r.cameras.on[camera] = True
            r.until(lambda s: s.rgb_health == s.thermal_health == TrackerStatus.OK)
        r.until(lambda s: s.answered > 5 and s.errors == 0)
        assert all(t.network_time > 0 for t in r.tracks if t.target_id)
        assert {t.state for t in tracks} & {Track.TRACKING, Track.UNCERTAIN, Track.SEARCHING}
        r.cameras.running = False
        p.send_signal(signal.SIGINT)
        out, _ = p.communicate(timeout=60)
        assert p.returncode == 0
        assert 'Traceback' not in out
    r.node.destroy_node()
