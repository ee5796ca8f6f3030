"""Batch norm whose training statistics are those of the whole batch, over all processes."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
import torch.distributed as dist
import torch.nn.functional as F


class _SumOverRanks(torch.autograd.Function):
    """Sum over the processes, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # every process's loss depends on this process's values
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad


def sum_over_ranks(x: Tensor) -> Tensor:
    """Return the sum of `x` over all processes, differentiable; `x` itself if there is but one.

    The gradient is that of the *sum* of all processes' losses, which is what data-parallel
    training averages afterwards. Every process must call it, and go backwards through it, in the
    same order.
    """
    if not is_distributed():
        return x
    y: Tensor = _SumOverRanks.apply(x)  # type: ignore[no-untyped-call]
    return y


def is_distributed() -> bool:
    """Whether more than one process trains together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over the batch of all processes (Ioffe and Szegedy, 2015).

    With torch.distributed initialised and more than one process, the statistics of training are
    those of the joined batch, so that n processes train as one process with n times the batch;
    torch's own SyncBatchNorm does so on GPUs only. Statistics are in float32 whatever the
    input. In evaluation mode, and with one process, it is torch's. State dicts are the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, H, W) per channel.

        :raises ValueError: not four dimensions, or one value per channel only (training).
        """
        use_batch = self.training or self.running_mean is None
        if not (use_batch and is_distributed()):
            if self.training and input.numel() == input.shape[1]:
                raise ValueError(f'a batch norm got one value for each of {input.shape[1]} '
                                 'channels, which has no variance to train with; use a batch of 2 '
                                 'or more')
            return super().forward(input)
        self._check_input_dim(input)
        x = input.float()
        count, mean, var = _joined(x)
        if self.training and self.running_mean is not None:
            self._remember(mean.detach(), var.detach() * (count / (count - 1)))
        scale = torch.rsqrt(var + self.eps)
        if self.weight is not None:
            scale = scale * self.weight.float()
        shift = -mean * scale if self.bias is None else self.bias.float() - mean * scale
        return (x * scale[:, None, None] + shift[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics towards those of this batch; `var` is the unbiased one."""
        assert self.running_mean is not None and self.running_var is not None
        momentum = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # a plain average of all batches
                momentum = 1 / float(self.num_batches_tracked)
        assert momentum is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), momentum)


def _joined(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return count (), mean (C,) and biased variance (C,) of (B, C, H, W) over all processes.

    Means and variances of the processes are gathered in one message and pooled after Chan et al.
    (1979): sums of squares would lose the digits that a small variance needs.
    """
    channels, own = x.shape[1], x.shape[0] * x.shape[2] * x.shape[3]
    var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    row = torch.cat((mean, var, mean.new_full((1,), float(own))))
    # a sum of tables with one row filled each is a gather, and has the gather's gradient
    rank, others = dist.get_rank(), dist.get_world_size() - dist.get_rank() - 1
    table = sum_over_ranks(F.pad(row[None], (0, 0, rank, others)))
    means, variances = table[:, :channels], table[:, channels:-1]
    counts = table[:, -1:].detach()
    total = counts.sum()
    share = counts / total
    mean = (share * means).sum(0)
    return total, mean, (share * (variances + (means - mean) ** 2)).sum(0)
