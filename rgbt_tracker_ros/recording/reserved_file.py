"""Files that can be ended when the disk is full, and are there when the power was cut."""
from __future__ import annotations

from collections.abc import Sequence
import errno
import os
from pathlib import Path
from typing import TypeAlias

FULL = (errno.ENOSPC, errno.EDQUOT)
BUFFERS = 512       # per system call; Linux takes 1024
AHEAD = 32 << 20    # bytes that the kernel may keep to itself before it is asked to write them
Buffer: TypeAlias = 'bytes | bytearray | memoryview'


class ReservedFile:
    """Writes buffers as they are, unbuffered, and keeps a second file of which the space is there
    for the worst case: when the disk is full that one goes, and writing goes on in its place.

    What is written goes to the disk as steadily as it comes and does not stay in the page cache:
    images would push everything else out of it, and `sync` would take seconds at the end.
    """

    def __init__(self, path: Path, reserve: Path, size: int) -> None:
        """Create both files; `size` of the reserve in bytes.

        :raises OSError: also when the disk has no room for the reserve.
        """
        self.path = path
        self.position = 0
        self.full = False       # the reserve was needed: it is time to stop
        self._reserve = reserve
        self._steady = 0        # up to there the kernel was asked to write
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        kept = os.open(reserve, flags, 0o644)
        try:
            os.posix_fallocate(kept, 0, size)
        finally:
            os.close(kept)
        self._file = os.open(path, flags, 0o644)

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Append buffers.

        :raises OSError: when that fails for another reason than space, or the reserve is gone.
        """
        views = [memoryview(b) for b in buffers if len(b)]
        first = 0
        while first < len(views):
            try:
                written = os.writev(self._file, views[first:first + BUFFERS])
            except OSError as error:
                if error.errno not in FULL or self.full:
                    raise
                self.full = True
                self._reserve.unlink(missing_ok=True)
                continue
            self.position += written
            while first < len(views) and written >= len(views[first]):
                written -= len(views[first])
                first += 1
            if written:     # a part of a buffer: the disk has just filled up
                views[first] = views[first][written:]
        if self.position - self._steady >= AHEAD:
            # starts writing what is dirty, and forgets what was written since the last time
            os.posix_fadvise(self._file, max(0, self._steady - AHEAD), 0,
                             os.POSIX_FADV_DONTNEED)
            self._steady = self.position

    def sync(self) -> None:
        """Wait until all is on the disk.

        :raises OSError: if it can't be written there.
        """
        os.fsync(self._file)

    @property
    def vanished(self) -> bool:
        """Whether the file is no longer where it was made: someone removed or moved the folder."""
        try:
            there, here = os.stat(self.path), os.fstat(self._file)
        except OSError:
            return True
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def close(self) -> None:
        """Close the file, and give the reserve back."""
        os.close(self._file)
        self._reserve.unlink(missing_ok=True)


def write_durably(path: Path, text: str) -> None:
    """Write a file, in the place of one that is there, as a whole or not at all.

    :raises OSError: if that is impossible.
    """
    made = path.with_name(path.name + '.new')
    with made.open('w', encoding='utf-8') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)


def sync_folder(path: Path) -> None:
    """Have names in a folder, new or changed, on the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
