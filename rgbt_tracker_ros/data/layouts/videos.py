"""Video files with the same name in two folders (or in one), and CSV files of tracks in them."""
from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np

from rgbt_tracker_ros.data.layouts.images import check_not_exchanged
from rgbt_tracker_ros.data.layouts.rows import Track, read_tracks
from rgbt_tracker_ros.data.open_files import Kept
from rgbt_tracker_ros.data.sequence import (
    Dataset,
    Frames,
    LayoutError,
    Sequence,
    Unseen,
    identity_of,
)
from rgbt_tracker_ros.data.sources import PairSource, SourceError, VideoSource, natural_order
from rgbt_tracker_ros.types import Pair, PairError

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mkv', '.mov', '.m4v', '.webm')
_EXACT = ('.mp4', '.mov', '.m4v')   # files with a list of all their frames; others estimate
RGB = ('visible', 'rgb', 'color', 'vis')
THERMAL = ('infrared', 'thermal', 'ir', 'lwir')


class VideoFrames:
    """`count` frames from frame `first` on of one or two videos.

    Decoded in order; a jump back decodes from the start again, as OpenCV's seeking is not exact.
    The files stay open meanwhile: see Kept.
    """

    def __init__(self, rgb: Path | None, thermal: Path | None, first: int, count: int, fps: float,
                 trusting: bool) -> None:
        self.rgb, self.thermal = rgb, thermal
        self._first, self._count, self._fps = first, count, fps
        self._trusting = trusting
        self._kept: Kept[_Reader] = Kept()

    def __len__(self) -> int:
        return self._count

    @property
    def identity(self) -> str:
        """See `identity_of`. :raises LayoutError: if a file is gone."""
        return (identity_of(file for file in (self.rgb, self.thermal) if file)
                + f' {self._first} {self._fps}')

    def pair(self, index: int) -> Pair:
        """Decode pair `index`, counted from the first.

        :raises LayoutError: if a video can't be decoded up to there.
        """
        wanted = self._first + index
        path = self.rgb or self.thermal
        assert path is not None
        try:
            with self._kept.using(lambda: _Reader(self.rgb, self.thermal, self._fps)) as reader:
                pair = reader.read(wanted)
        except (SourceError, PairError) as error:
            raise LayoutError(path, str(error), wanted + 1) from error
        if pair is None:
            raise LayoutError(path, f'ends before frame {wanted}', wanted + 1)
        if not self._trusting and pair.rgb is not None and pair.thermal is not None:
            assert self.rgb is not None and self.thermal is not None
            check_not_exchanged(pair.rgb, pair.thermal, self.rgb, self.thermal, wanted)
            self._trusting = True
        return pair

    def close(self) -> None:
        """Close the files; the next pair opens them again."""
        self._kept.close()


class _Reader:
    """One or two videos, open where the last pair was read."""

    def __init__(self, rgb: Path | None, thermal: Path | None, fps: float) -> None:
        self._source = PairSource(rgb, thermal, fps)
        self._pairs: Generator[Pair, None, None] | None = None
        self._next = 0

    def read(self, wanted: int) -> Pair | None:
        """Decode up to pair `wanted`; None where the videos end before it."""
        if self._pairs is None or wanted < self._next:
            self.close()
            self._pairs, self._next = self._source.pairs(wanted), wanted
        for pair in self._pairs:
            self._next += 1
            if self._next > wanted:
                return pair
        return None

    def close(self) -> None:
        if self._pairs is not None:
            self._pairs.close()
        self._pairs = None


def open_videos(name: str, root: Path, *, images: bool = True, strict: bool = True,
                single: str = 'thermal') -> Dataset:
    """Open a folder of videos.

    visible/ and infrared/ (or rgb/ and thermal/) with videos of the same name, and CSV files
    (frame,x,y,w,h and perhaps video; 0-based frames) in tracks/ or beside the videos. Each track
    is a sequence, cut to its labelled frames; a frame in between without a row is one without the
    target. Without any CSV each video is a sequence without boxes. Also: videos and CSV files of
    the same name side by side; rgb.mp4 and thermal.mp4 with groundtruth.csv.

    :param single: 'rgb' or 'thermal': what videos without a partner folder are.
    """
    if single not in ('rgb', 'thermal'):
        raise LayoutError(root, f"single={single!r}; use 'rgb' or 'thermal'")
    return VideoDataset(name, root, images, strict, single)


