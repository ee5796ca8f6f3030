"""Two transformers, one for each modality: CKD's students and the mutual-prompt teacher."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.models import lockstep
from rgbt_tracker_ros.models.draws import uniform
from rgbt_tracker_ros.models.network import (
    MODALITIES,
    Batch,
    Network,
    NetworkConfig,
    Output,
    Taps,
    modality_weights,
    standardise,
)
from rgbt_tracker_ros.models.norm import BatchNorm2d
from rgbt_tracker_ros.models.paper_head import Maps, TowerHead, corner_boxes
from rgbt_tracker_ros.models.prompts import MutualPrompts, check_ratio
from rgbt_tracker_ros.models.vit import TransformerConfig, ViT

# which streams get prompts
PROMPTS = {'none': (), 'mutual': MODALITIES, 'to_rgb': ('rgb',), 'to_thermal': ('thermal',)}
FUSIONS = ('concat', 'concat_conv')
_MASK_STREAM = 100  # away from the numbers of the branches, which draw stochastic depth


@dataclass(frozen=True)
class TwoStreamConfig(TransformerConfig):
    """Sizes of a TwoStream; the defaults are CKD's at full scale.

    `shared`: one ViT for both modalities. `prompts`: none, mutual, to_rgb, to_thermal. `fusion`:
    'concat' (the head sees 2 dim channels) or 'concat_conv' (a 3x3 convolution brings them to
    dim). `mask_ratio`: share of the search tokens that training replaces by their positions, the
    same in both streams.
    """

    shared: bool = False
    prompts: str = 'none'
    prompt_ratio: int = 8
    fusion: str = 'concat'
    mask_ratio: float = 0.0

    def __post_init__(self) -> None:
        self.check(('off', 'ce', 'mce'))
        if self.prompts not in PROMPTS:
            raise ValueError(f'prompts is {self.prompts!r}; here it can be {", ".join(PROMPTS)}')
        if self.prompts != 'none':
            check_ratio(self.prompt_ratio, self.dim)
        if self.fusion not in FUSIONS:
            raise ValueError(f'fusion is {self.fusion!r}; here it can be {", ".join(FUSIONS)}')
        if not 0 <= self.mask_ratio < 1:
            raise ValueError(f'mask_ratio is {self.mask_ratio}; it must be in [0, 1)')
        if self.prompts != 'none' and self.elimination != 'off':
            raise ValueError(f'elimination is {self.elimination!r} with prompts '
                             f'{self.prompts!r}; prompters need whole maps: leave one out')


class Embedded(NamedTuple):
    """One crop's tokens (B, N, C) of both streams with positions, and the prompts in them."""

    rgb: Tensor
    thermal: Tensor
    rgb_prompt: Tensor
    thermal_prompt: Tensor


