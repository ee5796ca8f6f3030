"""A node as a program: spun in one thread until a signal ends it."""
from __future__ import annotations

from collections.abc import Callable, Sequence
import signal

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node


def spin(make: Callable[[], Node], args: Sequence[str] | None) -> None:
    """Make a node and run it until SIGINT or SIGTERM; it is destroyed in any case."""
    rclpy.init(args=list(args) if args is not None else None)
    node = None
    try:
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except Exception:
        if rclpy.ok():      # else a signal has come, and whatever was under way could not publish
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def listen(make: Callable[[], Node], args: Sequence[str] | None) -> int:
    """Run a client that writes to a pipe until SIGINT, or until nobody reads it; return 0."""
    signal.signal(signal.SIGINT, lambda *_: None)  # rclpy's own handler ends the spinning
    rclpy.init(args=list(args) if args is not None else None)
    try:
        executor = SingleThreadedExecutor()
        executor.add_node(make())
        executor.spin()
    except (ExternalShutdownException, BrokenPipeError):
        pass
    finally:
        rclpy.try_shutdown()
    return 0
