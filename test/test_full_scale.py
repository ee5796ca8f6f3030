"""The recipes' full scale on a small LasHeR tree of made-up pictures, with small networks."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import shutil

import cv2
import numpy as np
import pytest
import torch
from transformer_kit import batch_of

from rgbt_tracker_ros import cli
from rgbt_tracker_ros.distillation.recipe import load_recipe, names, scales
from rgbt_tracker_ros.models import checkpoint, registry
from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.models.resnet import ResNet, shape_of

FRAMES, WIDTH, HEIGHT = 22, 96, 80
VIT = 'template_size: 16, search_size: 32, stride: 8, dim: 16, depth: 3, heads: 2, ' \
      'head_widths: [8, 8]'
PRUNED = f'{{{VIT}, eliminate_at: [1]}}'
RESNET = 'template_size: 32, search_size: 64, stride: 8, backbone: resnet18, stages: 3, ' \
         'widths: [4, 6, 8, 10], width: 8, kernel: 1, head: [8, 8]'
DIMP = '{template_size: 64, search_size: 64, stride: 8, backbone: resnet18, ' \
       'widths: [4, 6, 8, 10], channels: 8, filter_size: 4, steps: 2, box_width: 8, ' \
       'candidates: 8, template_steps: 2, refine_steps: 1}'
# (recipe, scale) -> stage.network -> config
SIZES = {
    ('ckd', 'full'): {'joint.tracker': f'{{{VIT}}}', 'mce.tracker': PRUNED},
    ('mutual_prompt', 'full'): {'teacher.teacher': f'{{{VIT}}}', 'student.student': f'{{{VIT}}}'},
    ('cmd_rgbt', 'full'): {'teacher.teacher': f'{{{RESNET}}}', 'student.student': f'{{{RESNET}}}'},
    ('cmd_tir', 'rgb'): {'rgb.tracker': DIMP},
    ('cmd_tir', 'full'): {'cmd.teacher': DIMP, 'cmd.student': DIMP},
}


@pytest.fixture(scope='module')
def lasher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences to train with, and one of the test set whose images nobody may open."""
    root = tmp_path_factory.mktemp('LasHeR')
    rng = np.random.default_rng(0)
    for split, name in (('trainingset', 'a'), ('trainingset', 'b'), ('testingset', 'c')):
        folder = root / split / name
        for part in ('visible', 'infrared'):
            (folder / part).mkdir(parents=True)
        boxes = []
        for i in range(FRAMES):
            image = rng.integers(40, 90, (HEIGHT, WIDTH, 3), np.uint8)
            x, y = 20 + i, 30
            image[y:y + 16, x:x + 20] = (250, 160, 200)
            boxes.append(f'{x},{y},20,16\n')
            files = folder / 'visible' / f'v{i:04}.png', folder / 'infrared' / f'i{i:04}.png'
            if split == 'testingset':
                for file in files:
                    file.write_bytes(b'no picture')
            else:
                cv2.imwrite(str(files[0]), image)
                cv2.imwrite(str(files[1]), image[..., 0])
        (folder / 'init.txt').write_text(''.join(boxes))
    return root


def rgb_tracker(out: Path) -> Path:
    """Leave what a user has: a transformer that tracks in RGB."""
    torch.manual_seed(1)
    sizes = {'template_size': 16, 'search_size': 32, 'stride': 8, 'dim': 16, 'depth': 3,
             'heads': 2, 'head_widths': (8, 8), 'fusion': 'rgb'}
    checkpoint.save(registry.build('one_stream', **sizes), out / 'rgb.safetensors')
    return out / 'rgb.safetensors'


def classifier(out: Path) -> Path:
    """Leave what torchvision gives: a residual network."""
    torch.manual_seed(2)
    net = ResNet(shape_of('resnet18', widths=(4, 6, 8, 10)), 32)
    torch.save(net.state_dict() | {'fc.weight': torch.zeros(3, 10)}, out / 'resnet.pth')
    return out / 'resnet.pth'


