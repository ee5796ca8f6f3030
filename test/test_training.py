"""Training: the same samples every time, and the same weights after a stop."""
import copy
import csv
import json
from pathlib import Path
import random
import re
import shutil
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
import recipe_kit
from recipe_kit import small, train
import torch

from rgbt_tracker_ros.data import training_set
from rgbt_tracker_ros.data.motion import motion_tracks
from rgbt_tracker_ros.data.samples import SampleConfig, Samples
from rgbt_tracker_ros.data.training_set import Clip, Track
from rgbt_tracker_ros.distillation import cli
from rgbt_tracker_ros.distillation.plots import plot_losses
from rgbt_tracker_ros.distillation.recipe import with_precision
from rgbt_tracker_ros.distillation.resume import ResumeError, difference
from rgbt_tracker_ros.distillation.run import open_run
from rgbt_tracker_ros.distillation.schema import RecipeError
from rgbt_tracker_ros.distillation.stages import Setting
from rgbt_tracker_ros.distillation.train_log import TrainLog
from rgbt_tracker_ros.distillation.trainer import Options, Trainer
from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.pretrained import PretrainedError
from rgbt_tracker_ros.types import Box

KIT = Path(__file__).with_name('recipe_kit.py')
PLOT = TrainLog.plot    # that of no test


def walkers(frames=20, speed=3):
    """A still thermal camera with two walkers and noise; returns frames and the true boxes."""
    rng = np.random.default_rng(0)
    video, boxes = [], []
    for i in range(frames):
        image = rng.normal(40, 2, (120, 240))
        truth = [Box(10 + speed * i, 30, 14, 36), Box(200 - speed * i, 80, 12, 30)]
        for b in truth:
            image[int(b.y):int(b.y + b.h), int(b.x):int(b.x + b.w)] = 160
        video.append(np.clip(image, 0, 255).astype(np.uint8))
        boxes.append(truth)
    return video, boxes


def test_motion_gives_tight_tracks_without_labels():
    video, boxes = walkers()
    tracks = motion_tracks(video)
    assert len(tracks) == 2
    for track in tracks:
        overlaps = [max(box.iou(t) for t in boxes[f])
                    for f, box in zip(track.frames, track.boxes, strict=True)]
        assert len(overlaps) >= 15 and np.mean(overlaps) > 0.75
        assert all(m.shape == (b.h, b.w) for m, b in zip(track.masks, track.boxes, strict=True))


def test_a_still_scene_has_no_tracks():
    frame = np.random.default_rng(0).integers(0, 255, (90, 120), dtype=np.uint8)
    assert motion_tracks([frame] * 12) == []


@pytest.fixture
def clips():
    video, _ = walkers()
    tracks = [Track(np.array(t.frames, np.int32),
                    np.array([b.as_tuple() for b in t.boxes], np.float32),
                    np.ones((len(t.frames), 64, 64), bool)) for t in motion_tracks(video)]
    return [Clip('a', np.stack(video), None, tracks),
            Clip('b', np.stack(video), np.stack([np.dstack([f] * 3) for f in video]), tracks)]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_sample_depends_on_seed_and_number_alone(clips):
    one, two = Samples(clips, 50, seed=3), Samples(clips, 50, seed=3)
    list(map(one.__getitem__, range(5)))  # other draws before it change nothing
    assert equal(one[30], two[30])
    assert not equal(one[30], one[31]) and not equal(one[30], Samples(clips, 50, seed=4)[30])


@pytest.mark.parametrize('real', [True, False])
def test_samples_are_what_the_network_takes(clips, real):
    samples = Samples(clips if real else [], 60, seed=0, config=SampleConfig())
    hidden = 0
    for i in range(60):
        s = samples[i]
        for name, size in (('template', 96), ('search', 192)):
            assert s[f'{name}_rgb'].shape == (3, size, size)
            assert s[f'{name}_thermal'].shape == (1, size, size)
            present = s[f'{name}_present']
            assert present.sum() >= 1, 'both modalities are gone'
            for flag, crop in zip(present, (s[f'{name}_rgb'], s[f'{name}_thermal']), strict=True):
                assert flag == 1 or not crop.any()
            x, y, w, h = s[f'{name}_box']
            assert 0 <= x + w / 2 <= size and 0 <= y + h / 2 <= size and w > 0 and h > 0
        hidden += int(s['visible'] == 0)
    assert 0 < hidden < 20


