"""Sizes of DiMP, and which of them go together."""
from __future__ import annotations

from dataclasses import dataclass

from rgbt_tracker_ros.models.network import MODALITIES, NetworkConfig, check_crops


@dataclass(frozen=True)
class DiMPConfig(NetworkConfig):
    """Sizes of a DiMP; the defaults are SuperDiMP's (Bhat et al., 2019, with IoU-Net).

    Template and search crop must be of one scale: size over factor.
    """

    template_size: int = 352
    search_size: int = 352
    template_factor: float = 6.0
    search_factor: float = 6.0
    stride: int = 16
    modality: str = 'thermal'         # what the tracking pass looks at: rgb or thermal
    backbone: str = 'resnet50'        # a name of resnet.SHAPES
    widths: tuple[int, ...] = ()      # instead of the shape's, per stage
    blocks: tuple[int, ...] = ()
    stages: int = 3
    channels: int = 512               # of the classifier's features
    filter_size: int = 4
    steps: int = 5                    # of the optimiser in training
    box: str = 'iou_net'              # or center
    box_width: int = 256
    candidates: int = 128             # boxes an image that IoU-Net learns from
    augment: bool = True              # learn the tracking filter from 15 views of the template
    template_steps: int = 10          # of the optimiser on those
    proposals: int = 10               # boxes a peak that are refined
    refine_steps: int = 10            # 0: the template's size is kept
    refine_rate: float = 2.5e-3

    @property
    def sigma(self) -> float:
        """Of the labels, in cells: a quarter of the target's size."""
        return 0.25 * self.search_size / self.stride / self.search_factor

    @property
    def modalities(self) -> tuple[str, ...]:
        """The one modality that it looks at."""
        return (self.modality,)

    @property
    def cell_offset(self) -> float:
        """A cell has the best score of its corners (even filter), or that of its middle."""
        return 0.5


def modality_checked(name: str) -> str:
    """Return the name of a modality.

    :raises ValueError: it is none.
    """
    if name not in MODALITIES:
        raise ValueError(f'modality {name!r} is unknown; use rgb or thermal')
    return name


def check(c: DiMPConfig) -> None:
    """Refuse what does not go together.

    :raises ValueError: which choice or sizes.
    """
    modality_checked(c.modality)
    check_crops(c)
    if c.box not in ('iou_net', 'center'):
        raise ValueError(f"box {c.box!r} is unknown; use 'iou_net' or 'center'")
    if c.filter_size < 1:
        raise ValueError(f'filter_size is {c.filter_size} cells; it must be 1 or more')
    if c.box == 'center' and c.filter_size % 2:
        # the score's nodes are then between the cells whose boxes are learned
        raise ValueError(f"filter_size is {c.filter_size} cells; with box 'center' it must be "
                         'even')
    if c.stages < 2:
        raise ValueError(f'stages is {c.stages}; DiMP needs the maps of two stages or more')
    scales = c.template_size / c.template_factor, c.search_size / c.search_factor
    if abs(scales[0] - scales[1]) > 0.01 * scales[1]:
        raise ValueError(
            f'template and search crop show a target at {scales[0]:.1f} and {scales[1]:.1f} px: '
            'DiMP compares their features cell by cell, so template_size / template_factor must '
            'be search_size / search_factor')
