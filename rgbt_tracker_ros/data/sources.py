"""Read video files and folders of images, one modality at a time or as pairs."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
import logging
from pathlib import Path
import re
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.types import Pair

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff')
# Channels of a gray picture stored in colour differ by this much after lossy coding.
_GRAY_TOLERANCE = 8

_log = logging.getLogger(__name__)
_T = TypeVar('_T')


class SourceError(ValueError):
    """A source that can't be read; the text names the file and what is wrong with it."""


class FrameSource(ABC):
    """The frames of one camera, in order; may be read any number of times.

    Files are open only while an iterator is alive.
    """

    def __init__(self, path: Path, fps: float | None) -> None:
        self.path = path
        self.fps = fps
        """Frames per second as the file tells; None where it does not."""

    @abstractmethod
    def frames(self, start: int = 0) -> Generator[NDArray[Any], None, None]:
        """Yield the frames from number `start` on.

        Each is a new array: (H, W, 3) uint8 RGB, or (H, W) uint8, uint16 or float32.

        :raises SourceError: at a frame that can't be decoded.
        """

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return self.frames()

    @abstractmethod
    def __len__(self) -> int:
        """Return the exact number of frames; a video is decoded once for it, and remembered."""

    def __bool__(self) -> bool:
        """A source is there; `if source` must not decode a video for its length."""
        return True

    @property
    def expected_length(self) -> int | None:
        """Number of frames at no cost: a video's header may be wrong, None where it is silent."""
        return len(self)


class FolderSource(FrameSource):
    """The images of a folder, ordered by the numbers in their names (`i2.jpg` before `i10.jpg`).

    16-bit and float32 one-channel files keep their depth; 16-bit colour is cut to 8 bits.
    """

    def __init__(self, path: Path) -> None:
        """List the images.

        :raises SourceError: if there are none.
        """
        super().__init__(path, None)
        self.files = sorted((p for p in path.iterdir()
                             if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith('.')),
                            key=natural_order)
        if not self.files:
            raise SourceError(f'{path}: no images; looked for {", ".join(IMAGE_SUFFIXES)}')

    def frames(self, start: int = 0) -> Generator[NDArray[Any], None, None]:
        """Yield the images from number `start` on: see FrameSource.frames."""
        for index in range(start, len(self.files)):
            yield self._read(index)

    def __len__(self) -> int:
        return len(self.files)

    def _read(self, index: int) -> NDArray[Any]:
        file = self.files[index]
        try:
            data = np.fromfile(file, np.uint8)
        except OSError as e:
            raise SourceError(f"{file}: frame {index} can't be read: {e.strerror}") from e
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        if image is None:
            raise SourceError(f"{file}: frame {index} can't be decoded as an image")
        return as_frame(image)


class VideoSource(FrameSource):
    """The frames of a video file, 8 bits deep, decoded in order (never sought)."""

    def __init__(self, path: Path) -> None:
        """Open the file once to see that it decodes.

        :raises SourceError: if it doesn't.
        """
        capture = self._open(path)
        fps, expected = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        ok = capture.grab()
        capture.release()
        if not ok:
            raise SourceError(f"{path}: frame 0 can't be decoded; is it a complete video file?")
        super().__init__(path, float(fps) if 0 < fps < 1000 else None)
        self._expected = int(expected) if expected > 0 else None
        self._exact: int | None = None

    def frames(self, start: int = 0) -> Generator[NDArray[Any], None, None]:
        """Yield the frames from number `start` on: see FrameSource.frames."""
        capture = self._open(self.path)
        try:
            for index in count():
                if not capture.grab():
                    self._ended(index)
                    return
                if index < start:
                    continue
                ok, image = capture.retrieve()
                if not ok:
                    raise SourceError(f"{self.path}: frame {index} can't be decoded")
                yield as_frame(image)
        finally:
            capture.release()

    def __len__(self) -> int:
        if self._exact is None:
            capture = self._open(self.path)
            try:
                self._ended(next(n for n in count() if not capture.grab()))
            finally:
                capture.release()
        assert self._exact is not None
        return self._exact

    @property
    def expected_length(self) -> int | None:
        """The exact number of frames once known, the header's until then."""
        return self._exact if self._exact is not None else self._expected

    def _ended(self, frames: int) -> None:
        if self._exact is None and self._expected is not None and frames != self._expected:
            _log.warning('%s: its header says %d frames, %d could be decoded',
                         self.path, self._expected, frames)
        self._exact = frames

    @staticmethod
    def _open(path: Path) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(path))
        if not capture.isOpened():
            raise SourceError(f'{path}: not a video that OpenCV can open')
        return capture


