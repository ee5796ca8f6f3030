"""Convolutions for one CPU: weights laid out once, activations within the convolution.

torch hands a convolution's weights to oneDNN as they are, and each call lays them out anew: with
batches of one that takes as long as a good part of the arithmetic. The operators that torch's
compiler (Inductor) emits take weights that were laid out before, and apply a ReLU on the way out.
"""
from __future__ import annotations

import platform

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.runtime.folding import Folded
from rgbt_tracker_ros.runtime.precision import has_onednn

_OPERATORS = ('_reorder_convolution_weight', '_convolution_pointwise')


def can_pack() -> bool:
    """Tell whether torch here has these operators, which are not part of its public face."""
    return (platform.machine() in ('x86_64', 'AMD64') and has_onednn()
            and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS))


def pack_convolutions(network: nn.Module) -> int:
    """Replace all convolutions by packed ones, in place; for inference on a CPU only, and after
    all casts.

    :returns: how many were replaced.
    """
    count = 0
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d and child.padding_mode == 'zeros' \
                    and not isinstance(child.padding, str):
                setattr(parent, name, PackedConv2d(child, _take_relu(parent, name)))
                count += 1
    return count


def _take_relu(parent: nn.Module, name: str) -> bool:
    """Take the place of a folded norm behind convolution `name`, and a ReLU, out of a Sequential;
    whether there was a ReLU.
    """
    if not isinstance(parent, nn.Sequential):
        return False
    children = list(parent.named_children())
    behind = children[[n for n, _ in children].index(name) + 1:]
    taken = behind[:1] if behind and isinstance(behind[0][1], Folded) else []
    behind = behind[len(taken):]
    has_relu = bool(behind) and isinstance(behind[0][1], nn.ReLU)
    for place, _ in taken + behind[:has_relu]:
        delattr(parent, place)
    return has_relu


class PackedConv2d(nn.Conv2d):
    """A convolution, its weights laid out for each size of input that comes by, and its ReLU."""

    def __init__(self, convolution: nn.Conv2d, relu: bool) -> None:
        """Take over all that `convolution` has; `relu`: whether one follows."""
        super().__init__(1, 1, 1, device='meta')
        self.__dict__.update(convolution.__dict__)
        c = convolution
        self._numbers = list(c.padding), list(c.stride), list(c.dilation), c.groups
        self._relu = relu
        self._packed: dict[torch.Size, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return what the convolution and the ReLU give for (B, C, H, W), channels last."""
        if torch.is_grad_enabled():  # some networks climb a slope while they track
            out = super().forward(x)
            return torch.relu(out) if self._relu else out
        weight = self._packed.get(x.shape)
        if weight is None:
            weight = self._packed[x.shape] = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, *self._numbers, list(x.shape))
        packed: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, self.bias, *self._numbers, 'relu' if self._relu else 'none', [], '')
        return packed
