"""Write results: videos, and JSON that is whole or not there."""
from __future__ import annotations

from contextlib import suppress
import json
import os
from pathlib import Path
import sys

import cv2

from rgbt_tracker_ros.types import Image

VIDEO_CODECS = {'.mp4': 'mp4v', '.avi': 'MJPG'}


class SinkError(ValueError):
    """A result that can't be written; the text names the file and what is wrong with it."""


class VideoSink:
    """A video file, opened when its first frame tells the size; a context manager.

    It is written beside where it belongs, and has its name once it was found to be whole: OpenCV
    tells nobody when a disk is full.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        """Check the name.

        :raises SinkError: if it does not end in one of VIDEO_CODECS.
        """
        self.path, self.fps = Path(path), fps
        if self.path.suffix.lower() not in VIDEO_CODECS:
            raise SinkError(f'{path}: a video must end in {" or ".join(VIDEO_CODECS)}')
        self._part = self.path.with_name(f'.{self.path.stem}.{os.getpid()}.part{self.path.suffix}')
        self._writer: cv2.VideoWriter | None = None
        self._frames = 0

    def write(self, image: Image) -> None:
        """Append a frame, (H, W, 3) uint8 RGB, of the first one's size.

        :raises SinkError: if the file can't be opened.
        """
        size = image.shape[1], image.shape[0]
        if self._writer is None:
            codec = cv2.VideoWriter.fourcc(*VIDEO_CODECS[self.path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self._part), codec, self.fps, size)
            self._size = size
            if not self._writer.isOpened():
                self._writer = None
                self._part.unlink(missing_ok=True)
                raise SinkError(f"{self.path}: OpenCV can't write a video there")
        if size != self._size:          # OpenCV would leave it out without a word
            image = cv2.resize(image, self._size).astype(image.dtype, copy=False)
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Finish the file, in the place of one that is there; nothing where there was no frame.

        :raises SinkError: if not all frames are in it; there is no new file then.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            found = _frames_of(self._part)
            if found != self._frames:
                raise SinkError(f"{self.path}: can't be written: of {self._frames} frames {found} "
                                'are in the file; is the disk full?')
            self._part.replace(self.path)
        except OSError as e:
            raise SinkError(f"{self.path}: can't be written: {e.strerror}") from e
        finally:
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _frames_of(path: Path) -> int:
    """Return how many frames of a video can be read: what its head says, if the last is there."""
    video = cv2.VideoCapture(str(path))
    try:
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
        # the head may be written over after the rest was refused
        video.set(cv2.CAP_PROP_POS_FRAMES, count - 1)
        return count if count > 0 and video.read()[0] else 0
    finally:
        video.release()


def write_json(path: str | Path, data: object, indent: int | None = None) -> None:
    """Write JSON to a file, whole or not at all; '-' is standard output.

    :raises ValueError: if there is a NaN or infinity in the data.
    :raises SinkError: (a ValueError) if it can't be written: disk full, closed pipe.
    """
    text = json.dumps(data, allow_nan=False, indent=indent) + '\n'
    if str(path) != '-':
        write_file(path, text)
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()              # a full disk or closed pipe shows here, not at exit
    except OSError as e:
        raise SinkError(f"{path}: can't be written: {e.strerror}") from e


def write_file(path: str | Path, content: str | bytes) -> None:
    """Write a file by way of a temporary one beside it: whole, or the old one stays.

    :param content: text is written as UTF-8.
    :raises SinkError: if it can't be written; it names the file, which the system does not.
    """
    data = content.encode() if isinstance(content, str) else content
    file = Path(os.path.realpath(path))     # a link stays one
    part = file.with_name(f'.{file.name}.{os.getpid()}.part')
    try:
        if file.exists() and not file.is_file():
            file.write_bytes(data)          # a pipe or a device must not be replaced
            return
        part.write_bytes(data)
        part.replace(file)
    except OSError as e:
        raise SinkError(f"{path}: can't be written: {e.strerror}") from e
    finally:
        with suppress(OSError):     # where there is no such folder, that was told
            part.unlink(missing_ok=True)
