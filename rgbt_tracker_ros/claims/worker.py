"""Train and measure one arm with one seed: `python -m rgbt_tracker_ros.claims.worker`."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
import fcntl
import hashlib
import json
from pathlib import Path
import shutil
import time
from typing import Any

import torch

from rgbt_tracker_ros.claims.arms import ADAPT, ARMS, NOTHING, Arm
from rgbt_tracker_ros.claims.measures import measure
from rgbt_tracker_ros.claims.store import Result, arm_folder, digest, read_result, standing
from rgbt_tracker_ros.distillation import resume
from rgbt_tracker_ros.distillation.identity import identity_of, run_identity, stage_identity
from rgbt_tracker_ros.distillation.recipe import Recipe, load_recipe
from rgbt_tracker_ros.distillation.reuse import RECORD
from rgbt_tracker_ros.distillation.stages import Setting
from rgbt_tracker_ros.distillation.trainer import Options, Trainer
from rgbt_tracker_ros.models import checkpoint

REVISION = 1
"""Raise it when the same recipe trains to other weights: all results are then made anew."""
REVISIONS = {'adaptation': 3}
"""Kind of measurement -> raised when it, or the tracker that `suites` and `adaptation` go through,
changes what comes out; 1 where nothing stands.
"""
TRAINED = 'trained.txt'
"""In an arm's folder: what `run` holds, where no stage of the trainer's tells."""


def arm_recipe(arm: Arm) -> Recipe:
    """Return the recipe as an arm trains it. :raises RecipeError: a change that does not fit."""
    return load_recipe(arm.recipe, arm.scale, arm.sets)


def key_of(arm: Arm, recipe: Recipe, seed: int) -> str:
    """Describe a result by all that it comes from but the code; equal keys, equal results."""
    kinds = {m.kind for m in arm.measures}
    parts: list[Any] = [REVISION, _trained(arm, recipe, seed), [m.__dict__ for m in arm.measures]]
    if revisions := {k: REVISIONS[k] for k in kinds & set(REVISIONS)}:
        parts.append(revisions)
    return _hash(parts)


def _trained(arm: Arm, recipe: Recipe, seed: int) -> Any:
    """Describe what an arm trains."""
    if arm.recipe == ADAPT:
        return {'seed': seed, 'recipe': recipe.raw,
                'student': checkpoint.sha256_of(checkpoint.SHIPPED)}
    if arm.stage == NOTHING:
        return {'seed': seed, 'networks': {
            f'{s}.{k}': n['config'] for s, stage in recipe.raw['stages'].items()
            for k, n in stage['networks'].items() if 'config' in n}}
    return stage_identity(recipe, Setting(seed), arm.stage)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def run_arm(arm: Arm, seed: int, out: Path) -> bool:
    """Bring an arm to its result.json, from wherever it was left; False if it was interrupted."""
    folder = arm_folder(out, arm.name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('w') as lock:
        # one that outlived its `rgbt claims` may still be at it: wait, and take what it made
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _run(arm, seed, out, folder, arm_recipe(arm))


def _run(arm: Arm, seed: int, out: Path, folder: Path, recipe: Recipe) -> bool:
    key = key_of(arm, recipe, seed)
    if standing(out, arm.name, seed, key) is not None:
        return True
    seconds = 0.0
    _forget_other(arm, recipe, seed, out, folder)
    if arm.stage != NOTHING:
        trained = _train(arm, recipe, seed, out, folder)
        if trained is None:
            return False
        seconds = trained
    metrics = measure(arm, recipe, folder / 'run', seed)
    if seconds:
        metrics['cpu_seconds'] = seconds
    parents = {name: read_result(arm_folder(out, name, seed)) for name in arm.needs}
    resume.write_json(folder / 'result.json', {'arm': arm.name, 'seed': seed, **Result(
        metrics, key, digest(folder / 'run' / arm.stage) if arm.stage else '',
        {name: one.weights for name, one in parents.items() if one}).as_dict()})
    return True


def _train(arm: Arm, recipe: Recipe, seed: int, out: Path, folder: Path) -> float | None:
    """Train up to the arm's stage; return the CPU seconds of all steps that are its own, None
    where it was interrupted.
    """
    run = folder / 'run'
    stages = list(recipe.stages)
    until = stages[:stages.index(arm.stage) + 1]
    reuse = tuple(arm_folder(out, name, seed) / 'run' for name in arm.needs)
    taken = {s for s in until for r in reuse if (r / s / RECORD).is_file()}
    own = [s for s in until if s not in taken]
    before = sum(_steps_done(run / s) for s in own)
    start = time.process_time()
    trainer = Trainer(recipe, Setting(seed), Options(
        run, reuse, 'cpu', until=sum(recipe.stages[s].steps for s in until)))
    try:
        trainer.run()
    except KeyboardInterrupt:
        return None
    used = time.process_time() - start
    record = folder / 'cpu.json'
    steps = sum(recipe.stages[s].steps for s in own)
    if steps > before:  # a run that was interrupted counts as if it had been as fast throughout
        resume.write_json(record, {'seconds': used * steps / (steps - before)})
    return float((resume.read_json(record) or {'seconds': 0.0})['seconds'])


def _forget_other(arm: Arm, recipe: Recipe, seed: int, out: Path, folder: Path) -> None:
    """Delete what is left of a run of another description: its recipe has changed, or what it
    starts from.
    """
    run = folder / 'run'
    if arm.stage == NOTHING:
        record, ours = folder / TRAINED, _hash(_trained(arm, recipe, seed))
        if record.is_file() and record.read_text() != ours and run.is_dir():
            shutil.rmtree(run)
        resume.replace(record, lambda part: part.write_text(ours))
    else:
        theirs = identity_of(resume.read_json(run / 'run.json'))
        other = theirs is not None and resume.difference(
            theirs, run_identity(recipe, Setting(seed))) is not None
        for name in arm.needs:
            parent = read_result(arm_folder(out, name, seed))
            taken = digest(run / ARMS[name].stage)
            other |= parent is not None and taken not in ('', parent.weights)
        if other:
            shutil.rmtree(run)


def _steps_done(stage: Path) -> int:
    """Return how many steps a stage has logged, one row each."""
    log = stage / 'log.csv'
    return max(len(log.read_text().splitlines()) - 1, 0) if log.is_file() else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one arm. Returns 130 after an interruption."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('arm', choices=list(ARMS), metavar='ARM')
    p.add_argument('--seed', type=int, required=True)
    p.add_argument('--out', type=Path, required=True)
    args = p.parse_args(argv)
    torch.set_num_threads(1)
    return 0 if run_arm(ARMS[args.arm], args.seed, args.out) else 130


if __name__ == '__main__':
    raise SystemExit(main())
