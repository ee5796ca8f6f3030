"""Every parameter of the tracker node, once: name, default, range, meaning, when it may change.

The table is the dataclass `Parameters`; declaring, checking, README's table and
config/tracker.yaml follow from it.  `python -m rgbt_tracker_ros.nodes.parameters yaml` (or
`markdown`) prints the latter two.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
import math
import sys
from textwrap import wrap
from typing import Any

from rgbt_tracker_ros.tracking.config import TrackerConfig

NOW = 'any time'
INACTIVE = 'while inactive'             # read at activation
UNCONFIGURED = 'while unconfigured'     # read at configuration
START = 'at start'                      # read-only
TRANSPORTS = ('raw', 'compressed')
_TRACKER = TrackerConfig()
Value = bool | int | float | str | tuple[float, ...]


class ParameterError(ValueError):
    """A value that a parameter can't have; the text names it, the value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known about a parameter besides its name and type."""

    default: Value
    text: str
    changes: str = NOW
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    length: int = 0     # of a list of numbers, which may also be empty

    @property
    def allowed(self) -> str:
        """The range or the choices, in words; empty where anything goes."""
        if self.choices:
            return ', '.join(filter(None, self.choices)) + ', or empty' * ('' in self.choices)
        if self.length:
            return f'{self.length} numbers, or empty'
        return '' if self.low is None else f'{self.low:g} to {self.high:g}'


def parameter(default: Value, text: str, changes: str = NOW, **limits: Any) -> Any:
    """Return a dataclass field that is a ROS parameter; `limits` are those of Spec."""
    return field(default=default, metadata={'spec': Spec(default, text, changes, **limits)})


_p = parameter      # short, for the table below

