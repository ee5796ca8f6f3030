"""Boxes for pairs without labels: the three generators of CMD-TIR (Sun et al., ACM MM 2021).

- `center`: one region in the middle of the picture;
- `random`: five squares, away from the border and from one another;
- `detector`: what detectors find in both modalities, without duplicates, or else `random`.

Everything is a batch: boxes are (B, BOXES, 4), x, y, w, h. Sizes are in parts of the picture's
height: published are 100 x 200 and 100 x 100 px of 512.
"""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rgbt_tracker_ros.data.random import Draws

BOXES = 5
GENERATORS = ('center', 'random', 'detector')
SIDE = 100 / 512
_DUPLICATE = 0.8  # IoU above which two detections are one
_OTHERS = 2       # detections of anything but persons, at most


class Detections(NamedTuple):
    """What detectors found in B pairs, both modalities together: `boxes` (B, N, 4), `score`
    (B, N), whether it is a `person` (B, N), and whether the place in the list is used, `there`.
    """

    boxes: Tensor
    score: Tensor
    person: Tensor
    there: Tensor


def center_boxes(size: Tensor) -> Tensor:
    """Return the same upright region in the middle five times, for pictures of `size` (B, 2)."""
    side = size[:, 1] * SIDE
    box = torch.stack((size[:, 0] * 0.5 - side * 0.5, size[:, 1] * 0.5 - side,
                       side, side * 2.0), 1)
    return box[:, None].repeat(1, BOXES, 1)


def random_boxes(draws: Draws, size: Tensor) -> Tensor:
    """Return five squares whose left top corners are a side or more from the border, and as far
    from one another in x where the picture (`size` (B, 2): width, height) is wide enough.

    It is the corner, not the whole square: five at 100 px do not fit 640 px otherwise.
    """
    side = size[:, 1:] * SIDE
    room = (size[:, :1] - side * 2.0).clamp(min=0.0)
    gap = torch.minimum(side, room * (1 / (BOXES - 1)))
    # sorted draws from what the gaps leave are uniform over all arrangements that keep them
    x = draws.uniform('pseudo x', BOXES).sort(1).values * (room - gap * (BOXES - 1))
    x = x + torch.arange(BOXES, device=x.device) * gap + side
    y = draws.uniform('pseudo y', BOXES) * (size[:, 1:] - side * 2.0) + side
    return torch.stack((x, y, side.expand_as(x), side.expand_as(x)), 2)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the overlaps of boxes (..., 4): intersection over union."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    side = (high - low).clamp(min=0.0)
    common = side[..., 0] * side[..., 1]
    both = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - common
    return common / both.clamp(min=1e-12)


def detected_boxes(draws: Draws, size: Tensor, found: Detections) -> Tensor:
    """Return five boxes out of detections.

    Of detections that overlap by more than 0.8 the surest stays. Then, by score: up to two that
    are no persons, persons up to five in all, and the same again from the start up to five. A
    picture with none has random boxes.
    """
    if not found.score.shape[1]:
        return random_boxes(draws, size)
    score = found.score.masked_fill(~found.there, -1.0)
    order = score.argsort(dim=1, descending=True, stable=True)
    boxes = found.boxes.gather(1, order[..., None].expand(-1, -1, 4))
    person, there = found.person.gather(1, order), found.there.gather(1, order)
    alike = iou(boxes[:, :, None], boxes[:, None]) > _DUPLICATE
    kept = there.clone()
    for i in range(1, kept.shape[1]):
        kept[:, i] &= ~(alike[:, i, :i] & kept[:, :i]).any(1)
    others, persons = kept & ~person, kept & person
    others &= others.cumsum(1) <= _OTHERS
    persons &= persons.cumsum(1) <= BOXES - others.sum(1, keepdim=True)
    chosen = others | persons
    # the chosen to the front, others before persons; a stable sort keeps their order by score
    rank = torch.where(others, 0, torch.where(persons, 1, 2))
    first = rank.argsort(dim=1, stable=True)
    count = chosen.sum(1, keepdim=True)
    slot = torch.arange(BOXES, device=count.device) % count.clamp(min=1)
    picked = boxes.gather(1, first.gather(1, slot)[..., None].expand(-1, -1, 4))
    return torch.where((count > 0)[..., None], picked, random_boxes(draws, size))


def pseudo_boxes(generator: str, draws: Draws, size: Tensor, found: Detections | None) -> Tensor:
    """Return (B, BOXES, 4) by one of GENERATORS; `found` is what `detector` needs."""
    if generator == 'center':
        return center_boxes(size)
    if generator == 'random':
        return random_boxes(draws, size)
    assert generator == 'detector' and found is not None
    return detected_boxes(draws, size, found)
