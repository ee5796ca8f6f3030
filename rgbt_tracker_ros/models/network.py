"""What every network of the library offers to the trainer, the exporter and the tracker."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]
Taps = dict[str, Tensor]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MODALITIES = ('rgb', 'thermal')


@dataclass(frozen=True)
class NetworkConfig:
    """Crops and cells of a network; every network's own configuration adds its sizes.

    Sizes are in px of the square crops, factors are the crop's side over sqrt(w h) of the box,
    `stride` is px per cell of the score map.
    """

    template_size: int = 128
    search_size: int = 256
    template_factor: float = 2.0
    search_factor: float = 4.0
    stride: int = 16

    def as_dict(self) -> dict[str, Any]:
        """Return all fields by name; `registry.build(name, **fields)` takes them back."""
        return asdict(self)

    @property
    def cells(self) -> int:
        """Side of the score map, in cells."""
        return self.search_size // self.stride

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the tracking pass looks at: 'rgb', 'thermal' or both; it ignores the other."""
        return MODALITIES

    @property
    def cell_offset(self) -> float:
        """Where in its cell a score is, in cells from the cell's start: cell i is for targets
        around (i + cell_offset) * stride px. A centre head rounds (see `paper_head.encode`): 0.
        """
        return 0.0

    @property
    def every_cell_learned(self) -> bool:
        """Whether the boxes of all cells around the target are learned (`dense_task`), not that
        of its own cell alone, so that they can be averaged.
        """
        return False


@dataclass(frozen=True)
class DenseConfig(NetworkConfig):
    """Of networks at strides 8 and 16 whose cells all learn their edges from their middles (FCOS).

    :raises ValueError: crops whose sizes are no multiples of 16 px.
    """

    def __post_init__(self) -> None:
        check_crops(self, 16)

    @property
    def cell_offset(self) -> float:
        """The middle."""
        return 0.5

    @property
    def every_cell_learned(self) -> bool:
        """True: see NetworkConfig."""
        return True


def check_crops(c: NetworkConfig, multiple: int = 0) -> None:
    """Refuse crops that are not whole cells, or not a `multiple` of so many px where it is given.

    :raises ValueError: the text names the field.
    """
    if c.stride < 1:
        raise ValueError(f'stride is {c.stride}; it must be 1 px or more')
    for name in ('template_size', 'search_size'):
        size, wanted = getattr(c, name), multiple or c.stride
        if size < 1 or size % wanted:
            raise ValueError(f'{name} is {size}; it must be a multiple of '
                             f'{"" if multiple else "stride "}{wanted}, and above 0')


class Output(NamedTuple):
    """Answer for a search crop: `logits` (B, 1, S, S), corner `boxes` (B, 4, S, S) in crop px,
    `weights` (B, 2, S', S') of the modalities.
    """

    logits: Tensor
    boxes: Tensor
    weights: Tensor


class Network(nn.Module):
    """A tracker's network: a training pass with named outputs, and a tracking pass.

    Inputs everywhere: RGB (B, 3, n, n) and thermal (B, 1, n, n), uint8 or float in [0, 1];
    `present` (B, 2) float, 1 where a modality (rgb, thermal) is there. A missing modality is all
    zero. Which taps `taps` gives is listed in each class's docstring.
    """

    Config: ClassVar[type[NetworkConfig]] = NetworkConfig
    config: NetworkConfig

    def taps(self, batch: Batch, *args: Any, **options: Any) -> Taps:
        """Run the training pass and return every output that a loss may want, by name.

        :param batch: `template_rgb`, `search_rgb` (B, 3, n, n), `template_thermal`,
            `search_thermal` (B, 1, n, n), `template_box`, `search_box` (B, 4) x, y, w, h in crop
            px, `template_present`, `search_present` (B, 2), `index` (B,) int64 sample numbers,
            `condition` (B,).
        :param options: `seed` (all networks): with `index` it decides all random draws; others
            are the network's own. Not known: TypeError.
        """
        raise NotImplementedError

    def encode_template(self, rgb: Tensor, thermal: Tensor, present: Tensor,
                        box: Tensor) -> Any:
        """Encode a template crop for the tracking pass; `box` (B, 4) x, y, w, h in crop px.

        :returns: a NamedTuple of tensors: all that does not depend on the search crop.
        """
        raise NotImplementedError

    def forward(self, template: Any, rgb: Tensor, thermal: Tensor, present: Tensor) -> Output:
        """Look for the template in a search crop (the tracking pass)."""
        raise NotImplementedError

    def tracking_network(self) -> Network:
        """Return the part that tracks, without what only training needs. Weights are shared."""
        return self


def to_unit(x: Tensor) -> Tensor:
    """Bring an image to float in [0, 1]: uint8 is divided by 255, a float image is left alone."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


def standardise(x: Tensor, present: Tensor, mean: tuple[float, ...] = IMAGENET_MEAN,
                std: tuple[float, ...] = IMAGENET_STD) -> Tensor:
    """Return (x - mean) / std with as many channels as `mean` has; one channel is repeated.

    :param x: (B, 1 or 3, n, n), uint8 or float in [0, 1].
    :param present: (B,), 1 or 0; a missing image becomes all 0, which is the mean colour.
    """
    unit = to_unit(x)
    m = unit.new_tensor(mean)[:, None, None]
    s = unit.new_tensor(std)[:, None, None]
    return (unit - m) / s * present.to(unit.dtype)[:, None, None, None]


def modality_weights(present: Tensor) -> Tensor:
    """(B, 2) presence -> (B, 2, 1, 1) equal weights of what is there, for `Output.weights`."""
    return (present / present.sum(1, keepdim=True).clamp(min=1))[:, :, None, None]
