"""The player's parameters, and the recording that they name."""
from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import yaml

from rgbt_tracker_ros.data.layouts import ROOTLESS, open_layout
from rgbt_tracker_ros.data.recordings import BagFrames
from rgbt_tracker_ros.data.sequence import shorten
from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
from rgbt_tracker_ros.data.sources import PairSource, open_source
from rgbt_tracker_ros.nodes.camera_messages import read_camera_info
from rgbt_tracker_ros.nodes.parameters import START, ParameterError, Spec
from rgbt_tracker_ros.nodes.parameters import parameter as _p
from rgbt_tracker_ros.nodes.play_bags import BagShots
from rgbt_tracker_ros.nodes.play_segments import JoinedShots
from rgbt_tracker_ros.nodes.play_sources import (
    FRAME_RATE,
    Part,
    PlaySource,
    files,
    scene,
    sequence,
)
from rgbt_tracker_ros.nodes.playback import FAULTS


@dataclass(frozen=True, slots=True)
class PlayerParameters:
    """The node's parameters; all are read at start."""

    rgb: str = _p('', 'video file or folder of images; empty with thermal, root and scene empty '
                  'too: the clip that comes with the package', START)
    thermal: str = _p('', 'the same for the thermal camera; empty: there is none', START)
    groundtruth: str = _p('', 'CSV file (frame,x,y,w,h) for ~/groundtruth; a layout has its own',
                          START)
    layout: str = _p('bag', 'of root: bag, or one of those that `rgbt evaluate --list` names',
                     START)
    root: str = _p('', 'a bag, or a data set of that layout; empty for synthetic', START)
    sequence: str = _p('', 'which one of root; may be empty where there is but one', START)
    options: str = _p('', "further options of the layout, as YAML, e.g. {rgb_topic: '/cam/rgb'}",
                      START)
    scene: int = _p(-1, 'play the made-up scene of this seed; -1: none', START, low=-1, high=2**31)
    camera_info: str = _p('', 'calibration of the RGB camera (YAML of camera_calibration) for '
                          'rgb/camera_info; a bag has its own', START)
    rate: float = _p(0.0, 'Hz; 0: as the source says, 30 where it says nothing', START,
                     low=0, high=1000)
    speed: float = _p(1.0, 'factor of the rate at which is played; stamps keep their distances',
                      START, low=0.001, high=1000)
    start: float = _p(0.0, 's of the recording to leave out', START, low=0, high=1e6)
    duration: float = _p(0.0, 's of the recording to play; 0: to its end', START, low=0, high=1e6)
    first: int = _p(0, 'first pair to play', START, low=0, high=2**31)
    count: int = _p(0, 'pairs to play; 0: to the end', START, low=0, high=2**31)
    loop: bool = _p(False, 'begin again at the end; stamps go on', START)
    start_delay: float = _p(0.0, 's between the first subscriber and the first image', START,
                            low=0, high=3600)
    wait_for_subscribers: str = _p('images', 'begin only when there is a subscriber to each image '
                                   'topic, or to all (~/groundtruth too)', START,
                                   choices=('none', 'images', 'all'))
    stamps: str = _p('auto', 'sent: the time that an image is sent at; kept: begin now (or at '
                     'start_stamp), at the distances of the recording; recorded: as they are in a '
                     'bag; auto: kept for bags and with start_stamp or clock, else sent', START,
                     choices=('auto', 'sent', 'kept', 'recorded'))
    start_stamp: float = _p(0.0, 's, stamp of the beginning, the others following at the rate; '
                            '0: now', START, low=0, high=4e9)
    clock: bool = _p(False, 'publish /clock, for nodes with use_sim_time', START)
    reliability: str = _p('reliable', 'of the image publishers', START,
                          choices=('reliable', 'best_effort'))
    compressed: bool = _p(False, 'publish .../compressed (JPEG; PNG for 16 bits) in place of raw '
                          'images; those of a bag stay as they are', START)
    decode: bool = _p(False, 'publish raw images where a bag has compressed ones', START)
    rgb_frame_id: str = _p('rgb_optical_frame', 'frame_id of the RGB images; a bag has its own',
                           START)
    thermal_frame_id: str = _p('thermal_optical_frame', 'frame_id of the thermal images; a bag '
                               'has its own', START)
    read_ahead: int = _p(30, 'pairs decoded before they are due', START, low=1, high=1000)
    fault: str = _p('none', 'rehearse a failure of a camera: stop sends nothing, freeze the same '
                    'picture again and again, late everything after fault_delay', START,
                    choices=FAULTS)
    fault_stream: str = _p('rgb', 'the camera that fails', START, choices=('rgb', 'thermal'))
    fault_start: float = _p(1.0, 's after the first image', START, low=0, high=1e6)
    fault_duration: float = _p(3.0, 's', START, low=0, high=1e6)
    fault_delay: float = _p(0.2, 's', START, low=0, high=60)

    @property
    def part(self) -> Part:
        """The part of the recording that is played."""
        return Part(self.start, self.duration, self.first, self.count)

    def keeps_stamps(self, source: PlaySource) -> bool:
        """Whether stamps are known before an image is sent.

        :raises ParameterError: where the recording does not allow what is asked for.
        """
        if self.stamps == 'sent' and source.apart:
            raise ParameterError("stamps is 'sent'; the stamps of a bag tell which images belong "
                                 "together, they must be 'kept' or 'recorded'")
        if self.stamps == 'recorded' and not source.apart:
            raise ParameterError("stamps is 'recorded', and this is no bag; use 'kept', with "
                                 'start_stamp')
        if self.stamps == 'auto':
            return source.apart or bool(self.start_stamp) or self.clock
        return self.stamps != 'sent'


