"""Finished stages of one run in another: the arms of an ablation share their teachers."""
from __future__ import annotations

from functools import partial
from pathlib import Path
import shutil
from typing import Any

from rgbt_tracker_ros.distillation import resume

RECORD = 'stage.json'  # what makes a stage's folder a finished one


def unlike(folder: Path, identity: dict[str, Any]) -> str | None:
    """Tell why a stage's folder does not hold just the stage of that description: None where it
    does, '' where there is no finished stage.

    :raises ResumeError: its record is damaged.
    """
    record = resume.read_json(folder / RECORD)
    if record is None:
        return ''
    found = resume.difference(record['identity'], identity)
    return None if found is None else 'there {} is {}, here {}'.format(
        found[0], *map(resume.short, found[1:]))


def take(source: Path, target: Path) -> None:
    """Copy a finished stage's files, its record last. :raises OSError: they can't be written."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir(), key=lambda p: p.name == RECORD):
        if file.is_file() and file.suffix != '.part':
            resume.replace(target / file.name, partial(shutil.copyfile, file))
