"""Jobs in processes of their own, where one that dies takes nothing else with it.

`concurrent.futures` gives up all that is left when a worker is killed (by the system for want of
memory, or by a fault in a library): here the job that it had is reported, and the others go on.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
import os
import signal
import traceback
from typing import Any, Generic, TypeVar, cast

Job = TypeVar('Job')
Result = TypeVar('Result')
Report = Callable[[int], None]
Work = Callable[[Job, Report], Result]
Expected = tuple[type[Exception], ...]


@dataclass(frozen=True)
class Done(Generic[Job, Result]):
    """A finished job: its result, or what went wrong (one line) and where (a traceback)."""

    job: Job
    result: Result | None = None
    error: str = ''
    trace: str = ''


def run_jobs(work: Work[Job, Result], jobs: Sequence[Job], processes: int = 1,
             progress: Report = lambda count: None,
             environment: Mapping[str, str] | None = None,
             expected: Expected = ()) -> Generator[Done[Job, Result], None, None]:
    """Do the jobs and yield each as it is finished, in no order where there are more processes.

    :param work: called with a job, and with what takes counts for `progress`; must be a function
        that can be pickled, as must jobs and results, where there is more than one process.
    :param processes: 1 works in this one.
    :param environment: variables that the other processes start with.
    :param expected: exceptions whose text says all; others are reported with their traceback.

    Exceptions of `work` end its job alone. Closing the generator, or an exception where it is
    read, ends the processes.
    """
    if processes <= 1:
        for job in jobs:
            yield _attempt(work, job, progress, expected)
        return
    yield from _Pool(work, jobs, processes, progress, environment or {}, expected).run()


def _attempt(work: Work[Job, Result], job: Job, progress: Report,
             expected: Expected) -> Done[Job, Result]:
    try:
        return Done(job, work(job, progress))
    except Exception as error:      # any fault of a tracker or a file; the caller reports it
        if isinstance(error, expected):
            return Done(job, error=str(error))
        text = traceback.format_exception_only(error)[-1].strip()
        return Done(job, error=text.splitlines()[0], trace=traceback.format_exc())


def _serve(connection: Connection, work: Work[Any, Any], expected: Expected) -> None:
    """Take jobs until the other end hangs up."""
    # ctrl-C goes to the whole group; the process that started this one ends it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            job = connection.recv()
            connection.send(_attempt(work, job, lambda count: connection.send(count), expected))
    except (EOFError, BrokenPipeError):
        return


class _Pool(Generic[Job, Result]):
    def __init__(self, work: Work[Job, Result], jobs: Sequence[Job], processes: int,
                 progress: Report, environment: Mapping[str, str], expected: Expected) -> None:
        self.work, self.progress = work, progress
        self.environment, self.expected = environment, expected
        self.left = deque(jobs)
        self.count = min(processes, len(jobs))
        self.busy: dict[Connection, tuple[BaseProcess, Job]] = {}

    def run(self) -> Iterator[Done[Job, Result]]:
        try:
            for _ in range(self.count):
                self._give(*self._start())
            while self.busy:
                for ready in wait(list(self.busy)):
                    connection = cast(Connection, ready)
                    done = self._hear(connection)
                    if done is not None:
                        yield done
        finally:
            for connection, (process, _) in self.busy.items():
                process.terminate()
                process.join()
                connection.close()

    def _start(self) -> tuple[Connection, BaseProcess]:
        # a fresh interpreter: forked threads of torch and OpenCV hang
        context = get_context('spawn')
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, daemon=True,
                                  args=(theirs, self.work, self.expected))
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()
        return ours, process

    def _give(self, connection: Connection, process: BaseProcess) -> None:
        job = self.left.popleft()
        self.busy[connection] = process, job
        connection.send(job)

    def _hear(self, connection: Connection) -> Done[Job, Result] | None:
        try:
            message = connection.recv()
        except (EOFError, ConnectionResetError):
            return self._died(connection)
        if isinstance(message, int):
            self.progress(message)
            return None
        process, _ = self.busy.pop(connection)
        if self.left:
            self._give(connection, process)
        else:
            connection.close()
            process.join()
        return cast('Done[Job, Result]', message)

    def _died(self, connection: Connection) -> Done[Job, Result]:
        process, job = self.busy.pop(connection)
        connection.close()
        process.join()
        code = process.exitcode or 0
        how = f'was killed by signal {-code}' if code < 0 else f'ended with status {code}'
        if self.left:
            self._give(*self._start())
        return Done(job, error=f'its process {how}')
