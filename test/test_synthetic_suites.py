"""The public benchmark of made-up videos: the same everywhere, with truths that are true."""
from __future__ import annotations

from dataclasses import asdict
import hashlib
import json

import numpy as np
import pytest

from rgbt_tracker_ros import cli
from rgbt_tracker_ros.cli_play import command
from rgbt_tracker_ros.data.camera_style import STYLES
from rgbt_tracker_ros.data.layouts import LayoutError, open_layout
from rgbt_tracker_ros.data.options import OptionError
from rgbt_tracker_ros.data.pair_sources import Condition
from rgbt_tracker_ros.data.scene_pairs import CLUTTER, OCCLUDER, TARGET
from rgbt_tracker_ros.data.scene_video import SceneVideo
from rgbt_tracker_ros.data.suite_video import suite_video
from rgbt_tracker_ros.data.suites import ABSENT_BELOW, SUITES

# frame 37 of the third video of each suite: another digest is another benchmark
DIGESTS = {
    'plain': '6a7304225437874e',
    'hard': '6c5ed20ad693b535',
    'night': '82fae01995211dbc',
    'small': '00b2862e2e1d663e',
    'crossing': 'fb748eef0453b3e2',
    'dropout': 'f35c56f7d124359a',
    'complete': 'f55ff72ac7f931f4',
    'misaligned': 'a5397af81427f218',
    'aligned': 'c9219338c9f922d3',
}
BARE = {'difficulty': 0.0, 'degraded': 0.0, 'occlusions': 0.0, 'hidden': 0, 'distractors': 0.0,
        'clutter': 0.0, 'missing': 0.0, 'frozen': 0.0}


def digest(pair) -> str:
    found = hashlib.sha256()
    for image in (pair.rgb, pair.thermal):
        found.update(b'none' if image is None else image.tobytes())
    return found.hexdigest()[:16]


def bare(video: SceneVideo) -> SceneVideo:
    """Return the same motion of the target, without noise, ground and all else."""
    return SceneVideo(video.seed, **{**asdict(video.options), **BARE})


def drawn_box(image: np.ndarray) -> np.ndarray:
    """Return x, y, w, h of what differs from the ground, which is of one colour."""
    image = image.reshape(*image.shape[:2], -1).astype(int)
    ground = np.median(image.reshape(-1, image.shape[2]), axis=0)
    rows, columns = np.nonzero((np.abs(image - ground) > 6).any(2))
    x, y = columns.min(), rows.min()
    return np.array([x, y, columns.max() + 1 - x, rows.max() + 1 - y])


# --- the same for everybody

def test_every_suite_has_its_digest_and_twins_are_there():
    assert set(DIGESTS) == set(SUITES)
    assert all(not s.twin or s.twin in SUITES for s in SUITES.values())


@pytest.mark.parametrize('suite', SUITES)
def test_a_suite_is_the_same_everywhere(suite):
    sequence = open_layout('synthetic', suite=suite)[f'{suite}_03']
    assert digest(sequence.pair(37)) == DIGESTS[suite]
    assert len(sequence) == 100 and sequence.pair(0).size == (320, 240)
    assert sequence.attributes == (suite,) and sequence.raw_truth_thermal is None
    alone = suite_video(suite, 3)       # frames come in any order
    for index in (99, 36, 38):
        assert digest(sequence.pair(index)) == digest(alone.pair(index))


def test_videos_without_what_suites_ask_for_are_as_they_were():
    video = SceneVideo(3, registration_error=4.0, occlusions=2.0)
    assert digest(video.pair(57)) == 'a942767e3d04a6d6'


@pytest.mark.parametrize('suite, twin', [(n, s.twin) for n, s in SUITES.items() if s.twin])
def test_twins_differ_in_nothing_else(suite, twin):
    for number in (1, 2):
        one, other = suite_video(suite, number), suite_video(twin, number)
        changed = SUITES[suite].settings.items() ^ SUITES[twin].settings.items()
        assert one.seed == other.seed
        assert {k for k, v in asdict(one.options).items() ^ asdict(other.options).items()} == {
            k for k, v in changed}
        np.testing.assert_array_equal(one.truth, other.truth)
        np.testing.assert_array_equal(one.pair(3).rgb, other.pair(3).rgb)


# --- the truth

