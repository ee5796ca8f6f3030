"""Moving average of what a stage trains."""
from __future__ import annotations

import torch
from torch import Tensor

from rgbt_tracker_ros.distillation.graph import Graph
from rgbt_tracker_ros.distillation.weights import State, weights


class Average:
    """Exponential moving average of the weights and buffers of the networks that learn.

    The decay grows from 0.1 to `decay`, so that the first weights are soon forgotten.
    """

    def __init__(self, graph: Graph, decay: float) -> None:
        self.decay = decay
        self._live = {f'{key}.{name}': value for key, network in graph.networks.items()
                      if not graph.frozen(key) for name, value in weights(network).items()}
        self.state: dict[str, Tensor] = {k: v.clone() for k, v in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the weights after a step (from 1)."""
        keep = min(self.decay, (1 + step) / (10 + step))
        # all at once: on a GPU one by one takes as long as the step
        floats = [k for k, v in self._live.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.state[k] for k in floats], [self._live[k] for k in floats],
                             1 - keep)
        for name in self._live.keys() - floats:
            self.state[name].copy_(self._live[name])

    def load(self, state: State) -> None:
        """Take up a saved average, in place."""
        for name, value in self.state.items():
            value.copy_(state[name])

    def of(self, network: str) -> State:
        """Return the averaged weights of one network."""
        prefix = f'{network}.'
        return {k.removeprefix(prefix): v for k, v in self.state.items() if k.startswith(prefix)}
