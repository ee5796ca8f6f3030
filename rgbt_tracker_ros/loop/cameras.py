"""What the cameras of the loop see: sequences to record, others to be tested on, and the clip.

Everything is there twice, as the original cameras show it and through a camera style.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import cv2

from rgbt_tracker_ros.data.camera_style import STYLES
from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
from rgbt_tracker_ros.data.sources import PairSource
from rgbt_tracker_ros.evaluation.opening import Opening
from rgbt_tracker_ros.types import Pair

STYLE = 'dusk'
SUITE = 'aligned'   # something of everything, the two images on one another but for the style
RECORDED, TESTED = 30_000, 40_000   # seeds: apart from each other, the benchmark and the claims
SIZE = (320, 240)   # px, of all images of the new cameras
CLIP, CLIP_FRAMES = 'smoke', 133
CLIP_FROM = 400     # pairs of a recording that is worth the clip
LENGTH = 60         # pairs of a made-up sequence
TESTS = 20          # made-up sequences


@dataclass(frozen=True)
class Take:
    """A sequence that is played to the recorder: its name, how many pairs it has, and what tells
    rgbt_player to play it.
    """

    name: str
    pairs: int
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is recorded and tested: `videos` made-up ones of `length` pairs, and the clip.

    `folder` is where the clip lies as the new cameras show it.
    """

    seed: int
    folder: Path
    videos: int
    length: int
    tests: int
    clip: bool

    @classmethod
    def of(cls, pairs: int, seed: int, folder: Path) -> Plan:
        """Plan a recording of about so many pairs."""
        clip = pairs >= CLIP_FROM
        rest = pairs - CLIP_FRAMES * clip
        videos = max(2, round(rest / LENGTH))
        return cls(seed, folder, videos, max(2, min(LENGTH, rest // videos)),
                   min(TESTS, max(2, pairs // 60)), clip)

    def takes(self) -> Iterator[Take]:
        """Yield what is recorded, the clip first: what comes last is kept aside by `distill`."""
        if self.clip:
            yield Take(CLIP, CLIP_FRAMES, {'layout': 'folder', 'sequence': CLIP,
                                           'root': str(self.folder.absolute())})
        options = self._made_up(RECORDED, self.videos, STYLE)
        for number in range(1, self.videos + 1):
            name = f'{SUITE}_{number:02d}'
            yield Take(name, self.length, {'layout': 'synthetic', 'sequence': name,
                                           'options': json.dumps(options)})

    def tested(self, restyled: bool) -> dict[str, Opening]:
        """Return the data sets that are tested on: by the new cameras, or the original ones."""
        options = self._made_up(TESTED, self.tests, STYLE if restyled else None)
        made_up = Opening('synthetic', '', tuple(options.items()))
        if not self.clip:
            return {'made-up videos': made_up}
        clip = Opening('folder', str(self.folder)) if restyled else Opening(
            'videos', str(SMOKE.rgb.parent))
        return {'made-up videos': made_up, 'clip': clip}

    def _made_up(self, first: int, count: int, style: str | None) -> dict[str, Any]:
        options = {'suite': SUITE, 'sequences': count, 'frames': self.length,
                   'seed': first + self.seed}
        return options | ({'style': style} if style else {})

    def write_clip(self) -> None:
        """Write the clip as the new cameras show it, in layout `folder`, unless it is there.

        :raises OSError: if it can't be written.
        """
        truth = self.folder / CLIP / 'groundtruth.txt'     # written last
        if not self.clip or truth.is_file():
            return
        boxes, rows = read_boxes(SMOKE.groundtruth), []
        for index, pair in enumerate(PairSource(SMOKE.rgb, SMOKE.thermal)):
            width, height = pair.size
            scale = SIZE[0] / width, SIZE[1] / height
            seen = STYLES[STYLE].apply(_small(pair), index, CLIP)
            assert seen.rgb is not None and seen.thermal is not None
            for name, image in (('rgb', seen.rgb[..., ::-1]), ('thermal', seen.thermal)):
                file = truth.parent / name / f'{index:04d}.png'
                file.parent.mkdir(parents=True, exist_ok=True)
                if not cv2.imwrite(str(file), image):
                    raise OSError(f"{file} can't be written; is the disk full?")
            box = boxes[index].as_tuple() if index in boxes else (0.0,) * 4
            rows.append(','.join(f'{v * scale[i % 2]:.2f}' for i, v in enumerate(box)))
        part = truth.with_suffix('.part')
        part.write_text('\n'.join(rows) + '\n', encoding='utf-8')
        part.replace(truth)


def _small(pair: Pair) -> Pair:
    rgb, thermal = (None if i is None else cv2.resize(i, SIZE, interpolation=cv2.INTER_AREA)
                    for i in (pair.rgb, pair.thermal))
    return Pair(rgb, thermal, pair.stamp, pair.skew)
