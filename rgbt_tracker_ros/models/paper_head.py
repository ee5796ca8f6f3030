"""Centre head of the transformer trackers: three towers for score, size and offset.

After OSTrack (Ye et al., 2022, following CenterNet). A cell (i, j) with offset o stands for the
centre ((i + o_x) / S, (j + o_y) / S) of the crop: a cell's number is its upper left corner, and
the target's cell is the nearest number, so that offsets are in [-0.5, 0.5].
"""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.models.norm import BatchNorm2d


class Maps(NamedTuple):
    """`score` (B, 1, S, S) logits, `size` (B, 2, S, S) w, h in [0, 1] of the crop, `offset`
    (B, 2, S, S) x, y in cells.
    """

    score: Tensor
    size: Tensor
    offset: Tensor


class TowerHead(nn.Module):
    """Towers of (conv 3x3, batch norm, ReLU) with the given widths, then conv 1x1.

    The reference's 3x3 convolutions have biases, which the batch norms behind them take away
    again: their gradients are rounding errors, which Adam would turn into full steps. Here they
    have none; `pretrained` puts a checkpoint's into the norms' running means.
    """

    def __init__(self, cin: int, widths: Sequence[int] = (256, 128, 64, 32)) -> None:
        super().__init__()
        self.cin = cin
        self.score = _tower(cin, widths, 1)
        self.size = _tower(cin, widths, 2)
        self.offset = _tower(cin, widths, 2)
        # CenterNet's prior: about one cell in ten is the target's
        nn.init.constant_(self.score[-1].bias, -2.19)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Maps:
        """(B, cin, S, S) -> maps in float32."""
        return Maps(self.score(x).float(), torch.sigmoid(self.size(x).float()),
                    self.offset(x).float())


def _tower(cin: int, widths: Sequence[int], outputs: int) -> nn.Sequential:
    every = (cin, *widths)
    tower = nn.Sequential(
        *(nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), BatchNorm2d(b),
                        nn.ReLU(inplace=True)) for a, b in pairwise(every)),
        nn.Conv2d(every[-1], outputs, 1))
    for module in tower.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
    return tower


def corner_boxes(size: Tensor, offset: Tensor, crop: int) -> Tensor:
    """Turn size and offset maps into corner boxes x1, y1, x2, y2 (B, 4, S, S) in crop px."""
    s = offset.shape[-1]
    c = torch.arange(s, device=offset.device, dtype=offset.dtype)
    x = (c.view(1, 1, s) + offset[:, 0]) / s * crop
    y = (c.view(1, s, 1) + offset[:, 1]) / s * crop
    w, h = size[:, 0] * crop, size[:, 1] * crop
    return torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), 1)


def decode(score: Tensor, size: Tensor, offset: Tensor) -> Tensor:
    """Read the box at the highest score, as OSTrack does: (B, 4) x1, y1, x2, y2 as shares of the
    crop.

    Gradients reach that one cell of `size` and `offset`.
    """
    best = score.flatten(1).argmax(1)
    boxes = corner_boxes(size, offset, 1).flatten(2)
    return boxes.gather(2, best[:, None, None].expand(-1, 4, 1)).squeeze(2)
