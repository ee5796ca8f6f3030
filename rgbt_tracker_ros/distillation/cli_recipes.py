"""`rgbt recipes`: what can be trained, what it needs, and what its networks cost."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys
from typing import TYPE_CHECKING, Any

from rgbt_tracker_ros.distillation.recipe import Recipe, load_recipe, names, scales
from rgbt_tracker_ros.distillation.resume import write_json
from rgbt_tracker_ros.distillation.schema import RecipeError, suggest

if TYPE_CHECKING:
    from rgbt_tracker_ros.models.network import Taps


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    p = argparse.ArgumentParser(prog='rgbt recipes', description=__doc__)
    p.add_argument('recipe', nargs='?', default='', help='name, or a .yaml file (all)')
    p.add_argument('--scale', default='', help='tiny, full (all)')
    p.add_argument('--json', type=Path, metavar='FILE', help='write it to a file, too')
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Print the recipes. Returns 2 for what the user can put right."""
    args = parser().parse_args(argv)
    found = []
    try:
        for name in [args.recipe] if args.recipe else names():
            for scale in _scales(name, args.scale, bool(args.recipe)):
                found.append(describe(load_recipe(name, scale)))
                print(_text(found[-1]), flush=True)  # the large ones take seconds to count
        if args.json:
            write_json(args.json, found)
    except (ValueError, OSError) as error:
        print(f'rgbt recipes: {error}', file=sys.stderr)
        return 2
    return 0


def _scales(name: str, wanted: str, named: bool) -> list[str]:
    there = scales(name)
    if wanted and wanted not in there:
        if named:
            raise RecipeError(f'{name} has no scale {wanted!r}{suggest(wanted, there)}')
        return []
    return [wanted] if wanted else there


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as JSON values: what it needs, its stages, its networks and their costs.

    Multiply-accumulates are of linear and convolution layers for one template and one search
    crop: of the tracking pass for what tracks, of the training graph's passes for a stage.
    """
    from rgbt_tracker_ros.distillation.graph import needed_passes
    from rgbt_tracker_ros.models.network import Network
    from rgbt_tracker_ros.models.profile import (
        blank,
        on_meta,
        parameters,
        tracking_macs,
        training_pass,
    )

    stages: dict[str, Any] = {}
    for name, stage in recipe.stages.items():
        networks: dict[str, Network] = {k: on_meta(n.type, **n.config)
                                        for k, n in stage.networks.items()}
        passes: dict[str, int] = {}
        given: dict[str, Taps] = {}
        for key in needed_passes(stage):
            one = stage.passes[key]
            given['batch'] = blank(networks[one.network])
            cost, given[key] = training_pass(networks[one.network], **{
                k: _looked_up(v, given) for k, v in one.options.items()})
            passes[key] = cost.layers
        stages[name] = {
            'networks': {k: {'type': stage.networks[k].type,
                             'parameters': parameters(n),
                             'tracking_parameters': parameters(n.tracking_network()),
                             'tracking_macs': tracking_macs(n).layers,
                             'frozen': not stage.networks[k].learns}
                         for k, n in networks.items()},
            'training_graph': {'parameters': sum(map(parameters, networks.values())),
                               'macs': sum(passes.values())},
            'passes': passes, 'terms': {k: t.weight for k, t in stage.terms.items()},
            'data': stage.data.source, 'steps': stage.steps, 'batch': stage.batch}
    result = stages[recipe.result.stage]['networks'][recipe.result.network]
    return {'name': recipe.name, 'scale': recipe.scale, 'title': recipe.title,
            'paper': recipe.paper, 'reconstructed': recipe.reconstructed, 'needs': recipe.needs,
            'student': {'parameters': result['tracking_parameters'],
                        'macs': result['tracking_macs']}, 'stages': stages}


def _looked_up(option: Any, given: dict[str, Taps]) -> Any:
    """Return the value of a pass's option: '@PASS:TAP' is what an earlier pass gave."""
    if not (isinstance(option, str) and option.startswith('@')):
        return option
    source, _, tap = option[1:].partition(':')
    return given[source][tap]


def _text(one: dict[str, Any]) -> str:
    lines = [f'{one["name"]} ({one["scale"]}): {one["title"]}']
    for key, label in (('paper', 'paper'), ('reconstructed', 'reconstructed'),
                       ('needs', 'needs')):
        if one[key]:
            lines.append(f'  {label}: {one[key]}')
    for name, stage in one['stages'].items():
        lines.append(f'  stage {name}: {stage["steps"]} steps of {stage["batch"]} from '
                     f'{stage["data"]}; training graph {_cost(stage["training_graph"])}')
        for key, network in stage['networks'].items():
            cost = _cost({'parameters': network['tracking_parameters'],
                          'macs': network['tracking_macs']})
            lines.append(f'    {key} ({network["type"]}{", frozen" if network["frozen"] else ""}):'
                         f' tracks with {cost}')
    lines.append(f'  student: {_cost(one["student"])}')
    return '\n'.join(lines)


def _cost(cost: dict[str, Any]) -> str:
    return f'{cost["parameters"] / 1e6:.2f} M parameters, {cost["macs"] / 1e9:.3g} G MACs'
