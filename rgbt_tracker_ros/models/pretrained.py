"""Start from a user's RGB tracker: OSTrack, DropTrack, or a tracker trained here.

A checkpoint of OSTrack's family holds a ViT under `backbone.` and a centre head under
`box_head.`; both go into every ViT and every centre head of a network, whatever their number.
"""
from __future__ import annotations

from collections.abc import Mapping
import math
from pathlib import Path
import re
from typing import NamedTuple

import torch
from torch import Tensor
import torch.nn.functional as F

from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.models.paper_head import TowerHead
from rgbt_tracker_ros.models.public_files import PretrainedError, State, read
from rgbt_tracker_ros.models.vit import ViT

_COUNTER = 'num_batches_tracked'  # of batch norms: not always kept, and of no use
_TOWERS = {'ctr': 'score', 'size': 'size', 'offset': 'offset'}


class Loaded(NamedTuple):
    """Names: of the network's tensors that were `loaded`, of those left as they were (`fresh`),
    and of the checkpoint's tensors that were `unused`.
    """

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]


def initialise(network: Network, source: Path | Mapping[str, Tensor]) -> Loaded:
    """Copy a single-modality tracker's ViT and head into all those of a network, in place.

    A head that sees several maps side by side gets its first kernels repeated along the input
    channels ([W, W], as CKD does); positional tables of another size are resized bicubically,
    DropTrack's temporal ones are added to them. Nothing is copied if anything does not fit.

    :param source: file (.safetensors, or one of torch.save), or tensors by name.
    :raises PretrainedError: file unreadable, without a ViT, or of other sizes.
    """
    file = _Source(str(source), read(source)) if isinstance(source, Path) \
        else _Source('the checkpoint', dict(source))
    vit, head = file.vit(), file.head()
    width = len(vit.get('patch_embed.proj.weight'))
    fitted: State = {}
    for path, module in network.named_modules():
        if isinstance(module, ViT):
            part = _fit_vit(module, vit)
        elif isinstance(module, TowerHead) and head.names:
            part = _fit_head(module, head, width)
        else:
            continue
        fitted |= {f'{path}.{key}': value for key, value in part.items()}
    if not fitted:
        raise PretrainedError(f'a {type(network).__name__} has no vision transformer to fill '
                              f'from {file.name}; leave the checkpoint out')
    own = network.state_dict()
    with torch.no_grad():
        for key, value in fitted.items():
            own[key].copy_(value)
    return Loaded(tuple(fitted), tuple(k for k in own if k not in fitted and _matters(k)),
                  tuple(k for k in file.state if k not in file.used and _matters(k)))


def _matters(name: str) -> bool:
    return not name.endswith(_COUNTER)


class _Source:
    """A checkpoint's tensors, and which of them were used."""

    def __init__(self, name: str, state: State) -> None:
        self.name = name
        self.state = state
        self.used: set[str] = set()

    def vit(self) -> _Part:
        prefix = self._prefix('patch_embed.proj.weight')
        if prefix is None:
            some = ', '.join(list(self.state)[:4]) or 'nothing'
            raise PretrainedError(
                f'{self.name} holds no vision transformer (no patch_embed.proj.weight) but '
                f'{some} ...; give an OSTrack or DropTrack checkpoint')
        return _Part(self, {k.removeprefix(prefix): k for k in self.state
                            if k.startswith(prefix)})

    def head(self) -> _Part:
        """Return the head under our names, empty if there is none (a backbone alone)."""
        prefix = self._prefix('score.0.0.weight')
        if prefix is not None:
            return _Part(self, {k.removeprefix(prefix): k for k in self.state
                                if k.startswith(prefix)})
        names = {}
        for key in self.state:  # box_head.conv1_ctr.0.weight is our score.0.0.weight
            match = re.search(r'(?:^|\.)conv(\d+)_(ctr|size|offset)\.(.+)$', key)
            if match:
                number, tower, rest = match.groups()
                names[f'{_TOWERS[tower]}.{int(number) - 1}.{rest}'] = key
        return _Part(self, names)

    def _prefix(self, mark: str) -> str | None:
        found = [k for k in self.state if k == mark or k.endswith('.' + mark)]
        if len(found) > 1:
            raise PretrainedError(f'{self.name} holds several trackers ({", ".join(found)}); '
                                  'give one of a single modality')
        return found[0].removesuffix(mark) if found else None


