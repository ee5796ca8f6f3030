"""Batch norm over all processes is batch norm over the joined batch."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
import torch.distributed as dist
import torch.multiprocessing as mp

from rgbt_tracker_ros.models.norm import BatchNorm2d


def make(kind: type[nn.BatchNorm2d], **options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), kind(5, **options), nn.ReLU(), nn.Conv2d(5, 4, 1),
                         kind(4, **options))


def data() -> Tensor:
    # one half is far brighter than the other: statistics of a half are not those of the whole
    x = torch.randn(6, 3, 7, 7, generator=torch.Generator().manual_seed(1))
    x[3:] = 4 * x[3:] + 2
    return x


def run(net: nn.Sequential, x: Tensor, steps: int = 2) -> dict[str, Tensor]:
    """Train on the squared outputs; gradients are of the mean over the batch."""
    out = torch.empty(0)
    for _ in range(steps):
        net.zero_grad()
        out = net(x)
        (out ** 3).mean().backward()
    result = {'out': out.detach()}
    result.update({f'grad {k}': p.grad.clone() for k, p in net.named_parameters()
                   if p.grad is not None})
    result.update({f'buffer {k}': b.clone() for k, b in net.named_buffers()})
    return result


def _train(rank: int, sizes: list[int], folder: str, options: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank,
                            world_size=len(sizes))
    try:
        net = make(BatchNorm2d, **options)
        result = run(net, data().split(sizes)[rank])
        for key, value in result.items():
            if key.startswith('grad'):  # as data-parallel training averages them
                value *= sizes[rank] / sum(sizes)
                dist.all_reduce(value)
        torch.save(result, f'{folder}/{rank}.pt')
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(('sizes', 'options'), [
    ([3, 3], {}),
    ([3, 3], {'momentum': None}),
    ([3, 3], {'affine': False, 'track_running_stats': False}),
])
def test_two_processes_are_one(tmp_path: Path, sizes: list[int], options: dict[str, Any]) -> None:
    mp.spawn(_train, (sizes, str(tmp_path), options), nprocs=len(sizes))
    parts = [torch.load(tmp_path / f'{r}.pt') for r in range(len(sizes))]
    whole = run(make(nn.BatchNorm2d, **options), data())
    assert whole.keys() == parts[0].keys()
    torch.testing.assert_close(torch.cat([p['out'] for p in parts]), whole['out'],
                               rtol=1e-5, atol=1e-5)
    for key in whole.keys() - {'out'}:
        for part in parts:
            torch.testing.assert_close(part[key], whole[key], rtol=1e-4, atol=1e-5, msg=key)


def test_one_process_is_torch() -> None:
    ours, theirs = run(make(BatchNorm2d), data()), run(make(nn.BatchNorm2d), data())
    for key, value in theirs.items():
        assert torch.equal(ours[key], value), key
    assert make(BatchNorm2d).state_dict().keys() == make(nn.BatchNorm2d).state_dict().keys()


def test_evaluation_leaves_the_statistics_alone() -> None:
    net = make(BatchNorm2d).eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(data())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
