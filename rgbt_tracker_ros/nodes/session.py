"""The tracker's life with its target: pairs and requests, in the worker's thread."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import uuid4

import numpy as np

from rgbt_tracker_ros.nodes.image_conversion import ImageError, to_rgb, to_thermal
from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.pairing import RGB, STREAMS, THERMAL, Match
from rgbt_tracker_ros.nodes.ring import FutureStamp, PairRing, RingError
from rgbt_tracker_ros.nodes.session_types import Answer, Reply, Target, TrackerLike, sizes_of
from rgbt_tracker_ros.nodes.targets import CARRIED, Cameras, TargetPairs
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.thermal import FrozenDetector
from rgbt_tracker_ros.types import Box, BoxError, Estimate, Pair, PairError, State

CATCH_UP = 15       # steps from a target in the past to now; pairs between them are skipped
PATIENCE = 10.0     # s that a target waits for the pair of its stamp


class Session:
    """Owns the tracker. All methods but `tell` run in the worker's thread; the counters are read
    anywhere, and whoever publishes takes from `replies` what is still to be told.

    :param publish: gets every answer, once per pair. :param changed: told of a new state, target
        or reply. :param refused: told of a stream and why its image could not be used.
    :param clock: monotonic, s.
    """

    def __init__(self, ring: PairRing, notices: Notices, *, publish: Callable[[Answer], None],
                 changed: Callable[[], None], refused: Callable[[str, str], None],
                 clock: Callable[[], float] = monotonic) -> None:
        self.tracker: TrackerLike | None = None
        self.enabled = True
        self.reply = Reply()        # the last one
        self.replies: deque[Reply] = deque(maxlen=1000)
        self.pending = ''           # why the first target could not start yet
        self.target_id = ''
        self.state = State.IDLE
        self.frozen: tuple[str, ...] = ()
        self.errors = 0
        self._ring = ring
        self._pairs = TargetPairs(ring)
        self._notices = notices
        self._publish = publish
        self._changed = changed
        self._refused = refused
        self._clock = clock
        self._reference = RGB
        self._sizes: dict[str, tuple[int, int]] = {}
        self._box = Box(0, 0, 0, 0)
        self._first: tuple[Pair, Box] | None = None     # what the target was given in
        self._waiting: Target | None = None     # for a pair that is still to come
        self._since = 0.0                       # by the clock
        self._hoped: int | None = None          # for both images, since the pair of this stamp
        self._cursor: int | None = None         # newest stamp that was processed
        self._published: int | None = None      # newest stamp that was answered
        self._steps = 0                         # left on the way from a target in the past to now
        self._still = {stream: FrozenDetector(0.0) for stream in STREAMS}

    def load(self, load: Callable[[], TrackerLike]) -> None:
        """Load the tracker and warm it up."""
        self.tracker = None
        tracker = load()
        tracker.warm_up()
        self.tracker = tracker

    def unload(self) -> None:
        """Let go of the target and the tracker."""
        self.reset()
        self.tracker = None
        self._changed()

    def exchange(self, tracker: TrackerLike) -> str:
        """Go on with another tracker, loaded and warm, and the same target; return what was done.

        :raises Exception: whatever keeps the new one from it; then the old one goes on.
        """
        old = self.tracker
        if old is None:
            raise RuntimeError('the node was cleaned up while the model was loaded')
        tracker.config = old.config
        if self._first is not None and not tracker.take_over(old, *self._first):
            raise ValueError(f'{tracker.model_name} does not see the target where '
                             f'{old.model_name} has it now; reset the target to load it anyway')
        self.tracker = tracker
        kept = f'; target {self.target_id} is kept' if self.target_id else ''
        return f'{tracker.model_name} has taken over from {old.model_name}{kept}'

    def configure(self, config: TrackerConfig, cameras: Cameras) -> None:
        """Take new settings."""
        self._pairs.cameras = cameras
        if self.tracker is not None:
            self.tracker.config = config

    def await_first(self, target: Target) -> None:
        """Start on the first pair that will do; `target` is a patient one."""
        self._waiting, self._hoped = target, None

    def request(self, target: Target) -> None:
        """Start to follow a target, or say why not; the old one is kept then."""
        try:
            if self.tracker is None:
                raise RingError('no model is loaded; configure the node')
            match = self._pairs.find(target)
            if target.patient and self._may_be_completed(match):
                raise FutureStamp('the other image may still come')
            self._start(target, match)
        except FutureStamp:
            self._replace(target, by=target)
        except (RingError, BoxError, PairError, ImageError) as e:
            if target.patient and not isinstance(e, BoxError):
                self._replace(target, by=target)
                self.pending = f'{target.request_id} waits: {e}'
                self._notices.log('waiting', self.pending)
            else:
                self._refuse(target, str(e))
        except Exception as e:      # whoever asked gets an answer, whatever happens
            self.errors += 1
            self._notices.exception('start', 'the tracker failed on a target', e)
            self._refuse(target, f'the tracker failed: {e!r}')

    def tell(self, reply: Reply) -> None:
        """Answer a request; from any thread."""
        self.reply = reply
        self.replies.append(reply)

    def reset(self, reason: str = '') -> bool:
        """Drop the target; return whether there was one. `reason` goes to log and status."""
        had = bool(self.target_id)
        self._give_up(reason or 'the target was reset')
        if had and self.tracker is not None:
            self.tracker.reset()
        # the state first: who looks in between must not see one without its target
        self.state, self.target_id = State.IDLE, ''
        self._waiting, self._steps, self.frozen, self._first = None, 0, (), None
        self.pending = ''
        if had:
            if reason:
                self._notices.warn('target', f'target dropped: {reason}')
            self._changed()
        return had

    def jumped(self) -> None:
        """Time has jumped: stamps seen before mean nothing now."""
        self._give_up('time has jumped before its pair came')
        self._cursor, self._published, self._steps, self._hoped = None, None, 0, None

    def enable(self, on: bool) -> None:
        """Go on with or pause the tracking; the target is kept."""
        self.enabled = on
        self._changed()

    def backlog(self) -> Match[Any] | None:
        """Return the next pair on the way from a target in the past to now, if there is one."""
        if not self._steps or self._cursor is None:
            return None
        ahead = self._ring.after(self._cursor)
        if not ahead:
            self._steps = 0
            return None
        # even steps that end at the newest pair, however slow they are
        match = ahead[-(-len(ahead) // self._steps) - 1]
        self._steps -= 1
        return match

    def process(self, match: Match[Any]) -> None:
        """Answer a pair."""
        if self._ring.crowded:
            self._notices.warn('ring', (
                f'more than {self._ring.limit} pairs lie within buffer_duration by their stamps, '
                'and only so many are kept: do the stamps rise too slowly (ms as if they were '
                'ns)?'))
        if not self.enabled or self.tracker is None:
            return
        self._pairs.note(match)
        if self._cursor is not None and match.stamp <= self._cursor:
            return      # seen while catching up
        if self._waiting is not None:
            before = self._cursor
            self._retry(self._waiting)
            if self._cursor != before:
                return      # it started on this pair, or on an older one, and backlog leads here
        self._cursor = match.stamp
        if not self.target_id:
            self.frozen = self._watch(match, self.tracker.config.frozen_after)
            self._answer(Answer(match))
            return
        pair = self._convert(match)
        if pair is None or not self._sizes_hold(pair):
            return
        estimate = self._update(self.tracker, pair)
        self.frozen, self._box = estimate.frozen, estimate.box
        self._answer(Answer(match, self.target_id, self._reference, pair, estimate))
        self._show(estimate.state)

    def _watch(self, match: Match[Any], frozen_after: float) -> tuple[str, ...]:
        """Return the streams whose picture stands still, as the tracker does with a target."""
        still = []
        for stream, msg in ((RGB, match.rgb), (THERMAL, match.thermal)):
            detector = self._still[stream]
            detector.frozen_after = frozen_after
            if msg is not None and detector.update(
                    np.frombuffer(msg.data, np.uint8)[None], match.stamp):
                still.append(stream)
        return tuple(still)

    def _give_up(self, reason: str) -> None:
        """Refuse a target that waits for the pair of its stamp."""
        if self._waiting is not None and self._waiting.stamp:
            target, self._waiting = self._waiting, None
            self._refuse(target, reason)

    def _retry(self, target: Target) -> None:
        """Try again with a target whose pair had not come, unless it is still to come."""
        if target.patient:
            self.request(target)
        else:
            self.look()

    @property
    def waits(self) -> bool:
        """Whether a target waits for the pair of its stamp; from any thread."""
        target = self._waiting
        return target is not None and target.stamp != 0

    def look(self) -> None:
        """Try again with a target whose pair has come; give up one that has waited too long: no
        pair may come any more.
        """
        target = self._waiting
        if target is None:
            return
        if not self._ring.awaits(self._pairs.stamp_of(target)):
            self.request(target)
        elif target.stamp and self._clock() - self._since > PATIENCE:
            self._refuse(target, f'no pair of its stamp has come within {PATIENCE:g} s; use the '
                         'stamp of the image that the box was seen in, or 0 for the newest')

    def _replace(self, waiting: Target | None, by: Target) -> None:
        """Have another target wait, or none; tell the one that did, unless it is `by` itself."""
        old, self._waiting, self.pending = self._waiting, waiting, ''
        if old is not waiting:
            self._since = self._clock()
        if old is not None and old is not by:
            self._refuse(old, 'another target was given before its pair came')

    def _may_be_completed(self, match: Match[Any]) -> bool:
        """Whether to wait for a pair with both images: for a moment after the first other."""
        if self._pairs.is_full(match):
            return False
        newest = self._ring.newest().stamp
        if self._hoped is None:
            self._hoped = newest
        return newest < self._hoped + CARRIED

    def _start(self, target: Target, match: Match[Any]) -> None:
        assert self.tracker is not None
        pair = self._convert(match)
        if pair is None:
            raise PairError('the pair of its stamp can not be used')
        box = self._pairs.box_in(pair, match, target, self.tracker.config.homography).checked(
            *pair.size)
        estimate = self.tracker.init(pair, box, self._pairs.marked_in(target))
        self._replace(None, by=target)
        self._first = pair, box
        self.state, self.target_id = estimate.state, uuid4().hex[:8]
        self._reference = RGB if pair.rgb is not None else THERMAL
        self._sizes = sizes_of(pair)
        self._cursor, self._box = match.stamp, estimate.box
        ahead = len(self._ring.after(match.stamp))
        self._steps = CATCH_UP if ahead else 0
        width, height = pair.size
        where = f'{self._reference} {width}x{height} at {match.stamp / 1e9:.9f}'
        self.tell(Reply(target.request_id, True, f'started on {where}' + (
            f', {ahead} pairs ago' if ahead else '')))
        # also where that pair was answered before, without a target: it is the target's first
        self._published = max(self._published or 0, match.stamp)
        self._publish(Answer(match, self.target_id, self._reference, pair, estimate))
        self._show(estimate.state, force=True)

    def _answer(self, answer: Answer) -> None:
        """Publish, unless that pair was answered already, before its target was given."""
        if self._published is None or answer.match.stamp > self._published:
            self._published = answer.match.stamp
            self._publish(answer)

    def _refuse(self, target: Target, reason: str) -> None:
        name = f' {target.request_id!r}' if target.request_id else ''
        if self._waiting is target:
            self._waiting, self.pending = None, ''
        self.tell(Reply(target.request_id, False, reason))
        self._notices.warn('request', f'target{name} refused: {reason}')
        self._changed()

    def _convert(self, match: Match[Any]) -> Pair | None:
        """Return the pair in numpy, without the images that can't be read; None if none can."""
        images: dict[str, Any] = {}
        for stream, msg in ((RGB, match.rgb), (THERMAL, match.thermal)):
            if msg is None:
                continue
            try:
                images[stream] = to_rgb(msg) if stream == RGB else to_thermal(msg)
            except ImageError as e:
                self._refused(stream, str(e))
        if not images:
            return None
        return Pair(**images, stamp=match.stamp, skew=match.skew or 0)

    def _sizes_hold(self, pair: Pair) -> bool:
        """Whether the target's box still means something in this pair; drop it otherwise."""
        for stream, size in sizes_of(pair).items():
            old = self._sizes.setdefault(stream, size)
            if old == size:
                continue
            self._sizes[stream] = size
            change = f'{stream} image changed from {old[0]}x{old[1]} to {size[0]}x{size[1]}'
            if stream == self._reference:
                self.reset(f'{change}; give the target again')
                return False
            assert self.tracker is not None
            self._notices.warn(f'{stream} size', change + (
                '; the homography was made for the old size: set it again'
                if self.tracker.config.homography else '; it is registered anew'))
        return True

    def _update(self, tracker: TrackerLike, pair: Pair) -> Estimate:
        try:
            return tracker.update(pair)
        except Exception as e:      # whatever happens to one frame, the next one is tried
            self.errors += 1
            self._notices.exception('update', 'the tracker failed on a pair', e)
            return Estimate(self._box, 0.0, State.LOST)

    def _show(self, state: State, force: bool = False) -> None:
        if force or state != self.state:
            self.state = state
            self._changed()
