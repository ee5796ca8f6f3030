"""What `--set` changes besides the recipe, and values written as it takes them."""
from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import asdict

import yaml

from rgbt_tracker_ros.adaptation.judging import JudgingSettings
from rgbt_tracker_ros.adaptation.mining import MiningSettings
from rgbt_tracker_ros.distillation.recipe import override
from rgbt_tracker_ros.distillation.schema import build


def chosen(overrides: List[str]) -> tuple[MiningSettings, JudgingSettings, tuple[str, ...]]:
    """Return the settings that `mining.every=10` and `judging.samples=64` among overrides make,
    and the overrides of the recipe, which are all others.

    :raises RecipeError: there is no such setting, or no such value of it.
    """
    raw = {'mining': asdict(MiningSettings()), 'judging': asdict(JudgingSettings())}
    ours = [text for text in overrides if text.partition('.')[0] in raw]
    for text in ours:
        override(raw, text)
    return (build(MiningSettings, raw['mining'], '--set mining'),
            build(JudgingSettings, raw['judging'], '--set judging'),
            tuple(text for text in overrides if text not in ours))


def as_text(value: object) -> str:
    """Return a value as an override has it: JSON's 1e-05 would be a text there, not a number."""
    return yaml.safe_dump(value, default_flow_style=True, width=float('inf'),
                          allow_unicode=True).removesuffix('...\n').strip()
