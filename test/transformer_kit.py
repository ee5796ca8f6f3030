"""Small transformer networks and batches for tests."""
from __future__ import annotations

from typing import Any

import torch

from rgbt_tracker_ros.models.network import Batch, Network
from rgbt_tracker_ros.models.registry import build

TINY: dict[str, Any] = {'template_size': 32, 'search_size': 64, 'stride': 8, 'dim': 48,
                        'depth': 4, 'heads': 4, 'head_widths': [48, 24], 'drop_path': 0.0}
PRUNED: dict[str, Any] = {'eliminate_at': [1, 2, 3], 'keep': 0.7}
TEACHER: dict[str, Any] = {'prompts': 'mutual', 'fusion': 'concat_conv', 'shared': True}


def tiny(name: str, seed: int = 0, **config: Any) -> Network:
    """Build a tiny network; the positional tables are made large enough to matter."""
    torch.manual_seed(seed)
    network = build(name, **TINY | config)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if 'pos_embed' in key:
                parameter.normal_(0, 0.5)
    return network


def batch_of(index: list[int], template: int = 32, search: int = 64) -> Batch:
    """Make a batch of random crops, each from its index alone."""
    def draw(number: int) -> Batch:
        g = torch.Generator().manual_seed(number)
        return {'template_rgb': torch.rand(3, template, template, generator=g),
                'search_rgb': torch.rand(3, search, search, generator=g),
                'template_thermal': torch.rand(1, template, template, generator=g),
                'search_thermal': torch.rand(1, search, search, generator=g)}

    samples = [draw(n) for n in index]
    b = len(index)
    box = torch.tensor([8., 8., 16., 16.]).expand(b, 4)
    return {k: torch.stack([s[k] for s in samples]) for k in samples[0]} | {
        'template_box': box, 'search_box': box, 'template_present': torch.ones(b, 2),
        'search_present': torch.ones(b, 2), 'index': torch.tensor(index),
        'condition': torch.zeros(b, dtype=torch.int64)}


def track(network: Network, batch: Batch) -> Any:
    """Run the tracking pass on a training batch."""
    template = network.encode_template(batch['template_rgb'], batch['template_thermal'],
                                       batch['template_present'], batch['template_box'])
    return network(template, batch['search_rgb'], batch['search_thermal'],
                   batch['search_present'])
