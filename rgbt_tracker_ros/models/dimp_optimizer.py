"""DiMP's filter optimiser: steepest descent on a learned least-squares objective, unrolled.

Bhat et al., 2019, "Learning Discriminative Model Prediction for Tracking", sections 3.2 to 3.4;
the correlation and its transpose are an `unfold` and one product each, so that any device and any
order of derivatives will do.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.roi import no_autocast

BINS = 100
BIN_WIDTH = 0.1  # cells
EPS = 1e-8


def unfold(features: Tensor, size: int) -> Tensor:
    """Patches under a filter: (B, M, C, H, W) of M images -> (B, D, M * L), float32.

    D = C * size^2. Half a filter of zeros is added around the maps: L = (H + 1) (W + 1) for an
    even size, H W for an odd one.
    """
    b, m = features.shape[:2]
    patches = F.unfold(features.float().flatten(0, 1), size, padding=size // 2)
    # all images of a sample side by side: one product reads the memory once, in order
    return patches.view(b, m, *patches.shape[1:]).transpose(1, 2).flatten(2)


def apply_filter(patches: Tensor, weight: Tensor) -> Tensor:
    """Correlate patches (B, D, N) with filters (B, D): scores (B, N)."""
    # a row times a matrix: ten times as fast on CPUs as `einsum`, which multiplies columns
    return torch.bmm(weight[:, None], patches)[:, 0]


def apply_transpose(patches: Tensor, residual: Tensor) -> Tensor:
    """Transpose of `apply_filter`: (B, D, N) and (B, N) -> (B, D)."""
    return torch.bmm(residual[:, None], patches.transpose(1, 2))[:, 0]


def node_distance(boxes: Tensor, nodes: int, stride: int, first: float) -> Tensor:
    """Distance in cells from the centres of boxes (..., 4) to the score's nodes (..., n, n).

    Node (j, i) is at ((i + first) * stride, (j + first) * stride) crop px: `first` is 0 for a
    filter of even size, whose nodes are the corners of the cells, and 0.5 for an odd one.
    """
    at = torch.arange(nodes, device=boxes.device, dtype=torch.float32) + first
    center = (boxes[..., :2].float() + boxes[..., 2:].float() / 2) / stride
    dx = at - center[..., 0:1]
    dy = at - center[..., 1:2]
    return torch.sqrt(dx[..., None, :] ** 2 + dy[..., :, None] ** 2)


class Maps(NamedTuple):
    """What the objective asks for: label y, target mask m in [0, 1] and weight v, each (B, N).
    v holds the 1 / sqrt(M) that makes a mean over images of a sum.
    """

    label: Tensor
    mask: Tensor
    weight: Tensor


class FilterOptimizer(nn.Module):
    """Improve a filter so that it answers with the label, by `r(s) = v (m s + (1 - m) max(0, s)
    - y)` and L(f) = sum r^2 / M + lambda^2 |f|^2.

    Label, mask and weight are learned functions of the distance to the target's centre: values at
    100 knots, 0.1 cells apart, with linear interpolation. Everything is in float32.
    """

    def __init__(self, sigma: float, regulariser: float = 0.1, step: float = 0.9) -> None:
        """Start from a Gaussian label of `sigma` cells, lambda `regulariser` and step length
        `step` (times the steepest descent's best one).
        """
        super().__init__()
        d = torch.arange(BINS, dtype=torch.float32) * BIN_WIDTH
        gauss = torch.exp(-0.5 * (d / sigma) ** 2)
        self.label = nn.Parameter(gauss - gauss.min())
        # DiMP's 2 cells, where its label has a sigma of 11/12 cells
        self.mask = nn.Parameter(3 * torch.tanh(24 / 11 * sigma - d))
        self.weight = nn.Parameter(torch.ones(BINS))
        self.regulariser = nn.Parameter(torch.tensor(regulariser))
        self.log_step = nn.Parameter(torch.tensor(math.log(step)))

    def maps(self, distance: Tensor) -> Maps:
        """Return label, mask and weight at distances (B, M, n, n), in cells."""
        at = (distance.flatten(1) / BIN_WIDTH).clamp(max=BINS - 1)
        low = at.floor().clamp(max=BINS - 2)
        share = at - low
        index = low.long()

        def read(values: Tensor) -> Tensor:
            return torch.lerp(values[index], values[index + 1], share)

        return Maps(read(self.label), torch.sigmoid(read(self.mask)),
                    read(self.weight) / math.sqrt(distance.shape[1]))

    def penalty(self) -> Tensor:
        """Return lambda^2, at least 1e-6."""
        return self.regulariser.clamp(min=1e-3) ** 2

    def residual(self, scores: Tensor, maps: Maps) -> Tensor:
        """Residual (B, N) of the scores."""
        y, m, v = maps
        return v * (m * scores + (1 - m) * F.relu(scores) - y)

    def objective(self, patches: Tensor, weight: Tensor, maps: Maps) -> Tensor:
        """L(f) of every sample, (B,)."""
        r = self.residual(apply_filter(patches, weight), maps)
        return (r ** 2).sum(1) + self.penalty() * (weight ** 2).sum(1)

    def step(self, patches: Tensor, weight: Tensor, maps: Maps) -> Tensor:
        """One step of steepest descent on the Gauss-Newton model: (B, D) -> (B, D)."""
        scores = apply_filter(patches, weight)
        slope = maps.weight * (maps.mask + (1 - maps.mask) * (scores > 0))
        penalty = self.penalty()
        gradient = (apply_transpose(patches, slope * self.residual(scores, maps))
                    + penalty * weight)
        along = slope * apply_filter(patches, gradient)
        norm = (gradient ** 2).sum(1)
        curvature = (along ** 2).sum(1) + penalty * norm
        length = self.log_step.exp() * norm / curvature.clamp(min=EPS)
        return weight - length[:, None] * gradient

    def forward(self, patches: Tensor, weight: Tensor, distance: Tensor, steps: int
                ) -> list[Tensor]:
        """Return the filters (B, D) after 0, 1, ... `steps` steps.

        :param patches: (B, D, M * L) of M images with the target, from `unfold`.
        :param weight: (B, D) first filter. :param distance: (B, M, n, n), `node_distance`.
        """
        with no_autocast(patches):
            filters = [weight.float()]
            maps = self.maps(distance.float())
            for _ in range(steps):
                filters.append(self.step(patches, filters[-1], maps))
        return filters

    def products(self, patches: Tensor, weight: Tensor, distance: Tensor, steps: int) -> int:
        """Multiply-accumulates of the steps: scores, gradient, and scores along it."""
        return 3 * steps * patches.numel()
