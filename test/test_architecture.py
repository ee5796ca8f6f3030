"""The rooms of the package and who may import whom, read from the source by ast.

Imports inside functions count too: they hide from start-up, not from the reader.
"""
from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
import re
import shutil
import subprocess

import pytest

PACKAGE = 'rgbt_tracker_ros'
ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    '.'.join(p.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): p
    for p in sorted((ROOT / PACKAGE).rglob('*.py'))
    if (ROOT / PACKAGE / 'msg') not in p.parents}       # generated

# Room (or module at the top) -> what it may import of this package, besides itself and `types`.
# An entry may be a room or one module of it. The chain is nodes -> tracking -> runtime -> models:
# each may import those to its right.
ROOMS = {
    'models': (),
    'runtime': ('models',),
    'tracking': ('runtime', 'models'),
    'data': ('tracking.geometry', 'tracking.shifts'),   # crops for samples, offsets of rigs
    'evaluation': ('tracking', 'runtime', 'models', 'data', 'visualization', 'command_line'),
    'distillation': ('evaluation', 'tracking', 'runtime', 'models', 'data'),
    'adaptation': ('distillation', 'evaluation', 'tracking', 'runtime', 'models', 'data',
                   'command_line'),
    'claims': ('adaptation', 'distillation', 'evaluation', 'tracking', 'runtime', 'models',
               'data'),
    'recording': ('data',),
    'nodes': ('tracking', 'runtime', 'models', 'data', 'recording', 'visualization', 'msg'),
    'visualization': (),
    'cli': ('cli_track', 'cli_evaluate', 'cli_play', 'cli_record_info', 'demo', 'loop',
            'distillation', 'adaptation', 'claims', 'runtime.threads'),
    'cli_evaluate': ('ros_evaluation', 'processes', 'evaluation', 'data', 'command_line'),
    'cli_play': ('processes', 'data', 'command_line'),
    'cli_record_info': ('data', 'command_line'),
    'ros_evaluation': ('processes', 'evaluation', 'data'),
    'cli_track': ('tracking', 'runtime', 'models', 'data', 'visualization', 'command_line'),
    'loop': ('processes', 'evaluation', 'runtime.cores', 'models', 'data', 'command_line',
             'distillation.needs'),                     # of the command that it starts
    'command_line': (),
    'demo': ('demo_report', 'processes', 'tracking', 'data', 'evaluation', 'visualization'),
    'demo_report': ('data', 'evaluation', 'visualization'),
    'processes': (),
    'assets': (), 'weights': (),
    'types': None,                                      # nothing at all
    '': None,
}
# ROS and everything generated for it
ROS = re.compile(r'(rclpy|launch\w*|ros2\w+|message_filters|cv_bridge|ament_\w+|rosidl\w*|'
                 r'rcl_interfaces|\w+_(msgs|interfaces|srvs))(\.|$)|' + PACKAGE + r'\.msg(\.|$)')
LONGEST = 400


def room_of(module: str) -> str:
    """Return the part of a module's name after the package's: `tracking` of `P.tracking.x`."""
    return module.removeprefix(PACKAGE).removeprefix('.').split('.')[0]


