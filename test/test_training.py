"""Training: the same samples every time, and the same weights after a stop."""
import csv
import itertools

import numpy as np
import pytest
import torch

from rgbt_tracker_ros.data import training_set
from rgbt_tracker_ros.data.motion import motion_tracks
from rgbt_tracker_ros.data.samples import SampleConfig, Samples
from rgbt_tracker_ros.data.training_set import Clip, Track
from rgbt_tracker_ros.distillation import cli
from rgbt_tracker_ros.distillation.recipe import RecipeError, load_recipe
from rgbt_tracker_ros.distillation.training import TrainConfig, Training, rate_at
from rgbt_tracker_ros.models.student import StudentConfig
from rgbt_tracker_ros.types import Box

TINY = StudentConfig(stem=4, width8=8, width16=8, blocks8=1, blocks16=1, head=8)


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


def run(out, clips, until=None):
    config = TrainConfig(steps=6, batch=2, save_every=2, workers=0, bf16=False, warm_up=2)
    training = Training(config, out, sizes=TINY)
    training.resume()
    training.run(Samples(clips, 10 ** 6, 0), until)
    return training


def test_stopped_and_resumed_ends_with_the_same_weights(tmp_path, clips):
    torch.set_num_threads(1)
    whole = run(tmp_path / 'a', clips)
    run(tmp_path / 'b', clips, until=3)
    resumed = run(tmp_path / 'b', clips)
    assert resumed.step == 6
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name
    steps = [int(r['step']) for r in csv.DictReader((tmp_path / 'b' / 'log.csv').open())]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_run_of_another_kind_is_not_continued(tmp_path, clips):
    run(tmp_path, clips, until=2)
    with pytest.raises(ValueError, match='choose another --out'):
        Training(TrainConfig(steps=99), tmp_path, sizes=TINY).resume()


def test_rate_warms_up_and_cools_down():
    c = TrainConfig(steps=100, warm_up=10, rate=1.0)
    rates = [rate_at(s, c) for s in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (s + 1) for s in range(10)])
    assert max(rates) == 1 and all(a >= b for a, b in itertools.pairwise(rates))
    assert rates[-1] < 0.02


@pytest.mark.parametrize('text, error', [
    ('optimizer: {}', "section 'optimizer' is unknown"),
    ('train: {stepz: 3}', r'train.stepz is unknown'),
    ('train: {steps: many}', 'not a int'),
    ('student: {search_size: 256}', 'search_size differs')])
def test_bad_recipes_say_what_is_wrong(tmp_path, text, error):
    path = tmp_path / 'r.yaml'
    path.write_text(text)
    with pytest.raises(RecipeError, match=error):
        load_recipe(str(path))


def test_the_command_trains_on_made_up_scenes_alone(tmp_path, capsys):
    recipe = tmp_path / 'r.yaml'
    recipe.write_text('student: {stem: 4, width8: 8, width16: 8, blocks8: 1, blocks16: 1, '
                      'head: 8}\ntrain: {batch: 2, bf16: false, save_every: 1}\n')
    command = [str(recipe), '--out', str(tmp_path / 'out'), '--steps', '2', '--workers', '0',
               '--device', 'cpu']
    assert cli.main([*command, '--until', '1']) == 0
    assert (tmp_path / 'out' / 'student.safetensors').exists()
    assert cli.main(['nothing', '--out', str(tmp_path)]) == 2
    assert 'there is no recipe' in capsys.readouterr().err
    assert cli.main([*command, '--data', str(tmp_path)]) == 2
    assert 'holds none of' in capsys.readouterr().err


def test_validation_frames_never_reach_the_training_set(tmp_path):
    """Frames of the labelled tracks are cut out of both videos before anything sees them."""
    import cv2
    root = tmp_path / 'm3svd'
    for folder in ('visible', 'infrared', 'tracks', 'infrared_only'):
        (root / folder).mkdir(parents=True)
    for folder in ('visible', 'infrared'):
        writer = cv2.VideoWriter(str(root / folder / 'v.mp4'),
                                 cv2.VideoWriter_fourcc(*'mp4v'), 30, (64, 48))
        for i in range(40):  # the validation span is white, the rest is black
            writer.write(np.full((48, 64, 3), 255 if 10 <= i <= 25 else 0, np.uint8))
        writer.release()
    (root / 'tracks' / 't.csv').write_text(
        'video,frame,x,y,w,h\n' + '\n'.join(f'v,{i},1,1,9,9' for i in range(10, 26)))
    training_set.build(tmp_path, tmp_path / 'cache')
    clip, = training_set.load(tmp_path / 'cache')
    assert len(clip.thermal) == len(clip.rgb) == 12
    assert clip.thermal.max() < 60 and clip.rgb.max() < 60