class VideoDataset(Dataset):
    """See `open_videos`."""

    def __init__(self, name: str, root: Path, images: bool, strict: bool, single: str) -> None:
        self._images, self._strict = images, strict
        self._found = _videos(root, single)
        self._tracks: dict[str, tuple[Path, Track]] = {}
        self._broken: list[str] = []
        places = (root / 'tracks', root, *(root / n for n in (*RGB, *THERMAL)))
        files = next((found for p in places if p.is_dir() and (found := sorted(
            (f for f in p.iterdir() if f.suffix.lower() == '.csv'), key=natural_order))), [])
        for file in files:
            self._add(file, alone=len(files) == 1)
        if files and not self._tracks:
            raise LayoutError(files[0], self._broken[0])
        names = tuple(self._tracks) if files else tuple(self._found)
        if not names:
            raise LayoutError(root, f'no videos; looked for {", ".join(VIDEO_SUFFIXES)} in '
                              f'{"/, ".join((*RGB, *THERMAL))}/ and in itself')
        super().__init__(name, root, names)

    def problems(self) -> list[str]:
        """See Dataset.problems; CSV files that can't be read are among them."""
        return self._broken + super().problems()

    def _add(self, file: Path, alone: bool) -> None:
        try:
            tracks = read_tracks(file)
        except LayoutError as error:
            if alone:
                raise
            self._broken.append(str(error))
            return
        for track in tracks:
            name = file.stem if len(tracks) == 1 else f'{file.stem}/{track.video}'
            if name == 'groundtruth':
                name = self._only_video(name)
            self._tracks[name] = file, track

    def _only_video(self, otherwise: str) -> str:
        return next(iter(self._found)) if len(self._found) == 1 else otherwise

    def _open(self, name: str) -> Sequence:
        if name not in self._tracks:        # no CSV at all
            track, file, video, first, count = None, self.root, name, 0, 0
        else:
            file, track = self._tracks[name]
            video = track.video or (name if name in self._found else self._only_video(name))
            first, count = int(track.frames[0]), int(track.frames[-1] - track.frames[0]) + 1
        fps = None
        frames: Frames = Unseen(self.root, count)
        if self._images:
            if video not in self._found:
                raise LayoutError(file, f'no video {video}; there are '
                                  + ', '.join(list(self._found)[:8]))
            rgb, thermal = self._found[video]
            sources, have = self._counted(rgb, thermal, first + count)
            if track is not None:
                track.check(file, have, f'{sources[0].path.name} has {have} frames')
            fps = next((s.fps for s in sources if s.fps), None)
            frames = VideoFrames(rgb, thermal, first, count or have, fps or 30.0,
                                 not self._strict)
        if track is None:
            return Sequence(name, frames, np.empty((0, 4)), np.empty(0, np.int64), fps=fps)
        boxes, labelled = track.filled()
        return Sequence(name, frames, boxes, labelled - first, fps=fps)

    def _counted(self, rgb: Path | None, thermal: Path | None, needed: int,
                 ) -> tuple[list[VideoSource], int]:
        """Return the sources of a sequence that needs so many frames (0: all), and their number.

        What a header says is enough where it is what is needed; nobody is refused, or given a
        length, by a header that may be wrong.
        """
        try:
            sources = [VideoSource(p) for p in (rgb, thermal) if p is not None]
            have = [n if (n := s.expected_length) is not None and (
                needed or s.path.suffix.lower() in _EXACT) else len(s) for s in sources]
            if min(have) < needed or (self._strict and len(set(have)) > 1):
                have = [len(s) for s in sources]
        except SourceError as error:
            raise LayoutError(rgb or thermal or self.root, str(error)) from error
        if self._strict and len(set(have)) > 1:
            raise LayoutError(sources[1].path, f'{have[1]} frames; {sources[0].path} has '
                              f'{have[0]}', min(have) + 1)
        return sources, min(have)


def _videos(root: Path, single: str) -> dict[str, tuple[Path | None, Path | None]]:
    """Return name -> (RGB, thermal) of all videos.

    :raises LayoutError: if both folders are there, and one lacks a video of the other.
    """
    def files(folders: Iterable[str]) -> dict[str, Path]:
        folder = next((root / f for f in folders if (root / f).is_dir()), None)
        return {} if folder is None else _in(folder)
    rgb, thermal = files(RGB), files(THERMAL)
    if not rgb and not thermal:
        here = _in(root)
        pair = [next((here[n] for n in names if n in here), None) for names in (RGB, THERMAL)]
        if all(pair):
            return {root.resolve().name: (pair[0], pair[1])}
        return {n: (p, None) if single == 'rgb' else (None, p) for n, p in here.items()}
    for one, other in ((rgb, thermal), (thermal, rgb)):
        for name, path in one.items():
            if other and name not in other:
                folder = next(iter(other.values())).parent
                raise LayoutError(path, f'no video {name} in {folder}')
    return {n: (rgb.get(n), thermal.get(n)) for n in (rgb or thermal)}


def _in(folder: Path) -> dict[str, Path]:
    return {p.stem: p for p in sorted(folder.iterdir(), key=natural_order)
            if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith('.')}
