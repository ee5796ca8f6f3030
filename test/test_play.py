"""Playing recordings: what is sent when, from bags of every kind, data sets and scenes."""
from __future__ import annotations

from collections.abc import Iterator
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from bag_kit import COMPRESSED, IMAGE, KINDS, MS, Factory, Message, write_bag
from evaluate_kit import write_scenes
from layouts_kit import rgb_image, thermal_image
import numpy as np
import pytest
from rclpy.context import Context
from sensor_msgs.msg import Image
from test_player import Rig, stamps

from rgbt_tracker_ros.cli_play import command
from rgbt_tracker_ros.data.layouts import LayoutError, open_layout
from rgbt_tracker_ros.msg import Track
from rgbt_tracker_ros.nodes.parameters import ParameterError
from rgbt_tracker_ros.nodes.play_bags import BagShots
from rgbt_tracker_ros.nodes.play_sources import Part, PlaySource, Shot
from rgbt_tracker_ros.nodes.player_parameters import PlayerParameters, open_played

RGB, THERMAL, INFO = '/front/rgb/image_raw', '/front/thermal/image_raw', '/front/rgb/camera_info'
START = 1_700_000_000 * 10**9
LAG, LATE = 20 * MS, 4 * MS     # of the recorder; of thermal after RGB
# two cameras with a gap, an RGB image alone, and a thermal image that nobody asked for
RGB_AT = [0, 50, 100, 400, 450]
THERMAL_AT = [0, 50, 75, 400, 450]


def calibration(make: Factory, stamp: int) -> Any:
    kind = make['sensor_msgs/msg/CameraInfo']
    roi = make['sensor_msgs/msg/RegionOfInterest'](2, 4, 20, 30, True)
    numbers = [np.arange(n, dtype=np.float64) for n in (5, 9, 9, 12)]
    return kind(make.header(stamp), 24, 32, 'plumb_bob', *numbers, 2, 2, roi)


def bag(tmp_path: Path, kind: str = 'mcap', compressed: bool = False, offset: int = 0) -> Path:
    """Write a bag; `offset`: what its recorder's clock is ahead of the cameras'."""
    make, found = Factory(kind), list[Message]()
    for i, ms in enumerate(RGB_AT):
        at = START + ms * MS
        logged = at + LAG + offset
        found.append((INFO, 'sensor_msgs/msg/CameraInfo', logged, calibration(make, at)))
        found.append((RGB, COMPRESSED, logged, make.compressed(rgb_image(i), 'png', at))
                     if compressed else
                     (RGB, IMAGE, logged, make.image(rgb_image(i)[..., ::-1], 'bgr8', at, 3)))
    for i, ms in enumerate(THERMAL_AT):
        at = START + ms * MS + LATE
        found.append((THERMAL, IMAGE, at + LAG + offset,
                      make.image(thermal_image(i, np.uint16), 'mono16', at)))
    path = write_bag(tmp_path / 'drive', kind, make, found)
    csv = path / 'groundtruth.csv' if path.is_dir() else path.with_suffix('.csv')
    csv.write_text('frame,x,y,w,h\n0,1,2,3,4\n3,5,6,7,8\n')
    return path


def played(path: Path, part: Part | None = None, **options: Any) -> list[Shot]:
    dataset = open_layout('bag', path, slop=0.01)
    return list(BagShots(next(iter(dataset)), part or Part(), **options).shots())


def opened(**values: Any) -> PlaySource:
    return open_played(PlayerParameters(**values))


@pytest.mark.parametrize('kind', [k for k in KINDS if k not in ('mcap_zstd', 'mcap_message')])
def test_every_image_of_a_bag_at_its_own_time_as_it_was(kind: str, tmp_path: Path) -> None:
    shots = played(bag(tmp_path, kind))
    expected = sorted([(ms * MS, 'rgb') for ms in RGB_AT]
                      + [(ms * MS + LATE, 'thermal') for ms in THERMAL_AT])
    assert [(s.at, *s.images) for s in shots] == expected
    # the recorder was late by as much for every image: stamps are older than the time of sending
    assert all(s.stamp == s.at - LAG for s in shots)
    rgb = [s.images['rgb'] for s in shots if 'rgb' in s.images]
    thermal = [s.images['thermal'] for s in shots if 'thermal' in s.images]
    assert {(m.encoding, m.step, m.header.frame_id) for m in rgb} == {
        ('bgr8', 3 * rgb[0].width + 3, 'camera')}
    for i, message in enumerate(thermal):
        pixels = np.frombuffer(message.data, np.uint16).reshape(message.height, message.width)
        assert message.encoding == 'mono16' and (pixels == thermal_image(i, np.uint16)).all()