def tensors(folder):
    """All weights of a run, by file and name."""
    return {f'{path.relative_to(folder)}:{k}': v for path in sorted(folder.rglob('*.safetensors'))
            for k, v in checkpoint.load(path)[0].state_dict().items()
            if not k.endswith('num_batches_tracked')}


def log(folder):
    return list(csv.DictReader((folder / 'log.csv').open(newline='')))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    torch.set_num_threads(1)
    # pictures take longer than these trainings; test_losses_are_drawn draws them
    monkeypatch.setattr('rgbt_tracker_ros.distillation.train_log.TrainLog.plot', lambda self: None)


def test_killed_at_any_step_and_resumed_ends_with_the_same_weights(tmp_path):
    """SIGKILL, twice, at steps drawn anew in every run of this test."""
    def start(out, lives=''):
        return subprocess.run([sys.executable, str(KIT), 'ckd', str(tmp_path / out), '4',
                               str(lives)], capture_output=True, text=True)

    recipe_kit.main('ckd', str(tmp_path / 'whole'), '4')
    lives = [random.randint(0, 3), random.randint(1, 4)]
    for n in lives:
        killed = start('killed', n)
        assert killed.returncode == -signal.SIGKILL, (lives, killed.stderr)
    last = start('killed')
    assert last.returncode == 0, (lives, last.stderr)
    a, b = tensors(tmp_path / 'whole'), tensors(tmp_path / 'killed')
    assert a.keys() == b.keys() and a
    wrong = [k for k in a if not torch.equal(a[k], b[k])]
    assert not wrong, (lives, wrong)
    for stage in (p.parent.name for p in (tmp_path / 'whole').glob('*/log.csv')):
        one, two = (log(tmp_path / run / stage) for run in ('whole', 'killed'))
        assert one == two and [int(r['step']) for r in one] == [1, 2, 3, 4]


def test_stopped_in_a_later_stage_and_resumed(tmp_path):
    recipe = small('mutual_prompt')
    train(recipe, tmp_path / 'a')
    for until in (2, 4, 5):
        train(recipe, tmp_path / 'b', until=until)
    assert not (tmp_path / 'b' / 'student' / 'stage.json').exists()
    train(recipe, tmp_path / 'b')
    a, b = tensors(tmp_path / 'a'), tensors(tmp_path / 'b')
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert sorted(p.name for p in (tmp_path / 'b').rglob('*') if p.is_file()) == sorted([
        'log.csv', 'stage.json', 'teacher.safetensors', 'log.csv', 'stage.json',
        'student.safetensors', 'run.json', 'resume.pt'])


def test_a_finished_run_is_left_alone(tmp_path, monkeypatch):
    recipe = small('student')
    train(recipe, tmp_path)
    monkeypatch.setattr(Trainer, '_train', None)
    train(recipe, tmp_path)


def test_frozen_teachers_end_as_they_began(tmp_path):
    """P13: bit for bit, with the buffers of their batch norms."""
    recipe, before, after = small('cmd_rgbt'), {}, {}
    finish = Trainer._finish

    def watch(self, name, stage, graph, average):
        if name == 'student':
            after.update(graph.networks['teacher'].state_dict())
        finish(self, name, stage, graph, average)

    train(recipe, tmp_path, until=3)
    before = checkpoint.load(tmp_path / 'teacher' / 'teacher.safetensors')[0].state_dict()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, '_finish', watch)
        train(recipe, tmp_path)
    assert any('running_mean' in k for k in after) and after.keys() == before.keys()
    assert all(torch.equal(after[k], before[k]) for k in after
               if not k.endswith('num_batches_tracked'))
    assert not (tmp_path / 'student' / 'teacher.safetensors').exists()


@pytest.mark.parametrize('checkpoint_left', [True, False])
def test_a_killed_run_logs_no_step_twice(tmp_path, checkpoint_left):
    """Rows beyond the last checkpoint, and a row torn by the kill, go when the run goes on."""
    recipe = small('student', steps=4)
    train(recipe, tmp_path, until=2)
    columns = len((tmp_path / 'student' / 'log.csv').read_text().splitlines()[0].split(','))
    with (tmp_path / 'student' / 'log.csv').open('a') as file:
        file.write(f'3{",1" * (columns - 1)}\n4{",1" * (columns - 1)}\n5,1.2')
    if not checkpoint_left:
        (tmp_path / 'resume.pt').unlink()
    train(recipe, tmp_path)
    rows = log(tmp_path / 'student')
    assert [int(r['step']) for r in rows] == [1, 2, 3, 4]
    assert all(float(r['norm']) > 0 and float(r['rate']) > 0 and r['task.box'] for r in rows)


