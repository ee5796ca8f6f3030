"""What DiMP does online: views of the template, peaks of the score, refinement of boxes."""
from __future__ import annotations

from collections.abc import Callable
import math

import torch
from torch import Tensor
import torch.nn.functional as F

from rgbt_tracker_ros.models.draws import uniform
from rgbt_tracker_ros.models.iou_net import from_relative

SHIFT = 0.6  # of half the crop
BLURS = ((3.0, 1.0), (1.0, 3.0), (2.0, 2.0))  # sigma (x, y), in px of a crop of 352 px
ROTATIONS = (10.0, -10.0, 45.0, -45.0)  # degrees
DROPOUTS, DROPOUT = 2, 0.2
CLAMP = 1e-4


def template_views(image: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Thirteen views of a template crop to learn a filter from, and the target's box in each.

    Identity, four shifts, mirror, three blurs, four rotations (Bhat et al., 2019, DiMP, online
    tracking); border pixels are repeated. Random extra shifts are left out: the same template
    always gives the same filter.

    :param image: (B, 3, n, n). :param box: (B, 4) x, y, w, h in crop px.
    :returns: (B, 13, 3, n, n) and (B, 13, 4).
    """
    b, size = len(image), image.shape[-1]
    views, boxes = [image], [box]
    step = round(SHIFT * size / 2)
    for dx, dy in ((step, step), (-step, step), (step, -step), (-step, -step)):
        padded = F.pad(image, (step, step, step, step), mode='replicate')
        views.append(padded[..., step - dy:step - dy + size, step - dx:step - dx + size])
        boxes.append(box + box.new_tensor([dx, dy, 0, 0]))
    views.append(image.flip(3))
    boxes.append(torch.stack((size - box[:, 0] - box[:, 2], *box[:, 1:].unbind(1)), 1))
    for sx, sy in BLURS:
        views.append(_blur(image, sx * size / 352, sy * size / 352))
        boxes.append(box)
    for angle in ROTATIONS:
        views.append(_rotate(image, box, math.radians(angle)))
        boxes.append(box)
    assert len(views) == 13
    return torch.stack(views, 1), torch.stack(boxes, 1).view(b, 13, 4)


def _blur(image: Tensor, sigma_x: float, sigma_y: float) -> Tensor:
    """Gaussian blur, sigmas in px."""
    for sigma, horizontal in ((sigma_x, True), (sigma_y, False)):
        reach = max(math.ceil(2 * sigma), 1)
        at = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
        kernel = torch.exp(-0.5 * (at / max(sigma, 1e-3)) ** 2)
        kernel = (kernel / kernel.sum()).view((1, 1, 1, -1) if horizontal else (1, 1, -1, 1))
        pad = (reach, reach, 0, 0) if horizontal else (0, 0, reach, reach)
        channels = image.shape[1]
        image = F.conv2d(F.pad(image, pad, mode='replicate'),
                         kernel.expand(channels, 1, -1, -1), groups=channels)
    return image


def _rotate(image: Tensor, box: Tensor, angle: float) -> Tensor:
    """Rotate by `angle` (radians) around the middle of the box."""
    size = image.shape[-1]
    center = (box[:, :2] + box[:, 2:] / 2) * (2 / size) - 1
    cos, sin = math.cos(angle), math.sin(angle)
    turn = image.new_tensor([[cos, -sin], [sin, cos]])
    shift = center - center @ turn.T
    theta = torch.cat((turn.expand(len(image), 2, 2), shift[:, :, None].to(image.dtype)), 2)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, padding_mode='border', align_corners=False)


def dropped_features(features: Tensor) -> Tensor:
    """Two copies of features (B, C, S, S) with a fifth of the channels at 0: (B, 2, C, S, S).

    Which channels is fixed, so that the same template gives the same filter.
    """
    number = torch.arange(DROPOUTS, device=features.device)
    keep = (uniform(0, number, features.shape[1], stream=42) >= DROPOUT).to(features.dtype)
    return features[:, None] * (keep / (1 - DROPOUT))[None, :, :, None, None]


def subnode_peaks(scores: Tensor) -> Tensor:
    """Offsets (B, 2, n, n) x, y within half a node from each node to the peak of the parabola
    through it and its neighbours; 0 where it is no peak.
    """
    def along(before: Tensor, after: Tensor) -> Tensor:
        bend = before + after - 2 * scores
        offset = 0.5 * (before - after) / bend.clamp(max=-1e-6)
        return torch.where(bend < -1e-6, offset, torch.zeros_like(offset)).clamp(-0.5, 0.5)

    p = F.pad(scores, (1, 1, 1, 1), mode='replicate')
    return torch.cat((along(p[..., 1:-1, :-2], p[..., 1:-1, 2:]),
                      along(p[..., :-2, 1:-1], p[..., 2:, 1:-1])), 1)


def best_nodes(scores: Tensor, count: int) -> Tensor:
    """Flat numbers (B, count) of the highest local maxima of (B, 1, n, n), best first."""
    peak = F.max_pool2d(scores, 3, 1, 1) == scores
    return scores.masked_fill(~peak, -math.inf).flatten(1).topk(count, 1).indices


def to_logits(scores: Tensor) -> Tensor:
    """Logits whose sigmoid is the score, cut off to [1e-4, 1 - 1e-4]."""
    p = scores.float().clamp(CLAMP, 1 - CLAMP)
    return torch.log(p) - torch.log1p(-p)


def ascend(score: Callable[[Tensor], Tensor], boxes: Tensor, steps: int, rate: float) -> Tensor:
    """Move boxes (B, K, 4) up the gradient of their scores, in relative coordinates.

    Needs no graph around it, and works under `torch.inference_mode`. A step is at most a tenth
    of the box; a box that ends with a lower score than it began with is given back as it was.

    :param score: (B, K, 4) x, y, w, h -> (B, K); must not use tensors made in inference mode.
    :returns: (B, K, 4) boxes and their scores last: (B, K, 5).
    """
    with torch.inference_mode(False), torch.enable_grad():
        reference = boxes.clone()
        relative = torch.zeros_like(reference).requires_grad_()
        first = None
        for _ in range(steps):
            value = score(from_relative(relative, reference))
            first = value.detach() if first is None else first
            slope, = torch.autograd.grad(value.sum(), relative)
            relative = (relative + (rate * slope).clamp(-0.1, 0.1)).detach().requires_grad_()
        with torch.no_grad():
            moved = from_relative(relative, reference)
            last = score(moved)
            if first is not None:
                worse = (last < first) | ~torch.isfinite(last)
                moved = torch.where(worse[..., None], reference, moved)
                last = torch.where(worse, first, last)
            return torch.cat((moved, last[..., None].to(moved.dtype)), -1)


def refine(score: Callable[[Tensor], Tensor], boxes: Tensor, proposals: int, steps: int,
           rate: float) -> Tensor:
    """Refine boxes (B, P, 4): each from itself and `proposals` - 1 boxes around it.

    Centres are up to 0.1 sqrt(w h) away and sides up to 0.5 sqrt(w h) longer or shorter, the same
    ones every time. The result is the mean of the best three, without those of an aspect above 6.
    """
    b, p = boxes.shape[:2]
    around = 2 * uniform(0, torch.arange(proposals, device=boxes.device), 4, stream=43) - 1
    around[0] = 0
    unit = (boxes[..., 2:3] * boxes[..., 3:4]).sqrt()[:, :, None]
    size = boxes[:, :, None, 2:]
    moved = torch.maximum(size + 0.5 * unit * around[:, 2:], size / 3)
    center = boxes[:, :, None, :2] + size / 2 + 0.1 * unit * around[:, :2]
    starts = torch.cat((center - moved / 2, moved), -1)
    found = ascend(score, starts.flatten(1, 2), steps, rate).view(b, p, proposals, 5)
    aspect = (found[..., 2] / found[..., 3]).log().abs()
    value = found[..., 4].masked_fill(aspect > math.log(6), -math.inf)
    best = value.topk(min(3, proposals), -1)
    # the mean of those left; where none is, the box as it came
    weight = torch.isfinite(best.values).to(boxes.dtype)[..., None]
    chosen = found[..., :4].gather(2, best.indices[..., None].expand(-1, -1, -1, 4))
    mean = (chosen * weight).sum(2) / weight.sum(2).clamp(min=1)
    return torch.where(weight.sum(2) > 0, mean, boxes)

