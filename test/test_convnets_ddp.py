"""Two processes train the convolutional trackers as one process with the joined batch."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from convnet_kit import STUDENT, TEACHER, batch_for, dimp, siamese
import pytest
import torch
from torch import Tensor, nn
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

INDEX = [0, 1, 2, 3]
LOSSES = {'siamese': ('score', 'size', 'offset'),
          'dimp': ('scores.0', 'scores.1', 'scores.2', 'scores.3', 'iou')}
CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    'teacher': (siamese, TEACHER, {}), 'student': (siamese, STUDENT, {}),
    'dimp': (dimp, {'box': 'iou_net'}, {'reference': 'rgb', 'test': 'thermal', 'seed': 5})}


class Loss(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        make, config, self.options = CASES[name]
        self.network = make(**config)
        self.names = LOSSES[make.__name__]

    def forward(self, index: list[int]) -> Tensor:
        taps = self.network.taps(batch_for(self.network, index), **self.options)
        return torch.stack([(taps[k] - 0.3).square().mean() for k in self.names]).sum()


def train(model: nn.Module, index: list[int]) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        model(index).backward()
        optimizer.step()


def _train(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    try:
        for name in CASES:
            loss = Loss(name)
            train(DistributedDataParallel(loss), INDEX[2 * rank:2 * rank + 2])
            torch.save(loss.network.state_dict(), f'{folder}/{name}{rank}.pt')
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('ddp')
    mp.spawn(_train, (str(path),), nprocs=2)
    return path


@pytest.mark.parametrize('name', CASES)
def test_two_processes_are_one(folder: Path, name: str) -> None:
    alone = Loss(name)
    start = {k: v.clone() for k, v in alone.network.state_dict().items()}
    train(alone, INDEX)
    for rank in range(2):
        state = torch.load(folder / f'{name}{rank}.pt')
        for key, value in alone.network.state_dict().items():
            torch.testing.assert_close(state[key], value, rtol=1e-3, atol=1e-5, msg=key)
    moved = [k for k, v in alone.network.named_parameters() if not torch.equal(v, start[k])]
    assert len(moved) > 20