@pytest.mark.parametrize('suite', SUITES)
def test_the_truth_fits_what_is_drawn(suite):
    for number in (1, 2):
        video = bare(suite_video(suite, number))
        whole = [i for i in range(0, 100, 9) if (video.truth[i, :2] > 2).all()
                 and (video.truth[i, :2] + video.truth[i, 2:] < (318, 238)).all()]
        for index in whole[:4]:
            pair = video.pair(index)
            for image, truth in ((pair.rgb, video.truth), (pair.thermal, video.truth_thermal)):
                if image is pair.thermal and video.options.registration_error and not (
                        (truth[index, :2] > 2).all()
                        and (truth[index, :2] + truth[index, 2:] < (318, 238)).all()):
                    continue        # shifted out of its picture
                # edges are softer along a long side, and thermal is blurred
                np.testing.assert_allclose(drawn_box(image), truth[index],
                                           atol=2.5 + 0.05 * truth[index, 2:].max())


@pytest.mark.parametrize('suite', ['hard', 'crossing'])
def test_how_much_of_the_target_is_visible(suite):
    """Where the target is left out, the pixels that change are those that showed it."""
    for number in (2, 4):
        video = suite_video(suite, number)
        quiet = {**asdict(video.options), 'difficulty': 0.0, 'degraded': 0.0, 'missing': 0.0,
                 'frozen': 0.0}
        there, without, alone = (SceneVideo(video.seed, **quiet) for _ in range(3))
        without._shown = there._shown.clone()
        without._shown[:, TARGET] = False
        alone._shown = there._shown.clone()
        alone._shown[:, TARGET + 1:] = False
        alone._shown[:, CLUTTER:TARGET] = False
        gone = SceneVideo(video.seed, **quiet)
        gone._shown = alone._shown.clone()
        gone._shown[:, TARGET] = False
        for index in range(3, 100, 12):
            shown, all_of_it = (
                (np.abs(a.pair(index).rgb.astype(int) - b.pair(index).rgb) > 4).any(2).sum()
                for a, b in ((there, without), (alone, gone)))
            if (video.truth[index, :2] > 0).all():
                assert shown / all_of_it == pytest.approx(video.visible[index], abs=0.2)


def test_a_hidden_target_counts_as_absent():
    hidden = 0
    for number in range(1, 8):
        video = suite_video('hard', number)
        sequence = open_layout('synthetic', suite='hard')[f'hard_{number:02d}']
        absent = np.isnan(sequence.truth).any(1)
        np.testing.assert_array_equal(absent, video.visible < ABSENT_BELOW)
        assert not absent[0]
        hidden = max(hidden, int(absent.sum()))
    assert 15 <= hidden <= 40


# --- what is in the suites

def test_a_third_of_the_pictures_is_missing_and_never_both():
    for number in range(1, 6):
        video = suite_video('dropout', number)
        missing = video.sources < 0
        assert missing.any(1).sum() == 33 and not missing.all(1).any() and not missing[:5].any()
        index = int(np.flatnonzero(missing[:, 0] | missing[:, 1])[0])
        pair = video.pair(index)
        assert [pair.rgb is None, pair.thermal is None] == missing[index].tolist()
    assert not (suite_video('complete', 1).sources < 0).any()


def test_a_frozen_camera_shows_its_last_picture_again():
    video = SceneVideo(2, frames=60, frozen=0.3, outage=6, degraded=0.8)
    own = np.arange(60)
    frozen = (video.sources != own[:, None]) & (video.sources >= 0)
    assert frozen.any(1).sum() == 18 and frozen.any(0).all() and not frozen.all(1).any()
    for camera, name in enumerate(('rgb', 'thermal')):
        index = int(np.flatnonzero(frozen[:, camera])[0])
        again, last = video.pair(index), video.pair(int(video.sources[index, camera]))
        np.testing.assert_array_equal(getattr(again, name), getattr(last, name))
        other = 'thermal' if name == 'rgb' else 'rgb'
        assert (getattr(again, other) != getattr(last, other)).any()
        assert again.stamp > last.stamp
        # the other camera is not bad at the same time
        bad = (Condition.THERMAL_DEGRADED, Condition.RGB_DEGRADED)[camera]
        assert not (video.conditions[frozen[:, camera]] == bad).any()