def imports_of(module: str, tree: ast.AST, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line, full name) of all that a module imports, wherever in it.

    `from a import b` counts as `a.b`, which may be a module of a package. Names of modules handed
    to import_module, and those in a table of `module:function`, count too.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parts = module.split('.')
                up = parts[:len(parts) - node.level + is_package]
                base = '.'.join([*up, *filter(None, [base])])
            yield from ((node.lineno, f'{base}.{alias.name}') for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(
                rf'{PACKAGE}(\.\w+)+:\w+', node.value):
            yield node.lineno, node.value.split(':')[0]


def imports(module: str) -> list[tuple[int, str]]:
    path = MODULES[module]
    return list(imports_of(module, ast.parse(path.read_text()), path.stem == '__init__'))


def allowed(module: str, target: str) -> bool:
    """Tell whether a module may import `target`, a full name within the package."""
    room, rule = room_of(module), ROOMS[room_of(module)]
    name = target.removeprefix(PACKAGE).removeprefix('.')
    if rule is None:
        return False
    # the package itself holds but its version
    return name in ('', '__version__') or any(
        name == entry or name.startswith(entry + '.') for entry in (room, 'types', *rule))


# --- the reader of imports itself

@pytest.mark.parametrize('source, module, expected', [
    ('import rclpy', 'a.b', ['rclpy']),
    ('def f():\n  from rclpy.node import Node', 'a.b', ['rclpy.node.Node']),
    ('from . import c', 'a.b', ['a.c']),
    ('from .c import d', 'a.b', ['a.c.d']),
    ('from ..x import y', 'a.b.c', ['a.x.y']),
    ('if TYPE_CHECKING:\n  import torch', 'a', ['torch']),
    (f'T = {{"x": "{PACKAGE}.nodes.x:main"}}', 'a', [f'{PACKAGE}.nodes.x'])])
def test_imports_are_found_wherever_they_are(source, module, expected):
    assert [name for _, name in imports_of(module, ast.parse(source))] == expected


def test_relative_imports_of_a_package_start_in_it():
    found = imports_of('a.b', ast.parse('from . import c'), is_package=True)
    assert [name for _, name in found] == ['a.b.c']


@pytest.mark.parametrize('module, target, expected', [
    ('tracking.tracker', 'runtime.eager', True), ('tracking.tracker', 'tracking.thermal', True),
    ('tracking.tracker', 'distillation.losses', False), ('tracking.tracker', 'types.Box', True),
    ('tracking.tracker', 'nodes.pairing', False), ('models.student', 'tracking.config', False),
    ('data.samples', 'tracking.geometry.Crop', True), ('data.samples', 'tracking.tracker', False),
    ('cli', 'nodes.tracker_node', False), ('types', 'tracking', False),
    ('visualization', 'types.Box', True), ('visualization', 'tracking.config', False)])
def test_the_rules_say_what_they_mean(module, target, expected):
    assert allowed(f'{PACKAGE}.{module}', f'{PACKAGE}.{target}') is expected


@pytest.mark.parametrize('name, ros', [
    ('rclpy', True), ('rclpy.node.Node', True), ('sensor_msgs.msg.Image', True),
    ('std_srvs.srv.Trigger', True), ('launch_ros.actions', True), (f'{PACKAGE}.msg.Track', True),
    ('cv2', False), (f'{PACKAGE}.types', False), ('torch', False)])
def test_what_counts_as_ros(name, ros):
    assert bool(ROS.match(name)) is ros


# --- the package

@pytest.mark.parametrize('module', MODULES)
def test_imports_follow_the_arrows(module):
    assert room_of(module) in ROOMS, f'{module} is in no room of test_architecture.ROOMS'
    wrong = [f'{MODULES[module]}:{line}: {module} must not import {name}'
             for line, name in imports(module)
             if (name == PACKAGE or name.startswith(PACKAGE + '.')) and not allowed(module, name)]
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('module', [m for m in MODULES if room_of(m) != 'nodes'])
def test_only_the_nodes_know_ros(module):
    wrong = [f'{MODULES[module]}:{line}: {module} must not import {name}'
             for line, name in imports(module) if ROS.match(name)]
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('module', MODULES)
def test_modules_have_one_subject_and_say_which(module):
    text = MODULES[module].read_text()
    assert text.count('\n') <= LONGEST, f'{module} is longer than {LONGEST} lines; split it'
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f'{module} has no docstring'


@pytest.mark.parametrize('module', MODULES)
def test_public_functions_and_classes_have_docstrings(module):
    # an entry point `main` is what its module's docstring tells of
    bare = [f'{MODULES[module]}:{node.lineno}: {node.name}'
            for node in ast.parse(MODULES[module].read_text()).body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
            and not node.name.startswith('_') and node.name != 'main'
            and not ast.get_docstring(node)]
    assert not bare, 'without a docstring:\n' + '\n'.join(bare)


def tracked_files() -> list[Path]:
    """Return the files that git tracks, or would after `git add`."""
    if shutil.which('git') is None:
        pytest.skip('git is not installed; apt install git')
    done = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard', '-z'],
        cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip('not a git checkout, so build outputs cannot be told from sources')
    return [ROOT / name for name in done.stdout.split('\0') if name and (ROOT / name).is_file()]


def test_no_file_names_a_path_of_one_machine():
    # split, so that this file does not match itself
    personal = re.compile('(?<![\\w.$}])/(' + '|'.join(
        ['ho' + 'me/', 'Us' + 'ers/', 'ro' + 'ot/', 'wo' + 'rk/', 'm' + 'nt/']) + r')[\w.]')
    found = []
    for path in tracked_files():
        data = path.read_bytes()
        if b'\0' in data[:8192]:
            continue
        for number, line in enumerate(data.decode('utf-8').splitlines(), 1):
            if personal.search(line):
                found.append(f'{path.relative_to(ROOT)}:{number}: {line.strip()}')
    assert not found, '\n'.join(found)
