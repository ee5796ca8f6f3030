"""Speed, coasting, frozen pictures, and how far one modality is believed alone."""
from itertools import pairwise

import pytest

from rgbt_tracker_ros.tracking.motion import Motion
from rgbt_tracker_ros.tracking.reliability import Reliability

STEP = 33_333_333  # ns


def walk(motion, frames, speed=4.0, start=0):
    for i in range(start + 1, start + frames + 1):
        motion.seen((100 + speed * i, 50.0), i * STEP)


def test_speed_is_measured_and_predicted():
    motion = Motion((100, 50), 0)
    walk(motion, 20)
    assert motion.velocity == pytest.approx((120, 0), rel=0.02)
    assert motion.predict(21 * STEP) == pytest.approx((184, 50), abs=0.2)


def test_out_of_sight_it_goes_on_and_slows_down_and_stays_in_the_image():
    motion = Motion((100, 50), 0)
    walk(motion, 20)
    for i in range(21, 51):
        x, y = motion.unseen(i * STEP, (640, 480))
    assert 250 < x < 300 and y == 50 and 60 < motion.velocity[0] < 120
    for i in range(51, 400):
        x, y = motion.unseen(i * STEP, (320, 480))
    assert x == 320 and motion.velocity[0] == 0


@pytest.mark.parametrize('every', [2, 3, 4, 5])
def test_speed_is_right_where_the_target_is_seen_now_and_then(every):
    motion = Motion((100, 50), 0)
    for i in range(1, 60):
        if i % every:
            motion.unseen(i * STEP, (10000, 10000))
        else:
            motion.seen((100 + 4 * i, 50.0), i * STEP)
            assert motion.velocity == pytest.approx((120, 0), rel=0.01)


def test_stamps_that_went_back_out_of_sight_give_no_speed():
    motion = Motion((100, 50), 0)
    walk(motion, 30)
    motion.unseen(STEP, (640, 480))     # the bag begins again
    motion.seen((108, 50), 2 * STEP)
    assert motion.velocity == (0, 0)
    walk(motion, 30, start=2)
    assert motion.velocity == pytest.approx((120, 0), rel=0.05)


def test_a_target_that_has_stopped_out_of_sight_stands_still_soon():
    motion = Motion((100, 50), 0)
    walk(motion, 30)
    for i in range(31, 35):
        motion.unseen(i * STEP, (10000, 10000))
    motion.seen((220, 50), 35 * STEP)
    assert 0 < motion.velocity[0] < 80


def test_trust_weighs_the_measurement():
    for trust, expected in ((1.0, 190), (0.5, 187), (0.0, 184)):
        motion = Motion((100, 50), 0)
        walk(motion, 20)
        assert motion.seen((190, 50), 21 * STEP, trust)[0] == pytest.approx(expected, abs=0.2)


def test_rewind_undoes_a_target_at_rest():
    motion = Motion((100, 50), 0)
    walk(motion, 20)
    for i in range(21, 29):  # a frozen picture shows it where it was
        motion.seen((180, 50), i * STEP)
    assert motion.velocity[0] < 60
    motion.rewind(8 * STEP / 1e9)
    assert motion.velocity[0] == pytest.approx(120, rel=0.02)
    assert motion.center == pytest.approx((212, 50), abs=1)


@pytest.mark.parametrize('stamp', [0, 20 * STEP, 20 * STEP - 1, 20 * STEP + 2_000_000_000])
def test_stamps_that_tell_no_time_give_no_motion(stamp):
    motion = Motion((100, 50), 0)
    walk(motion, 20)
    assert motion.predict(stamp) == motion.center
    motion.seen((300, 300), stamp)
    assert motion.center == (300, 300)


def test_reliability_asks_each_modality_first_and_then_in_turn():
    r = Reliability(('rgb', 'thermal'), 0.3)
    asked = []
    for i in range(70):
        if name := r.due(i * STEP):
            asked.append((i, name))
            r.learn(name, 0.0 if name == 'rgb' else 0.9, i * STEP)
    # 0.1 s apart: not all at once; that RGB finds nothing is not taken from one frame
    assert asked[:3] == [(4, 'rgb'), (8, 'rgb'), (12, 'thermal')]
    assert [n for _, n in asked[3:7]] == ['rgb', 'thermal', 'rgb', 'thermal']
    gaps = [b - a for (a, _), (b, _) in pairwise(asked[2:])]
    assert all(9 <= g <= 10 for g in gaps)
    assert r.of(('rgb',)) == 0 and r.of(('thermal',)) == pytest.approx(0.9)
    assert r.of(('rgb', 'thermal')) == 1


def test_reliability_knows_what_the_template_lacks():
    r = Reliability(('thermal',), 0.3)
    assert r.of(('rgb',)) == 0 and r.of(('thermal',)) == 1
    r.learn('rgb', 0.8, 0)
    assert r.of(('rgb',)) == pytest.approx(0.8)
    assert Reliability(('rgb',), 0.0).due(10 ** 9) == ''


@pytest.mark.parametrize('answers, asked, believed', [
    ([0.9, 0.0, 0.9], [8, 40, 44], 0.675),       # one bad frame does not blind a camera,
    ([0.0, 0.9, 0.9], [8, 12, 16], 0.675),       # nor does the first one
    ([0.0, 0.0], [8, 12], 0.0),
    ([0.0, 0.9, 0.0, 0.9], [8, 12, 16, 48], 0.5625)])  # the other has its turn, whatever comes
def test_an_answer_that_surprises_is_asked_for_again_soon(answers, asked, believed):
    r = Reliability(('rgb', 'thermal'), 0.5)
    found = []
    for i in range(60):
        name = r.due(i * STEP)
        if name == 'thermal' and len(found) < len(answers):
            r.learn(name, answers[len(found)], i * STEP)
            found.append(i)
        elif name == 'rgb':
            r.learn(name, 0.9, i * STEP)
    assert found == asked and r.of(('thermal',)) == pytest.approx(believed)
    assert r.of(('rgb',)) == pytest.approx(0.9)
    assert r.believed(0.5) == (('rgb', 'thermal') if believed >= 0.5 else ('rgb',))
