"""Run several transformers block by block, so that they can prompt each other or vote.

Mutual prompts (MPLT's form) need the other stream's tokens before every block; multi-modal
candidate elimination (CKD, ACM MM 2024) needs all attentions of a block before any stream drops
tokens. Both are steps between the halves of a block, so one driver serves both.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
import math
from typing import cast

import torch
from torch import Tensor

from rgbt_tracker_ros.models.vit import Block, TransformerConfig, ViT

Prompt = Callable[[int, Sequence[Tensor]], Sequence[Tensor | None]]


@dataclass(frozen=True)
class Elimination:
    """Which search tokens go, and when: see `TransformerConfig`.

    `together`: one vote for all streams, the element-wise maximum of the voters' attention before
    it is averaged over the heads (MCE). Otherwise every stream ranks by its own attention (CE).
    `leave`: those that go leave their values behind.
    """

    blocks: tuple[int, ...]
    keep: float
    together: bool
    leave: bool = False

    @classmethod
    def of(cls, config: TransformerConfig) -> Elimination | None:
        """Return what a configuration asks for."""
        if config.elimination == 'off':
            return None
        return cls(tuple(config.eliminate_at), config.keep, config.elimination == 'mce',
                   config.eliminated == 'kept')

    def left_of(self, tokens: int) -> int:
        """Return how many of so many search tokens stay: ceil(keep N), at least 1.

        Exact for the decimal number that `keep` was written as: 0.7 of 10 is 7, not 8.
        """
        return max(math.ceil(Fraction(str(self.keep)) * tokens), 1)


@dataclass
class Stream:
    """One transformer's pass: `tokens` (B, Nz + N, C) as they are now, `kept` (B, N) the search
    cells that are still there, in raster order, `left` (B, Nx, C) what those that went left
    behind (in all other cells, nothing to rely on), and the raw output of every block so far.
    """

    vit: ViT
    tokens: Tensor
    gates: Tensor | None = None
    kept: Tensor | None = None
    left: Tensor | None = None
    blocks: list[Tensor] = field(default_factory=list)

    def search_tokens(self) -> Tensor:
        """Return normalised search tokens (B, Nx, C) in raster order.

        Where eliminated, what the token left behind, normalised as well, or else 0.
        """
        tokens = self.vit.norm(self.tokens)[:, self.vit.template_cells ** 2:]
        return self._whole(tokens, None if self.left is None else self.vit.norm(self.left))

    def _whole(self, tokens: Tensor, others: Tensor | None) -> Tensor:
        """Put tokens (B, N, C) into their cells: (B, Nx, C), `others` or 0 in the rest."""
        if self.kept is None:
            return tokens
        b, _, c = tokens.shape
        if others is None:
            others = tokens.new_zeros(b, self.vit.search_cells ** 2, c)
        return others.scatter(1, self.kept[:, :, None].expand(-1, -1, c), tokens)

    def search_map(self) -> Tensor:
        """Return the same as a map (B, C, S, S)."""
        side, tokens = self.vit.search_cells, self.search_tokens()
        return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)

    def drop(self, stay: Tensor, leave: bool = False) -> None:
        """Keep the search tokens at places `stay` (B, k) of those that are still there.

        `leave`: the others leave their present values behind, for `search_tokens`.
        """
        nz, c = self.vit.template_cells ** 2, self.tokens.shape[2]
        search = self.tokens[:, nz:]
        if leave:
            self.left = self._whole(search, self.left)
        search = search.gather(1, stay[:, :, None].expand(-1, -1, c))
        self.tokens = torch.cat((self.tokens[:, :nz], search), 1)
        # cells of the whole map: the places of a second elimination count what is still there
        self.kept = stay if self.kept is None else self.kept.gather(1, stay)


def run(streams: Sequence[Stream], *, prompt: Prompt | None = None,
        elimination: Elimination | None = None, voters: int | None = None) -> None:
    """Run all blocks of all streams, in place.

    :param prompt: called before every block with its number and the streams' tokens; what it
        returns for a stream (B, L, C) is added to that block's input.
    :param voters: how many of the streams, from the first, have a vote; None: all.
    :raises ValueError: the transformers are not equally deep.
    """
    depths = {len(s.vit.blocks) for s in streams}
    if len(depths) != 1:
        raise ValueError(f'streams of depths {sorted(depths)} can not run in lock-step')
    for layer in range(depths.pop()):
        _prompt(layer, streams, prompt)
        prune = elimination if elimination and layer in elimination.blocks else None
        rows: list[Tensor] = []
        for number, stream in enumerate(streams):
            votes = prune and (not prune.together or voters is None or number < voters)
            stream.tokens, row = _block(stream, layer).attend(
                stream.tokens, _gate(stream, layer, 0), stream.vit.centre if votes else None)
            if row is not None:
                rows.append(row[:, :, stream.vit.template_cells ** 2:])
        if prune:
            _eliminate(streams, rows, prune)
        for stream in streams:
            stream.tokens = _block(stream, layer).feed(stream.tokens, _gate(stream, layer, 1))
            stream.blocks.append(stream.tokens)


def _block(stream: Stream, layer: int) -> Block:
    return cast(Block, stream.vit.blocks[layer])


def _gate(stream: Stream, layer: int, half: int) -> Tensor | None:
    return None if stream.gates is None else stream.gates[layer, half]


def _prompt(layer: int, streams: Sequence[Stream], prompt: Prompt | None) -> None:
    if prompt is None:
        return
    for stream, added in zip(streams, prompt(layer, [s.tokens for s in streams]), strict=True):
        if added is not None:
            stream.tokens = stream.tokens + added


def _eliminate(streams: Sequence[Stream], rows: Sequence[Tensor], prune: Elimination) -> None:
    """Rank the search tokens by the rows (B, heads, N) of the template's centre, and drop."""
    count = prune.left_of(rows[0].shape[2])
    if prune.together:
        stay = _best(torch.stack(tuple(rows)).amax(0), count)
        for stream in streams:
            stream.drop(stay, prune.leave)
    else:
        for stream, row in zip(streams, rows, strict=True):
            stream.drop(_best(row, count), prune.leave)


def _best(row: Tensor, count: int) -> Tensor:
    """(B, heads, N) -> places (B, count) of the highest means over the heads, ascending."""
    return row.detach().mean(1).topk(count, 1).indices.sort(1).values
