"""Where the target is and how large: the supervised losses of centre heads.

Centre-head networks answer with score logits (B, 1, S, S), sizes (B, 2, S, S) in units of the
crop and offsets (B, 2, S, S) in cells; boxes are x, y, w, h in units of the crop ([0, 1]).
Every loss is a mean over samples of something per sample, so that the mean over parts of a
batch is the loss of the batch.
"""
from __future__ import annotations

import torch
from torch import Tensor

from rgbt_tracker_ros.models.paper_head import decode

CLAMP = 1e-4


def gaussian_radius(w: Tensor, h: Tensor, overlap: float = 0.7) -> Tensor:
    """Radius in whole cells within which a corner may move and keep an IoU of `overlap`.

    As in CornerNet (Law & Deng, 2018, and OSTrack after it), whose roots are not divided by 2a;
    kept for parity. `w`, `h` in cells.
    """
    b1, c1 = h + w, w * h * (1 - overlap) / (1 + overlap)
    b2, c2 = 2 * (h + w), (1 - overlap) * w * h
    b3, c3 = -2 * overlap * (h + w), (overlap - 1) * w * h
    roots = torch.stack(((b1 + (b1.square() - 4 * c1).clamp(min=0).sqrt()) / 2,
                         (b2 + (b2.square() - 16 * c2).clamp(min=0).sqrt()) / 2,
                         (b3 + (b3.square() - 16 * overlap * c3).clamp(min=0).sqrt()) / 2))
    return roots.min(0).values.floor().clamp(min=0)


def gaussian_target(box: Tensor, cells: int) -> Tensor:
    """Heat map of OSTrack (Ye et al., 2022, sec. 3.3): 1 at the cell nearest to the centre.

    :param box: (B, 4) x, y, w, h in units of the crop.
    :returns: (B, 1, cells, cells); sigma (2 radius + 1) / 6, zero beyond the radius.
    """
    box = box.float() * cells
    radius = gaussian_radius(box[:, 2], box[:, 3])[:, None]
    center = (box[:, :2] + box[:, 2:] / 2).round().clamp(0, cells - 1)
    d = torch.arange(cells, device=box.device) - center[..., None]      # (B, 2, cells)
    g = torch.exp(-d.square() / (2 * ((2 * radius + 1) / 6).square()[..., None]))
    g = g * (d.abs() <= radius[..., None])
    return (g[:, 1, :, None] * g[:, 0, None, :])[:, None]


def center_target(boxes: Tensor, size: int, stride: int) -> Tensor:
    """Gaussian heat map around the centre of each box, 1 at the nearest cell.

    :param boxes: (B, 4) x, y, w, h in crop px.
    :returns: (B, 1, size, size); sigma is a tenth of the box's side, at least 0.6 cells.
    """
    cells = torch.arange(size, device=boxes.device, dtype=boxes.dtype)
    center = (boxes[:, :2] + boxes[:, 2:] / 2) / stride - 0.5
    center = center.round()
    sigma = (0.1 * boxes[:, 2:] / stride).clamp(min=0.6)
    d = (cells[None, None] - center[..., None]) / sigma[..., None]  # (B, 2, size)
    g = torch.exp(-d.square() / 2)
    return (g[:, 1, :, None] * g[:, 0, None, :])[:, None]


def focal(logits: Tensor, target: Tensor, alpha: float = 2.0, beta: float = 4.0) -> Tensor:
    """Penalty-reduced focal loss of CenterNet (Zhou et al., 2019, eq. 1), per sample.

    Probabilities are clamped to [1e-4, 1 - 1e-4], as in OSTrack.

    :param logits: (B, 1, S, S). :param target: the same shape, in [0, 1], exactly 1 at centres.
    :returns: (B,) sums over the cells; there is one centre in a sample, or none.
    """
    p = logits.float().sigmoid().clamp(CLAMP, 1 - CLAMP)
    hit = (target >= 1 - 1e-4).to(p.dtype)
    loss = hit * (1 - p) ** alpha * p.log() \
        + (1 - hit) * (1 - target) ** beta * p ** alpha * (1 - p).log()
    return -loss.flatten(1).sum(1)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., 2019) of corner boxes (..., 4): values in (-1, 1]."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    area = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1) + \
        (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    union = (area - inter).clamp(min=1e-6)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2]))
    hull_area = hull.clamp(min=0).prod(-1).clamp(min=1e-6)
    return inter / union - (hull_area - union) / hull_area


