"""A ROS graph of its own for every test that asks for one."""
from __future__ import annotations

from collections.abc import Iterator
import gc
import os
from pathlib import Path
import tempfile
from typing import TYPE_CHECKING

import pytest

from rgbt_tracker_ros.processes import free_domain, shm_profile

if TYPE_CHECKING:
    from rclpy.context import Context

# Read by rclpy, DDS and torch when they are imported or started: set before any of that.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'  # a message refuses a field of the wrong type
_folder = tempfile.TemporaryDirectory(prefix='rgbt_tracker_ros_')
os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'] = str(
    shm_profile(Path(_folder.name), processes=8, largest=16 * 2**20))
os.environ.setdefault('OMP_NUM_THREADS', str(min(2, os.cpu_count() or 1)))


@pytest.fixture
def domain_id(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Lend a free ROS domain; processes started by the test are in it too."""
    with free_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        yield domain


@pytest.fixture
def ros_context(domain_id: int) -> Iterator[Context]:
    """Lend an initialised rclpy context in that domain; shut down after the test."""
    import rclpy
    from rclpy.context import Context

    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    yield context
    rclpy.try_shutdown(context=context)
    # A LifecycleNode is in a cycle of references: until it is collected, so is its shared memory.
    gc.collect()
