"""Detection data sets whose videos hold many objects: each object's track is a sequence."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
import re

import numpy as np

from rgbt_tracker_ros.data.layouts.detections import (
    Detection,
    ObjectTrack,
    link,
    read_bbgt,
    read_vbb,
    read_voc,
)
from rgbt_tracker_ros.data.layouts.images import ImageFiles, gap, list_images, match_lengths
from rgbt_tracker_ros.data.sequence import Dataset, LayoutError, Sequence, Unseen
from rgbt_tracker_ros.data.sources import natural_order

FrameObjects = list[list[Detection]]


@dataclass
class Video:
    """The images of a video (a list may be empty), and how to read what is seen in each frame."""

    name: str
    images: Callable[[], tuple[list[Path], list[Path]]]
    objects: Callable[[], FrameObjects]
    tracks: dict[str, ObjectTrack] = field(default_factory=dict)


class TrackedDataset(Dataset):
    """Sequences named `video/label_number`, cut to the frames from first to last sight.

    With `longest` a sequence is a video's longest track and has the video's name: then annotations
    are read when a sequence is opened, not before.
    """

    def __init__(self, name: str, root: Path, videos: list[Video], shortest: int, images: bool,
                 strict: bool, labels: tuple[str, ...] | None = None, longest: bool = False,
                 fps: float | None = None) -> None:
        self._videos = {v.name: v for v in videos}
        self._shortest, self._images, self._strict = shortest, images, strict
        self._labels, self._longest, self._fps = labels, longest, fps
        self._broken: list[str] = []
        names = list(self._videos) if longest else self._all_names()
        if not names and self._broken:
            raise LayoutError(root, f'no {name} sequence can be read. {self._broken[0]}')
        if not names:
            raise LayoutError(root, f'no {name} sequence: no object is seen in {shortest} frames '
                              f'of one of {len(videos)} videos')
        super().__init__(name, root, tuple(names))

    def problems(self) -> list[str]:
        """See Dataset.problems; videos whose annotations can't be read are among them."""
        return self._broken + super().problems()

    def _all_names(self) -> list[str]:
        names = []
        for video in self._videos.values():
            try:
                video.tracks = {t.name: t for t in self._tracks(video)}
            except LayoutError as error:
                if len(self._videos) == 1:
                    raise
                self._broken.append(str(error))
            names += [f'{video.name}/{track}' for track in video.tracks]
        return names

    def _tracks(self, video: Video) -> list[ObjectTrack]:
        objects = [[d for d in frame if self._labels is None or d.label in self._labels]
                   for frame in video.objects()]
        return link(objects, self._shortest)

    def _open(self, name: str) -> Sequence:
        if self._longest:
            video = self._videos[name]
            tracks = self._tracks(video)
            if not tracks:
                raise LayoutError(self.root / name, 'no object in it')
            track = max(tracks, key=lambda t: len(t.boxes))
        else:
            video_name, _, track_name = name.rpartition('/')
            video = self._videos[video_name]
            track = video.tracks[track_name]
        first, count = track.start, len(track.boxes)
        annotated = np.arange(count, dtype=np.int64)
        if not self._images:
            return Sequence(name, Unseen(self.root, count), track.boxes, annotated, fps=self._fps)
        rgb, thermal = video.images()
        have = len(rgb) or len(thermal)
        if first + count > have:
            raise LayoutError((rgb or thermal)[0].parent, f'{have} images, but {name} is seen in '
                              f'frame {first + count}{gap(rgb or thermal)}', have + 1)
        frames = ImageFiles(rgb[first:first + count], thermal[first:first + count], self._fps,
                            trusting=not self._strict)
        return Sequence(name, frames, track.boxes, annotated, fps=self._fps)


