"""Recipes: YAML files that say which networks are trained on what, in which stages.

A file has a common part and scales that are merged over it, key by key; null takes a key out:

    title: ...                       # one line
    paper: ...                       # where the method comes from
    reconstructed: ...               # what the paper does not say, '' for nothing
    needs: {tiny: ..., full: ...}    # data, checkpoints, time
    result: {stage: student, network: student}
    stages: {...}                    # see spec.Stage
    scales: {tiny: {stages: ...}, full: {stages: ...}}
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from rgbt_tracker_ros.distillation.schema import RecipeError, build, suggest
from rgbt_tracker_ros.distillation.spec import Data, Stage

FOLDER = Path(__file__).parent / 'recipes'


@dataclass(frozen=True)
class Calibration:
    """How the confidence of the result is fitted: `samples` (0: not at all) of `data` (the
    stage's own where None), drawn with another seed.
    """

    samples: int = 2048
    data: Data | None = None

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise ValueError(f'samples is {self.samples}; it must be 0 (no calibration) or more')


@dataclass(frozen=True)
class Result:
    """The network that a recipe is for: the one that tracks."""

    stage: str
    network: str
    calibration: Calibration = field(default_factory=Calibration)


@dataclass(frozen=True)
class Recipe:
    """One training in stages. `raw` is its text after merging and overriding, as plain values."""

    name: str
    scale: str
    title: str
    paper: str
    needs: str
    reconstructed: str
    result: Result
    stages: dict[str, Stage]
    raw: dict[str, Any]


@dataclass(frozen=True)
class _File:
    """The keys of a file."""

    title: str
    result: dict[str, Any]
    stages: dict[str, Any]
    scales: dict[str, dict[str, Any]]
    paper: str = ''
    reconstructed: str = ''
    needs: dict[str, str] = field(default_factory=dict)


def names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(p.stem for p in FOLDER.glob('*.yaml'))


def load_recipe(name: str, scale: str = '', overrides: Sequence[str] = (),
                steps_scale: float = 1.0) -> Recipe:
    """Read a recipe by name or path.

    :param scale: one of the file's; '' is its first.
    :param overrides: 'dotted.path=YAML value', as 'stages.student.batch=16'.
    :param steps_scale: factor of the steps of all stages.
    :raises RecipeError: no such recipe or scale, or an unknown key or value; names the place.
    """
    path, text = _read(name)
    file = build(_File, text, str(path))
    if not file.scales:
        raise RecipeError(f'{path}: scales is empty; at least one is needed')
    scale = scale or next(iter(file.scales))
    if scale not in file.scales:
        raise RecipeError(f'{path}: there is no scale {scale!r}{suggest(scale, file.scales)}')
    raw = merge({'result': file.result, 'stages': file.stages}, file.scales[scale])
    for text_ in overrides:
        override(raw, text_)
    _inherit(raw.get('stages'), str(path))
    for stage in raw['stages'].values():
        # what is no number of steps is for Stage to refuse
        if isinstance(stage, dict) and isinstance(n := stage.get('steps'), int) and n > 0:
            stage['steps'] = max(1, round(n * steps_scale))
    stages = {}
    for key, values in raw['stages'].items():
        stages[key] = build(Stage, values, f'{path}: stages.{key}')
        _check_origins(stages, key, str(path))
    result = build(Result, raw.get('result'), f'{path}: result')
    if result.stage not in stages:
        raise RecipeError(f'{path}: result.stage is {result.stage!r}'
                          f'{suggest(result.stage, stages)}')
    if result.network not in stages[result.stage].networks:
        raise RecipeError(f'{path}: result.network is {result.network!r}'
                          f'{suggest(result.network, stages[result.stage].networks)}')
    if not stages[result.stage].networks[result.network].learns:
        raise RecipeError(f'{path}: result: stage {result.stage} does not train '
                          f'{result.network!r}; name the stage that does')
    return Recipe(path.stem, scale, file.title, file.paper, file.needs.get(scale, ''),
                  file.reconstructed, result, stages, raw)


def scales(name: str) -> list[str]:
    """Return the scales of a recipe. :raises RecipeError: see `load_recipe`."""
    path, text = _read(name)
    return list(build(_File, text, str(path)).scales)


def _read(name: str) -> tuple[Path, dict[str, Any]]:
    path = Path(name) if name.endswith(('.yaml', '.yml')) else FOLDER / f'{name}.yaml'
    if not path.is_file():
        raise RecipeError(f'there is no recipe {name!r}; there are: {", ".join(names())}, or '
                          'give the path of a .yaml file')
    try:
        text = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} can't be read: {error}") from error
    if not isinstance(text, dict):
        raise RecipeError(f'{path} holds {type(text).__name__}, not keys with values')
    return path, text


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` on top, mapping by mapping; None takes a key out."""
    out = deepcopy(dict(base))
    for key, value in over.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, Mapping):
            below = out.get(key)
            out[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            out[key] = deepcopy(value)
    return out


def override(raw: dict[str, Any], text: str) -> None:
    """Set one value, in place: 'stages.student.terms.response.weight=0'; null takes a key out.

    :raises RecipeError: no '=', or a path that does not exist but for its last part.
    """
    path, equals, value = text.partition('=')
    if not equals or not path:
        raise RecipeError(f'--set {text!r}: write PATH=VALUE, as stages.student.batch=16')
    at: Any = raw
    parts = path.split('.')
    for i, part in enumerate(parts[:-1]):
        below = at.get(part) if isinstance(at, dict) else None
        # a section that every stage may have, and this one does not write out
        if below is None and isinstance(at, dict) and part in (
                'optimizer', 'schedule', 'options', 'config', 'calibration', 'terms'):
            below = at[part] = {}
        if not isinstance(below, (dict, list)):
            choices = at if isinstance(at, dict) else range(len(at))
            raise RecipeError(f'--set {text!r}: {".".join(parts[:i]) or "the recipe"} has no '
                              f'{part!r}{suggest(part, choices)}')
        at = below
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f'--set {text!r}: the value is no YAML: {error}') from error
    if not isinstance(at, dict):
        raise RecipeError(f'--set {text!r}: {".".join(parts[:-1])} is a list; set all of it')
    if parsed is None:
        at.pop(parts[-1], None)
    elif isinstance(parsed, dict) and isinstance(at.get(parts[-1]), dict):
        at[parts[-1]] = merge(at[parts[-1]], parsed)
    else:
        at[parts[-1]] = parsed


