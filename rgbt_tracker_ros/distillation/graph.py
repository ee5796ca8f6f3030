"""A stage as one module: networks, passes and losses, from a batch to the total loss."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.distillation.losses import Loss, bind
from rgbt_tracker_ros.distillation.patterns import expand, selects
from rgbt_tracker_ros.distillation.schema import RecipeError, suggest
from rgbt_tracker_ros.distillation.seeds import derive
from rgbt_tracker_ros.distillation.spec import Stage, Term
from rgbt_tracker_ros.models.network import Batch, Network, Taps


class Graph(nn.Module):
    """The networks of a stage and the weights of its losses; `forward` is one training pass.

    Terms of weight 0 are left out, and so are those that are over, and passes that nothing needs
    (any more). Before the optimiser is made, `materialise` passes one batch through, which sizes
    the losses' own weights and finds every name that does not exist.
    """

    def __init__(self, stage: Stage, networks: Mapping[str, Network], seed: int) -> None:
        super().__init__()
        self.stage, self.seed = stage, seed
        self.networks = nn.ModuleDict(dict(networks))
        self.active = active_terms(stage)
        self.needed = needed_passes(stage)
        self.terms = nn.ModuleDict()
        self._losses: dict[str, list[tuple[Loss, dict[str, str]]]] = {}
        for name, network in self.networks.items():
            frozen = stage.networks[name].frozen
            keys = [key for key, _ in network.named_parameters()]
            for pattern in frozen:
                if not any(selects([pattern.removeprefix('!')], key) for key in keys):
                    raise RecipeError(f'networks.{name}.frozen: {pattern!r} matches no parameter; '
                                      f'they begin with '
                                      f'{", ".join(sorted({k.split(".")[0] for k in keys}))}')
            for key, parameter in network.named_parameters():
                if selects(frozen, key):  # never the other way: a network may freeze, too
                    parameter.requires_grad_(False)
        self.train()

    def frozen(self, name: str) -> bool:
        """Tell whether nothing of a network learns."""
        return not any(p.requires_grad for p in self.networks[name].parameters())

    def train(self, mode: bool = True) -> Graph:
        """Set the mode; what is frozen stays in evaluation mode, its batch norms' buffers too."""
        super().train(mode)
        for network in self.networks.values():
            _rest(network)
        return self

    def named_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what learns: NETWORK.name and terms.TERM.layer.name."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                yield name.removeprefix('networks.'), parameter

    def materialise(self, batch: Batch) -> None:
        """Pass a small batch through all passes and losses, in evaluation mode.

        :raises RecipeError: a tap, key, option or shape that does not fit, or a loss that reaches
            nothing that learns.
        """
        mode = self.training
        self.eval()
        try:
            for name, _, parts in self._results(batch, 0.0):
                # where nothing learns at all the optimiser says so
                if not parts['loss'].requires_grad and any(True for _ in self.named_trainable()):
                    raise RecipeError(f'terms.{name} reaches nothing that learns; take it out, '
                                      'or freeze less')
        finally:
            self.train(mode)

    def run_passes(self, batch: Batch, needed: Iterable[str] | None = None) -> dict[str, Taps]:
        """Run passes: outputs by pass and name; `batch` is one of them.

        :param needed: which, in order; None: all that terms need.
        """
        outputs: dict[str, Taps] = {'batch': with_unit_boxes(batch)}
        for name in self.needed if needed is None else needed:
            one = self.stage.passes[name]
            options = {k: self._option(name, k, v, outputs) for k, v in one.options.items()}
            network = self.networks[one.network]
            assert isinstance(network, Network)
            # a frozen network between trained ones passes gradients on
            through = any(isinstance(v, Tensor) and v.requires_grad for v in options.values())
            still = self.frozen(one.network) and not through
            where = f'passes.{name} of network {one.network!r} with options {one.options}'
            with torch.no_grad() if still else nullcontext(), self._checked(where):
                outputs[name] = network.taps(batch, **options, seed=self.seed)
        return outputs

    @contextmanager
    def _checked(self, where: str) -> Iterator[None]:
        """Make of what does not fit an error of the recipe, before the training; in it, and of
        too little memory, it is none.
        """
        try:
            yield
        except (TypeError, ValueError, KeyError, RuntimeError) as error:
            if self.training or isinstance(error, RecipeError | torch.OutOfMemoryError):
                raise
            raise RecipeError(f'{where}: {error}') from error

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of all terms, and every term and part of one by name.

        :param progress: share of the stage's steps that are done, in [0, 1].
        """
        total = torch.zeros((), device=batch['search_box'].device)
        named: dict[str, Tensor] = {}
        for name, term, parts in self._results(batch, progress):
            total = total + term.weight_at(progress) * parts.pop('loss')
            named[name] = parts.pop('own')
            named.update({f'{name}.{k}': v for k, v in parts.items()})
        return total, named

    def _results(self, batch: Batch, progress: float,
                 ) -> Iterator[tuple[str, Term, dict[str, Tensor]]]:
        """Yield what `_term` returns of every term that is not over."""
        active = {n: t for n, t in self.active.items() if not t.is_over(progress)}
        outputs = self.run_passes(batch, needed_passes(self.stage, active))
        device = batch['search_box'].device
        for name, term in active.items():
            if name not in self._losses:
                self._losses[name] = self._bind(name, term, outputs, device)
            yield name, term, self._term(name, term, outputs)

    def _option(self, name: str, key: str, value: Any, outputs: dict[str, Taps]) -> Any:
        if not (isinstance(value, str) and value.startswith('@')):
            return value
        source, _, tap = value[1:].partition(':')
        if tap not in outputs[source]:
            raise RecipeError(f'passes.{name}.options.{key}: pass {source!r} gives no {tap!r}'
                              f'{suggest(tap, outputs[source])}')
        return outputs[source][tap]

    def _bind(self, name: str, term: Term, outputs: dict[str, Taps],
              device: torch.device) -> list[tuple[Loss, dict[str, str]]]:
        """Find the layers of a term, and make its loss for each of them."""
        names = {}
        for key, value in term.inputs.items():
            source, _, pattern = value.partition(':')
            names[key] = [f'{source}:{n}' for n in expand(pattern, outputs[source])]
            if not names[key]:
                raise RecipeError(f'terms.{name}.inputs.{key}: {value!r} is nothing that '
                                  f'{source!r} gives{suggest(pattern, outputs[source])}')
        counts = {k: len(v) for k, v in names.items() if '*' in term.inputs[k]
                  or '{' in term.inputs[k]}
        if len(set(counts.values())) > 1:
            raise RecipeError(f'terms.{name}: the inputs have different numbers of layers: '
                              f'{counts}')
        layers = []
        # every term draws its first weights from a seed of its own
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.seed, 'terms', name))
            for i in range(next(iter(counts.values()), 1)):
                try:
                    loss = bind(term.loss, term.options)
                    chosen = {k: v[i if k in counts else 0] for k, v in names.items()}
                    if isinstance(loss, nn.Module):
                        self._call(loss, term, chosen, outputs)
                        loss.to(device)
                except (TypeError, ValueError, RuntimeError) as error:
                    raise RecipeError(f'terms.{name}: {error}') from error
                layers.append((loss, chosen))
        modules = [loss for loss, _ in layers if isinstance(loss, nn.Module)]
        if modules:
            self.terms[name] = nn.ModuleList(modules)
        return layers

    def _call(self, loss: Loss, term: Term, chosen: dict[str, str],
              outputs: dict[str, Taps]) -> dict[str, Tensor]:
        inputs = {}
        for key, place in chosen.items():
            source, _, tap = place.partition(':')
            x = outputs[source][tap]
            x = x.float() if x.is_floating_point() else x
            inputs[key] = x.detach() if key in term.detach else x
        # losses in half precision lose the digits that they are about
        with torch.autocast(next(iter(inputs.values())).device.type, enabled=False):
            result = loss(**inputs)
        return result if isinstance(result, dict) else {'loss': result}

    def _term(self, name: str, term: Term, outputs: dict[str, Taps]) -> dict[str, Tensor]:
        """Return `loss`, the same detached as `own`, and its parts, over all layers."""
        layers = self._losses[name]
        sums: dict[str, Tensor] = {}
        for loss, chosen in layers:
            with self._checked(f'terms.{name} with {chosen}'):
                result = self._call(loss, term, chosen, outputs)
            for key, value in result.items():
                sums[key] = sums[key] + value if key in sums else value
        if term.over_layers == 'mean':
            sums = {k: v / len(layers) for k, v in sums.items()}
        return {k: v if k == 'loss' else v.detach() for k, v in sums.items()} \
            | {'own': sums['loss'].detach()}


def with_unit_boxes(batch: Batch) -> Batch:
    """Add `template_box_unit` and `search_box_unit`: boxes in units of their crop."""
    return batch | {f'{name}_box_unit': batch[f'{name}_box'] / batch[f'{name}_rgb'].shape[-1]
                    for name in ('template', 'search')}


def active_terms(stage: Stage) -> dict[str, Term]:
    """Return the terms that have a weight."""
    return {name: t for name, t in stage.terms.items() if t.weight}


def needed_passes(stage: Stage, terms: Mapping[str, Term] | None = None) -> list[str]:
    """Return the passes that terms (None: all active ones), and passes they need, read from, in
    order.

    :raises RecipeError: a pass takes an option from none before it.
    """
    terms = active_terms(stage) if terms is None else terms
    wanted = {value.partition(':')[0] for t in terms.values() for value in t.inputs.values()}
    order = list(stage.passes)
    for place, name in reversed(list(enumerate(order))):
        if name not in wanted:
            continue
        for key, value in stage.passes[name].options.items():
            if isinstance(value, str) and value.startswith('@'):
                source = value[1:].partition(':')[0]
                if source not in order[:place]:
                    raise RecipeError(f'passes.{name}.options.{key}: {value!r} is no pass before '
                                      f'it{suggest(source, order[:place])}')
                wanted.add(source)
    return [name for name in order if name in wanted]


def _rest(module: nn.Module) -> None:
    """Put every module whose weights are all frozen into evaluation mode."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    for child in module.children():
        _rest(child)
