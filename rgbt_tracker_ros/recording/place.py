"""The folder that a recording is in: who may write there, what is there, what has to go."""
from __future__ import annotations

from dataclasses import dataclass
import errno
import fcntl
import json
import os
from pathlib import Path
import re
import shutil

PARTIAL, RESERVE = '.partial', 'reserve'
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]*')


class RecordingError(RuntimeError):
    """It can't be recorded, or no longer; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A segment that is there."""

    number: int
    path: Path

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(p.stat().st_size for p in self.path.iterdir() if p.is_file())


class Place:
    """DIR and NAME, locked from here to `release`."""

    def __init__(self, directory: Path, recording: str) -> None:
        """Make the folder if it isn't there, and lock the recording.

        :raises RecordingError: if that is impossible, or another recorder is at it.
        """
        if not NAME.fullmatch(recording):
            raise RecordingError(f'recording is {recording!r}; it must be a file name of letters, '
                                 'digits, _, . and -')
        self.directory = directory
        self.recording = recording
        self._pattern = re.compile(re.escape(recording) + r'_(\d{4,})(\.partial)?')
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / f'.{recording}.lock',
                                 os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RecordingError(f'{directory} can not be written: {error.strerror}') from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise RecordingError(f'{directory} can not be locked: {error.strerror}') from error
            raise RecordingError(f'another recorder writes {recording!r} in {directory}; give one '
                                 'of the two another `recording` or `output_dir`') from error
        try:
            self._tidy()
        except OSError as error:
            os.close(self._lock)
            raise RecordingError(f'{error.filename or directory} is in the way: '
                                 f'{error.strerror}') from error

    def _tidy(self) -> None:
        """Remove what a process that was killed has left and nobody reads."""
        for left in self.directory.glob(f'.{self.recording}_*.deleting'):
            shutil.rmtree(left, ignore_errors=True)     # tried again at the next start
        for stored in self.segments():
            if stored.path.name.endswith(PARTIAL):
                (stored.path / RESERVE).unlink(missing_ok=True)

    def segments(self) -> list[Stored]:
        """Return the segments that are there, oldest first.

        :raises OSError: if the folder can't be read.
        """
        found = []
        for path in self.directory.iterdir():
            match = self._pattern.fullmatch(path.name)
            if match and path.is_dir() and not path.is_symlink():
                found.append(Stored(int(match[1]), path))
        return sorted(found, key=lambda s: s.number)

    def folder(self, number: int) -> Path:
        """Return where the whole segment of that number belongs."""
        return self.directory / f'{self.recording}_{number:04d}'

    @property
    def free(self) -> int:
        """Bytes that may still be written to that disk.

        :raises OSError: if the folder is gone.
        """
        at = os.statvfs(self.directory)
        return at.f_bavail * at.f_frsize

    def delete(self, segment: Stored) -> bool:
        """Delete a segment as a whole, if it is one of this recording by its manifest too; return
        whether it is gone.

        :raises OSError: if it can't be deleted.
        """
        try:
            manifest = json.loads((segment.path / 'manifest.json').read_text(encoding='utf-8'))
            if manifest['recording'] != self.recording:
                return False
        except (OSError, ValueError, KeyError, TypeError):
            return False
        # half a segment must never look like a whole one
        doomed = self.directory / f'.{segment.path.name}.deleting'
        try:
            segment.path.rename(doomed)
        except FileNotFoundError:       # somebody was quicker
            return True
        shutil.rmtree(doomed)
        return True

    def release(self) -> None:
        """Unlock; the lock file stays."""
        os.close(self._lock)
