"""Teledyne FLIR ADAS v2: the videos whose RGB and thermal images are of one instant."""
from __future__ import annotations

import json
from pathlib import Path
import re
from typing import Any

from rgbt_tracker_ros.data.layouts.detections import Detection
from rgbt_tracker_ros.data.layouts.tracked import TrackedDataset, Video
from rgbt_tracker_ros.data.sequence import Dataset, LayoutError
from rgbt_tracker_ros.types import Box


def open_flir(name: str, root: Path, *, boxes: str = 'rgb', images: bool = True,
              strict: bool = True, labels: tuple[str, ...] | None = None, shortest: int = 30,
              ) -> Dataset:
    """Open the video test set of Teledyne FLIR ADAS v2, 30 frames/s.

    video_rgb_test and video_thermal_test, each with data/ and coco.json, and
    rgb_to_thermal_vid_map.json: only these images are of one instant.

    :param boxes: 'rgb' takes the boxes drawn in the RGB images. 'thermal' takes those of the
        thermal images, which then come without RGB: boxes are in pixels of the reference image.
    """
    if boxes not in ('rgb', 'thermal'):
        raise LayoutError(root, f"boxes={boxes!r}; use 'rgb' or 'thermal'")
    base = root / 'FLIR_ADAS_v2' if (root / 'FLIR_ADAS_v2').is_dir() else root
    map_file = base / 'rgb_to_thermal_vid_map.json'
    coco_file = base / f'video_{boxes}_test' / 'coco.json'
    partners: dict[str, str] = {Path(k).name: Path(v).name for k, v in _json(map_file).items()}
    seen = _coco(coco_file)
    frames: dict[str, list[tuple[int, str, str]]] = {}      # number, its own name, RGB partner's
    for row, (rgb, thermal) in enumerate(partners.items(), 1):
        own, partner = (rgb, rgb) if boxes == 'rgb' else (thermal, '')
        parts = re.match(r'video-(\w+)-frame-(\d+)', own)
        if parts is None:
            raise LayoutError(map_file, f'{own!r} is not named video-ID-frame-NUMBER-...', row)
        if own not in seen:
            raise LayoutError(coco_file, f'{own} is not among its images, but {map_file.name} '
                              'names it; are they of one release?', row)
        frames.setdefault(f'video-{parts[1]}', []).append((int(parts[2]), own, partner))
    thermal_of = {**partners, **{t: t for t in partners.values()}}

    def existing(side: str, names: list[str]) -> list[Path]:
        paths = [base / f'video_{side}_test' / 'data' / name for name in names]
        for row, path in enumerate(paths, 1):
            if not path.exists():
                swapped = any((folder / path.name).exists()
                              for folder in base.glob('video_*_test/data'))
                raise LayoutError(path, f'no such file, but {map_file.name} names it' + (
                    '; video_rgb_test/data and video_thermal_test/data are exchanged'
                    if swapped else ''), row)
        return paths

    def video(key: str, members: list[tuple[int, str, str]]) -> Video:
        return Video(key, lambda: (existing('rgb', [m[2] for m in members if m[2]]),
                                   existing('thermal', [thermal_of[m[1]] for m in members])),
                     lambda: [seen[m[1]] for m in members])
    videos = [video(key, sorted(members)) for key, members in sorted(frames.items())]
    return TrackedDataset(name, root, videos, shortest, images, strict, labels, fps=30.0)


def _json(path: Path) -> Any:
    try:
        content = json.loads(path.read_text('utf-8-sig'))
    except (OSError, ValueError) as error:
        raise LayoutError(path, f"can't be read as JSON: {error}",
                          getattr(error, 'lineno', None)) from error
    if not isinstance(content, dict):
        raise LayoutError(path, f'a JSON object is expected, not a {type(content).__name__}')
    return content


def _coco(path: Path) -> dict[str, list[Detection]]:
    """Read a COCO file: image name -> its objects; `row` of errors counts annotations from 1."""
    content = _json(path)
    try:
        labels = {c['id']: str(c['name']) for c in content['categories']}
        names = {i['id']: Path(i['file_name']).name for i in content['images']}
        annotations = content['annotations']
    except (KeyError, TypeError) as error:
        raise LayoutError(path, f'not a COCO file: no {error}') from error
    found: dict[str, list[Detection]] = {name: [] for name in names.values()}
    for row, item in enumerate(annotations, 1):
        try:
            identity = item.get('track_id')
            found[names[item['image_id']]].append(Detection(
                labels[item['category_id']], Box(*(float(v) for v in item['bbox'])),
                None if identity is None else str(identity)))
        except (KeyError, TypeError, ValueError) as error:
            raise LayoutError(path, f'annotation {row}: {type(error).__name__}: {error}',
                              row) from error
    return found
