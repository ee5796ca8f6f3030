"""The cameras' side of a node by itself: what is a jump, and what is left over from before one."""
from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from nodes_kit import image
import pytest
from rclpy.context import Context
from rclpy.node import Node

from rgbt_tracker_ros.nodes import inputs as module
from rgbt_tracker_ros.nodes.inputs import LEFTOVERS, CameraInputs
from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.pairing import RGB, THERMAL, Match
from rgbt_tracker_ros.nodes.parameters import Parameters

S = 1_000_000_000
STEP = S // 30


class Cameras:
    """Inputs of a bare node, whose images and clocks (ns) the test hands out."""

    def __init__(self, node: Node) -> None:
        self.now = self.clock = 100 * S
        self.matches: list[Match[Any]] = []
        self.jumps: list[str] = []
        self.parameters = Parameters()
        self.inputs = CameraInputs(node, self.parameters, Notices(node.get_logger(), lambda: None),
                                   release=self.matches.append, jumped=self.jumps.append)

    def come(self, stamp: int, *streams: str, thermal: int = 0) -> list[int]:
        """Have images come, thermal's stamped `thermal` ns later; return what is released."""
        known = len(self.matches)
        self.now += STEP
        for stream in streams or (RGB, THERMAL):
            own = stamp + (thermal if stream == THERMAL else 0)
            encoding = 'rgb8' if stream == RGB else 'mono8'
            self.inputs.receive(stream, image(encoding, stamp=own))
        return [m.stamp for m in self.matches[known:]]


@pytest.fixture
def cameras(ros_context: Context, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cameras]:
    node = Node('inputs', context=ros_context)
    made = Cameras(node)
    monkeypatch.setattr(module, 'monotonic_ns', lambda: made.now)
    monkeypatch.setattr(node, 'get_clock', lambda: SimpleNamespace(
        now=lambda: SimpleNamespace(nanoseconds=made.clock)))
    yield made
    made.inputs.close()
    node.destroy_node()


@pytest.mark.parametrize('offset', [-10.0, -0.01, 0.01, 10.0])
def test_another_offset_is_a_jump_and_the_same_is_none(cameras: Cameras, offset: float) -> None:
    cameras.inputs.set_parameters(Parameters(pair_slop=0.02))
    assert not cameras.jumps
    cameras.inputs.set_parameters(Parameters(pair_slop=0.02, thermal_time_offset=offset))
    assert cameras.jumps == ['thermal_time_offset was changed']


def test_a_jump_says_whose_stamps_went_where(cameras: Cameras) -> None:
    for i in range(10):
        cameras.come(50 * S + i * STEP, thermal=-20 * S)
    assert not cameras.jumps
    for i in range(10, 60):     # silent for more than a second
        cameras.come(50 * S + i * STEP, THERMAL, thermal=-20 * S)
    assert cameras.jumps == ['stamps of /thermal/image_raw are behind those of /rgb/image_raw, '
                             'which was answered last']
    cameras.come(20 * S, THERMAL)
    assert cameras.jumps[1:] == ['stamps of /thermal/image_raw went back']


def old_lap(cameras: Cameras, count: int = 10) -> int:
    """Play the end of a lap and turn the clock back; return the stamp that would be next."""
    for i in range(count):
        cameras.clock = 60 * S + i * STEP
        assert cameras.come(cameras.clock) or not i
    after, cameras.clock = cameras.clock + STEP, 1 * S
    cameras.inputs.reset(back=True)
    return after


def test_what_had_waited_while_the_clock_went_back_is_left_out(cameras: Cameras) -> None:
    after, matcher = old_lap(cameras), cameras.inputs.matcher
    unmatched, received = matcher.unmatched, matcher.timing[RGB].received
    for i in range(5):
        assert cameras.come(after + i * STEP) == []
    assert matcher.unmatched == unmatched + 10 and matcher.timing[RGB].received == received + 5
    assert cameras.come(1 * S + STEP) + cameras.come(1 * S + 2 * STEP) == [
        1 * S + STEP, 1 * S + 2 * STEP]
    assert cameras.come(after + 5 * STEP, THERMAL) == [] and not cameras.jumps


def test_of_a_clock_that_comes_seldom_nothing_is_left_out(cameras: Cameras) -> None:
    """A bag played fast: its images are ahead of the clock, but not of the lap before."""
    old_lap(cameras)
    assert cameras.come(20 * S) + cameras.come(21 * S) == [20 * S, 21 * S]


@pytest.mark.parametrize(('ahead', 'silent'), [(0, LEFTOVERS // STEP), (-10**6 * S, 0)])
def test_stamps_that_do_not_follow_the_clock_are_left_out_for_a_second_at_most(
        cameras: Cameras, ahead: int, silent: int) -> None:
    """`ahead`: of the clock, before that went back; `silent`: pairs that are not answered."""
    cameras.clock = 60 * S - ahead
    for i in range(10):
        cameras.come(60 * S + i * STEP)
    cameras.clock -= 40 * S
    cameras.inputs.reset(back=True)
    answered = [bool(cameras.come(60 * S + i * STEP)) for i in range(10, 60)]
    assert answered == [i >= silent for i in range(50)]
