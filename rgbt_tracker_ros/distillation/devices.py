"""Which processes and devices train: one, several, or several machines under torchrun."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import logging
import os
from typing import TYPE_CHECKING
import warnings

from rgbt_tracker_ros.distillation.needs import INSTALL, require
from rgbt_tracker_ros.runtime.device import DeviceError, resolve_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# What Fabric and DDP say in every process of a training that is as it should be: this option alone
# sends no buffers at the start; a 1x1 kernel has the same bytes in both orders.
_KNOWN = ('.*broadcast_buffers.* is deprecated', 'Grad strides do not match bucket view strides')
PRECISION = {'32': '32-true', 'bf16': 'bf16-mixed'}


@contextmanager
def ending_children(fabric: Fabric) -> Iterator[None]:
    """End the processes that Fabric has started when this one fails: they would wait for it in
    vain, with their GPUs. Under torchrun its agent does that.
    """
    try:
        yield
    except BaseException as error:
        # after ctrl-C they have all been asked, and end by themselves
        for process in () if isinstance(error, KeyboardInterrupt) else \
                getattr(fabric.strategy.launcher, 'procs', ()):
            process.kill()  # one that waits for others hears nothing else
        raise


def make_fabric(device: str = 'auto', devices: int = 1, nodes: int = 1,
                precision: str = '32') -> Fabric:
    """Return Lightning Fabric for this process, launched.

    Under torchrun its numbers of processes and machines count; otherwise `devices` processes are
    started on this machine. More than one process trains by DistributedDataParallel.

    :param device: auto, cpu, cuda or cuda:N (with one device).
    :raises DeviceError: a device that is not there. :raises ValueError: Fabric is not installed.
    """
    require('lightning_fabric')
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:    # it is there, and something that it needs is not
        raise ValueError(f"Lightning Fabric can't be imported: {error}; {INSTALL}") from error
    logging.getLogger('lightning_fabric').setLevel(logging.WARNING)
    found = resolve_device(device)
    if 'LOCAL_WORLD_SIZE' in os.environ and 'WORLD_SIZE' in os.environ:  # set by torchrun
        devices = int(os.environ['LOCAL_WORLD_SIZE'])
        nodes = int(os.environ['WORLD_SIZE']) // devices
    world = devices * nodes
    if ':' in device and devices > 1:
        raise DeviceError(f'{devices} devices can not all be {device}; give {found.type}, and '
                          'choose among them by CUDA_VISIBLE_DEVICES')
    if found.type == 'cuda':
        import torch
        if devices > torch.cuda.device_count():
            raise DeviceError(f'{devices} devices were asked for, but there are '
                              f'{torch.cuda.device_count()} GPUs')
    # parameters that only some losses reach are common: ablations take losses out. Buffers need
    # no broadcast: batch norms see the statistics of all processes.
    for known in _KNOWN if world > 1 else ():
        warnings.filterwarnings('ignore', message=known)
    strategy = 'auto' if world == 1 else DDPStrategy(find_unused_parameters=True,
                                                     broadcast_buffers=False)
    chosen: list[int] | int = [found.index or 0] if found.type == 'cuda' and world == 1 \
        else devices
    fabric = Fabric(accelerator=found.type, devices=chosen, num_nodes=nodes,
                    strategy=strategy, precision=PRECISION[precision])  # type: ignore[arg-type]
    fabric.launch()
    return fabric
