"""The robot of the loop: cameras, tracker and recorder as processes in a ROS domain of their own.

The tracker is started when it is first needed and runs to the end: a new student takes over in it
while it works.
"""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
import time
from types import TracebackType
from typing import Any

from rgbt_tracker_ros.data.segments import PARTIAL
from rgbt_tracker_ros.evaluation.ros_parameters import parameters
from rgbt_tracker_ros.loop.cameras import Take
from rgbt_tracker_ros.processes import (
    JsonLines,
    NodeProcess,
    free_domain,
    ros_environment,
    shm_profile,
)

START_PATIENCE = 180.0  # s until the tracker is up: loading torch from a slow disk takes long
PAIR_PATIENCE = 120.0   # s without a pair: videos are drawn as they are played
RELOAD_PATIENCE = 120.0
AFTER = 60              # pairs that are watched once the new student has taken over
SILENCE = 1.5           # s without an answer after the last pair: none will come
SEGMENTS = 'pairs'      # their name: pairs_0000, pairs_0001, ...
Report = Callable[[int], None]


class LoopError(RuntimeError):
    """The loop can't go on; the text says why."""


@dataclass(frozen=True)
class Recorded:
    """What became of a take: its segment, pairs sent, written, and answered by the tracker."""

    segment: str
    sent: int
    recorded: int
    answered: int


@dataclass(frozen=True)
class Deployed:
    """What became of the new student in the running node: `message` is the node's own.

    `pairs` were sent from the request to the AFTER-th pair after the exchange; `lost` of them and
    `lost_before` of `pairs_before` found no answer.
    """

    success: bool
    message: str
    pairs: int
    lost: int
    pairs_before: int
    lost_before: int


class Robot:
    """Processes that end with the `with`; their logs are in `logs`."""

    def __init__(self, logs: Path, device: str = 'auto') -> None:
        self._logs, self._device = logs, device
        self._stack = ExitStack()
        self._tracker: NodeProcess | None = None

    def __enter__(self) -> Robot:
        self._logs.mkdir(parents=True, exist_ok=True)
        domain = self._stack.enter_context(free_domain())
        self._environment = ros_environment(domain, shm_profile(self._logs, processes=4))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack, module: str, values: dict[str, Any],
               pipe: bool = False) -> NodeProcess:
        return stack.enter_context(NodeProcess(
            module, self._logs / f'{module}.log', self._environment, parameters(values),
            pipe=pipe))

    def _with_client(self, stack: ExitStack, values: dict[str, Any],
                     others: Sequence[NodeProcess] = ()) -> _Watch:
        """Start the tracker unless it runs, and who tells it what to do; wait for all."""
        if self._tracker is None:
            self._tracker = self._start(self._stack, 'tracker_node', {
                'device': self._device, 'debug_image_rate': 0.0})
        client = self._start(stack, 'loop_client', values, pipe=True)
        watch = _Watch(JsonLines(client, self._logs / 'loop_client.jsonl'),
                       (self._tracker, client, *others))
        watch.until(lambda r: r['kind'] == 'ready', START_PATIENCE,
                    'the tracker did not come up')
        return watch

    def record(self, takes: Sequence[Take], folder: Path,
               report: Report) -> Generator[tuple[Take, Recorded], None, None]:
        """Play the takes one after the other to tracker and recorder; yield each when it is
        recorded.

        :param folder: of the segments. :param report: told of pairs as they are sent.
        :raises LoopError: if a node can't do its part, or is silent. :raises ProcessError: if one
            ends.
        """
        with ExitStack() as stack:
            recorder = self._start(stack, 'recorder_node', {
                'output_dir': str(folder.absolute()), 'recording': SEGMENTS})
            watch = self._with_client(stack, {'record': True}, [recorder])
            for take in takes:
                with ExitStack() as playing:
                    yield take, watch.segment(self._play(playing, take), report)

    def deploy(self, model: Path, take: Take) -> Deployed:
        """Have the node take a new model while it tracks what is played to it again and again.

        :raises LoopError, ProcessError: see `record`.
        """
        with ExitStack() as stack:
            watch = self._with_client(stack, {'model': str(model.absolute())})
            with ExitStack() as playing:
                player = self._play(playing, take, loop=True)
                watch.until(lambda r: r['kind'] == 'asked', PAIR_PATIENCE, 'no target was tracked',
                            player)
                verdict = watch.until(lambda r: r['kind'] == 'reloaded', RELOAD_PATIENCE,
                                      'rgbt_tracker did not answer', player)
                enough = len(watch.pairs) + AFTER
                watch.until(lambda _: len(watch.pairs) >= enough, PAIR_PATIENCE,
                            'no further pair was played', player)
            watch.settle()
            return watch.deployed(verdict)

    def _play(self, stack: ExitStack, take: Take, **values: Any) -> NodeProcess:
        return self._start(stack, 'player_node', take.parameters | {
            # a second, for all to have found each other and for the target to be there first
            'wait_for_subscribers': 'all', 'start_delay': 1.0, 'stamps': 'kept',
            'read_ahead': min(take.pairs, 100), **values})


