"""The permissive real data as clips with tracks: built once, then memory-mapped.

Reads the folders `m3svd` (MIT), `hit_uav` (CC BY 4.0) and `drone_ir` (CC0) where they are there.
M3SVD's three labelled tracks are for validation only: their frames are left out before anything
looks at them, and what remains is labelled by motion alone.
"""
from __future__ import annotations

from collections.abc import Iterator
import csv
from dataclasses import dataclass
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rgbt_tracker_ros.data.motion import MotionTrack, motion_tracks
from rgbt_tracker_ros.types import Box

_log = logging.getLogger(__name__)

VERSION = 3
STRIDE = 2  # every second frame of a video: neighbours teach little


@dataclass(slots=True)
class Track:
    """One object in a clip: frame indices into the clip, boxes (x, y, w, h) in px, and
    silhouettes (64, 64) bool, stretched from the box, or None.
    """

    frames: NDArray[np.int32]
    boxes: NDArray[np.float32]
    masks: NDArray[np.bool_] | None


@dataclass(slots=True)
class Clip:
    """`thermal` (T, H, W) uint8, `rgb` (T, H, W, 3) uint8 or None, and the tracks in it."""

    name: str
    thermal: NDArray[np.uint8]
    rgb: NDArray[np.uint8] | None
    tracks: list[Track]


def _frames(path: Path, left_out: range, colour: bool) -> list[NDArray[np.uint8]]:
    """Decode every STRIDE-th frame of a video outside `left_out`; RGB, or one channel.

    :raises ValueError: if nothing can be decoded, or a frame in the middle can't.
    """
    capture, frames, number = cv2.VideoCapture(str(path)), [], 0
    try:
        while capture.grab():
            if number % STRIDE == 0 and number not in left_out:
                ok, image = capture.retrieve()
                if not ok:
                    raise ValueError(f"{path}: frame {number} can't be decoded")
                frames.append(cv2.cvtColor(
                    image, cv2.COLOR_BGR2RGB if colour else cv2.COLOR_BGR2GRAY))
            number += 1
    finally:
        capture.release()
    if not number:
        raise ValueError(f'{path}: no frame can be decoded; is it a complete video file?')
    return frames


def _validation_frames(folder: Path) -> dict[str, range]:
    """Return, by video, the span of frames of M3SVD's labelled tracks, all of a video's in one.

    :raises ValueError: if a file holds no rows or lacks a column.
    """
    numbers: dict[str, list[int]] = {}
    for path in sorted((folder / 'tracks').glob('*.csv')):
        with path.open(newline='') as file:
            rows = list(csv.DictReader(file))
        if not rows or not {'video', 'frame'} <= rows[0].keys():
            raise ValueError(f'{path}: must have rows with the columns video and frame, which '
                             'tell what to keep out of the training')
        for row in rows:
            numbers.setdefault(row['video'], []).append(int(row['frame']))
    return {video: range(min(n), max(n) + 1) for video, n in numbers.items()}


def _masked(track: MotionTrack) -> Track:
    masks = np.stack([cv2.resize(m.astype(np.uint8), (64, 64)) > 0 for m in track.masks])
    return Track(np.array(track.frames, np.int32),
                 np.array([b.as_tuple() for b in track.boxes], np.float32), masks)


def _m3svd(folder: Path) -> Iterator[Clip]:
    spans = _validation_frames(folder)
    if not spans:
        _log.warning('%s has no tracks/*.csv: no frame is kept out of the training for validation',
                     folder)
    videos = sorted((folder / 'infrared').glob('*.mp4')) + \
        sorted((folder / 'infrared_only').glob('*.mp4'))
    if not videos:
        raise FileNotFoundError(f'{folder} holds no infrared/*.mp4 and no infrared_only/*.mp4')
    for path in videos:
        span = spans.get(path.stem, range(0))
        thermal = _frames(path, span, colour=False)
        visible = folder / 'visible' / path.name
        rgb = _frames(visible, span, colour=True) if visible.exists() else None
        if rgb is not None:
            n = min(len(rgb), len(thermal))
            thermal, rgb = thermal[:n], rgb[:n]
        if not thermal:  # all of it is for validation
            continue
        yield Clip(path.stem, np.stack(thermal), np.stack(rgb) if rgb else None,
                   [_masked(t) for t in motion_tracks(thermal)])


