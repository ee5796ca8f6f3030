"""`rgbt claims`: statistics, verdicts, arms that are shared and resumed, the page."""
from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest
from recipe_kit import overrides, small, train
from safetensors import safe_open
from safetensors.torch import load_file, save_file
import torch

from rgbt_tracker_ros.claims import (
    cli,
    localise,
    online,
    probes,
    runner,
    speed,
    structure,
    worker,
)
from rgbt_tracker_ros.claims.arms import ARMS, NOTHING, PAPERS, Arm, Measure
from rgbt_tracker_ros.claims.judge import (
    Claim,
    Part,
    Verdict,
    arms_of,
    interval,
    judge,
    overall,
)
from rgbt_tracker_ros.claims.page import number, write_page
from rgbt_tracker_ros.claims.seeds import seeds_of, told
from rgbt_tracker_ros.claims.store import (
    Result,
    Table,
    arm_folder,
    collect,
    counting,
    digest,
    load_table,
    merged,
    save_table,
    standing,
)
from rgbt_tracker_ros.claims.table import CLAIMS, SYSTEMS, beyond, closed, diff
from rgbt_tracker_ros.data.suites import SUITES
from rgbt_tracker_ros.distillation.identity import stage_identity
from rgbt_tracker_ros.distillation.stages import Setting, check
from rgbt_tracker_ros.models.checkpoint import SHIPPED
from rgbt_tracker_ros.models.registry import build


@pytest.fixture
def fake_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    for arm in (TEACHER, SMALL):
        monkeypatch.setitem(ARMS, arm.name, arm)


# --- statistics -------------------------------------------------------------------------------


@pytest.mark.parametrize('values, mean, half', [
    ((1.0, 2.0, 3.0), 2.0, 4.3027 / 3 ** 0.5),                  # s = 1
    ((2.0, 4.0), 3.0, 12.7062),                                 # s = sqrt 2
    ((0.0, 0.0, 5.0, 5.0, 5.0), 3.0, 2.7764 * 7.5 ** 0.5 / 5 ** 0.5),
    ((7.0, 7.0, 7.0), 7.0, 0.0)])
def test_interval(values: tuple[float, ...], mean: float, half: float) -> None:
    found = interval(values)
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))


def test_interval_of_one_value_has_no_ends() -> None:
    found = interval([4.0])
    assert found.mean == 4 and np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize('count', [0, 32])
def test_interval_refuses(count: int) -> None:
    with pytest.raises(ValueError, match='can be judged'):
        interval([1.0] * count)


def table(*values: float, arm: str = 'x') -> dict[str, dict[int, dict[str, float]]]:
    return {arm: {seed: {'m': v} for seed, v in enumerate(values)}}


@pytest.mark.parametrize('values, bar, at_most, verdict', [
    ((1.0, 1.1, 0.9), 0.5, False, Verdict.HOLDS),
    ((1.0, 1.1, 0.9), 0.99, False, Verdict.ON_THE_MEAN),        # 1 +- 0.25
    ((1.0, 1.1, 0.9), 1.01, False, Verdict.NOT_HELD),
    ((1.0, 1.1, 0.9), 1.5, True, Verdict.HOLDS),
    ((1.0, 1.1, 0.9), 1.01, True, Verdict.ON_THE_MEAN),
    ((1.0, 1.1, 0.9), 0.5, True, Verdict.NOT_HELD),
    ((2.0, 2.0, 2.0), 2.0, False, Verdict.HOLDS),               # at the bar
    ((2.0, 2.0, 2.0), 2.0, True, Verdict.HOLDS),
    ((9.0, 9.0), 1.0, False, Verdict.OPEN),                     # too few seeds
    ((1.0, 2.0, 3.0), None, False, Verdict.REPORTED),
    ((), 1.0, False, Verdict.OPEN)])
def test_verdict(values: tuple[float, ...], bar: float | None, at_most: bool,
                 verdict: Verdict) -> None:
    part = Part('', lambda get: get('x', 'm'), bar, at_most)
    assert judge(part, table(*values)).verdict is verdict


@pytest.mark.parametrize('value, at_most, verdict', [
    (2.0, False, Verdict.NOT_HELD), (2.1, False, Verdict.HOLDS), (2.0, True, Verdict.NOT_HELD)])
