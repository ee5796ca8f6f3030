"""One transformer over both modalities, fused before it, or over one modality alone."""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.models import lockstep
from rgbt_tracker_ros.models.network import (
    Batch,
    Network,
    NetworkConfig,
    Output,
    Taps,
    modality_weights,
    standardise,
)
from rgbt_tracker_ros.models.paper_head import TowerHead, corner_boxes
from rgbt_tracker_ros.models.prompts import MutualPrompts, check_ratio
from rgbt_tracker_ros.models.vit import TransformerConfig, ViT

FUSIONS = ('sum', 'concat_linear', 'prompt0', 'rgb', 'thermal')


@dataclass(frozen=True)
class OneStreamConfig(TransformerConfig):
    """Sizes of a OneStream. `fusion`: see there; `prompt_ratio`: bottleneck of `prompt0`."""

    fusion: str = 'prompt0'
    prompt_ratio: int = 8

    @property
    def modalities(self) -> tuple[str, ...]:
        """One modality for a unimodal tracker."""
        return (self.fusion,) if self.fusion in ('rgb', 'thermal') else ('rgb', 'thermal')

    def __post_init__(self) -> None:
        self.check(('off', 'ce'))
        if self.fusion not in FUSIONS:
            raise ValueError(f'fusion is {self.fusion!r}; here it can be {", ".join(FUSIONS)}')
        if self.fusion == 'prompt0':
            check_ratio(self.prompt_ratio, self.dim)


class OneStreamTemplate(NamedTuple):
    """The template's tokens (B, Nz, C), fused and with positions, and its modalities (B, 2)."""

    tokens: Tensor
    present: Tensor


class OneStream(Network):
    """ViT tracker that sees one sequence: both modalities' patches are fused before the blocks.

    `fusion`, on patches E_v, E_t of one projection: 'sum' E_v + E_t; 'concat_linear'
    Linear([E_v, E_t]), at first the sum; 'prompt0' E_v + p_v + E_t + p_t with the first prompters
    of a TwoStream; 'rgb' or 'thermal': a unimodal tracker, which ignores the other modality.

    Taps: `score` (B, 1, S, S) logits, `size`, `offset` (B, 2, S, S), `fused` (B, C, S, S), and
    `blocks.{i}.fused` (B, N, C) raw block outputs, template tokens first; a unimodal one has
    `blocks.{i}.rgb` or `blocks.{i}.thermal`. N shrinks where candidates are eliminated.
    """

    Config: ClassVar[type[NetworkConfig]] = OneStreamConfig
    config: OneStreamConfig

    def __init__(self, config: OneStreamConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or OneStreamConfig()
        self.vit = ViT(c)
        if c.fusion == 'concat_linear':
            self.join = nn.Linear(2 * c.dim, c.dim)
            with torch.no_grad():
                self.join.weight.copy_(torch.eye(c.dim).repeat(1, 2))
                self.join.bias.zero_()
        elif c.fusion == 'prompt0':
            self.prompts = MutualPrompts(c.dim, 0, c.prompt_ratio)
        self.head = TowerHead(c.dim, c.head_widths)
        self.elimination = lockstep.Elimination.of(c)

    @property
    def sees(self) -> str:
        """Name of its stream in the taps: 'rgb', 'thermal' or 'fused'."""
        return self.config.fusion if self.config.fusion in ('rgb', 'thermal') else 'fused'

    def patches(self, rgb: Tensor, thermal: Tensor, present: Tensor) -> Tensor:
        """Return the fused patches (B, N, C) of one crop, without positions."""
        c = self.config

        def of_rgb() -> Tensor:
            return self.vit.patch_embed(standardise(rgb, present[:, 0]))

        def of_thermal() -> Tensor:
            return self.vit.patch_embed(
                standardise(thermal, present[:, 1], c.thermal_mean, c.thermal_std))

        if self.sees != 'fused':
            return of_rgb() if self.sees == 'rgb' else of_thermal()
        v, t = of_rgb(), of_thermal()
        if c.fusion == 'concat_linear':
            return self.join(torch.cat((v, t), 2))
        if c.fusion == 'prompt0':
            prompt_v, prompt_t = self.prompts.start(v, t)
            return v + prompt_v + t + prompt_t
        return v + t

    def stream(self, batch: Batch, seed: int, number: int = 0) -> lockstep.Stream:
        """Embed a training batch for `lockstep.run`; `number` tells streams' draws apart."""
        z = self.patches(batch['template_rgb'], batch['template_thermal'],
                         batch['template_present'])
        x = self.patches(batch['search_rgb'], batch['search_thermal'], batch['search_present'])
        tokens = torch.cat((self.vit.embed_template(z), self.vit.embed_search(x)), 1)
        return lockstep.Stream(self.vit, tokens,
                               self.vit.drop_gates(seed, batch['index'], number))

    def outputs(self, stream: lockstep.Stream) -> Taps:
        """Return the taps of a stream that was run."""
        taps = {f'blocks.{i}.{self.sees}': x for i, x in enumerate(stream.blocks)}
        taps['fused'] = stream.search_map()
        return taps | self.head(taps['fused'])._asdict()

    def taps(self, batch: Batch, *, seed: int = 0) -> Taps:
        """Run the training pass; see the class for the names."""
        stream = self.stream(batch, seed)
        lockstep.run([stream], elimination=self.elimination)
        return self.outputs(stream)

    def encode_template(self, rgb: Tensor, thermal: Tensor, present: Tensor,
                        box: Tensor) -> OneStreamTemplate:
        """Embed a template crop; the crop is centred on the box, which is all it needs of it."""
        return OneStreamTemplate(
            self.vit.embed_template(self.patches(rgb, thermal, present)), present)

    def forward(self, template: OneStreamTemplate, rgb: Tensor, thermal: Tensor,
                present: Tensor) -> Output:
        """Look for the template in a search crop."""
        x = self.vit.embed_search(self.patches(rgb, thermal, present))
        stream = lockstep.Stream(self.vit, torch.cat((template.tokens, x), 1))
        lockstep.run([stream], elimination=self.elimination)
        score, size, offset = self.head(stream.search_map())
        seen = present * present.new_tensor([self.sees != 'thermal', self.sees != 'rgb'])
        return Output(score, corner_boxes(size, offset, self.config.search_size),
                      modality_weights(seen))
