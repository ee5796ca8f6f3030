"""What the tests of the tracker share: a network that sees what is bright, and its scenes."""
from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from rgbt_tracker_ros.models.student import StudentConfig
from rgbt_tracker_ros.runtime.eager import Response
from rgbt_tracker_ros.types import Box, Pair

STEP = 33_333_333  # ns
SURE, UNSURE, BLIND = 6.0, 0.0, -6.0  # logits: confidence 0.998, 0.5, 0.002


class Oracle:
    """Answers with the bounding box of what is white: in RGB where there is RGB, else in thermal.

    `logit` is how sure it is of what it sees; of an empty crop it is sure that nothing is there.
    """

    config = StudentConfig()
    device, name = 'cpu', 'oracle'
    logit = SURE
    fails = False
    asked = 0

    def __init__(self):
        self.info = {}

    def encode(self, rgb, thermal, box):
        if self.fails:
            raise RuntimeError('out of memory')
        share = 0.5 if rgb is not None and thermal is not None else float(thermal is not None)
        return SimpleNamespace(weights=np.array([[1 - share, share]]))

    def search(self, template, rgb, thermal):
        self.asked += 1
        size, stride = self.config.search_size, self.config.stride
        cells = size // stride
        rows, columns = np.nonzero((rgb.min(2) if rgb is not None else thermal) > 200)
        logits = np.full((cells, cells), BLIND, np.float32)
        boxes = np.zeros((4, cells, cells), np.float32)
        boxes[2:] = 48
        if len(rows):
            x1, y1, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            boxes[:] = np.reshape((x1, y1, x2, y2), (4, 1, 1))
            row, column = (min(v // (2 * stride), cells - 1) for v in (y1 + y2, x1 + x2))
            logits[row, column] = self.logit
        share = 0.5 if rgb is not None and thermal is not None else float(thermal is not None)
        return Response(logits, boxes, np.full((cells * 2, cells * 2), share, np.float32))


def scene(box: Box, size=(640, 480), thermal_size=None, number=0, names='rgb thermal') -> Pair:
    """A white rectangle on noise in both images, the thermal one scaled to its own size."""
    rng = np.random.default_rng(number)
    images = {}
    for name, (w, h) in (('rgb', size), ('thermal', thermal_size or size)):
        sx, sy = w / size[0], h / size[1]
        image = rng.integers(20, 60, (h, w), dtype=np.uint8)
        x1, x2 = (round(max(v, 0) * sx) for v in (box.x, box.x + box.w))
        y1, y2 = (round(max(v, 0) * sy) for v in (box.y, box.y + box.h))
        image[y1:y2, x1:x2] = 255
        images[name] = image
    return Pair(np.dstack([images['rgb']] * 3) if 'rgb' in names else None,
                images['thermal'] if 'thermal' in names else None, number * STEP)


def moved(box: Box, step: tuple[float, float], times: int = 1) -> Box:
    return replace(box, x=box.x + step[0] * times, y=box.y + step[1] * times)