@dataclass(frozen=True, slots=True)
class Parameters:
    """The node's parameters; those of TrackerConfig have the same names here."""

    autostart: bool = _p(True, 'configure and activate without being asked to', START)
    model: str = _p('', 'weights (.safetensors); empty: the ones that come with the package; new '
                    'ones are loaded beside those that run, and take over between two pairs')
    model_sha256: str = _p('', 'refuse weights whose sha256 does not begin so; empty: any')
    device: str = _p('auto', 'auto (a GPU if there is one), cpu, or cuda:N; a GPU that is not '
                     'there is refused', UNCONFIGURED)
    threads: int = _p(0, 'CPU threads of the network; 0: half of the cores it may use',
                      UNCONFIGURED, low=0, high=256)
    use_rgb: bool = _p(True, 'subscribe to rgb/image_raw', INACTIVE)
    use_thermal: bool = _p(True, 'subscribe to thermal/image_raw', INACTIVE)
    image_transport: str = _p('raw', 'raw, or compressed: subscribe to .../compressed (jpeg, png)',
                              INACTIVE, choices=TRANSPORTS)
    rgb_transport: str = _p('', 'the same for the RGB camera alone; empty: as image_transport',
                            INACTIVE, choices=('', *TRANSPORTS))
    thermal_transport: str = _p('', 'the same for the thermal camera alone; empty: as '
                                'image_transport', INACTIVE, choices=('', *TRANSPORTS))
    image_qos: str = _p('auto', 'reliability of the image subscriptions; auto: reliable if every '
                        'publisher is, sensor_data: best effort', INACTIVE,
                        choices=('auto', 'reliable', 'sensor_data'))
    pairing: str = _p('nearest', 'how images are matched: nearest stamps (our own), or '
                      "message_filters' approximate or exact policy", INACTIVE,
                      choices=('nearest', 'approximate', 'exact'))
    pair_slop: float = _p(0.025, 's, largest difference between the stamps of a pair', low=0,
                          high=1)
    pair_deadline: float = _p(0.04, 's, longest wait for the other image; a stream that comes '
                              'later than this after its partner counts as late and is left out',
                              low=0, high=2)
    thermal_time_offset: float = _p(0.0, 's, added to the thermal stamps', low=-10, high=10)
    stream_timeout: float = _p(0.25, 's without an image until a stream counts as stopped (three '
                               'of its periods, where these are longer)', low=0.05, high=10)
    buffer_duration: float = _p(2.0, 's of pairs kept, so that a target can be given in an older '
                                'image', low=0, high=10)
    rectified: bool = _p(False, 'rgb/image_raw is remapped to rectified images (image_rect): '
                         '~/bearing goes by P of camera_info, not by K and D')
    initial_box: tuple[float, ...] = _p((), 'x, y, w, h in pixels of the RGB image (of thermal '
                                        'where use_rgb is false): follow this box from the first '
                                        'pair with that image on; empty: wait for a target',
                                        INACTIVE, length=4)
    debug_image_rate: float = _p(10.0, 'Hz, most overlays per second on ~/debug_image; 0: none',
                                 low=0, high=120)
    thermal_range: str = _p(_TRACKER.thermal_range, 'thermal values to network input: auto (8 '
                            'bits as they are, other depths by percentile), fixed or percentile',
                            choices=('auto', 'fixed', 'percentile'))
    thermal_min: float = _p(_TRACKER.thermal_min, 'value shown black where thermal_range is fixed',
                            low=-1e9, high=1e9)
    thermal_max: float = _p(_TRACKER.thermal_max, 'value shown white where thermal_range is fixed',
                            low=-1e9, high=1e9)
    thermal_low: float = _p(_TRACKER.thermal_low, 'percentile shown black', low=0, high=100)
    thermal_high: float = _p(_TRACKER.thermal_high, 'percentile shown white', low=0, high=100)
    thermal_smoothing: float = _p(_TRACKER.thermal_smoothing, 'share of the old range kept at '
                                  'every frame', low=0, high=0.999)
    homography: tuple[float, ...] = _p(
        _TRACKER.homography, 'row by row, takes a thermal pixel to an RGB pixel; empty: the '
        'thermal image is scaled to the size of the RGB image', length=9)
    tracking_threshold: float = _p(_TRACKER.tracking_threshold, 'confidence from which the '
                                   'target is tracked', low=0, high=1)
    lost_threshold: float = _p(_TRACKER.lost_threshold, 'confidence below which it is out of '
                               'sight', low=0, high=1)
    lost_frames: int = _p(_TRACKER.lost_frames, 'frames out of sight until it is searched for',
                          low=1, high=1000)
    lost_after: float = _p(_TRACKER.lost_after, 's of search until it is lost', low=0, high=3600)
    search_growth: float = _p(_TRACKER.search_growth, 'growth of the search window per frame',
                              low=1, high=10)
    window_influence: float = _p(_TRACKER.window_influence, 'weight of the motion prior', low=0,
                                 high=1)
    frozen_after: float = _p(_TRACKER.frozen_after, 's without a change until a picture counts as '
                             'frozen and is left out; 0: never', low=0, high=60)
    probe_interval: float = _p(_TRACKER.probe_interval, 's between two tries of one modality '
                               'alone, which tell how far each can be believed; 0: never', low=0,
                               high=60)
    alignment_reach: float = _p(_TRACKER.alignment_reach, "share of the RGB image's longer side "
                                'by which thermal may lie off, which is then seen in the pictures '
                                'and undone; 0: never', low=0, high=0.2)

    @classmethod
    def build(cls, values: Mapping[str, object]) -> Parameters:
        """Return checked parameters; names that are not given keep their defaults.

        :raises ParameterError: for a single value, and for values that exclude each other.
        """
        checked: dict[str, Any] = {name: check(name, value) for name, value in values.items()}
        made = cls(**checked)
        if not made.use_rgb and not made.use_thermal:
            raise ParameterError('use_rgb and use_thermal are both false; one camera is needed')
        if made.pairing == 'approximate' and made.pair_slop == 0:
            raise ParameterError("pair_slop is 0; pairing 'approximate' never matches at 0: use "
                                 "'exact', or a pair_slop above 0")
        made.tracker_config()
        return made

    @property
    def pair_queue(self) -> int:
        """Images that may wait for a partner, per camera."""
        return 8

    def tracker_config(self) -> TrackerConfig:
        """Return the tracker's share.

        :raises ParameterError: if values exclude each other.
        """
        try:
            return TrackerConfig(**{f.name: getattr(self, f.name) for f in fields(TrackerConfig)
                                    if f.name in TABLE})
        except ValueError as e:
            raise ParameterError(str(e)) from e


