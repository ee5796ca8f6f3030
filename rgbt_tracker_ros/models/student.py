"""The student: one stream for both modalities, template features cached."""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.convnet import ConvBN, stage
from rgbt_tracker_ros.models.fusion import GatedFusion
from rgbt_tracker_ros.models.heads import CenterHead
from rgbt_tracker_ros.models.network import (
    MODALITIES,
    Batch,
    Network,
    NetworkConfig,
    Output,
    Taps,
    to_unit,
)


@dataclass(frozen=True)
class StudentConfig(NetworkConfig):
    """Sizes of a Student; kept beside its weights."""

    template_size: int = 96
    search_size: int = 192
    stem: int = 32
    width8: int = 80
    width16: int = 144
    blocks8: int = 2
    blocks16: int = 2
    head: int = 64
    stride: int = 8

    @property
    def cell_offset(self) -> float:
        """Edges are learned from the middles of the cells (FCOS)."""
        return 0.5


class Template(NamedTuple):
    """What is kept of the template: (B, C, T) descriptors and values of its T cells, and the
    weights (B, 2) of the modalities it was made with.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor
    weights: Tensor


class Student(Network):
    """RGB and thermal stems, gated fusion at stride 4, one backbone, matching, centre head.

    Matching is by two means: the cosine of every search cell with every template cell
    (pixel-wise correlation, Yan et al., 2021, Alpha-Refine), and reading the template's features
    and its box mask through attention (space-time memory, Oh et al., 2019).

    The template's cells do not look at the search crop, so `encode_template` runs once for a
    target.

    Taps: `score` (B, 1, S, S) logits, `boxes` (B, 4, S, S) corners in crop px, `weights`
    (B, 2, S', S') of the modalities, `features` (B, C, S, S) of the search crop.
    """

    Config: ClassVar[type[NetworkConfig]] = StudentConfig
    config: StudentConfig

    def __init__(self, config: StudentConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or StudentConfig()
        self.rgb_stem = nn.Sequential(ConvBN(3, c.stem // 2, stride=2),
                                      ConvBN(c.stem // 2, c.stem, stride=2))
        self.thermal_stem = nn.Sequential(ConvBN(1, c.stem // 2, stride=2),
                                          ConvBN(c.stem // 2, c.stem, stride=2))
        self.fusion = GatedFusion(c.stem, c.stem + c.stem // 2)
        self.stage8 = stage(c.stem + c.stem // 2, c.width8, c.blocks8)
        self.stage16 = stage(c.width8, c.width16, c.blocks16)
        self.lateral = ConvBN(c.width16, c.width8, 1, act=False)
        self.neck = ConvBN(c.width8, c.width8)
        tokens = (c.template_size // c.stride) ** 2
        self.key = nn.Conv2d(c.width8, c.width8, 1)
        self.value = nn.Conv2d(c.width8 + 1, c.width8, 1)
        self.temperature = nn.Parameter(torch.tensor(10.0))
        self.join = ConvBN(2 * c.width8 + tokens + 1, c.head, 1)
        self.head = CenterHead(c.head, c.head, c.stride)

    def features(self, rgb: Tensor, thermal: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, C, n/8, n/8) features and (B, 2, n/4, n/4) modality weights."""
        dtype = self.key.weight.dtype
        x_rgb = (to_unit(rgb).to(dtype) - 0.45) / 0.25
        x_thermal = (to_unit(thermal).to(dtype) - 0.3) / 0.25
        fused, weights = self.fusion(self.rgb_stem(x_rgb), self.thermal_stem(x_thermal), present)
        x8 = self.stage8(fused)
        x16 = self.lateral(self.stage16(x8))
        up = F.interpolate(x16, scale_factor=2.0, mode='nearest')
        return self.neck(torch.relu(x8 + up)), weights

    def encode_template(self, rgb: Tensor, thermal: Tensor, present: Tensor,
                        box: Tensor) -> Template:
        """Encode a template crop; `box` (B, 4) x, y, w, h in crop px."""
        x, weights = self.features(rgb, thermal, present)
        mask = box_mask(box, self.config.template_size, self.config.stride).to(x.dtype)
        return Template(F.normalize(self.key(x).flatten(2), dim=1),
                        self.value(torch.cat((x, mask), 1)).flatten(2), mask.flatten(2),
                        (weights * mask_resize(mask, weights)).sum((2, 3)))

    def taps(self, batch: Batch, *, seed: int = 0, modality: str = 'both') -> Taps:
        """Run the training pass; nothing is drawn in it, whatever the seed.

        :param modality: what it is shown: 'both', 'rgb' alone, 'thermal' alone (where both are
            there; where one is, that one).
        :raises ValueError: any other modality.
        """
        template_present = shown(batch['template_present'], modality)
        template = self.encode_template(batch['template_rgb'], batch['template_thermal'],
                                        template_present, batch['template_box'])
        x, weights = self.features(batch['search_rgb'], batch['search_thermal'],
                                   shown(batch['search_present'], modality))
        out = self.match(template, x, weights)
        return {'score': out.logits, 'boxes': out.boxes, 'weights': out.weights, 'features': x}

    def forward(self, template: Template, rgb: Tensor, thermal: Tensor,
                present: Tensor) -> Output:
        """Look for the template in a search crop of (B, ., n, n)."""
        return self.match(template, *self.features(rgb, thermal, present))

    def match(self, template: Template, x: Tensor, weights: Tensor) -> Output:
        """Look for the template in what `features` gave for a search crop."""
        b, _, h, w = x.shape
        query = F.normalize(self.key(x).flatten(2), dim=1)
        cosine = query.transpose(1, 2) @ template.keys  # (B, search cells, template cells)
        attention = torch.softmax(self.temperature * cosine.float(), 2).to(x.dtype)
        read = (attention @ template.values.transpose(1, 2)).transpose(1, 2)
        inside = (attention @ template.mask.transpose(1, 2)).transpose(1, 2)
        # only what the box holds votes for the target
        votes = (cosine * template.mask).transpose(1, 2)
        joined = torch.cat((x, read.reshape(b, -1, h, w), votes.reshape(b, -1, h, w),
                            inside.reshape(b, 1, h, w)), 1)
        logits, edges = self.head(self.join(joined))
        return Output(logits.float(), self.head.boxes(edges), weights)


