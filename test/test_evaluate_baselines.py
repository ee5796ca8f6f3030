"""OpenCV's trackers behind our contract, and trackers by name."""
from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from rgbt_tracker_ros.data.scenes import Scene, SceneConfig
from rgbt_tracker_ros.evaluation.baselines import ALGORITHMS, VIEWS, BaselineError, OpenCVTracker
from rgbt_tracker_ros.evaluation.settings import read_config
from rgbt_tracker_ros.evaluation.trackers import TrackerError, parse_trackers
from rgbt_tracker_ros.models.checkpoint import SHIPPED
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.types import Box, Pair, PairError, State

SCENE = list(Scene(1, SceneConfig(frames=12, side=160, target=40, speed=1.0, distractors=0)))
FIRST, BOX = SCENE[0].pair, SCENE[0].box


class Recorder:
    """Stands in for one of OpenCV's trackers and remembers what it was shown."""

    answer = (True, (10, 11, 12, 13))

    def __init__(self) -> None:
        self.pictures = []

    def init(self, picture, box):
        self.pictures.append(picture)
        self.box = box

    def update(self, picture):
        self.pictures.append(picture)
        return self.answer


@pytest.fixture
def recorder(monkeypatch):
    made = Recorder()
    monkeypatch.setattr(cv2, 'TrackerCSRT_create', lambda: made)
    return made


@pytest.mark.parametrize('algorithm', ALGORITHMS)
@pytest.mark.parametrize('view', VIEWS)
def test_every_baseline_follows_a_scene(algorithm, view):
    tracker = OpenCVTracker(algorithm, view)
    first = tracker.init(FIRST, BOX)
    assert first.box.as_tuple() == pytest.approx(BOX.as_tuple())
    assert (first.state, first.confidence) == (State.TRACKING, 1.0)
    for frame in SCENE[1:]:
        estimate = tracker.update(frame.pair)
    assert estimate.state == State.TRACKING and estimate.box.iou(frame.box) > 0.4
    assert estimate.weight_rgb + estimate.weight_thermal == 1


@pytest.mark.parametrize('view, rgb, thermal, gray', [
    ('rgb', 200, 100, 200), ('thermal', 200, 100, 100), ('mean', 200, 100, 150),
    ('mean', 200, None, 200), ('mean', None, 100, 100), ('thermal', None, 100, 100)])
def test_a_view_is_made_of_the_images_that_it_names(recorder, view, rgb, thermal, gray):
    tracker = OpenCVTracker('csrt', view)
    tracker.init(Pair(None if rgb is None else np.full((48, 64, 3), rgb, np.uint8),
                      None if thermal is None else np.full((48, 64), thermal, np.uint8)),
                 Box(10.4, 10.6, 20.2, 20))
    [picture] = recorder.pictures
    assert picture.shape == (48, 64, 3) and (picture == gray).all()
    assert recorder.box == (10, 11, 21, 20)


def test_rgb_is_shown_blue_first(recorder):
    OpenCVTracker('csrt', 'rgb').init(
        Pair(np.full((48, 64, 3), (1, 2, 3), np.uint8)), Box(8, 8, 20, 20))
    assert (recorder.pictures[0] == (3, 2, 1)).all()


def test_deep_thermal_becomes_levels_as_for_the_student(recorder):
    thermal = np.full((48, 64), 3000, np.uint16)
    thermal[10:30, 10:30] = 3600
    config = TrackerConfig(thermal_range='fixed', thermal_min=3000, thermal_max=4000)
    OpenCVTracker('csrt', 'thermal', config).init(Pair(None, thermal), Box(8, 8, 20, 20))
    assert set(np.unique(recorder.pictures[0])) == {0, 153}


@pytest.mark.parametrize('homography', [(), (2, 0, 0.5, 0, 2, 0.5, 0, 0, 1)])
def test_thermal_is_laid_over_rgb(recorder, homography):
    thermal = np.zeros((24, 32), np.uint8)
    thermal[5:10, 10:20] = 255
    tracker = OpenCVTracker('csrt', 'thermal', TrackerConfig(homography=homography))
    tracker.init(Pair(np.zeros((48, 64, 3), np.uint8), thermal), Box(20, 10, 20, 10))
    rows, columns = np.nonzero(recorder.pictures[0][..., 0] > 127)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 19, 20, 39)


@pytest.mark.parametrize('lose', ['answer', 'image'])
def test_a_lost_target_keeps_its_last_box(recorder, lose):
    tracker = OpenCVTracker('csrt', 'rgb')
    tracker.init(FIRST, BOX)
    assert tracker.update(FIRST).box == Box(10, 11, 12, 13)
    recorder.answer = (lose != 'answer', (0, 0, 0, 0))
    pair = FIRST if lose == 'answer' else Pair(None, FIRST.thermal)
    estimate = tracker.update(pair)
    assert (estimate.box, estimate.state, estimate.confidence) == (
        Box(10, 11, 12, 13), State.LOST, 0.0)


