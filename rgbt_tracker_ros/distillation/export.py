"""From a trained recipe to the one file that tracks: its student, calibrated and checked."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
import os
from pathlib import Path
from statistics import median
import subprocess
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgbt_tracker_ros.distillation.calibrate import outcomes, platt
from rgbt_tracker_ros.distillation.recipe import Recipe
from rgbt_tracker_ros.distillation.stages import Setting, calibration_source
from rgbt_tracker_ros.models import checkpoint, profile
from rgbt_tracker_ros.models.network import Network, Output
from rgbt_tracker_ros.models.registry import name_of
from rgbt_tracker_ros.runtime.eager import EagerStudent
from rgbt_tracker_ros.types import Box

_TIMED, _PATIENCE = 30, 5.0  # looks that are timed, and s for them


class ExportError(ValueError):
    """A file that does not answer as the network it was made of."""


@dataclass(frozen=True)
class Card:
    """What is to be known of an exported file; `milliseconds`: for one search crop, on one CPU
    thread; `info` is what the file says of itself.
    """

    path: Path
    network: str
    sha256: str
    milliseconds: float
    info: dict[str, Any]

    def __str__(self) -> str:
        info = self.info
        held, fit = info.get('held_out'), info.get('calibration')
        amount = f'{info["macs"] / 1e9:.3g} G' if info['macs'] >= 1e9 else \
            f'{info["macs"] / 1e6:.3g} M'
        lines = [
            f'{self.path}: {self.network} of recipe {info["recipe"]} ({info["scale"]}, seed '
            f'{info["seed"]})',
            f'  parameters   {info["parameters"] / 1e6:.2f} M, {self.path.stat().st_size} bytes',
            f'  MACs         {amount} for template and search crop, layers with weights',
            f'  time         {self.milliseconds:.1f} ms for a search crop, one CPU thread',
            f'  sha256       {self.sha256}']
        if held:
            lines.append(f'  kept aside   mean overlap {held["overlap"]:.3f}, at least half in '
                         f'{held["hits"]:.1%} of {held["samples"]} samples')
        why = 'the recipe names no labelled samples' if not held else \
            f'{"all" if held["hits"] else "none"} of the samples are hits'
        lines.append(
            f'  confidence   not calibrated: {why}; thresholds may need other values' if not fit
            else f'  confidence   calibrated, expected error {fit["ece"]:.3f}' if 'ece' in fit
            else f'  confidence   calibrated as before: {why}')
        return '\n'.join(lines)


def export(recipe: Recipe, setting: Setting, file: Path, out: Path, *, stage: str = '',
           device: torch.device | str = 'cpu', samples: int | None = None,
           workers: int = 0, more: Mapping[str, Any] | None = None) -> Card:
    """Write the tracking part of a trained network, calibrated, and check what was written.

    :param setting: seed and data of the run. :param file: the network as its stage left it.
    :param out: the file to write; an old one stays until the new one is found to be good.
    :param stage: that it was trained in ('': that of the recipe's result); the confidence is
        fitted to samples of that stage's data unless the recipe names others, drawn with another
        seed.
    :param samples: how many; None: the recipe's, whose 0 is none in any case.
    :param more: JSON values that the file shall say of itself beside those it always does.
    :raises CheckpointError: `file` can't be used. :raises RecipeError, ValueError: the data can't.
    :raises ExportError: what was written answers differently. :raises OSError: `out` can't be
        written.
    """
    trained, _ = checkpoint.load(file)
    student = trained.tracking_network()
    info: dict[str, Any] = {
        'recipe': recipe.name, 'scale': recipe.scale, 'stage': stage or recipe.result.stage,
        'seed': setting.seed, 'steps': sum(s.steps for s in recipe.stages.values()),
        'data': None if setting.data is None else setting.data.name, 'commit': commit(),
        'parameters': profile.parameters(student), 'macs': profile.tracking_macs(student).layers}
    info |= more or {}
    info |= _calibrated(recipe, setting, info['stage'], student, device, samples, workers)
    student.to('cpu')
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix='.export-', dir=out.parent) as folder:
        new = Path(folder) / out.name
        checkpoint.save(student, new, **info)
        compare(trained, checkpoint.load(new)[0])
        milliseconds = time_of(new)
        checkpoint.put_in_place(new, out)
    return Card(out, name_of(student), checkpoint.sha256_of(out), milliseconds, info)


def _calibrated(recipe: Recipe, setting: Setting, stage: str, student: Network,
                device: torch.device | str, samples: int | None, workers: int) -> dict[str, Any]:
    """Return what the network does on samples kept aside, and the confidence fitted to it."""
    how = recipe.result.calibration
    if not how.samples:
        return {}
    source = calibration_source(recipe, setting, stage, {'student': student})
    outcome = outcomes(student.to(device), source, samples or how.samples, device=device,
                       workers=workers)
    hit = outcome.overlap >= 0.5
    found: dict[str, Any] = {'held_out': {'overlap': round(float(outcome.overlap.mean()), 4),
                                          'hits': round(float(hit.mean()), 4),
                                          'samples': len(hit)}}
    if hit.any() and not hit.all():
        # further digits depend on the number of threads: the file's bytes should not
        found['calibration'] = {k: float(f'{v:.5g}')
                                for k, v in platt(outcome.logit, hit).items()}
    return found


@torch.no_grad()
def compare(trained: Network, exported: Network, pairs: int = 2) -> None:
    """Run both on random crops, both modalities and each alone: bit by bit the same answers.

    :param trained: the training graph's network, with all its branches, in evaluation mode.
    :raises ExportError: they differ; says in what and by how much.
    """
    for present in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
        ours, theirs = (_answer(n.eval(), present, pairs) for n in (trained, exported))
        for name, a, b in zip(Output._fields, ours, theirs, strict=True):
            if a.shape != b.shape or not torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)):
                gap = (a - b).abs().max() if a.shape == b.shape else 'shapes'
                raise ExportError(
                    f'the exported network gives other {name} than the trained one (largest '
                    f'difference: {gap}): its tracking_network() is not what forward() runs')


def _answer(network: Network, present: tuple[float, float], count: int) -> Output:
    c, device = network.config, next(network.parameters()).device
    random = torch.Generator().manual_seed(0)

    def crops(size: int) -> tuple[Tensor, Tensor, Tensor]:
        there = torch.tensor([present] * count)
        images = [torch.rand(count, channels, size, size, generator=random)
                  * there[:, i, None, None, None] for i, channels in enumerate((3, 1))]
        return images[0].to(device), images[1].to(device), there.to(device)

    n = c.template_size
    box = torch.tensor([[n / 4, n / 4, n / 2, n / 2]] * count, device=device)
    template = network.encode_template(*crops(n), box)
    return network(template, *crops(c.search_size))


def time_of(path: Path) -> float:
    """Return the milliseconds that a search crop takes on one CPU thread, as the tracker runs it
    (the median of 30, or of what 5 s allow).
    """
    with _one_thread():
        runtime = EagerStudent(path, 'cpu')
        c, random = runtime.config, np.random.default_rng(0)
        t, s = ((random.integers(0, 256, (n, n, 3), np.uint8),
                 random.integers(0, 256, (n, n), np.uint8))
                for n in (c.template_size, c.search_size))
        n = c.template_size
        template = runtime.encode(*t, Box(n / 4, n / 4, n / 2, n / 2))
        runtime.search(template, *s)
        times: list[float] = []
        while len(times) < _TIMED and sum(times) < _PATIENCE:
            start = perf_counter()
            runtime.search(template, *s)
            times.append(perf_counter() - start)
    return 1e3 * median(times)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def commit() -> str:
    """Return the commit of the source tree that this runs from, '' where it is installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / '.git').exists():
        return ''
    try:
        done = subprocess.run(
            ['git', '-C', str(root), 'describe', '--always', '--dirty', '--abbrev=40',
             '--exclude=*'], capture_output=True, text=True, timeout=10, check=False,
            env=os.environ | {'GIT_OPTIONAL_LOCKS': '0'})  # it only looks
    except (OSError, subprocess.TimeoutExpired):  # no git, or a repository it does not trust
        return ''
    return done.stdout.strip()
