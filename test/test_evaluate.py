"""One-pass evaluation: what is tracked, kept, made again, and survived."""
from __future__ import annotations

from dataclasses import replace
import os
import shutil
import signal

import cv2
from evaluate_kit import SIDES, Steady, write_scenes
import numpy as np
import pytest

from rgbt_tracker_ros.data.layouts import open_layout
from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.evaluation.cache import Answers, Cache, key_of
from rgbt_tracker_ros.evaluation.conventions import ResultError
from rgbt_tracker_ros.evaluation.opening import Opening
from rgbt_tracker_ros.evaluation.pool import run_jobs
from rgbt_tracker_ros.evaluation.runner import (
    Failure,
    Outcome,
    SequenceError,
    fingerprint,
    follow,
    run_trackers,
    span_of,
)
from rgbt_tracker_ros.evaluation.score_types import SequenceResult
from rgbt_tracker_ros.evaluation.scoring import result_of, score_answers, score_result
from rgbt_tracker_ros.evaluation.timing import Timing
from rgbt_tracker_ros.evaluation.trackers import parse_trackers
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.types import Estimate, Pair, State

STEP = 50_000_000  # ns


class Blank:
    """Frames of noise, 20 a second."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def pair(self, index: int) -> Pair:
        rng = np.random.default_rng(index)
        return Pair(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), None, index * STEP)


def sequence(rows: dict[int, list[float]], count: int = 10) -> Sequence:
    """A sequence of `count` frames with boxes for some."""
    return Sequence('made-up', Blank(count), np.array(list(rows.values()), np.float64),
                    np.array(list(rows), np.int64))


BOX, GONE = [10.0, 12.0, 20.0, 16.0], [0.0, 0.0, 0.0, 0.0]


# --- which frames

@pytest.mark.parametrize('rows, first, stop', [
    ({i: BOX for i in range(10)}, 0, 10),
    ({0: GONE, 1: GONE, **{i: BOX for i in range(2, 10)}}, 2, 10),
    ({i: BOX for i in range(3, 7)}, 3, 7),
    ({0: BOX, 5: BOX}, 0, 10),              # every 5th is annotated: the last 4 belong to it
    ({0: BOX, 4: BOX}, 0, 8),
    ({2: BOX}, 2, 10)])
def test_the_span_goes_from_the_first_box_to_the_last_annotation(rows, first, stop):
    span = span_of(sequence(rows))
    assert (span.first, span.stop, list(span.box.as_tuple())) == (first, stop, BOX)


def test_a_first_box_outside_the_image_names_the_frame():
    outside = sequence({3: [-500, -500, 10, 10]})
    with pytest.raises(SequenceError, match='made-up, frame 3: box '):
        follow(parse_trackers(['csrt-rgb'])[0].make(), outside)


@pytest.mark.parametrize('rows, message', [
    ({0: GONE, 1: GONE}, 'no annotation holds a box'), ({12: BOX}, 'only 10 frames')])
def test_a_sequence_that_can_not_be_started_says_why(rows, message):
    with pytest.raises(SequenceError, match=f'made-up.*{message}'):
        span_of(sequence(rows))


def test_a_tracker_gets_the_first_box_and_every_pair_of_the_span():
    seen = []

    class Spy(Steady):
        def init(self, pair, box):
            seen.append(('init', pair.stamp, box.as_tuple()))
            # a tracker may cut the box that it was given; that one is the first answer
            return super().init(pair, replace(box, w=5))

        def update(self, pair):
            seen.append(('update', pair.stamp))
            return super().update(pair)

    counts = []
    answers = follow(Spy(), sequence({i: BOX for i in range(3, 7)}), report=counts.append)
    assert seen == [('init', 3 * STEP, tuple(BOX)), *(('update', i * STEP) for i in (4, 5, 6))]
    assert answers.first == 3 and sum(counts) == 4
    assert answers.boxes.tolist() == [BOX, *[[10, 12, 5, 16]] * 3]
    assert answers.confidence.tolist() == [1, 0.5, 0.5, 0.5]
    assert answers.states.tolist() == [State.TRACKING] * 4
    assert answers.stamps.tolist() == [i * STEP for i in (3, 4, 5, 6)]
    assert (answers.seconds >= 0).all()


# --- from answers to scores

def answers_of(boxes, first=0, stamps=None) -> Answers:
    n = len(boxes)
    return Answers(first, np.array(boxes, np.float64), np.full(n, 0.5), np.full(n, 2, np.uint8),
                   np.full(n, 0.01), np.arange(n) * STEP if stamps is None else stamps)


def test_frames_without_an_answer_are_nan_and_their_times_go_on():
    result = result_of(sequence({i: BOX for i in range(10)}), answers_of([BOX] * 3, first=2))
    assert np.isnan(result.boxes[[0, 1, 5, 9]]).all() and (result.boxes[2:5] == BOX).all()
    assert result.stamps == pytest.approx((np.arange(10) - 2) * 0.05)


@pytest.mark.parametrize('rows', [{0: BOX, 5: BOX}, {i: BOX for i in range(10)},
                                  {i: BOX for i in range(4, 8)}])
def test_only_annotated_frames_are_scored_by_their_own_answers(rows):
    made = sequence(rows)
    boxes = [[100 + i, 0, 10, 10] for i in range(10)]
    for i in rows:
        boxes[i] = BOX
    result, scores = score_answers(made, answers_of(boxes), 'plain')
    assert (scores.PR, scores.frames, len(result.boxes)) == (1.0, len(rows), len(rows))
    assert scores.SR == pytest.approx(20 / 21)
    assert scores.fps == pytest.approx(100)


@pytest.mark.parametrize('rows', [{0: BOX}, {i: BOX for i in range(6)}])
def test_labels_of_the_beginning_alone_are_enough(rows):
    made = sequence(rows)
    result, scores = score_answers(made, answers_of([BOX] * 10), 'plain')
    assert (scores.PR, len(result.boxes)) == (1.0, len(rows))
    file = result_of(made, answers_of([BOX] * 10))      # as --save-results writes it
    assert score_result(made, file, 'plain')[1].PR == 1.0
    with pytest.raises(ResultError, match='8 rows for 6 rows of truth'):
        score_result(sequence({i: BOX for i in range(6)}), SequenceResult(
            'made-up', np.array([BOX] * 8)), 'plain')


def test_a_target_that_comes_late_can_be_scored_by_a_convention_that_refuses_nan():
    made = sequence({0: GONE, **{i: BOX for i in range(1, 10)}})
    _, scores = score_answers(made, answers_of([BOX] * 9, first=1), 'pytracking')
    assert (scores.PR, scores.NPR) == (0.9, 1.0)    # its own idea of a frame without target


def test_a_convention_with_a_stride_takes_rows_of_all_frames():
    made = replace(sequence({0: BOX, 10: BOX}, 20), raw_truth_thermal=np.array([BOX, BOX]))
    boxes = [BOX if i % 10 == 0 else GONE for i in range(20)]
    result, scores = score_answers(made, answers_of(boxes), 'vtuav')
    assert scores.PR == 1.0 and result.boxes.tolist() == [BOX, BOX]
    # a file with a row for every annotated frame is one of ours, scored as it is elsewhere
    file = SequenceResult('made-up', np.array([BOX, BOX]))
    assert score_result(made, file, 'plain')[1].PR == 1.0


def test_times_leave_the_first_frame_out():
    timing = Timing.of([5.0, *[0.01] * 98, 0.02])
    assert timing.fps == pytest.approx(99 / 1.0)
    assert (timing.ms_median, timing.ms_p95) == pytest.approx((10, 10))
    assert Timing.of([5.0]) is None


# --- what is kept

def test_answers_come_back_bit_by_bit(tmp_path):
    cache, answers = Cache(tmp_path), answers_of(np.random.default_rng(0).normal(size=(9, 4)), 4)
    cache.save('t', 'set00/V000', 'key', answers)
    found = cache.load('t', 'set00/V000', 'key')
    for name in ('first', 'boxes', 'confidence', 'states', 'seconds', 'stamps'):
        assert np.array_equal(getattr(found, name), getattr(answers, name))
    assert cache.load('t', 'set00/V000', 'other') is None
    assert cache.load('u', 'set00/V000', 'key') is None
    assert Cache(None).load('t', 'set00/V000', 'key') is None


def test_a_damaged_file_is_made_again(tmp_path, caplog):
    cache = Cache(tmp_path)
    cache.save('t', 's', 'key', answers_of([BOX]))
    [file] = tmp_path.rglob('*.npz')
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    assert cache.load('t', 's', 'key') is None and str(file) in caplog.text
    kept = 0
    for at in range(len(whole)):        # any byte that a disk has lost
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:])
        kept += cache.load('t', 's', 'key') is not None
    assert kept < len(whole) / 2        # such as times of files


@pytest.mark.parametrize('change', ['box', 'first image', 'image', 'length'])
def test_a_changed_sequence_has_another_fingerprint(tmp_path, change):
    def digest(root):
        made = open_layout('folder', root)['a']
        return fingerprint(made, span_of(made))

    before = digest(write_scenes(tmp_path / 'x', 'a'))
    shutil.copytree(tmp_path / 'x', tmp_path / 'same')      # with the times of its files
    assert digest(tmp_path / 'x') == digest(tmp_path / 'same') == before
    root = tmp_path / 'same'
    if change == 'length':
        root = write_scenes(tmp_path / 'y', 'a', frames=13)
    if change == 'box':
        file = root / 'a' / 'groundtruth.txt'
        file.write_text('1,2,30,40\n' + file.read_text().split('\n', 1)[1])
    elif change == 'image':
        file = root / 'a' / 'rgb' / '0007.png'
        cv2.imwrite(str(file), 255 - cv2.imread(str(file)))
    elif change == 'first image':
        (root / 'a' / 'rgb' / '0001.png').replace(root / 'a' / 'rgb' / '0000.png')
        os.link(root / 'a' / 'rgb' / '0002.png', root / 'a' / 'rgb' / '0001.png')
    assert digest(root) != before


def test_the_identity_of_a_tracker_holds_all_that_its_boxes_depend_on():
    [a, b] = parse_trackers(['csrt', 'csrt-rgb'])
    keys = {key_of(s.identity()) for s in (
        a, b, replace(a, camera='rgb'), replace(a, config=TrackerConfig(thermal_low=2.0)),
        replace(a, threads=2))}
    assert len(keys) == 5 and key_of(a.identity()) in keys
    assert key_of(replace(a, name='another').identity()) == key_of(a.identity())


def test_a_function_is_known_by_all_modules_beside_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    helper = tmp_path / 'steady_helper.py'
    helper.write_text('AT = 1\n')
    (tmp_path / 'steady_tracker.py').write_text('import steady_helper\n\ndef make(): pass\n')
    [spec] = parse_trackers(['steady_tracker:make'])
    before = spec.identity()
    assert spec.identity() == before
    helper.write_text('AT = 2\n')
    assert spec.identity() != before


# --- running

def run(root, trackers, cache=None, **options):
    """Return outcomes by tracker, and failures as (tracker, sequence, text)."""
    opening = Opening('folder', str(root))
    specs = parse_trackers([f'evaluate_kit:{name}' for name in trackers])
    events = list(run_trackers(specs, opening, opening.open().sequence_names, Cache(cache),
                               **options))
    return ({e.spec.name: e for e in events if isinstance(e, Outcome)},
            [(e.tracker, e.sequence, e.error) for e in events if isinstance(e, Failure)])


def test_only_what_is_missing_is_tracked(tmp_path, monkeypatch):
    root, calls = write_scenes(tmp_path / 'data'), tmp_path / 'calls'
    monkeypatch.setenv('CALLS', str(calls))
    totals, frames = [], []
    for options in ({}, {}, {'fresh': True}):
        calls.write_text('')
        done, failures = run(root, ['steady'], tmp_path / 'kept', prepare=totals.append,
                             progress=frames.append, **options)
        assert not failures and list(done['steady'].answers) == ['a', 'b', 'c']
        assert calls.read_text().count('\n') == totals[-1]
    assert totals == [36, 0, 36] and sum(frames) == 72
    file = next((tmp_path / 'kept').rglob('b.*.npz'))
    file.unlink()
    calls.write_text('')
    done, _ = run(root, ['steady'], tmp_path / 'kept')
    assert set(calls.read_text().split()) == {str(SIDES['b'])}
    assert done['steady'].kept == {'a', 'c'}


@pytest.mark.parametrize('tracker, processes, message', [
    ('raises', 1, 'RuntimeError: out of cheese'), ('raises', 2, 'RuntimeError: out of cheese'),
    ('refuses', 1, 'b, frame 3: out of cheese'), ('exits', 2, 'its process ended with status 7')])
def test_what_fails_on_one_sequence_is_named_and_the_others_go_on(tmp_path, tracker, processes,
                                                                   message):
    root = write_scenes(tmp_path / 'data')
    done, failures = run(root, [tracker, 'steady'], tmp_path / 'kept', processes=processes)
    assert [f[:2] for f in failures] == [(tracker, 'b')] and message in failures[0][2]
    assert list(done[tracker].answers) == ['a', 'c']
    assert list(done['steady'].answers) == ['a', 'b', 'c']
    # and it is tried again
    assert run(root, [tracker], tmp_path / 'kept', processes=processes)[1]


def test_a_broken_sequence_fails_for_every_tracker(tmp_path):
    root = write_scenes(tmp_path / 'data')
    (root / 'b' / 'rgb' / '0000.png').write_bytes(b'no image')
    done, failures = run(root, ['steady'])
    assert [(f[1], '0000.png' in f[2]) for f in failures] == [('b', True)]
    assert list(done['steady'].answers) == ['a', 'c']


def _kill(job, report):
    report(1)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_loses_its_job_alone():
    done = list(run_jobs(_kill, [1, 2, 3], processes=2))
    assert sorted(d.job for d in done) == [1, 2, 3]
    assert {d.error for d in done} == {'its process was killed by signal 9'}


def test_one_camera_sees_one_image():
    seen = []

    class Spy(Steady):
        def saw(self, pair):
            seen.append((pair.rgb is None, pair.thermal is None))

    from rgbt_tracker_ros.evaluation.trackers import _OneCamera
    both = Pair(np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8))
    tracker = _OneCamera(Spy(), 'thermal')
    box = span_of(sequence({0: BOX})).box
    tracker.init(both, box)
    tracker.update(both)
    blind: Estimate = tracker.update(replace(both, thermal=None))
    assert seen == [(True, False)] * 2
    assert (blind.box, blind.state, blind.confidence) == (box, State.LOST, 0.0)
