"""Answers of trackers kept on disk, so that a second call does only what is missing.

An entry belongs to a key: the sha256 of all that the boxes depend on. What has changed finds no
entry; nothing is ever out of date.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import hashlib
import io
import json
import logging
from pathlib import Path
import re
from typing import Any
from zipfile import BadZipFile
import zlib

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.sinks import write_file

FORMAT = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a tracker answered to frames `first`, first + 1, ... of a sequence, n of them.

    `boxes`: (n, 4) float64 x, y, w, h in px of the reference image; row 0 is the box it was given.
    `confidence`: (n,) float64. `states`: (n,) uint8, numbers of `types.State`. `seconds`: (n,)
    float64 spent in `update`; row 0 in `init`. `stamps`: (n,) int64 ns, when frames were taken.
    """

    first: int
    boxes: NDArray[np.float64]
    confidence: NDArray[np.float64]
    states: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    stamps: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.boxes)
        for name in ('boxes', 'confidence', 'states', 'seconds', 'stamps'):
            shape = (n, 4) if name == 'boxes' else (n,)
            if getattr(self, name).shape != shape or not n:
                raise ValueError(f'{name} of the answers is {getattr(self, name).shape}; it must '
                                 f'be {shape} with at least one row')

    def __len__(self) -> int:
        return len(self.boxes)


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the sha256 of JSON values, whatever the order of their names."""
    text = json.dumps({**parts, 'format': FORMAT}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def safe_name(text: str) -> str:
    """Return the name of a tracker or sequence as a file's, if not always one of its own."""
    return re.sub(r'[^\w.+-]', '_', text)


class Cache:
    """Answers in a folder, one file for each tracker, sequence and key; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def load(self, tracker: str, sequence: str, key: str) -> Answers | None:
        """Return what was kept; None where there is nothing, or nothing that can be read."""
        path = self._path(tracker, sequence, key)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as data:
                if str(data['key']) != key:
                    return None
                return Answers(int(data['first']), data['boxes'], data['confidence'],
                               data['states'], data['seconds'], data['stamps'])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error,
                NotImplementedError) as error:
            _log.warning('%s is damaged and is made again: %s', path, error)
            return None

    def save(self, tracker: str, sequence: str, key: str, answers: Answers) -> None:
        """Keep answers; the file is whole or not there.

        :raises SinkError: if it can't be written. :raises OSError: if its folder can't be made.
        """
        path = self._path(tracker, sequence, key)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        np.savez_compressed(
            data, key=np.array(key), first=np.array(answers.first), boxes=answers.boxes,
            confidence=answers.confidence, states=answers.states, seconds=answers.seconds,
            stamps=answers.stamps)
        write_file(path, data.getvalue())

    def _path(self, tracker: str, sequence: str, key: str) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / safe_name(tracker) / f'{safe_name(sequence)}.{key[:16]}.npz'
