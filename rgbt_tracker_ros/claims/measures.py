"""The measurements by name, and where they find their network in a run."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rgbt_tracker_ros.claims import adapting, localise, online, probes, speed, structure
from rgbt_tracker_ros.claims.arms import Arm, Measure
from rgbt_tracker_ros.claims.localise import Metrics, with_config
from rgbt_tracker_ros.distillation.recipe import Recipe
from rgbt_tracker_ros.models import checkpoint, registry
from rgbt_tracker_ros.models.network import Network


def _localise(network: Network, modality: str = '', **options: Any) -> Metrics:
    return localise.localise(with_config(network, modality=modality) if modality else network,
                             **options)


KINDS: dict[str, Callable[..., Metrics]] = {
    'localise': _localise, 'style_gap': probes.style_gap, 'content': probes.content_kept,
    'probe': probes.linear_probe, 'cost': speed.cost}
"""Kind of measurement -> a function of a trained network. Others need none: `race`, of two
networks with random weights, `structure`, of the source, `adaptation`, which trains by itself, and
`suites`, of what `rgbt export` makes of it.
"""


def measure(arm: Arm, recipe: Recipe, run: Path, seed: int) -> Metrics:
    """Measure what an arm trained in the folder `run`, with a seed."""
    found: Metrics = {}
    for one in arm.measures:
        if one.kind == 'structure':
            metrics = structure.structure()
        elif one.kind == 'race':
            metrics = _race(one, recipe)
        elif one.kind == 'adaptation':
            metrics = adapting.adaptation(run, seed, overrides=arm.sets, **one.options)
        elif one.kind == 'suites':
            metrics = online.suites(recipe, run, one.of, seed, **one.options)
        else:
            metrics = KINDS[one.kind](trained(run, one.of), **one.options)
        found |= {f'{one.prefix}{k}': v for k, v in metrics.items()}
    return found


def trained(run: Path, of: str) -> Network:
    """Load a network of a run by 'stage.network' or 'stage.network.part'."""
    stage, name, *parts = of.split('.')
    network = checkpoint.load(run / stage / f'{name}.safetensors')[0]
    for part in parts:
        network = getattr(network, part)
    return network


def _race(one: Measure, recipe: Recipe) -> Metrics:
    """Let two networks of a recipe race with random weights: time does not depend on them."""
    networks = []
    for place, of in zip(('first', 'second'), one.of.split(), strict=True):
        stage, name = of.split('.')
        spec = recipe.stages[stage].networks[name]
        network = registry.build(spec.type, **spec.config).tracking_network()
        changes = one.options.get(place, {})
        networks.append(type(network)(replace(network.config, **changes)) if changes else network)
    return speed.race(networks[0], networks[1])
