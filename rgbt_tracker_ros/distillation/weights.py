"""Weights that go from one network to another."""
from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.distillation.patterns import rename
from rgbt_tracker_ros.distillation.schema import RecipeError

State = dict[str, Tensor]


def weights(module: nn.Module) -> State:
    """Return what is kept of a network: all but the batch norms' counters, which nothing uses."""
    return {k: v.detach() for k, v in module.state_dict().items()
            if not k.endswith('num_batches_tracked')}


@torch.no_grad()
def copy_weights(target: nn.Module, state: Mapping[str, Tensor], mapping: dict[str, str],
                 where: str) -> None:
    """Copy weights into a network, in place: all of them, or those that `mapping` renames.

    Tensors on the meta device are checked for their shapes, not copied.

    :param where: the place in the recipe, for the errors.
    :raises RecipeError: a tensor without a counterpart, or of another shape.
    """
    own = weights(target)
    state = {k: v for k, v in state.items() if not k.endswith('num_batches_tracked')}
    given = {k: k for k in state} if not mapping else {
        k: new for k in state if (new := rename(mapping, k)) is not None}
    for left in mapping:
        if not any(rename({left: '*'}, k) is not None for k in state):
            raise RecipeError(f'{where}.map: {left!r} matches none of '
                              f'{_some(state)}')
    if not mapping and (missing := sorted(own.keys() - state.keys())):
        raise RecipeError(f'{where}: {missing[0]} is not among the weights that it starts from '
                          f'({_some(state)}); give a map of names')
    for source, name in given.items():
        if name not in own:
            raise RecipeError(f'{where}: the network has no {name!r} for {source!r}; it has '
                              f'{_some(own)}')
        if own[name].shape != state[source].shape:
            raise RecipeError(f'{where}: {name} has shape {tuple(own[name].shape)}, '
                              f'{source} there {tuple(state[source].shape)}')
        if not state[source].is_meta:
            own[name].copy_(state[source])


def _some(names: Mapping[str, object]) -> str:
    parts = sorted({'.'.join(n.split('.')[:2]) for n in names})
    return ', '.join(parts[:8]) + (' ...' if len(parts) > 8 else '')
