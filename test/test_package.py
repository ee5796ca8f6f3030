"""What is shipped: entry points, the clip, versions, dependencies, generated documentation."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
import importlib
import importlib.util
import os
from pathlib import Path
import re
import sys
from typing import Any
import xml.etree.ElementTree as ET

import pytest

import rgbt_tracker_ros
from rgbt_tracker_ros.data.shipped import ASSETS, SMOKE, read_boxes
from rgbt_tracker_ros.data.sources import open_source

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'rgbt_tracker_ros'
MEGABYTE = 1_000_000


def section(text: str, title: str) -> str:
    """Return a section of pyproject.toml (Python 3.10 has no parser for it)."""
    return text.split(f'[{title}]\n')[1].split('\n[')[0]


@pytest.fixture(scope='module')
def pyproject() -> str:
    return (ROOT / 'pyproject.toml').read_text()


@pytest.fixture(scope='module')
def manifest() -> ET.Element:
    return ET.parse(ROOT / 'package.xml').getroot()


def entry_points(pyproject: str) -> dict[str, str]:
    return dict(re.findall(r'^(\w+) = "([\w.:]+)"$', section(pyproject, 'project.scripts'), re.M))


def test_entry_points(pyproject: str) -> None:
    found = entry_points(pyproject)
    assert set(found) == {'rgbt', 'tracker_node', 'player_node', 'recorder_node',
                          'evaluation_client'}
    for target in found.values():
        module, function = target.split(':')
        assert callable(getattr(importlib.import_module(module), function))


def test_ros2_run_starts_the_same(pyproject: str) -> None:
    installed = re.search(r'install\(PROGRAMS (.*?)\s+DESTINATION lib/',
                          (ROOT / 'CMakeLists.txt').read_text())
    assert installed is not None
    found = entry_points(pyproject)
    assert set(installed[1].split()) == {f'scripts/{name}' for name in found}
    for name, target in found.items():
        script = ROOT / 'scripts' / name
        module, function = target.split(':')
        assert script.read_text().startswith('#!/usr/bin/env python3\n')
        assert f'from {module} import {function}\n' in script.read_text()
        assert os.access(script, os.X_OK)


def test_the_command_is_on_the_path_of_a_colcon_install() -> None:
    assert 'install(PROGRAMS scripts/rgbt DESTINATION bin)' in (
        ROOT / 'CMakeLists.txt').read_text()


def test_what_training_needs_is_named_where_pip_has_not_installed_us(pyproject: str) -> None:
    from rgbt_tracker_ros.distillation.needs import INSTALL
    needed = re.search(r'^train = \[(.*?)\]', pyproject, re.M)
    assert needed is not None
    command = 'pip install ' + ' '.join(
        name if re.fullmatch(r'[\w-]+', name) else f"'{name}'"
        for name in re.findall('"(.*?)"', needed[1]))
    assert command == INSTALL and command in (ROOT / 'README.md').read_text()


def test_clip() -> None:
    size = sum(f.stat().st_size for f in ASSETS.rglob('*') if f.is_file())
    assert size <= 3 * MEGABYTE
    boxes = read_boxes(SMOKE.groundtruth)
    assert list(boxes) == list(range(133))
    for path in (SMOKE.rgb, SMOKE.thermal):
        shapes = [frame.shape for frame in open_source(path)]
        assert shapes == [(480, 640, 3)] * 133
    assert all(box.checked(640, 480).area > 0.8 * box.area for box in boxes.values())
    assert 'MIT License' in (SMOKE.rgb.parent / 'LICENSE').read_text()
    assert 'M3SVD' in (SMOKE.rgb.parent / 'README.md').read_text()


@pytest.mark.parametrize(('text', 'reason'), [
    ('frame,x,y,w\n', 'no column h'), ('', 'no column frame, h, w, x, y'),
    ('frame,x,y,w,h\n0,1,2,3,4\n0,1,2,3,4\n', 'line 3: frame 0 is there twice'),
    ('frame,x,y,w,h\n0,1,2,wide,4\n', "line 2: .*'wide'"), ('frame,x,y,w,h\n0,1\n', 'line 2')])
def test_refuses_boxes(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / 'boxes.csv'
    file.write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_boxes(file)


def test_one_version(pyproject: str, manifest: ET.Element) -> None:
    newest = re.search(r'^(\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$',
                       (ROOT / 'CHANGELOG.rst').read_text(), re.M)
    assert newest is not None
    assert {rgbt_tracker_ros.__version__, manifest.findtext('version'), newest[1],
            re.findall(r'^version = "(.*)"$', section(pyproject, 'project'), re.M)[0]
            } == {rgbt_tracker_ros.__version__}


def test_manifest(manifest: ET.Element) -> None:
    assert manifest.get('format') == '3'
    assert manifest.findtext('name') == PACKAGE
    assert manifest.findtext('license') == 'Apache-2.0'
    assert manifest.findtext('member_of_group') == 'rosidl_interface_packages'
    assert manifest.findtext('export/build_type') == 'ament_cmake'
    maintainer = manifest.find('maintainer')
    assert maintainer is not None
    assert re.fullmatch(r'[\w.+-]+@[\w-]+(\.[\w-]+)+', maintainer.get('email', ''))


def imported(folder: Path) -> Iterator[str]:
    """Yield the first part of every module that is imported, at any depth of the code."""
    for file in folder.rglob('*.py'):
        if 'msg' in file.relative_to(folder).parts:  # generated
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split('.')[0]


OURS = {PACKAGE, *sys.stdlib_module_names}
# what it is called in package.xml, in pyproject.toml; '' where it can't be had that way
ELSEWHERE = {
    'cv2': ('python3-opencv', 'opencv-contrib-python-headless'),
    'numpy': ('python3-numpy', 'numpy'),
    'tqdm': ('python3-tqdm', 'tqdm'),
    'yaml': ('python3-yaml', 'PyYAML'),
    'torch': ('', 'torch'),
    'safetensors': ('', 'safetensors'),
    'rosbags': ('', 'rosbags'),
    'mcap': ('', 'mcap'),
    'lz4': ('', 'lz4'),
    'zstandard': ('', 'zstandard'),
    **dict.fromkeys(('launch', 'launch_ros', 'vision_msgs', 'message_filters', 'cv_bridge'), None),
    'apsw': ('', ''),   # comes with rosbags
    'scipy': ('', ''),  # for KAIST's .vbb files alone
    # the extra `train`
    **dict.fromkeys(('lightning_fabric', 'matplotlib', 'tensorboard'), ('', '')),
    # these come with ros-rclpy
    **dict.fromkeys(('builtin_interfaces', 'lifecycle_msgs', 'rcl_interfaces', 'rosgraph_msgs'),
                    None),
}


def test_dependencies_cover_the_imports(pyproject: str, manifest: ET.Element) -> None:
    declared = {e.text for tag in ('depend', 'exec_depend') for e in manifest.findall(tag)}
    project = section(pyproject, 'project')
    missing = []
    for name in {*imported(ROOT / PACKAGE), *imported(ROOT / 'launch')} - OURS:
        names: Any = ELSEWHERE.get(name, (name, f'ros-{name.replace("_", "-")}'))
        ros, pip = names or (name, '')
        if ros and ros not in declared:
            missing.append(f'{ros} in package.xml')
        if pip and not re.search(rf'^  "{pip}\b', project, re.M):
            missing.append(f'{pip} in pyproject.toml')
    assert not missing


def test_nothing_is_declared_that_is_not_used(manifest: ET.Element) -> None:
    declared = {e.text or '' for e in manifest.findall('exec_depend')}
    used = {*imported(ROOT / PACKAGE), *imported(ROOT / 'launch'), *imported(ROOT / 'test')}
    used |= {ELSEWHERE[name][0] for name in used if ELSEWHERE.get(name)}
    assert declared - used == {'rosidl_default_runtime', 'ros2launch'}


def test_what_pip_leaves_in_the_tree_is_not_installed_by_colcon() -> None:
    # --symlink-install globs files: a pattern of a folder's name excludes nothing there
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    install = cmake.split('install(DIRECTORY ${PROJECT_NAME}/')[1].split(')\n')[0]
    patterns = re.findall(r'PATTERN "(.*?)" EXCLUDE', install)
    for left in ('__pycache__', 'x/y.pyc', 'msg', 'msg/_track.py', 'a.so'):
        assert any(fnmatch(left, p) for p in patterns), left
    assert {'msg/*', '*.pyc', '*.so'} <= set(patterns)


def test_messages_are_built_with_all_they_hold() -> None:
    held = {match for file in ROOT.glob('msg/*.msg')
            for match in re.findall(r'^(\w+)/\w+', file.read_text(), re.M)}
    cmake = re.search(r'rosidl_generate_interfaces\(.*DEPENDENCIES (.*)\)',
                      (ROOT / 'CMakeLists.txt').read_text())
    deps = re.search(r'^DEPS = (\[.*?\])', (ROOT / 'setup.py').read_text(), re.M)
    assert cmake is not None and deps is not None
    assert held <= set(cmake[1].split()) and held <= set(ast.literal_eval(deps[1]))


def test_readme_agrees_with_the_code() -> None:
    spec = importlib.util.spec_from_file_location('update_docs', ROOT / 'scripts/update_docs.py')
    assert spec is not None and spec.loader is not None
    update_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(update_docs)
    text = (ROOT / 'README.md').read_text()
    assert update_docs.updated(text) == text, 'run `make docs`'
    with pytest.raises(ValueError, match='<!-- launch:begin -->'):
        update_docs.updated('')


def test_readme_links_lead_somewhere() -> None:
    links = re.findall(r'\]\(([^)#]+)\)', (ROOT / 'README.md').read_text())
    assert links
    assert not [link for link in links if '://' not in link and not (ROOT / link).exists()]


def test_continuous_integration_runs_the_tests() -> None:
    script = ROOT / '.ci' / 'run'
    assert os.access(script, os.X_OK)
    assert 'set -euo pipefail' in script.read_text() and 'make test' in script.read_text()
    makefile = (ROOT / 'Makefile').read_text()
    assert all(f'\n{target}:' in makefile
               for target in ('demo', 'test', 'lint', 'docs', 'venv', 'clean'))
