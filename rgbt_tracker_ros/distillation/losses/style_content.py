"""Style and content of token sets, and their distillation.

CKD (Lu et al., *Breaking Modality Gap in RGBT Tracking: Coupled Knowledge Distillation*, ACM MM
2024): per sample and channel, the mean and standard deviation over the tokens are the style, the
instance-normalised tokens the content (AdaIN's decomposition, x = sigma * content + mu). At their
tensor the two gradients are orthogonal, channel by channel: the style's lies in span{1, content},
which the backward pass of instance normalisation projects out.
"""
from __future__ import annotations

from torch import Tensor

from rgbt_tracker_ros.distillation.losses.normal import (
    instance_norm,
    mean_std,
    per_sample,
    same_shape,
    tokens,
)

_AXES = {'tokens': 1, 'channels': 2}


def _axis(name: str) -> int:
    if name not in _AXES:
        raise ValueError(f'axis is {name!r}; use {" or ".join(_AXES)}')
    return _AXES[name]


def style(a: Tensor, b: Tensor, axis: str = 'tokens') -> Tensor:
    """Style distillation L_SD of one layer: (mu_a - mu_b)^2 + (sigma_a - sigma_b)^2, mean over
    samples and channels.

    Symmetric: without `detach` both sides learn, as in the paper.

    :param a, b: (B, N, C) or (B, C, H, W).
    :param axis: statistics over `tokens` (the paper's), or over `channels` (its code's variant).
    """
    same_shape(a=a, b=b)
    dim = _axis(axis)
    (mean_a, std_a), (mean_b, std_b) = mean_std(tokens(a), dim), mean_std(tokens(b), dim)
    return ((mean_a - mean_b).square() + (std_a - std_b).square()).mean()


def content(student: Tensor, teacher: Tensor, axis: str = 'tokens') -> Tensor:
    """Content distillation L_CD of one layer: mean squared difference of the contents.

    Equals 2 (1 - rho) per channel, rho the correlation of the two channels over the tokens. The
    teacher is to be detached (`detach: [teacher]`).

    :param student, teacher: (B, N, C) or (B, C, H, W).
    """
    same_shape(student=student, teacher=teacher)
    dim = _axis(axis)
    return per_sample((instance_norm(tokens(teacher), dim)
                       - instance_norm(tokens(student), dim)).square()).mean()
