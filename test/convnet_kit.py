"""Small convolutional trackers and batches for tests."""
from __future__ import annotations

from typing import Any

import torch

from rgbt_tracker_ros.models.network import Batch, Network
from rgbt_tracker_ros.models.registry import build

SIAMESE: dict[str, Any] = {'template_size': 32, 'search_size': 64, 'stride': 8, 'stages': 3,
                           'width': 16, 'kernel': 3, 'head': [16, 8], 'backbone': 'tiny',
                           'widths': [8, 12, 16]}
TEACHER: dict[str, Any] = {'blocks': [1, 1, 1]}
STUDENT: dict[str, Any] = {'streams': 'shared', 'fusion': 'conv'}
DIMP: dict[str, Any] = {'template_size': 64, 'search_size': 64, 'template_factor': 4.0,
                        'search_factor': 4.0, 'stride': 8, 'backbone': 'tiny',
                        'widths': [8, 12, 16], 'channels': 16, 'steps': 3, 'box_width': 16,
                        'candidates': 8, 'template_steps': 4, 'proposals': 2, 'refine_steps': 3}


def siamese(seed: int = 0, **config: Any) -> Network:
    """Build a small Siamese tracker."""
    torch.manual_seed(seed)
    return build('siamese', **SIAMESE | config)


def dimp(seed: int = 0, **config: Any) -> Network:
    """Build a small DiMP."""
    torch.manual_seed(seed)
    return build('dimp', **DIMP | config)


def batch_for(network: Network, index: list[int]) -> Batch:
    """Make a batch of random crops for a network, each from its index alone."""
    c = network.config
    sizes = {'template': c.template_size, 'search': c.search_size}

    def draw(number: int) -> Batch:
        g = torch.Generator().manual_seed(number)
        out: Batch = {}
        for crop, n in sizes.items():
            out[f'{crop}_rgb'] = torch.rand(3, n, n, generator=g)
            out[f'{crop}_thermal'] = torch.rand(1, n, n, generator=g)
            corner = n / 2 - 8 + 4 * torch.rand(2, generator=g) - 2
            out[f'{crop}_box'] = torch.cat((corner, 12 + 8 * torch.rand(2, generator=g)))
            out[f'{crop}_present'] = torch.ones(2)
        return out

    samples = [draw(n) for n in index]
    return {k: torch.stack([s[k] for s in samples]) for k in samples[0]} | {
        'index': torch.tensor(index), 'condition': torch.zeros(len(index), dtype=torch.int64)}


def track(network: Network, batch: Batch) -> Any:
    """Run the tracking pass on a training batch."""
    template = network.encode_template(batch['template_rgb'], batch['template_thermal'],
                                       batch['template_present'], batch['template_box'])
    return network(template, batch['search_rgb'], batch['search_thermal'],
                   batch['search_present'])
