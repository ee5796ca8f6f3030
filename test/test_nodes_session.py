"""A target in the past: the way to now is short, and every pair is answered at most once."""
from __future__ import annotations

from collections.abc import Callable

from nodes_kit import FakeTracker, image
import pytest
from rclpy.logging import get_logger

from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.pairing import Match
from rgbt_tracker_ros.nodes.ring import PairRing
from rgbt_tracker_ros.nodes.session import CATCH_UP, Session
from rgbt_tracker_ros.nodes.session_types import Answer, Target
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.types import Box

STEP = 33_000_000
BOX = Box(4, 4, 20, 20)


class Desk:
    """A session, its ring, and what it published."""

    def __init__(self) -> None:
        self.ring = PairRing(10 ** 10)
        self.answers: list[Answer] = []
        self.session = Session(self.ring, Notices(get_logger('test'), lambda: None),
                               publish=self.answers.append, changed=lambda: None,
                               refused=lambda stream, why: None)
        self.tracker = FakeTracker()
        self.session.load(lambda: self.tracker)

    def arrive(self, number: int, process: bool = False) -> None:
        match = Match(image(stamp=number * STEP), image('mono8', stamp=number * STEP),
                      number * STEP, 0)
        self.ring.append(match)
        if process:
            self.session.process(match)

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
    desk.tracker.init = lambda pair, box: 1 / 0     # type: ignore[method-assign]
    desk.session.request(Target(BOX, request_id='next'))
    assert desk.session.reply.request_id == 'next' and not desk.session.reply.accepted
    assert 'ZeroDivisionError' in desk.session.reply.message
    assert (desk.session.errors, desk.session.target_id) == (1, target)


@pytest.mark.parametrize(('frame_id', 'homography', 'expected'), [
    ('thermal', (), (8, 4, 40, 20)),                            # the image is scaled
    ('thermal', (1, 0, 5, 0, 1, 7, 0, 0, 1), (9, 11, 20, 20)),  # or shifted
    ('rgb', (), (4, 4, 20, 20)), ('', (), (4, 4, 20, 20)), ('base_link', (), (4, 4, 20, 20))])
def test_a_box_found_in_the_thermal_image_is_brought_to_rgb(
        frame_id: str, homography: tuple[float, ...], expected: tuple[float, ...]) -> None:
    desk = Desk()
    desk.tracker.config = TrackerConfig(homography=homography)
    desk.ring.append(Match(image(stamp=STEP, frame_id='rgb'),
                           image('mono8', (32, 48), stamp=STEP, frame_id='thermal'), STEP, 0))
    desk.session.request(Target(BOX, STEP, 'x', frame_id))
    assert desk.session.reply.accepted, desk.session.reply.message
    assert desk.tracker.box is not None and desk.tracker.box.as_tuple() == expected


@pytest.mark.parametrize('frame_id', ['thermal', 'rgb'])
def test_a_box_outside_the_image_it_was_found_in_is_refused(frame_id: str) -> None:
    desk = Desk()
    desk.ring.append(Match(image(stamp=STEP, frame_id='rgb'),
                           image('mono8', (32, 48), stamp=STEP, frame_id='thermal'), STEP, 0))
    desk.session.request(Target(Box(70, 4, 9, 9), STEP, 'x', frame_id))
    assert 'lies outside the' in desk.session.reply.message


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
