"""Imitation of a teacher's answers: score maps, box maps, head inputs."""
from __future__ import annotations

from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.distillation.losses.adapters import Adapter
from rgbt_tracker_ros.distillation.losses.normal import (
    instance_norm,
    per_sample,
    same_shape,
    tokens,
)
from rgbt_tracker_ros.distillation.losses.task import giou


def score_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two probability maps, given as logits of one shape."""
    same_shape(student=student, teacher=teacher)
    return (student.float().sigmoid() - teacher.float().sigmoid()).square().mean()


def map_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two maps as they are, as of DiMP's scores (loss C of CMD-TIR)."""
    same_shape(student=student, teacher=teacher)
    return (student.float() - teacher.float()).square().mean()


def map_l1(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference, as of IoU-Net's scores of the same boxes (loss C of CMD-TIR)."""
    same_shape(student=student, teacher=teacher)
    return (student.float() - teacher.float()).abs().mean()


def score_kl(student: Tensor, teacher: Tensor, tau: float = 1.0) -> Tensor:
    """tau^2 KL(softmax(teacher / tau) || softmax(student / tau)) over all places of a map.

    Hinton et al. (2015), over the cells of a score map in place of classes; mean over samples.
    """
    same_shape(student=student, teacher=teacher)
    ours = F.log_softmax(student.float().flatten(1) / tau, 1)
    theirs = F.log_softmax(teacher.float().flatten(1) / tau, 1)
    return tau ** 2 * F.kl_div(ours, theirs, reduction='batchmean', log_target=True)


def box_maps(student_size: Tensor, student_offset: Tensor, teacher_size: Tensor,
             teacher_offset: Tensor, teacher_score: Tensor) -> Tensor:
    """L1 of size and offset maps, weighted by the teacher's score: the maps mean something only
    near the target (reconstruction: mutual_prompt's paper gives no form).

    :param teacher_score: (B, 1, S, S) logits.
    """
    same_shape(student_size=student_size, teacher_size=teacher_size)
    weight = teacher_score.float().sigmoid()
    return (weight * ((student_size.float() - teacher_size.float()).abs()
                      + (student_offset.float() - teacher_offset.float()).abs())).mean()


def hard_focused(student: Tensor, teacher: Tensor, gamma: float = 1.0) -> Tensor:
    """Score imitation that looks where the two differ (reconstruction: cmd_rgbt's third term).

    sum h (P_s - P_t)^2 / sum h with h = |P_s - P_t|^gamma, detached, per sample; logits are given.
    """
    same_shape(student=student, teacher=teacher)
    d = (student.float().sigmoid() - teacher.float().sigmoid()).flatten(1)
    h = d.detach().abs() ** gamma
    return ((h * d.square()).sum(1) / h.sum(1).clamp(min=1e-8)).mean()


def dense_response(student_score: Tensor, student_boxes: Tensor, teacher_score: Tensor,
                   teacher_boxes: Tensor, gamma: float = 2.0,
                   box_weight: float = 2.0) -> dict[str, Tensor]:
    """Imitation of a dense head: scores by quality focal loss (Li et al., *Generalized Focal
    Loss*, 2020, eq. 6) with the teacher's probabilities as labels, boxes by 1 - GIoU, weighed by
    the teacher's score.

    :param student_score, teacher_score: (B, 1, S, S) logits. :param student_boxes, teacher_boxes:
        (B, 4, S, S) corners in crop px. The teacher is detached.
    :returns: `loss` = score + box_weight * box, and both parts.
    """
    same_shape(student_score=student_score, teacher_score=teacher_score)
    ours, theirs = student_score.float(), teacher_score.detach().float().sigmoid()
    differs = (ours.sigmoid() - theirs).abs().detach() ** gamma
    score = (differs * F.binary_cross_entropy_with_logits(ours, theirs, reduction='none')
             ).flatten(1).sum(1)
    box = dense_boxes(student_boxes, teacher_score, teacher_boxes)
    return {'loss': score.mean() + box_weight * box, 'score': score.mean(), 'box': box}


def dense_boxes(student_boxes: Tensor, teacher_score: Tensor, teacher_boxes: Tensor,
                of: Tensor | None = None) -> Tensor:
    """Imitation of a dense head's boxes alone: 1 - GIoU, weighed by the teacher's score.

    :param student_boxes, teacher_boxes: (B, 4, S, S) corners in crop px. :param teacher_score: (B,
        1, S, S) logits. The teacher is detached. :param of: (B,) weights of the samples; None: 1
        for each.
    """
    same_shape(student_boxes=student_boxes, teacher_boxes=teacher_boxes)
    weight = teacher_score.detach().float().sigmoid()[:, 0]
    quality = giou(student_boxes.float().permute(0, 2, 3, 1),
                   teacher_boxes.detach().float().permute(0, 2, 3, 1))
    each = ((1 - quality) * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1)
    return (each if of is None else each * of).mean()


class Features(nn.Module):
    """Mean squared difference of two feature maps of one size; the student's may be narrower.

    FitNets (Romero et al., 2015). `adapter`: `none`, or `conv` for a 1x1 convolution of the
    student's features, gone after the training. `normalize` removes scale and mean per channel.
    """

    def __init__(self, adapter: str = 'none', normalize: bool = False) -> None:
        super().__init__()
        if adapter not in ('none', 'conv'):
            raise ValueError(f'adapter is {adapter!r}; use none or conv')
        self.adapter = Adapter(identity=True) if adapter == 'conv' else None
        self.normalize = normalize

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare (B, C, H, W) or (B, N, C)."""
        ours, theirs = tokens(student), tokens(teacher)
        if self.adapter is not None:
            ours = self.adapter(ours, theirs.shape[-1])
        same_shape(student=ours, teacher=theirs)
        if self.normalize:
            ours, theirs = instance_norm(ours), instance_norm(theirs)
        return per_sample((ours - theirs).square()).mean()
