"""Residual networks (He et al., 2016) that give the map of every stage.

Parameters are named as torchvision's, so that a user's ImageNet checkpoint fits: `conv1`, `bn1`,
`layer{1-4}.{block}.{conv,bn}{1-3}`, `layer{1-4}.0.downsample.{0,1}`.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.norm import BatchNorm2d


def block(cin: int, cout: int, kernel: int, padding: int | None = None) -> nn.Sequential:
    """Convolution (its map stays as large unless `padding` is given), batch norm, ReLU."""
    pad = kernel // 2 if padding is None else padding
    return nn.Sequential(nn.Conv2d(cin, cout, kernel, padding=pad, bias=False), BatchNorm2d(cout),
                         nn.ReLU())


@dataclass(frozen=True)
class ResNetShape:
    """Sizes of a residual network.

    :param widths: of the stages, inside the blocks; a bottleneck stage gives 4 times as many.
    :param blocks: of the stages. :param stem: channels after the first convolution.
    :param large_stem: 7x7 convolution and max pooling (stride 4) instead of one 3x3 of stride 2.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    stem: int = 64
    bottleneck: bool = False
    large_stem: bool = True


SHAPES = {
    'resnet18': ResNetShape((64, 128, 256, 512), (2, 2, 2, 2)),
    'resnet50': ResNetShape((64, 128, 256, 512), (3, 4, 6, 3), bottleneck=True),
    # from scratch on small crops: stride 2 after the stem
    'small': ResNetShape((24, 48, 64, 96), (1, 1, 1, 1), stem=16, large_stem=False),
    'tiny': ResNetShape((16, 32, 48, 64), (0, 0, 0, 0), stem=12, large_stem=False),
}


def shape_of(name: str, widths: tuple[int, ...] = (), blocks: tuple[int, ...] = (),
             stages: int = 4) -> ResNetShape:
    """Return the first `stages` stages of a shape by name; `widths` and `blocks` override it.

    :raises ValueError: unknown name, or numbers of stages that do not agree.
    """
    if name not in SHAPES:
        raise ValueError(f'backbone {name!r} is unknown; known are {", ".join(SHAPES)}')
    base = SHAPES[name]
    widths, blocks = tuple(widths) or base.widths, tuple(blocks) or base.blocks
    if not 1 <= stages <= min(len(widths), len(blocks)):
        raise ValueError(f'{stages} stages of backbone {name!r} with widths {widths} and blocks '
                         f'{blocks}; give as many widths and blocks as stages')
    return ResNetShape(widths[:stages], blocks[:stages], base.stem, base.bottleneck,
                       base.large_stem)


class Basic(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, cin: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, width, 3, stride, dilation, dilation, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.downsample = _downsample(cin, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolution around a shortcut."""

    expansion = 4

    def __init__(self, cin: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out = width * self.expansion
        self.conv1 = nn.Conv2d(cin, width, 1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = BatchNorm2d(out)
        self.downsample = _downsample(cin, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _downsample(cin: int, out: int, stride: int) -> nn.Sequential | None:
    if cin == out and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(cin, out, 1, stride, bias=False), BatchNorm2d(out))


class _Plain(nn.Module):
    """One 3x3 convolution: what a stage of no residual blocks begins with."""

    expansion = 1

    def __init__(self, cin: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, width, 3, stride, dilation, dilation, bias=False)
        self.bn1 = BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(x)))


class Stage(NamedTuple):
    """Channels and stride (crop px per cell) of a stage's map."""

    channels: int
    stride: int


class ResNet(nn.Module):
    """Standardised images (B, 3, n, n) -> the map of every stage, finest first.

    `stages` says channels and strides. The stride never goes beyond `stride`: stages that would
    are dilated instead (as in SiamRPN++, Li et al., 2019). A stage of 0 blocks is one convolution.
    """

    def __init__(self, shape: ResNetShape, stride: int = 16) -> None:
        super().__init__()
        kernel = 7 if shape.large_stem else 3
        self.conv1 = nn.Conv2d(3, shape.stem, kernel, 2, kernel // 2, bias=False)
        self.bn1 = BatchNorm2d(shape.stem)
        self.pool = shape.large_stem
        self.stages: list[Stage] = []
        channels, reached, dilation = shape.stem, 4 if shape.large_stem else 2, 1
        for i, (width, blocks) in enumerate(zip(shape.widths, shape.blocks, strict=True)):
            step = 1 if i == 0 else 2
            if reached * step > stride:
                step, dilation = 1, dilation * 2
            kind = _Plain if blocks == 0 else Bottleneck if shape.bottleneck else Basic
            layer = nn.Sequential()
            for j in range(max(blocks, 1)):
                layer.append(kind(channels, width, step if j == 0 else 1, dilation))
                channels = width * kind.expansion
            self.add_module(f'layer{i + 1}', layer)
            reached *= step
            self.stages.append(Stage(channels, reached))
        if reached != stride:
            raise ValueError(f'a backbone of {len(shape.widths)} stages ends at stride {reached}, '
                             f'not {stride}; change stride or the number of stages')
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps (B, C_k, n / stride_k, n / stride_k)."""
        x = F.relu(self.bn1(self.conv1(x)))
        if self.pool:
            x = F.max_pool2d(x, 3, 2, 1)
        maps = []
        for i in range(len(self.stages)):
            x = self.get_submodule(f'layer{i + 1}')(x)
            maps.append(x)
        return maps
