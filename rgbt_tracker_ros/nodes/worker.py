"""A thread with a mailbox of one: that which owns the tracker, and that which loads another."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread, current_thread
from typing import Any, Generic, TypeVar

T = TypeVar('T')
R = TypeVar('R')


class Worker(Generic[T]):
    """Runs `process` on the newest item submitted; older ones that were not taken are dropped.

    Calls come before items, in order. `backlog`, asked before each item, may name another one to
    take first. Errors of `process` and `post` go to `on_error`; the thread goes on.
    """

    def __init__(self, process: Callable[[T], None], on_error: Callable[[Exception], None],
                 backlog: Callable[[], T | None] = lambda: None, name: str = 'tracker') -> None:
        self.dropped = 0
        self._process = process
        self._on_error = on_error
        self._backlog = backlog
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._slot: T | None = None
        self._running = True
        self._wake = Condition()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: T) -> None:
        """Put `item` in the mailbox, in place of the one that waits there."""
        with self._wake:
            self.dropped += self._slot is not None
            self._slot = item
            self._wake.notify()

    def clear(self) -> None:
        """Empty the mailbox."""
        with self._wake:
            self._slot = None

    def call(self, function: Callable[[], R]) -> Future[R]:
        """Have the thread call `function` before it takes the next item."""
        future: Future[R] = Future()
        with self._wake:
            if not self._running:
                future.cancel()
                return future
            self._calls.append((function, future))
            self._wake.notify()
        return future

    def post(self, function: Callable[[], Any]) -> None:
        """As `call`, for whoever does not wait for the result: an error goes to `on_error`."""
        self.call(function).add_done_callback(self._report)

    def stop(self, timeout: float = 5.0) -> bool:
        """End the thread after what it is at; return whether it ended within `timeout` s."""
        with self._wake:
            self._running = False
            while self._calls:
                self._calls.popleft()[1].cancel()
            self._wake.notify()
        if self._thread is not current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._wake:
                while self._running and not self._calls and self._slot is None:
                    self._wake.wait()
                if not self._running:
                    return
                call = self._calls.popleft() if self._calls else None
                item = None
                if call is None:
                    item, self._slot = self._slot, None
            if call is not None:
                self._answer(*call)
            elif item is not None:
                self._guarded(item)
            while self._running and not self._calls and (item := self._backlog()) is not None:
                self._guarded(item)

    def _guarded(self, item: T) -> None:
        try:
            self._process(item)
        except Exception as e:      # the thread must outlive any frame; the owner logs and counts
            self._on_error(e)

    def _report(self, future: Future[Any]) -> None:
        if not future.cancelled() and isinstance(error := future.exception(), Exception):
            self._on_error(error)

    @staticmethod
    def _answer(function: Callable[[], Any], future: Future[Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(function())
        except BaseException as e:      # handed to whoever waits for the result
            future.set_exception(e)
