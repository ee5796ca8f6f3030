"""`rgbt demo`: play the shipped clip to the tracker node over ROS 2, and measure what comes back.

Three processes in a ROS domain of their own: the cameras (player_node), the tracker
(tracker_node) and its user (demo_client). The clip is played once: forwards, as its ground truth
is, and without a loop, at which the target would jump. Pictures are drawn when all is over, so
that the tracker has the processor to itself.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
import sys
import time

from tqdm import tqdm

from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
from rgbt_tracker_ros.data.sinks import SinkError
from rgbt_tracker_ros.demo_report import ANSWER_SHARE, Results, save_pictures
from rgbt_tracker_ros.processes import (
    JsonLines,
    NodeProcess,
    ProcessError,
    free_domain,
    ros_environment,
    shm_profile,
    terminable,
)

START_PATIENCE = 120.0  # s until the tracker is up: loading torch from a slow disk takes long
SILENCE = 2.0  # s without an answer after the last pair: none will come
PLAY_PATIENCE = 60.0  # s for a clip of a few seconds


class DemoError(RuntimeError):
    """The demo can't go on, or didn't reach its bar; the text says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if all went well and enough pairs were answered, else 1."""
    options = _parse(argv)
    output: Path = options.output
    try:
        output.mkdir(parents=True, exist_ok=True)
        with terminable():
            results = run(output, options.device, options.model, options.fault)
        results.save(output / 'demo.json')
        save_pictures(results, output)
    except (DemoError, ProcessError, OSError, SinkError) as error:
        print(f'rgbt demo: {error}', file=sys.stderr)
        return 1
    print(results.table())
    print(f'in {output}/: overlay.mp4, strip.png, demo.json, what was heard (records.jsonl), logs')
    if results.answered_share < ANSWER_SHARE and not options.fault:
        print(f'rgbt demo: {results.pairs_answered} of {results.pairs_sent} pairs answered; '
              f'{ANSWER_SHARE:.0%} are needed', file=sys.stderr)
        return 1
    return 0


def run(output: Path, device: str = 'auto', model: str = '',
        fault: Sequence[str] = ()) -> Results:
    """Play the clip once and return what came back; logs go to `output`.

    :param fault: (kind, stream) of a failure of a camera, from 0.7 s on, for 3 s.
    :raises DemoError: the tracker does not start, or refuses the target.
    :raises ProcessError: a process ended too early.
    """
    tracker_parameters = [f'device:={device}', *([f'model:={model}'] if model else [])]
    # a second more, for them to have found the player in turn
    player_parameters = ['wait_for_subscribers:=all', 'start_delay:=1.0']
    if fault:
        player_parameters += [f'fault:={fault[0]}', f'fault_stream:={fault[1]}',
                              'fault_start:=0.7', 'fault_duration:=3.0']
    results = Results(frames=len(read_boxes(SMOKE.groundtruth)))
    with ExitStack() as stack:
        domain = stack.enter_context(free_domain())
        environment = ros_environment(domain, shm_profile(output, processes=3))

        def start(module: str, parameters: Sequence[str] = (), pipe: bool = False) -> NodeProcess:
            log = output / f'{module}.log'
            return stack.enter_context(
                NodeProcess(module, log, environment, parameters, pipe=pipe))

        print('starting rgbt_tracker ...', flush=True)
        tracker = start('tracker_node', tracker_parameters)
        client = start('demo_client', pipe=True)
        records = JsonLines(client, output / 'records.jsonl')
        _until(lambda: results.ready, START_PATIENCE, records, results, (tracker, client),
               'rgbt_tracker did not come up')
        print(f'rgbt_tracker runs on {results.device}: {results.model}', flush=True)
        player = start('player_node', player_parameters)
        with tqdm(total=results.frames, unit='pair', desc='answered') as bar:
            def over() -> bool:
                if results.pairs_answered > bar.n:
                    bar.update(results.pairs_answered - bar.n)
                if player.status not in (None, 0):
                    player.require_running()
                return player.status == 0 and (
                    results.pairs_answered >= results.pairs_sent or records.silent > SILENCE)
            _until(over, PLAY_PATIENCE, records, results, (tracker, client),
                   'the clip did not come to its end')
        if results.pairs_sent < results.frames:
            raise DemoError(f'{results.pairs_sent} of {results.frames} pairs were sent\n'
                            f'{player.tail()}')
        if not results.tracks:
            raise DemoError(f'rgbt_tracker answered none of {results.pairs_sent} pairs\n'
                            f'{tracker.tail()}')
    return results


def _until(done: Callable[[], bool], patience: float, records: JsonLines, results: Results,
           processes: Sequence[NodeProcess], complaint: str) -> None:
    """Take records until `done`.

    :raises DemoError: after `patience` s, or when the tracker can't load or refuses the target.
    :raises ProcessError: when a process ends.
    """
    deadline = time.monotonic() + patience
    while not done():
        for record in records.take(timeout=0.05):
            results.add(record)
        if results.failure:
            raise DemoError(results.failure)
        for process in processes:
            process.require_running()
        if time.monotonic() > deadline:
            logs = '\n'.join(p.tail() for p in processes)
            raise DemoError(f'{complaint} within {patience:.0f} s\n{logs}')


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='rgbt demo', description=(
        'Play a clip to the tracker node over ROS 2, measure its answers, draw them.'))
    parser.add_argument('--output', type=Path, default=Path('demo'), metavar='DIR',
                        help='folder for pictures, numbers and logs (default: demo)')
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda:N (default: auto)')
    parser.add_argument('--model', default='', metavar='FILE',
                        help='weights (default: the ones that come with the package)')
    parser.add_argument('--fault', nargs=2, default=(), metavar=('KIND', 'STREAM'),
                        help='let a camera fail for 3 s: stop, freeze or late; rgb or thermal')
    return parser.parse_args(argv)


if __name__ == '__main__':
    sys.exit(main())
