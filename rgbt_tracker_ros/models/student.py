"""The student: one stream for both modalities, template features cached."""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.convnet import ConvBN, stage
from rgbt_tracker_ros.models.fusion import GatedFusion
from rgbt_tracker_ros.models.matching import MatchingNetwork
from rgbt_tracker_ros.models.network import DenseConfig, NetworkConfig, to_unit


@dataclass(frozen=True)
class StudentConfig(DenseConfig):
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


class Student(MatchingNetwork):
    """RGB and thermal stems, gated fusion at stride 4, one backbone, matching, centre head.

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
        self.add_matching(c.width8, c.head)

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