def test_better_is_more_than_as_good(value: float, at_most: bool, verdict: Verdict) -> None:
    part = Part('', lambda get: get('x', 'm'), 2.0, at_most, strict=True)
    assert judge(part, table(*[value] * 3)).verdict is verdict


def test_differences_are_paired_by_seed() -> None:
    """Seeds differ by far more than the arms do; a seed that one arm lacks is left out."""
    results = table(10, 50, 90, 70, arm='a') | table(9, 49.1, 88.9, arm='b')
    found = judge(Part('', diff('a', 'b', 'm'), 0.5), results)
    assert found.interval is not None and len(found.interval.values) == 3
    assert found.interval.mean == pytest.approx(1.0) and found.verdict is Verdict.HOLDS


def test_gap_closed() -> None:
    values = {'arm': 45.0, 'low': 40.0, 'high': 60.0}
    assert closed('arm', 'low', 'high', 'm')(lambda arm, metric: values[arm]) == 25
    assert beyond('arm', 'low', 'high', 0.25, 'm')(lambda arm, metric: values[arm]) == 0


@pytest.mark.parametrize('arm, high, holds', [
    (37.0, 36.0, False),            # worse, and so is what it should come near to
    (35.0, 40.0, False), (41.0, 40.0, True), (45.0, 50.0, True), (43.0, 50.0, False)])
def test_a_gap_is_closed_by_what_is_gained(arm: float, high: float, holds: bool) -> None:
    values = {'arm': arm, 'low': 40.0, 'high': high}
    found = beyond('arm', 'low', 'high', 0.4, 'm')(lambda name, metric: values[name])
    assert (found >= 0) == holds


@pytest.mark.parametrize('bars, verdict', [
    ((0.0, 0.0), Verdict.HOLDS), ((0.0, 5.0), Verdict.NOT_HELD),
    ((0.0, None), Verdict.HOLDS), ((None, None), Verdict.REPORTED)])
def test_a_claim_is_as_good_as_its_worst_part(bars: tuple[float | None, ...],
                                              verdict: Verdict) -> None:
    parts = [judge(Part('', lambda get: get('x', 'm'), b), table(1, 1, 1)) for b in bars]
    assert overall(parts) is verdict


# --- the tables -------------------------------------------------------------------------------

def test_claims_and_arms_need_one_another() -> None:
    assert arms_of(CLAIMS.values()) == set(ARMS)


@pytest.mark.parametrize('number', ['1', '2', '3', '4'])
def test_what_must_be_judged_is_there(number: str) -> None:
    bars = {'1': '124', '2': '123', '3': '135', '4': '123'}[number]
    for digit in bars:
        claim = CLAIMS[f'B{number}.{digit}']
        assert claim.required and any(p.bar is not None for p in claim.parts)
        barred = Claim('', '', tuple(p for p in claim.parts if p.bar is not None))
        assert all(ARMS[a].first for a in arms_of([barred]))


@pytest.mark.parametrize('arm', ARMS.values(), ids=lambda a: a.name)
def test_arms_fit_their_recipes_and_share_stages(arm: Arm) -> None:
    recipe = worker.arm_recipe(arm)
    if arm.stage != NOTHING:
        assert arm.stage in recipe.stages
        check(recipe, Setting(1), torch.device('cpu'))
    for name in arm.needs:
        stage = ARMS[name].stage
        assert stage_identity(recipe, Setting(1), stage) == stage_identity(
            worker.arm_recipe(ARMS[name]), Setting(1), stage)
        assert ARMS[name].first or not arm.first


# --- one arm ----------------------------------------------------------------------------------

SMALL = Arm('fake/student', 'cmd_rgbt', 'student',
            (Measure('localise', 'student.student', 's_', {'count': 20}),
             Measure('cost', 'student.student')), ('fake/teacher',), tuple(overrides('cmd_rgbt')))
TEACHER = replace(SMALL, name='fake/teacher', stage='teacher', needs=(),
                  measures=(Measure('localise', 'teacher.teacher', options={'count': 20}),))