TABLE: dict[str, Spec] = {f.name: f.metadata['spec'] for f in fields(PlayerParameters)}


def open_played(p: PlayerParameters) -> PlaySource:
    """Open the recording that the parameters name.

    :raises ValueError: parameters that exclude each other, a recording that can't be read.
    :raises OSError: a file that isn't there.
    """
    drawn = p.layout in ROOTLESS
    named = [name for name, given in (
        ('rgb or thermal', p.rgb or p.thermal), ('root', p.root or drawn),
        ('scene', p.scene >= 0)) if given]
    if len(named) > 1:
        raise ParameterError(f'{" and ".join(named)} are given; one recording can be played')
    made: PlaySource
    if p.root or drawn:
        made = _of_layout(p)
    else:
        made = scene(p.scene, p.part, **_common(p)) if p.scene >= 0 else _of_files(p)
    if p.camera_info:
        made.infos = {**made.infos, 'rgb': read_camera_info(p.camera_info)}
    return made


def _of_files(p: PlayerParameters) -> PlaySource:
    shipped = not p.rgb and not p.thermal
    rgb, thermal, boxes = (str(SMOKE.rgb), str(SMOKE.thermal),
                           p.groundtruth or str(SMOKE.groundtruth)) if shipped else (
                               p.rgb, p.thermal, p.groundtruth)
    sources = [open_source(path) if path else None for path in (rgb, thermal)]
    rates = [s.fps for s in sources if s is not None and s.fps]
    source = PairSource(sources[0], sources[1], p.rate or next(iter(rates), FRAME_RATE))
    return files(source, read_boxes(boxes) if boxes else {}, p.part, **_common(p))


def _of_layout(p: PlayerParameters) -> PlaySource:
    try:
        options = yaml.safe_load(p.options) if p.options else {}
    except yaml.YAMLError as error:
        raise ParameterError(f'options is {p.options!r}; it must be YAML: {error}') from error
    if not isinstance(options, dict) or not all(isinstance(k, str) for k in options):
        raise ParameterError(f'options is {p.options!r}; it must be a mapping, such as '
                             '{slop: 0.02}')
    if p.groundtruth:
        options['truth'] = p.groundtruth
    dataset = open_layout(p.layout, p.root, **options)
    if p.layout == 'recording' and not p.sequence:
        _refuse_for_bags(p)
        segments = [segment for segment in dataset if len(segment)]
        if not segments:
            raise ParameterError(f'{dataset.root}: no segment has a complete pair')
        joined = JoinedShots(segments, p.part, decode=p.decode)
        if joined.shortened and p.stamps == 'recorded':
            raise ParameterError("stamps is 'recorded', and there are pauses between the segments "
                                 "that are left out; play one `sequence`, or use 'kept'")
        return joined
    name = p.sequence or (dataset.sequence_names[0] if len(dataset) == 1 else '')
    if name not in dataset:
        raise ParameterError(
            (f'{dataset.root} has no sequence {name!r}' if name else
             f'{dataset.root} has {len(dataset)} sequences')
            + f'; set `sequence` to one of them: {shorten(dataset.sequence_names)}')
    played = dataset[name]
    if not isinstance(played.frames, BagFrames):
        return sequence(played, p.part, **_common(p))
    _refuse_for_bags(p)
    return BagShots(played, p.part, decode=p.decode)


def _refuse_for_bags(p: PlayerParameters) -> None:
    if p.rate:
        raise ParameterError(f'rate is {p.rate:g}; a bag has its own times: use speed')
    if p.compressed:
        raise ParameterError('compressed is true; the images of a bag are published as they were '
                             'recorded')


def _common(p: PlayerParameters) -> dict[str, Any]:
    return {'rate': p.rate, 'compressed': p.compressed,
            'frame_ids': {'rgb': p.rgb_frame_id, 'thermal': p.thermal_frame_id}}
