"""The student's teacher: a convolutional stream for each modality, joined by mutual prompts."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.convnet import ConvBN, stage
from rgbt_tracker_ros.models.fusion import GatedFusion
from rgbt_tracker_ros.models.matching import MatchingNetwork
from rgbt_tracker_ros.models.network import MODALITIES, DenseConfig, NetworkConfig, Taps, to_unit
from rgbt_tracker_ros.models.prompts import Prompter

_MEAN, _STD = {'rgb': 0.45, 'thermal': 0.3}, 0.25  # of pixels, as the student takes them
_CHANNELS = {'rgb': 3, 'thermal': 1}
_RATIO = 4  # of the prompters' channel gates
_GATE = 32  # channels of the fusion's gate


@dataclass(frozen=True)
class TwinConfig(DenseConfig):
    """Sizes of a Twin; widths are of each stream, the grid of scores is the student's.

    `prompts`: whether the streams prompt each other. `prompt_width`: channels in which prompts
    are made, at all depths.
    """

    template_size: int = 96
    search_size: int = 192
    stem: int = 48
    width8: int = 192
    width16: int = 320
    blocks8: int = 3
    blocks16: int = 3
    head: int = 128
    prompts: bool = True
    prompt_width: int = 48
    stride: int = 8

    def __post_init__(self) -> None:
        if self.stride != 8:
            raise ValueError(f'stride is {self.stride}; a Twin has 8 px per cell')
        super().__post_init__()
        if self.prompts and self.prompt_width < _RATIO:
            raise ValueError(f'prompt_width is {self.prompt_width}; it must be at least {_RATIO}')


class Stream(nn.Module):
    """One modality's layers: stem to stride 4, stages at 8 and 16, and back to 8."""

    def __init__(self, channels: int, c: TwinConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvBN(channels, c.stem // 2, stride=2),
                                  ConvBN(c.stem // 2, c.stem, stride=2))
        self.stage8 = stage(c.stem, c.width8, c.blocks8)
        self.stage16 = stage(c.width8, c.width16, c.blocks16)
        self.lateral = ConvBN(c.width16, c.width8, 1, act=False)
        self.neck = ConvBN(c.width8, c.width8)

    def merge(self, x8: Tensor, x16: Tensor) -> Tensor:
        """Bring both depths together at stride 8: (B, C, n/8, n/8)."""
        up = F.interpolate(self.lateral(x16), scale_factor=2.0, mode='nearest')
        merged: Tensor = self.neck(torch.relu(x8 + up))
        return merged


class MapPrompts(nn.Module):
    """Add a prompt to the maps of both streams, made from both (MPLT, Luo et al., 2023).

    A stream's own map, its previous prompt and the other's map are gated and added by a
    `Prompter`. It works in a few channels, into and out of which a 1x1 convolution leads (as in
    ViPT, Zhu et al., 2023), and at 1/`pool` of the maps' size: gates cost no arithmetic worth
    speaking of, but keep a dozen copies of their input for the way back. As the channels are
    the same at all depths, a prompt is handed on to the next as it is, averaged where that is
    smaller.

    There are no batch norms: the prompter normalises its inputs, and samples that lack a
    modality, which get no prompt, would count in their statistics.
    """

    def __init__(self, width: int, narrow: int, inputs: int, pool: int = 1) -> None:
        super().__init__()
        self.pool = pool
        self.reduce = nn.ModuleDict({m: nn.Conv2d(width, narrow, 1, bias=False)
                                     for m in MODALITIES})
        self.prompters = nn.ModuleDict({m: Prompter(narrow, _RATIO, inputs) for m in MODALITIES})
        # without a bias: no prompt stays none
        self.widen = nn.ModuleDict({m: nn.Conv2d(narrow, width, 1, bias=False)
                                    for m in MODALITIES})

    def forward(self, maps: Sequence[Tensor], previous: Sequence[Tensor],
                both: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Prompt the maps (B, C, H, W) of RGB and thermal.

        :param previous: their last prompts (B, narrow, h, w), or nothing.
        :param both: (B, 1, 1, 1), 1 where both modalities are there, else 0: no prompt.
        :returns: the maps with prompts, the prompts (B, narrow, H/pool, W/pool).
        """
        small = [self.reduce[m](F.avg_pool2d(x, self.pool) if self.pool > 1 else x)
                 for m, x in zip(MODALITIES, maps, strict=True)]
        side = small[0].shape[-1]
        tokens = [x.flatten(2).transpose(1, 2) for x in small]
        last = [_averaged(x, side).flatten(2).transpose(1, 2) for x in previous]
        prompts = []
        for n, m in enumerate(MODALITIES):
            prompt = self.prompters[m](tokens[n], *last[n:n + 1], tokens[1 - n])
            prompts.append(prompt.transpose(1, 2).unflatten(2, (side, side)) * both)
        return [x + self._wide(m, p) for m, x, p in zip(MODALITIES, maps, prompts, strict=True)
                ], prompts

    def _wide(self, modality: str, prompt: Tensor) -> Tensor:
        wide: Tensor = self.widen[modality](prompt)
        return wide if self.pool == 1 else F.interpolate(
            wide, scale_factor=float(self.pool), mode='nearest')


class Twin(MatchingNetwork):
    """Two whole streams with mutual prompts, gated fusion at stride 8, matching, centre head.

    Prompts follow the stems (made at stride 8, half the stems' size) and both stages. A missing
    modality gives and gets none, and its stream is 0 where the two are fused.

    Taps: `score` (B, 1, S, S) logits, `boxes` (B, 4, S, S) corners in crop px, `weights`
    (B, 2, S, S) of the modalities; of the search crop `features` (B, C, S, S), fused, and `rgb`,
    `thermal` (B, C, S, S), those of the streams, all 0 where a modality is missing.

    Parameters: `streams.rgb`, `streams.thermal`, `prompts.{0,1,2}`, `fusion`, and those of
    `MatchingNetwork`.
    """

    Config: ClassVar[type[NetworkConfig]] = TwinConfig
    config: TwinConfig

    def __init__(self, config: TwinConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or TwinConfig()
        self.streams = nn.ModuleDict({m: Stream(_CHANNELS[m], c) for m in MODALITIES})
        self.prompts = nn.ModuleList([
            MapPrompts(c.stem, c.prompt_width, 2, pool=2),
            MapPrompts(c.width8, c.prompt_width, 3),
            MapPrompts(c.width16, c.prompt_width, 3)] if c.prompts else [])
        self.fusion = GatedFusion(c.width8, c.width8, _GATE, pool=1)
        self.add_matching(c.width8, c.head)

    def stream_features(self, rgb: Tensor, thermal: Tensor,
                        present: Tensor) -> tuple[Tensor, Tensor]:
        """Return each stream's features (B, C, n/8, n/8), 0 where its modality is missing."""
        dtype = self.key.weight.dtype
        streams = [cast(Stream, self.streams[m]) for m in MODALITIES]
        maps = [s.stem((to_unit(x).to(dtype) - _MEAN[m]) / _STD)
                for s, m, x in zip(streams, MODALITIES, (rgb, thermal), strict=True)]
        # a stream whose modality is missing runs on what pixels there are: zeros instead would
        # spoil the running statistics of its norms
        masks = present.to(maps[0].dtype)[:, :, None, None, None].unbind(1)
        both, prompts = masks[0] * masks[1], list[Tensor]()

        def prompted(depth: int, x: list[Tensor]) -> list[Tensor]:
            nonlocal prompts
            if not self.config.prompts:
                return x
            x, prompts = self.prompts[depth](x, prompts, both)
            return x

        maps = prompted(0, maps)
        maps8 = prompted(1, [s.stage8(x) for s, x in zip(streams, maps, strict=True)])
        maps16 = prompted(2, [s.stage16(x) for s, x in zip(streams, maps8, strict=True)])
        found_rgb, found_thermal = (s.merge(x8, x16) * mask for s, x8, x16, mask in zip(
            streams, maps8, maps16, masks, strict=True))
        return found_rgb, found_thermal

    def features(self, rgb: Tensor, thermal: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return fused (B, C, n/8, n/8) features and (B, 2, n/8, n/8) modality weights."""
        return self._fused(*self.stream_features(rgb, thermal, present), present)

    def search_taps(self, rgb: Tensor, thermal: Tensor, present: Tensor) -> Taps:
        """Return `weights`, `features`, and the streams' own `rgb` and `thermal`."""
        of_rgb, of_thermal = self.stream_features(rgb, thermal, present)
        x, weights = self._fused(of_rgb, of_thermal, present)
        return {'weights': weights, 'features': x, 'rgb': of_rgb, 'thermal': of_thermal}

    def _fused(self, rgb: Tensor, thermal: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        fused: tuple[Tensor, Tensor] = self.fusion(rgb, thermal, present.to(rgb.dtype))
        return fused


def _averaged(x: Tensor, side: int) -> Tensor:
    """Average (B, C, H, H) down to `side`, a divisor of H."""
    times = x.shape[-1] // side
    return x if times == 1 else F.avg_pool2d(x, times)