def open_kaist(name: str, root: Path, *, split: str = 'test', images: bool = True,
               strict: bool = True, labels: tuple[str, ...] | None = ('person', 'cyclist'),
               shortest: int = 30) -> Dataset:
    """Open the KAIST multispectral pedestrian data (Hwang et al., CVPR 2015), 20 frames/s.

    images/set00/V000/{visible,lwir}/I00000.jpg with annotations of the same structure: `.vbb` of a
    video (needs SciPy, has identities), or `.txt` or `.xml` of every frame, whose objects are
    joined by overlap where they have no identity.

    :param split: 'train' (sets 00 to 05), 'test' (06 to 11) or 'all'.
    :param labels: which objects; None for all. `shortest`: fewest boxes of a track.
    """
    sets = {'train': range(6), 'test': range(6, 12), 'all': range(12)}.get(split)
    if sets is None:
        raise LayoutError(root, f'layout kaist has no split {split!r}; it has train, test, all')
    base = root / 'images' if (root / 'images').is_dir() else root
    folders = sorted(f for f in base.glob('set*/V*') if f.is_dir()
                     and re.fullmatch(r'set\d+', f.parent.name) and int(f.parent.name[3:]) in sets)
    places = [p for pattern in ('annotations-vbb*', 'annotations-xml*', 'annotations*')
              for p in sorted(root.glob(pattern)) if p.is_dir()]
    if not folders or not places:
        what = 'annotations' if folders else f'images/setXX/VXXX of split {split}'
        raise LayoutError(root, f'no {what} in it')

    def video(folder: Path) -> Video:
        key = f'{folder.parent.name}/{folder.name}'

        def files() -> tuple[list[Path], list[Path]]:
            return match_lengths(list_images(folder / 'visible'), list_images(folder / 'lwir'),
                                 strict, folder)

        def objects() -> FrameObjects:
            for place in places:
                if (vbb := place / f'{key}.vbb').exists():
                    return read_vbb(vbb)
                if (place / key).is_dir():
                    return _per_frame(place / key, files()[0] if images else [], strict)
            raise LayoutError(places[0] / key, 'no annotations of this video')
        return Video(key, files, objects)
    return TrackedDataset(name, root, [video(f) for f in folders], shortest, images, strict,
                          labels, fps=20.0)


def open_lsotb_train(name: str, root: Path, *, images: bool = True, strict: bool = True,
                     ) -> Dataset:
    """Open LSOTB-TIR's training set (Liu et al., ACM MM 2020): thermal, one track per video.

    TrainingData/{group}/{video}/*.jpg with Annotations/{group}/{video}/*.xml, in `root` or in
    `root`/train; the longest track of a video counts.
    """
    base = root / 'train' if (root / 'train').is_dir() else root
    data, notes = base / 'TrainingData', base / 'Annotations'
    for folder in (data, notes):
        if not folder.is_dir():
            raise LayoutError(folder, 'no such folder')
    videos = []
    for folder in sorted((f for f in data.glob('*/*') if f.is_dir()), key=natural_order):
        note = notes / folder.relative_to(data)
        videos.append(Video(
            folder.relative_to(data).as_posix(),
            lambda folder=folder: ([], list_images(folder)),        # type: ignore[misc]
            lambda note=note, folder=folder: _per_frame(            # type: ignore[misc]
                note, list_images(folder) if images else [], strict)))
    return TrackedDataset(name, root, videos, 1, images, strict, longest=True)


def _per_frame(folder: Path, images: list[Path], strict: bool) -> FrameObjects:
    """Read a folder's .xml or .txt files, one for each image of the same name.

    Without images all there are count, in the order of their numbers.

    :raises LayoutError: if `strict` and there is a file without an image, or the reverse.
    """
    try:
        files = sorted((f for f in folder.iterdir() if f.suffix.lower() in ('.xml', '.txt')),
                       key=natural_order)
    except OSError as error:
        raise LayoutError(folder, f"the folder can't be read: {error.strerror}") from error
    read = {f.stem: read_voc if f.suffix.lower() == '.xml' else read_bbgt for f in files}
    paths = {f.stem: f for f in files}
    stems = [p.stem for p in images] or list(paths)
    if strict:
        known = set(stems)
        for row, file in enumerate(files, 1):
            if file.stem not in known:
                raise LayoutError(file, f'no image of that name in {images[0].parent}', row)
        for row, image in enumerate(images, 1):
            if image.stem not in paths:
                raise LayoutError(image, f'no annotation of that name in {folder}', row)
    return [read[s](paths[s]) if s in paths else [] for s in stems]
