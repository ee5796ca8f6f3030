"""The program tracker_node: the node rgbt_tracker in a process of its own."""
from __future__ import annotations

from collections.abc import Sequence
import signal
import sys


def main(args: Sequence[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM."""
    # Until rclpy's handlers are there, which end the spinning, a signal ends the process at once;
    # Python's own would raise KeyboardInterrupt anywhere. Hence the imports here, not above.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rgbt_tracker_ros.runtime.threads import wait_briefly
    wait_briefly()
    # The executor waits for at most this long while the worker computes in Python.
    sys.setswitchinterval(1e-3)
    from rgbt_tracker_ros.nodes.lifecycle import TrackerNode
    from rgbt_tracker_ros.nodes.program import spin
    spin(TrackerNode, args)


if __name__ == '__main__':
    main()
