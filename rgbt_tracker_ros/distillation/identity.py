"""What a run, and each of its stages, comes from: two that agree in it have the same weights."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from rgbt_tracker_ros.distillation.recipe import Recipe
from rgbt_tracker_ros.distillation.stages import Setting
from rgbt_tracker_ros.models.checkpoint import sha256_of

# how a stage is trained, not what comes out
_MANNERS = ('workers', 'save_every', 'log_every')


def run_identity(recipe: Recipe, setting: Setting) -> dict[str, Any]:
    """Describe a whole run: recipe text after all changes, seed, data folder, checkpoint.

    How the result's confidence is fitted is none of it: a run whose training is done can be
    finished with other samples.
    """
    result = {k: v for k, v in recipe.raw['result'].items() if k != 'calibration'}
    return {'recipe': recipe.name, 'scale': recipe.scale, 'seed': setting.seed,
            'data': _path(setting.data), 'init': _sha(setting.init),
            'result': result,
            'stages': {name: _plain(stage) for name, stage in recipe.raw['stages'].items()}}


def run_record(recipe: Recipe, setting: Setting) -> dict[str, Any]:
    """Return what run.json keeps of a run: its identity, and the rest that `rgbt export` needs."""
    return run_identity(recipe, setting) | {
        'calibration': recipe.raw['result'].get('calibration', {})}


def identity_of(record: Any) -> Any:
    """Return the identity in what run.json kept."""
    return {k: v for k, v in record.items() if k != 'calibration'} \
        if isinstance(record, dict) else record


def stage_identity(recipe: Recipe, setting: Setting, name: str) -> dict[str, Any]:
    """Describe one stage and all that it starts from, without the rest of the recipe.

    Stages of two recipes that agree in it can be shared.
    """
    stage = recipe.stages[name]
    origins = [o for network in stage.networks.values() for o in network.from_]
    return {'stage': name, 'seed': setting.seed, 'data': _path(setting.data),
            'init': _sha(setting.init) if any(o.checkpoint for o in origins) else None,
            'text': _plain(recipe.raw['stages'][name]),
            'from': {o.stage: stage_identity(recipe, setting, o.stage)
                     for o in origins if o.stage}}


def _plain(stage: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in stage.items() if k not in _MANNERS}


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


_shas: dict[Path, str] = {}


def _sha(path: Path | None) -> str | None:
    """Return the sha256 of the user's checkpoint, read once."""
    if path is None or not path.is_file():  # reading it will say so
        return None
    if path not in _shas:
        _shas[path] = sha256_of(path)
    return _shas[path]
