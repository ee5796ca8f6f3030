"""Files that stay open from pair to pair: few at a time, and each in its own process alone."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from threading import Lock, RLock
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

MOST = 8
"""How many stay open in a process: a decoder of videos has threads and tens of MB."""


class Closable(Protocol):
    """What can be open."""

    def close(self) -> None: ...


T = TypeVar('T', bound=Closable)


class Kept(Generic[T]):
    """What was opened and stays open for the next time, if anything.

    Who opens one more than MOST closes the one that was not used for longest, unless another
    thread is at it. A forked process has none of its parent's: a decoder would wait there for
    threads that were not forked, and both would move one place in a file. Nor has a copy.
    """

    def __init__(self) -> None:
        self._thing: T | None = None
        self._lock = RLock()

    @contextmanager
    def using(self, make: Callable[[], T]) -> Iterator[T]:
        """Give what is open, or what `make` opens; nobody else closes or uses it meanwhile."""
        with self._lock:
            _used(self)     # first, so that a process forked from another thread knows of it
            if self._thing is None:
                self._thing = make()
            yield self._thing

    def close(self) -> None:
        """Close it; the next use opens it again."""
        with self._lock:
            thing, self._thing = self._thing, None
            if thing is not None:
                thing.close()

    def _retire(self) -> bool:
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self.close()
        finally:
            self._lock.release()
        return True

    def _inherit(self) -> Any:
        thing, self._thing = self._thing, None
        self._lock = RLock()    # whoever held it is not in this process
        return thing

    def __reduce__(self) -> tuple[type[Kept[Any]], tuple[()]]:
        return Kept, ()


_recent: WeakValueDictionary[int, Kept[Any]] = WeakValueDictionary()    # the latest is the last
_guard = Lock()
_inherited: list[Any] = []


def _used(kept: Kept[Any]) -> None:
    with _guard:
        _recent.pop(id(kept), None)
        for other in list(_recent.values())[:1 - MOST]:
            if other._retire():
                del _recent[id(other)]
        _recent[id(kept)] = kept


def _forget() -> None:
    """Let go of what the parent has open. Nothing is closed, nor may it be collected: that would
    be waiting for threads, too.
    """
    global _guard
    _guard = Lock()
    _inherited.extend(kept._inherit() for kept in list(_recent.values()))
    _recent.clear()


if hasattr(os, 'register_at_fork'):     # where processes can be forked
    os.register_at_fork(after_in_child=_forget)
