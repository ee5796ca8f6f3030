"""A tiny data set of every layout, and ways to break it."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import json
from pathlib import Path
import shutil
from typing import Any

import cv2
import numpy as np

from rgbt_tracker_ros.data.layouts import open_layout
from rgbt_tracker_ros.data.sequence import Dataset, Sequence

SIZE = (64, 48)             # width, height


def rgb_image(index: int) -> np.ndarray:
    """Return an RGB picture with colours whose right half tells its number."""
    image = np.full((SIZE[1], SIZE[0], 3), 8 * index + 20, np.uint8)
    image[:, :32] = (200, 40, 90)
    return image


def thermal_image(index: int, dtype: type = np.uint8) -> np.ndarray:
    image = np.full((SIZE[1], SIZE[0]), 8 * index + 30, dtype)
    image[:, :32] = 120
    return image


def number(image: np.ndarray, thermal: bool = False) -> int:
    """Return the number that `rgb_image` or `thermal_image` was given."""
    return round((float(image[:, 40:].mean()) - (30 if thermal else 20)) / 8)


def box(index: int, shift: float = 0) -> tuple[float, float, float, float]:
    return 4 + index + shift, 5, 10, 8


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(path.suffix.lower(), image if image.ndim == 2 else image[..., ::-1])
    assert ok
    data.tofile(path)           # cv2.imwrite takes no name outside ASCII on some systems


def write(path: Path, text: str, encoding: str = 'utf-8') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def rows(boxes: list[tuple[float, ...]], delimiter: str = ',', corners: bool = False) -> str:
    """Return box rows with Windows line ends and blank lines at the end."""
    if corners:
        boxes = [(x, y, x + w, y + h) for x, y, w, h in boxes]
    return ''.join(delimiter.join(f'{v:g}' for v in b) + '\r\n' for b in boxes) + '\r\n  \r\n'


@dataclass
class Made:
    """A data set made by a test: its root, one sequence in it, and where its parts are."""

    root: Path
    sequence: str
    frames: int
    truth: Path
    rgb: list[Path] = field(default_factory=list)
    thermal: list[Path] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def open(self, layout: str, **options: Any) -> Dataset:
        return open_layout(layout, self.root, **self.options, **options)

    def get(self, layout: str, **options: Any) -> Sequence:
        return self.open(layout, **options)[self.sequence]


@dataclass(frozen=True)
class Folders:
    """How a layout of image folders is made: patterns relative to the sequence's folder."""

    folder: str
    rgb: str | None
    thermal: str
    truth: str
    second: str | None = None
    delimiter: str = ','
    corners: bool = False
    step: int = 1
    start: int = 1

    def make(self, root: Path, frames: int = 0) -> Made:
        frames = frames or (4 if self.step == 1 else 23)
        place = root / self.folder
        made = Made(root, place.name, frames, place / self.truth)
        for i in range(frames):
            if self.rgb:
                made.rgb.append(place / self.rgb.format(self.start + i))
                save(made.rgb[-1], rgb_image(i))
            made.thermal.append(place / self.thermal.format(self.start + i))
            save(made.thermal[-1], thermal_image(i))
        for name, shift in ((self.truth, 0), (self.second, 1)):
            if name:
                boxes = [box(i, shift) for i in range(0, frames, self.step)]
                boxes[2] = (0, 0, 0, 0)         # absent
                write(place / name, rows(boxes, self.delimiter, self.corners))
        return made


FOLDERS = {
    'lasher': Folders('testingset/1 girl', 'visible/v{:06d}.jpg', 'infrared/i{:06d}.JPG',
                      'init.txt', start=8),
    'rgbt234': Folders('straße', 'visible/{:05d}v.jpg', 'infrared/{:05d}i.jpg', 'visible.txt',
                       'infrared.txt', start=9),
    'rgbt210': Folders('nightcar', 'visible/{:05d}v.png', 'infrared/{:05d}i.bmp', 'init.txt'),
    'gtot': Folders('BlackCar', 'v/{:05d}v.BMP', 'i/{:05d}i.png', 'groundTruth_v.txt',
                    'groundTruth_i.txt', ' ', corners=True),
    'vtuav': Folders('test_ST/test_ST_001/car_041', 'rgb/{:06d}.jpg', 'ir/{:06d}.jpg', 'rgb.txt',
                     'ir.txt', ' ', step=10),
    'lsotb': Folders('sequences/cat_H_001', None, 'img/{:04d}.jpg',
                     '../../anno/cat_H_001.txt'),
    'ptb': Folders('tirsequences/birds', None, 'img/{:08d}.jpg', '../../tiranno/birds.txt'),
    'folder': Folders('clip', 'rgb/{}.png', 'thermal/{}.tiff', 'groundtruth.txt',
                      delimiter='\t', start=8),
}


