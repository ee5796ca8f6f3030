"""Settings of the tracker from a file: `--config`."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from rgbt_tracker_ros.evaluation.trackers import TrackerError
from rgbt_tracker_ros.tracking.config import TrackerConfig


def read_config(path: Path) -> TrackerConfig:
    """Read a TrackerConfig from YAML: its fields, or a file of ROS parameters that holds them.

    :raises TrackerError: file missing, not YAML, an unknown field, or a value out of range.
    """
    import yaml
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise TrackerError(f"{path}: can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrackerError(f'{path}: not YAML: {error}') from error
    ros = _ros_parameters(data)
    values = data if ros is None else ros
    if not isinstance(values, Mapping):
        raise TrackerError(f'{path}: must hold settings of the tracker, one `name: value` a line')
    known = {f.name for f in fields(TrackerConfig)}
    # a file of the node holds topics, sensors and more besides
    unknown = [] if ros is not None else sorted(set(map(str, values)) - known)
    if unknown:
        raise TrackerError(f'{path}: no setting {unknown[0]!r}; there are '
                           f'{", ".join(sorted(known))}')
    chosen: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
    try:
        return TrackerConfig(**chosen)
    except (ValueError, TypeError) as error:
        raise TrackerError(f'{path}: {error}') from error


def _ros_parameters(data: object) -> Mapping[str, Any] | None:
    """Return the first `ros__parameters` of a file, whatever the namespaces around it."""
    if not isinstance(data, Mapping):
        return None
    found = data.get('ros__parameters')
    if isinstance(found, Mapping):
        return found
    return next(filter(None, map(_ros_parameters, data.values())), None)
