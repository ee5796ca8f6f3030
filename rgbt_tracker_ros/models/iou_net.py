"""IoU-Net: how well a candidate box fits the target (Danelljan et al., 2019, ATOM, section 3.2;
densities after SuperDiMP's training).
"""
from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.models.draws import uniform
from rgbt_tracker_ros.models.resnet import Stage, block
from rgbt_tracker_ros.models.roi import roi_pool

BINS = 5, 3  # a side of a pooled box, fine and coarse


class IoUNet(nn.Module):
    """Score candidate boxes on test features, modulated by what the reference box holds.

    Two levels: `fine`, of twice the resolution, and `coarse`.
    """

    def __init__(self, fine: Stage, coarse: Stage, width: int = 256) -> None:
        super().__init__()
        self.strides = fine.stride, coarse.stride
        self.fine_reference = block(fine.channels, width // 2, 3)
        self.fine_vector = block(width // 2, width, 3, padding=0)
        self.coarse_reference = block(coarse.channels, width, 3)
        self.fine_modulation = block(2 * width, width, 1)
        self.coarse_modulation = block(2 * width, width, 1)
        self.fine_test = nn.Sequential(block(fine.channels, width, 3), block(width, width, 3))
        self.coarse_test = nn.Sequential(block(coarse.channels, width, 3), block(width, width, 3))
        # a convolution over all of a pooled box is a linear layer
        self.fine_linear = block(width, width, BINS[0], padding=0)
        self.coarse_linear = block(width, width, BINS[1], padding=0)
        self.score = nn.Linear(2 * width, 1)

    def modulation(self, fine: Tensor, coarse: Tensor, box: Tensor) -> Tensor:
        """Reference maps (B, ., h, w) and box (B, 4) x, y, w, h in crop px -> vectors (B, 2 W)."""
        roi = box[:, None]
        a = self.fine_vector(roi_pool(self.fine_reference(fine), roi, 3, self.strides[0])[:, 0])
        b = roi_pool(self.coarse_reference(coarse), roi, 1, self.strides[1])[:, 0]
        both = torch.cat((a, b.to(a.dtype)), 1)
        return torch.cat((self.fine_modulation(both), self.coarse_modulation(both)),
                         1).flatten(1)

    def features(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Test maps -> the maps that boxes are pooled from."""
        return self.fine_test(fine), self.coarse_test(coarse)

    def forward(self, modulation: Tensor, features: tuple[Tensor, Tensor],
                boxes: Tensor) -> Tensor:
        """Score boxes (B, K, 4) x, y, w, h in crop px: (B, K) float32, differentiable in them."""
        b, k = boxes.shape[:2]
        vectors = []
        for part, maps, stride, bins, linear in zip(
                modulation.chunk(2, 1), features, self.strides, BINS,
                (self.fine_linear, self.coarse_linear), strict=True):
            # pooling is linear: to modulate afterwards is the same, and less work
            pooled = roi_pool(maps, boxes, bins, stride) * part[:, None, :, None, None]
            vectors.append(linear(pooled.flatten(0, 1)).flatten(1))
        return self.score(torch.cat(vectors, 1)).float().view(b, k)


class Candidates(NamedTuple):
    """Candidate boxes (B, K, 4) x, y, w, h, the density (B, K) they were drawn with, and the
    density (B, K) that the scores should follow.
    """

    boxes: Tensor
    density: Tensor
    target: Tensor


def to_relative(boxes: Tensor, reference: Tensor) -> Tensor:
    """Box (..., 4) x, y, w, h -> centre offset over size, log size ratio, seen from a box."""
    size = reference[..., 2:]
    offset = boxes[..., :2] + boxes[..., 2:] / 2 - reference[..., :2] - size / 2
    return torch.cat((offset / size, (boxes[..., 2:] / size).log()), -1)


def from_relative(relative: Tensor, reference: Tensor) -> Tensor:
    """Inverse of `to_relative`."""
    size = reference[..., 2:] * relative[..., 2:].exp()
    center = reference[..., :2] + reference[..., 2:] * (0.5 + relative[..., :2])
    return torch.cat((center - size / 2, size), -1)


def draw_candidates(boxes: Tensor, index: Tensor, count: int, seed: int = 0,
                    spread: tuple[float, float] = (0.05, 0.5)) -> Candidates:
    """Draw boxes around (B, 4) from a mixture of two Gaussians in relative coordinates.

    Each box depends on (seed, sample number `index` (B,)) alone. The target density is the
    narrower Gaussian.
    """
    b = len(boxes)
    draws = uniform(seed, index, 5 * count, stream=41).view(b, count, 5)
    # Box and Muller (1958): two uniform numbers make two normal ones
    radius = torch.sqrt(-2 * (1 - draws[..., 0:2]).log())
    angle = 2 * math.pi * draws[..., 2:4]
    normal = torch.cat((radius * angle.cos(), radius * angle.sin()), -1)
    sigma = torch.where(draws[..., 4:] < 0.5, spread[0], spread[1])
    relative = sigma * normal
    reference = torch.cat((boxes[:, :2], boxes[:, 2:].clamp(min=1.0)), 1).float()[:, None]
    narrow, wide = (_density(relative, s) for s in spread)
    return Candidates(from_relative(relative, reference), (narrow + wide) / 2, narrow)


def _density(x: Tensor, sigma: float) -> Tensor:
    """Density of an isotropic Gaussian at (..., 4)."""
    return torch.exp(-0.5 * ((x / sigma) ** 2).sum(-1)) / (math.sqrt(2 * math.pi) * sigma) ** 4
