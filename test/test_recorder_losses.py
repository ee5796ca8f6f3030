"""What was lost explains itself: in the manifest, to the status, and to the benchmark."""
from __future__ import annotations

import importlib.util
from pathlib import Path
import subprocess
import sys
from threading import Event
from typing import Any

import pytest
from rclpy.context import Context
from recording_kit import START, manifest, pair, segments, settings, settle
from test_recorder_node import rig

from rgbt_tracker_ros.nodes.recorder_inputs import UNNUMBERED, RecorderInputs
from rgbt_tracker_ros.recording.raw_images import stamp_of
from rgbt_tracker_ros.recording.recorder import Recorder
from rgbt_tracker_ros.recording.segment import Segment
from rgbt_tracker_ros.recording.tally import LISTED, Lost, Tally

ROOT = Path(__file__).resolve().parents[1]


def test_a_tally_is_taken_once() -> None:
    tally = Tally()
    tally.add('received', 'rgb', 3)
    tally.add('unmatched', 'rgb', stamp=7)
    counts, lost = tally.take()
    assert (dict(counts), lost) == (
        {('received', 'rgb'): 3, ('unmatched', 'rgb'): 1}, [Lost(7, 'rgb', 'unmatched')])
    tally.add('received', 'thermal')
    assert tally.take() == ({('received', 'thermal'): 1}, [])
    assert (tally.total('received'), tally.total('received', 'rgb'), tally.total('missed')) == (
        4, 3, 0)
    for stamp in range(2 * LISTED):
        tally.add('dropped', 'pair', stamp=stamp)
    counts, lost = tally.take()
    assert counts['dropped', 'pair'] == 2 * LISTED
    assert [entry.stamp for entry in lost] == list(range(LISTED))


def test_the_manifest_names_what_was_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                             ) -> None:
    go, write = Event(), Segment.add_pair
    monkeypatch.setattr(Segment, 'add_pair', lambda s, p: go.wait(10) and write(s, p))
    pairs = [pair(n) for n in range(5)]
    recorder = Recorder(settings(tmp_path, queue_bytes=2 * pairs[0].size))
    assert recorder.put_pair(pairs[0])
    settle(recorder)                    # it is out of the queue, and waits for the disk
    recorder.tally.add('received', 'rgb', 5)
    recorder.tally.add('missed', 'thermal', 2)
    recorder.tally.add('unmatched', 'rgb', stamp=START)
    assert [recorder.put_pair(p) for p in pairs[1:]] == [True, True, False, False]
    go.set()
    assert recorder.stop()
    found = manifest(tmp_path, 'r_0000')
    assert found['lost'] == [[START, 'rgb', 'unmatched'], [pairs[3].stamp, 'pair', 'dropped'],
                             [pairs[4].stamp, 'pair', 'dropped']]
    assert (found['unmatched'], found['dropped']) == (1, 2)
    seen = {s: (c['received'], c['missed']) for s, c in found['streams'].items()}
    assert seen == {'rgb': (5, 0), 'thermal': (0, 2)}


def test_images_that_never_come_are_told(ros_context: Context, tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    receive, came, swallowed = RecorderInputs.receive_raw, list[int](), list[int]()

    def lossy(self: RecorderInputs, stream: str, data: bytes, info: dict[str, int]) -> None:
        if stream == 'thermal':
            came.append(stamp_of(data))
            if len(came) in (10, 15):
                swallowed.append(came[-1])
                return
        receive(self, stream, data, info)
    monkeypatch.setattr(RecorderInputs, 'receive_raw', lossy)
    with rig(ros_context, tmp_path) as robot:
        status = robot.until(lambda s: 'lost lately on their way' in s.message)
        assert 'images lost lately on their way from the cameras. Raise the depth' in (
            status.message)
        robot.pairs(15)
        robot.call('stop')
        robot.cameras.running = False
        robot.check()
        found = manifest(tmp_path, segments(tmp_path)[0])
        assert len(swallowed) == 2
        assert found['streams']['thermal']['missed'] == 2
        assert found['streams']['rgb']['missed'] == 0
        assert found['streams']['thermal']['received'] == len(came) - 2
        # others may be there: before thermal was subscribed to, and of a pair cut by ~/stop
        assert all([s, 'rgb', 'unmatched'] in found['lost'] for s in swallowed)
        assert found['unmatched'] == len(found['lost'])


@pytest.mark.parametrize(('numbers', 'publishers', 'missed'), [
    ([1, 2, 3], 1, 0), ([5, 6, 9, 10, 12], 1, 3), ([7, 8, 1, 2], 1, 0), ([1, 40, 2, 41], 2, 0),
    ([UNNUMBERED, UNNUMBERED], 1, 0), ([1, UNNUMBERED, 2], 1, 0)])
def test_gaps_in_the_publishers_numbers(numbers: list[int], publishers: int, missed: int) -> None:
    class Image:
        pass
    inputs: Any = RecorderInputs.__new__(RecorderInputs)
    inputs._recorder, inputs._numbers, inputs.images = Image(), {}, {'rgb': Image()}
    inputs._recorder.tally, inputs.images['rgb'].publishers = Tally(), publishers
    for number in numbers:
        inputs._count('rgb', number)
    assert inputs._recorder.tally.total('missed', 'rgb') == missed
    assert inputs._recorder.tally.total('received', 'rgb') == len(numbers)


@pytest.mark.parametrize(('lost', 'received', 'text'), [
    ([[2, 'pair', 'dropped']], (3, 3), 'dropped: the queue was full'),
    ([[2, 'rgb', 'unmatched'], [2, 'thermal', 'unmatched']], (3, 3), 'were not matched'),
    ([[2, 'rgb', 'unmatched']], (3, 2), 'rgb came; thermal never came'),
    ([[2, 'thermal', 'unmatched']], (2, 3), 'thermal came; rgb never came'),
    ([], (2, 2), 'never came'), ([], (3, 3), 'all images came; it was not written')])
def test_the_benchmark_explains(lost: list[Any], received: tuple[int, int], text: str) -> None:
    spec = importlib.util.spec_from_file_location('benchmark', ROOT / 'benchmarks/recorder.py')
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    spec.loader.exec_module(benchmark)
    streams = {s: {'received': n, 'missed': 0}
               for s, n in zip(('rgb', 'thermal'), received, strict=True)}
    first, second = benchmark.explain([1, 2, 3], [1, 3], [{'lost': lost, 'streams': streams}])
    assert 'pair 1 of 3' in first and text in first
    assert f'rgb: {received[0]} of 3 images came' in second
    assert benchmark.explain([1, 2, 3], [1, 2, 3], [{'lost': [], 'streams': streams}]) == []


def test_the_program_pauses_before_the_first_pair_and_not_at_it() -> None:
    code = '\n'.join((
        'import gc, sys', 'from rgbt_tracker_ros.nodes import program, recorder_node',
        'from rgbt_tracker_ros.recording.definitions import definition_of',
        'def spin(make, args): print(gc.get_freeze_count() > 10_000, '
        'definition_of.cache_info().currsize)', 'program.spin = spin',
        'sys.exit(recorder_node.main())'))
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, 'True 1\n'), done.stderr
