"""The online tracker, with the shipped student, on scenes made by the test."""
import subprocess
import sys

import numpy as np
import pytest

from rgbt_tracker_ros.data.scenes import Scene, SceneConfig
from rgbt_tracker_ros.tracking.confidence import find_peak, motion_prior
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.search import Scan
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box, BoxError, Pair, PairError, State


@pytest.fixture(scope='module')
def tracker():
    return Tracker.load(device='cpu')


@pytest.fixture(autouse=True)
def fresh(tracker):
    tracker.config = TrackerConfig()
    tracker.reset()


def follow(tracker, scene, change=lambda i, pair: pair):
    """Run a tracker over a scene; returns estimates and overlaps from the second frame on."""
    estimates, overlaps = [], []
    for i, (pair, box, _) in enumerate(scene):
        if i == 0:
            tracker.init(pair, box)
            continue
        estimates.append(tracker.update(change(i, pair)))
        overlaps.append(estimates[-1].box.iou(box))
    return estimates, np.array(overlaps)


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_follows_a_target_among_others(tracker, seed):
    estimates, overlaps = follow(tracker, Scene(seed, SceneConfig(frames=60)))
    assert (overlaps > 0.5).mean() > 0.9
    assert np.mean([e.state == State.TRACKING for e in estimates]) > 0.9
    for e in estimates:
        assert 0 <= e.confidence <= 1
        assert e.weight_rgb + e.weight_thermal == pytest.approx(1)
        assert 0 < e.timings['network'] <= e.timings['total']


@pytest.mark.parametrize('gone', ['rgb', 'thermal'])
def test_either_modality_may_go_and_come_back(tracker, gone):
    def change(i, pair):
        if not 15 <= i < 45:
            return pair
        return Pair(None if gone == 'rgb' else pair.rgb,
                    None if gone == 'thermal' else pair.thermal, pair.stamp)

    estimates, overlaps = follow(tracker, Scene(1, SceneConfig(frames=60)), change)
    for e in estimates[14:44]:
        assert (e.weight_rgb if gone == 'rgb' else e.weight_thermal) == 0
    assert overlaps[44:].mean() > 0.5


@pytest.mark.parametrize('stuck', ['rgb', 'thermal'])
def test_a_frozen_picture_is_noticed_and_left_out(tracker, stuck):
    held = {}

    def change(i, pair):
        if i == 15:
            held['pair'] = pair
        if not 15 <= i < 45:
            return pair
        old = held['pair']
        return Pair(old.rgb if stuck == 'rgb' else pair.rgb,
                    old.thermal if stuck == 'thermal' else pair.thermal, pair.stamp)

    estimates, overlaps = follow(tracker, Scene(1, SceneConfig(frames=60)), change)
    assert estimates[40].frozen == (stuck,)
    assert (estimates[40].weight_rgb if stuck == 'rgb' else estimates[40].weight_thermal) == 0
    assert estimates[-1].frozen == () and overlaps[-10:].mean() > 0.5


def test_both_frozen_is_a_scene_that_stands_still(tracker):
    pair, box, _ = next(iter(Scene(1)))
    tracker.init(pair, box)
    for i in range(1, 20):
        e = tracker.update(Pair(pair.rgb, pair.thermal, i * 33_000_000))
    assert set(e.frozen) == {'rgb', 'thermal'}
    assert e.state == State.TRACKING and e.box.iou(box) > 0.5


def test_a_hidden_target_is_lost_and_found_again(tracker):
    tracker.config = TrackerConfig(lost_after=0.5)
    scene = Scene(4, SceneConfig(frames=110, hidden=(20, 70), distractors=0))
    estimates, overlaps = follow(tracker, scene)
    states = [e.state for e in estimates]
    assert State.SEARCHING in states[19:45] and State.LOST in states[40:69]
    assert not any(s.in_sight for s in states[45:69]), 'held something that is not the target'
    assert states[-1] == State.TRACKING and overlaps[-5:].mean() > 0.5


def test_a_new_target_replaces_the_old_one_and_a_bad_one_does_not(tracker):
    pair, box, _ = next(iter(Scene(1)))
    tracker.init(pair, box)
    with pytest.raises(BoxError):
        tracker.init(pair, Box(5000, 5000, 10, 10))
    assert tracker.has_target
    assert tracker.update(pair).box.iou(box) > 0.5


