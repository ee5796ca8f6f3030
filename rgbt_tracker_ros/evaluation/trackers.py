"""Trackers by name: what `--tracker` accepts, how each is made, and what its results depend on."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
import hashlib
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
import inspect
from pathlib import Path
import platform
from typing import Any, Protocol

import cv2

from rgbt_tracker_ros import __version__
from rgbt_tracker_ros.evaluation.baselines import ALGORITHMS, VIEWS, OpenCVTracker, available
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.types import Box, Estimate, Pair, State

NAMES = ('student', *(f'{algorithm}{view}' for algorithm in ALGORITHMS
                      for view in ('', *(f'-{v}' for v in VIEWS))))
"""Names that need no file. `csrt` is `csrt-mean`: the one view that uses all that a pair has."""
SUFFIX = '.safetensors'
CAMERAS = ('rgb', 'thermal')
# What decides which boxes come out, within the package.
_BASELINE_CODE = ('tracking', 'types.py', 'evaluation/baselines.py')
_CODE = (*_BASELINE_CODE, 'runtime', 'models')


class TrackerError(ValueError):
    """A tracker that is not known or can't be made; the text says which and what to do."""


class OnePassTracker(Protocol):
    """The contract: `init` with a box of the first pair, `update` with every further one."""

    def init(self, pair: Pair, box: Box) -> Estimate:
        """Start to follow what `box` shows in the pair's reference image."""
        ...

    def update(self, pair: Pair) -> Estimate:
        """Find the target in the next pair."""
        ...


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker that can be made in any process.

    `name` is how it is called in tables and files; `source` one of NAMES, a .safetensors file, or
    `module:function`, a function of no arguments that returns a OnePassTracker. `camera`: one of
    CAMERAS where it is shown nothing else. `config` and `device` are for trackers of this
    package, `threads` for all: CPU threads of torch and OpenCV.
    """

    name: str
    source: str
    camera: str = ''
    config: TrackerConfig = field(default_factory=TrackerConfig)
    device: str = 'cpu'
    threads: int = 1

    def make(self) -> OnePassTracker:
        """Make a new tracker, warmed up; sets this process's number of threads.

        :raises TrackerError: weights, device, module or build of OpenCV that are not there.
        """
        cv2.setNumThreads(self.threads)
        tracker = self._made()
        return _OneCamera(tracker, self.camera) if self.camera else tracker

    @property
    def _is_baseline(self) -> bool:
        return self.source in NAMES and self.source != 'student'

    @property
    def _is_network(self) -> bool:
        return self.source == 'student' or self.source.endswith(SUFFIX)

    def _made(self) -> OnePassTracker:
        if self._is_baseline:
            algorithm, _, view = self.source.partition('-')
            return OpenCVTracker(algorithm, view or 'mean', self.config)
        if not self._is_network:
            return _function(self.source)()
        from rgbt_tracker_ros.tracking.tracker import Tracker
        try:
            tracker = Tracker.load('' if self.source == 'student' else self.source, self.device,
                                   self.config, threads=self.threads)
        except (ValueError, RuntimeError) as error:
            raise TrackerError(f'{self.name}: {error}') from error
        tracker.warm_up()
        return tracker

    def identity(self) -> dict[str, Any]:
        """Return all that the boxes depend on, as JSON values: the key of kept results.

        :raises TrackerError: if it can't be made: see `make`.
        """
        known: dict[str, Any] = {
            'source': self.source, 'camera': self.camera, 'versions': versions(),
            'code': _code(_BASELINE_CODE if self._is_baseline else _CODE),
            'machine': platform.machine(), 'threads': self.threads,
            'config': asdict(self.config)}
        if self._is_network:        # imports torch
            from rgbt_tracker_ros.models.checkpoint import SHIPPED
            from rgbt_tracker_ros.runtime.device import resolve_device
            from rgbt_tracker_ros.runtime.precision import resolve_precision
            path = SHIPPED if self.source == 'student' else Path(self.source)
            try:
                precision = resolve_precision('auto', resolve_device(self.device))
            except RuntimeError as error:
                raise TrackerError(f'{self.name}: {error}') from error
            known |= {'source': 'network', 'sha256': _sha256(path), 'device': self.device,
                      'precision': precision, 'versions': versions('torch')}
        elif not self._is_baseline:
            known['function'] = _code_of(_function(self.source))
        return known


class _OneCamera:
    """Shows a tracker one image of each pair."""

    def __init__(self, tracker: OnePassTracker, camera: str) -> None:
        self._tracker, self._camera = tracker, camera
        self._box = Box(0, 0, 0, 0)

    def init(self, pair: Pair, box: Box) -> Estimate:
        return self._kept(self._tracker.init(self._seen(pair), box))

    def update(self, pair: Pair) -> Estimate:
        if getattr(pair, self._camera) is None:
            return Estimate(self._box, 0.0, State.LOST)     # there is nothing to see
        return self._kept(self._tracker.update(self._seen(pair)))

    def _kept(self, estimate: Estimate) -> Estimate:
        self._box = estimate.box
        return estimate

    def _seen(self, pair: Pair) -> Pair:
        return replace(pair, rgb=pair.rgb if self._camera == 'rgb' else None,
                       thermal=pair.thermal if self._camera == 'thermal' else None)


def labelled(text: str) -> tuple[str, str]:
    """Split `LABEL=what` into both; '' and all of it where it is a path that holds a `=`."""
    label, equals, what = text.partition('=')
    path = '/' in label and ('/' in what or what.endswith(SUFFIX))
    return ('', text) if not equals or path or Path(text).exists() else (label, what)


def parse_trackers(names: Sequence[str], config: TrackerConfig | None = None,
                   device: str = 'auto', threads: int = 1) -> list[TrackerSpec]:
    """Turn what the user wrote into trackers that are known to exist.

    :param names: one of NAMES, a .safetensors file or `module:function` each. `@rgb` or
        `@thermal` behind it: it is shown that image alone, and boxes are in its pixels. `LABEL=`
        before it says how it is to be called.
    :param device: 'auto', 'cpu' or 'cuda:N', for networks.
    :raises TrackerError: unknown name, missing file, two trackers of one name, no such device, or
        an OpenCV without it.
    """
    specs: list[TrackerSpec] = []
    for text in names:
        label, rest = labelled(text)
        source, at, camera = rest.rpartition('@')
        if camera not in CAMERAS or not at:
            if at and not rest.endswith(SUFFIX):    # a path may hold one
                raise TrackerError(f'{rest!r}: what stands behind @ must be '
                                   f'{" or ".join(CAMERAS)}')
            source, at, camera = rest, '', ''
        spec = TrackerSpec(label or _label(source) + at + camera, source, camera,
                           config or TrackerConfig(), threads=threads)
        _check(spec)
        if source == 'student' or source.endswith(SUFFIX):
            spec = replace(spec, device=_device(device))
            spec.make()         # weights that can't be loaded are refused before any work
        if any(s.name == spec.name for s in specs):
            raise TrackerError(f'two trackers are called {spec.name!r}; give one of them another '
                               f'name: --tracker LABEL={source}')
        specs.append(spec)
    return specs


def _check(spec: TrackerSpec) -> None:
    source = spec.source
    if source.endswith(SUFFIX):
        if not Path(source).is_file():
            raise TrackerError(f'weights file {source} does not exist')
    elif source in NAMES:
        if source != 'student':
            try:
                available(source.partition('-')[0])
            except RuntimeError as error:
                raise TrackerError(str(error)) from error
    elif ':' in source:
        _function(source)
    else:
        raise TrackerError(f'no tracker {source!r}; there are {", ".join(NAMES)}, a path that '
                           f'ends in {SUFFIX}, and module:function')
    if not spec.name or '/' in spec.name or spec.name.startswith('.'):
        raise TrackerError(f'{spec.name!r} can not be a file name; name the tracker by '
                           f'LABEL={source}')


def _label(source: str) -> str:
    if source.endswith(SUFFIX):
        return Path(source).stem
    return source.rpartition(':')[2]


def _device(name: str) -> str:
    from rgbt_tracker_ros.runtime.device import DeviceError, resolve_device
    try:
        return str(resolve_device(name))
    except DeviceError as error:
        raise TrackerError(str(error)) from error


def _function(source: str) -> Callable[[], OnePassTracker]:
    module, _, name = source.partition(':')
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TrackerError(f"tracker {source!r} can't be imported: {error}; is its folder on "
                           'PYTHONPATH?') from error
    if not callable(function):
        raise TrackerError(f'tracker {source!r} is no function')
    return function


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise TrackerError(f"{path}: can't be read: {error.strerror}") from error


def _code(parts: Sequence[str]) -> str:
    """Digest of the code that decides the boxes: an edited tracker is another tracker."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in (root / part for part in parts):
        for file in sorted(path.rglob('*.py')) if path.is_dir() else [path]:
            digest.update(f'{file.relative_to(root)}\0'.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _code_of(function: Callable[[], OnePassTracker]) -> str:
    """Digest of a function's file and of every module beside and below it."""
    file = inspect.getsourcefile(inspect.unwrap(function))
    if not file:
        return ''
    digest = hashlib.sha256(_sha256(Path(file)).encode())
    folder = Path(file).resolve().parent
    package = (folder / '__init__.py').is_file()
    for path in sorted(folder.rglob('*.py') if package else folder.glob('*.py')):
        digest.update(f'{path.relative_to(folder)}\0{_sha256(path)}'.encode())
    return digest.hexdigest()


def versions(*names: str) -> dict[str, str]:
    """Return the versions of this package, Python and OpenCV, and of other distributions."""
    found = {'rgbt_tracker_ros': __version__, 'python': platform.python_version(),
             'opencv': cv2.__version__}
    for name in ('numpy', *names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = 'unknown'
    return found
