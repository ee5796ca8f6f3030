"""Ruff and mypy find nothing, with the settings in pyproject.toml."""
from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize('tool, arguments', [
    ('ruff', ['check', '--no-fix', '--output-format=concise']),
    ('mypy', ['--no-error-summary', '--hide-error-context'])])
def test_lint(tool, arguments):
    if find_spec(tool) is None:
        pytest.skip(f'{tool} is not installed; pip install "rgbt_tracker_ros[test]"')
    done = subprocess.run([sys.executable, '-m', tool, *arguments], cwd=ROOT,
                          capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f'{tool} {" ".join(arguments)}\n{done.stdout}{done.stderr}', pytrace=False)