def test_a_log_torn_in_its_first_line_starts_anew(tmp_path):
    (tmp_path / 'student').mkdir()
    (tmp_path / 'student' / 'log.csv').write_text('step,lo')
    train(small('student'), tmp_path, until=2)
    assert len(log(tmp_path / 'student')) == 2


def test_finished_stages_are_taken_from_another_run(tmp_path, capsys):
    """Teachers are shared by the arms of an ablation; an arm's own stage is trained."""
    train(small('mutual_prompt'), tmp_path / 'a')
    arm = small('mutual_prompt', extra=('stages.student.terms.response.weight=0',))
    train(arm, tmp_path / 'b', reuse=(tmp_path / 'none', tmp_path / 'a'))
    assert 'stage teacher: taken from' in capsys.readouterr().out
    one, two = (tensors(tmp_path / r / 'teacher') for r in 'ab')
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert 'response' not in log(tmp_path / 'b' / 'student')[0]
    other = small('mutual_prompt', extra=('stages.teacher.optimizer.rate=0.1',))
    train(other, tmp_path / 'c', reuse=(tmp_path / 'a',), until=1)
    said = capsys.readouterr().out
    assert 'taken from' not in said.replace('not taken', '') and re.search(
        r'stage teacher: not taken from .*a: there text.optimizer.rate is 0.00.*, here 0.1', said)


def test_a_checkpoint_of_other_networks_is_not_taken_up_in_part(tmp_path):
    """As after an update that has renamed a layer, with the recipe as it was."""
    recipe = small('student')
    train(recipe, tmp_path, until=2)
    state = torch.load(tmp_path / 'resume.pt', weights_only=True)
    key = next(k for k in state['graph'] if k.endswith('weight'))
    state['graph'][f'{key}s'] = state['graph'].pop(key)
    torch.save(state, tmp_path / 'resume.pt')
    with pytest.raises(ResumeError, match=r'resume\.pt is of another version.*differ in'):
        train(recipe, tmp_path)


def test_the_confidence_may_be_fitted_otherwise_once_all_is_trained(tmp_path):
    train(small('student'), tmp_path)
    changed = small('student', extra=('result.calibration.samples=7',))
    train(changed, tmp_path)
    assert open_run(tmp_path).recipe.result.calibration.samples == 7


@pytest.mark.parametrize('change, text', [
    ('result.calibration.data={source: nosuch}', r"result\.calibration\.data: .*'nosuch'"),
    ('result.calibration.data.options.held_aut=true', "option 'held_aut' is unknown")])
