"""With which parameters the nodes are started, so that they do what is done offline."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
import json
from pathlib import Path
from typing import Any

from rgbt_tracker_ros.data.bag_reader import Bag
from rgbt_tracker_ros.data.recordings import BagFrames
from rgbt_tracker_ros.data.sequence import Sequence as Recording
from rgbt_tracker_ros.evaluation.opening import Opening
from rgbt_tracker_ros.evaluation.runner import Span
from rgbt_tracker_ros.evaluation.trackers import TrackerSpec


def tracker_parameters(spec: TrackerSpec, opening: Opening,
                       cameras: Sequence[str] = ('rgb', 'thermal'),
                       transport: str = 'raw') -> list[str]:
    """Return the parameters that make rgbt_tracker this tracker, 'name:=value'."""
    options = dict(opening.options)
    values: dict[str, Any] = {
        'model': '' if spec.source == 'student' else str(Path(spec.source).absolute()),
        'device': spec.device, 'image_transport': transport, 'debug_image_rate': 0.0,
        'use_rgb': 'rgb' in cameras, 'use_thermal': 'thermal' in cameras}
    values |= {option: float(options[key]) for key, option in (
        ('slop', 'pair_slop'), ('thermal_offset', 'thermal_time_offset')) if key in options}
    defaults = asdict(type(spec.config)())
    for key, value in asdict(spec.config).items():
        if value != defaults[key]:
            values[key] = [float(v) for v in value] if isinstance(value, tuple) else type(
                defaults[key])(value)
    return parameters(values)


def player_parameters(opening: Opening, name: str, span: Span, speed: float,
                      transport: str = 'raw') -> list[str]:
    """Return the parameters with which rgbt_player plays what is tracked of a sequence."""
    options = json.dumps(dict(opening.options)) if opening.options else ''
    return parameters({
        'layout': opening.layout, 'root': str(Path(opening.root).expanduser().absolute()),
        'sequence': name, 'options': options, 'first': span.first, 'count': span.frames,
        'speed': float(speed), 'stamps': 'kept', 'decode': transport == 'raw',
        # a second, for all to have found each other and for the target to be there first
        'wait_for_subscribers': 'all', 'start_delay': 1.0})


def parameters(values: dict[str, Any]) -> list[str]:
    """Return ROS parameters for a command line; what is text stays text, numbers in it or not."""
    return [f'{name}:={json.dumps(value)}' for name, value in values.items()]


def cameras_of(sequence: Recording, span: Span) -> tuple[str, ...]:
    """Return which of 'rgb' and 'thermal' a sequence has.

    :raises LayoutError: if its first tracked pair can't be decoded.
    """
    if isinstance(sequence.frames, BagFrames):
        there: Sequence[object] = sequence.frames.topics
    else:
        pair = sequence.pair(span.first)
        there = [image is not None for image in (pair.rgb, pair.thermal)]
    return tuple(name for name, found in zip(('rgb', 'thermal'), there, strict=True) if found)


def transport_of(sequence: Recording) -> str:
    """Return how the node gets the images: 'compressed' where all of a bag's are."""
    if not isinstance(sequence.frames, BagFrames):
        return 'raw'
    with Bag(sequence.frames.path) as bag:
        kinds = {bag.topics[topic] for topic in sequence.frames.topics if topic}
    return 'compressed' if kinds == {'sensor_msgs/msg/CompressedImage'} else 'raw'
