"""X2: four systems from one entry point. None is built on another, and little is written twice."""
from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
import re

import pytest
import yaml

from rgbt_tracker_ros.distillation.recipe import FOLDER, load_recipe, names, scales

PACKAGE = Path(__file__).resolve().parents[1] / 'rgbt_tracker_ros'
LONGEST = 5  # lines that two places may have in common, one after the other

# What is of one system alone. The rest of these rooms (transformers and their lock-step, residual
# networks, heads, trainer, responses) is for all.
OWN = {
    'ckd': ('models.coupled', 'distillation.losses.style_content'),
    'mutual_prompt': ('models.one_stream', 'models.prompts'),
    'cmd_rgbt': ('models.siamese', 'models.paths', 'models.xcorr', 'distillation.losses.scfd',
                 'distillation.losses.mpsd'),
    'cmd_tir': ('models.dimp', 'models.dimp_classifier', 'models.dimp_config',
                'models.dimp_optimizer', 'models.dimp_tracker', 'models.iou_net',
                'models.center_box', 'distillation.losses.dimp'),
}
# unimodal teachers are one-stream networks that do not fuse
SHARED = {('ckd', 'models.one_stream')}


def imported(module: str) -> set[str]:
    """Return the modules of this package that one imports, wherever in it."""
    path = PACKAGE.joinpath(*module.split('.')).with_suffix('.py')
    prefix = PACKAGE.name + '.'
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith(prefix):
            base = str(node.module).removeprefix(prefix)
            found |= {base, *(f'{base}.{a.name}' for a in node.names)}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix(prefix) for a in node.names}
    return found


@pytest.mark.parametrize('system', OWN)
def test_no_module_of_a_system_imports_another_systems(system: str) -> None:
    others = {m for other, modules in OWN.items() if other != system for m in modules}
    for module in OWN[system]:
        taken = {m for m in imported(module) & others if (system, m) not in SHARED}
        assert not taken, f'{module} imports {taken}'


@pytest.mark.parametrize('system', OWN)
def test_no_recipe_is_made_of_another(system: str) -> None:
    """By data alone: neither file nor network nor loss of another system."""
    text = (FOLDER / f'{system}.yaml').read_text()
    assert set(yaml.safe_load(text)) <= {'title', 'paper', 'reconstructed', 'needs', 'result',
                                         'stages', 'scales'}
    for other in set(names()) - {system, 'shipped', 'student'}:
        assert not re.search(rf'\b{other}\b', re.sub(r'#.*', '', text)), other
    used = {spec.type for scale in scales(system) for stage in load_recipe(system, scale)
            .stages.values() for spec in stage.networks.values()}
    own = {'ckd': {'coupled', 'two_stream'}, 'mutual_prompt': {'two_stream', 'one_stream'},
           'cmd_rgbt': {'siamese'}, 'cmd_tir': {'dimp'}}
    assert used == own[system]


def code(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a module that say something, without imports, comments, docstrings."""
    text = path.read_text()
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        said = node if isinstance(node, (ast.Import, ast.ImportFrom)) else None
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                said = first  # type: ignore[assignment]
        if said is not None:
            left_out |= set(range(said.lineno, (said.end_lineno or said.lineno) + 1))
    lines = [(i, line.partition('#')[0].strip()) for i, line in enumerate(text.splitlines(), 1)]
    return [(i, line) for i, line in lines if i not in left_out and re.search(r'\w', line)]


def copies(files: dict[str, list[tuple[int, str]]], length: int) -> list[list[str]]:
    """Return the places of runs of `length` lines that are there more than once."""
    places = defaultdict(list)
    for name, lines in files.items():
        for k in range(len(lines) - length + 1):
            run = tuple(line for _, line in lines[k:k + length])
            places[run].append(f'{name}:{lines[k][0]}')
    return [where for where in places.values() if len(where) > 1]


def test_little_is_written_twice() -> None:
    files = {str(p.relative_to(PACKAGE)): code(p) for room in ('models', 'distillation', 'data')
             for p in sorted((PACKAGE / room).rglob('*.py'))}
    assert len(files) > 50
    assert not copies(files, LONGEST + 1)


def test_copies_are_found(tmp_path: Path) -> None:
    body = ''.join(f'    x{i} = {i}  # {i}\n' for i in range(4))
    (tmp_path / 'a.py').write_text(f'import os\n\n\ndef f():\n    """Do it."""\n{body}')
    (tmp_path / 'b.py').write_text(f'def g():\n{body}\n    return 1\n')
    files = {p.name: code(p) for p in sorted(tmp_path.iterdir())}
    assert copies(files, 4) == [['a.py:6', 'b.py:2']] and not copies(files, 5)
