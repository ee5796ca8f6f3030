"""Box estimation at every cell, told by the reference what to look for: small, and without the
search that IoU-Net needs.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.models.resnet import Stage, block
from rgbt_tracker_ros.models.roi import roi_pool


class CenterBox(nn.Module):
    """Size and offset maps as a centre head has them (Ye et al., 2022, OSTrack), on test features
    modulated channel by channel.
    """

    def __init__(self, coarse: Stage, width: int, crop: int) -> None:
        """`crop` is the side of the reference crop, px."""
        super().__init__()
        self.stride, self.crop = coarse.stride, crop
        self.reference = block(coarse.channels, width, 3)
        self.vector = nn.Linear(width * 9 + 2, width)
        self.test = block(coarse.channels, width, 3)
        self.size = nn.Sequential(block(width, width, 3), nn.Conv2d(width, 2, 1))
        self.offset = nn.Sequential(block(width, width, 3), nn.Conv2d(width, 2, 1))

    def modulation(self, fine: Tensor, coarse: Tensor, box: Tensor) -> Tensor:
        """Coarse reference map (B, C, S, S), box (B, 4) in crop px -> vector (B, W); `fine` is
        not looked at.
        """
        pooled = roi_pool(self.reference(coarse), box[:, None], 3, self.stride).flatten(1)
        # pooling takes the shape away
        shape = (box[:, 2:] / self.crop).to(pooled.dtype)
        return 1 + torch.tanh(self.vector(torch.cat((pooled, shape), 1)))

    def forward(self, modulation: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Coarse test map -> size (B, 2, S, S) in [0, 1] of the crop, offset (B, 2, S, S) in
        cells, float32.
        """
        x = self.test(coarse) * modulation[:, :, None, None]
        return torch.sigmoid(self.size(x).float()), self.offset(x).float()