def test_a_pair_is_told_when_both_images_are_out(tmp_path: Path) -> None:
    shots = played(bag(tmp_path))
    told = [(s.at, s.pair.number, s.pair.stamp, s.pair.recorded, s.pair.box and s.pair.box.x)
            for s in shots if s.pair]
    boxes = [1, None, None, 5, None]
    assert told == [(ms * MS + (0 if n == 2 else LATE), n, ms * MS - LAG, START + ms * MS,
                     boxes[n]) for n, ms in enumerate(RGB_AT)]


def test_other_clocks_and_calibration(tmp_path: Path) -> None:
    path = bag(tmp_path, offset=3600 * 10**9)
    source = BagShots(open_layout('bag', path)['drive'], Part())
    assert source.origin == START + LAG + 3600 * 10**9 and source.stamp_origin == START
    assert next(s.stamp for s in source.shots()) == 0
    info = source.infos['rgb']
    assert (info.width, info.height, list(info.d), info.k[8], info.roi.width) == (
        32, 24, [0, 1, 2, 3, 4], 8, 30)
    assert 'thermal' not in source.infos


@pytest.mark.parametrize('part, rgb, thermal', [
    (Part(start=0.05), [50, 100, 400, 450], [50, 75, 400, 450]),
    (Part(duration=0.1), [0, 50], [0, 50]),
    (Part(start=0.2, duration=0.25), [400], [400]),
    (Part(first=1, count=3), [50, 100, 400], [50, 75, 400]),
])
def test_part_of_a_bag(part: Part, rgb: list[int], thermal: list[int], tmp_path: Path) -> None:
    shots = played(bag(tmp_path), part)
    first = shots[0].at - rgb[0] * MS
    assert [round((s.at - first) / MS) for s in shots if 'rgb' in s.images] == rgb
    assert [round((s.at - first - LATE) / MS) for s in shots if 'thermal' in s.images] == thermal


@pytest.mark.parametrize('part, length, expected', [
    (Part(), 10, range(10)), (Part(), None, range(2**62)), (Part(start=0.5), 10, range(5, 10)),
    (Part(start=0.2, duration=0.3), 10, range(2, 5)), (Part(first=4, count=3), 10, range(4, 7)),
    (Part(first=8, count=9), 10, range(8, 10)), (Part(start=0.6, first=2), 10, range(6, 10)),
    (Part(start=0.5, count=2), 10, range(5, 7)),
    (Part(start=0.2, first=4, count=2), 10, range(4, 6)),
    (Part(start=0.2, duration=0.3, count=9), 10, range(2, 5))])
def test_parts(part: Part, length: int | None, expected: range) -> None:
    assert part.of(length, lambda s: round(10 * s)) == expected


def test_a_part_without_a_pair() -> None:
    with pytest.raises(ValueError, match=r'nothing to play: .* pairs 20 to 9, and there are 10'):
        Part(start=2.0).of(10, lambda s: round(10 * s))


def test_compressed_images_stay_or_are_decoded(tmp_path: Path) -> None:
    path = bag(tmp_path, compressed=True)
    kept, decoded = ({m.__class__.__name__ for s in played(path, decode=decode)
                      for m in s.images.values()} for decode in (False, True))
    assert kept == {'Image', 'CompressedImage'} and decoded == {'Image'}
    first = next(s.images['rgb'] for s in played(path, decode=True) if 'rgb' in s.images)
    assert bytes(first.data) == rgb_image(0).tobytes() and first.header.frame_id == 'camera'


def test_a_sequence_of_a_layout(tmp_path: Path) -> None:
    root = write_scenes(tmp_path, 'ab', frames=5)
    source = opened(layout='folder', root=str(root), sequence='b', first=1)
    shots = list(source.shots())
    sequence = open_layout('folder', root)['b']
    assert [s.pair.number for s in shots if s.pair] == [1, 2, 3, 4]
    assert [s.pair.recorded for s in shots if s.pair] == [p.stamp for p in sequence.pairs(1)]
    assert [s.at for s in shots] == [p.stamp - sequence.pair(1).stamp for p in sequence.pairs(1)]
    for shot, pair in zip(shots, sequence.pairs(1), strict=True):
        assert pair.rgb is not None and pair.thermal is not None
        assert bytes(shot.images['rgb'].data) == pair.rgb.tobytes()
        assert bytes(shot.images['thermal'].data) == pair.thermal.tobytes()


def test_a_scene(tmp_path: Path) -> None:
    shots = list(opened(scene=3, duration=0.2, rate=10.0).shots())
    assert len(shots) == 6 and [s.at for s in shots] == [i * 100 * MS for i in range(6)]
    assert all(s.pair and s.pair.box for s in shots)