class TwoStream(Network):
    """Two ViT streams, joined before one centre head.

    Taps: `score` (B, 1, S, S) logits, `size`, `offset` (B, 2, S, S), `fused` (B, C, S, S),
    `blocks.{i}.rgb`, `blocks.{i}.thermal` (B, N, C) raw block outputs, template tokens first (N
    shrinks where candidates are eliminated), `mask` (B, Nx, 1) if search tokens were masked; with
    option `means=True` also `blocks.{i}.mean`, the mean of the two streams.

    Parameters: `vits.rgb`, `vits.thermal` or `vits.shared`, `prompts`, `fuse`, `head`.
    """

    Config: ClassVar[type[NetworkConfig]] = TwoStreamConfig
    config: TwoStreamConfig

    def __init__(self, config: TwoStreamConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or TwoStreamConfig()
        names = ('shared',) if c.shared else MODALITIES
        self.vits = nn.ModuleDict({name: ViT(c) for name in names})
        self.prompts = MutualPrompts(c.dim, c.depth, c.prompt_ratio, PROMPTS[c.prompts]) \
            if c.prompts != 'none' else None
        self.fuse: nn.Module = nn.Identity()
        if c.fusion == 'concat_conv':
            self.fuse = nn.Sequential(nn.Conv2d(2 * c.dim, c.dim, 3, padding=1, bias=False),
                                      BatchNorm2d(c.dim), nn.ReLU(inplace=True))
        self.head = TowerHead(2 * c.dim if c.fusion == 'concat' else c.dim, c.head_widths)
        self.elimination = lockstep.Elimination.of(c)

    def vit(self, stream: str) -> ViT:
        """Return the transformer of 'rgb' or 'thermal'."""
        return cast(ViT, self.vits['shared' if self.config.shared else stream])

    def _embed(self, rgb: Tensor, thermal: Tensor, present: Tensor, template: bool,
               mask: Tensor | None = None) -> Embedded:
        c = self.config
        v = self.vit('rgb').patch_embed(standardise(rgb, present[:, 0]))
        t = self.vit('thermal').patch_embed(
            standardise(thermal, present[:, 1], c.thermal_mean, c.thermal_std))
        if mask is not None:
            v, t = v * mask.to(v.dtype), t * mask.to(t.dtype)
        prompt_v = prompt_t = v.new_zeros(0)
        if self.prompts is not None:
            prompt_v, prompt_t = self.prompts.start(v, t)
            v, t = v + prompt_v, t + prompt_t
        add = [vit.embed_template if template else vit.embed_search
               for vit in (self.vit('rgb'), self.vit('thermal'))]
        return Embedded(add[0](v), add[1](t), prompt_v, prompt_t)

    def mask(self, index: Tensor, seed: int) -> Tensor | None:
        """Draw the search tokens' mask (B, Nx, 1), 0 where masked; None outside training.

        Masked modelling after CKD: every token independently with probability `mask_ratio`.
        """
        if not self.training or self.config.mask_ratio == 0:
            return None
        draws = uniform(seed, index, self.config.cells ** 2, _MASK_STREAM)
        return (draws >= self.config.mask_ratio).float()[:, :, None]

    def embed(self, batch: Batch, seed: int) -> tuple[Embedded, Embedded, Tensor | None]:
        """Embed a training batch: template, search, and the mask of the search tokens."""
        mask = self.mask(batch['index'], seed)
        z = self._embed(batch['template_rgb'], batch['template_thermal'],
                        batch['template_present'], True)
        x = self._embed(batch['search_rgb'], batch['search_thermal'], batch['search_present'],
                        False, mask)
        return z, x, mask

    def streams(self, z: Embedded, x: Embedded) -> list[lockstep.Stream]:
        """Return the two streams for `lockstep.run`."""
        return [lockstep.Stream(self.vit('rgb'), torch.cat((z.rgb, x.rgb), 1)),
                lockstep.Stream(self.vit('thermal'), torch.cat((z.thermal, x.thermal), 1))]

    def prompter(self, z: Embedded, x: Embedded) -> lockstep.Prompt | None:
        """Return the chain of prompts of one pass: each goes on from the one before."""
        if self.prompts is None:
            return None
        prompts, cells = self.prompts, self.vit('rgb').template_cells ** 2
        last_z: Sequence[Tensor] = z[2:]
        last_x: Sequence[Tensor] = x[2:]

        def prompt(layer: int, tokens: Sequence[Tensor]) -> Sequence[Tensor | None]:
            nonlocal last_z, last_x
            if layer == 0:  # in the embeddings already, below the positions
                return None, None
            last_z = prompts.step(layer, [u[:, :cells] for u in tokens[:2]], last_z)
            last_x = prompts.step(layer, [u[:, cells:] for u in tokens[:2]], last_x)
            return [torch.cat((last_z[n], last_x[n]), 1)
                    if name in PROMPTS[self.config.prompts] else None
                    for n, name in enumerate(MODALITIES)]

        return prompt

    def head_maps(self, streams: Sequence[lockstep.Stream]) -> tuple[Tensor, Maps]:
        """Fuse the first two streams: the head's input (B, C, S, S), and what it answers."""
        fused = self.fuse(torch.cat([s.search_map() for s in streams[:2]], 1))
        return fused, self.head(fused)

    def outputs(self, streams: Sequence[lockstep.Stream], mask: Tensor | None,
                means: bool = False) -> Taps:
        """Return the taps of streams that were run."""
        taps: Taps = {} if mask is None else {'mask': mask}
        for i, (v, t) in enumerate(zip(streams[0].blocks, streams[1].blocks, strict=True)):
            taps |= {f'blocks.{i}.rgb': v, f'blocks.{i}.thermal': t}
            if means:
                taps[f'blocks.{i}.mean'] = (v + t) / 2
        taps['fused'], maps = self.head_maps(streams)
        return taps | maps._asdict()

    def taps(self, batch: Batch, *, seed: int = 0, means: bool = False) -> Taps:
        """Run the training pass; see the class for the names."""
        z, x, mask = self.embed(batch, seed)
        streams = self.streams(z, x)
        for number, stream in enumerate(streams):
            stream.gates = stream.vit.drop_gates(seed, batch['index'], number)
        lockstep.run(streams, prompt=self.prompter(z, x), elimination=self.elimination)
        return self.outputs(streams, mask, means)

    def encode_template(self, rgb: Tensor, thermal: Tensor, present: Tensor,
                        box: Tensor) -> Embedded:
        """Embed a template crop; the crop is centred on the box, which is all it needs of it."""
        return self._embed(rgb, thermal, present, True)

    def forward(self, template: Embedded, rgb: Tensor, thermal: Tensor,
                present: Tensor) -> Output:
        """Look for the template in a search crop."""
        x = self._embed(rgb, thermal, present, False)
        streams = self.streams(template, x)
        lockstep.run(streams, prompt=self.prompter(template, x), elimination=self.elimination)
        _, (score, size, offset) = self.head_maps(streams)
        return Output(score, corner_boxes(size, offset, self.config.search_size),
                      modality_weights(present))
