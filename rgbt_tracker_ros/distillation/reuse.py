"""Finished stages of one run in another: the arms of an ablation share their teachers."""
from __future__ import annotations

from functools import partial
from pathlib import Path
import shutil
from typing import Any

from rgbt_tracker_ros.distillation import resume

RECORD = 'stage.json'  # what makes a stage's folder a finished one


def holds(folder: Path, identity: dict[str, Any]) -> bool:
    """Tell whether a stage's folder holds just the stage of that description, finished.

    :raises ResumeError: its record is damaged.
    """
    record = resume.read_json(folder / RECORD)
    return record is not None and resume.difference(record['identity'], identity) is None


def take(source: Path, target: Path) -> None:
    """Copy a finished stage's files, its record last. :raises OSError: they can't be written."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir(), key=lambda p: p.name == RECORD):
        if file.is_file() and file.suffix != '.part':
            resume.replace(target / file.name, partial(shutil.copyfile, file))