def test_arms_train_share_and_rest(tmp_path: Path, fake_arms: None,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    assert worker.run_arm(TEACHER, 1, tmp_path) and worker.run_arm(SMALL, 1, tmp_path)
    assert 'teacher: taken from' in capsys.readouterr().out
    results = collect(tmp_path, ['fake/student', 'fake/teacher', 'fake/none'])
    assert results['fake/teacher'].keys() == {1}
    found, parent = results['fake/student'][1], results['fake/teacher'][1]
    assert {'s_sr', 's_pr', 'parameters', 'macs', 'cpu_seconds'} <= found.metrics.keys()
    assert len(found.weights) == 16 and found.weights != parent.weights
    file = arm_folder(tmp_path, SMALL.name, 1) / 'result.json'
    written = file.stat().st_mtime_ns
    assert worker.run_arm(SMALL, 1, tmp_path) and file.stat().st_mtime_ns == written


@pytest.mark.parametrize('change', [
    {'sets': (*SMALL.sets, 'stages.student.terms.scfd.weight=0')},
    {'sets': (*SMALL.sets, 'stages.teacher.terms.task.weight=2')},
    {'measures': SMALL.measures[:1]}])
def test_another_description_is_another_result(change: dict[str, object]) -> None:
    other = replace(SMALL, **change)  # type: ignore[arg-type]
    keys = [worker.key_of(a, worker.arm_recipe(a), 1) for a in (SMALL, other)]
    assert keys[0] != keys[1]
    assert keys[0] != worker.key_of(SMALL, worker.arm_recipe(SMALL), 2)


def test_a_changed_recipe_is_trained_anew(tmp_path: Path) -> None:
    assert worker.run_arm(TEACHER, 1, tmp_path)
    other = replace(TEACHER, sets=(*TEACHER.sets, 'stages.teacher.optimizer.rate=0.01'))
    before = collect(tmp_path, [TEACHER.name])
    assert worker.run_arm(other, 1, tmp_path)
    run = arm_folder(tmp_path, TEACHER.name, 1) / 'run' / 'run.json'
    assert '0.01' in run.read_text() and collect(tmp_path, [TEACHER.name]) != before


# --- the runner -------------------------------------------------------------------------------

FAKES = {a.name: a for a in (
    Arm('f/late', 'f', 's', ()), Arm('f/child', 'f', 's', (), ('f/parent',), first=True),
    Arm('f/parent', 'f', 's', (), first=True), Arm('g/other', 'g', 's', (), first=True))}
WRITE = 'import json, pathlib, sys; p = pathlib.Path(sys.argv[1]); ' \
        'p.mkdir(parents=True, exist_ok=True); ' \
        '(p / "result.json").write_text(json.dumps({"key": "k", "weights": "", ' \
        '"parents": {}, "metrics": {"m": 1}}))'


class Fakes:
    """Starts processes that write a result, or fail, and keeps their order."""

    def __init__(self, out: Path, broken: str = '') -> None:
        self.out, self.broken, self.started = out, broken, list[tuple[str, int]]()

    def __call__(self, arm: Arm, seed: int) -> subprocess.Popen[bytes]:
        self.started.append((arm.name, seed))
        code = 'raise SystemExit(3)' if arm.name == self.broken else WRITE
        return subprocess.Popen([sys.executable, '-c', code,
                                 str(arm_folder(self.out, arm.name, seed))])


def run(out: Path, broken: str = '', jobs: int = 1) -> tuple[Fakes, runner.Runner, bool]:
    plan = runner.plan(['g/other', 'f/child', 'f/late'], lambda arm: seeds_of(arm, 2),
                       lambda arm: 10.0, FAKES)
    fakes = Fakes(out, broken)
    done = runner.Runner(plan, out, fakes, lambda arm, seed: (
        arm_folder(out, arm.name, seed) / 'result.json').is_file(), jobs, FAKES)
    return fakes, done, done.run()


def test_order_of_work(tmp_path: Path) -> None:
    """The first recipe that was asked for, then what others need, seed by seed; the rest last."""
    fakes, _, good = run(tmp_path)
    assert good
    assert [n for n, s in fakes.started if s == 1] == ['g/other', 'f/parent', 'f/child', 'f/late']
    assert fakes.started.index(('g/other', 2)) < fakes.started.index(('f/parent', 1))
    assert fakes.started.index(('f/child', 2)) < fakes.started.index(('f/late', 1))


def test_goes_on_where_it_stopped(tmp_path: Path) -> None:
    run(tmp_path)
    (arm_folder(tmp_path, 'f/child', 2) / 'result.json').unlink()
    fakes, _, good = run(tmp_path, jobs=3)
    assert good and fakes.started == [('f/child', 2)]


def test_a_failure_stops_only_what_needs_it(tmp_path: Path) -> None:
    fakes, ran, good = run(tmp_path, 'f/parent', jobs=2)
    assert not good and set(ran.failed) == {(n, s) for n in ('f/parent', 'f/child')
                                            for s in (1, 2)}
    assert 'needs f/parent' in ran.failed['f/child', 1]
    assert ('f/late', 2) in fakes.started and 'f/child' not in {n for n, _ in fakes.started}


def test_seeds_that_were_looked_at_are_not_planned_and_do_not_count() -> None:
    plan = runner.plan(['ckd/coupled', 'cmd_rgbt/alone'], lambda arm: seeds_of(arm, 2),
                       lambda arm: 10.0)
    assert {s for n, s in plan.jobs if n.startswith('ckd')} == {1, 2}
    assert {s for n, s in plan.jobs if n.startswith('cmd_rgbt')} == {4, 5}
    results, others = counting({'cmd_rgbt/teacher': {3: Result({}, 'k'), 4: Result({}, 'k')}},
                               lambda arm, seed: 'k')
    assert results['cmd_rgbt/teacher'].keys() == {4}
    assert others.keys() == {'cmd_rgbt/teacher 3'}
    assert '`ckd`' in told(SYSTEMS).split(';')[0] and 'from seed 4 on' in told(SYSTEMS)


# --- measurements -----------------------------------------------------------------------------

TINY = {'template_size': 32, 'search_size': 64, 'stride': 8, 'dim': 16, 'depth': 2, 'heads': 2,
        'drop_path': 0.0, 'head_widths': [8]}


def test_scores_by_condition() -> None:
    truth = np.array([[10.0, 10, 20, 20]] * 4)
    found = truth + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [4, 0, 0, 0], [100, 0, 0, 0]])
    out = localise.scores(found, truth, np.array([0, 0, 1, 2]), 4.0)
    assert out['pr'] == 50 and out['pr_clean'] == 100
    assert out['pr_rgb_degraded'] == out['pr_thermal_degraded'] == out['sr_thermal_degraded'] == 0
    assert out['sr_clean'] == pytest.approx(100 * 20 / 21)
    assert 0 < out['sr_rgb_degraded'] < out['sr_clean']     # 4 px is not less than 4 px


