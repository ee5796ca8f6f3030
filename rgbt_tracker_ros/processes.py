"""Start the nodes as processes of their own, in a ROS domain of their own.

Nothing here needs ROS: whoever uses it stays free of rclpy.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
import errno
import fcntl
import json
import math
import os
from pathlib import Path
import queue
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from types import TracebackType
from typing import IO, Any

DOMAINS = range(1, 102)  # safe on every platform: their ports are below the ephemeral ones
PACKAGE = Path(__file__).resolve().parent
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE',  # read by Fast DDS 2, of Jazzy
                     'FASTDDS_DEFAULT_PROFILES_FILE')  # by Fast DDS 3, of Kilted
# by which users choose Fast DDS's transports; the last one means nothing beside a profile of ours
TRANSPORT_VARIABLES = (*PROFILE_VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS')


class ProcessError(RuntimeError):
    """A process that ended too early, didn't do its part (the text ends with its log), or has no
    place to run.
    """


@contextmanager
def free_domain() -> Iterator[int]:
    """Lend the number of a ROS domain that nobody on this machine uses.

    A lock keeps the borrowers apart, and a look at the domain's port the other ROS programs.

    :raises ProcessError: if none is free.
    """
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        path = Path(tempfile.gettempdir()) / f'rgbt_tracker_ros_domain_{domain}.lock'
        try:
            lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        except PermissionError:  # of another user
            continue
        try:
            if _lock(lock) and _port_is_free(7410 + 250 * domain):
                yield domain
                return
        finally:
            os.close(lock)
    raise ProcessError(f'none of the ROS domains {DOMAINS[0]} to {DOMAINS[-1]} is free; '
                       'end the programs that use them')


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _port_is_free(port: int) -> bool:
    """Whether the first process of a domain could have this port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(('', port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def shared_file(*parts: str) -> Path:
    """Return a file of this package's share folder, e.g. ('config', 'tracker.yaml').

    Found in the source tree, beside what pip installed, or where ROS finds packages.

    :raises FileNotFoundError: if it is in none of them.
    """
    prefixes = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    roots = [PACKAGE.parent] if (PACKAGE.parent / 'package.xml').exists() else []
    roots += [Path(p, 'share', PACKAGE.name) for p in (*prefixes, sys.prefix)]
    for root in roots:
        if root.joinpath(*parts).exists():
            return root.joinpath(*parts)
    raise FileNotFoundError(f'{"/".join(parts)} is not in {", ".join(map(str, roots))}; '
                            f'install {PACKAGE.name} again')


def shm_profile(folder: Path, processes: int, largest: float = math.inf) -> Path:
    """Return a Fast DDS profile with shared memory for images that fits into /dev/shm.

    It is config/fastdds_shm.xml, or a copy of it in `folder` with smaller segments: where one
    can't be had, Fast DDS turns to UDP, which loses images. Containers often have 64 MB in all.

    :param processes: how many will have a segment each.
    :param largest: bytes that a segment may have at most.
    """
    profile = shared_file('config', 'fastdds_shm.xml')
    text = profile.read_text(encoding='utf-8')
    pattern = r'<segment_size>(\d+)</segment_size>'
    found = re.search(pattern, text)
    assert found is not None, f'{profile} sets no segment_size'
    try:
        room = shutil.disk_usage('/dev/shm').free // (processes + 1)
    except FileNotFoundError:  # no Linux: Fast DDS keeps its segments elsewhere
        return profile
    size = int(min(room, largest))
    if size >= int(found[1]):
        return profile
    fitted = folder / profile.name
    fitted.write_text(re.sub(pattern, f'<segment_size>{max(size, 2**20)}</segment_size>', text),
                      encoding='utf-8')
    return fitted


def shm_variables(environment: Mapping[str, str], processes: int) -> dict[str, str]:
    """Return the variables that give Fast DDS shared memory for images; none where the user has
    chosen transports in this environment. See `shm_profile`.
    """
    if any(v in environment for v in TRANSPORT_VARIABLES):
        return {}
    folder = Path(tempfile.mkdtemp(prefix=f'{PACKAGE.name}_'))
    profile = shm_profile(folder, processes)
    if profile.parent != folder:    # the one that is installed will do
        folder.rmdir()
    return dict.fromkeys(PROFILE_VARIABLES, str(profile.resolve()))


def ros_environment(domain: int, profile: Path) -> dict[str, str]:
    """Return this process's environment for nodes on this machine alone, in that domain.

    :param profile: of Fast DDS; the transports that the user has chosen go first.
    """
    environment = dict(
        os.environ, ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
        PYTHONUNBUFFERED='1', RCUTILS_COLORIZED_OUTPUT='0')
    if not any(v in environment for v in TRANSPORT_VARIABLES):
        environment.update(dict.fromkeys(PROFILE_VARIABLES, str(profile.resolve())))
    return environment


class NodeProcess:
    """A module of nodes/ that runs as a process, its log in a file; ends with the `with`."""

    def __init__(self, module: str, log: Path, environment: dict[str, str],
                 parameters: Sequence[str] = (), *, pipe: bool = False) -> None:
        """Start it.

        :param module: e.g. 'tracker_node'.
        :param parameters: ROS parameters, 'name:=value'.
        :param pipe: give its standard output to `lines` instead of the log.
        """
        self.name = module
        self.log = log
        command = [sys.executable, '-m', f'{PACKAGE.name}.nodes.{module}']
        if parameters:
            command += ['--ros-args', *(a for p in parameters for a in ('-p', p))]
        with open(log, 'wb') as file:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stderr=file,
                stdout=subprocess.PIPE if pipe else file,
                start_new_session=True)  # ctrl-C is for the parent, which then ends its children

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

    @property
    def lines(self) -> IO[bytes]:
        """Its standard output."""
        assert self._process.stdout is not None, 'started without a pipe'
        return self._process.stdout

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    def require_running(self) -> None:
        """Check on it.

        :raises ProcessError: if it has ended.
        """
        if self.status is not None:
            raise ProcessError(f'{self.name} ended with status {self.status}\n{self.tail()}')

    def tail(self, count: int = 20) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(encoding='utf-8', errors='replace').splitlines()
        return '\n'.join([f'--- {self.log}', *lines[-count:]])

    def stop(self, patience: float = 5.0) -> None:
        """End it: politely first, by force after `patience` s."""
        if self.status is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class JsonLines:
    """The JSON lines that a process writes, read in a thread, and kept in a file."""

    def __init__(self, process: NodeProcess, copy: Path) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._read, args=(process.lines, copy), daemon=True)
        self._thread.start()

    @property
    def silent(self) -> float:
        """Seconds since the last pair or answer."""
        return time.monotonic() - self._heard

    @property
    def ended(self) -> bool:
        """Whether the process has closed its output, and all of it was taken."""
        return not self._thread.is_alive() and self._lines.empty()

    def take(self, timeout: float) -> Iterator[dict[str, Any]]:
        """Yield what has come; wait up to `timeout` s for the first."""
        try:
            line = self._lines.get(timeout=timeout)
            while True:
                record = json.loads(line)
                if record['kind'] in ('sent', 'pair', 'track'):
                    self._heard = time.monotonic()
                yield record
                line = self._lines.get_nowait()
        except queue.Empty:
            return

    def _read(self, lines: IO[bytes], copy: Path) -> None:
        with open(copy, 'wb') as file:
            for line in lines:
                file.write(line)
                self._lines.put(line)


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGTERM end the children too."""
    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
