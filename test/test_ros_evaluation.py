"""Evaluation through ROS: what was heard, what it amounts to, and the same as offline."""
from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
import sys
from typing import Any

from bag_kit import IMAGE, MS, Factory, write_bag
from evaluate_kit import write_scenes
from nodes_kit import FakeTracker, spinning, wait_for
import numpy as np
import pytest
from rclpy.context import Context
from rclpy.parameter import Parameter

from rgbt_tracker_ros.cli_evaluate import main
from rgbt_tracker_ros.data.layouts import open_layout
from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
from rgbt_tracker_ros.data.sources import PairSource
from rgbt_tracker_ros.evaluation.opening import Opening
from rgbt_tracker_ros.evaluation.ros_parameters import player_parameters, tracker_parameters
from rgbt_tracker_ros.evaluation.ros_records import (
    Latency,
    RecordError,
    RosRecords,
    live,
    per_pair,
)
from rgbt_tracker_ros.evaluation.runner import follow, span_of
from rgbt_tracker_ros.evaluation.scoring import score_answers
from rgbt_tracker_ros.evaluation.trackers import TrackerError, parse_trackers
from rgbt_tracker_ros.nodes.evaluation_client import EvaluationClient, EvaluationError
from rgbt_tracker_ros.nodes.lifecycle import TrackerNode
from rgbt_tracker_ros.nodes.player_node import PlayerNode
from rgbt_tracker_ros.processes import ProcessError
from rgbt_tracker_ros.ros_evaluation import (
    PER_PAIR,
    play,
    run_in_node,
    run_through_ros,
    score_records,
)
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.types import Box, State

GIVEN = Box(0, 0, 10, 10)


def pair(number: int, at: int | None = None) -> dict[str, Any]:
    """A pair every 100 ms; `at`: ms."""
    return {'kind': 'pair', 'number': number, 'stamp': 1000 + number, 'recorded': number * 50,
            'sent': (100 * number if at is None else at) * MS}


def track(number: int, at: int, state: int = State.TRACKING) -> dict[str, Any]:
    """The answer to a pair, published at `at` ms; its box has the number of its pair."""
    return {'kind': 'track', 'stamp': 1000 + number, 'sent': at * MS, 'target': 'a',
            'state': int(state), 'box': [float(number), 0.0, 10.0, 10.0], 'confidence': 0.5}


def records(*lines: dict[str, Any]) -> RosRecords:
    made = RosRecords()
    for line in lines:
        made.add(line)
    return made


# pairs 3 to 7; 5 was dropped, 6 was answered late
HEARD = records(*(pair(n) for n in range(2, 9)), track(3, 330), track(4, 450),
                track(6, 780, State.UNCERTAIN), track(7, 790, State.LOST), track(4, 990),
                {'kind': 'end', 'dropped': 1, 'singles': 2})


@pytest.mark.parametrize('read, boxes, states', [
    # pair 3 has the box that was given; 5 holds what was answered to 4
    (per_pair, [0, 4, 4, 6, 7], [2, 2, 2, 3, 4]),
    # at 400 ms the answer to 3 was known, at 500 and 600 that to 4, at 700 still that
    (live, [0, 3, 4, 4, 4], [2, 2, 2, 2, 2])])
def test_two_ways_to_read_the_answers(read: Any, boxes: list[float], states: list[int]) -> None:
    answers = read(HEARD, 3, 8, GIVEN)
    assert answers.first == 3 and answers.boxes[:, 0].tolist() == boxes
    assert answers.states.tolist() == states
    assert answers.stamps.tolist() == [150, 200, 250, 300, 350]
    assert np.isnan(answers.seconds).all()


def test_nothing_is_known_before_the_first_answer() -> None:
    heard = records(*(pair(n) for n in range(4)), track(2, 390))
    assert per_pair(heard, 0, 4, GIVEN).boxes[:, 0].tolist() == [0, 0, 2, 2]
    assert live(heard, 0, 4, GIVEN).boxes[:, 0].tolist() == [0] * 4