def test_thermal_is_off_by_up_to_16_px_all_through_a_video():
    offsets = []
    for number in range(1, 21):
        video = suite_video('misaligned', number)
        offset = video.truth_thermal - video.truth
        assert np.ptp(offset, axis=0).max() < 1e-9 and not offset[:, 2:].any()
        offsets.append(offset[0, :2])
    assert 12 < np.abs(offsets).max() <= 16
    assert (np.min(offsets, axis=0) < 0).all() and (np.max(offsets, axis=0) > 0).all()
    aligned = suite_video('aligned', 1)
    np.testing.assert_array_equal(aligned.truth_thermal, aligned.truth)


def test_a_night_is_dark():
    dark = [(suite_video('night', number).conditions == Condition.RGB_DEGRADED).mean()
            for number in range(1, 21)]
    assert np.mean(dark) > 0.8 and min(dark) > 0.5
    video = suite_video('night', 1)
    assert video.pair(int(np.flatnonzero(video.conditions)[0])).rgb.mean() < 20


def test_small_targets_are_small():
    for number in range(1, 21):
        size = np.sqrt(suite_video('small', number).truth[:, 2:].prod(1))
        assert 7 < size.min() and size.max() < 17


def test_others_cross_the_target_several_times():
    passes = []
    for number in range(1, 11):
        place = suite_video('crossing', number)._motion[0]
        away = np.linalg.norm(place[:, CLUTTER:TARGET] - place[:, [TARGET]], axis=2)
        close = np.concatenate((np.zeros((1, TARGET - CLUTTER), bool), away < 0.8))
        passes.append((np.diff(close.astype(int), axis=0) > 0).sum())
        assert away[0].min() > 0.8
    assert min(passes) >= 2 and np.mean(passes) >= 4


def test_hard_videos_have_fast_motion_and_full_occlusion():
    steps, longest = [], []
    for number in range(1, 11):
        video = suite_video('hard', number)
        place, size, _ = video._motion
        steps.append(np.linalg.norm(np.diff(place[:, TARGET], axis=0), axis=1).max())
        over = np.abs(place[:, OCCLUDER] - place[:, TARGET]) + size[:, TARGET] / 2
        longest.append(int((over < size[:, OCCLUDER] / 2).all(1).sum()))
    assert 1.0 < max(steps) < 2.6               # half a window is 2 of the target's sizes
    assert 10 < max(longest) <= 30


@pytest.mark.parametrize('suite', SUITES)
def test_the_target_can_be_told_in_either_camera(suite):
    for number in (1, 5, 9):
        video = suite_video(suite, number)
        assert min(video.contrast(0)) > 14 and video.visible[0] > 0.95
        noise = 4 * video.options.difficulty
        assert min(video.contrast(0)) > 2 * noise


# --- the layout

def test_options_of_the_layout():
    both = open_layout('synthetic', suite='night,small', sequences=2, frames=10)
    assert both.sequence_names == ('night_01', 'night_02', 'small_01', 'small_02')
    short, whole = both['night_02'], open_layout('synthetic', suite=['night'])['night_02']
    assert len(short) == 10 and digest(short.pair(9)) == digest(whole.pair(9))
    np.testing.assert_array_equal(short.truth, whole.truth[:10])
    other = open_layout('synthetic', suite='night', seed=1)['night_02']
    assert digest(other.pair(9)) != digest(whole.pair(9))
    assert len(open_layout('synthetic')) == 20 * len(SUITES)
    short.pair(0).rgb[:] = 0                    # a tracker that paints on its picture
    assert digest(short.pair(0)) == digest(whole.pair(0))


@pytest.mark.parametrize('style', STYLES)
def test_other_cameras_see_the_same_sequence(style):
    own, seen = (open_layout('synthetic', suite='dropout', **options)['dropout_01']
                 for options in ({}, {'style': style}))
    np.testing.assert_array_equal(own.truth, seen.truth)
    assert digest(own.pair(0)) != digest(seen.pair(0))
    for index in range(0, 100, 11):
        a, b = own.pair(index), seen.pair(index)
        assert (a.rgb is None, a.thermal is None) == (b.rgb is None, b.thermal is None)
        assert a.stamp == b.stamp


