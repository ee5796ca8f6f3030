"""Batch norms folded into the convolutions before them: the same answers with less work."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import nn


class Folded(nn.Identity):
    """Where a batch norm was that is now in the convolution before it."""


def fold_batch_norms(network: nn.Module) -> int:
    """Fold every batch norm that follows a convolution into it, in place; for inference only.

    Found are neighbours in a Sequential, and `conv1`, `bn1` of one module (torchvision's names).

    :returns: how many were folded.
    """
    count = 0
    for module in list(network.modules()):
        for conv_name, norm_name in list(_pairs(module)):
            conv, norm = getattr(module, conv_name), getattr(module, norm_name)
            if norm.running_mean is None:  # its statistics are those of each batch
                continue
            setattr(module, conv_name, nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval()))
            setattr(module, norm_name, Folded())
            count += 1
    return count


def stacks(network: nn.Module) -> Iterator[list[nn.Sequential]]:
    """Yield what bears rounding: the largest Sequentials that hold nothing to learn but
    convolutions with folded batch norms, those in a row within another Sequential together.
    """
    row: list[nn.Sequential] = []
    for child in network.children():
        stack = child if isinstance(child, nn.Sequential) and _is_folded(child) else None
        joins = stack is not None and isinstance(network, nn.Sequential)
        if row and not joins:
            yield row
            row = []
        if stack is None:
            yield from stacks(child)
        elif joins:
            row.append(stack)
        else:
            yield [stack]
    if row:
        yield row


def _is_folded(stack: nn.Sequential) -> bool:
    modules = list(stack.modules())
    convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
    own = sum(len(list(c.parameters(recurse=False))) for c in convolutions)
    return (own == len(list(stack.parameters())) and own > 0
            and sum(isinstance(m, Folded) for m in modules) == len(convolutions))


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of a module's convolutions and of the batch norms behind them."""
    children = dict(module.named_children())
    if isinstance(module, nn.Sequential):
        following = dict(pairwise(children))
    else:
        following = {n: f'bn{n.removeprefix("conv")}' for n in children if n.startswith('conv')}
    for conv, norm in following.items():
        if isinstance(children[conv], nn.Conv2d) and isinstance(children.get(norm),
                                                                nn.BatchNorm2d):
            yield conv, norm