def corners(box: Tensor) -> Tensor:
    """Turn x, y, w, h (B, 4) into corners."""
    return torch.cat((box[:, :2], box[:, :2] + box[:, 2:]), 1)


def task_parts(score: Tensor, size: Tensor, offset: Tensor, box: Tensor) -> dict[str, Tensor]:
    """OSTrack's three losses per sample (B,): `focal`, `giou` and `l1` of the box at the peak.

    The target's corners are clamped to the crop.
    """
    found = decode(score, size, offset)
    wanted = corners(box.float()).clamp(0, 1)
    return {'focal': focal(score, gaussian_target(box, score.shape[-1])),
            'giou': 1 - giou(found, wanted), 'l1': (found - wanted).abs().mean(1)}


def task_per_sample(score: Tensor, size: Tensor, offset: Tensor, box: Tensor,
                    giou_weight: float = 2.0, l1_weight: float = 5.0) -> Tensor:
    """L_foc + 2 L_giou + 5 L_1 of every sample: (B,)."""
    parts = task_parts(score, size, offset, box)
    return parts['focal'] + giou_weight * parts['giou'] + l1_weight * parts['l1']


def task(score: Tensor, size: Tensor, offset: Tensor, box: Tensor, focal_weight: float = 1.0,
         giou_weight: float = 2.0, l1_weight: float = 5.0) -> dict[str, Tensor]:
    """Task loss of OSTrack (Ye et al., 2022, eq. 4): L_foc + 2 L_giou + 5 L_1.

    `focal_weight` 0 trains the box alone, where the score has a loss of its own.

    :param box: (B, 4) x, y, w, h in units of the crop.
    :returns: `loss` and its three parts.
    """
    parts = {k: v.mean() for k, v in task_parts(score, size, offset, box).items()}
    total = focal_weight * parts['focal'] + giou_weight * parts['giou'] \
        + l1_weight * parts['l1']
    return {'loss': total} | parts


def box_loss(predicted: Tensor, boxes: Tensor, target: Tensor, least: float = 0.3) -> Tensor:
    """1 - GIoU per sample (B,), averaged over the cells near the centre by the heat map.

    :param predicted: (B, 4, S, S) corner boxes in crop px.
    :param boxes: (B, 4) x, y, w, h in crop px.
    :param target: (B, 1, S, S); 0 everywhere for absent targets, whose loss is 0.
    """
    quality = giou(predicted.float().permute(0, 2, 3, 1), corners(boxes)[:, None, None])
    weight = target[:, 0] * (target[:, 0] >= least)
    return ((1 - quality) * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1)


def dense_task(score: Tensor, boxes: Tensor, box: Tensor, visible: Tensor | None = None,
               boxed: Tensor | None = None, box_weight: float = 2.0,
               stride: int = 8) -> dict[str, Tensor]:
    """Score and edge distances, trained at all cells near the centre (FCOS, Tian et al., 2019).

    :param score: (B, 1, S, S) logits. :param boxes: (B, 4, S, S) predicted corners in crop px.
    :param box: (B, 4) x, y, w, h in crop px.
    :param visible: (B,) 1 where the target is in the search crop, 0 where it is not.
    :param boxed: (B,) 1 where the edges of the box are to be learned, 0 where its place alone is.
    :returns: `loss` = score + box_weight * box, and both parts.
    """
    target = center_target(box.float(), score.shape[-1], stride)
    if visible is not None:
        target = target * visible[:, None, None, None]
    where, edges = focal(score, target).mean(), box_loss(boxes, box, target)
    edges = (edges if boxed is None else edges * boxed).mean()
    return {'loss': where + box_weight * edges, 'score': where, 'box': edges}


def dense_per_sample(score: Tensor, boxes: Tensor, box: Tensor, box_weight: float = 2.0,
                     stride: int = 8) -> Tensor:
    """The loss of `dense_task` of every sample with a target in sight: (B,)."""
    target = center_target(box.float(), score.shape[-1], stride)
    return focal(score, target) + box_weight * box_loss(boxes, box, target)
