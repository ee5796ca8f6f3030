"""Run arms in processes of one thread each, several at a time, and go on where it stopped."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from tqdm import tqdm

from rgbt_tracker_ros.claims.arms import ADAPT, ARMS, NOTHING, STEP_SECONDS, Arm
from rgbt_tracker_ros.claims.store import arm_folder, read_result

_MEASURING = 15.0  # seconds, about
_ADAPTING = 800.0
_POLL = 0.5
Job = tuple[str, int]
Launch = Callable[[Arm, int], 'subprocess.Popen[bytes]']


@dataclass(frozen=True)
class Plan:
    """Jobs in the order in which they are started, and what each of them takes, in seconds."""

    jobs: tuple[Job, ...]
    seconds: dict[Job, float]


def plan(arms: Iterable[str], seeds: Callable[[str], Iterable[int]],
         seconds: Callable[[Arm], float], table: dict[str, Arm] = ARMS) -> Plan:
    """Order the jobs of some arms, each with its `seeds`, and of all that they need.

    First what the required claims need, then the rest; recipe by recipe in the order of `arms`,
    so that an early end leaves recipes that can be judged.
    """
    arms = list(arms)
    wanted = with_needs(arms, table)
    recipes = [name.split('/')[0] for name in arms]
    place = {name: i for i, name in enumerate(table)}

    def order(job: Job) -> tuple[bool, int, int, int]:
        name, seed = job
        system = name.split('/')[0]
        at = recipes.index(system) if system in recipes else len(recipes)
        return not table[name].first, at, seed, place[name]

    jobs = sorted(((name, seed) for name in wanted for seed in seeds(name)), key=order)
    return Plan(tuple(jobs), {(n, s): seconds(table[n]) for n, s in jobs})


def with_needs(arms: Iterable[str], table: dict[str, Arm] = ARMS) -> set[str]:
    """Return arms with all those whose stages they take over."""
    wanted: set[str] = set()
    left = list(arms)
    while left:
        name = left.pop()
        if name not in wanted:
            wanted.add(name)
            left += table[name].needs
    return wanted


def left(plan: Plan, done: Callable[[Arm, int], bool], table: dict[str, Arm] = ARMS) -> list[Job]:
    """Return the jobs without a result that counts, and those that need one of them: it may come
    to other weights.
    """
    undone = {j for j in plan.jobs if not done(table[j[0]], j[1])}
    return [(name, seed) for name, seed in plan.jobs
            if any((n, seed) in undone for n in with_needs([name], table))]


def estimate(arm: Arm) -> float:
    """Return about how many seconds of one core an arm takes."""
    from rgbt_tracker_ros.claims.worker import arm_recipe
    if arm.recipe == ADAPT:
        return _ADAPTING
    seconds = _MEASURING
    if arm.stage != NOTHING:
        recipe = arm_recipe(arm)
        stages = list(recipe.stages)
        taken = {ARMS[n].stage for n in arm.needs}
        for name in stages[:stages.index(arm.stage) + 1]:
            if name not in taken:
                per_step = STEP_SECONDS.get(arm.recipe, {}).get(name, 0.25)
                seconds += recipe.stages[name].steps * per_step
    return seconds


def launcher(out: Path) -> Launch:
    """Return what starts the process of a job; what it says goes to log.txt in its folder."""
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1',
                                'OMP_WAIT_POLICY': 'PASSIVE', 'TQDM_MININTERVAL': '20'}

    def launch(arm: Arm, seed: int) -> subprocess.Popen[bytes]:
        folder = arm_folder(out, arm.name, seed)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / 'log.txt').open('ab') as log:
            # a group of its own: ctrl-C reaches it through us, once
            return subprocess.Popen(
                [sys.executable, '-m', 'rgbt_tracker_ros.claims.worker', arm.name, '--seed',
                 str(seed), '--out', str(out)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
                start_new_session=True)

    return launch


class Runner:
    """Brings all jobs of a plan to a result, `jobs` at a time.

    `done` tells whether a job has a result that still counts; `told` is called after each that
    has come to one.
    """

    def __init__(self, plan: Plan, out: Path, launch: Launch, done: Callable[[Arm, int], bool],
                 jobs: int = 1, table: dict[str, Arm] = ARMS,
                 told: Callable[[str, int, dict[str, float]], None] | None = None) -> None:
        self.plan, self.out, self.launch, self.done = plan, out, launch, done
        self.jobs, self.table, self.told = jobs, table, told
        self.failed: dict[Job, str] = {}

    def run(self) -> bool:
        """Run what has no result yet; True if every job has one at the end.

        Ctrl-C, or SIGTERM, stops the processes: each saves and ends, and KeyboardInterrupt is
        raised.
        """
        waiting = left(self.plan, self.done, self.table)
        finished = set(self.plan.jobs) - set(waiting)
        running: dict[Job, subprocess.Popen[bytes]] = {}
        total = sum(self.plan.seconds.values())
        bar = tqdm(total=round(total), unit='s', initial=round(total - sum(
            self.plan.seconds[j] for j in waiting)), desc='arms', bar_format=_BAR, miniters=0,
            mininterval=_POLL if sys.stderr.isatty() else 60.0)
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            while waiting or running:
                ready = [j for j in waiting if self._ready(j, finished)]
                for job in ready[:self.jobs - len(running)]:
                    waiting.remove(job)
                    running[job] = self.launch(self.table[job[0]], job[1])
                bar.set_postfix_str(', '.join(f'{n} {s}' for n, s in running), refresh=False)
                bar.update(0)
                for job in [j for j, p in running.items() if p.poll() is not None]:
                    self._end(job, running.pop(job).returncode, finished)
                    bar.update(round(self.plan.seconds[job]))
                waiting = [j for j in waiting if not self._hopeless(j)]
                if running:
                    time.sleep(_POLL)
                elif waiting and not any(self._ready(j, finished) for j in waiting):
                    raise AssertionError(f'arms that wait for one another: {waiting}')
        finally:
            signal.signal(signal.SIGTERM, before)
            bar.close()
            _stop(running.values())
        return not self.failed

    def _ready(self, job: Job, finished: set[Job]) -> bool:
        return all((need, job[1]) in finished for need in self.table[job[0]].needs)

    def _hopeless(self, job: Job) -> bool:
        broken = [n for n in self.table[job[0]].needs if (n, job[1]) in self.failed]
        if broken:
            self.failed[job] = f'needs {broken[0]}, which failed'
        return bool(broken)

    def _end(self, job: Job, status: int, finished: set[Job]) -> None:
        name, seed = job
        folder = arm_folder(self.out, name, seed)
        found = read_result(folder)
        if status == 0 and found is not None:
            finished.add(job)
            if self.told is not None:
                self.told(name, seed, found.metrics)
            return
        self.failed[job] = f'ended with status {status}: {_last_line(folder / "log.txt")}'
        tqdm.write(f'{name} seed {seed} failed: {self.failed[job]}')


_BAR = '{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left {postfix}'


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Have processes save and end; kill those that do not within a minute."""
    processes = list(processes)
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_line(log: Path) -> str:
    if not log.is_file():
        return 'it wrote nothing'
    text = log.read_bytes()[-4000:].decode(errors='replace').replace('\r', '\n')
    lines = [line for line in text.splitlines() if line.strip()]
    return f'{lines[-1].strip()} ({log})' if lines else f'it wrote nothing ({log})'
