"""Matching by correlation: the template's features are the kernel (SiamFC, SiamRPN++)."""
from __future__ import annotations

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.resnet import block
from rgbt_tracker_ros.models.roi import cell_cover, roi_pool


def depthwise_xcorr(search: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every channel with its own kernel (Li et al., 2019, SiamRPN++).

    :param search: (B, C, S, S). :param kernel: (B, C, k, k), k odd.
    :returns: (B, C, S, S): zeros around the map; divided by k^2, so that it is a mean.
    """
    b, c, height, width = search.shape
    k = kernel.shape[-1]
    # one group for each sample's channel
    out = F.conv2d(search.reshape(1, b * c, height, width),
                   kernel.to(search.dtype).reshape(b * c, 1, k, k) / k ** 2,
                   padding=k // 2, groups=b * c)
    return out.reshape(b, c, height, width)


class Matcher(nn.Module):
    """Template and search map to the map a head reads.

    The kernel is read around the target's centre at the template's own pitch, however large the
    box is; a map of what the box covers tells target from background.
    """

    def __init__(self, cin: int, width: int, kernel: int, stride: int) -> None:
        """:raises ValueError: if `kernel` (cells) is even: its middle would be between cells."""
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f'kernel is {kernel} cells; use an odd number')
        self.kernel, self.stride = kernel, stride
        # no ReLU: the kernel may also speak against a feature
        self.template = block(cin + 1, width, 3)[:2]
        self.search = block(cin, width, 3)
        self.join = block(2 * width, width, 1)

    def encode(self, x: Tensor, box: Tensor) -> Tensor:
        """Template map (B, C, s, s), box (B, 4) x, y, w, h in crop px -> kernel (B, W, k, k)."""
        cover = cell_cover(box, x.shape[-1], self.stride).to(x.dtype)
        y = self.template(torch.cat((x, cover), 1))
        side = self.kernel * self.stride
        corner = box[:, :2] + box[:, 2:] / 2 - side / 2
        square = torch.cat((corner, torch.full_like(corner, float(side))), 1)
        return roi_pool(y, square[:, None], self.kernel, self.stride, samples=1)[:, 0]

    def forward(self, kernel: Tensor, x: Tensor) -> Tensor:
        """Kernel and search map (B, C, S, S) -> (B, W, S, S)."""
        y = self.search(x)
        return self.join(torch.cat((depthwise_xcorr(y, kernel), y), 1))

    def products(self, kernel: Tensor, x: Tensor) -> int:
        """Multiply-accumulates of the correlation."""
        return kernel.numel() * x.shape[2] * x.shape[3]
