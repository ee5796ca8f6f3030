"""Load the tracker that the parameters ask for."""
from __future__ import annotations

from rgbt_tracker_ros.nodes.parameters import Parameters
from rgbt_tracker_ros.nodes.session_types import TrackerLike
from rgbt_tracker_ros.runtime.cores import usable_cores


def load_tracker(parameters: Parameters) -> TrackerLike:
    """Load the tracker that the parameters ask for.

    :raises ValueError: unknown file, wrong sha256, wrong shapes. :raises RuntimeError: no such
        GPU. :raises ImportError: torch is not installed.
    """
    from rgbt_tracker_ros.tracking.tracker import Tracker
    # the other half is for the cameras, the middleware and the executor
    threads = parameters.threads or max(1, usable_cores() // 2)
    try:
        return Tracker.load(parameters.model, parameters.device, parameters.tracker_config(),
                            sha256=parameters.model_sha256, threads=threads)
    except ModuleNotFoundError as e:
        raise ImportError(f'{e.name} is not installed: pip install {e.name}') from e
