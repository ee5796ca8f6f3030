"""How many cores this process may keep busy."""
from __future__ import annotations

import math
import os
from pathlib import Path

_ROOT, _OWN = Path('/sys/fs/cgroup'), Path('/proc/self/cgroup')


def usable_cores(root: Path = _ROOT, own: Path = _OWN) -> int:
    """Return the cores it may run on (fewer under taskset or in a cpuset), or those that its quota
    of time is worth, rounded up, where there is one and it is less: `docker run --cpus`, CPUQuota
    of systemd.

    :param root: where control groups are mounted. :param own: which this process is in.
    """
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), _quota(root, own))))


def _quota(root: Path, own: Path) -> float:
    """Return the smallest quota, in cores, of the process's group and of those it is in.

    In a container its own group is the root that it sees, whatever the path says.
    """
    try:
        lines = [line.split(':', 2) for line in own.read_text().splitlines()]
    except OSError:     # no Linux
        return math.inf
    found = math.inf
    for _, controllers, path in (line for line in lines if len(line) == 3):
        # version 2 has one tree of all controllers; of version 1 it is cpu's
        if controllers and 'cpu' not in controllers.split(','):
            continue
        trees = (root / 'cpu', root / controllers) if controllers else (root, root / 'unified')
        for tree in trees:
            group = tree / path.strip('/')
            for folder in (group, *group.parents):
                if not folder.is_relative_to(tree):
                    break
                found = min(found, _limit(folder))
    return found


def _limit(group: Path) -> float:
    """Return what one group allows, in cores; infinity where it doesn't limit."""
    for names in (('cpu.max',), ('cpu.cfs_quota_us', 'cpu.cfs_period_us')):
        try:
            quota, period = ' '.join((group / n).read_text() for n in names).split()
            if quota != 'max' and int(quota) > 0 and int(period) > 0:
                return int(quota) / int(period)
        except (OSError, ValueError):   # not there, or another kernel's form
            continue
    return math.inf