def test_localise_answers_and_repeats() -> None:
    torch.manual_seed(0)
    network = build('two_stream', **TINY)
    out = localise.localise(network, 'mixed', count=40)
    assert out == localise.localise(network, 'mixed', count=40)
    assert {'sr', 'pr', 'sr_clean', 'sr_rgb_degraded', 'pr_thermal_degraded'} <= out.keys()
    assert localise.localise(network, 'clean', count=40).keys() == {'sr', 'pr'}


def test_occluded_covers_the_same_share_of_both() -> None:
    batch = localise.pairs(build('two_stream', **TINY), count=200).source.batch(range(200))
    covered = localise.occluded(batch, 0.25)
    grey = [(covered[k] != batch[k]).any(1) for k in ('search_rgb', 'search_thermal')]
    patches = [g.view(200, 8, 8, 8, 8).any(4).any(2) for g in grey]
    assert patches[0].float().mean() == pytest.approx(0.25, abs=0.02)
    # a patch may have been grey before, in one of them
    assert (patches[0] == patches[1]).float().mean() > 0.99
    assert torch.equal(covered['template_rgb'], batch['template_rgb'])


def test_style_gap_is_free_of_scale() -> None:
    torch.manual_seed(0)
    network = build('two_stream', **TINY)

    class Scaled(torch.nn.Module):
        config = network.config

        def __init__(self, scale: float, shift: float) -> None:
            super().__init__()
            self.scale, self.shift = scale, shift

        def taps(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            x = batch['search_rgb'].float().flatten(2).transpose(1, 2)[:, :, :1] / 255
            return {'blocks.0.rgb': self.scale * x,
                    'blocks.0.thermal': self.scale * (x + self.shift)}

    gaps = [probes.style_gap(Scaled(*a), 200)['gap'] for a in ((1.0, 1.0), (9.0, 1.0), (1.0, 2.0),
                                                               (1.0, 0.0))]
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-3)
    assert gaps[2] == pytest.approx(4 * gaps[0], rel=1e-3) and gaps[3] < 1e-6


