"""Fusion of the maps of two streams: by three paths (heavy), or by one convolution or a sum.

The three paths are this project's reconstruction of the "well-designed fusion" of Zhang et al.,
2023, "Efficient RGB-T Tracking via Cross-Modality Distillation", whose text leaves it open: an
RGB-centred path, a thermal-centred path, and their weighted aggregate.
"""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.network import modality_weights
from rgbt_tracker_ros.models.resnet import block

HEADS = 4  # of the attention between paths


class Fused(NamedTuple):
    """`maps` (B, C, h, w) by path: v, t, f or only f; `weights` (B, 2, h', w') of the modalities
    that add up to 1 where there is one.
    """

    maps: dict[str, Tensor]
    weights: Tensor


class CrossAttention(nn.Module):
    """What a map wants to know from the other: attention of all its cells to all the other's."""

    def __init__(self, width: int, heads: int = HEADS) -> None:
        """:param width: a multiple of `heads`."""
        super().__init__()
        self.heads = heads
        self.norm_own, self.norm_other = nn.GroupNorm(1, width), nn.GroupNorm(1, width)
        self.query = nn.Conv2d(width, width, 1)
        self.key_value = nn.Conv2d(width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Two (B, C, h, w) -> (B, C, h, w), to be added to `own`."""
        q = self.query(self.norm_own(own))
        k, v = self.key_value(self.norm_other(other)).chunk(2, 1)
        q, k, v = (_tokens(x, self.heads) for x in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(2, 3).reshape(own.shape))

    def products(self, own: Tensor, other: Tensor) -> int:
        """Multiply-accumulates of the attention: scores, and their sum of values."""
        return 2 * own.numel() * other.shape[2] * other.shape[3]


def _tokens(x: Tensor, heads: int) -> Tensor:
    """(B, C, h, w) -> (B, heads, h w, C / heads)."""
    b, c, h, w = x.shape
    return x.reshape(b, heads, c // heads, h * w).transpose(2, 3)


class GatedExchange(nn.Module):
    """The other map, let through by a gate for each channel and a gate for each place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(width // 4, 8)
        self.channels = nn.Sequential(nn.Linear(2 * width, hidden), nn.ReLU(),
                                      nn.Linear(hidden, width))
        self.places = nn.Conv2d(2 * width, 1, 3, padding=1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Two (B, C, h, w) -> (B, C, h, w), to be added to `own`."""
        both = torch.cat((own, other), 1)
        channels = torch.sigmoid(self.channels(both.mean((2, 3))))[:, :, None, None]
        return self.out(other * channels * torch.sigmoid(self.places(both)))


EXCHANGES: dict[str, type[nn.Module]] = {'attention': CrossAttention, 'gate': GatedExchange}


class ThreePaths(nn.Module):
    """Q_v = T_v + X(T_v <- T_t), Q_t = T_t + X(T_t <- T_v), Q_f = conv(w_v Q_v + w_t Q_t).

    The weights w are predicted at every place, from both; a missing modality's is 0.
    """

    def __init__(self, width: int, exchange: str) -> None:
        """:param exchange: 'attention' or 'gate'."""
        super().__init__()
        kind = EXCHANGES[exchange]
        self.to_rgb, self.to_thermal = kind(width), kind(width)
        self.weigh = nn.Sequential(block(2 * width, max(width // 4, 8), 3),
                                   nn.Conv2d(max(width // 4, 8), 2, 1))
        self.merge = block(width, width, 3)

    def forward(self, rgb: Tensor, thermal: Tensor, present: Tensor) -> Fused:
        """Two (B, C, h, w), 0 where `present` (B, 2) is 0 -> paths v, t and f."""
        mask = present[:, :, None, None].to(rgb.dtype)
        v = rgb + self.to_rgb(rgb, thermal) * mask[:, 1:]
        t = thermal + self.to_thermal(thermal, rgb) * mask[:, :1]
        logits = self.weigh(torch.cat((v, t), 1)).float()
        weights = torch.softmax(logits.masked_fill(mask < 0.5, -1e4), 1)
        w = weights.to(rgb.dtype)
        return Fused({'v': v, 't': t, 'f': self.merge(w[:, :1] * v + w[:, 1:] * t)}, weights)


class SimpleFusion(nn.Module):
    """R = conv1x1([S_v; S_t]), or R = the mean of what is there of S_v and S_t: path f alone."""

    def __init__(self, width: int, kind: str) -> None:
        """:param kind: 'conv' or 'sum'."""
        super().__init__()
        self.merge = block(2 * width, width, 1) if kind == 'conv' else None

    def forward(self, rgb: Tensor, thermal: Tensor, present: Tensor) -> Fused:
        """Two (B, C, h, w), 0 where `present` (B, 2) is 0 -> path f; nothing predicts weights:
        they are equal.
        """
        weights = modality_weights(present)
        if self.merge is not None:
            return Fused({'f': self.merge(torch.cat((rgb, thermal), 1))}, weights)
        # one modality alone is as loud as two
        w = weights.to(rgb.dtype)
        return Fused({'f': w[:, :1] * rgb + w[:, 1:] * thermal}, weights)
