"""Targets: in which pair they start, in whose pixels, how they get to now, what is replied."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodes_kit import FakeTracker, image
import pytest
from rclpy.logging import get_logger

from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.pairing import Match
from rgbt_tracker_ros.nodes.ring import PairRing
from rgbt_tracker_ros.nodes.session import CATCH_UP, PATIENCE, Session
from rgbt_tracker_ros.nodes.session_types import Answer, Reply, Target
from rgbt_tracker_ros.nodes.targets import Cameras
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.types import Box

STEP = 33_000_000
BOX = Box(4, 4, 20, 20)


class Desk:
    """A session, its ring, and what it published."""

    def __init__(self) -> None:
        self.ring = PairRing(10 ** 10)
        self.answers: list[Answer] = []
        self.notices = Notices(get_logger('test'), lambda: None)
        self.now = 0.0
        self.session = Session(self.ring, self.notices, publish=self.answers.append,
                               changed=lambda: None, refused=lambda stream, why: None,
                               clock=lambda: self.now)
        self.tracker = FakeTracker()
        self.session.load(lambda: self.tracker)

    def arrive(self, number: int, process: bool = False, *, rgb: bool = True, thermal: bool = True,
               frames: tuple[str, str] = ('rgb', 'thermal'), **broken: Any) -> None:
        """Have a pair come. Thermal is half as wide as RGB, and `broken` are fields of RGB."""
        stamp = number * STEP
        match = Match(image(stamp=stamp, frame_id=frames[0], **broken) if rgb else None,
                      image('mono8', (32, 48), stamp, frames[1]) if thermal else None, stamp,
                      0 if rgb and thermal else None)
        self.ring.append(match)
        if process:
            self.session.process(match)

    @property
    def started(self) -> tuple[int, tuple[float, ...]] | None:
        """The pair that the last target was started in, and its box there."""
        init = [stamp for method, stamp in self.tracker.calls if method == 'init']
        return (init[-1] // STEP, self.tracker.box.as_tuple()) if (
            init and self.tracker.box) else None

    def told(self) -> list[Reply]:
        """What was replied since the last call."""
        return [self.session.replies.popleft() for _ in range(len(self.session.replies))]

    def catch_up(self, arriving: int = 0) -> int:
        """Take the backlog as the worker does, `arriving` pairs coming in at every step."""
        steps, number = 0, len(self.ring.after(-1))
        while (match := self.session.backlog()) is not None:
            self.session.process(match)
            steps += 1
            for _ in range(arriving):
                number += 1
                self.arrive(number)
        return steps

    @property
    def stamps(self) -> list[int]:
        return [a.match.stamp // STEP for a in self.answers]


@pytest.mark.parametrize(('behind', 'arriving'), [(3, 0), (14, 0), (60, 0), (60, 1), (60, 3)])
def test_catching_up_ends_however_slow_the_tracker_is(behind: int, arriving: int) -> None:
    desk = Desk()
    for number in range(1, behind + 2):
        desk.arrive(number)
    desk.session.request(Target(BOX, STEP))
    assert desk.session.reply.message.endswith(f'{behind} pairs ago')
    steps = desk.catch_up(arriving)
    assert steps <= CATCH_UP
    newest = len(desk.ring.after(-1))
    assert desk.stamps[-1] >= newest - arriving
    assert desk.stamps == sorted(set(desk.stamps)), 'a pair was answered twice, or out of order'
    if behind < CATCH_UP and not arriving:
        assert desk.stamps == list(range(1, behind + 2)), 'a pair was not answered'


def test_pairs_answered_before_the_target_came_are_not_answered_again() -> None:
    desk = Desk()
    for number in range(1, 8):
        desk.arrive(number, process=number <= 5)
    assert desk.stamps == [1, 2, 3, 4, 5] and not any(a.target_id for a in desk.answers)
    desk.session.request(Target(BOX, 2 * STEP))
    desk.catch_up()
    # the pair of the target is answered again, as its first; the others once
    assert desk.stamps == [1, 2, 3, 4, 5, 2, 6, 7]
    assert [bool(a.target_id) for a in desk.answers] == [False] * 5 + [True] * 3
    assert [s // STEP for _, s in desk.tracker.calls[1:]] == [2, 3, 4, 5, 6, 7]


def test_a_target_before_any_image_waits_for_its_own() -> None:
    desk = Desk()
    desk.session.request(Target(BOX, 2 * STEP, 'early'))
    for number in (1, 2, 3):
        desk.arrive(number, process=True)
    assert desk.session.reply.accepted and desk.session.reply.request_id == 'early'
    assert desk.tracker.calls[1] == ('init', 2 * STEP)


def test_a_target_by_another_clock_is_refused_with_the_first_pair() -> None:
    desk = Desk()
    desk.session.request(Target(BOX, 1_700_000_000 * 10**9, 'early'))
    desk.arrive(1, process=True)
    reply, = desk.told()
    assert (reply.request_id, reply.accepted) == ('early', False)
    assert 's ahead of the newest pair; use the stamp of the image' in reply.message
    assert desk.stamps == [1]


def test_a_target_is_given_up_also_where_no_pair_comes_any_more() -> None:
    desk = Desk()
    assert not desk.session.waits
    desk.session.request(Target(BOX, 30 * STEP, 'early'))
    desk.now = PATIENCE
    desk.session.look()
    assert desk.session.waits and not desk.told()
    desk.now += 1
    desk.session.look()
    assert not desk.session.waits and desk.told()[0].request_id == 'early'
    desk.session.await_first(Target(BOX))       # the first pair is waited for as long as it takes
    desk.now += 1000
    desk.session.look()
    assert not desk.session.waits and not desk.told()


def test_a_target_whose_pair_comes_while_paused_starts_on_it() -> None:
    desk = Desk()
    desk.arrive(1, process=True)
    desk.session.enable(False)
    desk.session.request(Target(BOX, 3 * STEP, 'early'))
    desk.arrive(2, process=True)
    desk.session.look()
    assert desk.session.waits
    desk.arrive(3, process=True)
    desk.now = 2 * PATIENCE
    desk.session.look()
    assert not desk.session.waits and desk.session.reply.accepted
    assert desk.tracker.calls[-1] == ('init', 3 * STEP)


def test_a_target_whose_pair_does_not_come_is_given_up() -> None:
    desk = Desk()
    desk.arrive(1, process=True)
    desk.session.request(Target(BOX, 30 * STEP, 'early'))
    desk.now = PATIENCE
    desk.arrive(2, process=True)
    assert not desk.told()
    desk.now += 1       # stamps hardly rise
    desk.arrive(3, process=True)
    reply, = desk.told()
    assert (reply.request_id, reply.accepted) == ('early', False)
    assert 'no pair of its stamp has come within 10 s' in reply.message
    assert desk.stamps == [1, 2, 3]
    # one that comes late, and is there, is taken all the same
    desk.session.request(Target(BOX, 4 * STEP, 'late'))
    desk.now += 2 * PATIENCE
    desk.arrive(4, process=True)
    assert desk.session.reply.accepted and desk.started == (4, BOX.as_tuple())


@pytest.mark.parametrize(('event', 'reason'), [
    (lambda s: s.jumped(), 'time has jumped'), (lambda s: s.reset('the end'), 'the end'),
    (lambda s: s.reset(), 'the target was reset')])
def test_a_target_whose_pair_can_not_come_any_more_is_refused(
        event: Callable[[Session], object], reason: str) -> None:
    desk = Desk()
    desk.arrive(1, process=True)
    desk.session.request(Target(BOX, 2 * STEP, 'early'))
    assert desk.session.reply.request_id == ''
    event(desk.session)
    assert (desk.session.reply.request_id, desk.session.reply.accepted) == ('early', False)
    assert reason in desk.session.reply.message
    desk.arrive(2, process=True)
    assert not desk.session.target_id


def test_a_tracker_that_fails_to_start_says_so_and_the_old_target_is_kept() -> None:
    desk = Desk()
    desk.arrive(1, process=True)
    desk.session.request(Target(BOX))
    target = desk.session.target_id
    desk.tracker.init = lambda *_: 1 / 0     # type: ignore[method-assign]
    desk.session.request(Target(BOX, request_id='next'))
    assert desk.session.reply.request_id == 'next' and not desk.session.reply.accepted
    assert 'ZeroDivisionError' in desk.session.reply.message
    assert (desk.session.errors, desk.session.target_id) == (1, target)


@pytest.mark.parametrize(('frames', 'frame_id', 'homography', 'expected'), [
    (('rgb', 'thermal'), 'thermal', (), (8, 4, 40, 20)),        # the image is scaled
    (('rgb', 'thermal'), 'thermal', (1, 0, 5, 0, 1, 7, 0, 0, 1), (9, 11, 20, 20)),  # or shifted
    (('rgb', 'thermal'), 'rgb', (), (4, 4, 20, 20)), (('rgb', 'thermal'), '', (), (4, 4, 20, 20)),
    (('rgb', 'thermal'), 'base_link', (), (4, 4, 20, 20)),
    (('rgb', ''), '', (), (4, 4, 20, 20)), (('', ''), '', (), (4, 4, 20, 20)),  # nameless drivers
    (('', 'thermal'), '', (), (4, 4, 20, 20)), (('same', 'same'), 'same', (), (4, 4, 20, 20))])
@pytest.mark.parametrize('stamp', [0, STEP])
def test_a_box_found_in_the_thermal_image_is_brought_to_rgb(
        stamp: int, frames: tuple[str, str], frame_id: str, homography: tuple[float, ...],
        expected: tuple[float, ...]) -> None:
    desk = Desk()
    desk.tracker.config = TrackerConfig(homography=homography)
    desk.arrive(1, frames=frames)
    desk.session.request(Target(BOX, stamp, 'x', frame_id))
    assert desk.session.reply.accepted, desk.session.reply.message
    assert desk.started == (1, expected)


@pytest.mark.parametrize('frame_id', ['thermal', 'rgb'])
def test_a_box_outside_the_image_it_was_found_in_is_refused(frame_id: str) -> None:
    desk = Desk()
    desk.arrive(1)
    desk.session.request(Target(Box(70, 4, 9, 9), STEP, 'x', frame_id))
    assert 'lies outside the' in desk.session.reply.message


FULL, ONE, OTHER = {}, {'thermal': False}, {'rgb': False}     # a pair, RGB alone, thermal alone
SLOW = {n: FULL if n % 3 == 1 else ONE for n in range(1, 13)}   # RGB is three times as fast


@pytest.mark.parametrize(('pairs', 'asked', 'frame_id', 'started'), [
    (SLOW, 0, '', 10), (SLOW, 7, '', 7), (SLOW, 8, '', 7), (SLOW, 9, 'rgb', 10),
    (SLOW, 11, '', 10),                         # a period of the slower camera, and no further
    ({1: FULL, **dict.fromkeys(range(2, 9), ONE)}, 0, '', 8),       # 0.23 s is too far
    ({1: FULL, **dict.fromkeys(range(2, 9), ONE)}, 4, '', 4),
    ({1: FULL, **dict.fromkeys(range(2, 9), OTHER)}, 0, '', 1),     # RGB has stopped: its last
    ({1: FULL, **dict.fromkeys(range(2, 9), OTHER)}, 0, 'rgb', 1),
    ({1: FULL, **dict.fromkeys(range(2, 9), OTHER)}, 0, 'thermal', 8),
    ({1: FULL, **dict.fromkeys(range(2, 9), ONE)}, 0, 'thermal', 1),
    ({n: OTHER for n in range(1, 4)}, 0, '', 3), ({n: OTHER for n in range(1, 4)}, 2, '', 2)])
def test_a_target_starts_where_both_images_are_or_the_one_it_is_given_in(
        pairs: dict[int, dict[str, bool]], asked: int, frame_id: str, started: int) -> None:
    desk = Desk()
    for number, there in pairs.items():
        desk.arrive(number, **there)
    desk.session.request(Target(BOX, asked * STEP, 'x', frame_id))
    assert desk.session.reply.accepted, desk.session.reply.message
    box = (8.0, 4.0, 40.0, 20.0) if frame_id == 'thermal' and pairs[started] is FULL else (
        BOX.as_tuple())
    assert desk.started == (started, box)


@pytest.mark.parametrize(('frame_id', 'missing', 'asked'), [
    ('rgb', OTHER, 8), ('thermal', ONE, 8), ('elsewhere', OTHER, 8), ('rgb', OTHER, 0)])
def test_a_box_in_the_pixels_of_a_camera_without_images_is_refused(
        frame_id: str, missing: dict[str, bool], asked: int) -> None:
    desk = Desk()
    desk.arrive(1, process=True)
    if not asked:
        desk.ring.clear()
    for number in range(2, 10):
        desk.arrive(number, process=True, **missing)
    desk.session.request(Target(BOX, asked * STEP, 'x', frame_id))
    assert not desk.session.reply.accepted and desk.started is None
    assert f"(frame_id '{frame_id}'), and there is no" in desk.session.reply.message
    if not asked:       # who does not name a camera means the one that there is
        desk.session.request(Target(BOX))
        assert desk.started == (9, BOX.as_tuple())


@pytest.mark.parametrize('asked', [7, 8])
def test_a_few_lost_images_do_not_make_a_box_one_in_thermal_pixels(asked: int) -> None:
    desk = Desk()
    desk.arrive(1)
    for number in range(2, 9):
        desk.arrive(number, rgb=False)
    desk.session.request(Target(BOX, asked * STEP, 'x'))
    assert not desk.session.reply.accepted and desk.started is None
    assert 'there is no rgb image of that time; give frame_id' in desk.session.reply.message
    desk.session.request(Target(BOX, asked * STEP, 'x', 'thermal'))
    assert desk.started == (asked, BOX.as_tuple())


@pytest.mark.parametrize('stamp', [0, STEP])
def test_a_frame_that_may_be_the_thermal_cameras_waits_for_it(stamp: int) -> None:
    desk = Desk()
    desk.arrive(1, thermal=False)
    desk.session.request(Target(BOX, stamp, 'x', 'thermal'))
    assert not desk.session.reply.accepted and desk.started is None
    assert "'thermal' is not that of the rgb images ('rgb')" in desk.session.reply.message
    assert 'no thermal image has come yet' in desk.session.reply.message
    for frame_id in ('rgb', ''):
        desk.session.request(Target(BOX, stamp, 'x', frame_id))
        assert desk.session.reply.accepted, desk.session.reply.message
    desk.session.configure(desk.tracker.config, Cameras(use_thermal=False))
    desk.session.request(Target(BOX, stamp, 'x', 'thermal'))    # it is nobody's, then
    assert desk.session.reply.accepted
    desk.session.configure(desk.tracker.config, Cameras())
    desk.arrive(2)
    desk.session.request(Target(BOX, 2 * STEP, 'x', 'thermal'))
    assert desk.started == (2, (8, 4, 40, 20))


def test_an_image_that_can_not_be_read_is_not_taken_for_the_other_cameras() -> None:
    desk = Desk()
    desk.arrive(1, encoding='rgb9')
    desk.session.request(Target(BOX))
    assert desk.session.reply.message == 'the rgb image of its stamp can not be used'


@pytest.mark.parametrize('frame_id', ['thermal', ''])
@pytest.mark.parametrize('number', [4, 9, 14])      # is gone, is there, is to come
def test_the_stamp_of_a_thermal_image_is_taken_with_its_offset(number: int,
                                                               frame_id: str) -> None:
    desk, alone = Desk(), not frame_id
    desk.session.configure(desk.tracker.config, Cameras(not alone, True, -400_000_000))
    for n in range(8, 13):
        desk.arrive(n, rgb=not alone)
    desk.session.request(Target(BOX, number * STEP + 400_000_000, 'x', frame_id))
    for n in range(13, 16):
        desk.arrive(n, process=True, rgb=not alone)
    if number < 8:
        assert 'older than the newest pair' in desk.session.reply.message
    else:
        assert desk.started == (number, BOX.as_tuple() if alone else (8, 4, 40, 20))


# --- a target that waits

def first(desk: Desk, box: Box = BOX) -> None:
    desk.session.await_first(Target(box, request_id='initial_box', patient=True))


@pytest.mark.parametrize('missing', [OTHER, {'encoding': 'rgb9'}])
def test_the_first_target_waits_for_rgb_and_says_so(missing: dict[str, Any]) -> None:
    desk = Desk()
    first(desk)
    for number in range(1, 30):
        desk.arrive(number, process=True, **missing)
    assert desk.started is None and not desk.told()
    assert desk.session.pending.startswith('initial_box waits: ')
    assert 'rgb image' in desk.session.pending
    desk.arrive(30, process=True)
    assert desk.started == (30, BOX.as_tuple()) and desk.session.pending == ''
    assert [(r.request_id, r.accepted) for r in desk.told()] == [('initial_box', True)]


@pytest.mark.parametrize(('cameras', 'there'), [
    (Cameras(use_rgb=False), OTHER), (Cameras(use_thermal=False), ONE), (Cameras(), FULL)])
def test_the_first_target_starts_at_once_where_all_cameras_are_there(
        cameras: Cameras, there: dict[str, bool]) -> None:
    desk = Desk()
    desk.session.configure(desk.tracker.config, cameras)
    first(desk)
    desk.arrive(1, process=True, **there)
    assert desk.started == (1, BOX.as_tuple())


@pytest.mark.parametrize(('thermal_from', 'started'), [(3, 3), (99, 8)])
def test_the_first_target_waits_a_moment_for_both_images(thermal_from: int, started: int) -> None:
    desk = Desk()
    first(desk)
    for number in range(1, 12):
        desk.arrive(number, process=True, thermal=number >= thermal_from)
        desk.catch_up()
    assert desk.started == (started, BOX.as_tuple())
    assert desk.stamps == list(range(1, 12))


def test_the_first_target_outside_the_image_is_refused_for_good() -> None:
    desk = Desk()
    first(desk, Box(70, 4, 9, 9))
    for number in range(1, 4):
        desk.arrive(number, process=True)
    reply, = desk.told()
    assert 'lies outside the' in reply.message and not desk.session.pending


@pytest.mark.parametrize(('second', 'replies'), [
    (Target(BOX, request_id='b'), [('a', False), ('b', True)]),
    (Target(BOX, 3 * STEP, 'b'), [('a', False), ('b', True)]),
    (Target(Box(70, 4, 9, 9), request_id='b'), [('b', False), ('a', True)])])
def test_every_request_is_answered(second: Target, replies: list[tuple[str, bool]]) -> None:
    desk = Desk()
    desk.arrive(1, process=True)
    desk.session.request(Target(BOX, 2 * STEP, 'a'))
    desk.session.request(second)
    for number in range(2, 5):
        desk.arrive(number, process=True)
    assert [(r.request_id, r.accepted) for r in desk.told()] == replies


def test_pairs_are_answered_while_a_target_catches_up_and_another_one_waits() -> None:
    desk = Desk()
    for number in range(1, 20):
        desk.arrive(number)
    desk.session.request(Target(BOX, STEP))
    desk.session.request(Target(BOX, 40 * STEP))
    desk.arrive(20, process=True)
    assert desk.stamps[-1] == 20


def test_stamps_that_rise_too_slowly_are_said() -> None:
    desk = Desk()
    desk.ring.duration = 10**6
    for number in range(1, 30):
        match = Match(image(stamp=number), None, number)
        desk.ring.append(match)
        desk.session.process(match)
        assert bool(desk.notices.current()) == (number > desk.ring.limit)
    text, = desk.notices.current()
    assert text.startswith('more than 16 pairs lie within buffer_duration by their stamps')
    assert len(desk.ring.after(-1)) == 16 and len(desk.answers) == 29


def test_a_frozen_camera_is_noticed_without_a_target() -> None:
    desk = Desk()
    still = image('mono8', stamp=1)
    for number in range(1, 12):
        match = Match(image(stamp=number * STEP), still, number * STEP, 0)
        desk.ring.append(match)
        desk.session.process(match)
    assert desk.session.frozen == ('thermal',)
    desk.arrive(12, process=True)
    assert desk.session.frozen == ()
