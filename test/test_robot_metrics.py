"""What a robot asks of its tracker, on short stories told frame by frame."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rgbt_tracker_ros.evaluation.robot_metrics import (
    Episode,
    RobotMetrics,
    judge,
    median_time,
)

# one letter a frame: on the target, off it, target absent; Tracking, Uncertain, Searching, Lost
WHERE = {'+': 0.8, '~': 0.1, '-': 0.09, '.': math.nan}
STATES = {'T': 2, 'U': 3, 'S': 1, 'L': 4, 'i': 0}


def story(where: str, states: str | None = None, stamps: Any = None, confidences: Any = None,
          answered: str | None = None) -> RobotMetrics:
    return judge(np.array([WHERE[c] for c in where]),
                 np.array([c == 'y' for c in answered or 'y' * len(where)]), confidences,
                 None if states is None else np.array([STATES[c] for c in states]), stamps)


# where, states: tracked, present, false holds, longest, losses (start, frames, declared), outages
@pytest.mark.parametrize(('where', 'states', 'counts', 'losses', 'outages'), [
    ('++++++', 'TTTTTT', (5, 5, 0, 0), [], []),
    ('-+++++', 'TTTTTT', (5, 5, 0, 0), [], []),  # the first frame was given
    ('++~~++', 'TTTTTT', (5, 5, 0, 0), [], []),  # a tenth is enough
    ('++++++', 'TTUUTT', (5, 5, 0, 0), [], []),  # in sight
    # the target is there, the tracker says it is not
    ('++++++', 'TTSSTT', (3, 5, 0, 0), [], [(2, 2, True)]),
    # drifts off: confident for two frames, unsure for one, then declared; found again
    ('++-----++', 'TTTTUSSTT', (3, 8, 2, 2), [(2, 3, True)], [(2, 5, True)]),
    # a dip of four is no loss, of five it is one, though never declared
    ('++----++', 'TTTTTTTT', (3, 7, 4, 4), [], [(2, 4, True)]),
    ('++-----++', 'TTTTTTTTT', (3, 8, 5, 5), [(2, 5, False)], [(2, 5, True)]),
    # a dip of one counts if it was declared, at once
    ('++-+++', 'TTSTTT', (4, 5, 0, 0), [(2, 0, True)], [(2, 1, True)]),
    # the target leaves and comes back; only its presence counts as an outage
    ('++......++++', 'TTTTSSSSSSTT', (3, 5, 2, 2), [(2, 2, True)], [(8, 2, True)]),
    # it leaves again before it is found; then the recording ends
    ('++...+...--', 'TTSSSSSSSSS', (1, 4, 0, 0), [(2, 0, True)],
     [(5, 1, False), (9, 2, False)]),
    # seen again, and lost again
    ('+-.+-.', 'TSSTTS', (1, 3, 1, 1), [(1, 0, True), (4, 1, True)],
     [(1, 1, False), (4, 1, False)]),
    # takes up something else before the target is back, and drops it
    ('++.....++', 'TTSSTTSTT', (3, 3, 2, 2), [(2, 0, True)], []),
    ('+++....++', 'TTSSTTSTT', (3, 4, 2, 2), [(4, 2, True)], [(2, 1, False)]),
    # held on to something else to the end
    ('++.....', 'TTTTTTT', (1, 1, 5, 5), [(2, 5, False)], []),
    # two holds, the longer counts
    ('+--+---++', 'TTTTTTTTT', (3, 8, 5, 3), [], [(1, 2, True), (4, 3, True)]),
    # not yet started is not in sight
    ('+++', 'iii', (0, 2, 0, 0), [], [(1, 2, False)]),
    ('+', 'T', (0, 0, 0, 0), [], []),
])
def test_stories(where: str, states: str, counts: tuple[int, ...], losses: list[Any],
                 outages: list[Any]) -> None:
    m = story(where, states)
    assert (m.tracked, m.present, m.false_holds, m.longest_false_hold) == counts
    assert m.frames == len(where) - 1
    assert [(e.start, e.frames, e.closed) for e in m.losses] == losses
    assert [(e.start, e.frames, e.closed) for e in m.outages] == outages
    assert m.calibration is None


def test_without_states_confidence_speaks() -> None:
    sure = np.array([1, 0.5, 0.49, 0.9, 0.2])
    m = story('+++--', confidences=sure)
    assert (m.tracked, m.false_holds) == (1, 1)
    assert [(e.start, e.frames, e.closed) for e in m.losses] == [(3, 1, True)]


def test_without_states_and_confidences_every_box_is_a_claim() -> None:
    m = story('++------', answered='yyyyynyy')
    assert (m.tracked, m.false_holds) == (1, 5)
    assert [(e.start, e.frames, e.closed) for e in m.losses] == [(2, 3, True)]


def test_a_state_without_a_box_claims_nothing() -> None:
    m = story('++------', 'TTTTTTTT', answered='yyynnnnn')
    assert (m.false_holds, [e.closed for e in m.losses]) == (1, [True])


def test_seconds_come_from_the_stamps() -> None:
    stamps = np.array([0, 0.1, 0.2, 0.3, 0.7, 0.8, 0.9, 1.0, 1.1])
    m = story('++-----++', 'TTTTSSSTT', stamps)
    assert [e.seconds for e in m.losses] == pytest.approx([0.5])
    assert [e.seconds for e in m.outages] == pytest.approx([0.8])
    assert median_time(m.losses) == pytest.approx((2, 0.5))
    open_end = story('++-----', 'TTTTSSS', stamps[:7])
    assert open_end.outages[0].seconds == pytest.approx(0.7)
    assert all(math.isnan(v) for v in median_time(open_end.outages))  # never re-acquired


def test_median_leaves_out_what_never_ended() -> None:
    episodes = [Episode(0, 2, True, 0.2), Episode(9, 4, True, None), Episode(20, 99, False, 9.9)]
    assert median_time(episodes) == (3.0, 0.2)


def test_shares() -> None:
    m = story('++--..', 'TTTTTT')
    assert (m.tracked_share, m.false_hold_share) == (1 / 3, 4 / 5)
    gone = story('+...', 'TLLL')
    assert math.isnan(gone.tracked_share)


def test_calibration() -> None:
    # two frames in the top bin, one of them good; two in bin 2, one good; an absent target is none
    overlaps = np.array([1, 0.5, 0.49, 0.9, math.nan, 0.9])
    sure = np.array([0, 1.0, 0.9, 0.25, 0.25, math.nan])
    c = judge(overlaps, np.ones(6, bool), sure).calibration
    assert c is not None
    assert c.count.tolist() == [0, 0, 2, 0, 0, 0, 0, 0, 0, 2]
    assert (c.confidence[2], c.good[2], c.confidence[9], c.good[9]) == (0.25, 0.5, 0.95, 0.5)
    assert math.isnan(c.good[0])
    assert c.expected_error == pytest.approx((2 * 0.25 + 2 * 0.45) / 4)
    assert c.brier == pytest.approx((0 + 0.81 + 0.5625 + 0.0625) / 4)


@pytest.mark.parametrize('seed', range(3))
def test_a_calibrated_confidence_has_no_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sure = rng.random(200_000)
    good = rng.random(200_000) < sure
    c = judge(np.where(good, 0.7, 0.2), np.ones(200_000, bool), sure).calibration
    assert c is not None
    assert c.expected_error < 0.01
    turned = judge(np.where(good, 0.2, 0.7), np.ones(200_000, bool), sure).calibration
    assert turned is not None
    assert turned.expected_error > 0.4


def test_total_is_one_long_recording() -> None:
    rng = np.random.default_rng(0)
    parts = [story('++-----++', 'TTTTUSSTT', confidences=rng.random(9)),
             story('++..--', 'TTTTTT', confidences=rng.random(6)), story('++', 'TT')]
    t = RobotMetrics.total(parts)
    assert (t.frames, t.tracked, t.present, t.false_holds) == (14, 5, 12, 6)
    assert t.longest_false_hold == 4
    assert len(t.losses) == 1 + 0
    assert t.calibration is not None
    assert t.calibration.count.sum() == 13
    assert RobotMetrics.total([parts[2]]).calibration is None