TABLE: dict[str, Spec] = {f.name: f.metadata['spec'] for f in fields(Parameters)}


def check(name: str, value: object, table: Mapping[str, Spec] = TABLE) -> Value:
    """Return `value` in the parameter's own type (whole numbers do for floats).

    :raises ParameterError: wrong type, out of range, or not one of the choices.
    """
    spec = table[name]
    made = _coerce(spec.default, value)
    if made is None:
        raise ParameterError(f'{name} is {value!r}; it must be {_kind(spec.default)}')
    if spec.choices and made not in spec.choices:
        raise ParameterError(f'{name} is {value!r}; it must be one of {spec.allowed}')
    if isinstance(made, tuple) and len(made) not in (0, spec.length):
        raise ParameterError(f'{name} has {len(made)} numbers; it must have {spec.allowed}')
    numbers = made if isinstance(made, tuple) else (made,)
    for number in numbers:
        if isinstance(number, float) and not math.isfinite(number):
            raise ParameterError(f'{name} is {value!r}; it must be finite')
    if (spec.low is not None and spec.high is not None and isinstance(made, (int, float))
            and not spec.low <= made <= spec.high):
        raise ParameterError(f'{name} is {value!r}; it must be within {spec.allowed}')
    return made


def _coerce(default: Value, value: object) -> Value | None:
    """Return `value` in the type of `default`, or None."""
    if isinstance(default, bool) or isinstance(value, bool):
        return value if isinstance(default, bool) and isinstance(value, bool) else None
    if isinstance(default, tuple):
        # an empty list in YAML, and what older dumps (`ros2 param dump`) have in its place
        if value is None or (isinstance(value, str) and value == 'null'):
            return ()
        try:
            return tuple(float(v) for v in value)  # type: ignore[attr-defined]
        except (TypeError, ValueError):
            return None
    if isinstance(default, float) and isinstance(value, (int, float)):
        return float(value)
    if isinstance(default, int) and isinstance(value, int):
        return value
    return value if isinstance(default, str) and isinstance(value, str) else None


def _kind(default: Value) -> str:
    return {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a string',
            tuple: 'a list of numbers'}[type(default)]


def _yaml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return '[' + ', '.join(repr(float(v)) for v in value) + ']'
    return "''" if value == '' else str(value)


def render_markdown(table: Mapping[str, Spec] = TABLE) -> str:
    """Return the README's table."""
    rows = ['| parameter | default | range | meaning | may change |', '|---|---|---|---|---|']
    for name, spec in table.items():
        default = f'`{_yaml(spec.default)}`'
        rows.append(f'| `{name}` | {default} | {spec.allowed} | {spec.text} | {spec.changes} |')
    return '\n'.join(rows) + '\n'


def render_yaml(node: str = 'rgbt_tracker', table: Mapping[str, Spec] = TABLE,
                module: str = 'parameters') -> str:
    """Return config/tracker.yaml, or that of another node with its table in another module."""
    lines = [f'# Every parameter of {node}, at its default. The /** holds in any namespace.',
             f'# Printed by: python -m rgbt_tracker_ros.nodes.{module} yaml',
             '/**:', f'  {node}:', '    ros__parameters:']
    for name, spec in table.items():
        allowed = f' ({spec.allowed})' if spec.allowed and not spec.choices else ''
        when = '' if spec.changes == NOW else f' [changes {spec.changes}]'
        if lines[-1][-1] != ':':
            lines.append('')
        lines += wrap(f'{spec.text}{allowed}{when}', 95, initial_indent='      # ',
                      subsequent_indent='      # ')
        lines.append(f'      {name}: {_yaml(spec.default)}')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    sys.stdout.write(render_yaml() if sys.argv[1:] == ['yaml'] else render_markdown())