@pytest.mark.parametrize(('values', 'expected'), [
    ({'start': 0.4, 'count': 2}, [12, 13]), ({'first': 298}, [298, 299])])
def test_a_part_of_a_scene(values: dict[str, Any], expected: list[int]) -> None:
    assert [s.pair.number for s in opened(scene=3, **values).shots() if s.pair] == expected


@pytest.mark.parametrize('values, error, reason', [
    ({'scene': 1, 'rgb': 'x.mp4'}, ParameterError, 'rgb or thermal and scene are given'),
    ({'layout': 'folder'}, ParameterError, 'has 2 sequences; set `sequence` to one .*: a, b'),
    ({'layout': 'folder', 'sequence': 'c'}, ParameterError, "no sequence 'c'"),
    ({'layout': 'folder', 'sequence': 'a', 'options': '[1'}, ParameterError, 'must be YAML'),
    ({'layout': 'folder', 'sequence': 'a', 'options': '3'}, ParameterError, 'must be a mapping'),
    ({'layout': 'folder', 'sequence': 'a', 'options': '{x: 1}'}, LayoutError, 'no option x'),
    ({'layout': 'bag', 'root': 'drive', 'rate': 5.0}, ParameterError, 'use speed'),
    ({'layout': 'bag', 'root': 'drive', 'compressed': True}, ParameterError, 'as they were'),
    ({'layout': 'bag', 'root': 'drive', 'first': 9}, ValueError, 'nothing to play'),
])
def test_what_can_not_be_played(values: dict[str, Any], error: type[Exception], reason: str,
                                tmp_path: Path) -> None:
    write_scenes(tmp_path / 'data', 'ab', frames=2)
    bag(tmp_path)
    if 'layout' in values:
        values = values | {'root': str(tmp_path / values.get('root', 'data'))}
    with pytest.raises(error, match=reason):
        opened(**values)


@pytest.mark.parametrize('stamps, apart, start_stamp, kept', [
    ('auto', False, 0.0, False), ('auto', True, 0.0, True), ('auto', False, 5.0, True),
    ('sent', False, 5.0, False), ('kept', False, 0.0, True), ('recorded', True, 0.0, True),
    ('sent', True, 0.0, None), ('recorded', False, 0.0, None)])
def test_whose_stamps(stamps: str, apart: bool, start_stamp: float, kept: bool | None,
                      tmp_path: Path) -> None:
    p = PlayerParameters(stamps=stamps, start_stamp=start_stamp,
                         **({'root': str(bag(tmp_path))} if apart else {'scene': 1}))
    if kept is None:
        with pytest.raises(ParameterError, match='stamps is'):
            p.keeps_stamps(open_played(p))
    else:
        assert p.keeps_stamps(open_played(p)) is kept


# --- over DDS

@pytest.fixture
def rig(ros_context: Context) -> Iterator[Rig]:
    made = Rig(ros_context)
    yield made
    made.listener.destroy_node()


@pytest.mark.parametrize('mode', ['recorded', 'kept'])
def test_a_bag_over_dds(mode: str, rig: Rig, tmp_path: Path) -> None:
    before, order = time.time_ns(), list[str]()
    for topic, kind in (('rgbt_player/groundtruth', Track), ('rgb/image_raw', Image)):
        rig.listener.create_subscription(kind, topic, lambda _, t=topic: order.append(t), 100)
    heard = rig.play(root=str(bag(tmp_path)), options='{slop: 0.01}', stamps=mode, speed=4.0,
                     clock=True)
    rgb, thermal = heard['rgb/image_raw'], heard['thermal/image_raw']
    first = stamps(rgb)[0]
    assert first == START if mode == 'recorded' else before - LAG < first < time.time_ns()
    assert stamps(rgb) == stamps(heard['rgb/camera_info']) == [first + ms * MS for ms in RGB_AT]
    assert stamps(thermal) == [first + ms * MS + LATE for ms in THERMAL_AT]
    assert {m.encoding for m in thermal} == {'mono16'}
    pairs = heard['rgbt_player/pairs']
    assert stamps(pairs) == stamps(rgb) and [p.source for p in pairs] == list('01234')
    assert [p.time_ref.nanosec for p in pairs] == [ms * MS for ms in RGB_AT]
    # the first true box is told before its pair; it comes once
    assert order[0] == 'rgbt_player/groundtruth' and order.count(order[0]) == 2
    assert stamps(heard['rgbt_player/groundtruth']) == [stamps(rgb)[0], stamps(rgb)[3]]
    assert {t.header.frame_id for t in heard['rgbt_player/groundtruth']} == {'camera'}
    clock = [c.clock.sec * 10**9 + c.clock.nanosec for c in heard['/clock']]
    assert clock[0] == first + LAG and len(clock) == len(rgb) + len(thermal)


