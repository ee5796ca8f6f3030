"""Train the stages of a recipe: resumable to the step, the same result as if never stopped (bit
by bit on CPUs; GPUs add up in an order of their own).

All random numbers derive from (seed, stage, step or sample number), never from what was drawn
before; a batch is its sample numbers, which the processes share among them.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import math
from pathlib import Path
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from rgbt_tracker_ros.data.pair_sources import PairSource
from rgbt_tracker_ros.distillation import resume
from rgbt_tracker_ros.distillation.average import Average
from rgbt_tracker_ros.distillation.devices import make_fabric
from rgbt_tracker_ros.distillation.graph import Graph
from rgbt_tracker_ros.distillation.identity import (
    identity_of,
    run_identity,
    run_record,
    stage_identity,
)
from rgbt_tracker_ros.distillation.needs import require
from rgbt_tracker_ros.distillation.recipe import Recipe
from rgbt_tracker_ros.distillation.reuse import RECORD, take, unlike
from rgbt_tracker_ros.distillation.schedule import make_optimizer, set_rates
from rgbt_tracker_ros.distillation.seeds import derive
from rgbt_tracker_ros.distillation.spec import Stage
from rgbt_tracker_ros.distillation.stages import Setting, check, make_graph
from rgbt_tracker_ros.distillation.stopping import Stopping
from rgbt_tracker_ros.distillation.train_log import TrainLog
from rgbt_tracker_ros.distillation.weights import State, copy_weights, weights
from rgbt_tracker_ros.models import checkpoint, registry
from rgbt_tracker_ros.models.network import Network

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PLOT_EVERY = 120.0  # seconds


@dataclass(frozen=True)
class Options:
    """How to train, which does not change what comes out.

    `out`: folder of the run; `reuse`: runs whose finished stages may be taken; `device`,
    `devices`, `nodes`: see `make_fabric`; `until`: stop after this many steps of all stages;
    `workers`: processes that draw samples (None: the stage's); `tensorboard`: log there, too.
    """

    out: Path
    reuse: tuple[Path, ...] = ()
    device: str = 'auto'
    devices: int = 1
    nodes: int = 1
    until: int | None = None
    workers: int | None = None
    tensorboard: bool = False


class Trainer:
    """One run of a recipe in a folder: OUT/STAGE/NETWORK.safetensors, log.csv, losses.png."""

    def __init__(self, recipe: Recipe, setting: Setting, options: Options,
                 fabric: Fabric | None = None) -> None:
        """Check everything before anything is trained.

        :param fabric: the processes, where they were started before; `options.device`, `devices`
            and `nodes` then have no effect.
        :raises RecipeError, PretrainedError, ValueError: what does not fit: recipe, data,
            checkpoint. :raises ResumeError: the folder holds another run.
        """
        self.recipe, self.setting, self.options = recipe, setting, options
        precision = next(iter(recipe.stages.values())).precision
        if any(s.precision != precision for s in recipe.stages.values()):
            raise ValueError('all stages of a run must have one precision')
        self.fabric = fabric or make_fabric(options.device, options.devices, options.nodes,
                                            precision)
        world = self.fabric.world_size
        for name, stage in recipe.stages.items():
            if stage.batch % world:
                raise ValueError(f'stages.{name}.batch is {stage.batch}, which {world} processes '
                                 'can not share; choose a multiple')
        self.identity = run_identity(recipe, setting)
        self.stopping = Stopping()
        run = options.out / 'run.json'
        if (theirs := resume.read_json(run)) is not None:
            resume.same(identity_of(theirs), self.identity, run)
        require('matplotlib')
        check(recipe, setting, self.fabric.device)
        self.fabric.barrier()
        if self.fabric.is_global_zero:
            resume.write_json(run, run_record(recipe, setting))
        self.fabric.barrier()
        # stages begin with what the first process has written of those before
        if identity_of(resume.read_json(run)) != resume.plain(self.identity):
            raise ValueError(f'{run}, which the first process has written, is not there for '
                             f'process {self.fabric.global_rank}; --out must be a folder that '
                             'all machines see')

    @property
    def state_file(self) -> Path:
        """What the next step depends on, of the stage under way."""
        return self.options.out / 'resume.pt'

    def run(self) -> bool:
        """Train what is not trained yet; True when all stages are done.

        :raises ValueError: a loss is not finite any more; the last checkpoint is from before.
        :raises OSError: something can't be written.
        """
        done = 0
        with self.stopping:
            for name, stage in self.recipe.stages.items():
                if not self._finished(name):
                    left = stage.steps if self.options.until is None \
                        else min(self.options.until - done, stage.steps)
                    if left <= 0 or not self._train(name, stage, left):
                        return False
                done += stage.steps
        return True

    def close(self) -> None:
        """Wait for the other processes and let go of them, at the end of this one: one that ends
        while others still speak to it is an error to them.
        """
        self.fabric.barrier()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def folder(self, stage: str) -> Path:
        """Return the folder of a stage."""
        return self.options.out / stage

    def result(self, stage: str, network: str) -> State:
        """Return the weights with which a network ended a stage."""
        return weights(checkpoint.load(self.folder(stage) / f'{network}.safetensors')[0])

    def _finished(self, name: str) -> bool:
        """Tell whether a stage was trained here, or can be taken from another run."""
        wanted = stage_identity(self.recipe, self.setting, name)
        record = self.folder(name) / RECORD
        theirs = resume.read_json(record)
        self.fabric.barrier()  # all have looked before one of them takes it from elsewhere
        if theirs is not None:
            resume.same(theirs['identity'], wanted, record)
            return True
        for run in self.options.reuse:
            if (reason := unlike(run / name, wanted)) is not None:
                if reason and self.fabric.is_global_zero:
                    tqdm.write(f'stage {name}: not taken from {run}: {reason}')
                continue
            if self.fabric.is_global_zero:
                take(run / name, self.folder(name))
                tqdm.write(f'stage {name}: taken from {run}')
            self.fabric.barrier()
            return True
        return False

    def _train(self, name: str, stage: Stage, until: int) -> bool:
        """Train a stage up to a step; True where that is its end."""
        fabric = self.fabric
        graph, source = make_graph(name, stage, self.setting, self.result, fabric.device)
        optimizer = make_optimizer(graph, stage.optimizer)
        average = Average(graph, stage.ema) if stage.ema else None
        step = self._resume(name, graph, optimizer, average)
        module, wrapped = fabric.setup(graph, optimizer)
        log = TrainLog(self.folder(name), name, step, stage.steps, writes=fabric.is_global_zero,
                       tensorboard=self.options.tensorboard)
        state = _State(name, graph, optimizer, average, step)
        try:
            self._steps(state, stage, until, module, wrapped, source, log)
        finally:
            log.close()
        if state.step < stage.steps:
            return False
        self._finish(name, stage, graph, average)
        return True

    def _resume(self, name: str, graph: Graph, optimizer: torch.optim.Optimizer,
                average: Average | None) -> int:
        """Take up the stage where it was left; return the step (0 for a new one)."""
        saved = resume.load_state(self.state_file, self.identity)
        step = 0 if saved is None or saved['stage'] != name else int(saved['step'])
        self._agreed(step)
        if saved is None or not step:
            return 0
        absent, unknown = graph.load_state_dict(saved['graph'], strict=False)
        frozen = self._frozen(graph)
        if strange := [*unknown, *(k for k in absent if not k.startswith(frozen))]:
            raise resume.ResumeError(f'{self.state_file} is of another version, whose networks '
                                     f'differ in {strange[0]}; go on with that version, or '
                                     'choose another --out')
        optimizer.load_state_dict(saved['optimizer'])
        if average is not None:
            average.load(saved['average'])
        return step

    def _agreed(self, step: int) -> None:
        """Refuse processes that would go on from different steps."""
        if self.fabric.world_size == 1:
            return
        mean = self.fabric.all_reduce(
            torch.tensor([float(step), float(step) ** 2], dtype=torch.float64,
                         device=self.fabric.device), reduce_op='mean')
        assert isinstance(mean, Tensor)
        if mean[1] != mean[0] ** 2:
            raise resume.ResumeError(
                f'{self.state_file} is at step {step} for process {self.fabric.global_rank}, and '
                'at another for others; --out must be a folder that all machines see')

    def _steps(self, state: _State, stage: Stage, until: int, module: Any, optimizer: Any,
               source: PairSource, log: TrainLog) -> None:
        fabric = self.fabric
        plotted = time.monotonic()
        for batch in self._batches(stage, state.step, until, source):
            rate = set_rates(optimizer.optimizer, state.step, stage.steps, stage.schedule)
            torch.manual_seed(derive(self.setting.seed, state.name, 'step', state.step,
                                     fabric.global_rank))
            total, named = module(batch, state.step / stage.steps)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(total)
            norm = fabric.clip_gradients(module, optimizer, max_norm=stage.clip or math.inf,
                                         error_if_nonfinite=False)
            optimizer.step()
            state.step += 1
            if state.average is not None:
                state.average.update(state.step)
            # several processes agree on it where they speak to each other anyway
            stop = self.stopping.asked and fabric.world_size == 1
            due = state.step % stage.save_every == 0 or state.step == until
            logged = due or state.step % stage.log_every == 0
            # what is saved was looked at: the last checkpoint is from before a divergence
            if stop or logged:
                values, stop = self._shared({'loss': total.detach(), **named}, norm)
                if not all(map(math.isfinite, values.values())):
                    raise ValueError(f'the training diverged in step {state.step} of stage '
                                     f'{state.name}: {_shown(values)}; try a lower rate')
                if logged:
                    log.row(state.step, values | {'rate': rate})
            log.advance()
            if stop or due:
                log.flush()
                self._save(state)
                if time.monotonic() - plotted > PLOT_EVERY:
                    log.plot()
                    plotted = time.monotonic()
            if stop:
                # who launched them may kill all as soon as one has ended: not while it saves
                fabric.barrier()
                raise KeyboardInterrupt
        log.plot()

    def _batches(self, stage: Stage, start: int, until: int,
                 source: PairSource) -> Iterator[dict[str, Tensor]]:
        share = stage.batch // self.fabric.world_size
        first = share * self.fabric.global_rank
        workers = stage.workers if self.options.workers is None else self.options.workers
        indices = [range(s * stage.batch + first, s * stage.batch + first + share)
                   for s in range(start, until)]
        return source.iterate(indices, self.fabric.device, workers)

    def _shared(self, named: Mapping[str, Tensor], norm: Any) -> tuple[dict[str, float], bool]:
        """Return the means of the losses over the processes, and whether any is to stop."""
        row = torch.stack([v.float() for v in named.values()]
                          + [torch.as_tensor(norm, device=self.fabric.device).float(),
                             torch.tensor(float(self.stopping.asked), device=self.fabric.device)])
        if self.fabric.world_size > 1:
            row = self.fabric.all_reduce(row, reduce_op='mean')  # type: ignore[assignment]
        *values, norm_, asked = row.tolist()
        return dict(zip(named, values, strict=True)) | {'norm': norm_}, asked > 0

    def _save(self, state: _State) -> None:
        if not self.fabric.is_global_zero:
            return
        frozen = self._frozen(state.graph)
        resume.save_state(self.state_file, {
            'stage': state.name, 'step': state.step,
            'graph': {k: v for k, v in state.graph.state_dict().items()
                      if not k.startswith(frozen)},
            'optimizer': state.optimizer.state_dict(),
            'average': {} if state.average is None else state.average.state}, self.identity)

    @staticmethod
    def _frozen(graph: Graph) -> tuple[str, ...]:
        """Return the beginnings of names of what is not saved: it is where it came from."""
        return tuple(f'networks.{n}.' for n in graph.networks if graph.frozen(n))

    def _finish(self, name: str, stage: Stage, graph: Graph,
                average: Average | None) -> None:
        """Leave the trained networks of a stage, its moving averages where it has them."""
        if self.fabric.is_global_zero:
            for key, network in graph.networks.items():
                if graph.frozen(key):  # it is where it came from
                    continue
                assert isinstance(network, Network)
                if average is not None:
                    kept = registry.build(stage.networks[key].type, **stage.networks[key].config)
                    copy_weights(kept, average.of(key), {}, key)
                    network = kept
                checkpoint.save(network, self.folder(name) / f'{key}.safetensors',
                                recipe=self.recipe.name, scale=self.recipe.scale, stage=name,
                                seed=self.setting.seed, steps=stage.steps)
            resume.write_json(self.folder(name) / RECORD, {
                'identity': stage_identity(self.recipe, self.setting, name)})
        self.fabric.barrier()


@dataclass
class _State:
    """A stage under way."""

    name: str
    graph: Graph
    optimizer: torch.optim.Optimizer
    average: Average | None
    step: int


def _shown(values: Mapping[str, float]) -> str:
    return ', '.join(f'{k} {v:.4g}' for k, v in values.items())
