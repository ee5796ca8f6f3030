"""What went wrong lately: to the log, each kind at most once in 5 s, and to ~/status."""
from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
import traceback
from typing import Protocol

PERIOD = 5.0    # s between two lines of one kind in the log
HOLD = 5.0      # s that a notice stays in ~/status


class Logger(Protocol):
    """The part of rclpy's logger that is used."""

    def info(self, message: str) -> bool: ...
    def warning(self, message: str) -> bool: ...
    def error(self, message: str) -> bool: ...


class Notices:
    """Thread-safe. `changed` is called, from any thread, when there is something new to say.

    rclpy throttles by line of code, which would let one topic silence another; this goes by key.
    (And it raises if one line of code logs at two levels: each level has its own line here.)
    """

    def __init__(self, logger: Logger, changed: Callable[[], None],
                 clock: Callable[[], float] = monotonic) -> None:
        self._logger = logger
        self._changed = changed
        self._clock = clock
        self._lock = Lock()
        self._logged: dict[str, float] = {}
        self._held: dict[str, tuple[float, str]] = {}

    def warn(self, key: str, text: str) -> None:
        """Log a warning and hold it for the status."""
        if self._post(key, text):
            self._logger.warning(text)

    def error(self, key: str, text: str) -> None:
        """Log an error and hold it for the status."""
        if self._post(key, text):
            self._logger.error(text)

    def exception(self, key: str, text: str, error: BaseException) -> None:
        """Log an error with its traceback; the status gets the error's own text."""
        if self._post(key, f'{text}: {error!r}'):
            self._logger.error(f'{text}\n{"".join(traceback.format_exception(error))}')

    def log(self, key: str, text: str) -> None:
        """Log, throttled, without holding."""
        if self._due(key):
            self._logger.info(text)

    def current(self) -> list[str]:
        """Return the notices of the last seconds."""
        now = self._clock()
        with self._lock:
            self._held = {k: v for k, v in self._held.items() if now - v[0] < HOLD}
            return [text for _, text in self._held.values()]

    def _post(self, key: str, text: str) -> bool:
        """Hold a notice; return whether it is to be logged."""
        with self._lock:
            new = self._held.get(key, (0.0, ''))[1] != text
            self._held[key] = self._clock(), text
        if new:
            self._changed()
        return self._due(key)

    def _due(self, key: str) -> bool:
        now = self._clock()
        with self._lock:
            if now - self._logged.get(key, -PERIOD) < PERIOD:
                return False
            self._logged[key] = now
            return True
