"""Room for what is to be written: on the disk, and within what a recording may take."""
from __future__ import annotations

from rgbt_tracker_ros.recording.place import Place, RecordingError, Stored

SUMMARY = 1 << 16           # bytes that a file needs at its end, about
STOP_FIX = 'free some space, then call ~/start'


class Room:
    """Belongs to the recorder's thread once that runs; `free` may be read by any.

    `free`: bytes that were free when it was looked last, 0 when the folder was gone then. Who asks
    for a status must not wait for a disk that does not answer.
    """

    def __init__(self, place: Place, min_free: int, max_total: int, keep_newest: bool) -> None:
        """Take the recorder's settings of about these names, in bytes."""
        self.free = 0
        self._place = place
        self._min_free, self._max_total, self._keep_newest = min_free, max_total, keep_newest
        self._stored: list[tuple[Stored, int]] = []

    def survey(self) -> int:
        """Look at what is there, and return the number that the next segment gets.

        :raises RecordingError: if too little is free. :raises OSError: if the folder can't be
            read.
        """
        self.look()
        there = self._place.segments()
        self._stored = [(s, s.size) for s in there]
        return there[-1].number + 1 if there else 0

    def add(self, segment: Stored, size: int) -> None:
        """Count a segment that is whole now."""
        self._stored.append((segment, size))

    def note(self) -> None:
        """Look how much is free, for `free` alone."""
        try:
            self.free = self._place.free
        except OSError:
            self.free = 0

    def look(self) -> None:
        """Look whether enough is free.

        :raises RecordingError: if not. :raises OSError: if the folder is gone.
        """
        try:
            self.free = self._place.free
        except OSError:
            self.free = 0
            raise
        if self.free < self._min_free:
            raise RecordingError(f'{self.free:,} bytes are free in {self._place.directory}, fewer '
                                 f'than min_free_bytes ({self._min_free:,}); {STOP_FIX}')

    def make(self, own: int, more: int) -> None:
        """Keep to max_total_bytes: by deleting the oldest segments, or by giving up.

        :param own: bytes of the segment being written, to which `more` are to come.
        :raises RecordingError: if there is no room. :raises OSError: if one can't be deleted.
        """
        limit = self._max_total
        if not limit:
            return
        room = self._left(own + more)
        if room < 0:
            # what others have moved away or deleted meanwhile takes nothing any more
            self._stored = [entry for entry in self._stored if entry[0].path.exists()]
            room = self._left(own + more)
        if room < 0 and self._keep_newest:
            for entry in list(self._stored):
                if room < 0 and self._place.delete(entry[0]):
                    self._stored.remove(entry)
                    room += entry[1]
        if room < 0:
            raise RecordingError(
                f'{limit - room - more - SUMMARY:,} bytes of {self._place.recording!r} are in '
                f'{self._place.directory}, and max_total_bytes is {limit:,}; delete segments, '
                'or set when_full to delete_oldest, then call ~/start')

    def _left(self, used: int) -> int:
        """Return what is left of max_total_bytes; less than 0 where it is not enough."""
        return self._max_total - used - SUMMARY - sum(size for _, size in self._stored)