def test_content_and_probe_of_students() -> None:
    torch.manual_seed(0)
    network = build('coupled', **TINY)
    assert -1 <= probes.content_kept(network, 100)['content'] < 0.99    # type: ignore[arg-type]
    for name in ('rgb', 'thermal'):
        getattr(network, f'{name}_teacher').vit.load_state_dict(
            network.student.vits[name].state_dict())                    # type: ignore
    assert probes.content_kept(network, 100)['content'] > 0.999         # type: ignore[arg-type]
    found = probes.linear_probe(network, 300)
    assert found.keys() == {'probe.rgb', 'probe.thermal'}
    assert all(0 <= v <= 100 for v in found.values())


def test_ridge_finds_a_line() -> None:
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    y = x @ torch.tensor([2.0, 0.0, -1.0]) + 5
    assert torch.allclose(probes._ridge(x, y, x) + 5, y, atol=0.2)


def test_the_shipped_student_follows_made_up_videos() -> None:
    found = online.follow(SHIPPED, {'suite': 'plain', 'sequences': 2, 'frames': 8})
    assert found['pr'] == 100
    assert 70 < found['sr'] <= 100


def test_a_student_of_a_run_is_exported_and_followed(tmp_path: Path) -> None:
    recipe = small('shipped', 2)
    train(recipe, tmp_path)
    found = online.suites(recipe, tmp_path, 'student.student', 0, videos=1, frames=3)
    assert found.keys() == {'sr', 'pr'} | {f'{s}.{k}' for s in SUITES for k in ('sr', 'pr')}
    assert found['sr'] == pytest.approx(np.mean([found[f'{s}.sr'] for s in SUITES]))
    assert all(0 <= v <= 100 for v in found.values())


@pytest.mark.parametrize('paper', PAPERS)
def test_a_paper_alone_keeps_its_own_terms_and_the_labels(paper: str) -> None:
    terms = worker.arm_recipe(ARMS[f'shipped/{paper}']).stages['student'].terms
    assert {n for n, t in terms.items() if t.weight} == {'task', *PAPERS[paper]}


def test_cost_and_race() -> None:
    network = build('coupled', **TINY)
    assert speed.cost(network)['parameters'] == speed.cost(network.tracking_network())[
        'parameters']
    assert speed.race(network.tracking_network(), network.tracking_network(), 3).keys() == {
        'ratio', 'first_ms', 'second_ms'}


def test_structure_finds_names_and_copies(tmp_path: Path) -> None:
    recipes = tmp_path / 'distillation' / 'recipes'
    recipes.mkdir(parents=True)
    (recipes / 'ckd.yaml').touch()
    same = '\n'.join(f'a{i} = {i}' for i in range(8))
    for name, more in (('one', '"""Text of ckd."""\n'), ('two', 'name = "ckd"\nb = 1\n')):
        (tmp_path / 'distillation' / f'{name}.py').write_text(f'{more}{same}\n')
    found = structure.structure(tmp_path)
    assert found['naming'] == 1 and found['duplicated'] == pytest.approx(100 * 16 / 19)


# --- the page ---------------------------------------------------------------------------------

def some_results() -> dict[str, dict[int, dict[str, float]]]:
    """Results in which B4.2 and B4.3 hold, and B2.2 does not."""
    results = {'mutual_prompt/speed': {s + 3: {'ratio': 2.0 + s / 100} for s in (1, 2, 3)}}
    for arm, pr in (('teacher', 80.0), ('alone', 70.0), ('distilled', 75.0)):
        results[f'cmd_rgbt/{arm}'] = {
            s + 3: {'pr': pr + s + (0.6 * s if arm == 'distilled' else 0), 'sr': pr - 10 + s,
                'pr_rgb_degraded': pr} for s in (1, 2, 3)}
    return results