@pytest.mark.parametrize('options, message', [
    ({'suite': 'evening'}, "suite 'evening' is not known; choose from plain, hard"),
    ({'suite': 'night,night'}, "'night' is named twice"),
    ({'suite': 'night', 'sequences': 0}, 'sequences is 0; it must be a whole number from 1'),
    ({'suite': 'night', 'frames': 1}, 'frames is 1; it must be a whole number from 2'),
    ({'suite': 'night', 'frames': 'x'}, "frames is 'x'"),
    ({'suite': 'night', 'seed': -1}, 'seed is -1'), ({'suite': 'night', 'seed': True}, 'seed is'),
    ({'suite': 'night', 'style': 'baroque'}, "no camera style 'baroque'"),
    ({'sweet': 'night'}, 'layout synthetic has no option sweet')])
def test_wrong_options_of_the_layout(options, message):
    with pytest.raises(LayoutError, match=message):
        open_layout('synthetic', **options)


@pytest.mark.parametrize('arguments, message', [
    (('evening', 1), "no suite 'evening'; there are plain"), (('night', 1, 2**31), 'seed is 214')])
def test_wrong_videos(arguments, message):
    with pytest.raises(OptionError, match=message):
        suite_video(*arguments)


# --- the command line

def evaluate(*args) -> int:
    return cli.main(['evaluate', '--layout', 'synthetic', *map(str, args)])


def test_a_suite_is_evaluated_without_a_root(tmp_path, capsys):
    file = tmp_path / 'x.json'
    assert evaluate('--suite', 'night,dropout', '--option', 'sequences=1', '--frames', 10,
                    '--tracker', 'student,csrt-rgb,csrt-thermal,csrt,kcf', '--json', file,
                    '--device', 'cpu', '--report', tmp_path / 'report') == 0
    runs = json.loads(file.read_text())
    assert [r['tracker'] for r in runs] == ['student', 'csrt-rgb', 'csrt-thermal', 'csrt', 'kcf']
    for run in runs:
        assert list(run['sequences']) == ['night_01', 'dropout_01']
        assert run['convention'] == 'plain' and list(run['attributes']) == ['night', 'dropout']
    assert runs[2]['attributes']['night']['SR'] > 0.5
    assert 'synthetic, night,dropout' in (tmp_path / 'report' / 'index.html').read_text()


def test_sequences_are_listed(capsys):
    assert evaluate('--suite', 'small', '--option', 'sequences=2', '--list') == 0
    assert capsys.readouterr().out.splitlines() == [
        'small_01  100 frames, 100 annotated  small', 'small_02  100 frames, 100 annotated  small']
    assert cli.main(['evaluate', '--list']) == 0
    assert 'RGB nearly black most of the time' in capsys.readouterr().out


@pytest.mark.parametrize('args, message', [
    (['--root', '/tmp'], 'is drawn, not read; leave --root out'),
    (['--suite', 'evening'], "suite 'evening' is not known"),
    (['--suite', 'night', '--sequences', 'night_21'], "no sequence 'night_21'; did you mean")])
def test_wrong_commands(args, message, capsys):
    assert evaluate(*args, '--tracker', 'kcf') == 2
    assert message in capsys.readouterr().err


def test_suites_are_for_this_layout_alone(tmp_path, capsys):
    assert cli.main(['evaluate', '--layout', 'folder', '--root', str(tmp_path), '--suite',
                     'night']) == 2
    assert 'layout folder has no option suite' in capsys.readouterr().err


def test_a_sequence_can_be_played():
    words = command(['--layout', 'synthetic', '--sequence', 'night_07'])
    assert {'layout:="synthetic"', 'sequence:="night_07"', 'root:=""'} <= set(words)
    with pytest.raises(ValueError, match='drawn, not read'):
        command(['--layout', 'synthetic', '--scene', '1'])


def test_the_player_plays_it():
    pytest.importorskip('rclpy')
    from rgbt_tracker_ros.nodes.player_parameters import PlayerParameters, open_played
    source = open_played(PlayerParameters(layout='synthetic', sequence='dropout_01', count=40))
    video = suite_video('dropout', 1)
    shots = list(source.shots())
    assert len(shots) == 40 and source.has_truth and source.rate == 30
    for shot, row in zip(shots, video.sources, strict=False):
        assert ['rgb' in shot.images, 'thermal' in shot.images] == (row >= 0).tolist()
        assert shot.pair.box.as_tuple() == pytest.approx(tuple(video.truth[shot.pair.number]))
    with pytest.raises(ValueError, match='synthetic has no sequence'):
        open_played(PlayerParameters(layout='synthetic', sequence='x'))