def kaist(root: Path) -> Made:
    """Four frames, a person and (in two of them) a cyclist, Piotr Dollar's text form."""
    made = Made(root, 'set06/V000/person_1', 4, root / 'annotations/set06/V000/I00001.txt',
                options={'shortest': 2})
    for i in range(4):
        made.rgb.append(root / f'images/set06/V000/visible/I{i:05d}.jpg')
        made.thermal.append(root / f'images/set06/V000/lwir/I{i:05d}.jpg')
        save(made.rgb[-1], rgb_image(i))
        save(made.thermal[-1], thermal_image(i))
        text = '% bbGt version=3\r\n' + 'person {:g} {:g} {:g} {:g} 0 0 0 0 0 0 0\r\n'.format(
            *box(i))
        if i in (1, 2):
            text += 'cyclist 40 20 9 9 0 0 0 0 0 0 0\r\npeople 30 20 9 9 0 0 0 0 0 0 0\r\n'
        write(root / f'annotations/set06/V000/I{i:05d}.txt', text)
    return made


def lsotb_train(root: Path) -> Made:
    made = Made(root, 'animal/cat_1', 4, root / 'train/Annotations/animal/cat_1/0002.xml')
    for i in range(4):
        made.thermal.append(root / f'train/TrainingData/animal/cat_1/{i + 1:04d}.jpg')
        save(made.thermal[-1], thermal_image(i))
        x, y, w, h = box(i)
        write(root / f'train/Annotations/animal/cat_1/{i + 1:04d}.xml',
              '<annotation><object><trackid>0</trackid><name>cat</name><bndbox>'
              f'<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox>'
              '</object></annotation>')
    return made


def flir(root: Path) -> Made:
    """Four pairs of a video; the car's boxes differ between the images."""
    made = Made(root, 'video-abc/car_7', 4, root / 'rgb_to_thermal_vid_map.json',
                options={'shortest': 2})
    pairs = {}
    for side, shift in (('rgb', 0), ('thermal', 1)):
        names = [f'video-abc-frame-{i + 9:06d}-{side}.jpg' for i in range(4)]
        files = [root / f'video_{side}_test/data/{n}' for n in names]
        for i, file in enumerate(files):
            save(file, rgb_image(i) if side == 'rgb' else thermal_image(i))
        setattr(made, side, files)
        pairs[side] = names
        coco = {'images': [{'id': i, 'file_name': f'data/{n}'} for i, n in enumerate(names)],
                'categories': [{'id': 3, 'name': 'car'}],
                'annotations': [{'id': i, 'image_id': i, 'category_id': 3, 'track_id': 7,
                                 'bbox': box(i, shift)} for i in range(4)]}
        write(root / f'video_{side}_test/coco.json', json.dumps(coco))
    write(made.truth, json.dumps(dict(zip(pairs['rgb'], pairs['thermal'], strict=True))))
    return made


def write_video(path: Path, images: list[np.ndarray], fps: float = 20.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), fps, SIZE)
    assert writer.isOpened()
    for image in images:
        writer.write(np.ascontiguousarray(image[..., ::-1]) if image.ndim == 3
                     else np.dstack([image] * 3))
    writer.release()
    return path


def videos(root: Path) -> Made:
    """Six frames, of which frames 1 to 4 are labelled, frame 3 without the target."""
    made = Made(root, 'walk', 4, root / 'tracks/walk.csv')
    made.rgb = [write_video(root / 'visible/a.avi', [rgb_image(i) for i in range(6)])]
    made.thermal = [write_video(root / 'infrared/a.avi', [thermal_image(i) for i in range(6)])]
    write(made.truth, 'video,frame,x,y,w,h\r\n' + ''.join(
        f'a,{i},' + ','.join(f'{v:g}' for v in box(i - 1)) + '\r\n' for i in (1, 2, 4)))
    return made


MAKERS: dict[str, Callable[[Path], Made]] = {
    **{name: how.make for name, how in FOLDERS.items()}, 'kaist': kaist,
    'lsotb_train': lsotb_train, 'flir': flir, 'videos': videos}


def swap(a: Path, b: Path) -> None:
    """Exchange two folders."""
    aside = a.with_name('aside')
    shutil.move(a, aside)
    shutil.move(b, a)
    shutil.move(aside, b)


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> Path:
    """Change a text file's lines, without those that are blank."""
    lines = [line for line in path.read_text('utf-8').splitlines() if line.strip()]
    return write(path, '\n'.join(change(lines)) + '\n')
