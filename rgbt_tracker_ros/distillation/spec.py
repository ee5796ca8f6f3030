"""A training as data: what a stage trains, on what, by which losses, and how fast.

Nothing here knows a method. A stage has networks (fresh, copied, from an earlier stage or from a
user's checkpoint), passes (which network sees which modality), terms (losses over named outputs),
an optimiser and a data source.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from rgbt_tracker_ros.distillation.losses import LOSSES, signature
from rgbt_tracker_ros.distillation.schema import suggest

LOGGED = ('step', 'loss', 'norm', 'rate')
"""Columns of a stage's log beside its terms."""


@dataclass(frozen=True)
class Origin:
    """Where the first weights of a network come from.

    Exactly one of: `stage` (and `network` there), `network` (another of this stage), or
    `checkpoint` (the user's, `--init`; `backbone`: of residual networks the backbone alone, as of
    an image classifier). `map` renames: names that match the left pattern (`*` is
    the rest) become the right one, all others are left out; empty copies all, strictly.
    """

    stage: str = ''
    network: str = ''
    checkpoint: bool | Literal['backbone'] = False
    map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.checkpoint) == bool(self.stage or self.network) or (self.stage
                                                                   and not self.network):
            raise ValueError('give `stage` and `network`, `network` alone, or '
                             '`checkpoint: true`')


@dataclass(frozen=True)
class NetworkSpec:
    """A network of a stage: its registered `type`, its `config`, its first weights.

    `frozen` patterns name what does not learn: `*` for all of it. What is frozen is in evaluation
    mode; a network that is wholly frozen sees no gradient.
    """

    type: str
    config: dict[str, Any] = field(default_factory=dict)
    from_: tuple[Origin, ...] = ()
    frozen: tuple[str, ...] = ()

    @property
    def learns(self) -> bool:
        """Whether anything of it does: not where `*` is frozen and nothing is taken out again."""
        last = max((i for i, p in enumerate(self.frozen) if p == '*'), default=-1)
        return last < 0 or any(p.startswith('!') for p in self.frozen[last:])


@dataclass(frozen=True)
class Pass:
    """One run of a network over the batch; `options` go to its `taps`.

    An option '@PASS:TAP' is the output of an earlier pass.
    """

    network: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Term:
    """One loss: `inputs` are 'PASS:TAP' or 'batch:KEY'.

    `*` in a tap stands for all layers in natural order, `{2,5}` for those named; several inputs
    are taken layer by layer, together. `ramp` is the share of the steps in which the weight grows
    from 0, `until` that at which it has fallen to 0 again, in the second half of the steps up to
    there (1: it does not); `detach` names inputs that no gradient goes into.
    """

    loss: str
    inputs: dict[str, str]
    weight: float = 1.0
    over_layers: Literal['sum', 'mean'] = 'sum'
    ramp: float = 0.0
    until: float = 1.0
    detach: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f'loss {self.loss!r} is unknown{suggest(self.loss, LOSSES)}')
        takes = signature(self.loss)
        for name, value in self.inputs.items():
            if name not in takes.inputs:
                raise ValueError(f'loss {self.loss} has no input {name!r}'
                                 f'{suggest(name, takes.inputs)}')
            if ':' not in value:
                raise ValueError(f'input {name} is {value!r}; write PASS:TAP or batch:KEY')
        if missing := [n for n in takes.required if n not in self.inputs]:
            raise ValueError(f'loss {self.loss} needs the input {missing[0]!r}')
        for name in self.options:
            if name not in takes.options:
                raise ValueError(f'loss {self.loss} has no option {name!r}'
                                 f'{suggest(name, takes.options)}')
        for name in self.detach:
            if name not in self.inputs:
                raise ValueError(f'detach names {name!r}{suggest(name, self.inputs)}')
        _not_negative(weight=self.weight)
        if not 0 <= self.ramp <= 1:
            raise ValueError(f'ramp is {self.ramp}; it must be in [0, 1]')
        if not 0 < self.until <= 1:
            raise ValueError(f'until is {self.until}; it must be above 0, at most 1')

    def weight_at(self, progress: float) -> float:
        """Weight at a share of the stage's steps."""
        rise = min(progress / self.ramp, 1.0) if self.ramp else 1.0
        fall = 1.0 if self.until == 1 else min(max(2 - 2 * progress / self.until, 0.0), 1.0)
        return self.weight * rise * fall

    def is_over(self, progress: float) -> bool:
        """Whether the weight is 0 from this share of the stage's steps on."""
        return self.until < 1 and progress >= self.until


DistillSpec = dict[str, Term]


