"""What a finished run in a folder was: its recipe, from run.json alone."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rgbt_tracker_ros.distillation import resume
from rgbt_tracker_ros.distillation.recipe import Recipe, Result
from rgbt_tracker_ros.distillation.reuse import RECORD
from rgbt_tracker_ros.distillation.schema import RecipeError, build, suggest
from rgbt_tracker_ros.distillation.spec import Stage


class RunError(ValueError):
    """A folder that is no run, or one that is not finished."""


@dataclass(frozen=True)
class Run:
    """A run of `rgbt train`: its folder, its recipe as it was trained, its seed, the folder of
    its data (None for made-up scenes).
    """

    folder: Path
    recipe: Recipe
    seed: int
    data: Path | None

    def file(self, stage: str, network: str) -> Path:
        """Return where a trained network is.

        :raises RunError: no such stage or network, a stage that is not finished, a network that
            the stage does not train.
        """
        stages = self.recipe.stages
        if stage not in stages:
            raise RunError(f'{self.folder} has no stage {stage!r}{suggest(stage, stages)}')
        networks = stages[stage].networks
        if network not in networks:
            raise RunError(f'stage {stage!r} of {self.folder} has no network {network!r}'
                           f'{suggest(network, networks)}')
        if resume.read_json(self.folder / stage / RECORD) is None:
            raise RunError(f'stage {stage!r} of {self.folder} is not finished; give the `rgbt '
                           f'train` command again with --out {self.folder}: it goes on where it '
                           'stopped')
        file = self.folder / stage / f'{network}.safetensors'
        if not file.is_file():
            trained = sorted(p.stem for p in file.parent.glob('*.safetensors'))
            raise RunError(f'{file} is not there: stage {stage!r} does not train {network!r}'
                           f'{suggest(network, trained)}')
        return file


def open_run(folder: Path) -> Run:
    """Read what a run was.

    :raises RunError: no folder, no run in it, or one whose description this version can't read.
    :raises ResumeError: run.json is damaged.
    """
    if not folder.is_dir():
        raise RunError(f'{folder} is not a folder; give what `rgbt train` had as --out')
    record = folder / 'run.json'
    text = resume.read_json(record)
    if text is None:
        raise RunError(f'{folder} is no run: {record.name} is missing; give what `rgbt train` had '
                       'as --out')
    try:
        stages = {name: build(Stage, values, f'{record}: stages.{name}')
                  for name, values in text['stages'].items()}
        raw = {'result': text['result'] | {'calibration': text.get('calibration', {})},
               'stages': text['stages']}
        result = build(Result, raw['result'], f'{record}: result')
        recipe = Recipe(str(text['recipe']), str(text['scale']), '', '', '', '', result, stages,
                        raw)
        data = text['data']
        return Run(folder, recipe, int(text['seed']), None if data is None else Path(data))
    except (RecipeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{record} can't be read by this version: {error}; export the run with "
                       'the version that trained it') from error
