"""Every parameter of the recorder node, once; README's table and config/recorder.yaml follow.

`python -m rgbt_tracker_ros.nodes.recorder_parameters yaml` (or `markdown`) prints these.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
import sys
from typing import Any

from rgbt_tracker_ros.nodes.parameters import (
    START,
    TRANSPORTS,
    ParameterError,
    Parameters,
    Spec,
    check,
    render_markdown,
    render_yaml,
)
from rgbt_tracker_ros.nodes.parameters import TABLE as TRACKER
from rgbt_tracker_ros.nodes.parameters import parameter as _p
from rgbt_tracker_ros.recording.gates import GateSettings
from rgbt_tracker_ros.recording.recorder import RecorderSettings

STOPPED = 'while stopped'       # read at ~/start
_IMAGES = Parameters()


@dataclass(frozen=True, slots=True)
class RecorderParameters:
    """The node's parameters. Those about the cameras mean what they do in the tracker node."""

    autostart: bool = _p(True, 'record without being asked to', START)
    output_dir: str = _p('~/rgbt_recordings', 'folder for the segments; made if it is not there',
                         STOPPED)
    recording: str = _p('pairs', 'name of the segments: NAME_0000, NAME_0001, ...; a new start '
                        'goes on with the next number', STOPPED)
    segment_bytes: int = _p(2_000_000_000, 'a segment ends before the pair that would make it '
                            'larger', STOPPED, low=1_000_000, high=10**13)
    segment_duration: float = _p(300.0, 's, by the stamps, after which a segment ends', STOPPED,
                                 low=1, high=86400)
    compression: str = _p('none', 'of the chunks; zstd and lz4 take more of a core than they save '
                          'of a disk where images are large', STOPPED,
                          choices=('none', 'lz4', 'zstd'))
    chunk_bytes: int = _p(4_194_304, 'written at a time', STOPPED, low=65_536, high=67_108_864)
    flush_interval: float = _p(1.0, 's after which a chunk is written though it is small: what a '
                               'process that is killed may cost; a power cut costs about 2 s '
                               'more, and what the disk was still at', STOPPED, low=0.05, high=60)
    queue_bytes: int = _p(134_217_728, 'memory for pairs that wait for the disk; beyond it the '
                          'newest pair is dropped, and counted; images may take as much again '
                          'while they wait for partners, beyond it the oldest is given up',
                          STOPPED, low=1_000_000, high=10**11)
    min_free_bytes: int = _p(1_000_000_000, 'what has to stay free on the disk: below it the '
                             'recorder does not start, and stops', STOPPED, low=0, high=10**15)
    max_total_bytes: int = _p(0, 'what all segments of this recording may take together; 0: no '
                              'limit', STOPPED, low=0, high=10**15)
    when_full: str = _p('stop', 'at max_total_bytes: stop, or delete_oldest to keep the newest '
                        'segments (whole ones, of this recording only)', STOPPED,
                        choices=('stop', 'delete_oldest'))
    every_n: int = _p(1, 'record one pair of so many', low=1, high=1_000_000)
    min_interval: float = _p(0.0, 's, by the stamps, between two recorded pairs', low=0,
                             high=86400)
    scene_change: float = _p(0.0, 'record a pair only if the tenth of either picture that changed '
                             'most since the last recorded pair did so by that much, in per cent '
                             'of its range; noise stays below about 5; 0: record all', low=0,
                             high=100)
    record_track: bool = _p(True, 'record rgbt_tracker/track too, where it is published', STOPPED)
    image_transport: str = _p('raw', TRACKER['image_transport'].text, STOPPED,
                              choices=TRANSPORTS)
    rgb_transport: str = _p('', TRACKER['rgb_transport'].text, STOPPED, choices=('', *TRANSPORTS))
    thermal_transport: str = _p('', TRACKER['thermal_transport'].text, STOPPED,
                                choices=('', *TRANSPORTS))
    image_qos: str = _p('auto', TRACKER['image_qos'].text, STOPPED,
                        choices=('auto', 'reliable', 'sensor_data'))
    image_depth: int = _p(15, 'images that may wait in the middleware, per camera', STOPPED, low=1,
                          high=1000)
    pair_slop: float = _p(_IMAGES.pair_slop, TRACKER['pair_slop'].text, low=0, high=1)
    pair_deadline: float = _p(0.5, 's, longest wait for the other image', low=0, high=10)
    thermal_time_offset: float = _p(0.0, 's, added to the thermal stamps for matching; the files '
                                    'keep the stamps as they came', STOPPED, low=-10, high=10)
    stream_timeout: float = _p(1.0, TRACKER['stream_timeout'].text, low=0.05, high=60)

    use_rgb = use_thermal = True    # not parameters: a pair has both
    pairing = 'nearest'
    pair_queue = 256                # images; pair_deadline and queue_bytes bound the wait

    @classmethod
    def build(cls, values: Mapping[str, object]) -> RecorderParameters:
        """Return checked parameters; names that are not given keep their defaults.

        :raises ParameterError: for a single value, and for values that exclude each other.
        """
        checked: dict[str, Any] = {n: check(n, v, TABLE) for n, v in values.items()}
        made = cls(**checked)
        made.directory()
        least = 2 * made.segment_bytes
        if made.when_full == 'delete_oldest' and made.max_total_bytes < least:
            raise ParameterError(
                f'max_total_bytes is {made.max_total_bytes}; when_full delete_oldest needs twice '
                f'segment_bytes or more, {least}: the segment being written can not be deleted')
        return made

    def directory(self) -> Path:
        """Return `output_dir`, in full.

        :raises ParameterError: if it begins with the home of a user that there is not.
        """
        try:
            return Path(self.output_dir).expanduser().absolute()
        except RuntimeError as e:
            raise ParameterError(f'output_dir is {self.output_dir!r}; that user has no home '
                                 'directory here: give the whole path') from e

    def gates(self) -> GateSettings:
        """Return the gates' share."""
        return GateSettings(self.every_n, round(self.min_interval * 1e9), self.scene_change)

    def settings(self, recorder: str) -> RecorderSettings:
        """Return the recorder's share; `recorder`: the node's name."""
        return RecorderSettings(
            directory=self.directory(), recording=self.recording,
            recorder=recorder, segment_bytes=self.segment_bytes,
            segment_duration=round(self.segment_duration * 1e9), chunk_bytes=self.chunk_bytes,
            flush_interval=round(self.flush_interval * 1e9), compression=self.compression,
            queue_bytes=self.queue_bytes, min_free_bytes=self.min_free_bytes,
            max_total_bytes=self.max_total_bytes, keep_newest=self.when_full == 'delete_oldest',
            offset=round(self.thermal_time_offset * 1e9), gates=self.gates())


TABLE: dict[str, Spec] = {f.name: f.metadata['spec'] for f in fields(RecorderParameters)}


if __name__ == '__main__':
    sys.stdout.write(render_yaml('rgbt_recorder', TABLE, 'recorder_parameters')
                     if sys.argv[1:] == ['yaml'] else render_markdown(TABLE))
