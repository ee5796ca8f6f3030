"""Style and content of token sets, and their distillation.

CKD (Lu et al., *Breaking Modality Gap in RGBT Tracking: Coupled Knowledge Distillation*, ACM MM
2024): per sample and channel, the mean and standard deviation over the tokens are the style, the
instance-normalised tokens the content (AdaIN's decomposition, x = sigma * content + mu). At their
tensor the two gradients are orthogonal, channel by channel: the style's lies in span{1, content},
which the backward pass of instance normalisation projects out.

Both losses can look harder at the target, as two variants of the paper's code do (`local`): `soft`
multiplies search tokens by heat map + 0.5 first; `hard` adds the loss of the cells where the heat
map is above 0 alone. They need the target's `box` and any `score` map, for its number of cells.
"""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rgbt_tracker_ros.distillation.losses.normal import (
    EPS,
    instance_norm,
    mean_std,
    per_sample,
    same_shape,
    tokens,
)
from rgbt_tracker_ros.distillation.losses.task import gaussian_target

_AXES = {'tokens': 1, 'channels': 2}
LOCAL = ('none', 'soft', 'hard')


def style(a: Tensor, b: Tensor, box: Tensor | None = None, score: Tensor | None = None,
          of: Tensor | None = None, axis: str = 'tokens', local: str = 'none') -> Tensor:
    """Style distillation L_SD of one layer: (mu_a - mu_b)^2 + (sigma_a - sigma_b)^2, mean over
    samples and channels.

    Symmetric: without `detach` both sides learn, as in the paper.

    :param a, b: (B, N, C) or (B, C, H, W); template tokens first, all search tokens last.
    :param box: (B, 4) x, y, w, h in units of the crop. :param score: (B, 1, S, S).
    :param of: (B,) how much each sample counts; all of them 1 if left out.
    :param axis: statistics over `tokens` (the paper's), or over `channels` (its code's variant).
    :param local: none, soft, hard: see the module.
    """
    same_shape(a=a, b=b)
    dim, x, y = _axis(axis), tokens(a), tokens(b)
    heat = _heat(local, axis, x, box, score)
    if heat is not None and local == 'soft':
        x, y = _weighed(x, heat), _weighed(y, heat)
    (mean_a, std_a), (mean_b, std_b) = mean_std(x, dim), mean_std(y, dim)
    loss = per_sample((mean_a - mean_b).square() + (std_a - std_b).square())
    if heat is not None and local == 'hard':
        (mean_a, std_a, _), (mean_b, std_b, _) = _inside(x, heat), _inside(y, heat)
        loss = loss + per_sample((mean_a - mean_b).square() + (std_a - std_b).square())
    return _counted(loss, of)


def content(student: Tensor, teacher: Tensor, box: Tensor | None = None,
            score: Tensor | None = None, of: Tensor | None = None, axis: str = 'tokens',
            local: str = 'none') -> Tensor:
    """Content distillation L_CD of one layer: mean squared difference of the contents.

    Equals 2 (1 - rho) per channel, rho the correlation of the two channels over the tokens. The
    teacher is to be detached (`detach: [teacher]`).

    :param student, teacher: (B, N, C) or (B, C, H, W). :param box, score, of, axis, local: as of
        `style`.
    """
    same_shape(student=student, teacher=teacher)
    dim, x, y = _axis(axis), tokens(student), tokens(teacher)
    heat = _heat(local, axis, x, box, score)
    if heat is not None and local == 'soft':
        x, y = _weighed(x, heat), _weighed(y, heat)
    loss = per_sample((instance_norm(y, dim) - instance_norm(x, dim)).square())
    if heat is not None and local == 'hard':
        inside = heat > 0
        difference = (_inside(y, heat).content - _inside(x, heat).content).square().sum(1)
        loss = loss + per_sample(difference / inside.sum(1))
    return _counted(loss, of)


def _counted(loss: Tensor, of: Tensor | None) -> Tensor:
    return (loss if of is None else loss * of).mean()


def _axis(name: str) -> int:
    if name not in _AXES:
        raise ValueError(f'axis is {name!r}; use {" or ".join(_AXES)}')
    return _AXES[name]


def _heat(local: str, axis: str, x: Tensor, box: Tensor | None,
          score: Tensor | None) -> Tensor | None:
    """Heat map (B, S S, 1) of the target, None where it is not asked for."""
    if local not in LOCAL:
        raise ValueError(f'local is {local!r}; use {", ".join(LOCAL)}')
    if local == 'none':
        return None
    if box is None or score is None:
        raise ValueError(f'local {local} needs the inputs box and score')
    if local == 'hard' and axis != 'tokens':
        raise ValueError("local hard takes statistics over the target's tokens; leave out axis")
    heat = gaussian_target(box, score.shape[-1]).flatten(2).transpose(1, 2)
    if heat.shape[1] > x.shape[1]:
        raise ValueError(f'the score has {heat.shape[1]} cells, the features {x.shape[1]} tokens: '
                         'some were eliminated')
    return heat


def _weighed(x: Tensor, heat: Tensor) -> Tensor:
    first = x.shape[1] - heat.shape[1]
    return torch.cat((x[:, :first], x[:, first:] * (heat + 0.5)), 1)


class _Inside(NamedTuple):
    """Statistics (B, C) of the tokens inside, and their content (B, S S, C), 0 outside."""

    mean: Tensor
    std: Tensor
    content: Tensor


def _inside(x: Tensor, heat: Tensor) -> _Inside:
    x, inside = x[:, -heat.shape[1]:], (heat > 0).to(x.dtype)
    count = inside.sum(1)
    mean = (x * inside).sum(1) / count
    centred = (x - mean[:, None]) * inside
    squares = centred.square().sum(1)
    # a target of one cell has no deviation
    std = (squares / (count - 1).clamp(min=1) + 1e-12).sqrt()
    return _Inside(mean, std, centred / (squares / count + EPS).sqrt()[:, None])