def _drone_ir(folder: Path) -> Iterator[Clip]:
    for path in sorted(folder.glob('*.mp4')):
        frames = _frames(path, range(0), colour=False)
        with path.with_suffix('.csv').open() as file:
            rows = [r for r in csv.DictReader(file) if int(r['frame']) % STRIDE == 0]
        rows = [r for r in rows if int(r['frame']) // STRIDE < len(frames)
                and min(float(r['w']), float(r['h'])) >= 4]
        track = Track(np.array([int(r['frame']) // STRIDE for r in rows], np.int32),
                      np.array([[float(r[k]) for k in 'xywh'] for r in rows], np.float32), None)
        yield Clip(path.stem, np.stack(frames), None, [track] if len(rows) > 5 else [])


def _hit_uav(folder: Path) -> Iterator[Clip]:
    boxes: dict[str, list[list[float]]] = {}
    with (folder / 'boxes.csv').open() as file:
        for r in csv.DictReader(file):
            if r['class'] != 'DontCare' and min(float(r['w']), float(r['h'])) >= 6:
                boxes.setdefault(r['image'], []).append([float(r[k]) for k in 'xywh'])
    names = sorted(boxes)
    images: list[Any] = [cv2.imread(str(folder / n), cv2.IMREAD_GRAYSCALE) for n in names]
    unread = [n for n, image in zip(names, images, strict=True) if image is None]
    if unread or not names:
        raise ValueError(f'{folder}: {len(unread)} of {len(names)} images of boxes.csv can not be '
                         f'read{"; the first is " + unread[0] if unread else ""}')
    tracks = [Track(np.array([i], np.int32), np.array([b], np.float32), None)
              for i, n in enumerate(names) for b in boxes[n]]
    yield Clip('hit_uav', np.stack(images), None, tracks)


READERS = {'m3svd': _m3svd, 'drone_ir': _drone_ir, 'hit_uav': _hit_uav}


def build(data: Path, cache: Path) -> None:
    """Decode and label everything under `data` into `cache`; does nothing when it is there.

    :raises FileNotFoundError: if none of the known folders is under `data`, or a file is missing.
    :raises ValueError: if a file can't be decoded.
    """
    marker = cache / 'done.json'
    found = [name for name in READERS if (data / name).is_dir()]
    if not found:
        raise FileNotFoundError(f'{data} holds none of {", ".join(READERS)}; '
                                'leave --data out to train on synthetic scenes alone')
    wanted = {'version': VERSION, 'folders': found}
    if marker.exists() and json.loads(marker.read_text()) == wanted:
        return
    cache.mkdir(parents=True, exist_ok=True)
    marker.unlink(missing_ok=True)
    for pattern in ('*.npy', '*.npz'):  # of other folders, or of a build that was stopped
        for old in cache.glob(pattern):
            old.unlink()
    for name in found:
        for i, clip in enumerate(tqdm(READERS[name](data / name), desc=f'reading {name}')):
            stem = cache / f'{name}.{i:03d}.{clip.name}'
            np.save(f'{stem}.thermal.npy', clip.thermal)
            if clip.rgb is not None:
                np.save(f'{stem}.rgb.npy', clip.rgb)
            arrays: dict[str, Any] = {}
            for k, t in enumerate(clip.tracks):
                arrays[f'{k}.frames'], arrays[f'{k}.boxes'] = t.frames, t.boxes
                if t.masks is not None:
                    arrays[f'{k}.masks'] = t.masks
            np.savez_compressed(f'{stem}.tracks.npz', **arrays)
    marker.write_text(json.dumps(wanted))


def load(cache: Path) -> list[Clip]:
    """Memory-map the clips that `build` left in `cache`, by name."""
    clips = []
    for path in sorted(cache.glob('*.tracks.npz')):
        stem = str(path)[:-len('.tracks.npz')]
        rgb = Path(f'{stem}.rgb.npy')
        with np.load(path) as stored:
            tracks = [Track(stored[f'{k}.frames'], stored[f'{k}.boxes'],
                            stored[f'{k}.masks'] if f'{k}.masks' in stored else None)
                      for k in range(sum(n.endswith('.frames') for n in stored.files))]
        clips.append(Clip(Path(stem).name, np.load(f'{stem}.thermal.npy', mmap_mode='r'),
                          np.load(rgb, mmap_mode='r') if rgb.exists() else None, tracks))
    return clips


HELD_OUT = ('1204_1139', '0118_1913')  # videos of people that calibrate the confidence


def split(clips: list[Clip], held_out: bool) -> list[Clip]:
    """Return the part of `clips` to train on, or the tenth that is kept aside."""
    parts, drones = [], 0
    for clip in clips:
        if clip.name.startswith('hit_uav'):  # stills: one image is one track
            tracks = [t for t in clip.tracks if (t.frames[0] % 10 == 9) == held_out]
            parts.append(Clip(clip.name, clip.thermal, clip.rgb, tracks))
            continue
        if clip.name.startswith('drone_ir'):
            drones += 1
            aside = drones % 10 == 0
        else:
            aside = clip.name.endswith(HELD_OUT)
        if aside == held_out:
            parts.append(clip)
    return parts


def box_at(track: Track, i: int) -> Box:
    """Return the i-th box of a track."""
    x, y, w, h = (float(v) for v in track.boxes[i])
    return Box(x, y, w, h)
