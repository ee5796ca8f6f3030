"""From a queue to segments, in a thread of its own: whoever receives images never waits."""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
import errno
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import TypeAlias

from rgbt_tracker_ros.data.image_messages import ImageError
from rgbt_tracker_ros.recording.gates import Gates, GateSettings
from rgbt_tracker_ros.recording.manifest import Manifest, StreamCounts
from rgbt_tracker_ros.recording.place import Place, RecordingError, Stored
from rgbt_tracker_ros.recording.segment import Received, RecordedPair, Segment
from rgbt_tracker_ros.recording.tally import Tally

BACK = 500_000_000          # ns; a receive time that goes back by more is a clock that was set
TRACK_SHARE = 1 << 20       # bytes of the queue that tracks may take
SUMMARY = 1 << 16           # bytes that a file needs at its end, about
STOP_FIX = 'free some space, then call ~/start'
Item: TypeAlias = 'tuple[str, RecordedPair | Received | None]'


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """What the recorder node's parameters of these names say; times in ns, sizes in bytes.

    `offset`: what was added to thermal stamps, to be noted. `recorder`: the node's name, likewise.
    """

    directory: Path
    recording: str
    recorder: str = ''
    segment_bytes: int = 2_000_000_000
    segment_duration: int = 300_000_000_000
    chunk_bytes: int = 4 << 20
    flush_interval: int = 1_000_000_000
    compression: str = 'none'
    queue_bytes: int = 128 << 20
    min_free_bytes: int = 0
    max_total_bytes: int = 0
    keep_newest: bool = False
    offset: int = 0
    gates: GateSettings = field(default_factory=GateSettings)


