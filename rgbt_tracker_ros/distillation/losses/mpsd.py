"""Multi-path selection distillation.

CMD (Zhang et al., CVPR 2023) teaches the student's simple fusion from the teacher's, by several
paths. Of the paper the abstract was available: the paths (RGB-centred, thermal-centred,
aggregate) and the four ways to weigh them are a reconstruction.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.distillation.losses.adapters import Adapter, Mlp
from rgbt_tracker_ros.distillation.losses.normal import (
    instance_norm,
    per_sample,
    same_shape,
    tokens,
)
from rgbt_tracker_ros.distillation.losses.task import dense_per_sample, task_per_sample

PATHS = ('rgb', 'thermal', 'fused')
SELECTORS = ('quality', 'gate', 'uniform', 'single')


def quality_weights(errors: Tensor, tau: float = 0.5, hard: bool = False) -> Tensor:
    """Weights (B, J) of paths from the teacher's task loss (B, J) on each: softmax(-e / tau).

    `hard` selects the best path alone.
    """
    if hard:
        return nn.functional.one_hot(errors.argmin(1), errors.shape[1]).to(errors.dtype)
    return torch.softmax(-errors / tau, 1)


class Mpsd(nn.Module):
    """sum_j mean( w_j (b_j(R) - Q_j)^2 ) over the teacher's paths Q_j.

    Maps are instance-normalised. R is the student's fused map, b_j a 1x1 adapter per
    path. `selector`:

    - `quality`: the teacher's frozen head has answered on every path; w_j = softmax(-e_j / tau),
      e_j its task loss on the sample; with `hard`, the best path alone;
    - `gate`: w = softmax(MLP(mean over places of [R; Q_j])), whose entropy is kept above `floor`;
    - `uniform`: 1 / 3 each; `single`: the aggregate path alone.

    `stride`: crop px per cell of a dense head.
    """

    def __init__(self, selector: str = 'quality', tau: float = 0.5, hard: bool = False,
                 floor: float = 0.5, hidden: int = 32, stride: int = 8) -> None:
        super().__init__()
        if selector not in SELECTORS:
            raise ValueError(f'selector is {selector!r}; use {", ".join(SELECTORS)}')
        if tau <= 0:
            raise ValueError(f'tau is {tau}; it must be above 0')
        self.selector, self.tau, self.hard, self.floor = selector, tau, hard, floor
        self.stride = stride
        self.adapters = nn.ModuleList(Adapter(identity=True) for _ in PATHS)
        self.gate = Mlp(hidden, len(PATHS)) if selector == 'gate' else None

    def weights(self, fused: Tensor, paths: list[Tensor], errors: Tensor | None) -> Tensor:
        """Weights (B, J) that add up to 1, for tokens (B, N, C) of student and paths."""
        b, j = len(fused), len(paths)
        if self.selector == 'quality':
            if errors is None:
                raise ValueError('selector quality needs the inputs score, size, offset (of all '
                                 'paths) and box')
            return quality_weights(errors, self.tau, self.hard)
        if self.gate is not None:
            pooled = torch.cat([x.detach().mean(1) for x in (fused, *paths)], 1)
            return torch.softmax(self.gate(pooled), 1)
        weights = fused.new_zeros(b, j)
        if self.selector == 'single':
            weights[:, PATHS.index('fused')] = 1
            return weights
        return weights + 1 / j

    def forward(self, student: Tensor, rgb: Tensor, thermal: Tensor, fused: Tensor,
                rgb_score: Tensor | None = None, rgb_size: Tensor | None = None,
                rgb_offset: Tensor | None = None, thermal_score: Tensor | None = None,
                thermal_size: Tensor | None = None, thermal_offset: Tensor | None = None,
                fused_score: Tensor | None = None, fused_size: Tensor | None = None,
                fused_offset: Tensor | None = None, box: Tensor | None = None,
                rgb_boxes: Tensor | None = None, thermal_boxes: Tensor | None = None,
                fused_boxes: Tensor | None = None) -> dict[str, Tensor]:
        """Compare the student's map (B, c, S, S) with the paths (B, C, S, S).

        :param rgb_score ... fused_offset: answers of the teacher's head on every path.
        :param rgb_boxes, thermal_boxes, fused_boxes: in place of sizes and offsets, (B, 4, S, S)
            corners in crop px of a dense head.
        :param box: (B, 4) x, y, w, h in units of the crop, in crop px for a dense head.
        :returns: `loss`, the mean weights of the paths, and `entropy` with a gate.
        """
        ours = tokens(student)
        theirs = [tokens(x.detach()) for x in (rgb, thermal, fused)]
        errors = None
        if self.selector == 'quality' and box is not None:
            errors = _errors(box, ((rgb_score, rgb_size, rgb_offset, rgb_boxes),
                                   (thermal_score, thermal_size, thermal_offset, thermal_boxes),
                                   (fused_score, fused_size, fused_offset, fused_boxes)),
                             self.stride)
        w = self.weights(ours, theirs, errors)
        distances = []
        for adapter, path in zip(self.adapters, theirs, strict=True):
            mapped = adapter(ours, path.shape[-1])
            same_shape(student=mapped, path=path)
            distances.append(per_sample((instance_norm(mapped) - instance_norm(path)).square()))
        loss = (w * torch.stack(distances, 1)).sum(1).mean()
        out = {'loss': loss} | {f'weight_{name}': w[:, i].mean().detach()
                                for i, name in enumerate(PATHS)}
        if self.gate is not None:
            entropy = -(w * w.clamp(min=1e-8).log()).sum(1)
            out['loss'] = loss + (self.floor - entropy).clamp(min=0).mean()
            out['entropy'] = entropy.mean().detach()
        return out


def _errors(box: Tensor, answers: Sequence[Sequence[Tensor | None]],
            stride: int) -> Tensor | None:
    """Return the task loss (B, J) of each path's answer; None where one is incomplete."""
    errors = []
    for score, size, offset, boxes in answers:
        if score is not None and boxes is not None:
            errors.append(dense_per_sample(score, boxes, box, stride=stride))
        elif score is not None and size is not None and offset is not None:
            errors.append(task_per_sample(score, size, offset, box))
        else:
            return None
    return torch.stack(errors, 1).detach()
