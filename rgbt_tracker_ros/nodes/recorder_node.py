"""The program recorder_node: the node rgbt_recorder in a process of its own."""
from __future__ import annotations

from collections.abc import Sequence
import gc
import signal
import sys

NEEDED = ('mcap', 'lz4', 'zstandard', 'rosbags')    # besides what the tracker node needs


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM, which end the recording properly."""
    # as in tracker_node: until rclpy's handlers are there, a signal ends the process at once
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.setswitchinterval(1e-3)
    from rgbt_tracker_ros.nodes.program import spin
    try:
        from rgbt_tracker_ros.nodes.recorder import RecorderNode
        from rgbt_tracker_ros.recording.definitions import definition_of
    except ModuleNotFoundError as e:
        name = (e.name or '').split('.')[0]
        if name not in NEEDED:
            raise
        print(f'recorder_node: {name} is not installed: pip install {" ".join(NEEDED)}',
              file=sys.stderr)
        return 1
    # reading all definitions takes 0.1 s, and so does a sweep of the garbage collector over them
    # and all modules: now, and not while the first pairs come
    definition_of('sensor_msgs/msg/Image')
    gc.collect()
    gc.freeze()
    spin(RecorderNode, args)
    return 0


if __name__ == '__main__':
    sys.exit(main())