def test_latency() -> None:
    latency = Latency.of(HEARD, 3, 8)
    assert latency.to_json() == {
        'pairs': 5, 'answered': 4, 'answered_share': 0.8, 'dropped': 1, 'singles': 2,
        'age_ms': {'p50': pytest.approx(70.0), 'p95': pytest.approx(166.5)},
        'states': {'tracking': 2, 'uncertain': 1, 'lost': 1}}
    both = Latency.total([latency, Latency.of(HEARD, 4, 8)])
    assert (both.pairs, len(both.ages), both.dropped) == (9, 7, 2)
    figures = both.figures()
    assert figures['Pairs'] == 9 and figures['Pairs answered (%)'] == 77.78
    assert figures['Answers tracking (%)'] == 42.9


@pytest.mark.parametrize('first, stop, reason', [
    (0, 4, '2 of pairs 0 to 3 were not played; the first of them is 0'),
    (2, 3, 'answered none of 1 pairs')])
def test_records_that_do_not_say_enough(first: int, stop: int, reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        per_pair(HEARD, first, stop, GIVEN)


@pytest.mark.parametrize('text, reason', [
    ('{"kind": "end"}\nnonsense\n', 'row 2: no record'),
    ('{"kind": "pair"}\n', "row 1: .*KeyError.'stamp'"),
    (json.dumps(pair(1)), 'the run did not come to its end'),
    ('{"kind": "failed", "reason": "it refused"}\n{"kind": "end"}', 'it refused'),
    ('{"kind": "status", "message": "configure failed: no file"}\n', 'configure failed: no file')])
def test_files_of_records(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / 'a.jsonl'
    file.write_text(text)
    with pytest.raises(RecordError, match=reason):
        RosRecords.read(file)


# --- what the nodes are started with

def test_the_node_gets_the_tracker_that_is_asked_for(tmp_path: Path) -> None:
    spec = replace(parse_trackers(['csrt'])[0], source=str(tmp_path / 'a.safetensors'),
                   device='cuda:0', config=TrackerConfig(
                       thermal_range='fixed', thermal_min=20000, thermal_max=30000,
                       homography=(1, 0, 0, 0, 1, 0, 0, 0, 1)))
    opening = Opening('bag', 'x', (('slop', 0.01), ('thermal_offset', -1), ('complete', True)))
    found = dict(p.split(':=') for p in tracker_parameters(spec, opening, ['thermal'],
                                                           'compressed'))
    assert found == {
        'model': f'"{tmp_path}/a.safetensors"', 'device': '"cuda:0"',
        'image_transport': '"compressed"', 'debug_image_rate': '0.0', 'use_rgb': 'false',
        'use_thermal': 'true', 'pair_slop': '0.01', 'thermal_time_offset': '-1.0',
        'thermal_range': '"fixed"', 'thermal_min': '20000.0', 'thermal_max': '30000.0',
        'homography': '[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]'}
    from rgbt_tracker_ros.nodes.parameters import Parameters
    Parameters.build({name: json.loads(value) for name, value in found.items()})


def test_the_player_plays_what_is_tracked_offline(tmp_path: Path) -> None:
    root = write_scenes(tmp_path, 'a', frames=6)
    (root / 'a' / 'groundtruth.txt').write_text('0,0,0,0\n' + '1,2,30,40\n' * 5)
    opening = Opening('folder', str(root), (('strict', False),))
    span = span_of(opening.open()['a'])
    values = {name: json.loads(value) for name, value in (
        p.split(':=') for p in player_parameters(opening, 'a', span, 2))}
    assert (values['first'], values['count'], values['speed']) == (1, 5, 2.0)
    assert values['options'] == '{"strict": false}' and values['stamps'] == 'kept'


@pytest.mark.parametrize('name', ['csrt', 'evaluate_kit:steady'])
def test_not_every_tracker_runs_in_the_node(name: str, tmp_path: Path) -> None:
    with pytest.raises(TrackerError, match='none of the trackers runs in the node'):
        run_in_node(parse_trackers([name]))
    assert main(['--layout', 'folder', '--root', str(write_scenes(tmp_path, 'a', 2)),
                 '--tracker', name, '--through-ros']) == 2


# --- the client

@pytest.mark.parametrize('side, failure', [(0, ''), (500, 'refused the target: .*outside')])
def test_client(side: int, failure: str, ros_context: Context, tmp_path: Path) -> None:
    csv, output = tmp_path / 'boxes.csv', tmp_path / 'heard.jsonl'
    csv.write_text('frame,x,y,w,h\n' + ''.join(f'{i},{side},30,20,16\n' for i in range(2, 12)))

    def given(**values: Any) -> dict[str, Any]:
        return {'context': ros_context,
                'parameter_overrides': [Parameter(n, value=v) for n, v in values.items()]}

    scenes = write_scenes(tmp_path, 'a', frames=12) / 'a'
    tracker = TrackerNode(load_tracker=lambda _: FakeTracker(), **given())
    client = EvaluationClient(**given(output=str(output), patience=3.0))
    player = PlayerNode(**given(
        rgb=str(scenes / 'rgb'), thermal=str(scenes / 'thermal'), groundtruth=str(csv), first=2,
        rate=10.0, stamps='kept', wait_for_subscribers='all', start_delay=0.3))
    with spinning(ros_context, tracker, client, player):
        player.start()
        wait_for(player.finished.done, 60, 'end of the clip')
        player.stop()
        player.destroy_node()
        wait_for(client.finished.done, 60, 'end of the client')
    for node in (tracker, client):
        node.destroy_node()
    if failure:
        with pytest.raises(EvaluationError, match=failure):
            client.finished.result()
        with pytest.raises(RecordError, match=failure):
            RosRecords.read(output)
        return
    heard = RosRecords.read(output)
    assert sorted(heard.pairs) == list(range(2, 12))
    first = heard.answers[heard.pairs[2].stamp]     # the target was there before its pair was
    assert first.box == (0, 30, 20, 16) and first.state == State.TRACKING
    assert [p.recorded for p in heard.pairs.values()] == [int(i * 1e8) for i in range(2, 12)]
    assert heard.counters['pairs'] + heard.counters['singles'] == 10
    assert all(a.sent > heard.pairs[2].sent - 10**9 for a in heard.answers.values())


# --- the command

def test_what_a_launch_has_heard_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                           ) -> None:
    root = write_scenes(tmp_path / 'data', 'ab', frames=6)
    ready = {'kind': 'ready', 'device': 'cpu', 'model': 'student.safetensors 0123'}
    truth = open_layout('folder', root)['a'].truth
    lines = [ready, *(pair(n) for n in range(6)),
             *(track(n, 100 * n + 40) | {'box': truth[n].tolist()} for n in range(6) if n != 4),
             {'kind': 'end', 'dropped': 1, 'singles': 0}]
    (tmp_path / 'a.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    status = main(['--layout', 'folder', '--root', str(root), '--ros-records', str(tmp_path),
                   '--json', str(tmp_path / 'out.json'), '--report', str(tmp_path / 'report'),
                   '--save-results', str(tmp_path / 'rows'), '--tracker', 'evaluate_kit:steady'])
    assert status == 0, capsys.readouterr().err
    scored = json.loads((tmp_path / 'out.json').read_text())
    assert [(s['tracker'], s.get('mode')) for s in scored] == [
        ('steady', 'offline'), ('student', 'through ROS'), ('student', 'through ROS, live')]
    ros = scored[1]['sequences']['a']['ros']
    assert (ros['pairs'], ros['answered'], ros['dropped']) == (6, 5, 1)
    assert ros['age_ms']['p50'] == pytest.approx(40.0)
    ious = [s['sequences']['a']['iou'] for s in scored[1:]]
    assert [i == pytest.approx(1.0) for i in ious[0]] == [True] * 4 + [False, True]
    assert [i == pytest.approx(1.0) for i in ious[1]] == [True] + [False] * 5   # always behind
    assert sorted(p.name for p in (tmp_path / 'rows').iterdir()) == [
        'steady_offline', 'student_through_ROS', 'student_through_ROS_live']
    page = (tmp_path / 'report' / 'index.html').read_text()
    assert 'through ROS, live' in page and 'Pairs answered (%)' in page