def test_data_for_the_confidence_is_checked_before_the_training(tmp_path, change, text):
    with pytest.raises(RecipeError, match=text):
        train(small('student', extra=(change,)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_can_not_be_drawn_ends_no_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(TrainLog, 'plot', PLOT)
    monkeypatch.setattr('rgbt_tracker_ros.distillation.train_log.plot_losses',
                        lambda *_: Path('/dev/full').write_text('x'))
    train(small('student'), tmp_path)
    assert 'the losses are not drawn: ' in capsys.readouterr().out
    assert (tmp_path / 'student' / 'stage.json').exists()


def test_what_draws_the_losses_is_missed_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr('rgbt_tracker_ros.distillation.needs.find_spec',
                        lambda name: None if name == 'matplotlib' else 1)
    with pytest.raises(ValueError, match='not installed: matplotlib; pip install'):
        train(small('student'), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_seed_is_a_run_of_its_own(tmp_path):
    recipe = small('student')
    for seed in (0, 0, 1):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        Trainer(recipe, Setting(seed), Options(out, device='cpu')).run()
    losses = [[r['loss'] for r in log(tmp_path / n / 'student')] for n in '012']
    assert losses[0] == losses[1] != losses[2]


def test_arms_see_the_same_samples_and_first_weights(tmp_path):
    """What differs between paired arms is the term alone: the first loss of the others agrees."""
    first = []
    for weight in (0, 1):
        recipe = small('cmd_rgbt', steps=1, extra=(f'stages.student.terms.scfd.weight={weight}',))
        train(recipe, tmp_path / str(weight))
        first.append(log(tmp_path / str(weight) / 'student')[0])
    assert first[0]['task'] == first[1]['task'] and first[0]['mpsd'] == first[1]['mpsd']
    assert 'scfd' in first[1] and 'scfd' not in first[0]


def test_workers_change_nothing(tmp_path):
    recipe = small('student')
    a, b = (train(recipe, tmp_path / str(n), workers=n) for n in (0, 1))
    one, two = (tensors(t.options.out) for t in (a, b))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_the_average_is_what_is_kept(tmp_path):
    plain, mean = (small('student', extra=(f'stages.student.ema={e}',)) for e in (0, 0.998))
    train(plain, tmp_path / 'a')
    train(mean, tmp_path / 'b')
    a, b = tensors(tmp_path / 'a'), tensors(tmp_path / 'b')
    assert not torch.equal(a['student/student.safetensors:key.weight'],
                           b['student/student.safetensors:key.weight'])
    rows = [log(tmp_path / r / 'student') for r in 'ab']
    assert [r['loss'] for r in rows[0]] == [r['loss'] for r in rows[1]]


def test_a_training_that_diverges_stops_with_the_checkpoint_before(tmp_path, monkeypatch):
    shared = Trainer._shared

    def diverge(self, named, norm):
        values, stop = shared(self, named, norm)
        rows = (tmp_path / 'student' / 'log.csv')
        self._fabric_steps = getattr(self, '_fabric_steps', 0) + 1
        assert rows.exists()
        return (values | {'norm': float('inf')} if self._fabric_steps == 3 else values), stop

    recipe = small('student', steps=5)
    monkeypatch.setattr(Trainer, '_shared', diverge)
    with pytest.raises(ValueError, match=r'diverged in step 3 of stage student.*norm inf'):
        train(recipe, tmp_path)
    monkeypatch.undo()
    assert torch.load(tmp_path / 'resume.pt', weights_only=True)['step'] == 2


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', b'export A=1; b\n', None])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    recipe = small('student')
    train(recipe, tmp_path, until=2)
    file = tmp_path / 'resume.pt'
    file.write_bytes(file.read_bytes()[:5000] if content is None else content)
    with pytest.raises(ResumeError, match=r'resume\.pt can.t be read.*delete it to start'):
        train(recipe, tmp_path)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    recipe = small('student')
    train(recipe, tmp_path, until=2)
    before = (tmp_path / 'resume.pt').read_bytes()

    def full(state, path):
        path.write_bytes(b'a part')
        raise RuntimeError('PytorchStreamWriter failed writing file data/1: file write failed')

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(OSError, match=r"resume\.part can't be written; is the disk"):
        train(recipe, tmp_path)
    assert (tmp_path / 'resume.pt').read_bytes() == before
    assert not list(tmp_path.rglob('*.part'))


def test_a_disk_that_is_full_for_the_log_is_named(tmp_path):
    log = TrainLog(tmp_path, 'student', 0, 3)
    log._file.close()
    log._file = Path('/dev/full').open('w', newline='')     # to be written alone: it has no end
    log._csv = csv.writer(log._file)
    log.row(1, {'loss': 1.0})
    for write in (log.flush, log.close):
        with pytest.raises(OSError, match=r'No space left.*log\.csv'):
            write()


@pytest.mark.parametrize('change, setting, text', [
    (('stages.student.optimizer.rate=0.5',), Setting(),
     r'stages.student.optimizer.rate = 0.002, not 0.5'),
    (('stages.student.data.options.absent=0.5',), Setting(), 'absent = 0.08, not 0.5'),
    ((), Setting(seed=7), 'seed = 0, not 7'), ((), 'data', 'data = nothing, not')])
def test_a_run_of_another_kind_is_not_continued(tmp_path, change, setting, text):
    train(small('student'), tmp_path / 'out', until=2)
    setting = Setting(data=tmp_path) if setting == 'data' else setting
    with pytest.raises(ResumeError, match=f'{text}.*; choose another --out'):
        Trainer(small('student', extra=change), setting,
                Options(tmp_path / 'out', device='cpu'))
    # and neither is its checkpoint, should the description be gone
    (tmp_path / 'out' / 'run.json').unlink()
    if setting.data is None:
        with pytest.raises(ResumeError, match=r'resume\.pt is of a run with'):
            Trainer(small('student', extra=change), setting,
                    Options(tmp_path / 'out', device='cpu')).run()


def test_how_a_run_is_made_may_change(tmp_path):
    train(small('student'), tmp_path, until=2)
    train(small('student', extra=('stages.student.workers=1', 'stages.student.save_every=7')),
          tmp_path)


def test_the_first_difference_of_two_descriptions():
    assert difference({'a': [1], 'b': {'c': 1}}, {'a': [1], 'b': {'c': 2}}) == ('b.c', 1, 2)
    assert difference({'a': 1}, {'a': 1, 'b': 2}) == ('b', None, 2)
    assert difference({'a': [1]}, {'a': [1]}) is None


def test_ctrl_c_saves_and_leaves_status_130(tmp_path, monkeypatch, capsys):
    step = torch.optim.AdamW.step

    def interrupt(self, *args, **kwargs):
        signal.raise_signal(signal.SIGINT)
        return step(self, *args, **kwargs)

    before = signal.getsignal(signal.SIGINT)     # ignored in a background job of a shell
    recipe = tmp_path / 'r.yaml'
    text = copy.deepcopy(SHORT)
    text['stages']['student']['log_every'] = 20     # it stops in the step that it is in
    recipe.write_text(json.dumps(text))
    monkeypatch.setattr(torch.optim.AdamW, 'step', interrupt)
    command = [str(recipe), '--out', str(tmp_path / 'out'), '--device', 'cpu']
    assert cli.main(command) == 130
    assert 'stopped; the same command goes on' in capsys.readouterr().err
    assert torch.load(tmp_path / 'out' / 'resume.pt', weights_only=True)['step'] == 1
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is before
    assert cli.main(command) == 0


SIZES = {'template_size': 32, 'search_size': 64, 'stem': 4, 'width8': 8, 'width16': 8,
         'blocks8': 1, 'blocks16': 1, 'head': 8}
SHORT = {
    'title': 'short', 'result': {'stage': 'student', 'network': 'student',
                                 'calibration': {'samples': 16}},
    'scales': {'tiny': {}}, 'stages': {'student': {
        'networks': {'student': {'type': 'student', 'config': SIZES}},
        'passes': {'pair': {'network': 'student'}},
        'terms': {'task': {'loss': 'dense_task', 'inputs': {
            'score': 'pair:score', 'boxes': 'pair:boxes', 'box': 'batch:search_box',
            'visible': 'batch:visible'}}},
        'data': {'source': 'images'}, 'steps': 3, 'batch': 2}}}


@pytest.mark.parametrize('options, text', [
    (['--steps', '0'], 'of 1 or more'), (['--until', '-3'], 'of 0 or more'),
    (['--workers', '-1'], 'of 0 or more'), (['--calibration-samples', '0'], 'of 1 or more'),
    (['--steps-scale', '0'], 'above 0'), (['--steps', '9', '--steps-scale', '2'], 'not allowed'),
    (['--precision', '16'], 'invalid choice'),
    (['--device', 'gpu'], "device 'gpu' is unknown"), (['--device', 'cuda:99'], 'asked for'),
    (['--data', 'nowhere'], 'nowhere does not exist'), (['--out', 'r.yaml'], 'r.yaml'),
    (['--init', 'nothing.pth'], 'nothing.pth does not exist'), (['--data', '.'], 'holds none of'),
    (['--set', 'stages.student.bath=1'], "did you mean 'batch'"),
    (['--scale', 'full'], "no scale 'full'")])
def test_wrong_usage_is_told_and_leaves_status_2(options, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'r.yaml').write_text(json.dumps(SHORT))
    try:
        status = cli.main(['r.yaml', '--out', 'out', '--device', 'cpu', *options])
    except SystemExit as stop:
        status = stop.code
    error = capsys.readouterr().err
    assert status == 2 and text in error.splitlines()[-1] and 'rgbt train: ' in error
    assert not (tmp_path / 'out' / 'student').exists(), 'something was trained'


def test_the_command_trains_on_made_up_scenes_alone(tmp_path, capsys):
    recipe = tmp_path / 'r.yaml'
    recipe.write_text(json.dumps(SHORT))
    command = [str(recipe), '--out', str(tmp_path / 'out'), '--steps', '2', '--workers', '0',
               '--device', 'cpu', '--log', 'tensorboard', '--threads', '1']
    assert cli.main([*command, '--until', '1']) == 0
    assert 'stopped by --until 1, before the last step (2); the same' in capsys.readouterr().out
    assert not (tmp_path / 'out' / 'student.safetensors').exists()
    assert cli.main(command) == 0
    assert 'mean overlap' in capsys.readouterr().out
    network, info = checkpoint.load(tmp_path / 'out' / 'student.safetensors')
    assert network.config.stem == 4 and info['steps'] == 2 and info['recipe'] == 'r'
    assert list((tmp_path / 'out' / 'student').glob('events.*'))


FROM = 'stages.student.networks.student.from=[{checkpoint: true}]'


def test_a_tracker_of_ones_own_is_the_start(tmp_path):
    train(small('student'), tmp_path / 'first')
    mine = tmp_path / 'first' / 'student' / 'student.safetensors'
    recipe = small('student', steps=1, extra=(FROM, 'stages.student.optimizer.rate=0'))
    Trainer(recipe, Setting(init=mine), Options(tmp_path / 'next', device='cpu')).run()
    a, b = tensors(tmp_path / 'first'), tensors(tmp_path / 'next')
    assert all(torch.equal(a[k], b[k]) for k in a if 'running' not in k)
    changed = small('student', extra=(FROM,))
    with pytest.raises(ResumeError, match='init ='):  # the same folder, another checkpoint
        other = tmp_path / 'other.safetensors'
        other.write_bytes(mine.read_bytes()[:99])
        Trainer(recipe, Setting(init=other), Options(tmp_path / 'next', device='cpu'))
    with pytest.raises(RecipeError, match=r'from.0. .*has shape'):
        smaller = (FROM, 'stages.student.networks.student.config.head=16')
        Trainer(small('student', extra=smaller), Setting(init=mine),
                Options(tmp_path / 'third', device='cpu'))
    with pytest.raises(PretrainedError, match='is not a readable checkpoint'):
        Trainer(changed, Setting(init=other), Options(tmp_path / 'fourth', device='cpu'))
    assert not any((tmp_path / n / 'student').exists() for n in ('third', 'fourth'))


def test_half_precision_trains(tmp_path):
    recipe = with_precision(small('ckd'), 'bf16')
    train(recipe, tmp_path)
    rows = log(tmp_path / 'joint')
    plain = train(small('ckd'), tmp_path / 'plain')
    exact = log(plain.folder('joint'))
    assert float(rows[0]['loss']) == pytest.approx(float(exact[0]['loss']), rel=0.02)
    assert rows[0]['loss'] != exact[0]['loss']
    assert all(v.dtype == torch.float32 for v in tensors(tmp_path / 'joint').values()
               if v.is_floating_point())


def write_video(path, frames, white=range(0)):
    """A black video of 64 x 48 px, white in the frames of `white`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 30, (64, 48))
    for i in range(frames):
        writer.write(np.full((48, 64, 3), 255 if i in white else 0, np.uint8))
    writer.release()


def write_track(path, video, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('video,frame,x,y,w,h\n' + ''.join(f'{video},{i},1,1,9,9\n' for i in frames))


@pytest.mark.parametrize('spans', [[range(10, 26)], [range(10, 14), range(20, 26)]])
def test_validation_frames_never_reach_the_training_set(tmp_path, spans):
    """Frames of the labelled tracks are cut out of both videos before anything sees them."""
    root, white = tmp_path / 'm3svd', [i for span in spans for i in span]
    for folder in ('visible', 'infrared'):
        write_video(root / folder / 'v.mp4', 40, white)
    for number, span in enumerate(spans):  # two targets of one video
        write_track(root / 'tracks' / f'{number}.csv', 'v', span)
    training_set.build(tmp_path, tmp_path / 'cache')
    clip, = training_set.load(tmp_path / 'cache')
    assert len(clip.thermal) == len(clip.rgb) == 12
    assert clip.thermal.max() < 60 and clip.rgb.max() < 60


def test_folders_may_be_missing_but_not_in_silence(tmp_path, caplog):
    """Thermal alone, no labelled tracks; a video that is all for validation leaves no clip."""
    write_video(tmp_path / 'm3svd' / 'infrared_only' / 'a.mp4', 20)
    training_set.build(tmp_path, tmp_path / 'cache')
    clip, = training_set.load(tmp_path / 'cache')
    assert clip.rgb is None and len(clip.thermal) == 10
    assert 'no frame is kept out' in caplog.text
    write_video(tmp_path / 'm3svd' / 'infrared' / 'b.mp4', 20)
    write_track(tmp_path / 'm3svd' / 'tracks' / 'b.csv', 'b', range(20))
    training_set.build(tmp_path, tmp_path / 'other')
    assert [c.name for c in training_set.load(tmp_path / 'other')] == ['m3svd.000.a']


def test_a_cache_of_other_folders_is_built_anew(tmp_path):
    write_video(tmp_path / 'm3svd' / 'infrared' / 'a.mp4', 20)
    write_video(tmp_path / 'drone_ir' / 'd.mp4', 20)
    (tmp_path / 'drone_ir' / 'd.csv').write_text(
        'frame,x,y,w,h\n' + ''.join(f'{i},1,1,9,9\n' for i in range(20)))
    cache = tmp_path / 'cache'
    training_set.build(tmp_path, cache)
    assert len(training_set.load(cache)) == 2
    stamps = {p: p.stat().st_mtime_ns for p in cache.iterdir()}
    training_set.build(tmp_path, cache)
    assert {p: p.stat().st_mtime_ns for p in cache.iterdir()} == stamps
    shutil.rmtree(tmp_path / 'drone_ir')
    training_set.build(tmp_path, cache)
    assert [c.name for c in training_set.load(cache)] == ['m3svd.000.a']


@pytest.mark.parametrize('spoil, text', [
    (lambda d: (d / 'm3svd/infrared/a.mp4').write_bytes(b'no video'), 'a.mp4: no frame'),
    (lambda d: (d / 'm3svd/visible/a.mp4').write_bytes(b''), 'a.mp4: no frame'),
    (lambda d: (d / 'm3svd/infrared/a.mp4').unlink(), 'holds no infrared'),
    (lambda d: (d / 'm3svd/tracks/t.csv').write_text('video,frame\n'), 't.csv: must have rows'),
    (lambda d: write_hit_uav(d / 'hit_uav', 'missing.jpg'), 'first is missing.jpg')])
def test_data_that_can_not_be_read_is_named(tmp_path, capsys, spoil, text):
    for folder in ('visible', 'infrared'):
        write_video(tmp_path / 'm3svd' / folder / 'a.mp4', 20)
    write_track(tmp_path / 'm3svd' / 'tracks' / 't.csv', 'a', range(3))
    spoil(tmp_path)
    recipe = tmp_path / 'r.yaml'
    recipe.write_text(json.dumps(SHORT))
    assert cli.main([str(recipe), '--out', str(tmp_path / 'out'), '--data', str(tmp_path),
                     '--workers', '0', '--until', '1', '--device', 'cpu']) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('rgbt train: ') and text in error


def write_hit_uav(folder, image):
    folder.mkdir()
    (folder / 'boxes.csv').write_text(f'image,class,x,y,w,h\n{image},Person,1,1,9,9\n')


def test_losses_are_drawn_from_the_log(tmp_path):
    path, picture = tmp_path / 'log.csv', tmp_path / 'losses.png'
    path.write_text('step,loss,score,score.part,rate\n1,3,2,1,1\n')
    plot_losses(path, picture)
    assert not picture.exists()  # one step is no curve
    path.write_text('step,loss,score,score.part,rate\n' + ''.join(
        f'{i},{9 / i},{4 / i},{1 / i},1\n' for i in range(1, 400)))
    plot_losses(path, picture)
    image = cv2.imread(str(picture)).astype(int)
    panels = np.array_split(image, 2, axis=1)  # loss and score; neither the part nor the rate
    for panel in panels:
        dark = (panel[..., 0] - panel[..., 2] > 60)  # the smoothed curves are dark blue
        columns = np.nonzero(dark.any(0))[0]
        heights = [np.nonzero(dark[:, c])[0].mean() for c in (columns[0], columns[-1])]
        assert columns[-1] - columns[0] > 0.6 * panel.shape[1]
        assert heights[0] < heights[1] - 80, 'a falling loss must fall'
    with pytest.raises(OSError):
        plot_losses(path, tmp_path / 'no' / 'folder.png')
