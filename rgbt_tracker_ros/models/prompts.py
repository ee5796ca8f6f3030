"""Mutual prompts: before every block, each modality's tokens get a prompt made from both.

The form is that of MPLT (Luo et al., 2023), "dual-dimension attention": every input is gated per
channel and per place, then added; the gates are CBAM's (Woo et al., 2018).
"""
from __future__ import annotations

from collections.abc import Sequence
import math
from typing import cast

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.network import MODALITIES


class ChannelGate(nn.Module):
    """Gate of each channel from its mean and its maximum: (B, N, C) -> (B, 1, C) in (0, 1)."""

    def __init__(self, dim: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, dim // ratio, bias=False)
        self.fc2 = nn.Linear(dim // ratio, dim, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        pooled = torch.stack((u.mean(1), u.amax(1)), 1)
        return torch.sigmoid(self.fc2(F.relu(self.fc1(pooled))).sum(1, keepdim=True))


class SpatialGate(nn.Module):
    """Gate of each place from its channels' mean and maximum: (B, N, C) -> (B, N, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        side = math.isqrt(u.shape[1])
        pooled = torch.stack((u.mean(2), u.amax(2)), 1).view(-1, 2, side, side)
        return torch.sigmoid(self.conv(pooled)).flatten(2).transpose(1, 2)


class Prompter(nn.Module):
    """Make one stream's prompt from its own tokens, its previous prompt and the other stream.

    `inputs` is 3, or 2 where there is no previous prompt yet. Every input has gates of its own;
    the layer norm is common to them (that many parameters the reference has).
    """

    def __init__(self, dim: int, ratio: int, inputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.channel = nn.ModuleList(ChannelGate(dim, ratio) for _ in range(inputs))
        self.spatial = nn.ModuleList(SpatialGate() for _ in range(inputs))
        self.kappa = nn.Parameter(torch.tensor(10.0))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Take own, [previous,] other (B, N, C), N a square number; return (B, N, C)."""
        gated = []
        for u, channel, spatial in zip(inputs, self.channel, self.spatial, strict=True):
            u = self.norm(u)
            u = channel(u) * u
            gated.append(spatial(u) * u)
        own, *others = gated
        # "fovea": a softmax over the places with a learned sharpness, per channel
        fovea = torch.softmax(self.kappa * own, 1) * own
        return fovea + torch.stack(others).sum(0)


class MutualPrompts(nn.Module):
    """The prompters of all blocks; `streams` get prompts, both of ('rgb', 'thermal') or one.

    `first` serves the patch embeddings, before positions are added; `later[stream][l]` serves
    block l. Depth 0 makes `first` alone.
    """

    def __init__(self, dim: int, depth: int, ratio: int = 8,
                 streams: Sequence[str] = MODALITIES) -> None:
        super().__init__()
        self.first = nn.ModuleDict({s: Prompter(dim, ratio, 2) for s in streams})
        self.later = nn.ModuleDict({s: nn.ModuleList(Prompter(dim, ratio, 3)
                                                     for _ in range(depth)) for s in streams})
        # Block 0 is served by `first`. The reference registers a prompter for it all the same;
        # it is kept so that the numbers of the blocks are those of its checkpoints, and takes no
        # gradient, because a parameter that never gets one stops distributed training.
        if depth:
            for prompters in self.later.values():
                cast(nn.ModuleList, prompters)[0].requires_grad_(False)

    def start(self, rgb: Tensor, thermal: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prompts of the patch embeddings (B, N, C) of one crop; 0 for no prompt."""
        pair = {'rgb': rgb, 'thermal': thermal}
        rgb_prompt, thermal_prompt = (
            self.first[s](pair[s], pair[_other(s)]) if s in self.first
            else torch.zeros_like(pair[s]) for s in MODALITIES)
        return rgb_prompt, thermal_prompt

    def step(self, layer: int, tokens: Sequence[Tensor], previous: Sequence[Tensor],
             ) -> tuple[Tensor, Tensor]:
        """Return the prompts of block `layer` >= 1 for one crop.

        :param tokens: the two streams' tokens (B, N, C). :param previous: their last prompts.
        """
        def prompt(number: int) -> Tensor:
            name = MODALITIES[number]
            if name not in self.later:
                return previous[number]
            prompter = cast(nn.ModuleList, self.later[name])[layer]
            return prompter(tokens[number], previous[number], tokens[1 - number])

        return prompt(0), prompt(1)


def check_ratio(ratio: int, dim: int) -> None:
    """Refuse gates without channels.

    :raises ValueError: the text names the field of a network that has it.
    """
    if not 1 <= ratio <= dim:
        raise ValueError(f'prompt_ratio is {ratio}; it must be from 1 to dim, which is {dim}')


def _other(stream: str) -> str:
    return MODALITIES[1 - MODALITIES.index(stream)]
