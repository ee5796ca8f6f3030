"""metadata.yaml, which makes a folder a bag: `ros2 bag info`, `play`, rosbag2 and rosbags."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import os
from typing import Any

import yaml

VERSION = 9     # of rosbag2 in Jazzy and later


@dataclass(slots=True)
class Topic:
    """A topic of the bag; `qos`: profiles of its publishers, as rosbag2 writes them."""

    name: str
    type: str
    digest: str
    qos: Sequence[dict[str, Any]]
    count: int = 0


def describe(file: str, topics: Sequence[Topic], start: int, end: int) -> dict[str, Any]:
    """Return what rosbag2 calls bag file information; times in ns."""
    count = sum(t.count for t in topics)
    duration, began = {'nanoseconds': max(0, end - start)}, {'nanoseconds_since_epoch': start}
    return {
        'version': VERSION, 'storage_identifier': 'mcap', 'duration': duration,
        'starting_time': began, 'message_count': count,
        'topics_with_message_count': [
            {'topic_metadata': {
                'name': t.name, 'type': t.type, 'serialization_format': 'cdr',
                'offered_qos_profiles': list(t.qos), 'type_description_hash': t.digest},
             'message_count': t.count} for t in topics],
        'compression_format': '', 'compression_mode': '', 'relative_file_paths': [file],
        'files': [{'path': file, 'starting_time': began, 'duration': duration,
                   'message_count': count}],
        'custom_data': None, 'ros_distro': os.environ.get('ROS_DISTRO', 'jazzy')}


def dump(value: object) -> str:
    """Return YAML that yaml-cpp reads: plain blocks, no anchors."""
    return yaml.dump(value, Dumper=_Plain, sort_keys=False, default_flow_style=False)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
