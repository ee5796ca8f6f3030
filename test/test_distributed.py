"""Two processes under torchrun train to the losses of one with the same global batch."""
from __future__ import annotations

import csv
import os
from pathlib import Path
import re
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
    done = in_two(KIT, ','.join(SIZES), str(out), str(STEPS))
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def in_two(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in two processes under torchrun."""
    return subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2',
         '--master-addr', '127.0.0.1', '--master-port', str(free_port()), str(script),
         *arguments], capture_output=True, text=True,
        env=os.environ | {'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(KIT.parent)})


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


def test_an_out_of_its_own_for_every_process_is_refused(tmp_path: Path) -> None:
    """As on two machines without a disk in common: a later stage would miss the one before."""
    script = tmp_path / 'apart.py'
    script.write_text("""
import os, sys
from pathlib import Path
from recipe_kit import small, train
train(small('student'), Path(sys.argv[1]) / os.environ['RANK'])
""")
    done = in_two(script, str(tmp_path / 'out'))
    assert done.returncode != 0 and not list((tmp_path / 'out').rglob('log.csv'))
    assert 'is not there for process 1; --out must be a folder that all mach' in done.stderr


def test_processes_that_are_stopped_have_saved(tmp_path: Path) -> None:
    """One of them hears the signal; none ends before the first one has written the checkpoint."""
    script = tmp_path / 'stop.py'
    script.write_text("""
import os, signal, sys, time
from pathlib import Path
from recipe_kit import small, train
from rgbt_tracker_ros.distillation.trainer import Trainer

rank, saves = int(os.environ['RANK']), Trainer._save

def save(self, state):
    if rank == 0:
        time.sleep(2)
    saves(self, state)

def steps(self, state, *rest, run=Trainer._steps):
    if rank == 1:
        signal.raise_signal(signal.SIGINT)
    run(self, state, *rest)

Trainer._save, Trainer._steps = save, steps
try:
    train(small('student'), Path(sys.argv[1]))
except KeyboardInterrupt:
    print('ended', rank, (Path(sys.argv[1]) / 'resume.pt').exists(), flush=True)
""")
    done = in_two(script, str(tmp_path / 'out'))
    assert sorted(re.findall(r'ended \d \w+', done.stdout)) == ['ended 0 True', 'ended 1 True'], \
        done.stderr[-3000:]
