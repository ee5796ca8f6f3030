"""From a queue to segments, in a thread of its own: whoever receives images never waits."""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
import errno
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import TypeAlias

from rgbt_tracker_ros.data.image_messages import ImageError
from rgbt_tracker_ros.recording.gates import Gates, GateSettings
from rgbt_tracker_ros.recording.manifest import Manifest, StreamCounts
from rgbt_tracker_ros.recording.place import Place, RecordingError, Stored
from rgbt_tracker_ros.recording.room import STOP_FIX, SUMMARY, Room
from rgbt_tracker_ros.recording.segment import Received, RecordedPair, Segment
from rgbt_tracker_ros.recording.tally import Tally

BACK = 500_000_000          # ns; a receive time that goes back by more is a clock that was set
TRACK_SHARE = 1 << 20       # bytes of the queue that tracks may take
Item: TypeAlias = 'tuple[str, RecordedPair | Received | None]'


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """What the recorder node's parameters of these names say; times in ns, sizes in bytes.

    `offset`: what was added to thermal stamps, to be noted. `recorder`: the node's name, likewise.
    `sync_interval`: after which what was written is put on the disk, for the case of a power cut.
    """

    directory: Path
    recording: str
    recorder: str = ''
    segment_bytes: int = 2_000_000_000
    segment_duration: int = 300_000_000_000
    chunk_bytes: int = 4 << 20
    flush_interval: int = 1_000_000_000
    sync_interval: int = 2_000_000_000
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
        """Lock the recording, look for room, and start. Old segments are deleted by the thread.

        Locking and looking wait for the disk, in the caller's thread.

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
        self._room = Room(self._place, settings.min_free_bytes, settings.max_total_bytes,
                          settings.keep_newest)
        try:
            self._next = self._room.survey()
            if not settings.keep_newest:
                self._room.make(0, settings.chunk_bytes)
        except OSError as error:
            self._place.release()
            raise RecordingError(f'{settings.directory}: {error.strerror}') from error
        except RecordingError:
            self._place.release()
            raise
        self._known: dict[str, bytes] = {}          # the newest camera_info that was put
        self._infos: dict[str, Received] = {}       # and that was taken from the queue
        self._came = 0      # ns, when the segment's last pair was received
        self._flushed = self._synced = monotonic()
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
        """Bytes that were free on that disk lately; 0 when the folder was gone."""
        return self._room.free

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
        known = self._known.get(stream)
        if known is not None and known[12:] == message.data[12:]:
            return
        self._known[stream] = message.data
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
            self._require(self._settings.chunk_bytes)
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
            self._room.note()
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
        elif kind == 'split':
            self._close('split')
        elif item is not None:
            self._take_beside(kind, item)
        now = monotonic()
        if (now - self._flushed) * 1e9 >= self._settings.flush_interval:
            self._flushed = now
            if self._segment is None:
                self._room.note()
            else:
                self._segment.flush()
                self._look(0)
        if self._segment is not None and (
                now - self._synced) * 1e9 >= self._settings.sync_interval:
            self._synced = now
            self._segment.sync_behind()

    def _take_beside(self, kind: str, item: Received) -> None:
        """Take a track or a camera_info."""
        if kind != 'track':
            self._infos[kind.removeprefix('info ')] = item
        if (segment := self._segment) is None:
            return
        began = segment.manifest.first_received
        assert began is not None
        if item.received < began - BACK:
            return      # the clock was set back: it is of the segment that the next pair opens
        if kind == 'track':
            segment.add_track(item)
            self.tracks += 1
        else:
            segment.add_info(kind.removeprefix('info '), item)

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
        self._came = pair.received
        self.pairs += 1
        self.bytes += self._segment.size - before

    def _cut(self, pair: RecordedPair) -> str:
        """Return why a pair can't be in the segment there is; '' if it can."""
        segment, settings = self._segment, self._settings
        if segment is None:
            return ''
        manifest = segment.manifest
        assert manifest.first_stamp is not None and manifest.last_stamp is not None
        # with the last pair: camera_info and tracks may be of before the clock was set back
        if pair.stamp <= manifest.last_stamp or pair.received < self._came - BACK:
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
            self._room.note()
            raise RecordingError(f'{segment.partial} has vanished; put the disk back, then call '
                                 '~/start')
        if segment is not None and segment.full:
            self._close('disk')
            raise RecordingError(f'the disk of {settings.directory} is full; {STOP_FIX}')
        self._require(more)

    def _require(self, more: int) -> None:
        """See to it that there is room for `more` bytes.

        :raises RecordingError: if there is not; the segment is closed then.
        """
        try:
            self._room.look()
            self._room.make(self._segment.size if self._segment else 0, more)
        except RecordingError:
            self._close('disk')
            raise

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
        # An info may have come long before, by a clock that was set since: with its own times the
        # segment would begin then, for everyone who goes by them.
        first = min(pair.rgb, pair.thermal, key=lambda m: m.received)
        self._segment.announce([i.source for i in self._infos.values()], pair)
        for stream, info in self._infos.items():
            self._segment.add_info(stream, replace(
                info, received=first.received, published=first.published))
        self._changed()

    def _close(self, reason: str) -> None:
        segment = self._segment
        if segment is None:
            return
        skipped = self._gates.skipped.copy()
        segment.manifest.skipped, self._noted = skipped - self._noted, skipped
        segment.manifest.add_tally(*self.tally.take())
        self._segment = None
        whole, size = segment.close(reason)     # the size is asked before others see it
        self._room.add(Stored(segment.manifest.segment, whole), size)
        self.segments += 1
        self._changed()
