"""Vision transformer over template and search tokens together, taken apart for distillation.

After OSTrack (Ye et al., 2022): one sequence [template, search], so that extracting features and
relating them to the template are one operation. Parameters have the names of timm's and OSTrack's
checkpoints (`patch_embed.proj`, `blocks.N.attn.qkv`, ...).
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.draws import uniform
from rgbt_tracker_ros.models.network import IMAGENET_MEAN, IMAGENET_STD, NetworkConfig, check_crops


@dataclass(frozen=True)
class TransformerConfig(NetworkConfig):
    """Sizes of a ViT tracker; the defaults are ViT-B/16. `stride` is the side of a patch.

    `drop_path` is the rate at the last block, rising linearly from 0. Candidate elimination:
    after the attention of each block of `eliminate_at` (from 0), ceil(`keep` N) of N search
    tokens stay; `elimination` 'off', 'ce' (each stream by its own vote), 'mce' (all by one vote).
    `eliminated`: what the head sees of those that went, 'zero' (OSTrack), or 'kept': their values
    when they left, as of tokens that exit early.
    Thermal is repeated to three channels and standardised by `thermal_mean`, `thermal_std`.
    """

    dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    head_widths: tuple[int, ...] = (256, 128, 64, 32)
    elimination: str = 'off'
    eliminate_at: tuple[int, ...] = (3, 6, 9)
    keep: float = 0.7
    eliminated: str = 'zero'
    thermal_mean: tuple[float, ...] = IMAGENET_MEAN
    thermal_std: tuple[float, ...] = IMAGENET_STD

    def check(self, eliminations: tuple[str, ...]) -> None:
        """Raise a ValueError that names the first field that can't be."""
        check_crops(self)
        if self.depth < 1:
            raise ValueError(f'depth is {self.depth}; it must be 1 block or more')
        if self.dim < 1 or self.heads < 1 or self.dim % self.heads:
            raise ValueError(f'dim is {self.dim}; it must be a multiple of heads {self.heads}')
        if self.elimination not in eliminations:
            raise ValueError(f'elimination is {self.elimination!r}; here it can be '
                             f'{", ".join(eliminations)}')
        if self.eliminated not in ('zero', 'kept'):
            raise ValueError(f'eliminated is {self.eliminated!r}; it can be zero or kept')
        if self.elimination != 'off':
            if not 0 < self.keep <= 1:
                raise ValueError(f'keep is {self.keep}; it must be in (0, 1]')
            outside = [n for n in self.eliminate_at if not 0 <= n < self.depth]
            if outside:
                raise ValueError(f'eliminate_at names block {outside[0]}; there are blocks 0 to '
                                 f'{self.depth - 1}')
        if not 0 <= self.drop_path < 1:
            raise ValueError(f'drop_path is {self.drop_path}; it must be in [0, 1)')


class PatchEmbed(nn.Module):
    """Project patches to tokens: (B, 3, n, n) -> (B, (n / patch)^2, dim), in raster order."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)
        nn.init.xavier_uniform_(self.proj.weight.view(dim, -1))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention that can show one row of its attention map."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, row: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Attend: (B, L, C) -> (B, L, C), and the row (B, heads, L) of token `row`, if asked.

        Only that row is computed beside the fused kernel, which never shows its map.
        """
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, c // self.heads).permute(
            2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        shown = None
        if row is not None:
            products = (q[:, :, row:row + 1] @ k.transpose(-2, -1)).squeeze(2)
            shown = torch.softmax(products.float() * (c // self.heads) ** -0.5, -1)
        return self.proj(out), shown

    def products(self, x: Tensor, row: int | None = None) -> int:
        """Return multiply-accumulates of q k^T and of the map with v, for the profile."""
        b, n, c = x.shape  # the one row is not worth counting
        return 2 * b * n * n * c


class Mlp(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block in two steps: tokens can be dropped between them."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def attend(self, x: Tensor, gate: Tensor | None = None,
               row: int | None = None) -> tuple[Tensor, Tensor | None]:
        """First half: (B, L, C) -> (B, L, C), and the attention row (B, heads, L) if asked.

        :param gate: (B,) factor of what is added to the shortcut (stochastic depth).
        """
        out, shown = self.attn(self.norm1(x), row)
        return x + _gated(out, gate), shown

    def feed(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """Second half: (B, L, C) -> (B, L, C)."""
        return x + _gated(self.mlp(self.norm2(x)), gate)


def _gated(x: Tensor, gate: Tensor | None) -> Tensor:
    return x if gate is None else x * gate[:, None, None].to(x.dtype)


class ViT(nn.Module):
    """Patch embedding, positional tables, blocks and final norm; `lockstep.run` drives them.

    Template and search have positional tables of their own: `pos_embed_z`, `pos_embed_x`.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = config
        self.template_cells = c.template_size // c.stride
        self.search_cells = c.search_size // c.stride
        self.patch_embed = PatchEmbed(c.stride, c.dim)
        self.pos_embed_z = nn.Parameter(torch.empty(1, self.template_cells ** 2, c.dim))
        self.pos_embed_x = nn.Parameter(torch.empty(1, self.search_cells ** 2, c.dim))
        self.blocks = nn.ModuleList(Block(c.dim, c.heads, c.mlp_ratio) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.dim, eps=1e-6)
        rates = torch.linspace(0, c.drop_path, c.depth, device='cpu').tolist()
        self.drop_rates: tuple[float, ...] = tuple(rates)
        for table in (self.pos_embed_z, self.pos_embed_x):
            nn.init.trunc_normal_(table, std=0.02)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def centre(self) -> int:
        """Index of the template's centre token: the upper left of the four in the middle."""
        return (self.template_cells - 1) // 2 * (self.template_cells + 1)

    def embed_template(self, patches: Tensor) -> Tensor:
        """Add the template's positions: (B, Nz, C) -> (B, Nz, C)."""
        return patches + self.pos_embed_z

    def embed_search(self, patches: Tensor) -> Tensor:
        """Add the search crop's positions: (B, Nx, C) -> (B, Nx, C)."""
        return patches + self.pos_embed_x

    def drop_gates(self, seed: int, index: Tensor, stream: int) -> Tensor | None:
        """Draw stochastic depth (Huang et al., 2016): (depth, 2, B) factors, None if inactive.

        A sample's draws depend on (seed, index, stream) alone, so that a batch split over
        processes trains as one that was not.
        """
        if not self.training or self.drop_rates[-1] == 0:
            return None
        depth = len(self.drop_rates)
        draws = uniform(seed, index, 2 * depth, stream).T.reshape(depth, 2, -1)
        rates = draws.new_tensor(self.drop_rates)[:, None, None]
        return (draws >= rates).to(draws.dtype) / (1 - rates)
