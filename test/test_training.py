"""Training: the same samples every time, and the same weights after a stop."""
import csv
from dataclasses import replace
import itertools
import shutil

import cv2
import numpy as np
import pytest
import torch

from rgbt_tracker_ros.data import training_set
from rgbt_tracker_ros.data.motion import motion_tracks
from rgbt_tracker_ros.data.samples import SampleConfig, Samples
from rgbt_tracker_ros.data.training_set import Clip, Track
from rgbt_tracker_ros.distillation import cli
from rgbt_tracker_ros.distillation.plots import plot_losses
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


@pytest.mark.parametrize('checkpoint', [True, False])
def test_a_killed_run_logs_no_step_twice(tmp_path, clips, checkpoint):
    """Rows beyond the last checkpoint, and a row torn by the kill, go when the run goes on."""
    run(tmp_path, clips, until=3)
    with (tmp_path / 'log.csv').open('a') as file:
        file.write('4,1,1,1,1,1\n5,1,1,1,1,1\n6,1.2')
    if not checkpoint:
        (tmp_path / 'resume.pt').unlink()
    run(tmp_path, clips)
    rows = list(csv.DictReader((tmp_path / 'log.csv').open(newline='')))
    assert [int(r['step']) for r in rows] == [1, 2, 3, 4, 5, 6]
    assert all(float(r['norm']) > 0 and float(r['rate']) > 0 for r in rows)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'log.csv', 'resume.pt', 'student.safetensors']


def test_a_log_torn_in_its_first_line_starts_anew(tmp_path, clips):
    (tmp_path / 'log.csv').write_text('step,lo')
    run(tmp_path, clips, until=2)
    assert len(list(csv.DictReader((tmp_path / 'log.csv').open(newline='')))) == 2


def test_a_training_that_diverges_stops_with_the_checkpoint_before(tmp_path, clips, monkeypatch):
    step = Training.train_step

    def diverge(self, batch):
        losses = step(self, batch)
        return losses | {'norm': float('inf')} if self.step == 4 else losses

    monkeypatch.setattr(Training, 'train_step', diverge)
    with pytest.raises(ValueError, match='diverged in step 4'):
        run(tmp_path, clips)
    monkeypatch.undo()
    assert run(tmp_path, clips, until=3).step == 3


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', None])
def test_a_damaged_checkpoint_is_named(tmp_path, clips, content):
    run(tmp_path, clips, until=2)
    file = tmp_path / 'resume.pt'
    file.write_bytes(file.read_bytes()[:5000] if content is None else content)
    with pytest.raises(ValueError, match=r'resume\.pt can.t be read.*delete it to start again'):
        run(tmp_path, clips)


def test_a_student_of_other_sizes_is_not_continued(tmp_path, clips):
    config = run(tmp_path, clips, until=2).config
    with pytest.raises(ValueError, match='other sizes'):
        Training(config, tmp_path, sizes=replace(TINY, head=16)).resume()


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, clips, monkeypatch):
    run(tmp_path, clips, until=2)
    before = (tmp_path / 'resume.pt').read_bytes()

    def full(state, path):
        path.write_bytes(b'a part')
        raise RuntimeError('PytorchStreamWriter failed writing file data/1: file write failed')

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(OSError, match=r"resume\.part can't be written; is the disk"):
        run(tmp_path, clips)
    assert (tmp_path / 'resume.pt').read_bytes() == before
    assert not list(tmp_path.glob('*.part'))


def test_a_run_of_another_kind_is_not_continued(tmp_path, clips):
    run(tmp_path, clips, until=2)
    with pytest.raises(ValueError, match='choose another --out'):
        Training(TrainConfig(steps=99), tmp_path, sizes=TINY).resume()


def test_rate_warms_up_and_cools_down():
    c = TrainConfig(steps=100, warm_up=10, rate=1.0)
    rates = [rate_at(s, c) for s in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (s + 1) for s in range(10)])
    assert max(rates) == 1 and all(
        a >= b for a, b in itertools.pairwise(rates[9:]))
    assert rates[-1] < 0.02


@pytest.mark.parametrize('text, error', [
    ('optimizer: {}', "section 'optimizer' is unknown"),
    ('train: {stepz: 3}', r'train.stepz is unknown'),
    ('train: {steps: many}', 'it must be int'),
    ('student: {search_size: 256}', 'search_size differs'),
    ('train: [1, 2]', r'section train is \[1, 2\]'),
    ('- a\n- b', 'holds list, not sections'),
    ('train: {steps: 3', "can't be read"),
    ('train: {batch: true}', 'must be int'),
    ('train: {save_every: 0}', '1 or more')])
def test_bad_recipes_say_what_is_wrong(tmp_path, text, error):
    path = tmp_path / 'r.yaml'
    path.write_text(text)
    with pytest.raises(RecipeError, match=error):
        load_recipe(str(path))


def test_an_empty_section_means_its_defaults(tmp_path):
    path = tmp_path / 'r.yaml'
    path.write_text('train:\nstudent:\n')
    recipe = load_recipe(str(path), steps=7, seed=None)
    assert recipe.train == TrainConfig(steps=7) and recipe.student == StudentConfig()


@pytest.mark.parametrize('options, text', [
    (['--steps', '0'], 'of 1 or more'), (['--until', '-3'], 'of 0 or more'),
    (['--workers', '-1'], 'of 0 or more'), (['--calibration-samples', '0'], 'of 1 or more'),
    (['--device', 'gpu'], "device 'gpu' is unknown"), (['--device', 'cuda:99'], 'asked for'),
    (['--data', 'nowhere'], 'holds none of'), (['--out', 'r.yaml'], 'r.yaml')])
def test_wrong_usage_is_told_and_leaves_status_2(options, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'r.yaml').write_text('train: {steps: 1, batch: 2, bf16: false, workers: 0}')
    try:
        status = cli.main(['r.yaml', '--out', 'out', *options])
    except SystemExit as stop:
        status = stop.code
    error = capsys.readouterr().err
    assert status == 2 and text in error.splitlines()[-1] and 'rgbt train: ' in error


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
    recipe.write_text('student: {stem: 4, width8: 8, width16: 8}\ntrain: {steps: 1, batch: 1}')
    assert cli.main([str(recipe), '--out', str(tmp_path / 'out'), '--data', str(tmp_path),
                     '--workers', '0', '--until', '1']) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('rgbt train: ') and text in error


def write_hit_uav(folder, image):
    folder.mkdir()
    (folder / 'boxes.csv').write_text(f'image,class,x,y,w,h\n{image},Person,1,1,9,9\n')


def test_losses_are_drawn_from_the_log(tmp_path):
    log, picture = tmp_path / 'log.csv', tmp_path / 'losses.png'
    log.write_text('step,loss,score,box\n1,3,2,1\n')
    plot_losses(log, picture)
    assert not picture.exists()  # one step is no curve
    log.write_text('step,loss,score,box\n' + ''.join(
        f'{i},{9 / i},{4 / i},{1 / i}\n' for i in range(1, 400)))
    plot_losses(log, picture)
    image = cv2.imread(str(picture))
    ink = (np.ptp(image, axis=2) > 60)  # the curves alone are coloured
    for panel in np.array_split(ink, 3):
        columns = np.nonzero(panel.any(0))[0]
        heights = [np.nonzero(panel[:, c])[0].mean() for c in (columns[0], columns[-1])]
        assert columns[-1] - columns[0] > 0.8 * image.shape[1]
        assert heights[0] < heights[1] - 100, 'a falling loss must fall'
    with pytest.raises(OSError, match='written'):
        plot_losses(log, tmp_path / 'no' / 'folder.png')