def shown(present: Tensor, modality: str) -> Tensor:
    """Return `present` (B, 2) with one modality alone left of two: see `Student.taps`."""
    if modality == 'both':
        return present
    if modality not in MODALITIES:
        raise ValueError(f'modality is {modality!r}; use both, {", ".join(MODALITIES)}')
    alone = torch.zeros_like(present)
    alone[:, MODALITIES.index(modality)] = 1
    return torch.where(present.sum(1, keepdim=True) > 1, alone, present)


def mask_resize(mask: Tensor, like: Tensor) -> Tensor:
    """Resize a (B, 1, h, w) mask to the size of `like` and scale it to a sum of 1."""
    m = F.interpolate(mask.float(), size=like.shape[2:], mode='nearest')
    return m / m.sum((2, 3), keepdim=True).clamp(min=1e-6)


def box_mask(box: Tensor, size: int, stride: int) -> Tensor:
    """Share of every cell that boxes (B, 4) x, y, w, h in crop px cover: (B, 1, n, n), [0, 1]."""
    edges = torch.arange(size // stride + 1, dtype=torch.float32, device=box.device) * stride
    low = torch.maximum(edges[:-1], box[:, :2, None].float())
    high = torch.minimum(edges[1:], (box[:, :2] + box[:, 2:])[:, :, None].float())
    cover = (high - low).clamp(min=0) / stride  # (B, 2, n): along x, along y
    return (cover[:, 1, :, None] * cover[:, 0, None, :])[:, None]
