"""Load the tracker that the parameters ask for."""
from __future__ import annotations

import os

from rgbt_tracker_ros.nodes.parameters import Parameters
from rgbt_tracker_ros.nodes.session_types import TrackerLike


def load_tracker(parameters: Parameters) -> TrackerLike:
    """Load the tracker that the parameters ask for.

    :raises ValueError: unknown file, wrong sha256, wrong shapes. :raises RuntimeError: no such
        GPU. :raises ImportError: torch is not installed.
    """
    from rgbt_tracker_ros.tracking.tracker import Tracker
    # half of the cores that we may use (not all of them under taskset or in a cpuset; a quota of
    # time, as docker's --cpus, is not seen): the other half is for the cameras, the middleware and
    # the executor
    threads = parameters.threads or max(1, len(os.sched_getaffinity(0)) // 2)
    try:
        return Tracker.load(parameters.model, parameters.device, parameters.tracker_config(),
                            sha256=parameters.model_sha256, threads=threads)
    except ModuleNotFoundError as e:
        raise ImportError(f'{e.name} is not installed: pip install {e.name}') from e
