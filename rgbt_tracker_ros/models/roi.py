"""Pooling of boxes out of feature maps, differentiable in features and boxes."""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
import torch.nn.functional as F


def no_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Compute in the tensors' own precision from here on, on the device of `x`."""
    if x.device.type == 'meta':  # knows no autocast
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def roi_pool(features: Tensor, boxes: Tensor, bins: int, stride: float,
             samples: int = 4) -> Tensor:
    """Mean of bilinearly interpolated features in `bins` x `bins` parts of every box.

    What precise RoI pooling (Jiang et al., 2018, IoU-Net) integrates is here the mean over
    `samples` x `samples` points a bin (midpoint rule), read by `grid_sample`. It has a gradient
    with respect to the boxes. Outside of the map features are 0. Computed in float32.

    :param features: (B, C, H, W); cell (j, i) is at ((i + 0.5) * stride, (j + 0.5) * stride).
    :param boxes: (B, K, 4) x, y, w, h in crop px.
    :param stride: crop px per cell.
    :returns: (B, K, C, bins, bins) in the features' dtype.
    """
    b, k = boxes.shape[:2]
    c, height, width = features.shape[1:]
    n = bins * samples
    with no_autocast(features):
        boxes = boxes.float()
        at = (torch.arange(n, device=boxes.device, dtype=torch.float32) + 0.5) / n
        # -1 and 1 are the outer edges of the map
        x = (boxes[..., 0:1] + boxes[..., 2:3] * at) * (2 / (stride * width)) - 1
        y = (boxes[..., 1:2] + boxes[..., 3:4] * at) * (2 / (stride * height)) - 1
        grid = torch.stack((x[:, :, None, :].expand(b, k, n, n),
                            y[:, :, :, None].expand(b, k, n, n)), -1)
        read = F.grid_sample(features.float(), grid.reshape(b, k * n, n, 2), mode='bilinear',
                             padding_mode='zeros', align_corners=False)
        pooled = F.avg_pool2d(read, samples) if samples > 1 else read
    pooled = pooled.reshape(b, c, k, bins, bins).transpose(1, 2)
    return pooled.to(features.dtype)


def cell_cover(boxes: Tensor, cells: int, stride: int) -> Tensor:
    """Share of every cell that a box covers: (B, 4) x, y, w, h in crop px -> (B, 1, S, S) float32.

    The far edges are added up in the boxes' own precision, and rounded to float32 once.
    """
    edges = torch.arange(cells + 1, dtype=torch.float32, device=boxes.device) * stride
    low = torch.maximum(edges[:-1], boxes[:, :2, None].float())
    high = torch.minimum(edges[1:], (boxes[:, :2] + boxes[:, 2:])[:, :, None].float())
    cover = (high - low).clamp(min=0) / stride  # (B, 2, S): along x, along y
    return (cover[:, 1, :, None] * cover[:, 0, None, :])[:, None]
