"""Weights between two students: part of the way keeps more of what the old one knew.

WiSE-FT (Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, CVPR 2022): between a network
and what fine-tuning made of it, weights can be averaged.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.network import Network


@torch.no_grad()
def blended(old: Path, new: Path, share: float) -> tuple[Network, dict[str, Any]]:
    """Return the network whose weights lie `share` of the way from `old` to `new` (0 to 1), batch
    norms' statistics too, in evaluation mode, and what the old file says of itself.

    :raises CheckpointError: a file can't be used. :raises ValueError: they hold other networks.
    """
    first, info = checkpoint.load(old)
    second, _ = checkpoint.load(new)
    if type(first) is not type(second) or first.config != second.config:
        raise ValueError(f'{new} is another network than {old}')
    theirs = second.state_dict()
    for name, value in first.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[name], share)
    return first, info
