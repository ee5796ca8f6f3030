"""Two processes under torchrun train to the losses of one with the same global batch."""
from __future__ import annotations

import csv
import os
from pathlib import Path
import socket
import subprocess
import sys

import pytest
from recipe_kit import SIZES, main, small, train

KIT = Path(__file__).with_name('recipe_kit.py')
STEPS = 3


def losses(folder: Path) -> dict[str, list[float]]:
    """Return all logged values of a run, by stage and name."""
    return {f'{path.parent.name}.{name}': [float(r[name]) for r in rows]
            for path in sorted(folder.glob('*/log.csv'))
            for rows in [list(csv.DictReader(path.open(newline='')))] for name in rows[0]}


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope='module')
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train all small recipes in two processes, batch norms, masks and all."""
    out = tmp_path_factory.mktemp('two')
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2',
         '--master-addr', '127.0.0.1', '--master-port', str(free_port()), str(KIT),
         ','.join(SIZES), str(out), str(STEPS)], capture_output=True, text=True,
        env=os.environ | {'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.parametrize('name', list(SIZES))
def test_two_processes_end_at_the_loss_of_one(tmp_path: Path, together: Path, name: str) -> None:
    main(name, str(tmp_path), str(STEPS))
    one, two = losses(tmp_path), losses(together / name)
    assert one.keys() == two.keys() and any(k.endswith('.loss') for k in one)
    for key, values in one.items():
        # weights whose gradient is but rounding (biases that a norm takes out) move the norm
        close = 5e-3 if key.endswith('.norm') else 1e-4
        assert two[key] == pytest.approx(values, rel=close, abs=1e-4), key


def test_a_batch_that_can_not_be_shared_is_refused(tmp_path, monkeypatch):
    from lightning_fabric import Fabric
    monkeypatch.setattr(Fabric, 'world_size', 3)
    with pytest.raises(ValueError, match='batch is 4, which 3 processes can not share'):
        train(small('student'), tmp_path)