def test_update_needs_init_and_reset_forgets(tracker):
    pair, box, _ = next(iter(Scene(1)))
    with pytest.raises(RuntimeError, match=r'before Tracker\.init'):
        tracker.update(pair)
    tracker.init(pair, box)
    tracker.reset()
    assert not tracker.has_target


def test_the_reference_image_must_keep_its_size(tracker):
    pair, box, _ = next(iter(Scene(1)))
    tracker.init(pair, box)
    with pytest.raises(PairError, match='give the target again'):
        tracker.update(Pair(pair.rgb[:200], pair.thermal, 1))
    assert tracker.update(Pair(pair.rgb, pair.thermal[:200], 2)).state == State.TRACKING


@pytest.mark.parametrize('convert', [
    lambda t: t, lambda t: t.astype(np.uint16) * 40 + 7000,
    lambda t: t.astype(np.float32) * 0.1 + 290, lambda t: np.dstack([t] * 3)])
def test_thermal_of_every_depth(tracker, convert):
    def change(i, pair):
        return Pair(None, convert(pair.thermal), pair.stamp)

    scene = Scene(2, SceneConfig(frames=30, distractors=0))
    pair, box, _ = next(iter(scene))
    tracker.init(change(0, pair), box)
    overlaps = [tracker.update(change(i, p)).box.iou(b) for i, (p, b, _) in enumerate(scene)]
    assert np.mean(overlaps) > 0.5


def test_thermal_of_another_size_and_place_is_registered(tracker):
    """Thermal at half the size and 16 px to the left, told by a homography."""
    tracker.config = TrackerConfig(homography=(2, 0, 16, 0, 2, 0, 0, 0, 1))

    def change(i, pair):
        small = pair.thermal[::2, ::2]
        return Pair(pair.rgb if i == 0 else None, np.roll(small, -8, axis=1), pair.stamp)

    scene = Scene(2, SceneConfig(frames=30, distractors=0))
    pair, box, _ = next(iter(scene))
    tracker.init(change(0, pair), box)
    overlaps = [tracker.update(change(i + 1, p)).box.iou(b)
                for i, (p, b, _) in enumerate(scene)]
    assert np.mean(overlaps) > 0.5


def test_the_prior_decides_between_twins_and_leaves_the_score_alone():
    logits = np.full((24, 24), -8, np.float32)
    logits[12, 12], logits[12, 20] = 2.0, 2.2
    prior = motion_prior(24, 8, (100, 100), (36, 36))
    assert find_peak(logits, prior, 0.0)[:2] == (12, 20)
    chosen = find_peak(logits, prior, 0.3)
    assert chosen[:2] == (12, 12) and chosen.logit == 2.0


@pytest.mark.parametrize('lowest', [-8, -200, -3e4])
def test_scores_near_zero_are_told_apart_without_overflow(lowest):
    logits = np.full((24, 24), lowest, np.float32)
    logits[3, 5] = -60
    with np.errstate(over='raise'):
        assert find_peak(logits, np.ones((24, 24)), 0.3).logit == (
            -60 if lowest < -60 else lowest)


def test_the_scan_grows_to_the_whole_image():
    scan = Scan(Box(300, 200, 40, 40), 0, 4.0)
    assert scan.next_place((640, 480), 1.1) == (320, 220)
    seen = set()
    for frame in range(300):
        x, y = scan.next_place((640, 480), 1.1)
        if frame < 3:
            assert max(abs(x - 320), abs(y - 220)) <= 80 * 1.1 ** (frame + 2)
        seen.add((x, y))
    for corner in ((0, 0), (640, 0), (0, 480), (640, 480)):
        assert min(max(abs(x - corner[0]), abs(y - corner[1])) for x, y in seen) <= 80


def test_torch_is_imported_by_load_alone():
    code = ('import sys; from rgbt_tracker_ros.tracking.tracker import Tracker; '
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


@pytest.mark.parametrize('field, value', [
    ('thermal_range', 'auto8'), ('tracking_threshold', 1.5), ('lost_frames', 0),
    ('homography', (1.0, 2.0)), ('search_growth', 0.9), ('frozen_after', -1.0)])
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match='must be'):
        TrackerConfig(**{field: value})
