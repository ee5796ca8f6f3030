"""Specific-common feature distillation.

CMD (Zhang et al., *Efficient RGB-T Tracking via Cross-Modality Distillation*, CVPR 2023) transfers
modality-common and modality-specific information from a two-stream teacher to a single-stream
student. The paper's abstract was available, its equations were not: all here is a reconstruction.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
import torch.nn.functional as F

from rgbt_tracker_ros.distillation.losses.adapters import Adapter
from rgbt_tracker_ros.distillation.losses.normal import (
    cosine,
    foreground,
    instance_norm,
    per_sample,
    same_shape,
    tokens,
)
from rgbt_tracker_ros.distillation.losses.task import gaussian_target


def split_mean(rgb: Tensor, thermal: Tensor) -> tuple[Tensor, Tensor]:
    """Split two feature sets into their common part (u_v + u_t) / 2 and the specific part of RGB,
    u_v - common; that of thermal is its negative.
    """
    common = (rgb + thermal) / 2
    return common, rgb - common


class LearnedSplit(nn.Module):
    """A shared projector for what is common, two private ones for what is specific.

    Trained on the teacher's features alone: common parts agree, specific parts are orthogonal to
    them, and both together give the features back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.common, self.decode = Adapter(), Adapter()
        self.rgb, self.thermal = Adapter(), Adapter()

    def forward(self, rgb: Tensor, thermal: Tensor) -> list[Tensor]:
        """Common and specific parts of (B, N, C) features: common of rgb, of thermal, specific of
        rgb, of thermal.
        """
        c = rgb.shape[-1]
        return [self.common(rgb, c), self.common(thermal, c), self.rgb(rgb, c),
                self.thermal(thermal, c)]

    def loss(self, rgb: Tensor, thermal: Tensor) -> Tensor:
        """L_split = |E_c(u_v) - E_c(u_t)|^2 + cos^2(E_c, E_m) + |u_m - Dec(E_c + E_m)|^2."""
        common_v, common_t, own_v, own_t = self(rgb, thermal)
        c = rgb.shape[-1]
        apart = cosine(common_v, own_v).square().mean() + cosine(common_t, own_t).square().mean()
        back = F.mse_loss(self.decode(common_v + own_v, c), rgb) \
            + F.mse_loss(self.decode(common_t + own_t, c), thermal)
        return F.mse_loss(common_v, common_t) + apart + back

    def frozen(self, rgb: Tensor, thermal: Tensor) -> list[Tensor]:
        """Split as `forward` does, with weights that no gradient reaches."""
        weights = {k: v.detach() for k, v in self.named_parameters()}
        return functional_call(self, weights, (rgb, thermal))


class Scfd(nn.Module):
    """alpha L_com + beta L_spe of one stage, on instance-normalised features.

    L_com = mean (com(student) - com(teacher))^2, L_spe the mean of the same over both specific
    parts; a 1x1 adapter brings the student to the teacher's width. `split`: `mean` is free of
    parameters; `learned` trains projectors on the teacher's features in the same steps (the
    student's loss does not reach them). With `mean`, alpha = beta is plain imitation of both
    maps but for a constant: |e_v|^2 + |e_t|^2 = 2 |e_com|^2 + 2 |e_spe|^2.
    """

    def __init__(self, split: str = 'mean', alpha: float = 1.0, beta: float = 1.0) -> None:
        super().__init__()
        if split not in ('mean', 'learned'):
            raise ValueError(f'split is {split!r}; use mean or learned')
        self.adapter = Adapter()
        self.split = LearnedSplit() if split == 'learned' else None
        self.alpha, self.beta = alpha, beta

    def forward(self, student_rgb: Tensor, student_thermal: Tensor, teacher_rgb: Tensor,
                teacher_thermal: Tensor, box: Tensor | None = None) -> dict[str, Tensor]:
        """Compare maps (B, c, h, w) of the student with (B, C, h, w) of the teacher.

        :param box: (B, 4) x, y, w, h in units of the crop: places count by heat map + 0.5.
        :returns: `loss`, `common`, `specific`, and `split` with learned projectors.
        """
        width = teacher_rgb.shape[1] if teacher_rgb.ndim == 4 else teacher_rgb.shape[-1]
        ours = [instance_norm(self.adapter(tokens(x), width))
                for x in (student_rgb, student_thermal)]
        theirs = [instance_norm(tokens(x.detach())) for x in (teacher_rgb, teacher_thermal)]
        same_shape(student_rgb=ours[0], student_thermal=ours[1], teacher_rgb=theirs[0],
                   teacher_thermal=theirs[1])
        if self.split is None:
            (com_s, spe_s), (com_t, spe_t) = split_mean(*ours), split_mean(*theirs)
            # the specific parts of the two modalities differ by their sign alone
            common, specific = [(com_s, com_t)], [(spe_s, spe_t)]
            extra = {}
        else:
            extra = {'split': self.split.loss(*theirs)}
            a = self.split.frozen(*ours)
            with torch.no_grad():
                b = self.split(*theirs)
            common, specific = [(a[0], b[0]), (a[1], b[1])], [(a[2], b[2]), (a[3], b[3])]
        weight = torch.ones(()) if box is None else foreground(
            gaussian_target(box, round(ours[0].shape[1] ** 0.5)), ours[0])
        weight = weight.to(ours[0].device)
        parts = {name: torch.stack([per_sample(weight * (x - y).square()).mean()
                                    for x, y in pairs]).mean()
                 for name, pairs in (('common', common), ('specific', specific))}
        total = self.alpha * parts['common'] + self.beta * parts['specific']
        return {'loss': total + sum(extra.values())} | parts | extra
