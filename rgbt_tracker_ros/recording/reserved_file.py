"""Files that can be ended when the disk is full, and are there when the power was cut."""
from __future__ import annotations

from collections.abc import Sequence
import errno
import os
from pathlib import Path
from threading import Thread
from typing import TypeAlias

FULL = (errno.ENOSPC, errno.EDQUOT)
BUFFERS = 512       # per system call; Linux takes 1024
AHEAD = 32 << 20    # bytes that the kernel may keep to itself before it is asked to write them
Buffer: TypeAlias = 'bytes | bytearray | memoryview'


class ReservedFile:
    """Writes buffers as they are, unbuffered, and keeps a second file of which the space is there
    for the worst case: when the disk is full that one goes, and writing goes on in its place.

    What is written goes to the disk as steadily as it comes and does not stay in the page cache:
    images would push everything else out of it, and `sync` would take seconds at the end. What a
    power cut leaves of it is certain only up to the last `sync_behind` that is done.
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
        self._synced = 0        # up to there it was asked to have written
        self._syncing: Thread | None = None
        self._lost: OSError | None = None
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
        if self._syncing is not None:
            self._syncing.join()
        self._require_kept()

    def sync_behind(self) -> None:
        """Have all that is written so far put on the disk, in a thread of its own: a disk that
        pauses for seconds holds nobody up meanwhile. Does nothing where that is still going on.

        :raises OSError: if it could not be written there since the last call.
        """
        self._require_kept()
        if self._synced == self.position or (
                self._syncing is not None and self._syncing.is_alive()):
            return
        self._synced = self.position
        # a descriptor of its own, which outlives `close`
        self._syncing = Thread(target=self._sync, args=(os.dup(self._file),), name='sync',
                               daemon=True)
        self._syncing.start()

    def _sync(self, file: int) -> None:
        try:
            os.fdatasync(file)
        except OSError as error:
            self._lost = error      # the kernel tells it once: `sync` would not hear of it
        finally:
            os.close(file)

    def _require_kept(self) -> None:
        if self._lost is not None:
            raise self._lost

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
