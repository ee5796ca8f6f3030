"""From a stage's description to its graph and its data."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from rgbt_tracker_ros.data.pair_sources import CropSizes, PairSource, build_source, source_class
from rgbt_tracker_ros.distillation.graph import Graph
from rgbt_tracker_ros.distillation.recipe import Recipe
from rgbt_tracker_ros.distillation.schema import RecipeError
from rgbt_tracker_ros.distillation.seeds import derive
from rgbt_tracker_ros.distillation.spec import Data, NetworkSpec, Stage
from rgbt_tracker_ros.distillation.weights import State, copy_weights, weights
from rgbt_tracker_ros.models import pretrained, registry
from rgbt_tracker_ros.models.convnet import channels_last
from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.models.pretrained_resnet import fill_resnets
from rgbt_tracker_ros.models.public_files import read
from rgbt_tracker_ros.models.vit import ViT

# (stage, network) -> the weights it ended with
Lookup = Callable[[str, str], State]
_CROPS = tuple(f.name for f in fields(CropSizes))


@dataclass(frozen=True)
class Setting:
    """What a run is given beside its recipe: `seed`, a folder of `data`, a checkpoint `init`,
    and a folder that sources may keep a `cache` in.
    """

    seed: int = 0
    data: Path | None = None
    init: Path | None = None
    cache: Path | None = None


def build_networks(name: str, stage: Stage, setting: Setting,
                   lookup: Lookup) -> dict[str, Network]:
    """Return a stage's networks with their first weights, on the CPU.

    Each is drawn from a seed of its own: one network more or less changes no other.

    :raises RecipeError: an unknown network or config, weights that don't fit.
    :raises PretrainedError: the user's checkpoint can't be read, or does not fit.
    """
    networks: dict[str, Network] = {}
    for key, spec in stage.networks.items():
        where = f'stages.{name}.networks.{key}'
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(setting.seed, name, 'networks', key))
            try:
                networks[key] = registry.build(spec.type, **spec.config)
            except (ValueError, TypeError) as error:
                raise RecipeError(f'{where}: {error}') from error
    for key, spec in stage.networks.items():
        _first_weights(f'stages.{name}.networks.{key}', networks, key, spec, setting, lookup)
    return networks


def _first_weights(where: str, networks: Mapping[str, Network], key: str, spec: NetworkSpec,
                   setting: Setting, lookup: Lookup) -> None:
    for i, origin in enumerate(spec.from_):
        place = f'{where}.from[{i}]'
        if origin.checkpoint:
            if setting.init is None:
                raise RecipeError(f'{place}: starts from a checkpoint of yours; give it by '
                                  '--init FILE')
            theirs = read(setting.init)
            network = networks[key]
            # a network of this package as it is, or what the recipe says how to rename
            if origin.map or theirs.keys() == weights(network).keys():
                copy_weights(network, theirs, origin.map, f'{place} ({setting.init})')
            elif any(isinstance(m, ViT) for m in network.modules()):
                pretrained.initialise(network, setting.init)
            elif origin.checkpoint == 'backbone':
                fill_resnets(network, theirs, str(setting.init))
            else:
                raise RecipeError(f'{place}: {setting.init} is no {spec.type} of these sizes as '
                                  '`rgbt train` leaves one; give such a file, or set its config '
                                  "to the file's")
            continue
        state = lookup(origin.stage, origin.network) if origin.stage \
            else weights(networks[origin.network])
        copy_weights(networks[key], state, origin.map, place)


def crops_of(name: str, networks: Mapping[str, Network]) -> CropSizes:
    """Return the crops that a stage's networks see.

    :raises RecipeError: they don't agree.
    """
    sizes = {key: tuple(getattr(n.config, f) for f in _CROPS) for key, n in networks.items()}
    first = next(iter(sizes))
    for key, size in sizes.items():
        for field, a, b in zip(_CROPS, sizes[first], size, strict=True):
            if a != b:
                raise RecipeError(f'stages.{name}: {field} of network {first!r} is {a}, that of '
                                  f'{key!r} is {b}; they see the same crops')
    return CropSizes(*sizes[first])


def make_source(where: str, data: Data, seed: int, crops: CropSizes,
                setting: Setting) -> PairSource:
    """Return a data source; the data folder becomes its option `root` where it has one, the
    cache its option `cache`.

    :raises RecipeError: an unknown source, option or value, or no folder where one is needed.
    :raises ValueError: data on the disk that can't be used; names the file.
    """
    options = dict(data.options)
    try:
        known = {f.name for f in fields(source_class(data.source).Options)}
    except ValueError as error:
        raise RecipeError(f'{where}: {error}') from error
    for key, folder in (('root', setting.data), ('cache', setting.cache)):
        if key in known and folder is not None:
            options.setdefault(key, str(folder))
    try:
        return build_source(data.source, seed, crops, **options)
    except TypeError as error:
        raise RecipeError(f'{where}: {error}') from error
    except ValueError as error:
        hint = '; give its folder by --data DIR' if 'root' in known and \
            'root' not in options and 'root' in str(error) else ''
        raise RecipeError(f'{where}: {error}{hint}') from error


def calibration_source(recipe: Recipe, setting: Setting, stage: str,
                       networks: Mapping[str, Network]) -> PairSource:
    """Return the samples that the confidence of a stage's network is fitted to: the recipe's, or
    the stage's own, drawn with another seed.

    :raises RecipeError, ValueError: see `make_source`.
    """
    return make_source('result.calibration.data',
                       recipe.result.calibration.data or recipe.stages[stage].data,
                       derive(setting.seed, 'calibration'), crops_of(stage, networks), setting)


def make_graph(name: str, stage: Stage, setting: Setting, lookup: Lookup,
               device: torch.device) -> tuple[Graph, PairSource]:
    """Build a stage: its graph on the device, with all weights made, and its data.

    :raises RecipeError, PretrainedError, ValueError: what `build_networks`, `crops_of`,
        `make_source` and `Graph.materialise` raise.
    """
    networks = build_networks(name, stage, setting, lookup)
    source = make_source(f'stages.{name}.data', stage.data, derive(setting.seed, name, 'data'),
                         crops_of(name, networks), setting)
    seed = derive(setting.seed, name, 'graph')
    try:
        graph = Graph(stage, networks, seed).to(device)
        channels_last(graph)
        graph.materialise(source.batch([0, 1], device))
    except RecipeError as error:
        raise RecipeError(f'stages.{name}.{error}') from error
    return graph, source


def check(recipe: Recipe, setting: Setting, device: torch.device) -> None:
    """Build every stage once and pass two samples through it, before anything is trained.

    :raises RecipeError, PretrainedError, ValueError: what does not fit.
    """
    from rgbt_tracker_ros.distillation.schedule import make_optimizer

    shapes: dict[tuple[str, str], State] = {}

    def trained(stage: str, network: str) -> State:
        return shapes[stage, network]

    for name, stage in recipe.stages.items():
        graph, _ = make_graph(name, stage, setting, trained, device)
        networks = {k: n for k, n in graph.networks.items() if isinstance(n, Network)}
        try:
            make_optimizer(graph, stage.optimizer)
        except RecipeError as error:
            raise RecipeError(f'stages.{name}.{error}') from error
        if name == recipe.result.stage and recipe.result.calibration.samples:
            calibration_source(recipe, setting, name, networks)
        shapes |= {(name, key): {k: v.to('meta') for k, v in weights(network).items()}
                   for key, network in graph.networks.items()}
