"""Early fusion of RGB and thermal that knows how far each can be trusted."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.models.convnet import ConvBN


class GatedFusion(nn.Module):
    """Weigh two feature maps by reliabilities learned from both, then merge them.

    The reliabilities are a softmax over the modalities at every place (smoke covers half an
    image), with a missing modality at exactly 0. They are worked out at 1/`pool` of the
    maps' size.
    """

    def __init__(self, width: int, out: int, hidden: int = 16, pool: int = 2) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AvgPool2d(pool), ConvBN(2 * width, hidden, 3), ConvBN(hidden, hidden, 3),
            nn.Conv2d(hidden, 2, 1), nn.Upsample(scale_factor=pool, mode='nearest'))
        self.merge = ConvBN(2 * width, out, 1)

    def forward(self, rgb: Tensor, thermal: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse (B, C, H, W) maps; `present` (B, 2) is 1 where a modality is there.

        :returns: fused map (B, out, H, W), weights (B, 2, H, W) that add up to 1.
        """
        mask = present[:, :, None, None]
        logits = self.gate(torch.cat((rgb * mask[:, :1], thermal * mask[:, 1:]), 1)).float()
        weights = torch.softmax(logits.masked_fill(mask < 0.5, -1e4), 1)
        # times 2: a balanced pair keeps the scale of its features
        w = 2 * weights.to(rgb.dtype)
        fused = self.merge(torch.cat((rgb * w[:, :1], thermal * w[:, 1:]), 1))
        return fused, weights