@dataclass(frozen=True)
class Group:
    """Parameters whose names (NETWORK.name, or terms.TERM.name) match, and their `rate`."""

    match: tuple[str, ...]
    rate: float

    def __post_init__(self) -> None:
        _not_negative(rate=self.rate)


@dataclass(frozen=True)
class Optimizer:
    """`rate` is for what no group names; the first group that matches counts.

    `decay_vectors` applies the weight decay to biases and norms, too.
    """

    type: Literal['adamw', 'adam', 'sgd'] = 'adamw'
    rate: float = 1e-3
    weight_decay: float = 1e-4
    decay_vectors: bool = True
    groups: tuple[Group, ...] = ()

    def __post_init__(self) -> None:
        _not_negative(rate=self.rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Schedule:
    """How the rates change: a factor for all of them.

    `constant`; `step`: times `factor` at each of `at` (shares of the steps); `one_cycle`: from
    1/25 up by a cosine in the first `warm_up` (share; 0: 0.3), then down to 1/250,000 (Smith &
    Topin, 2018); `cosine`: linear warm-up, then a cosine to `factor`.
    """

    type: Literal['constant', 'step', 'one_cycle', 'cosine'] = 'constant'
    warm_up: float = 0.0
    at: tuple[float, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.warm_up < 1 or any(not 0 < a < 1 for a in self.at):
            raise ValueError('warm_up and at are shares of the steps, in [0, 1)')
        _not_negative(factor=self.factor)
        if bool(self.at) != (self.type == 'step'):
            raise ValueError(f'at is {list(self.at)} and type is {self.type}: a schedule by steps '
                             'needs their places, and no other takes them')


@dataclass(frozen=True)
class Data:
    """A registered `source` of samples and its `options`; the trainer adds the folder `--data`
    where the source has an option for it.
    """

    source: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One training of some networks."""

    networks: dict[str, NetworkSpec]
    passes: dict[str, Pass]
    terms: DistillSpec
    data: Data
    steps: int
    batch: int = 32
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    clip: float = 0.0           # largest norm of the gradient; 0: any
    ema: float = 0.0            # decay of the moving average that is kept; 0: none
    precision: Literal['32', 'bf16'] = '32'
    workers: int = 0            # processes that draw samples
    save_every: int = 200
    log_every: int = 1

    def __post_init__(self) -> None:
        for key in ('steps', 'batch', 'save_every', 'log_every'):
            if getattr(self, key) < 1:
                raise ValueError(f'{key} is {getattr(self, key)}; it must be 1 or more')
        for key, low, high in (('clip', 0, float('inf')), ('ema', 0, 1),
                               ('workers', 0, float('inf'))):
            if not low <= getattr(self, key) <= high:
                most = '' if high == float('inf') else f', at most {high}'
                raise ValueError(f'{key} is {getattr(self, key)}; it must be {low} or more{most}')
        for name, one in self.passes.items():
            if name == 'batch':
                raise ValueError("a pass can't be called 'batch'")
            if one.network not in self.networks:
                raise ValueError(f'pass {name} runs {one.network!r}'
                                 f'{suggest(one.network, self.networks)}')
        for name, term in self.terms.items():
            for key, value in term.inputs.items():
                source = value.partition(':')[0]
                if source not in (*self.passes, 'batch'):
                    raise ValueError(f'terms.{name}.inputs.{key} is {value!r}: no pass '
                                     f'{source!r}{suggest(source, (*self.passes, "batch"))}')
        if taken := sorted(set(self.terms) & set(LOGGED)):
            raise ValueError(f"a term can't be called {taken[0]!r}: the log has a column of that "
                             'name')
        if not self.terms:
            raise ValueError('there are no terms; at least one loss is needed')
        weighed = {name: term.until for name, term in self.terms.items() if term.weight}
        if not weighed:
            raise ValueError(f'all terms ({", ".join(self.terms)}) have weight 0; at least one '
                             'loss is needed')
        if (last := max(weighed.values())) < 1:
            raise ValueError(f'until of all terms ({", ".join(weighed)}) is below 1: no loss is '
                             f'left after {last:g} of the steps; let one term go on to the end')
        before: list[str] = []
        for name, network in self.networks.items():
            for origin in network.from_:
                if origin.network and not origin.stage and origin.network not in before:
                    # one that comes later has not got its own first weights yet
                    raise ValueError(f'networks.{name} starts from {origin.network!r}, which is '
                                     f'no network before it{suggest(origin.network, before)}')
            before.append(name)


def _not_negative(**values: float) -> None:
    for key, value in values.items():
        if not 0 <= value < float('inf'):
            raise ValueError(f'{key} is {value}; it must be 0 or more')
