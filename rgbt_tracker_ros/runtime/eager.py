"""Run a network as it is, in PyTorch, one crop at a time."""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.convnet import channels_last
from rgbt_tracker_ros.models.network import NetworkConfig
from rgbt_tracker_ros.runtime.device import resolve_device
from rgbt_tracker_ros.runtime.folding import fold_batch_norms
from rgbt_tracker_ros.runtime.packing import can_pack, pack_convolutions
from rgbt_tracker_ros.runtime.precision import resolve_precision, to_bf16
from rgbt_tracker_ros.types import Box

Crop = NDArray[np.uint8]


class Template(NamedTuple):
    """A target as the network keeps it: `kept`, a NamedTuple of tensors that only the network
    understands, and the `weights` (1, 2) of RGB and thermal in it.
    """

    kept: Any
    weights: Tensor


class Response(NamedTuple):
    """What the network sees in a search crop of S x S cells: `logits` (S, S) float32, corner
    `boxes` (4, S, S) float32 in crop px, `weight_thermal` (S', S') float32 in [0, 1].
    """

    logits: NDArray[np.float32]
    boxes: NDArray[np.float32]
    weight_thermal: NDArray[np.float32]

    def share_of_thermal(self, box: Box, size: int) -> float:
        """Mean weight of thermal over `box` (crop px) in a crop of `size` px, in [0, 1]."""
        cells = self.weight_thermal.shape[0]
        scale = cells / size
        x1, y1 = (min(max(int(v * scale), 0), cells - 1) for v in (box.x, box.y))
        x2, y2 = (math.ceil(v * scale) for v in (box.x + box.w, box.y + box.h))
        return float(self.weight_thermal[y1:max(y2, y1 + 1), x1:max(x2, x1 + 1)].mean())


class EagerStudent:
    """A trained network of any architecture on a device, with batch norms folded away."""

    def __init__(self, path: Path | None = None, device: str = 'auto', *, sha256: str = '',
                 threads: int = 0, precision: str = 'auto') -> None:
        """Load weights; `path` None means the shipped ones, `threads` 0 leaves torch's number.

        :param precision: 'float32', 'bf16', or 'auto': bf16 where the device is quicker in it.
        :raises CheckpointError: see `checkpoint.load`. :raises DeviceError: see `resolve_device`.
        :raises ValueError: a precision that there is not.
        """
        self._device = resolve_device(device)
        self.precision = resolve_precision(precision, self._device)
        path = path or checkpoint.SHIPPED
        network, self.info, digest = checkpoint.load_with_digest(path, sha256)
        if threads:
            torch.set_num_threads(threads)
        network = network.tracking_network()
        fold_batch_norms(network)
        if self.precision == 'bf16':
            to_bf16(network)
        channels_last(network)
        self._network = network.to(self._device)
        if self._device.type == 'cpu' and can_pack():
            pack_convolutions(self._network)
        self.name = f'{path.name} {digest[:12]}'

    @property
    def config(self) -> NetworkConfig:
        """Sizes of the network and of its crops."""
        return self._network.config

    @property
    def device(self) -> str:
        """Name of the device: cpu, cuda:0."""
        return str(self._device)

    def _inputs(self, rgb: Crop | None, thermal: Crop | None,
                size: int) -> tuple[Tensor, Tensor, Tensor]:
        a = torch.zeros(1, 3, size, size, dtype=torch.uint8) if rgb is None \
            else torch.from_numpy(rgb).permute(2, 0, 1)[None]
        b = torch.zeros(1, 1, size, size, dtype=torch.uint8) if thermal is None \
            else torch.from_numpy(thermal)[None, None]
        present = torch.tensor([[float(rgb is not None), float(thermal is not None)]])
        return a.to(self._device), b.to(self._device), present.to(self._device)

    @torch.inference_mode()
    def encode(self, rgb: Crop | None, thermal: Crop | None, box: Box) -> Template:
        """Encode a template crop: RGB (n, n, 3) and thermal (n, n), uint8, one of them maybe
        None; `box` in crop px. Keep the result for as long as the target is followed.
        """
        # in double: the far edges are sums, which are rounded once and not twice
        where = torch.tensor([box.as_tuple()], dtype=torch.float64, device=self._device)
        inputs = self._inputs(rgb, thermal, self.config.template_size)
        kept = self._network.encode_template(*inputs, where)
        weights = getattr(kept, 'weights', None)
        if weights is None:  # what does not weigh the modalities takes them alike
            seen = [float(m in self.config.modalities) for m in ('rgb', 'thermal')]
            shares = inputs[2] * inputs[2].new_tensor(seen)
            weights = shares / shares.sum(1, keepdim=True).clamp(min=1)
        return Template(kept, weights)

    @torch.inference_mode()
    def search(self, template: Template, rgb: Crop | None, thermal: Crop | None) -> Response:
        """Look for the template in a search crop: RGB (n, n, 3) and thermal (n, n), uint8."""
        out = self._network(template.kept, *self._inputs(rgb, thermal, self.config.search_size))
        return Response(out.logits[0, 0].float().cpu().numpy(),
                        out.boxes[0].float().cpu().numpy(),
                        out.weights[0, 1].float().cpu().numpy())