def test_page(tmp_path: Path) -> None:
    verdicts = write_page(tmp_path / 'claims.md', some_results())
    assert verdicts['B4.2'] is Verdict.HOLDS and verdicts['B2.2'] is Verdict.NOT_HELD
    assert verdicts['B4.3'] is Verdict.HOLDS and verdicts['B1.1'] is Verdict.OPEN
    text = (tmp_path / 'claims.md').read_text()
    assert '| PR: distilled - alone | >= 2.00 points | 6.20 points | 4.71 to 7.69 | 3 |' in text
    assert '1.9 times' in text and '![cmd_rgbt' in text
    assert (tmp_path / 'claims' / 'cmd_rgbt.png').stat().st_size > 1000
    assert not (tmp_path / 'claims' / 'ckd.png').exists()   # nothing to show
    assert all(f'### {claim}\n' in text for claim in CLAIMS)


def test_the_page_is_made_again_from_its_results(tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    page, out = tmp_path / 'claims.md', tmp_path / 'runs'
    save_table(tmp_path / 'claims' / cli.RESULTS, {arm: {s: Result(m, key_now(arm, s)) for s, m in
                                                         seeds.items()}
                                                   for arm, seeds in some_results().items()})
    args = ['--report-only', '--page', str(page), '--out', str(out)]
    assert cli.main(args) == 0 and 'B4.2   holds' in capsys.readouterr().out
    first = page.read_text()
    assert cli.main(args) == 0 and page.read_text() == first
    folder = arm_folder(out, 'cmd_rgbt/alone', 7)       # what was trained since then counts, too
    folder.mkdir(parents=True)
    late = Result({'pr': 1.0}, key_now('cmd_rgbt/alone', 7))
    (folder / 'result.json').write_text(json.dumps(late.as_dict()))
    assert cli.main(args) == 0
    kept = load_table(tmp_path / 'claims' / cli.RESULTS)
    assert kept['cmd_rgbt/alone'][7] == late
    assert kept['cross/structure'][1].metrics.keys() == {'naming', 'duplicated'}
    other = replace(late, key='older')      # a folder of before: what still holds stays
    (folder / 'result.json').write_text(json.dumps(other.as_dict()))
    assert cli.main(args) == 0
    assert load_table(tmp_path / 'claims' / cli.RESULTS)['cmd_rgbt/alone'][7] == late
    (folder.parent / 'seed8').mkdir()
    (folder.parent / 'seed8' / 'result.json').write_text(json.dumps(other.as_dict()))
    assert cli.main(args) == 0
    assert load_table(tmp_path / 'claims' / cli.RESULTS)['cmd_rgbt/alone'][8] == other
    said = capsys.readouterr().out
    assert 'left out, of another recipe, or measured in another way: cmd_rgbt/alone 8\n' in said
    (tmp_path / 'claims' / cli.RESULTS).write_text('[1')
    assert cli.main(args) == 2 and "can't be read" in capsys.readouterr().err


def key_now(arm: str, seed: int) -> str:
    return worker.key_of(ARMS[arm], worker.arm_recipe(ARMS[arm]), seed)


def test_only_arms_of_the_same_parent_are_compared() -> None:
    """A teacher that was trained again, on another processor, has none of its old students."""
    old, new = (Result({}, 'k', weights) for weights in ('old', 'new'))
    child = Result({}, 'k', 'c', {'a/teacher': 'old'})
    results, others = counting({'a/teacher': {1: old, 2: new}, 'a/student': {
        1: child, 2: child, 3: child}, 'gone': {1: old}}, lambda arm, seed: 'k' * (arm != 'gone'))
    assert results == {'a/teacher': {1: old, 2: new}, 'a/student': {1: child}}
    assert others == {'gone 1': 'of another recipe, or measured in another way', **{
        f'a/student {s}': 'trained from another a/teacher' for s in (2, 3)}}


def test_what_was_found_replaces_what_was_kept_only_by_what_holds_as_well() -> None:
    def some(parent: str, *children: str) -> Table:
        return {'a/teacher': {1: Result({}, 'k', parent)}} | {
            f'a/{c}': {1: Result({}, 'k', c + parent, {'a/teacher': parent})} for c in children}

    def key(arm: str, seed: int) -> str:
        return 'k'

    kept = some('old', 'b', 'c')
    assert merged(kept, some('new', 'b'), key) == kept      # else c would count no more
    assert merged(kept, some('new', 'b', 'c'), key) == some('new', 'b', 'c')
    assert merged(kept, some('new'), key) == kept
    assert merged(kept, some('old', 'd'), key) == kept | some('old', 'd')
    stale: Table = {'a/teacher': {1: Result({}, 'older', 'new')}, 'a/e': {1: Result({}, 'older')}}
    assert merged(kept, stale, key) == kept | {'a/e': stale['a/e']}
    assert merged(stale, kept, key) == kept | {'a/e': stale['a/e']}


def test_what_goes_back_to_another_parent_is_trained_anew(tmp_path: Path,
                                                          fake_arms: None) -> None:
    assert worker.run_arm(TEACHER, 1, tmp_path) and worker.run_arm(SMALL, 1, tmp_path)
    key = worker.key_of(SMALL, worker.arm_recipe(SMALL), 1)
    first = standing(tmp_path, SMALL.name, 1, key)
    assert first is not None
    file = arm_folder(tmp_path, TEACHER.name, 1) / 'result.json'
    held = file.read_text()
    file.write_text(held.replace(first.parents[TEACHER.name], 'f' * 16))
    assert standing(tmp_path, SMALL.name, 1, key) is None
    # another teacher indeed: its network is moved a little
    network = arm_folder(tmp_path, TEACHER.name, 1) / 'run' / 'teacher' / 'teacher.safetensors'
    tensors = load_file(network)
    name = next(n for n, t in tensors.items() if t.is_floating_point())
    tensors[name] += 0.01
    with safe_open(network, 'pt') as opened:
        save_file(tensors, network, opened.metadata())
    weights = digest(network.parent)
    file.write_text(held.replace(first.parents[TEACHER.name], weights))
    assert worker.run_arm(SMALL, 1, tmp_path)
    second = standing(tmp_path, SMALL.name, 1, key)
    assert second is not None and second.parents == {TEACHER.name: weights}
    assert second.weights != first.weights


def test_jobs_that_need_one_that_is_to_be_done_are_to_be_done() -> None:
    plan = runner.plan(['f/child', 'f/late'], lambda arm: (1, 2), lambda arm: 1.0, FAKES)
    left = runner.left(plan, lambda arm, seed: (arm.name, seed) != ('f/parent', 2), FAKES)
    assert set(left) == {('f/parent', 2), ('f/child', 2)}


def test_what_was_adapted_of_another_student_goes(tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    arm = ARMS['adapt/distilled']
    monkeypatch.setattr(worker, 'measure', lambda *_: {'m': 1.0})
    assert worker.run_arm(arm, 4, tmp_path)
    run = arm_folder(tmp_path, arm.name, 4) / 'run'
    run.mkdir()
    monkeypatch.setattr(worker, 'REVISIONS', {'adaptation': 99})    # measured in another way
    assert worker.run_arm(arm, 4, tmp_path) and run.is_dir()
    monkeypatch.setattr(worker.checkpoint, 'sha256_of', lambda path: 'another')
    assert worker.run_arm(arm, 4, tmp_path) and not run.is_dir()


@pytest.mark.parametrize('text', ['', '{', '[]', '{"metrics": 3}', '{"metrics": {"a": "b"}}',
                                  '{"metrics": {}, "key": "", "weights": "", "parents": 3}'])
def test_a_torn_result_is_none(tmp_path: Path, text: str) -> None:
    folder = arm_folder(tmp_path, 'f/late', 1)
    folder.mkdir(parents=True)
    (folder / 'result.json').write_text(text)
    assert collect(tmp_path, ['f/late']) == {}


@pytest.mark.parametrize('args, problem', [
    (['--systems', 'ckd,nothing'], 'nothing'), (['--seeds', '0'], 'from 1'),
    (['--jobs', 'x'], 'not a number')])
def test_bad_options(args: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(args)
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize('value, text', [(0.0, '0.00'), (0.0123, '0.012'), (-12.345, '-12.35'),
                                         (123.4, '123')])
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
