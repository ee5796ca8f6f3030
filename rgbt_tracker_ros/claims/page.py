"""The page of claims: what was measured, with intervals, and whether it holds."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rgbt_tracker_ros.claims.arms import ARMS
from rgbt_tracker_ros.claims.judge import (
    FEWEST,
    Claim,
    Judged,
    Results,
    Verdict,
    arms_of,
    judge,
    overall,
)
from rgbt_tracker_ros.claims.plots import PLOTS, plot
from rgbt_tracker_ros.claims.seeds import told
from rgbt_tracker_ros.claims.table import CLAIMS, SYSTEMS

_TITLES = {
    'cmd_tir': 'cmd_tir: an RGB tracker teaches a thermal one, without labels',
    'mutual_prompt': 'mutual_prompt: two prompted streams teach a single one',
    'ckd': 'ckd: two students whose styles meet and whose contents stay',
    'cmd_rgbt': 'cmd_rgbt: a deep two-stream teacher, a shallow student',
    'shipped': 'shipped: one small student, taught by all four',
    'adapt': 'rgbt distill: the shipped student on other cameras, without labels',
    'cross': 'All four together'}
_ABOUT = f"""# What the recipes claim, measured

Written by `rgbt claims`; do not edit. Each claim of the four recipes of `rgbt train` is measured
at the tiny scale, on made-up scenes, on one CPU thread.

- **Paired**: arms that differ in one thing share the seed, and with it the first weights, the
  order of the samples and, where they have one, the teacher. A figure is computed for each seed;
  the table gives its mean and the 95 % interval of Student's t over the seeds.
- **Holds**: the interval's end on the bad side clears the bar. *Held on the mean only*: the mean
  does, the interval does not. Under {FEWEST} seeds nothing is judged. No figure is left out.
- **Fresh seeds**: the recipes were tuned with seed 0. Seeds that had been judged before a recipe
  was changed once more are no evidence for it: {told(SYSTEMS)} are judged. What the judge of D1
  goes by was changed after its seed 5 had been looked at: see there.
- **SR**: area under the curve of overlaps x 100, **PR**: share of the centres less than 4 px of
  64 away x 100, of one-shot localisation on 2,000 held-out pairs that no training draws. A quarter
  of them has a degraded RGB camera, a quarter a degraded thermal one; those of `cmd_tir`, which
  sees one modality, have none.
- In the plots a tick is the mean, a band the interval, a dot a seed.
- These are small networks from scratch on made-up scenes: they show whether a method does what
  it is said to do, not what it reaches on a benchmark. D1 is about the shipped student. SR and PR
  of S1 and D1 are those of online tracking, of made-up videos of 320 x 240 px: PR is the share of
  centres within 20 px.

All of it again, on two cores: `rgbt claims --seeds 3 --jobs 2`; the page alone from
[the results](claims/results.json): `rgbt claims --report-only`.
"""


def write_page(path: Path, results: Results) -> dict[str, Verdict]:
    """Write the page, and its plots into the folder of its name; return the verdicts.

    :raises ValueError: matplotlib is not installed. :raises OSError: it can't be written.
    """
    judged = {c.id: [judge(p, results) for p in c.parts] for c in CLAIMS.values()}
    verdicts = {name: overall(parts) for name, parts in judged.items()}
    lines = [_ABOUT, '| claim | | seeds | verdict |', '|---|---|---|---|']
    for claim in CLAIMS.values():
        lines.append(f'| [{claim.id}](#{_anchor(claim)}) | {claim.text} '
                     f'| {_seeds(judged[claim.id])} | {_shown(verdicts[claim.id])} |')
    for system in SYSTEMS:
        lines += ['', f'## {_TITLES[system]}', '']
        if system in PLOTS:
            picture = path.with_suffix('') / f'{system}.png'
            if plot(system, results, picture):
                lines += [f'![{_TITLES[system]}]({path.stem}/{picture.name})', '']
        for claim in CLAIMS.values():
            if claim.system == system:
                lines += _section(claim, judged[claim.id], verdicts[claim.id])
        lines += _commands(system)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part')
    part.write_text('\n'.join(lines) + '\n')
    part.replace(path)
    return verdicts


def _section(claim: Claim, parts: Sequence[Judged], verdict: Verdict) -> list[str]:
    lines = [f'### {claim.id}', '', f'{claim.text}: {_shown(verdict)}.', '',
             '| figure | bar | mean | 95 % interval | seeds | |', '|---|---|---|---|---|---|']
    for j in parts:
        lines.append(f'| {j.part.label} | {_bar(j)} | {_mean(j)} | {_limits(j)} '
                     f'| {len(j.interval.values) if j.interval else 0} | {_shown(j.verdict)} |')
    lines.append('')
    if claim.tried:
        lines += [claim.tried, '']
    return lines


def _bar(j: Judged) -> str:
    if j.part.bar is None:
        return ''
    sign = ('<' if j.part.at_most else '>') + '=' * (not j.part.strict)
    return f'{sign} {number(j.part.bar)} {j.part.unit}'.rstrip()


def _mean(j: Judged) -> str:
    return '' if j.interval is None else f'{number(j.interval.mean)} {j.part.unit}'.rstrip()


def _limits(j: Judged) -> str:
    i = j.interval
    if i is None or len(i.values) < 2:
        return ''
    return f'{number(i.low)} to {number(i.high)}'


def number(value: float) -> str:
    """Show a figure with three digits that count, two decimals at most."""
    if value and abs(value) < 0.1:
        return f'{value:.3f}'
    return f'{value:.2f}' if abs(value) < 100 else f'{value:.0f}'


def _shown(verdict: Verdict) -> str:
    bold = verdict in (Verdict.HOLDS, Verdict.NOT_HELD)
    return f'**{verdict.value}**' if bold else verdict.value


def _seeds(parts: Sequence[Judged]) -> str:
    counts = {len(j.interval.values) if j.interval else 0 for j in parts}
    return f'{min(counts)}' if len(counts) == 1 else f'{min(counts)} to {max(counts)}'


def _anchor(claim: Claim) -> str:
    return claim.id.lower().replace('.', '')


def _commands(system: str) -> list[str]:
    used = arms_of(c for c in CLAIMS.values() if c.system == system)
    own = [ARMS[n] for n in ARMS if n in used and n.startswith(f'{system}/') and ARMS[n].stage]
    if not own:
        return []
    return ['<details><summary>How each arm is trained</summary>', '', '```bash',
            '# all of them, measured and judged',
            f'rgbt claims --systems {system}',
            *(line for arm in own for line in (
                f'# {arm.name.split("/")[1]}: to stage {arm.stage}', arm.command)),
            '```', '', '</details>']
