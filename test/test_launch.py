"""The launch files: what can be said without launch, and their run where it is installed."""
from __future__ import annotations

import ast
import os
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
                          'image_transport', 'device', 'autostart', 'log_level', 'respawn'},
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


def actions(name: str, monkeypatch: pytest.MonkeyPatch, **given: str) -> list[Any]:
    """Return what a launch file has launch do; nothing of it is started."""
    pytest.importorskip('launch_ros', reason='apt install ros-jazzy-launch-ros')
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    made: list[Any] = []

    def note(self: Any, **options: Any) -> None:
        made.append(self)
        begin(self, **options)

    begin = ExecuteProcess.__init__     # of nodes too, and of what waits for an event
    monkeypatch.setattr(ExecuteProcess, '__init__', note)
    context = LaunchContext()
    context.launch_configurations.update(given)
    for entity in get_launch_description_from_python_launch_file(str(
            ROOT / 'launch' / name)).entities:
        if isinstance(entity, (DeclareLaunchArgument, OpaqueFunction)):
            made += entity.execute(context) or []
        else:
            made.append(entity)
    monkeypatch.undo()
    return made


@pytest.mark.parametrize('chosen', [None, 'FASTRTPS_DEFAULT_PROFILES_FILE',
                                    'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTDDS_BUILTIN_TRANSPORTS'])
@pytest.mark.parametrize(('name', 'nodes'), [('tracker.launch.py', 1), ('demo.launch.py', 1),
                                             ('evaluate.launch.py', 2)])
def test_transports_are_set_for_our_nodes_alone(
        name: str, nodes: int, chosen: str | None, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    from rgbt_tracker_ros.processes import PROFILE_VARIABLES, TRANSPORT_VARIABLES
    with pytest.MonkeyPatch.context() as environment:
        for variable in TRANSPORT_VARIABLES:
            environment.delenv(variable, raising=False)
        if chosen:
            environment.setenv(chosen, 'LARGE_DATA')
        before = dict(os.environ)
        made = actions(name, monkeypatch, root=str(tmp_path), output=str(tmp_path / 'out'))
        assert dict(os.environ) == before
    from launch.actions import SetEnvironmentVariable
    from launch_ros.actions import Node
    assert not any(isinstance(action, SetEnvironmentVariable) for action in made)
    found = {id(a): a for a in made if isinstance(a, Node)}
    assert len(found) == nodes
    for node in found.values():
        added = {''.join(part.text for part in key)
                 for key, _ in node.process_description.additional_env}
        assert added == (set() if chosen else set(PROFILE_VARIABLES))


@pytest.mark.parametrize(('compressed', 'transport'), [
    ('true', 'compressed'), ('True', 'compressed'), ('false', 'raw')])
def test_the_demos_tracker_listens_to_what_its_player_sends(
        compressed: str, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = actions('demo.launch.py', monkeypatch, compressed=compressed)
    from launch.actions import IncludeLaunchDescription
    include, = (a for a in made if isinstance(a, IncludeLaunchDescription))
    assert dict(include.launch_arguments)['image_transport'] == transport


def test_scores_are_made_by_the_packages_program(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    made = actions('evaluate.launch.py', monkeypatch, root=str(tmp_path),
                   output=str(tmp_path / 'out'))
    from launch.actions import ExecuteProcess
    from launch_ros.actions import Node
    from launch_ros.substitutions import ExecutableInPackage
    scores, = (a for a in made if isinstance(a, ExecuteProcess) and not isinstance(a, Node))
    program, *rest = scores.process_description.cmd
    assert isinstance(program[0], ExecutableInPackage)      # not the Python that runs launch
    text = [''.join(part.text for part in word) for word in rest]
    assert text[0] == 'evaluate' and '--ros-args' not in text


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
