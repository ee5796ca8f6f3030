"""New weights while the node runs: loaded in a thread of their own, then exchanged for the old."""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import Future as ThreadFuture
from threading import Lock
import time
from typing import NamedTuple

from rclpy.task import Future

from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.parameters import Parameters
from rgbt_tracker_ros.nodes.session_types import TrackerLike
from rgbt_tracker_ros.nodes.worker import Worker

SETTLE = 0.1    # s; parameters that are set together come one by one: the last set counts
EXPECTED = (ValueError, RuntimeError, OSError, ImportError)     # of loading; others are bugs


class Verdict(NamedTuple):
    """What became of a request: whether the model that was asked for runs now, and what to say."""

    success: bool
    message: str


class Reloader:
    """Loads, checks and warms up a tracker beside the one that runs, which notices nothing of it.

    Of requests that come while one is at work the last one counts; all get its verdict.

    :param load: makes a tracker, in the loader's thread. :param exchange: has the tracker's own
        thread change over between two pairs. :param answered: told, from the loader's thread, of
        a verdict; awaiting coroutines of the executor go on once it wakes up.
    """

    def __init__(self, load: Callable[[Parameters], TrackerLike],
                 exchange: Callable[[TrackerLike], ThreadFuture[str]], notices: Notices,
                 answered: Callable[[Verdict], None]) -> None:
        self._load, self._exchange = load, exchange
        self._notices, self._answered = notices, answered
        self._identity = ('', '')
        self._newest = 0                                    # number of the request that counts
        self._waiting: list[tuple[int, Future]] = []        # (request, who waits for its verdict)
        self._lock = Lock()
        self._worker = Worker[tuple[int, Parameters]](self._process, self._failed, name='loader')

    def loaded(self, parameters: Parameters) -> None:
        """Take note of what was loaded at configuration."""
        self._identity = parameters.model, parameters.model_sha256

    def follow(self, parameters: Parameters) -> None:
        """Load what the parameters name if that is something else than before."""
        if (parameters.model, parameters.model_sha256) != self._identity:
            self.request(parameters)

    def request(self, parameters: Parameters) -> Future:
        """Load what the parameters name, also if the name is the old one.

        :returns: what an executor's coroutine may await: gives a Verdict.
        """
        future = Future()
        self._identity = parameters.model, parameters.model_sha256
        with self._lock:
            self._newest += 1
            self._waiting.append((self._newest, future))
        self._worker.submit((self._newest, parameters))
        return future

    def cancel(self, reason: str) -> None:
        """Give up what is under way; whoever waits is told why."""
        with self._lock:
            self._newest += 1
        self._worker.clear()
        self._resolve(self._newest, Verdict(False, reason))

    def stop(self) -> None:
        """End the thread; whoever waits is told."""
        self.cancel('the node is going down')
        self._worker.stop()

    def _process(self, request: tuple[int, Parameters]) -> None:
        number, parameters = request
        time.sleep(SETTLE)
        if number != self._newest:
            return      # the one that counts is in the mailbox
        began = time.monotonic()
        try:
            tracker = self._load(parameters)
            tracker.warm_up()
            if number != self._newest:
                return
            done = self._exchange(tracker).result()
        except CancelledError:
            return      # the tracker's thread has ended, and the node with it
        except Exception as error:      # whatever it is, the old model goes on
            if number == self._newest:
                self._answer(number, Verdict(False, self._reason(parameters, error)))
            return
        took = time.monotonic() - began
        self._answer(number, Verdict(True, f'{done}; {took:.2f} s from file to work'))

    def _reason(self, parameters: Parameters, error: Exception) -> str:
        reason = str(error)
        if not isinstance(error, EXPECTED):
            self._notices.exception('model', 'a new model could not be loaded', error)
            reason = f'{parameters.model or "the model of the package"}: {error!r}'
        return f'the model is refused, the old one goes on: {reason}'

    def _failed(self, error: Exception) -> None:
        self._notices.exception('model', 'the loader failed', error)

    def _answer(self, number: int, verdict: Verdict) -> None:
        if self._resolve(number, verdict):
            self._answered(verdict)

    def _resolve(self, number: int, verdict: Verdict) -> bool:
        """Tell who waits for a request or an older one; return whether there was anybody: if not,
        it was given up.
        """
        with self._lock:
            told = [f for n, f in self._waiting if n <= number]
            self._waiting = [w for w in self._waiting if w[0] > number]
        for future in told:
            future.set_result(verdict)
        return bool(told)
