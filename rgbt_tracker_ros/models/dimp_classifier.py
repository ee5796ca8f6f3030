"""DiMP's target classification: features, a first filter, and its optimisation."""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.dimp_optimizer import (
    FilterOptimizer,
    apply_filter,
    node_distance,
    unfold,
)
from rgbt_tracker_ros.models.roi import no_autocast, roi_pool


class Classifier(nn.Module):
    """A convolution and an instance norm make features; a filter made from reference features
    and their boxes finds the target in test features (Bhat et al., 2019, DiMP).
    """

    def __init__(self, cin: int, channels: int, filter_size: int, stride: int,
                 sigma: float) -> None:
        """`sigma` of the first label, in cells; `stride` in crop px per cell."""
        super().__init__()
        self.stride, self.filter_size = stride, filter_size
        self.feature = nn.Conv2d(cin, channels, 3, padding=1, bias=False)
        self.initialiser = nn.Conv2d(channels, channels, 3, padding=1)
        self.optimizer = FilterOptimizer(sigma)
        self.scale = math.sqrt(1 / (channels * filter_size ** 2))
        # keep the length of what comes in: with the norm, a first filter near its final scale
        nn.init.kaiming_normal_(self.feature.weight)
        nn.init.kaiming_normal_(self.initialiser.weight)
        nn.init.zeros_(self.initialiser.bias)  # type: ignore[arg-type]

    @property
    def first_node(self) -> float:
        """Place of the score's first node, in cells: 0 for an even filter, 0.5 for an odd one."""
        return 0.0 if self.filter_size % 2 == 0 else 0.5

    def nodes(self, features: Tensor) -> int:
        """Side of the score map."""
        return features.shape[-1] + 1 - self.filter_size % 2

    def features(self, x: Tensor) -> Tensor:
        """Backbone map (N, C, S, S) -> features (N, C', S, S) float32 of one length an image."""
        y = self.feature(x).float()
        elements = y.shape[1] * y.shape[2] * y.shape[3]
        norm = (y ** 2).sum((1, 2, 3), keepdim=True) + 1e-5
        return y * (self.scale * torch.sqrt(elements / norm))

    def first_filter(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Features (B, M, C, S, S) of M images with boxes (B, M, 4) -> filter (B, C, f, f)."""
        b, m = features.shape[:2]
        x = self.initialiser(features.flatten(0, 1))
        pooled = roi_pool(x, boxes.flatten(0, 1)[:, None], self.filter_size, self.stride)
        return pooled.float().reshape(b, m, *pooled.shape[2:]).mean(1)

    def filters(self, features: Tensor, boxes: Tensor, steps: int) -> list[Tensor]:
        """Return the filters (B, C, f, f) after 0, ... `steps` steps of the optimiser.

        :param features: (B, M, C, S, S) of M reference images; `boxes` (B, M, 4) of the target.
        """
        first = self.first_filter(features, boxes)
        patches = unfold(features, self.filter_size)
        distance = node_distance(boxes, self.nodes(features), self.stride, self.first_node)
        filters = self.optimizer(patches, first.flatten(1), distance, steps)
        return [f.view_as(first) for f in filters]

    def forward(self, features: Tensor, filters: list[Tensor]) -> list[Tensor]:
        """Score maps (B, 1, n, n) of every filter on test features (B, C, S, S), float32."""
        patches, nodes = unfold(features[:, None], self.filter_size), self.nodes(features)
        with no_autocast(features):
            return [apply_filter(patches, f.flatten(1)).reshape(-1, 1, nodes, nodes)
                    for f in filters]

    def products(self, features: Tensor, filters: list[Tensor]) -> int:
        """Multiply-accumulates of the score maps."""
        return sum(f.numel() for f in filters) * self.nodes(features) ** 2


def gaussian_label(boxes: Tensor, nodes: int, stride: int, first: float,
                   sigma: float) -> Tensor:
    """Label z of the classification loss: Gaussians of `sigma` cells, (B, 4) -> (B, 1, n, n)."""
    return torch.exp(-0.5 * (node_distance(boxes, nodes, stride, first) / sigma) ** 2)[:, None]


def best_corner(scores: Tensor, first: float) -> tuple[Tensor, Tensor]:
    """Read a score map at the cells: the best of a cell's four corner nodes.

    :param scores: (B, 1, n, n); `first` is 0 where nodes are the corners of the cells.
    :returns: (B, 1, S, S) scores, and (B, S, S) the flat number of each cell's node.
    """
    if first > 0:
        n = scores.shape[-1]
        at = torch.arange(n * n, device=scores.device).view(1, n, n)
        return scores, at.expand(len(scores), n, n)
    best, node = F.max_pool2d(scores, 2, 1, return_indices=True)
    return best, node[:, 0]