class _Watch:
    """Takes what the client says, and looks after the processes."""

    def __init__(self, lines: JsonLines, processes: Sequence[NodeProcess]) -> None:
        self._lines, self._processes = lines, processes
        self.pairs: list[int] = []                  # stamps
        self._answered: set[int] = set()
        self._at: dict[str, int] = {}               # kind -> pairs sent before it

    def until(self, wanted: Callable[[dict[str, Any]], bool], patience: float, complaint: str,
              player: NodeProcess | None = None, report: Report = lambda count: None,
              ) -> dict[str, Any]:
        """Take lines up to the first that is wanted, and return it.

        :raises LoopError: after `patience` s without a pair, or when a node says what is wrong.
        :raises ProcessError: when a process ends; the player may with status 0.
        """
        deadline = time.monotonic() + patience
        while True:
            for record in self._lines.take(timeout=0.05):
                if self._add(record):
                    report(1)
                    deadline = time.monotonic() + patience
                if wanted(record):
                    return record
            for process in self._processes:
                process.require_running()
            if player is not None and player.status:
                player.require_running()
            if time.monotonic() > deadline:
                everyone = [*self._processes, *filter(None, [player])]
                raise LoopError('\n'.join([f'{complaint} within {patience:.0f} s',
                                           *(p.tail(8) for p in everyone)]))

    def _add(self, record: dict[str, Any]) -> bool:
        """Take note of a line; return whether it tells of a pair."""
        kind = record['kind']
        if kind == 'failed':
            logs = (p.tail(8) for p in self._processes)
            raise LoopError('\n'.join([record['reason'], *logs]))
        if kind == 'track':
            self._answered.add(record['stamp'])
        elif kind == 'pair':
            self.pairs.append(record['stamp'])
        self._at.setdefault(kind, len(self.pairs))
        return bool(kind == 'pair')

    def segment(self, player: NodeProcess, report: Report) -> Recorded:
        """Wait for the end of what is played, and of its segment."""
        done = self.until(lambda r: r['kind'] == 'segment', PAIR_PATIENCE,
                          'no further pair was played', player, report)
        return Recorded(done['name'].removesuffix(PARTIAL), done['sent'], done['recorded'],
                        done['answered'])

    def settle(self) -> None:
        """Take what comes until nothing does."""
        while self._lines.silent < SILENCE:
            for record in self._lines.take(timeout=0.05):
                self._add(record)

    def deployed(self, verdict: dict[str, Any]) -> Deployed:
        """Count what was sent and answered around the exchange."""
        first = next((n for n, s in enumerate(self.pairs) if s in self._answered), 0)
        asked_at, until = self._at['asked'], self._at['reloaded'] + AFTER
        before, during = self.pairs[first:asked_at], self.pairs[asked_at:until]
        return Deployed(verdict['success'], verdict['message'], len(during),
                        sum(s not in self._answered for s in during), len(before),
                        sum(s not in self._answered for s in before))
