"""Imitation of the modality that can be believed: RGB where RGB is good, thermal where it is not.

Ours. CMD-TIR (Sun et al., ACM MM 2021) teaches thermal by RGB; on a robot either camera may be
the blind one, sample by sample. Which of two unimodal teachers is asked is decided by where they
find the (pseudo) target: no label beyond it is needed.
"""
from __future__ import annotations

import torch
from torch import Tensor
import torch.nn.functional as F

from rgbt_tracker_ros.distillation.losses.normal import same_shape
from rgbt_tracker_ros.distillation.losses.task import center_target

_NEAR = 0.3  # of the heat map: cells from which the box is read


def reliable_response(student: Tensor, rgb: Tensor, thermal: Tensor, box: Tensor,
                      of: Tensor | None = None, visible: Tensor | None = None,
                      stride: int = 8) -> dict[str, Tensor]:
    """KL divergence of the student's score map from that of the more reliable teacher.

    A teacher's reliability is the share of its answer, a softmax over all cells, that lies on the
    target; the divergence is weighed by that of the better one, so that nothing is learned where
    both are blind.

    :param student, rgb, thermal: (B, 1, S, S) logits; the teachers, who see one modality each,
        are detached. :param box: (B, 4) x, y, w, h in crop px.
    :param of, visible: (B,) how much each sample counts; those without a target do not.
    :returns: `loss`; the mean `reliability` of the teacher that was asked; the share `by_thermal`
        of samples in which that was thermal.
    """
    same_shape(student=student, rgb=rgb, thermal=thermal)
    target = center_target(box.float(), student.shape[-1], stride).flatten(1) >= _NEAR
    answers = torch.stack([F.log_softmax(t.detach().float().flatten(1), 1)
                           for t in (rgb, thermal)])                    # (2, B, S S)
    reliability = (answers.exp() * target).sum(2)
    best, which = reliability.max(0)
    teacher = answers.gather(0, which[None, :, None].expand(1, -1, answers.shape[2]))[0]
    ours = F.log_softmax(student.float().flatten(1), 1)
    loss = F.kl_div(ours, teacher, reduction='none', log_target=True).sum(1) * best
    for counted in (of, visible):
        if counted is not None:
            loss = loss * counted
    return {'loss': loss.mean(), 'reliability': best.mean(), 'by_thermal': which.float().mean()}
