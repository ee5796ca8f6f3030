"""The online tracker: init with a box, update with every pair."""
from __future__ import annotations

from copy import deepcopy
import logging
import math
from pathlib import Path
import time
from typing import TYPE_CHECKING

import numpy as np

from rgbt_tracker_ros.tracking.confidence import Calibration
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.geometry import Crop
from rgbt_tracker_ros.tracking.looks import Found, Window, look
from rgbt_tracker_ros.tracking.motion import Motion
from rgbt_tracker_ros.tracking.reliability import Reliability
from rgbt_tracker_ros.tracking.search import Scan
from rgbt_tracker_ros.tracking.views import NAMES, Given, Views
from rgbt_tracker_ros.types import Box, BoxError, Estimate, Pair, PairError, State

if TYPE_CHECKING:  # torch is imported by Tracker.load alone
    from rgbt_tracker_ros.runtime.eager import EagerStudent, Template

_log = logging.getLogger(__name__)

MIN_SIZE = 4.0  # px: a target is never thought smaller
SAME_PLACE = 0.3  # overlap (IoU) of two trackers' boxes that are of one target
ABSENT = 0.3      # s: a camera that was away for less is a slow one, or has lost a picture
COMPLETE = 0.7    # confidence from which on a template gets the image that it lacks
AT_ONCE = 0.15    # s: it gets one that comes so soon whatever the confidence: little has moved
STILL = 10        # pairs in a row of the same stamp, after which it is said that this won't do


