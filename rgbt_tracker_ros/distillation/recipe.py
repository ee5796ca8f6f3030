"""Recipes: YAML files that say which network is trained on what, and for how long."""
from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from rgbt_tracker_ros.data.samples import SampleConfig
from rgbt_tracker_ros.distillation.training import TrainConfig
from rgbt_tracker_ros.models.student import StudentConfig

FOLDER = Path(__file__).parent / 'recipes'


class RecipeError(ValueError):
    """A recipe that does not exist, or holds what no part knows."""


@dataclass(frozen=True)
class Recipe:
    """One training: sizes of the student, samples, schedule."""

    name: str
    student: StudentConfig = field(default_factory=StudentConfig)
    samples: SampleConfig = field(default_factory=SampleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


_COUNTS = ('steps', 'batch', 'save_every')  # of what there must be at least one
_PARTS = {'student': StudentConfig, 'samples': SampleConfig, 'train': TrainConfig}


def load_recipe(name: str, **train: Any) -> Recipe:
    """Read a recipe by name or path; `train` overrides its schedule where not None.

    :raises RecipeError: unknown recipe, section, key, or type of a value.
    """
    path = Path(name) if name.endswith('.yaml') else FOLDER / f'{name}.yaml'
    if not path.is_file():
        known = ', '.join(sorted(p.stem for p in FOLDER.glob('*.yaml')))
        raise RecipeError(f'there is no recipe {name!r}; there are: {known}')
    try:
        text = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} can't be read: {error}") from error
    if not isinstance(text, dict):
        raise RecipeError(f'{path} holds {type(text).__name__}, not sections; '
                          f'use {", ".join(_PARTS)}')
    parts: dict[str, Any] = {}
    for section, given in ({'train': None} | text).items():
        if section not in _PARTS:
            raise RecipeError(f'{path}: section {section!r} is unknown; use {", ".join(_PARTS)}')
        values: dict[str, Any] = {} if given is None else given
        if not isinstance(values, dict):
            raise RecipeError(f'{path}: section {section} is {values!r}, not keys with values')
        if section == 'train':
            values = values | {k: v for k, v in train.items() if v is not None}
        defaults = _PARTS[section]()
        known_keys = {f.name: getattr(defaults, f.name) for f in fields(defaults)}
        for key, value in values.items():
            if key not in known_keys:
                raise RecipeError(f'{path}: {section}.{key} is unknown; '
                                  f'use {", ".join(known_keys)}')
            kind = type(known_keys[key])
            if not isinstance(value, (int, float) if kind is float else kind) or (
                    isinstance(value, bool) and kind is not bool):
                raise RecipeError(f'{path}: {section}.{key} is {value!r}, it must be '
                                  f'{kind.__name__}')
            if key in _COUNTS and value < 1:
                raise RecipeError(f'{path}: {section}.{key} is {value!r}, it must be 1 or more')
        parts[section] = _PARTS[section](**values)
    recipe = Recipe(path.stem, **parts)
    for key in ('template_size', 'search_size', 'template_factor', 'search_factor'):
        if getattr(recipe.student, key) != getattr(recipe.samples, key):
            raise RecipeError(f'{path}: {key} differs between student and samples')
    return recipe