def test_errors_of_use():
    tracker = OpenCVTracker('kcf', 'rgb')
    with pytest.raises(RuntimeError, match='before'):
        tracker.update(FIRST)
    with pytest.raises(PairError, match='kcf-rgb needs a rgb image'):
        tracker.init(Pair(None, FIRST.thermal), BOX)
    tracker.init(FIRST, BOX)
    with pytest.raises(PairError, match='64x48, the target was given in 160x160'):
        tracker.update(Pair(np.zeros((48, 64, 3), np.uint8)))
    with pytest.raises(ValueError, match='no baseline'):
        OpenCVTracker('kcf', 'depth')


def test_a_build_without_contrib_is_named(monkeypatch):
    monkeypatch.delattr(cv2, 'TrackerCSRT_create')
    with pytest.raises(BaselineError, match=r'cv2\.TrackerCSRT_create.*opencv-contrib-python'):
        OpenCVTracker('csrt')
    with pytest.raises(TrackerError, match='opencv-contrib-python'):
        parse_trackers(['csrt-rgb'])


# --- trackers by name

@pytest.mark.parametrize('text, name, source, camera', [
    ('csrt', 'csrt', 'csrt', ''), ('kcf-thermal', 'kcf-thermal', 'kcf-thermal', ''),
    ('mine=mosse', 'mine', 'mosse', ''), ('csrt@rgb', 'csrt@rgb', 'csrt', 'rgb'),
    ('x=csrt@thermal', 'x', 'csrt', 'thermal'),
    ('evaluate_kit:steady', 'steady', 'evaluate_kit:steady', '')])
def test_names_of_trackers(text, name, source, camera):
    [spec] = parse_trackers([text])
    assert (spec.name, spec.source, spec.camera) == (name, source, camera)
    assert spec.make() is not spec.make()


@pytest.mark.parametrize('names, message', [
    (['sort'], r"no tracker 'sort'.*student, csrt"), (['csrt-depth'], "no tracker 'csrt-depth'"),
    (['csrt', 'csrt'], "two trackers are called 'csrt'"), (['csrt@left'], 'rgb or thermal'),
    (['no.safetensors'], 'no.safetensors does not exist'), (['nowhere:x'], "can't be imported"),
    (['evaluate_kit:nothing'], "can't be imported"),
    (['evaluate_kit:not_a_function'], 'is no function'), (['a/b=csrt'], 'can not be a file name')])
def test_wrong_trackers_are_refused(names, message):
    with pytest.raises(TrackerError, match=message):
        parse_trackers(names)


@pytest.mark.parametrize('folder', ['lr=0.1', 'me@work', 'rgb@thermal=x'])
@pytest.mark.parametrize('label, at, name', [('', '', 'x'), ('', '@rgb', 'x@rgb'),
                                             ('mine=', '@thermal', 'mine')])
def test_weights_lie_in_folders_of_any_name(tmp_path, folder, label, at, name):
    file = tmp_path / folder / 'x.safetensors'
    file.parent.mkdir()
    shutil.copyfile(SHIPPED, file)
    [spec] = parse_trackers([f'{label}{file}{at}'], device='cpu')
    assert (spec.name, spec.source, spec.camera) == (name, str(file), at[1:])


def test_weights_that_can_not_be_loaded_are_refused(tmp_path):
    file = tmp_path / 'w.safetensors'
    file.write_bytes(b'nothing')
    with pytest.raises(TrackerError, match=r'w: .*not a readable safetensors'):
        parse_trackers([str(file)], device='cpu')


@pytest.mark.parametrize('text', [
    'lost_frames: 7\nhomography: [2, 0, 0, 0, 2, 0, 0, 0, 1]',
    '/**:\n  rgbt_tracker:\n    ros__parameters:\n      image_qos: auto\n      lost_frames: 7\n'
    '      homography: [2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0]'])
def test_settings_come_from_yaml_or_the_node_s_own_file(tmp_path, text):
    file = tmp_path / 't.yaml'
    file.write_text(text)
    assert read_config(file) == TrackerConfig(
        lost_frames=7, homography=(2, 0, 0, 0, 2, 0, 0, 0, 1))


@pytest.mark.parametrize('text, message', [
    ('lost_frame: 7', "no setting 'lost_frame'"), ('lost_frames: 0', 'lost_frames is 0'),
    ('lost_frames: many', 't.yaml'), ('- 1', 'name: value'), ('a: [', 'not YAML')])
def test_wrong_settings_are_refused(tmp_path, text, message):
    file = tmp_path / 't.yaml'
    file.write_text(text)
    with pytest.raises(TrackerError, match=message):
        read_config(file)
