"""Statistics and normalisations that the losses share; all in float32.

Maps (B, C, H, W) and token sets (B, N, C) are both taken; `tokens` brings them to (B, N, C).
"""
from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-5


def tokens(x: Tensor) -> Tensor:
    """Bring a map (B, C, H, W) or a token set (B, N, C) to (B, N, C), float32.

    :raises ValueError: any other number of dimensions.
    """
    if x.ndim == 4:
        x = x.flatten(2).transpose(1, 2)
    if x.ndim != 3:
        raise ValueError(f'features have the shape {tuple(x.shape)}; tokens (B, N, C) or a map '
                         '(B, C, H, W) are needed')
    return x.float()


def mean_std(x: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation over `dim` (AdaIN's style: Huang & Belongie, 2017)."""
    # the root's gradient is infinite at 0: a dead channel would make the whole step infinite
    return x.mean(dim), (x.var(dim) + 1e-12).sqrt()


def instance_norm(x: Tensor, dim: int = 1, eps: float = EPS) -> Tensor:
    """Remove mean and scale over `dim`: (x - mean) / sqrt(biased variance + eps)."""
    centred = x - x.mean(dim, keepdim=True)
    return centred / (centred.square().mean(dim, keepdim=True) + eps).sqrt()


def per_sample(x: Tensor) -> Tensor:
    """Mean over all but the first dimension: (B, ...) -> (B,)."""
    return x.flatten(1).mean(1)


def same_shape(**maps: Tensor) -> None:
    """Refuse features that can't be compared place by place.

    :raises ValueError: if their shapes differ.
    """
    shapes = {name: tuple(x.shape) for name, x in maps.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError('the shapes differ: ' + ', '.join(f'{k} {v}' for k, v in shapes.items()))


def foreground(heat: Tensor, like: Tensor) -> Tensor:
    """Weights G + 0.5 of the places of `like` (B, N, C) for a heat map (B, 1, S, S), N = S * S.

    :raises ValueError: if the counts of cells differ.
    """
    weight = heat.flatten(2).transpose(1, 2) + 0.5
    if weight.shape[1] != like.shape[1]:
        raise ValueError(f'the heat map has {weight.shape[1]} cells, the features '
                         f'{like.shape[1]}')
    return weight


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine over the last dimension; 0 where either side is all zero."""
    return torch.nn.functional.cosine_similarity(a, b, dim=-1, eps=1e-6)