class _Part(NamedTuple):
    """One module of a checkpoint: our names -> names in the file."""

    source: _Source
    names: dict[str, str]

    def get(self, name: str) -> Tensor:
        if name not in self.names:
            some = ', '.join(list(self.names)[:4])
            raise PretrainedError(f'{self.source.name} lacks {name}, which the network needs; '
                                  f'there it has {some} ...; check depth and head_widths')
        self.source.used.add(self.names[name])
        return self.source.state[self.names[name]]

    def refuse(self, name: str, wanted: Tensor, given: Tensor) -> PretrainedError:
        return PretrainedError(
            f'{self.source.name}: {self.names[name]} has shape {tuple(given.shape)}, the network '
            f'needs {tuple(wanted.shape)}; set its sizes (dim, stride, head_widths) to the '
            "checkpoint's, or take another checkpoint")


def _fit_vit(vit: ViT, part: _Part) -> State:
    """Return the values of a ViT's tensors."""
    depth = len({k.split('.')[1] for k in part.names if k.startswith('blocks.')})
    if depth != len(vit.blocks):
        raise PretrainedError(f'{part.source.name} has {depth} blocks, the network '
                              f'{len(vit.blocks)}; set depth to {depth}')
    if 'norm.weight' not in part.names and 'fc_norm.weight' in part.names:
        raise PretrainedError(
            f'{part.source.name} has fc_norm in place of norm: it was fine-tuned to classify the '
            'mean of all tokens, and the tokens themselves have no norm; take the checkpoint of '
            'its pre-training')
    fitted = {}
    for name, wanted in vit.state_dict().items():
        if name in ('pos_embed_z', 'pos_embed_x'):
            fitted[name] = _positions(name, wanted, part)
            continue
        fitted[name] = part.get(name)
        if fitted[name].shape != wanted.shape:
            raise part.refuse(name, wanted, fitted[name])
    return fitted


def _positions(name: str, wanted: Tensor, part: _Part) -> Tensor:
    """Return a positional table (1, N, C) resized to the network's grid.

    A backbone that never tracked (MAE, DeiT) has one table, `pos_embed`, for both crops, with
    the class token's position first, and that of the distillation token next where it has one.
    """
    origin = name if name in part.names else 'pos_embed'
    table = part.get(origin)
    if table.ndim != 3 or table.shape[2] != wanted.shape[2]:
        raise part.refuse(origin, wanted, table)
    extra = table.shape[1] - math.isqrt(table.shape[1]) ** 2
    if extra in (1, 2) and origin == 'pos_embed':
        table = table[:, extra:]
    side, goal = math.isqrt(table.shape[1]), math.isqrt(wanted.shape[1])
    if side ** 2 != table.shape[1]:
        raise part.refuse(origin, wanted, table)
    if side != goal:
        grid = table.float().transpose(1, 2).reshape(1, -1, side, side)
        grid = F.interpolate(grid, (goal, goal), mode='bicubic', align_corners=False)
        table = grid.flatten(2).transpose(1, 2)
    temporal = f'temporal_{name}'
    if temporal in part.names:
        shift = part.get(temporal)
        if shift.shape[-1] != wanted.shape[2] or shift.numel() != wanted.shape[2]:
            raise part.refuse(temporal, wanted[:, :1], shift)
        table = table + shift.reshape(1, 1, -1)
    return table


def _fit_head(head: TowerHead, part: _Part, width: int) -> State:
    """Return the values of a head's tensors; the checkpoint's sees one map of `width` channels."""
    fitted = {}
    for name, wanted in head.state_dict().items():
        if name.endswith(_COUNTER):
            continue
        value = part.get(name)
        if name.endswith('.0.0.weight') and value.ndim == 4 and value.shape[1] == width:
            value = value.repeat(1, max(wanted.shape[1] // width, 1), 1, 1)
        if value.shape != wanted.shape:
            raise part.refuse(name, wanted, value)
        bias = name.replace('.1.running_mean', '.0.bias')
        if bias != name and bias in part.names:  # ours are in the mean: see TowerHead
            if part.get(bias).shape != wanted.shape:
                raise part.refuse(bias, wanted, part.get(bias))
            value = value - part.get(bias)
        fitted[name] = value
    return fitted
