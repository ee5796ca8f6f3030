"""The steps of the loop, each of which keeps what it has found, so that none is done twice.

A folder holds all: loop.json (what was done), cameras/ (the clip as the new cameras show it),
recording/, student.safetensors and student.work/ (of `rgbt distill`), answers/, logs/, loop.png.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
import fcntl
import json
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

from tqdm import tqdm

from rgbt_tracker_ros.command_line import CommandError
from rgbt_tracker_ros.data.sequence import LayoutError
from rgbt_tracker_ros.data.sinks import write_json
from rgbt_tracker_ros.loop.cameras import Plan, Take
from rgbt_tracker_ros.loop.robot import SEGMENTS, LoopError, Recorded, Robot
from rgbt_tracker_ros.loop.scores import AFTER, BEFORE, Moment, evaluate
from rgbt_tracker_ros.runtime.cores import usable_cores

STEPS = ('record', 'distil', 'deploy', 'evaluate', 'draw')
FEW = 500       # pairs to follow: other processes take longer to start than to do so few
STOP_PATIENCE = 120.0   # s that a training has to save itself


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold a loop's folder: a second one would take what the first records for leftovers.

    :raises CommandError: another process holds it. :raises OSError: it can't be made.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / '.loop.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(f'another rgbt loop works in {out}; wait for it, or name another '
                               '--out') from error
        yield


class Loop:
    """One loop in a folder. `found`: what loop.json holds.

    :param steps: of the training, None for the recipe's. :param overrides: further arguments of
        `rgbt distill`.
    """

    def __init__(self, out: Path, plan: Plan, robot: Robot, steps: int | None = None,
                 overrides: Sequence[str] = ()) -> None:
        """Open or make the folder.

        :raises CommandError: it holds another loop, or recordings that are of none. :raises
            OSError: it can't be made.
        """
        self.out, self.plan, self.robot = out, plan, robot
        self._distill = [*(['--steps', str(steps)] if steps else []), *overrides]
        self._file = out / 'loop.json'
        asked = {k: v for k, v in asdict(plan).items() if k != 'folder'}
        out.mkdir(parents=True, exist_ok=True)
        read = self._read()
        recording = out / 'recording'
        if read is None and recording.is_dir() and any(recording.iterdir()):
            raise CommandError(f'{recording} is not empty, and no loop has made it ({self._file} '
                               'is missing); name another --out')
        self.found: dict[str, Any] = read or {'plan': asked}
        if self.found.get('plan') != asked:
            raise CommandError(f'{out} holds a loop with other settings ({self.found.get("plan")}'
                               f', not {asked}); name another --out, or delete it')

    def _read(self) -> Any:
        try:
            return json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise CommandError(f'{self._file} is damaged ({error}); delete {self.out} to start '
                               'again') from error

    def _keep(self) -> None:
        write_json(self._file, self.found)

    def record(self) -> str:
        """Play what is not recorded yet; return a line on all."""
        kept: dict[str, Any] = self.found.setdefault('recording', {})
        folder, takes = self.out / 'recording', list(self.plan.takes())
        missing = [t for t in takes if t.name not in kept]
        if missing:
            self.plan.write_clip()
            self._keep()        # from here on what is recorded is known for the loop's own
            _remove_others(folder, {k['segment'] for k in kept.values()})
            with tqdm(total=sum(t.pairs for t in takes), unit='pair', desc='recording',
                      initial=sum(t.pairs for t in takes if t.name in kept),
                      smoothing=0, disable=None) as bar:
                self._record(missing, folder, kept, bar)
        total = self.recorded
        if not total.recorded:
            raise LoopError(f'none of {total.sent} pairs was recorded')
        return (f'{total.recorded} of {total.sent} pairs in {len(kept)} segments, '
                f'{total.sent - total.recorded} lost; the tracker answered {total.answered}')

    def _record(self, takes: list[Take], folder: Path, kept: dict[str, Any], bar: tqdm[Any]
                ) -> None:
        def report(count: int) -> None:
            bar.update(count)

        with closing(self.robot.record(takes, folder, report)) as recording:
            for take, recorded in recording:
                if recorded.sent != take.pairs:
                    raise LoopError(f'{recorded.sent} of {take.pairs} pairs of {take.name} were '
                                    'sent')
                kept[take.name] = asdict(recorded)
                self._keep()

    @property
    def recorded(self) -> Recorded:
        """All takes together."""
        kept = self.found['recording'].values()
        return Recorded('', *(sum(k[n] for k in kept) for n in ('sent', 'recorded', 'answered')))

    @property
    def student(self) -> Path:
        """The student that is handed over."""
        return self.out / 'student.safetensors'

    @property
    def _refused(self) -> Path:
        """The student that is not handed over."""
        return self.out / 'student.work' / 'blend_1.safetensors'

    def distil(self) -> str:
        """Train the new student, or go on with it; return a line on it."""
        from rgbt_tracker_ros.models.checkpoint import sha256_of
        done: dict[str, Any] = self.found.setdefault('distil', {'seconds': 0.0})
        there = self._refused.is_file() if done.get('accepted') is False else (
            self.student.is_file() and done.get('sha256') == sha256_of(self.student))
        if done.get('arguments') != self._distill or not there:
            verdict = self.out / 'student.work' / 'verdict.json'
            verdict.unlink(missing_ok=True)
            began = time.monotonic()
            try:
                status = self._run_distill()
            finally:
                done['seconds'] += time.monotonic() - began
                self._keep()
            if status not in (0, 1) or not verdict.is_file():
                raise LoopError(f'rgbt distill ended with status {status}: see above')
            done['share'] = json.loads(verdict.read_bytes())['share']
            done |= {'accepted': status == 0, 'arguments': self._distill}
            done['sha256'] = sha256_of(self.student) if status == 0 else ''
            self._keep()
        minutes = f'{done["seconds"] / 60:.1f} minutes'
        return (f'a new student after {minutes}' if done['accepted'] else
                f'refused after {minutes}: the old student stays')

    def _run_distill(self) -> int:
        command = [sys.executable, '-m', 'rgbt_tracker_ros.cli', 'distill', '--from',
                   str(self.out / 'recording'), '--out', str(self.student), '--work',
                   str(self.out / 'student.work'), '--seed', str(self.plan.seed), *self._distill]
        # in a session of its own: ctrl-C is for the loop, which hands it on, once
        # a shell starts what runs in its background with SIGINT ignored, and that is inherited
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True,
                                 preexec_fn=_interruptible)
        try:
            return child.wait()
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
                try:
                    child.wait(STOP_PATIENCE)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()

    def deploy(self) -> str:
        """Hand the new student to the running node; return a line on it."""
        done = self.found['distil']
        if not done['accepted']:
            self.found.pop('deploy', None)
            return 'nothing: the old student stays'
        before = self.found.get('deploy', {})
        if before.get('sha256') != done['sha256'] or not before['success']:
            deployed = self.robot.deploy(self.student, next(self.plan.takes()))
            self.found['deploy'] = asdict(deployed) | {'sha256': done['sha256']}
            self._keep()
        kept = self.found['deploy']
        return (f'{kept["message"]}; {kept["lost"]} of {kept["pairs"]} pairs lost meanwhile '
                f'({kept["lost_before"]} of {kept["pairs_before"]} before)')

    def evaluate(self) -> tuple[str, Moment | None]:
        """Score both students; return lines, and a moment to show."""
        from rgbt_tracker_ros.models.checkpoint import SHIPPED
        new = self.student if self.found['distil']['accepted'] else self._refused
        few = self.plan.tests * self.plan.length < FEW
        processes = 1 if few else min(4, usable_cores())
        scores, moment = evaluate(self.plan, {BEFORE: SHIPPED, AFTER: new}, self.out / 'answers',
                                  processes)
        self.found['evaluation'] = [asdict(s) for s in scores]
        self._keep()
        from rgbt_tracker_ros.loop.report import table
        return table(scores), moment

    def draw(self, moment: Moment | None) -> str:
        """Draw it all; return where."""
        from rgbt_tracker_ros.loop.report import draw
        picture = self.out / 'loop.png'
        draw(picture, self.found, self.recorded, moment)
        return f'{picture}; figures in {self._file}'


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _remove_others(folder: Path, segments: set[str]) -> None:
    """Remove what is left of a sequence whose recording was cut off; what is of another recording
    by its manifest, or of none, stays.
    """
    from rgbt_tracker_ros.data.segments import find_segments, is_segment, read_manifest
    for name, path in find_segments(folder).items() if folder.is_dir() else ():
        if name in segments or not is_segment(path):
            continue
        try:
            ours = read_manifest(path).get('recording') == SEGMENTS
        except LayoutError:
            ours = False
        if ours:
            shutil.rmtree(path)
