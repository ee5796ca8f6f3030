"""Centre head: where the target's centre is, and how far its four edges are from there."""
from __future__ import annotations

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.convnet import ConvBN


class CenterHead(nn.Module):
    """Score map and edge distances (left, top, right, bottom) at every cell.

    Centre heat map after CenterNet (Zhou et al., 2019), edge distances after FCOS (Tian et al.,
    2019): a cell near the centre sees all four edges, so several cells can be trained at once.
    """

    def __init__(self, cin: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.score = nn.Sequential(ConvBN(cin, width), ConvBN(width, width // 2),
                                   nn.Conv2d(width // 2, 1, 1))
        self.edges = nn.Sequential(ConvBN(cin, width), ConvBN(width, width // 2),
                                   nn.Conv2d(width // 2, 4, 1))
        with torch.no_grad():
            _last_bias(self.score).fill_(-4.0)  # almost every cell is background
            _last_bias(self.edges).fill_(3.0)   # about half of a 48 px target

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, S, S) -> logits (B, 1, S, S) and edge distances (B, 4, S, S) in crop px."""
        return self.score(x), F.softplus(self.edges(x).float()) * self.stride

    def boxes(self, edges: Tensor) -> Tensor:
        """Turn edge distances (B, 4, S, S) into corner boxes (B, 4, S, S) in crop px."""
        s = edges.shape[-1]
        c = (torch.arange(s, device=edges.device, dtype=edges.dtype) + 0.5) * self.stride
        x, y = c.view(1, 1, s), c.view(1, s, 1)
        left, top, right, bottom = edges.unbind(1)
        return torch.stack((x - left, y - top, x + right, y + bottom), 1)


def _last_bias(layers: nn.Sequential) -> Tensor:
    last = layers[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    return last.bias
