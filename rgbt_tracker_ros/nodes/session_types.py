"""What goes into a session, and what comes out of it."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from rgbt_tracker_ros.nodes.pairing import RGB, THERMAL, Match
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.types import Box, Estimate, Pair


class TrackerLike(Protocol):
    """The part of Tracker that the node uses."""

    config: TrackerConfig

    @property
    def device(self) -> str: ...
    @property
    def model_name(self) -> str: ...
    def warm_up(self) -> None: ...
    def init(self, pair: Pair, box: Box, marked_in: str = '') -> Estimate: ...
    def update(self, pair: Pair) -> Estimate: ...
    def reset(self) -> None: ...
    def take_over(self, old: Any, pair: Pair, box: Box) -> bool: ...


@dataclass(frozen=True, slots=True)
class Target:
    """A request: follow `box` of the pair at `stamp` (ns; 0 is the newest one).

    `frame_id`: of the camera whose pixels the box is in; RGB unless it is the thermal camera's.
    `patient`: waits for a pair that it can start in, with RGB where that is used.
    """

    box: Box
    stamp: int = 0
    request_id: str = ''
    frame_id: str = ''
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request."""

    request_id: str = ''
    accepted: bool = False
    message: str = ''


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What is to be published for a pair. `reference`: whose pixels the box is in."""

    match: Match[Any]
    target_id: str = ''
    reference: str = RGB
    pair: Pair | None = None
    estimate: Estimate | None = None


def sizes_of(pair: Pair) -> dict[str, tuple[int, int]]:
    """Return (width, height) of each image there is."""
    return {s: (im.shape[1], im.shape[0]) for s, im in ((RGB, pair.rgb), (THERMAL, pair.thermal))
            if im is not None}
