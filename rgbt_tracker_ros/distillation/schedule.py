"""Learning rates over a stage."""
from __future__ import annotations

import math

import torch
from torch import nn

from rgbt_tracker_ros.distillation.graph import Graph
from rgbt_tracker_ros.distillation.patterns import selects
from rgbt_tracker_ros.distillation.schema import RecipeError
from rgbt_tracker_ros.distillation.spec import Optimizer, Schedule


def factor_at(step: int, steps: int, schedule: Schedule) -> float:
    """Factor of all rates in a step (from 0) of `steps`."""
    t = step / max(steps, 1)
    if schedule.type == 'step':
        return schedule.factor ** sum(t >= a for a in schedule.at)
    if schedule.type == 'one_cycle':
        warm = (schedule.warm_up or 0.3) * steps
        # from 1/25 up, and down to 1/10000 of that: the defaults of fast.ai
        if step < warm:
            return _cosine(1 / 25, 1.0, step / warm)
        return _cosine(1.0, 1 / 250_000, (step - warm) / max(steps - 1 - warm, 1))
    if schedule.type == 'cosine':
        warm = round(schedule.warm_up * steps)
        if step < warm:
            return (step + 1) / warm
        return _cosine(1.0, schedule.factor, (step - warm) / max(steps - warm, 1))
    return 1.0


def _cosine(start: float, end: float, t: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(t, 1.0))) / 2


_TYPES = {'adamw': torch.optim.AdamW, 'adam': torch.optim.Adam, 'sgd': torch.optim.SGD}


def make_optimizer(graph: Graph, spec: Optimizer) -> torch.optim.Optimizer:
    """Return the optimiser of all that learns; each group keeps its rate as `base`.

    :raises RecipeError: nothing learns, or a group's pattern matches nothing.
    """
    parameters = list(graph.named_trainable())
    if not parameters:
        raise RecipeError('nothing is trained: every network is frozen')
    chosen: dict[tuple[float, float], list[nn.Parameter]] = {}
    used = set()
    for name, parameter in parameters:
        at = next((i for i, g in enumerate(spec.groups) if selects(g.match, name)), None)
        used.add(at)
        rate = spec.rate if at is None else spec.groups[at].rate
        decays = spec.decay_vectors or parameter.ndim > 1
        chosen.setdefault((rate, spec.weight_decay if decays else 0.0), []).append(parameter)
    for i, group in enumerate(spec.groups):
        if i not in used:
            names = sorted({'.'.join(n.split('.')[:2]) for n, _ in parameters})
            raise RecipeError(f'optimizer.groups[{i}].match is {list(group.match)}, which no '
                              f'parameter is left for; names begin with {", ".join(names)}')
    options = {'momentum': 0.9} if spec.type == 'sgd' else {}
    return _TYPES[spec.type]([{'params': p, 'lr': rate, 'base': rate, 'weight_decay': decay}
                              for (rate, decay), p in chosen.items()], lr=spec.rate, **options)


def set_rates(optimizer: torch.optim.Optimizer, step: int, steps: int,
              schedule: Schedule) -> float:
    """Set the rates for a step; return the highest."""
    factor = factor_at(step, steps, schedule)
    for group in optimizer.param_groups:
        group['lr'] = group['base'] * factor
    return max(group['lr'] for group in optimizer.param_groups)
