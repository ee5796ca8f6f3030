"""What a network costs: parameters and multiply-accumulates (MACs), without running it for real.

Counted as the papers count: linear and convolution layers. Products that have no weights
(attention maps, correlations) are kept apart; a module of ours states them by a method
`products(*inputs) -> int`. On the meta device nothing is computed and no weights are held, so
that the largest network takes a second.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.models.network import Batch, Network, Taps
from rgbt_tracker_ros.models.registry import build


class Macs(NamedTuple):
    """Multiply-accumulates: of `layers` (linear and convolution) and of weightless `products`."""

    layers: int
    products: int


def on_meta(name: str, **config: Any) -> Network:
    """Build a registered network without memory for its weights.

    :raises ValueError: as `registry.build`.
    """
    with torch.device('meta'):
        return build(name, **config)


def parameters(module: nn.Module, pattern: str = '', trained_only: bool = False) -> int:
    """Count the parameters whose name holds `pattern`, each once."""
    return sum(p.numel() for name, p in module.named_parameters()
               if pattern in name and (p.requires_grad or not trained_only))


def tracking_macs(network: Network) -> Macs:
    """Count one template and one search crop of the tracking pass, at batch 1.

    Papers count the template in every frame, though what is cached of it costs but once.
    """
    batch = blank(network)

    def run() -> None:
        template = network.encode_template(batch['template_rgb'], batch['template_thermal'],
                                           batch['template_present'], batch['template_box'])
        network(template, batch['search_rgb'], batch['search_thermal'], batch['search_present'])

    return count(network, run)


def training_macs(network: Network, **options: Any) -> Macs:
    """Count the forward half of a training step for one sample, with all branches."""
    return training_pass(network, **options)[0]


def training_pass(network: Network, **options: Any) -> tuple[Macs, Taps]:
    """Count the same, and return what the pass gives to the losses and to other passes."""
    batch = blank(network)
    given: Taps = {}
    return count(network, lambda: given.update(network.taps(batch, **options))), given


def count(module: nn.Module, run: Callable[[], object]) -> Macs:
    """Count what `run` makes `module` do, in evaluation mode and without gradients."""
    totals = {'layers': 0, 'products': 0}

    def layer(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        totals['layers'] += output.numel() * _per_output(layer)

    def products(layer: Any, inputs: tuple[Any, ...], output: object) -> None:
        totals['products'] += layer.products(*inputs)

    handles = []
    for child in module.modules():
        if isinstance(child, (nn.Linear, nn.Conv2d)):
            handles.append(child.register_forward_hook(layer))
        elif callable(getattr(child, 'products', None)):
            handles.append(child.register_forward_hook(products))
    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
        for child, mode in modes:
            child.training = mode
    return Macs(**totals)


def _per_output(layer: nn.Module) -> int:
    """MACs for one number of the output."""
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
    assert isinstance(layer, nn.Linear)
    return layer.in_features


def blank(network: Network) -> Batch:
    """Return a batch of one black sample that fits the network, on its device."""
    c, device = network.config, next(network.parameters()).device

    def of(*shape: int) -> Tensor:
        return torch.zeros(1, *shape, device=device)

    batch: Batch = {}
    for crop, size in (('template', c.template_size), ('search', c.search_size)):
        box = torch.tensor([[size / 4, size / 4, size / 2, size / 2]], device=device)
        batch |= {f'{crop}_rgb': of(3, size, size), f'{crop}_thermal': of(1, size, size),
                  f'{crop}_box': box, f'{crop}_present': of(2) + 1}
    index = torch.zeros(1, dtype=torch.int64, device=device)
    return batch | {'index': index, 'condition': index}
