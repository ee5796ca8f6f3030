"""`rgbt export`: every recipe's student tracks; what is unfinished or broken is refused."""
from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path
import re
import shutil

import cv2
import numpy as np
import pytest
from recipe_kit import SIZES, small, train
from safetensors import safe_open
from safetensors.torch import load_file, save_file
import torch
from transformer_kit import batch_of, track

from rgbt_tracker_ros import cli
from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
from rgbt_tracker_ros.data.sources import PairSource, open_source
from rgbt_tracker_ros.distillation.export import ExportError, commit, compare
from rgbt_tracker_ros.distillation.identity import run_record, stage_identity
from rgbt_tracker_ros.distillation.stages import Setting
from rgbt_tracker_ros.models import checkpoint, registry
from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.nodes.loading import load_tracker
from rgbt_tracker_ros.nodes.parameters import Parameters
from rgbt_tracker_ros.runtime.eager import EagerStudent
from rgbt_tracker_ros.types import Box, Pair

FRAMES = 5
STUDENTS = {'student': 'student', 'shipped': 'student', 'ckd': 'two_stream',
            'mutual_prompt': 'one_stream', 'cmd_rgbt': 'siamese', 'cmd_tir': 'dimp'}


def make_run(folder: Path, name: str, seed: int = 3) -> Path:
    """Leave what `rgbt train` leaves, with random weights."""
    recipe, setting = small(name), Setting(seed)
    folder.mkdir(parents=True)
    (folder / 'run.json').write_text(json.dumps(run_record(recipe, setting)))
    for i, (stage, one) in enumerate(recipe.stages.items()):
        for key, spec in one.networks.items():
            if not spec.learns:
                continue
            torch.manual_seed(seed + i)
            network = registry.build(spec.type, **spec.config)
            for module in network.modules():  # norms that do something
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 1.5)
            checkpoint.save(network, folder / stage / f'{key}.safetensors', stage=stage)
        (folder / stage / 'stage.json').write_text(json.dumps(
            {'identity': stage_identity(recipe, setting, stage)}))
    return folder


def export(run: Path, out: Path, *options: str) -> int:
    return cli.main(['export', str(run), '--out', str(out), '--samples', '8', *options])


@dataclass
class Exported:
    name: str
    run: Path
    file: Path

    def trained(self) -> Network:
        at = small(self.name).result
        return checkpoint.load(self.run / at.stage / f'{at.network}.safetensors')[0]


@pytest.fixture(scope='module', autouse=True)
def same_commit():
    """The commit may change while tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('rgbt_tracker_ros.distillation.export.commit', lambda: 'c0ffee')
        yield


@pytest.fixture(scope='module', params=SIZES)
def exported(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    run = make_run(folder / 'run', request.param)
    assert export(run, folder / 'out' / 's.safetensors') == 0
    return Exported(request.param, run, folder / 'out' / 's.safetensors')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp('ckd') / 'run', 'ckd')


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """Write the first frames of the shipped clip as images; return their two folders."""
    folder = tmp_path_factory.mktemp('clip')
    pairs = PairSource(open_source(str(SMOKE.rgb)), open_source(str(SMOKE.thermal)), 30).pairs(0)
    for name in ('rgb', 'thermal'):
        (folder / name).mkdir()
    for i, pair in zip(range(FRAMES), pairs, strict=False):
        cv2.imwrite(str(folder / 'rgb' / f'{i:03}.png'), pair.rgb[..., ::-1])
        cv2.imwrite(str(folder / 'thermal' / f'{i:03}.png'), pair.thermal)
    return folder


def inputs(network):
    return batch_of([1, 2], network.config.template_size, network.config.search_size)


@torch.no_grad()
def test_what_is_exported_is_the_student_and_answers_like_the_training_graph(exported):
    """P14; the box of a Coupled's loss comes from its students, so do those of the file."""
    network, info = checkpoint.load(exported.file)
    trained = exported.trained()
    assert registry.name_of(network) == STUDENTS[exported.name]
    assert not [k for k in network.state_dict() if 'teacher' in k or 'adapter' in k]
    batch = inputs(network)
    ours, theirs = track(network, batch), track(trained, batch)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
    if exported.name != 'cmd_tir':  # DiMP learns its tracking filter from more views
        torch.testing.assert_close(ours.logits, trained.taps(batch)['score'])
    assert info['recipe'] == exported.name and info['scale'] == 'tiny' and info['seed'] == 3
    assert info['parameters'] == sum(p.numel() for p in network.parameters())
    assert info['macs'] > 0 and info['held_out']['samples'] == 8