def test_slower_at_the_same_stamps(rig: Rig) -> None:
    began = time.monotonic()
    heard = rig.play(scene=1, duration=0.2, speed=0.25, start_stamp=7.0)
    rgb = stamps(heard['rgb/image_raw'])
    assert rgb == stamps(heard['thermal/image_raw'])
    assert [s - rgb[0] for s in rgb] == [int(i * 1e9 / 30) for i in range(6)]
    assert rgb[0] == 7 * 10**9 and time.monotonic() - began > 5 / 30 / 0.25


# --- the command

def words(*argv: str) -> dict[str, Any]:
    """Return the parameters and remappings that a command line comes to."""
    found = command(argv)
    assert found[:4] == [sys.executable, '-m', 'rgbt_tracker_ros.nodes.player_node', '--ros-args']
    rules = list(zip(found[4::2], found[5::2], strict=True))
    return {w.split(':=')[0]: json.loads(w.split(':=', 1)[1]) if flag == '-p' else
            w.split(':=')[1] for flag, w in rules}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    bag(tmp_path)
    write_scenes(tmp_path / 'data', 'a', frames=2)
    for name in ('v.mp4', 't.mp4'):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize('line, expected', [
    ('', {}),
    ('drive', {'layout': 'bag', 'root': 'drive', 'options': ''}),
    ('drive/drive.mcap', {'layout': 'bag', 'root': 'drive/drive.mcap', 'options': ''}),
    ('v.mp4 t.mp4', {'rgb': 'v.mp4', 'thermal': 't.mp4'}),
    ('--thermal t.mp4', {'thermal': 't.mp4'}),
    ('data --layout folder --sequence 007', {
        'layout': 'folder', 'root': 'data', 'sequence': '007', 'options': ''}),
    ('--layout folder --root data --option strict=false --option split=x', {
        'layout': 'folder', 'root': 'data', 'options': '{"strict": false, "split": "x"}'}),
    ('--scene 4 --loop --clock', {'scene': 4, 'loop': True, 'clock': True}),
    ('--rate 0.5 --start 1.5 --duration 2', {'speed': 0.5, 'start': 1.5, 'duration': 2.0}),
    ('--no-wait --stamps kept', {'wait_for_subscribers': 'none', 'stamps': 'kept'}),
    ('--rgb-topic /a/image', {'rgb/image_raw': '/a/image', 'rgb/camera_info': '/a/camera_info',
                              'rgb/image_raw/compressed': '/a/image/compressed'}),
])
def test_command(line: str, expected: dict[str, Any], here: Path) -> None:
    expected = {k: str(here / v) if k in ('root', 'rgb', 'thermal') else v
                for k, v in expected.items()}
    assert words(*line.split()) == {'speed': 1.0, 'wait_for_subscribers': 'images'} | expected


@pytest.mark.parametrize('line, reason', [
    ('gone.mp4', 'gone.mp4: no such file or folder'), ('data', 'needs --layout'),
    ('v.mp4 t.mp4 x.mp4', 'more than one recording'), ('drive --scene 1', 'more than one'),
    ('drive --root data', 'more than one'), ('--sequence a', 'give its --root'),
    ('drive --option x', 'must be KEY=VALUE'), ('drive --option x=[', 'is not YAML'),
    ('--scene -2', 'must be 0 or more'), ('--rate 0', 'must be from 0.001')])
def test_wrong_command(line: str, reason: str, here: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        command(line.split())


def rgbt(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, '-m', 'rgbt_tracker_ros.cli', 'play', *argv],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize('argv, status, text', [
    (('drive', '--no-wait', '--rate', '10'), 0, 'played 5 frames'),
    (('gone', ), 2, 'rgbt play: gone: no such file or folder'),
    (('v.mp4',), 1, 'rgbt_player: '),
])
def test_as_a_process(argv: tuple[str, ...], status: int, text: str, here: Path,
                      domain_id: int) -> None:
    process = rgbt(*argv)
    output = process.communicate(timeout=180)[0]
    assert process.returncode == status and text in output and 'Traceback' not in output


def test_ctrl_c_ends_it(here: Path, domain_id: int) -> None:
    process = rgbt('drive', '--no-wait', '--loop')
    assert process.stdout is not None
    assert any('playing rgb and thermal' in line for line in process.stdout)
    os.kill(process.pid, signal.SIGINT)
    output = process.communicate(timeout=180)[0]
    assert process.returncode == 0 and 'Traceback' not in output