def _inherit(stages: Any, path: str) -> None:
    """Give networks without a `type` those of the network that they start from, in place."""
    if not isinstance(stages, dict) or not stages:
        raise RecipeError(f'{path}: stages is {stages!r}; it must name stages')
    for name, stage in stages.items():
        networks = stage.get('networks') if isinstance(stage, dict) else None
        for key, network in (networks.items() if isinstance(networks, dict) else ()):
            if not isinstance(network, dict) or 'type' in network:
                continue
            origins = network.get('from') or [{}]
            if isinstance(origins, dict):
                network['from'] = origins = [origins]
            first = origins[0] if isinstance(origins[0], dict) else {}
            of = stages.get(first.get('stage', name))
            others = of.get('networks') if isinstance(of, dict) else None
            other = others.get(first.get('network')) if isinstance(others, dict) else None
            if not isinstance(other, dict) or 'type' not in other or first.get('map'):
                raise RecipeError(f'{path}: stages.{name}.networks.{key}: give its type, or the '
                                  'network of an earlier stage that it starts from')
            network['type'] = other['type']
            network['config'] = merge(other.get('config', {}), network.get('config', {}))


def _check_origins(stages: Mapping[str, Stage], name: str, path: str) -> None:
    """Refuse networks that start from what no earlier stage trains."""
    for key, network in stages[name].networks.items():
        for origin in network.from_:
            if not origin.stage:
                continue
            where = f'{path}: stages.{name}.networks.{key}.from'
            earlier = [s for s in stages if s != name]
            if origin.stage not in earlier:
                raise RecipeError(f'{where}.stage is {origin.stage!r}, no earlier stage'
                                  f'{suggest(origin.stage, earlier)}')
            if origin.network not in stages[origin.stage].networks:
                raise RecipeError(f'{where}.network is {origin.network!r}'
                                  f'{suggest(origin.network, stages[origin.stage].networks)}')
            if not stages[origin.stage].networks[origin.network].learns:
                raise RecipeError(f'{where}: {origin.stage} does not train {origin.network!r}; '
                                  'start from the stage that does')


def with_precision(recipe: Recipe, precision: str) -> Recipe:
    """Return the recipe with all stages in one precision."""
    stages = {k: replace(s, precision=precision) for k, s in recipe.stages.items()}  # type: ignore
    raw = recipe.raw | {'stages': {k: v | {'precision': precision}
                                   for k, v in recipe.raw['stages'].items()}}
    return replace(recipe, stages=stages, raw=raw)