def open_source(path: str | Path) -> FrameSource:
    """Open a video file or a folder of images.

    :raises SourceError: if there is nothing there, or nothing that can be read.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise SourceError(f'{path}: no such file or folder')
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise SourceError(f'{path}: a single image; give the folder of images, or a video file')
    return VideoSource(path)


class PairSource:
    """Pairs of the frames of an RGB and a thermal source, or of one of them, frame by frame.

    Frame i of both is taken for the same instant, i / `fps` seconds after the start. A longer
    source is cut to the shorter, with a warning. Thermal frames whose three channels are alike
    become one; RGB frames of one channel become three.
    """

    def __init__(self, rgb: str | Path | FrameSource | None,
                 thermal: str | Path | FrameSource | None, fps: float = 30.0) -> None:
        """Open both sources.

        :raises SourceError: if one can't be opened, none is given, or `fps` is not positive.
        """
        if rgb is None and thermal is None:
            raise SourceError('a pair needs an RGB source, a thermal source, or both; got neither')
        if not 0 < fps < float('inf'):
            raise SourceError(f'fps is {fps!r}; it must be above 0')
        self.rgb, self.thermal = (
            s if s is None or isinstance(s, FrameSource) else open_source(s)
            for s in (rgb, thermal))
        self.fps = fps
        self._sources = [s for s in (self.rgb, self.thermal) if s is not None]
        rates = [s.fps for s in self._sources if s.fps]
        if len(rates) == 2 and abs(rates[0] - rates[1]) > 0.02 * max(rates):
            _log.warning('%s has %.4g frames/s and %s %.4g: frame by frame they are not of one '
                         'instant', self._sources[0].path, rates[0], self._sources[1].path,
                         rates[1])

    def __len__(self) -> int:
        return min(len(s) for s in self._sources)

    @property
    def expected_length(self) -> int | None:
        """Number of pairs at no cost, as far as headers tell: see FrameSource."""
        lengths = [s.expected_length for s in self._sources]
        return min((n for n in lengths if n is not None), default=None)

    def __iter__(self) -> Iterator[Pair]:
        return self.pairs()

    def pairs(self, start: int = 0) -> Generator[Pair, None, None]:
        """Yield the pairs from number `start` on.

        :raises SourceError: at a frame that can't be decoded or used.
        """
        readers = [s.frames(start) for s in self._sources]
        try:
            for index in count(start):
                frames = [next(r, None) for r in readers]
                if any(f is None for f in frames):
                    self._compare_lengths(index, [f is None for f in frames])
                    return
                rgb = _as_rgb(frames[0], self.rgb, index) if self.rgb is not None else None
                thermal = as_thermal(frames[-1]) if self.thermal is not None else None
                yield Pair(rgb, thermal, stamp=int(index * 1e9 / self.fps))
        finally:
            for reader in readers:
                reader.close()

    def _compare_lengths(self, index: int, ended: list[bool]) -> None:
        if all(ended):
            return
        short, long = self._sources if ended[0] else self._sources[::-1]
        # a header that is plausible saves decoding the rest
        expected = long.expected_length
        frames = expected if expected is not None and expected > index else len(long)
        _log.warning('%s has %d frames and %s has %d: stopped after %d', short.path, len(short),
                     long.path, frames, index)


def prefetch(items: Iterable[_T], depth: int = 4) -> Generator[_T, None, None]:
    """Yield the items while a thread makes up to `depth` of the next ones.

    Exceptions arrive in their place. Closing the generator waits for one item at most.
    """
    iterator = iter(items)
    end: Any = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix='prefetch')
    try:
        pending = deque(pool.submit(next, iterator, end) for _ in range(depth))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, iterator, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(iterator, Generator):
            iterator.close()


def natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Order names by their numbers, then by their text."""
    parts = re.split(r'(\d+)', path.stem)
    return [(int(p), '') if i % 2 else (-1, p) for i, p in enumerate(parts)], path.name


def as_frame(image: NDArray[Any]) -> NDArray[Any]:
    """Turn what OpenCV decoded (BGR, BGRA or one channel, any depth) into a frame."""
    if image.ndim == 3:
        if image.dtype == np.uint16:
            image = (image >> 8).astype(np.uint8)
        if image.dtype == np.uint8:
            four = image.shape[2] == 4
            return cv2.cvtColor(image, cv2.COLOR_BGRA2RGB if four else cv2.COLOR_BGR2RGB)
        image = image[..., 0]
    return image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32)


def _as_rgb(frame: NDArray[Any] | None, source: FrameSource, index: int) -> NDArray[np.uint8]:
    assert frame is not None
    if frame.dtype != np.uint8:
        raise SourceError(f'{source.path}: frame {index} is {frame.dtype}, RGB must be 8-bit; '
                          'is it the thermal source?')
    return frame if frame.ndim == 3 else np.dstack([frame] * 3)


def as_thermal(frame: NDArray[Any] | None) -> NDArray[Any]:
    """Return a frame with one channel if its three are alike; false colours stay."""
    assert frame is not None
    if frame.ndim == 3:
        some = frame[::8, ::8].astype(np.int16)
        if np.ptp(some, axis=2).max() <= _GRAY_TOLERANCE:
            return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return frame
