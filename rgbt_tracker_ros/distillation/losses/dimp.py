"""Losses of DiMP trackers: hinge residuals of score maps, KL divergence of box proposals.

Bhat et al., *Learning Discriminative Model Prediction for Tracking*, ICCV 2019, and Danelljan et
al., *Probabilistic Regression for Visual Tracking*, CVPR 2020; weights as in SuperDiMP.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor


def hinge_mse(scores: Tensor, label: Tensor, threshold: float = 0.05) -> Tensor:
    """Squared hinge residual of a score map: s - z where z > threshold, max(0, s) elsewhere.

    Mean over the map and the samples. Weights in SuperDiMP: 100 for the first filter, 100 for the
    last, 400 shared by those between. Where reference and test branch see two modalities, it is
    the cross-branch objective of CMD-TIR (loss A).

    :param scores: (B, 1, H, W). :param label: (B, 1, H, W) Gaussian at the target.
    """
    s, z = scores.float(), label.float()
    return torch.where(z > threshold, s - z, s.clamp(min=0)).square().mean()


def boxes_kl(scores: Tensor, density: Tensor, target: Tensor) -> Tensor:
    """KL divergence of the predicted density of boxes from the target's, by importance sampling.

    log( 1/K sum exp(s_k) / q_k ) - 1/K sum s_k p_k / q_k, mean over samples.

    :param scores: (B, K) of K proposals. :param density: (B, K) q_k of drawing each.
    :param target: (B, K) p_k of the Gaussian around the true box.
    """
    s, q, p = scores.float(), density.float().clamp(min=1e-12), target.float()
    total = torch.logsumexp(s - q.log(), 1) - math.log(s.shape[1])
    return (total - (s * p / q).mean(1)).mean()