class Tracker:
    """Follow one target through pairs of images.

    >>> tracker = Tracker.load()
    >>> tracker.init(first_pair, Box(520, 134, 73, 258))
    >>> for pair in pairs:
    ...     estimate = tracker.update(pair)
    """

    def __init__(self, student: EagerStudent, config: TrackerConfig | None = None) -> None:
        self._student = student
        self._calibration = Calibration.from_info(student.info)
        self.config = config or TrackerConfig()
        self._views = Views(self.config, student.config.modalities)
        self.reset()

    @classmethod
    def load(cls, model: str | Path = '', device: str = 'auto',
             config: TrackerConfig | None = None, *, sha256: str = '',
             threads: int = 0, precision: str = 'auto') -> Tracker:
        """Load a network and make a tracker of it.

        :param model: a .safetensors file (see `rgbt export`); '' is the shipped student.
        :param device: 'auto', 'cpu' or 'cuda:N'.
        :param sha256: what the file's sha256 must begin with; '' for any.
        :param threads: CPU threads of torch; 0 leaves its own choice.
        :param precision: 'float32', 'bf16', or 'auto': what the device is quicker in.
        :raises CheckpointError: (a ValueError) unknown file, wrong sha256, wrong shapes.
        :raises DeviceError: (a RuntimeError) a GPU that is not there.
        """
        from rgbt_tracker_ros.runtime.eager import EagerStudent
        return cls(EagerStudent(Path(model) if model else None, device, sha256=sha256,
                                threads=threads, precision=precision), config)

    @property
    def device(self) -> str:
        """Where the network runs: cpu, cuda:0."""
        return self._student.device

    @property
    def model_name(self) -> str:
        """File name of the weights and the first 12 digits of their sha256."""
        return self._student.name

    @property
    def has_target(self) -> bool:
        """Whether `update` may be called."""
        return self._template is not None

    def reset(self) -> None:
        """Forget the target. What is known of the cameras is remembered: thermal range, frozen
        pictures, offset of thermal. `update` may not be called until the next `init`.
        """
        self._template: Template | None = None
        self._given: Given | None = None
        self._state = State.IDLE
        self._box = Box(0, 0, 0, 0)
        self._motion = Motion((0.0, 0.0), 0)
        self._weak = 0                    # frames in a row below the lost threshold
        self._there: dict[str, int] = {}  # stamp, ns, when each modality was there last
        self._given_at, self._marked_in = 0, ''
        self._still = 0                   # pairs in a row whose stamps stood still
        self._scan: Scan | None = None
        self._window: Window | None = None
        self._timings: dict[str, float] = {}
        self._frozen: tuple[str, ...] = ()
        self._names: tuple[str, ...] = ()
        self._weight_thermal = 0.5
        self._reliability = Reliability((), 0.0)

    def warm_up(self) -> None:
        """Run the network twice, so that the first frame is as quick as the others."""
        c = self._student.config
        t, s = c.template_size, c.search_size
        template = self._student.encode(np.zeros((t, t, 3), np.uint8), np.zeros((t, t), np.uint8),
                                        Box(t / 4, t / 4, t / 2, t / 2))
        for _ in range(2):
            self._student.search(template, np.zeros((s, s, 3), np.uint8),
                                 np.zeros((s, s), np.uint8))

    def init(self, pair: Pair, box: Box, marked_in: str = '') -> Estimate:
        """Start to follow what `box` shows in `pair`'s reference image: RGB, or thermal alone.

        A target that was followed before is given up, unless this raises: then it is still
        followed as if nothing had been asked.

        :param box: in pixels of the reference image; what lies outside is cut off.
        :param marked_in: 'thermal' where it was marked in the pair's thermal image and brought to
            RGB by the registration alone: it then goes where thermal is found to lie.
        :returns: the box as it was taken, confidence 1.
        :raises BoxError: box not finite, without area, or less than 4 px a side of it inside.
        :raises PairError: the network looks at one modality alone, and the pair lacks it.
        """
        begin = time.perf_counter()
        box = box.checked(*pair.size, min_size=MIN_SIZE)
        self._views.configure(self.config)
        views = self._views.started(pair)
        if follows := marked_in == 'thermal' != views.reference:
            box = views.placed(box).checked(*pair.size, min_size=MIN_SIZE)
        c = self._student.config
        if not views.names:
            alone, = c.modalities
            raise PairError(f'{self.model_name} looks at {alone} images alone, and this pair has '
                            f'none, or one that is frozen; give a pair with {alone}')
        crop = Crop.around(box, c.template_factor, c.template_size)
        cropping = time.perf_counter()
        rgb, thermal = views.cut(crop)
        encoding = time.perf_counter()
        template = self._student.encode(rgb, thermal, crop.to_crop(box))
        weight = float(template.weights[0, 1])  # waits for a GPU
        end = time.perf_counter()
        # nothing of the old target was touched so far
        self.reset()
        self._views, self._template = views, template
        self._given, self._marked_in = views.given(crop, box, (rgb, thermal), follows), marked_in
        self._box, self._state = box, State.TRACKING
        self._motion = Motion(box.center, pair.stamp)
        self._names, self._given_at = views.names, pair.stamp
        self._there = dict.fromkeys(NAMES, pair.stamp)
        self._reliability = Reliability(self._names, self.config.probe_interval, pair.stamp)
        self._weight_thermal = weight
        return Estimate(box, 1.0, self._state, 1 - weight, weight,
                        {'crop': encoding - cropping, 'network': end - encoding,
                         'total': end - begin}, views.frozen)

    def take_over(self, old: Tracker, pair: Pair, box: Box) -> bool:
        """Go on with the target that another tracker follows, from where that one has it now.

        The template is encoded anew from `pair` and `box`, which `old.init` was given: what `old`
        has found since holds its errors, which would add up from one change to the next. Place,
        motion, state, thermal range and what is known of the cameras are those of `old`, which is
        left as it was.

        :returns: False if `old` tracks the target, and this one, in the last pair that `old` was
            given, does not see it there; True also where there is nothing to compare.
        :raises RuntimeError: `old` has no target. :raises PairError: see `init`.
        """
        if not old.has_target:
            raise RuntimeError('Tracker.take_over: the other tracker has no target')
        self.init(pair, box, old._marked_in)
        self._views = old._views.shown(self._student.config.modalities)
        self._align()
        self._box, self._state, self._weak = old._box, old._state, old._weak
        self._motion, self._scan = deepcopy(old._motion), deepcopy(old._scan)
        self._frozen, self._names = old._frozen, self._views.names
        self._there = dict(old._there)
        self._reliability = deepcopy(old._reliability)
        self._weight_thermal = old._weight_thermal
        if self._state != State.TRACKING or not self._names:
            return True
        self._timings = {'crop': 0.0, 'network': 0.0}
        found = self._look(self._box, self._box.center)
        return (found.confidence >= self.config.lost_threshold
                and found.box.iou(self._box) >= SAME_PLACE)

    def update(self, pair: Pair) -> Estimate:
        """Find the target in the next pair, of which one modality may be missing.

        :returns: the box in pixels of the reference image of `init`: where the target is while
            the state is in sight, where it should be by now otherwise.
        :raises RuntimeError: before `init`.
        :raises PairError: if the reference image has changed its size since `init`; the pair is
            then left out, and the next one may be good again.
        """
        if self._template is None:
            raise RuntimeError('Tracker.update was called before Tracker.init')
        begin = time.perf_counter()
        self._timings = {'crop': 0.0, 'network': 0.0}
        self._still = self._still + 1 if pair.stamp == self._motion.stamp else 0
        if self._still == STILL:
            _log.warning('the stamps of %d pairs stand still at %d ns: motion, frozen pictures '
                         'and how long a target has been lost are told by them', STILL, pair.stamp)
        self._views.configure(self.config)
        self._views.see(pair, self._reliability.believed(self.config.tracking_threshold))
        moved = self._align()
        self._reliability.interval = self.config.probe_interval
        self._distrust_frozen()
        back = self._back(pair.stamp) or moved
        found = (self._track if self._scan is None else self._search)(pair.stamp, back)
        self._complete(found, pair.stamp)
        if self._state.in_sight:
            self._weight_thermal = found.weight_thermal
        self._timings['total'] = time.perf_counter() - begin
        return Estimate(self._visible(self._box), found.confidence, self._state,
                        1 - found.weight_thermal, found.weight_thermal, self._timings,
                        self._views.frozen)

    def _align(self) -> bool:
        """Encode the template again where thermal has been found to lie elsewhere; returns whether
        the box has moved, too: one that was marked in thermal was wrong in RGB from the start.
        """
        given = self._given
        assert given is not None
        if not self._views.cut_again(given):
            return False
        self._template = self._student.encode(*given.crops, given.crop.to_crop(given.box))
        (x, y), (dx, dy) = self._box.center, given.step
        if dx or dy:
            self._box = self._moved((x + dx, y + dy))
            self._motion.rest(self._box.center, self._motion.stamp)
        return bool(dx or dy)

    def _complete(self, found: Found, stamp: int) -> None:
        """Give a template that was cut from RGB alone what thermal shows of the target, at once or
        when both show it beyond doubt: without it thermal can't find what RGB loses.
        """
        assert self._given is not None
        if (self._given.other or self._views.reference != 'rgb' or self._views.uneven
                or len(self._views.names) < 2):
            return
        sure = self._state == State.TRACKING and found.confidence >= COMPLETE
        if not sure and not 0 < stamp - self._given_at <= AT_ONCE * 1e9:
            return
        c = self._student.config
        crop = Crop.around(self._box, c.template_factor, c.template_size)
        crops = self._views.cut(crop)
        self._template = self._student.encode(*crops, crop.to_crop(self._box))
        self._given = self._views.given(crop, self._box, crops)

    def _distrust_frozen(self) -> None:
        """Undo what a picture pretended that has turned out to be frozen: a target at rest."""
        new = set(self._views.frozen) - set(self._frozen) - set(self._views.names)
        new &= set(self._names)  # it was looked at until now
        self._frozen = self._views.frozen
        share = {'rgb': 1 - self._weight_thermal, 'thermal': self._weight_thermal}
        if any(share[name] > 0.4 for name in new):
            self._motion.rewind(self.config.frozen_after)
            self._box = self._moved(self._motion.center)

    def _track(self, stamp: int, back: bool) -> Found:
        """Look around where the target should be now; `back`: see `_back`."""
        c = self.config
        # one modality alone may have drifted to a neighbour: let both decide without the prior
        found = self._look(self._box, self._inside(*self._motion.predict(stamp)),
                           0.0 if back else None)
        if found.confidence >= c.lost_threshold:
            self._weak = 0
            self._box = self._sized(found.box, 0.5 * found.confidence)
            trust = min(found.confidence / max(c.tracking_threshold, 1e-6), 1.0)
            self._box = self._moved(self._motion.seen(self._box.center, stamp, trust))
            self._state = State.UNCERTAIN
            if found.confidence >= c.tracking_threshold:
                self._state = State.TRACKING
                self._probe(found, stamp)
            return found
        # too weak to move after it: go on as it went
        self._weak += 1
        self._coast(stamp)
        self._state = State.UNCERTAIN
        if self._weak >= c.lost_frames:
            self._state = State.SEARCHING
            self._scan = Scan(self._box, stamp, self._student.config.search_factor)
        return found

    def _search(self, stamp: int, back: bool) -> Found:
        """Look where the target should be by now, and at a place of a growing window in turn: one
        look a frame, so that the search keeps up with the cameras. `back`: see `_back`.
        """
        assert self._scan is not None
        c = self.config
        self._scan.go_on(stamp)
        self._coast(stamp)
        if back:  # it may have been in front of a blind camera all along
            self._scan.restart(self._box)
        # the motion prior means something only where the motion leads
        if not self._sees or self._scan.looks_ahead():
            best = self._look(self._box, self._box.center)
        else:
            best = self._look(
                self._box, self._scan.next_place(self._views.size, c.search_growth), 0.0)
        if best.confidence >= c.tracking_threshold:
            # an echo at the rim of a window is not enough: look again with it in the middle
            again = self._look(best.box, best.box.center)
            if again.confidence >= c.tracking_threshold:
                self._scan, self._weak = None, 0
                self._box, self._state = self._sized(again.box, 0.5), State.TRACKING
                self._motion.rest(self._box.center, stamp)
                return again
            best = again
        self._state = State.LOST if self._scan.seconds >= c.lost_after else State.SEARCHING
        if best.box.iou(self._box) < 0.5:
            best.confidence = 0.0  # it was of another box than the one that is returned
        return best

    def _back(self, stamp: int) -> bool:
        """Whether a modality has come back with this pair that was really away. A slower camera's
        pictures come and go.
        """
        before, self._names = self._names, self._views.names
        back = any(stamp - self._there[name] >= ABSENT * 1e9
                   for name in self._names if name not in before)
        self._there |= dict.fromkeys(self._names, stamp)
        return back

    @property
    def _sees(self) -> bool:
        """Whether there is something to look at whose answer would be believed."""
        names = self._views.names
        return bool(names) and self._reliability.of(names) >= self.config.lost_threshold

    def _coast(self, stamp: int) -> None:
        """Move the box on as the target went when it was last seen."""
        self._box = self._moved(self._motion.unseen(stamp, self._views.size))

    def _moved(self, center: tuple[float, float]) -> Box:
        return Box.from_center(*self._inside(*center), self._box.w, self._box.h)

    def _look(self, box: Box, center: tuple[float, float],
              influence: float | None = None) -> Found:
        """Run the network on one window; `box` gives the scale and the motion prior's width."""
        sizes = self._student.config
        if influence is None:
            influence = self.config.window_influence
        names = self._views.names
        if not self._sees:
            return Found(box, 0.0, float((names or sizes.modalities) == ('thermal',)))
        start = time.perf_counter()
        crop = Crop.around(box, sizes.search_factor, sizes.search_size, center)
        rgb, thermal = self._views.cut(crop)
        self._timings['crop'] += time.perf_counter() - start
        self._window = Window(crop, rgb, thermal)
        # the prior is as wide as the target is large: it may move by its own size a frame
        spread = 0.75 * math.sqrt(box.area) * crop.scale
        found = self._ask(self._window, spread, influence)
        found.confidence *= self._reliability.of(names)
        return found

    def _probe(self, found: Found, stamp: int) -> None:
        """Ask one modality alone, now and then, whether it would have found the same."""
        assert self._window is not None
        # an old picture proves nothing: what disagrees with it may well be right
        both = len(self._views.names) == 2 and not self._views.uneven
        name = self._reliability.due(stamp) if both else ''
        if not name:
            return
        alone = self._ask(self._window.alone(name), spread=1.0, influence=0.0)
        same = alone.box.iou(found.box) >= 0.5
        self._reliability.learn(name, alone.confidence if same else 0.0, stamp)

    def _ask(self, window: Window, spread: float, influence: float) -> Found:
        """Have the network answer for a window; `spread` of the motion prior in crop px."""
        assert self._template is not None
        start = time.perf_counter()
        found = look(self._student, self._template, self._calibration, window, spread, influence)
        self._timings['network'] += time.perf_counter() - start
        return found or Found(self._box, 0.0, self._weight_thermal)

    def _sized(self, box: Box, rate: float) -> Box:
        """Return `box` with a size between the last one and its own, kept inside the image."""
        w = math.exp((1 - rate) * math.log(self._box.w) + rate * math.log(max(box.w, MIN_SIZE)))
        h = math.exp((1 - rate) * math.log(self._box.h) + rate * math.log(max(box.h, MIN_SIZE)))
        width, height = self._views.size
        return Box.from_center(*self._inside(*box.center), min(w, width), min(h, height))

    def _inside(self, x: float, y: float) -> tuple[float, float]:
        """Return the point of the image nearest to (x, y)."""
        width, height = self._views.size
        return min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))

    def _visible(self, box: Box) -> Box:
        """Return the part of a box that lies in the image; all of it where too little would."""
        try:
            return box.checked(*self._views.size, min_size=1.0)
        except BoxError:
            return box