def command(name: str, scale: str, out: Path, lasher: Path, init: Path | None) -> list[str]:
    found = ['train', name, '--scale', scale, '--out', str(out), '--data', str(lasher),
             '--device', 'cpu', '--workers', '0', '--calibration-samples', '8']
    found += ['--init', str(init)] if init else []
    for place, config in SIZES[name, scale].items():
        stage, network = place.split('.')
        for text in (f'networks.{network}.config={config}', 'steps=2', 'batch=2',
                     'precision="32"'):
            found += ['--set', f'stages.{stage}.{text}']
    for term in ('scfd',) if name == 'cmd_rgbt' else ():  # three stages, not four
        for key in ('student_rgb', 'student_thermal', 'teacher_rgb', 'teacher_thermal'):
            who, part = key.split('_')
            found += ['--set', f'stages.student.terms.{term}.inputs.{key}='
                      f'{who}:stages.{{1,2}}.{part}']
    if name == 'mutual_prompt':
        found += ['--set', 'stages.student.terms.blocks.inputs.student=student:blocks.*.fused',
                  '--set', 'stages.student.terms.blocks.inputs.teacher=teacher:blocks.*.mean']
    return found


def teacher_of_thermal(out: Path, lasher: Path) -> Path:
    """Leave an RGB DiMP, as the recipe's own scale for it makes one."""
    assert cli.main(command('cmd_tir', 'rgb', out / 'rgb', lasher, classifier(out))) == 0
    return out / 'rgb' / 'rgb' / 'tracker.safetensors'


STARTS: dict[str, Callable[[Path, Path], Path]] = {
    'ckd': lambda out, lasher: rgb_tracker(out),
    'mutual_prompt': lambda out, lasher: rgb_tracker(out),
    'cmd_rgbt': lambda out, lasher: classifier(out),
    'cmd_tir': teacher_of_thermal}


@pytest.mark.parametrize('name', STARTS)
def test_the_full_scale_trains_on_lasher(name: str, tmp_path: Path, lasher: Path) -> None:
    """It reads the training set alone, and leaves a student that tracks."""
    init = STARTS[name](tmp_path, lasher)
    assert cli.main(command(name, 'full', tmp_path / 'out', lasher, init)) == 0
    network: Network = checkpoint.load(tmp_path / 'out' / 'student.safetensors')[0]
    network.eval()
    batch = batch_of([1], network.config.template_size, network.config.search_size)
    assert all(v.isfinite().all() for v in network.taps(batch).values())
    # pseudo boxes do not tell hits from misses
    assert ('held_out' in checkpoint.load(tmp_path / 'out' / 'student.safetensors')[1]) == (
        name != 'cmd_tir')


@pytest.mark.parametrize(('name', 'start', 'text'), [
    ('cmd_tir', classifier, 'is no dimp of these sizes as `rgbt train` leaves one'),
    ('cmd_rgbt', rgb_tracker, 'holds 0 residual networks'),
    ('ckd', classifier, 'holds no vision transformer')])
def test_a_checkpoint_of_another_kind_is_refused(
        name: str, start: Callable[[Path], Path], text: str, tmp_path: Path, lasher: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(command(name, 'full', tmp_path / 'out', lasher, start(tmp_path))) == 2
    said = capsys.readouterr().err
    assert text in said and said.count('\n') == 1
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('spoil', 'text'), [
    (lambda root: (root / 'trainingset' / 'b' / 'visible' / 'v0007.png').unlink(), '21'),
    (lambda root: shutil.rmtree(root / 'trainingset' / 'b' / 'infrared'), 'infrared'),
    (lambda root: (root / 'trainingset' / 'b' / 'init.txt').write_text('1,2,3,4\n'), '1 row'),
    (lambda root: (root / 'trainingset' / 'b' / 'init.txt').write_text('1,2,x,4\n' * FRAMES),
     'row 1'),
    (lambda root: shutil.rmtree(root / 'trainingset'), 'trainingset')])
def test_a_data_set_that_is_not_as_it_should_be_is_refused_before_training(
        spoil: Callable[[Path], object], text: str, tmp_path: Path, lasher: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / 'LasHeR'
    shutil.copytree(lasher, root)
    spoil(root)
    assert cli.main(command('ckd', 'full', tmp_path / 'out', root, rgb_tracker(tmp_path))) == 2
    said = capsys.readouterr().err
    assert text in said and str(root) in said and said.count('\n') == 1, said
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('name', 'scale'), [
    (n, s) for n in names() if n not in ('shipped', 'student') for s in scales(n) if s != 'tiny'])
def test_no_benchmark_is_trained_on(name: str, scale: str) -> None:
    for stage in load_recipe(name, scale).stages.values():
        assert stage.data.options['layout_options'] == {'split': 'train'}
