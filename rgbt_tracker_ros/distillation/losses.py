"""Losses as pure functions on tensors."""
from __future__ import annotations

import torch
from torch import Tensor
import torch.nn.functional as F


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
    """Penalty-reduced focal loss of CenterNet (Zhou et al., 2019, eq. 1), mean over the batch.

    :param logits: (B, 1, S, S). :param target: the same shape, in [0, 1], exactly 1 at centres.
    """
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    p = log_p.exp()
    hit = (target >= 1 - 1e-4).to(p.dtype)
    loss = hit * (1 - p) ** alpha * log_p + (1 - hit) * (1 - target) ** beta * p ** alpha * log_q
    return -loss.sum() / max(len(logits), 1)


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


def box_loss(predicted: Tensor, boxes: Tensor, target: Tensor, least: float = 0.3) -> Tensor:
    """1 - GIoU, averaged over the cells near the centre, weighted by the heat map.

    :param predicted: (B, 4, S, S) corner boxes in crop px.
    :param boxes: (B, 4) x, y, w, h. :param target: (B, 1, S, S); 0 everywhere for absent targets.
    """
    corners = torch.cat((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1)
    quality = giou(predicted.permute(0, 2, 3, 1), corners[:, None, None])
    weight = target[:, 0] * (target[:, 0] >= least)
    return ((1 - quality) * weight).sum() / weight.sum().clamp(min=1)


def task_loss(logits: Tensor, predicted: Tensor, boxes: Tensor, visible: Tensor,
              stride: int) -> dict[str, Tensor]:
    """Where the target is and how large: `score` and `box` terms and their weighted sum, `loss`.

    :param visible: (B,) 1 where the target is in the search crop, 0 where it is not.
    """
    target = center_target(boxes, logits.shape[-1], stride) * visible[:, None, None, None]
    score, box = focal(logits, target), box_loss(predicted, boxes, target)
    return {'loss': score + 2 * box, 'score': score, 'box': box}
