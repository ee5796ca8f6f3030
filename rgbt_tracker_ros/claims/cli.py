"""`rgbt claims`: train, measure and judge what the recipes claim, and write it down.

Arms that differ in one thing are trained on the same seeds and compared seed by seed. Stopped, or
killed, the same command goes on where it was; results that still hold are not made again.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
import sys

from rgbt_tracker_ros.claims.judge import FEWEST, MOST, Claim, arms_of
from rgbt_tracker_ros.claims.table import CLAIMS, SYSTEMS

RESULTS = 'results.json'
STRUCTURE = 'cross/structure'
"""The arm that looks at the source: at once, and anew for every page."""


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    p = argparse.ArgumentParser(prog='rgbt claims', description=__doc__)
    p.add_argument('--systems', type=_systems, default=SYSTEMS, metavar='NAME,NAME',
                   help=f'whose claims, in the order in which they are run ({",".join(SYSTEMS)})')
    p.add_argument('--required', action='store_true',
                   help='only what the claims with a bar of this package need')
    p.add_argument('--seeds', type=_number(1, MOST), default=3,
                   help='seeds of each arm, from the first that is evidence for it on (3; 5 '
                   'where time allows)')
    p.add_argument('--jobs', type=_number(1, 1024), default=1,
                   help='arms that are trained at the same time, one CPU thread each (1)')
    p.add_argument('--out', type=Path, default=Path('runs/claims'),
                   help='folder of the trained arms (runs/claims)')
    p.add_argument('--page', type=Path, default=Path('docs/claims.md'),
                   help='the page to write; results and plots go into a folder of its name '
                   '(docs/claims.md)')
    p.add_argument('--report-only', action='store_true',
                   help='train nothing: write the page from the results that there are')
    return p


def _systems(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(','))
    for name in chosen:
        if name not in SYSTEMS:
            raise argparse.ArgumentTypeError(f'there is no {name!r}; there are '
                                             f'{", ".join(SYSTEMS)}')
    return chosen


def _number(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f'{text!r} is not a number from {low} to {high}')
        return int(text)
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns 1 where an arm failed, 2 for what the user can put right, 130
    after ctrl-C.
    """
    args = parser().parse_args(argv)
    status = 0
    try:
        if not args.report_only:
            try:
                status = 0 if _run(args) else 1
            except KeyboardInterrupt:
                print('stopped; the same command goes on from here', file=sys.stderr)
                status = 130
        _report(args)
    except (ValueError, OSError) as error:
        print(f'rgbt claims: {error}', file=sys.stderr)
        return 2
    return status


def chosen_claims(systems: Sequence[str], required: bool = False) -> list[Claim]:
    """Return the claims of some systems, in their order."""
    return [c for s in systems for c in CLAIMS.values()
            if c.system == s and (c.required or not required)]


def _run(args: argparse.Namespace) -> bool:
    from tqdm import tqdm

    from rgbt_tracker_ros.claims import runner, worker
    from rgbt_tracker_ros.claims.arms import ARMS, Arm
    from rgbt_tracker_ros.claims.seeds import seeds_of
    from rgbt_tracker_ros.claims.store import standing

    claims = chosen_claims(args.systems, args.required)
    used = arms_of(claims)
    if args.required:  # of a required claim, what is only reported can wait
        used = {a for a in used if ARMS[a].first}
    by_system = [a for s in args.systems for a in ARMS if a in used and a.startswith(f'{s}/')]
    arms = by_system + [a for a in ARMS if a in used and a not in by_system]
    plan = runner.plan(arms, lambda arm: seeds_of(arm, args.seeds), runner.estimate)

    def done(arm: Arm, seed: int) -> bool:
        key = worker.key_of(arm, worker.arm_recipe(arm), seed)
        return standing(args.out, arm.name, seed, key) is not None

    def told(arm: str, seed: int, metrics: dict[str, float]) -> None:
        tqdm.write(f'{arm} seed {seed}: ' + ', '.join(
            f'{k} {v:.4g}' for k, v in list(metrics.items())[:4]))

    work = sum(plan.seconds[j] for j in runner.left(plan, done))
    print(f'{len(plan.jobs)} arms for {len(claims)} claims, {work / 60:.0f} minutes of one core '
          f'left; results in {args.out}')
    return runner.Runner(plan, args.out, runner.launcher(args.out), done, args.jobs,
                         told=told).run()


def _report(args: argparse.Namespace) -> None:
    from rgbt_tracker_ros.claims import store, structure, worker
    from rgbt_tracker_ros.claims.arms import ARMS
    from rgbt_tracker_ros.claims.page import write_page
    from rgbt_tracker_ros.claims.seeds import seeds_of
    from rgbt_tracker_ros.data.sequence import shorten

    folder = args.page.with_suffix('')
    recipes = {name: worker.arm_recipe(arm) for name, arm in ARMS.items()}

    def key_of(arm: str, seed: int) -> str:
        return worker.key_of(ARMS[arm], recipes[arm], seed) if arm in ARMS else ''

    kept = store.merged(store.load_table(folder / RESULTS), store.collect(args.out, ARMS), key_of)
    source = structure.structure()      # as it is now, whatever the seed
    kept[STRUCTURE] = {seed: store.Result(source, key_of(STRUCTURE, seed))
                       for seed in seeds_of(STRUCTURE, FEWEST)}
    results, others = store.counting(kept, key_of)
    for why in dict.fromkeys(others.values()):
        names = [name for name, reason in others.items() if reason == why]
        print(f'left out, {why}: {shorten(tuple(names))}')
    store.save_table(folder / RESULTS, kept)  # what does not count now may count again
    verdicts = write_page(args.page, store.figures(results))
    for claim, verdict in verdicts.items():
        print(f'{claim:6} {verdict.value}')
    print(args.page)


if __name__ == '__main__':
    sys.exit(main())