class Recorder:
    """Records from its making to `stop`, or until `failure` says why it can't any more.

    `put` may be called by one thread, the counters read by any. :param changed: called, in the
    recorder's thread, when a segment begins or ends and at a failure.
    """

    def __init__(self, settings: RecorderSettings, changed: Callable[[], None] = lambda: None
                 ) -> None:
        """Look for room, and start.

        :raises RecordingError: if it can't be recorded there; nothing was written then.
        """
        self.failure = ''
        self.error: BaseException | None = None     # the failure, where it is a bug of ours
        self.pairs = self.tracks = self.segments = self.bytes = 0
        self.tally = Tally()        # besides `dropped` told by who receives
        self.invalid = 0            # images that a gate could not look into
        self.skipped: Counter[str] = Counter()
        self._settings = settings
        self._changed = changed
        self._gates = Gates(settings.gates)
        self._segment: Segment | None = None
        self._place = Place(settings.directory, settings.recording)
        try:
            self._look_at_free()
            there = self._place.segments()
            self._stored = [(s, s.size) for s in there]
            self._make_room(settings.chunk_bytes)
        except OSError as error:
            self._place.release()
            raise RecordingError(f'{settings.directory}: {error.strerror}') from error
        except RecordingError:
            self._place.release()
            raise
        self._next = there[-1].number + 1 if there else 0
        self._infos: dict[str, Received] = {}
        self._flushed = monotonic()
        self._noted: Counter[str] = Counter()       # of `skipped`, what manifests have told
        self._queue: deque[Item] = deque()
        self._queued = self._queued_tracks = 0
        self._wake = Condition()
        self._running = True
        self._reason = 'stop'
        self._thread = Thread(target=self._run, name='recorder', daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Pairs that came while the queue was full."""
        return self.tally.total('dropped')

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be written."""
        return self._queued

    @property
    def free_bytes(self) -> int:
        """Bytes that are free on that disk; 0 when the folder is gone."""
        try:
            return self._place.free
        except OSError:
            return 0

    @property
    def segment(self) -> str:
        """Name of the segment being written, or ''."""
        segment = self._segment
        return segment.partial.name if segment else ''

    def put_pair(self, pair: RecordedPair) -> bool:
        """Have a pair recorded; False if it is lost because the queue is full.

        It is the newest that goes: what waits is whole, and a gap has one end only.
        """
        with self._wake:
            if not self._running or self._queued + pair.size > self._settings.queue_bytes:
                if self._running:
                    self.tally.add('dropped', 'pair', stamp=pair.stamp)
                return False
            self._queued += pair.size
            self._queue.append(('pair', pair))
            self._wake.notify()
        return True

    def put_track(self, message: Received) -> bool:
        """Have a track recorded; False if the queue is full."""
        with self._wake:
            if not self._running or self._queued_tracks + len(message.data) > TRACK_SHARE:
                return False
            self._queued_tracks += len(message.data)
            self._queue.append(('track', message))
            self._wake.notify()
        return True

    def put_info(self, stream: str, message: Received) -> None:
        """Take a camera_info of 'rgb' or 'thermal', of which the newest counts."""
        known = self._infos.get(stream)
        if known is not None and known.data[12:] == message.data[12:]:
            return
        self._infos[stream] = message
        with self._wake:
            self._queue.append((f'info {stream}', message))

    def split(self) -> None:
        """End the segment after all that was put so far."""
        with self._wake:
            self._queue.append(('split', None))
            self._wake.notify()

    def configure(self, gates: GateSettings) -> None:
        """Take other gates from the next pair on."""
        self._gates.settings = gates

    def stop(self, reason: str = 'stop', timeout: float | None = 60.0) -> bool:
        """Write what was put, close the segment for that reason; False if that takes longer."""
        with self._wake:
            if self._running:
                self._running = False
                self._queue.append(('stop', None))
                self._reason = reason
                self._wake.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # in the thread

    def _run(self) -> None:
        try:
            while True:
                kind, item = self._take()
                if kind == 'stop':
                    self._close(self._reason)
                    return
                self._handle(kind, item)
        except RecordingError as error:
            self._fail(str(error))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            self._fail(f'the disk of {self._settings.directory} is full; {STOP_FIX}' if full else
                       f'{error.filename or self._settings.directory}: {error.strerror}')
        except Exception as error:      # a bug; the node has to live and tell
            self.error = error
            self._fail(f'{type(error).__name__}: {error}')
        finally:
            if self._segment is not None:
                self._segment.abandon()
                self._segment = None
            self._place.release()
            self._changed()

    def _fail(self, reason: str) -> None:
        with self._wake:
            self._running = False
            for _, item in self._queue:
                if isinstance(item, RecordedPair):
                    self.tally.add('dropped', 'pair', stamp=item.stamp)
            self._queue.clear()
            self._queued = self._queued_tracks = 0
        self.failure = reason

    def _take(self) -> Item:
        with self._wake:
            if not self._queue:
                self._wake.wait(self._settings.flush_interval / 2e9)
            if not self._queue:
                return 'idle', None
            kind, item = self._queue.popleft()
            if isinstance(item, RecordedPair):
                self._queued -= item.size
            elif kind == 'track' and item is not None:
                self._queued_tracks -= len(item.data)
            return kind, item

    def _handle(self, kind: str, item: RecordedPair | Received | None) -> None:
        if isinstance(item, RecordedPair):
            self._take_pair(item)
        elif item is not None and self._segment is not None:
            if kind == 'track':
                self._segment.add_track(item)
                self.tracks += 1
            else:
                self._segment.add_info(kind.removeprefix('info '), item)
        elif kind == 'split':
            self._close('split')
        if self._segment is not None:
            now = monotonic()
            if (now - self._flushed) * 1e9 >= self._settings.flush_interval:
                self._flushed = now
                self._segment.flush()
                self._look(0)

    def _take_pair(self, pair: RecordedPair) -> None:
        try:
            if not self._gates.admit(pair.stamp, pair.images):
                self.skipped = self._gates.skipped
                return
        except ImageError:
            self.invalid += 1
            return
        if reason := self._cut(pair):
            self._close(reason)
        self._look(pair.size)
        if self._segment is None:
            self._open(pair)
        assert self._segment is not None
        before = self._segment.size
        self._segment.add_pair(pair)
        self.pairs += 1
        self.bytes += self._segment.size - before

    def _cut(self, pair: RecordedPair) -> str:
        """Return why a pair can't be in the segment there is; '' if it can."""
        segment, settings = self._segment, self._settings
        if segment is None:
            return ''
        manifest = segment.manifest
        assert manifest.first_stamp is not None and manifest.last_stamp is not None
        assert manifest.last_received is not None
        received = max(pair.rgb.received, pair.thermal.received)
        if pair.stamp <= manifest.last_stamp or received < manifest.last_received - BACK:
            return 'clock'
        if segment.size + pair.size + SUMMARY > settings.segment_bytes:
            return 'size'
        if pair.stamp - manifest.first_stamp >= settings.segment_duration:
            return 'time'
        return ''

    def _look(self, more: int) -> None:
        """Look whether `more` bytes can be written, and the folder is there.

        :raises RecordingError: if not; the segment is closed then, where that is possible.
        """
        settings, segment = self._settings, self._segment
        if segment is not None and segment.vanished:
            segment.abandon()
            self._segment = None
            raise RecordingError(f'{segment.partial} has vanished; put the disk back, then call '
                                 '~/start')
        if segment is not None and segment.full:
            self._close('disk')
            raise RecordingError(f'the disk of {settings.directory} is full; {STOP_FIX}')
        self._look_at_free()
        self._make_room(more)

    def _look_at_free(self) -> None:
        settings = self._settings
        if (free := self._place.free) < settings.min_free_bytes:
            self._close('disk')
            raise RecordingError(f'{free:,} bytes are free in {settings.directory}, fewer than '
                                 f'min_free_bytes ({settings.min_free_bytes:,}); {STOP_FIX}')

    def _make_room(self, more: int) -> None:
        """Keep to max_total_bytes: by deleting the oldest segments, or by giving up."""
        limit, segment = self._settings.max_total_bytes, self._segment
        if not limit:
            return
        own = segment.size if segment else 0
        room = limit - own - more - SUMMARY - sum(size for _, size in self._stored)
        if room < 0 and self._settings.keep_newest:
            for entry in list(self._stored):
                if room < 0 and self._place.delete(entry[0]):
                    self._stored.remove(entry)
                    room += entry[1]
        if room < 0:
            self._close('disk')
            raise RecordingError(
                f'{limit - room - more - SUMMARY:,} bytes of {self._settings.recording!r} are in '
                f'{self._settings.directory}, and max_total_bytes is {limit:,}; delete segments, '
                'or set when_full to delete_oldest, then call ~/start')

    def _open(self, pair: RecordedPair) -> None:
        settings, number = self._settings, self._next
        gates = asdict(self._gates.settings)
        gates['min_interval'] /= 1e9
        folder = self._place.folder(number)
        manifest = Manifest(
            settings.recorder, settings.recording, number, f'{folder.name}_0.mcap',
            settings.compression, gates,
            {s: StreamCounts(m.source.topic, m.source.type)
             for s, m in (('rgb', pair.rgb), ('thermal', pair.thermal))}, settings.offset)
        self._segment = Segment(folder, manifest, settings.chunk_bytes, pair.size)
        self._next = number + 1
        self._flushed = monotonic()
        for stream, info in list(self._infos.items()):
            self._segment.add_info(stream, info)
        self._changed()

    def _close(self, reason: str) -> None:
        segment = self._segment
        if segment is None:
            return
        skipped = self._gates.skipped.copy()
        segment.manifest.skipped, self._noted = skipped - self._noted, skipped
        segment.manifest.add_tally(*self.tally.take())
        self._segment = None
        whole = Stored(segment.manifest.segment, segment.close(reason))
        self._stored.append((whole, whole.size))
        self.segments += 1
        self._changed()
