#!/usr/bin/env python3
"""Rewrite the generated parts of README.md, each between its markers, and its picture."""
from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
import re
import shutil

from rgbt_tracker_ros.data.layouts import ABOUT
from rgbt_tracker_ros.evaluation.conventions import CONVENTIONS
from rgbt_tracker_ros.evaluation.results_out import FORMATS
from rgbt_tracker_ros.nodes import player_node, recorder_parameters
from rgbt_tracker_ros.nodes.parameters import render_markdown

ROOT = Path(__file__).resolve().parents[1]


def launch_arguments() -> str:
    """Return the table of tracker.launch.py's arguments; launch itself need not be installed."""
    tree = ast.parse((ROOT / 'launch' / 'tracker.launch.py').read_text())
    table = next(ast.literal_eval(node.value) for node in tree.body
                 if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'ARGUMENTS')
    rows = [f'| `{name}` | {f"`{default}`" if default else ""} | {text} |'
            for name, (default, text) in table.items()]
    return '\n'.join(['| argument | default | meaning |', '|---|---|---|', *rows]) + '\n'


def track_message() -> str:
    """Return Track.msg as a block of code."""
    return f'```\n{(ROOT / "msg" / "Track.msg").read_text()}```\n'


def evaluation_tables() -> str:
    """Return the tables of layouts, of conventions and of the formats of result files."""
    tables = (('`--layout`', 'where images and true boxes are', ABOUT),
              ('`--convention`', 'how it scores', {k: c.about for k, c in CONVENTIONS.items()}),
              ('`--format`', 'for', {k: f'{f.about}: `{f.path}`' for k, f in FORMATS.items()}))
    return '\n'.join(
        '\n'.join([f'| {name} | {title} |', '|---|---|',
                   *(f'| `{key}` | {text} |' for key, text in table.items())]) + '\n'
        for name, title, table in tables)


BLOCKS: dict[str, Callable[[], str]] = {
    'launch': launch_arguments,
    'track': track_message,
    'parameters': render_markdown,
    'player': lambda: render_markdown(player_node.TABLE),
    'recorder': lambda: render_markdown(recorder_parameters.TABLE),
    'evaluation': evaluation_tables,
}


def updated(text: str) -> str:
    """Return the README with its generated parts made anew.

    :raises ValueError: if markers are missing.
    """
    for name, make in BLOCKS.items():
        begin, end = f'<!-- {name}:begin -->\n', f'<!-- {name}:end -->\n'
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f'README.md needs one {begin.strip()} and one {end.strip()}')
        block = begin + make() + end
        text = re.sub(f'{begin}.*?{end}', lambda _, b=block: b, text, flags=re.DOTALL)
    return text


def main() -> None:
    """Update README.md, and docs/demo_strip.png from the last demo."""
    readme = ROOT / 'README.md'
    readme.write_text(updated(readme.read_text()))
    strip = ROOT / 'demo' / 'strip.png'
    if strip.exists():
        shutil.copy(strip, ROOT / 'docs' / 'demo_strip.png')


if __name__ == '__main__':
    main()
