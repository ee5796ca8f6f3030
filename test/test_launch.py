"""The launch files: what can be said without launch, and their run where it is installed."""
from __future__ import annotations

import ast
from pathlib import Path
import signal
import subprocess
import time
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(ROOT.glob('launch/*.launch.py'))
PROMISED = {
    'tracker.launch.py': {'namespace', 'params_file', 'use_sim_time', 'rgb_topic', 'thermal_topic',
                          'device', 'autostart', 'log_level', 'respawn'},
    'evaluate.launch.py': {'root', 'layout', 'sequence', 'rate', 'output', 'tracker',
                           'params_file', 'device'},
    'recorder.launch.py': {'namespace', 'params_file', 'use_sim_time', 'rgb_topic',
                           'thermal_topic', 'output_dir', 'recording', 'autostart', 'log_level',
                           'respawn'},
    'demo.launch.py': {'rgb', 'thermal', 'rate', 'loop', 'compressed', 'fault', 'fault_stream'},
}


def arguments(file: Path) -> dict[str, Any]:
    """Return the table ARGUMENTS of a launch file without running it."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'ARGUMENTS':
            assert isinstance(node.value, ast.Dict)
            return {ast.literal_eval(k): [ast.unparse(e) for e in v.elts]
                    for k, v in zip(node.value.keys, node.value.values, strict=True)
                    if k is not None and isinstance(v, ast.Tuple)}
    raise AssertionError(f'{file} has no ARGUMENTS')


@pytest.mark.parametrize('file', FILES, ids=lambda f: f.name)
def test_arguments(file: Path) -> None:
    compile(file.read_text(), str(file), 'exec')
    found = arguments(file)
    assert set(found) == PROMISED[file.name]
    assert all(len(ast.literal_eval(entry[-1])) > 10 for entry in found.values()), 'describe them'


def test_demo_arguments_are_parameters_of_the_player() -> None:
    from rgbt_tracker_ros.nodes.player_node import TABLE

    for name, (default, kind, _) in arguments(ROOT / 'launch' / 'demo.launch.py').items():
        text, spec = ast.literal_eval(default), TABLE[name]
        assert kind == type(spec.default).__name__
        assert text == ('' if spec.default == '' else str(spec.default).lower())


def test_demo_target_is_the_clips() -> None:
    import yaml

    from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes

    node = yaml.safe_load((ROOT / 'config' / 'demo.yaml').read_text())['/**']['rgbt_tracker']
    assert tuple(node['ros__parameters']['initial_box']) == read_boxes(SMOKE.groundtruth)[
        0].as_tuple()


@pytest.mark.parametrize('file', FILES, ids=lambda f: f.name)
def test_describes_itself(file: Path) -> None:
    pytest.importorskip('launch_ros', reason='apt install ros-jazzy-launch-ros')
    from launch.actions import DeclareLaunchArgument
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    entities = get_launch_description_from_python_launch_file(str(file)).entities
    declared = {e.name for e in entities if isinstance(e, DeclareLaunchArgument)}
    assert declared >= PROMISED[file.name]


def test_demo_runs_to_its_end(domain_id: int) -> None:
    pytest.importorskip('launch_ros', reason='apt install ros-jazzy-launch-ros')
    pytest.importorskip('ros2launch', reason='apt install ros-jazzy-ros2launch')
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    process = subprocess.Popen(
        ['ros2', 'launch', str(ROOT / 'launch' / 'demo.launch.py')], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        process.kill()
        raise
    assert 'played 133 frames' in output, output
    assert 'Traceback' not in output, output