def test_a_folder_without_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_scenes(tmp_path / 'data', 'a', frames=2)
    assert main(['--layout', 'folder', '--root', str(root), '--ros-records', str(tmp_path)]) == 2
    assert 'no records of these sequences; looked for a.jsonl' in capsys.readouterr().err


# --- from end to end

def clip(path: Path, frames: int) -> Opening:
    """Write the beginning of the shipped clip as a bag, 30 Hz, thermal in 16 bits."""
    make, boxes = Factory('mcap'), read_boxes(SMOKE.groundtruth)
    messages = []
    for i, shot in zip(range(frames), PairSource(SMOKE.rgb, SMOKE.thermal), strict=False):
        at = 1_700_000_000 * 10**9 + i * 33_333_333
        assert shot.thermal is not None
        thermal = shot.thermal.astype(np.uint16) * 40 + 20_000
        messages += [('/rgb/image_raw', IMAGE, at + 9 * MS, make.image(shot.rgb, 'rgb8', at)),
                     ('/thermal/image_raw', IMAGE, at + 12 * MS,
                      make.image(thermal, 'mono16', at + 2 * MS))]
    write_bag(path, 'mcap', make, messages)
    (path / 'groundtruth.csv').write_text('frame,x,y,w,h\n' + ''.join(
        f'{i},{",".join(map(str, boxes[i].as_tuple()))}\n' for i in range(frames)))
    return Opening('bag', str(path))