def test_the_runtime_folds_batch_norms_away_and_answers_the_same(exported):
    network = checkpoint.load(exported.file)[0]
    runtime = EagerStudent(exported.file, 'cpu', precision='float32')
    assert not [m for m in runtime._network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    rng, c = np.random.default_rng(0), network.config
    crops = [(rng.integers(0, 256, (n, n, 3), np.uint8), rng.integers(0, 256, (n, n), np.uint8))
             for n in (c.template_size, c.search_size)]
    box = Box(*([c.template_size / 4] * 2), *([c.template_size / 2] * 2))
    template = runtime.encode(*crops[0], box)
    response = runtime.search(template, *crops[1])
    tensors = [[torch.from_numpy(a.transpose(2, 0, 1))[None], torch.from_numpy(b)[None, None],
                torch.ones(1, 2)] for a, b in crops]
    with torch.no_grad():
        kept = network.encode_template(*tensors[0], torch.tensor([box.as_tuple()]))
        out = network(kept, *tensors[1])
    assert response.logits == pytest.approx(out.logits[0, 0].numpy(), abs=1e-3)
    assert response.boxes == pytest.approx(out.boxes[0].numpy(), abs=1e-2)
    assert template.weights.shape == (1, 2) and template.weights.sum() == pytest.approx(1)


def test_rgbt_track_runs_it(exported, clip, tmp_path):
    boxes = ','.join(map(str, read_boxes(SMOKE.groundtruth)[0].as_tuple()))
    assert cli.main(['track', '--rgb', str(clip / 'rgb'), '--thermal', str(clip / 'thermal'),
                     '--box', boxes, '--model', str(exported.file), '--device', 'cpu',
                     '--json', str(tmp_path / 'o.json')]) == 0
    result = json.loads((tmp_path / 'o.json').read_text())
    assert len(result['boxes']) == FRAMES and np.isfinite(result['boxes']).all()
    assert all(0 <= c <= 1 for c in result['confidence'])
    assert result['model'].startswith('s.safetensors ')


@pytest.mark.parametrize('names', ['both', 'thermal'])
def test_the_node_loads_it(exported, clip, names):
    sha256 = checkpoint.sha256_of(exported.file)
    parameters = Parameters(model=str(exported.file), model_sha256=sha256, device='cpu', threads=1)
    tracker = load_tracker(parameters)
    tracker.warm_up()
    sources = [open_source(str(clip / n)) for n in ('rgb', 'thermal')]
    pairs = [p if names == 'both' else Pair(None, p.thermal, p.stamp)
             for p in PairSource(*sources, 30).pairs(0)]
    estimate = tracker.init(pairs[0], read_boxes(SMOKE.groundtruth)[0])
    estimates = [estimate, *(tracker.update(p) for p in pairs[1:])]
    for e in estimates:
        assert np.isfinite(e.box.as_tuple()).all()
        assert e.weight_rgb + e.weight_thermal == pytest.approx(1)
    if names == 'thermal' or exported.name == 'cmd_tir':
        assert all(e.weight_thermal == 1 for e in estimates)
    with pytest.raises(ValueError, match='expected 0000'):
        load_tracker(Parameters(model=str(exported.file), model_sha256='0' * 64, device='cpu'))


def test_the_same_run_gives_the_same_file_and_a_card(exported, tmp_path, capsys):
    assert export(exported.run, tmp_path / 's.safetensors') == 0
    sha256 = checkpoint.sha256_of(exported.file)
    assert checkpoint.sha256_of(tmp_path / 's.safetensors') == sha256
    card = capsys.readouterr().out
    for text in (sha256, 'parameters', 'MACs', 'ms for a search crop', 'one CPU thread',
                 f'recipe {exported.name} (tiny, seed 3)'):
        assert text in card
    assert [p.name for p in tmp_path.iterdir()] == ['s.safetensors']


@pytest.mark.parametrize('name, stage', [
    ('joint/tracker', 'joint'), ('tracker', 'mce'), ('mce/tracker', 'mce')])
def test_another_stage_can_be_exported(run, tmp_path, name, stage):
    assert export(run, tmp_path / 'a.safetensors', '--network', name) == 0
    network, info = checkpoint.load(tmp_path / 'a.safetensors')
    assert registry.name_of(network) == 'two_stream' and info['stage'] == stage


def spoil_value(run):
    path = run / 'mce' / 'tracker.safetensors'
    state = load_file(path)
    state['head.score.0.0.weight'][0] = float('inf')
    with safe_open(path, 'pt') as file:
        meta = file.metadata()
    save_file(state, path, metadata=meta)


def spoil_json(**values):
    def spoil(run):
        text = json.loads((run / 'run.json').read_text())
        (run / 'run.json').write_text(json.dumps(text | values))
    return spoil


@pytest.mark.parametrize('spoil, options, text', [
    (shutil.rmtree, (), 'is not a folder; give what `rgbt train` had as --out'),
    (lambda r: (r / 'run.json').unlink(), (), 'is no run: run.json is missing'),
    (lambda r: (r / 'run.json').write_text('{'), (), "run.json can't be read"),
    (lambda r: (r / 'run.json').write_text('[]'), (), "can't be read by this version"),
    (spoil_json(stages={}), (), "has no stage 'mce'"),
    (spoil_json(result={'stage': 'mce'}), (), "key 'network' is missing"),
    (lambda r: (r / 'mce/stage.json').unlink(), (), "stage 'mce' of .* is not finished; give the"),
    (lambda r: (r / 'joint/stage.json').unlink(), (), "stage 'joint' of .* is not finished"),
    (lambda r: (r / 'mce/tracker.safetensors').unlink(), (), 'tracker.safetensors is not there'),
    (lambda r: (r / 'mce/tracker.safetensors').write_bytes(b'x'), (), 'not a readable safetens'),
    (spoil_value, (), 'values that are not finite'),
    (lambda r: None, ('--network', 'teacher'), "has no network 'teacher'; .*there is tracker"),
    (lambda r: None, ('--network', 'x/tracker'), "no stage 'x'; there are joint, mce"),
    (lambda r: None, ('--out', 'a.pt'), 'name a file that ends in .safetensors'),
    (lambda r: None, ('--device', 'cuda:99'), 'asked for')])
def test_what_can_not_be_exported_is_told(run, tmp_path, spoil, options, text, capsys):
    copy, out = tmp_path / 'run', tmp_path / 'out.safetensors'
    shutil.copytree(run, copy)
    spoil(copy)
    out.write_bytes(b'the file before')
    assert export(copy, out, *options) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('rgbt export: ')
    assert re.search(text, error), error
    assert out.read_bytes() == b'the file before'


def test_a_frozen_teacher_is_in_the_stage_that_trained_it(tmp_path, capsys):
    run = make_run(tmp_path / 'run', 'cmd_rgbt')
    assert export(run, tmp_path / 'a.safetensors', '--network', 'teacher') == 2
    assert "does not train 'teacher'; there is student" in capsys.readouterr().err
    assert export(run, tmp_path / 'a.safetensors', '--network', 'teacher/teacher') == 0
    info = checkpoint.load(tmp_path / 'a.safetensors')[1]
    assert info['stage'] == 'teacher'


@pytest.mark.parametrize('name, what', [
    ('student.head.score.2.bias', 'logits'), ('student.head.size.2.bias', 'boxes')])
def test_a_file_that_answers_differently_is_refused(run, name, what):
    trained, other = (checkpoint.load(run / 'joint' / 'tracker.safetensors')[0]
                      for _ in range(2))
    compare(trained, other.tracking_network())
    with torch.no_grad():
        other.get_parameter(name).add_(0.5)
    with pytest.raises(ExportError, match=f'other {what} than the trained one'):
        compare(trained, other.tracking_network())


@torch.no_grad()
def test_nothing_of_the_teachers_is_left_of_a_coupled_training_graph(run, tmp_path):
    """P14 where training had branches of its own."""
    out = tmp_path / 'a.safetensors'
    assert export(run, out, '--network', 'joint/tracker') == 0
    trained, exported = (checkpoint.load(p)[0]
                         for p in (run / 'joint' / 'tracker.safetensors', out))
    assert {k.partition('.')[0] for k in trained.state_dict()} == {
        'student', 'rgb_teacher', 'thermal_teacher'}
    assert {f'student.{k}' for k in exported.state_dict()} == {
        k for k in trained.state_dict() if k.startswith('student.')}
    batch = inputs(exported)
    logits = track(exported, batch).logits
    assert torch.equal(logits, track(trained, batch).logits)
    torch.testing.assert_close(logits, trained.taps(batch)['score'])


def test_nothing_of_adapters_is_left_of_a_student(tmp_path):
    """P12: they map features in training; neither the checkpoint nor the file has them."""
    trainer = train(small('cmd_rgbt'), tmp_path / 'run')
    learned = torch.load(trainer.state_file, weights_only=True)['graph']
    adapters = {k for k in learned if k.startswith('terms.')}
    assert {k.split('.')[1] for k in adapters} == {'scfd', 'mpsd'}
    assert all('adapter' in k for k in adapters)
    assert export(tmp_path / 'run', tmp_path / 'a.safetensors') == 0
    exported = load_file(tmp_path / 'a.safetensors')
    assert not [k for k in exported if 'adapter' in k or k.startswith('terms.')]
    spec = trainer.recipe.stages['student'].networks['student']
    student = registry.build(spec.type, **spec.config)
    assert exported.keys() == {k for k in student.state_dict() if 'num_batches' not in k}
    for key, value in exported.items():
        assert torch.equal(value, learned[f'networks.student.{key}']), key


def test_the_commit_is_told_where_there_is_one(monkeypatch):
    assert re.fullmatch(r'([0-9a-f]{40}(-dirty)?)?', commit())
    monkeypatch.setenv('PATH', '')  # no git
    assert commit() == ''
