"""Blocks of the compact convolutional backbone."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.models.norm import BatchNorm2d


class ConvBN(nn.Sequential):
    """3x3 or 1x1 convolution, batch norm and, unless `act` is False, ReLU."""

    def __init__(self, cin: int, cout: int, kernel: int = 3, stride: int = 1,
                 act: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False), BatchNorm2d(cout)]
        if act:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., 2016, ResNet-18)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(width, width)
        self.conv2 = ConvBN(width, width, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.conv2(self.conv1(x)))


def stage(cin: int, cout: int, blocks: int) -> nn.Sequential:
    """Halve the resolution, then refine: (B, cin, H, W) -> (B, cout, H/2, W/2)."""
    return nn.Sequential(ConvBN(cin, cout, stride=2), *(BasicBlock(cout) for _ in range(blocks)))


def channels_last(module: nn.Module) -> None:
    """Lay out the weights channels last, in place: faster convolutions on CPU and GPU."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