def test_the_same_as_offline(tmp_path: Path) -> None:
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    opening = clip(tmp_path / 'clip', 48)
    sequence = opening.open()['clip']
    spec = parse_trackers(['student'], device='cpu')[0]
    span = span_of(sequence)
    offline = follow(spec.make(), sequence, span)
    # half speed is what is promised, of a machine that has nothing else to do
    heard = play(spec, opening, 'clip', speed=0.25)
    answers = per_pair(heard, span.first, span.stop, span.box)
    # what was not answered, or with one image, is the machine's; up to there nothing may differ
    good = [n for n, p in sorted(heard.pairs.items()) if p.stamp in heard.answers]
    whole = next((n for n in range(len(good)) if good[n] != n), len(good))
    assert whole >= 1 and sorted(heard.pairs) == list(range(48))
    if not heard.counters['singles']:
        np.testing.assert_allclose(answers.boxes[:whole], offline.boxes[:whole], atol=1e-3)
        np.testing.assert_array_equal(answers.states[:whole], offline.states[:whole])
    np.testing.assert_array_equal(answers.stamps, offline.stamps)
    own = score_answers(sequence, offline, 'plain')[1].SR
    found = score_records('student', {'clip': heard}, opening.open(), 'plain')
    assert found[0].mode == PER_PAIR
    assert found[0].scores[0].SR == pytest.approx(own, abs=0.01)
    assert found[1].scores[0].SR > 0.5


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    opening = Opening('folder', str(write_scenes(tmp_path / 'data', 'abc', frames=4)))
    spec = replace(parse_trackers(['csrt'])[0], name='student')
    full = [pair(n) for n in range(4)] + [track(n, 100 * n + 1) for n in range(4)]

    def played(spec: Any, opening: Opening, name: str, speed: float, kept: Path | None,
               report: Any) -> RosRecords:
        if name == 'b':
            raise ProcessError('tracker_node ended with status 3')
        assert kept is not None
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text('\n'.join(map(json.dumps, [*full, {'kind': 'end'}])))
        return records(*(full[:-3] if name == 'c' else full))

    monkeypatch.setattr(sys.modules[play.__module__], 'play', played)
    told: list[Any] = []
    found = run_through_ros([spec], opening, ['a', 'b', 'c'], tmp_path, 'plain', speed=0.5,
                            complain=told.append)
    assert [(f.sequence, f.error) for f in told] == [('b', 'tracker_node ended with status 3')]
    assert [len(f.scores) for f in found] == [2, 2] and len(found[0].failures) == 1
    assert found[0].provenance['speed'] == 0.5

    monkeypatch.setattr(sys.modules[play.__module__], 'play', None)     # all but b is kept
    again = run_through_ros([spec], opening, ['a', 'c'], tmp_path, 'plain', speed=0.5)
    assert [s.name for s in again[0].scores] == ['a', 'c'] and not again[0].failures
    with pytest.raises(TypeError):
        run_through_ros([spec], opening, ['a'], tmp_path, 'plain', speed=0.4)
