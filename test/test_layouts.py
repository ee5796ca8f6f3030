"""Every layout from a tiny data set of its own, whole and broken."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import pickle
import shutil

import cv2
from layouts_kit import (
    FOLDERS,
    MAKERS,
    Made,
    box,
    edit,
    number,
    rgb_image,
    save,
    swap,
    thermal_image,
    write,
    write_video,
)
import numpy as np
import pytest

from rgbt_tracker_ros.data.layouts import ABOUT, LAYOUTS, LayoutError, open_layout
from rgbt_tracker_ros.data.layouts.rows import Track

ALL = list(MAKERS)
LASHER_FLAGS = '0,1,0,0,1,0,0,0,0,0,0,0,0,1,0,0,0,0,1'


def test_every_layout_has_a_fixture_and_is_described():
    assert set(ALL) | {'bag', 'recording', 'synthetic'} == set(LAYOUTS) == set(ABOUT)


# --- whole

@pytest.mark.parametrize('layout', ALL)
def test_a_sequence_has_its_pairs_and_its_boxes(layout, tmp_path):
    made = MAKERS[layout](tmp_path)
    dataset = made.open(layout)
    assert dataset.name == layout and dataset.root == tmp_path
    assert dataset.sequence_names[0] == made.sequence and len(dataset) == len(list(dataset))
    assert dataset.missing == () and made.sequence in dataset and 'nobody' not in dataset
    sequence = dataset[made.sequence]
    assert sequence.name == made.sequence and len(sequence) == made.frames
    first = 1 if layout == 'videos' else 0          # cut to its labelled frames
    for i in (0, made.frames - 1, 1):               # also backwards
        pair = sequence.pair(i)
        assert (pair.rgb is None) == (not made.rgb)
        if pair.rgb is not None:
            assert pair.rgb.shape == (48, 64, 3) and pair.rgb.dtype == np.uint8
            assert number(pair.rgb) == i + first
            np.testing.assert_allclose(pair.rgb[24, 8], (200, 40, 90), atol=12)     # red first
        assert pair.thermal.shape == (48, 64) and number(pair.thermal, True) == i + first
    step = FOLDERS[layout].step if layout in FOLDERS else 1
    np.testing.assert_array_equal(sequence.annotated, np.arange(0, made.frames, step))
    raw, truth = sequence.raw_truth, sequence.truth
    assert raw.shape == truth.shape == (len(sequence.annotated), 4) and raw.dtype == np.float64
    np.testing.assert_allclose(raw[1], box(step))
    if layout not in ('kaist', 'lsotb_train', 'flir'):
        np.testing.assert_array_equal(raw[2], 0)
        assert np.isnan(truth[2]).all()
    assert np.isfinite(np.delete(truth, 2, 0)).all()
    second = sequence.truth_thermal
    assert (second is not None) == (layout in FOLDERS and FOLDERS[layout].second is not None)
    if second is not None:
        np.testing.assert_allclose(second[1], box(step, shift=1))
        np.testing.assert_array_equal(sequence.raw_truth_thermal[2], 0)
    assert dataset.problems() == [] or 'no attributes' in dataset.problems()[0]


@pytest.mark.parametrize('layout', ALL)
def test_stamps_rise_and_sequences_survive_processes(layout, tmp_path):
    made = MAKERS[layout](tmp_path)
    sequence = made.get(layout)
    before = sequence.pair(2)
    other = pickle.loads(pickle.dumps(sequence))
    np.testing.assert_array_equal(other.pair(2).thermal, before.thermal)
    stamps = [p.stamp for p in sequence]
    assert len(stamps) == made.frames and (np.diff(stamps) > 0).all()
    assert [p.stamp for p in sequence.pairs(1, 3)] == stamps[1:3]
    for index in (-1, made.frames):
        with pytest.raises(IndexError, match=f'no frame {index}'):
            sequence.pair(index)


@pytest.mark.parametrize('layout', ALL)
def test_indexing_and_opening_decode_no_image(layout, tmp_path, monkeypatch):
    made = MAKERS[layout](tmp_path)
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('an image was decoded'))
    assert len(made.get(layout)) == made.frames


@pytest.mark.parametrize('layout', ALL)
def test_boxes_can_be_had_without_images(layout, tmp_path):
    made = MAKERS[layout](tmp_path)
    raw = made.get(layout).raw_truth
    for path in (*made.rgb, *made.thermal):
        path.unlink()
    sequence = made.get(layout, images=False)
    np.testing.assert_array_equal(sequence.raw_truth, raw)
    assert len(sequence) >= sequence.annotated[-1] + 1
    with pytest.raises(LayoutError, match='images=False'):
        sequence.pair(0)


# --- broken: one error that names the file and the row

def drop_frame(made: Made) -> tuple[Path, int | None]:
    """Remove the second thermal image; the RGB image that lost its partner is named."""
    made.thermal[1].unlink()
    return made.rgb[1], 2


def drop_frame_alone(made: Made) -> tuple[Path, int | None]:
    made.thermal[1].unlink()
    return made.truth, made.frames


def extra_row(made: Made) -> tuple[Path, int | None]:
    edit(made.truth, lambda lines: [*lines, lines[-1]])
    return made.truth, len(made.truth.read_text('utf-8').splitlines())


def semicolons(made: Made) -> tuple[Path, int | None]:
    def change(lines: list[str]) -> list[str]:
        return [*lines[:1], *(';'.join(line.replace(',', ' ').split()) for line in lines[1:])]
    edit(made.truth, change)
    return made.truth, 2


def exchanged(made: Made) -> tuple[Path, int | None]:
    a, b = made.rgb[0].parent, made.thermal[0].parent
    swap(a, b)
    named = made.rgb[0].stem != made.thermal[0].stem and not made.thermal[0].stem.isdigit()
    first = 2 if made.rgb[0].suffix == '.avi' else 1        # where the labelled frames begin
    return (a / made.thermal[0].name, 1) if named else (b / made.rgb[0].name, first)


def exchanged_images(made: Made) -> tuple[Path, int | None]:
    swap(made.rgb[0].parent, made.thermal[0].parent)
    return made.rgb[0], 1


def exchanged_with_boxes(made: Made) -> tuple[Path, int | None]:
    """Give the folder of images and that of boxes each other's names: there is but one camera."""
    images, boxes = (p.resolve().relative_to(made.root) for p in (made.thermal[0], made.truth))
    deep = 2 if images.parts[0] == boxes.parts[0] else 1
    swap(*(made.root.joinpath(*p.parts[:deep]) for p in (images, boxes)))
    return (made.root if deep == 1 else made.thermal[0].parent), None


def extra_image_row(made: Made) -> tuple[Path, int | None]:
    path = made.truth.with_name(made.truth.name.replace('1', '9', 1).replace('0002', '0009'))
    shutil.copy(made.truth, path)
    return path, 5


def no_box(made: Made) -> tuple[Path, int | None]:
    made.truth.write_text(made.truth.read_text().replace('<xmax>', '<right>').replace(
        '</xmax>', '</right>'))
    return made.truth, 1


def drop_named(made: Made) -> tuple[Path, int | None]:
    made.thermal[1].unlink()
    return made.thermal[1], 2


def extra_map_row(made: Made) -> tuple[Path, int | None]:
    made.truth.write_text(made.truth.read_text().replace(
        '{', '{"video-abc-frame-000001-x.jpg": "video-abc-frame-000001-y.jpg", '))
    return made.root / 'video_rgb_test/coco.json', 1


def semicolon_map(made: Made) -> tuple[Path, int | None]:
    made.truth.write_text(made.truth.read_text().replace(',', ';\n'))
    return made.truth, 1


def row_beyond(made: Made) -> tuple[Path, int | None]:
    edit(made.truth, lambda lines: [*lines, lines[-1].replace('a,4', 'a,6')])
    return made.truth, 5


def short_video(made: Made) -> tuple[Path, int | None]:
    write_video(made.thermal[0], [thermal_image(i) for i in range(5)])
    return made.thermal[0], 6


PAIRED = ['lasher', 'rgbt234', 'rgbt210', 'gtot', 'vtuav', 'folder', 'kaist']
Break = Callable[[Made], tuple[Path, 'int | None']]
BROKEN: list[tuple[str, Break, str]] = [
    *((name, drop_frame, 'has no partner in') for name in PAIRED),
    *((name, drop_frame_alone, 'rows for 3 frames.*is followed by') for name in ('lsotb', 'ptb')),
    ('flir', drop_named, 'no such file, but rgb_to_thermal_vid_map.json names it'),
    ('lsotb_train', drop_named, 'no image of that name'),
    ('videos', short_video, r'5 frames; .*a\.avi has 6'),
    *((name, extra_row, 'rows for .* frames.*: from this row on there is no frame')
      for name in FOLDERS),
    ('kaist', extra_image_row, 'no image of that name'),
    ('lsotb_train', extra_image_row, 'no image of that name'),
    ('flir', extra_map_row, 'not among its images'),
    ('videos', row_beyond, r'a box for frame 6 \(counted from 0\), but a\.avi has 6'),
    *((name, semicolons, 'is not four numbers .* seems to be separated by semicolons')
      for name in FOLDERS),
    ('kaist', semicolons, 'is not a label and x, y, w, h separated by spaces'),
    ('lsotb_train', no_box, 'no bndbox of four numbers'),
    ('flir', semicolon_map, "can't be read as JSON"),
    ('videos', semicolons, 'does not give video, frame, x, y, w, h separated by commas'),
    *((name, exchanged, 'exchanged') for name in [*PAIRED, 'videos']),
    ('flir', exchanged_images, 'video_rgb_test/data and video_thermal_test/data are exchanged'),
    *((name, exchanged_with_boxes, 'looked in .* for sequences with img')
      for name in ('lsotb', 'ptb')),
    ('lsotb_train', exchanged_with_boxes, 'no images; looked for .jpg'),
]


def test_every_layout_is_broken_in_every_way():
    """A frame that is missing, a row too many, another delimiter, folders exchanged."""
    assert {name: sum(layout == name for layout, _, _ in BROKEN) for name in ALL} == dict.fromkeys(
        ALL, 4)


@pytest.mark.parametrize(('layout', 'break_it', 'said'), [
    pytest.param(*case, id=f'{case[0]}-{case[1].__name__}') for case in BROKEN])
def test_what_is_broken_is_named_with_file_and_row(layout, break_it, said, tmp_path):
    made = MAKERS[layout](tmp_path)
    path, row = break_it(made)
    with pytest.raises(LayoutError, match=said) as error:
        made.get(layout).pair(0)
    if layout == 'lsotb_train' and break_it is drop_named:     # the annotation is left without
        path = tmp_path / 'train/Annotations/animal/cat_1/0002.xml'
    assert error.value.path.resolve() == path.resolve() and error.value.row == row
    assert (row is None or f'row {row}' in str(error.value)) and path.name in str(error.value)
    assert pickle.loads(pickle.dumps(error.value)).row == row


@pytest.mark.parametrize(('layout', 'break_it'), [
    ('lasher', drop_frame), ('vtuav', extra_row), ('ptb', drop_frame_alone), ('gtot', drop_frame)])
def test_problems_lists_what_is_broken_and_strict_false_reads_the_rest(
        layout, break_it, tmp_path, caplog):
    made = MAKERS[layout](tmp_path)
    path, _ = break_it(made)
    assert [p for p in made.open(layout).problems() if path.name in p]
    sequence = made.get(layout, strict=False)
    assert len(sequence.annotated) == len(sequence.raw_truth) and 'cut to' in caplog.text
    assert sequence.annotated[-1] < len(sequence) and sequence.pair(len(sequence) - 1)


@pytest.mark.parametrize('layout', ['lasher', 'rgbt210', 'folder'])
def test_folders_that_lack_different_images_are_refused(layout, tmp_path):
    """As many in both: pairs 3 to 6 would be of two instants."""
    made = FOLDERS[layout].make(tmp_path, frames=10)
    made.rgb[2].unlink()
    made.thermal[6].unlink()
    edit(made.truth, lambda lines: lines[:9])
    with pytest.raises(LayoutError, match=f'stands beside .*{made.thermal[2].name}') as error:
        made.get(layout)
    assert error.value.path == made.rgb[3] and error.value.row == 3
    assert len(made.get(layout, strict=False)) == 9
    made.thermal[2].unlink()        # both lack both: the camera did
    made.rgb[6].unlink()
    edit(made.truth, lambda lines: lines[:8])
    assert len(made.get(layout)) == 8


@pytest.mark.parametrize(('rgb', 'thermal'), [
    # stamps in ms, of two cameras
    ((1000, 1033, 1067, 1100, 1133), (1012, 1046, 1079, 1112, 1146)),
    # numbers that do not count
    ((1, 2, 3, 4, 5), (0, 2, 4, 6, 8)), (('a', 'b', 'c'), (1, 2, 5)), ((640,), (7,))])
def test_names_that_do_not_count_frames_are_not_compared(rgb, thermal, tmp_path):
    for folder, names in (('rgb', rgb), ('thermal', thermal)):
        for i, name in enumerate(names):
            save(tmp_path / f'clip/{folder}/{name}.png', rgb_image(i) if folder == 'rgb'
                 else thermal_image(i))
    assert len(open_layout('folder', tmp_path)['clip']) == len(rgb)


@pytest.mark.parametrize('layout', ['vtuav', 'folder', 'kaist'])
def test_strict_false_believes_the_names_of_folders(layout, tmp_path):
    made = MAKERS[layout](tmp_path)
    exchanged(made)
    pair = made.get(layout, strict=False).pair(0)
    assert pair.rgb.shape == pair.thermal.shape == (48, 64, 3)


@pytest.mark.parametrize(('layout', 'name', 'change'), [
    ('vtuav', 'colours of both', lambda i: rgb_image(i)),
    ('folder', 'gray of both', None)])
def test_false_colours_and_gray_cameras_are_not_taken_for_exchanged(layout, name, change,
                                                                    tmp_path):
    made = MAKERS[layout](tmp_path)
    for i, (rgb, thermal) in enumerate(zip(made.rgb, made.thermal, strict=True)):
        save(thermal if change else rgb, rgb_image(i) if change else thermal_image(i))
    pair = made.get(layout).pair(0)
    assert pair.rgb.shape == (48, 64, 3) and (pair.thermal.ndim == 3) == bool(change)


@pytest.mark.parametrize('content', [b'', b'not an image'])
def test_an_image_that_does_not_decode_is_named_when_it_is_asked_for(content, tmp_path):
    made = MAKERS['lasher'](tmp_path)
    made.thermal[2].write_bytes(content)
    sequence = made.get('lasher')
    sequence.pair(1)
    with pytest.raises(LayoutError, match="can't be decoded") as error:
        sequence.pair(2)
    assert error.value.path == made.thermal[2] and error.value.row == 3


@pytest.mark.parametrize(('name', 'options', 'said'), [
    ('nothing', {}, "no layout 'nothing'; there are lasher"),
    ('lasher', {'split': 'val'}, "no split 'val'; it has test, train, all"),
    ('lasher', {'colour': 1}, 'no option colour; it has split, images, strict'),
    ('lasher', {}, 'no lasher sequence'),
    ('lasher', {'images': False}, 'no lasher sequence'),
    ('videos', {}, 'no videos; looked for .mp4'),
    ('videos', {'single': 'both'}, "use 'rgb' or 'thermal'"),
    ('kaist', {}, 'no images/set'), ('kaist', {'split': 'val'}, 'no split'),
    ('flir', {}, "can't be read as JSON"), ('flir', {'boxes': 'ir'}, "use 'rgb' or 'thermal'"),
    ('lsotb_train', {}, 'no such folder')])
def test_what_can_not_be_opened_is_refused(name, options, said, tmp_path):
    with pytest.raises(LayoutError, match=said) as error:
        open_layout(name, tmp_path, **options)
    assert str(tmp_path) in str(error.value)


def test_a_missing_root_and_an_unknown_sequence_are_refused(tmp_path):
    with pytest.raises(LayoutError, match='no such file or folder'):
        open_layout('lasher', tmp_path / 'nowhere')
    with pytest.raises(KeyError, match="no sequence 'boy'"):
        MAKERS['lasher'](tmp_path).open('lasher')['boy']


# --- lists, splits, attributes

def test_the_official_list_gives_the_order_and_what_is_missing(tmp_path):
    made = MAKERS['lasher'](tmp_path)
    shutil.copytree(made.truth.parent, tmp_path / 'testingset/a boy')
    shutil.copytree(made.truth.parent, tmp_path / 'testingset/not in it')
    write(tmp_path / 'testingsetList.txt', '\ufeff1 girl\r\na boy\r\nlost\r\n\r\n')
    dataset = made.open('lasher')
    assert dataset.sequence_names == ('1 girl', 'a boy') and dataset.missing == ('lost',)
    assert any('lost is on the list' in p for p in dataset.problems())
    inside = open_layout('lasher', tmp_path / 'testingset')     # the split's folder as the root
    assert inside.sequence_names == dataset.sequence_names
    write(tmp_path / 'testingsetList.txt', 'a boy\nlost\na boy\n')
    with pytest.raises(LayoutError, match='a boy is there twice') as error:
        made.open('lasher')
    assert error.value.row == 3


def test_splits_are_told_apart(tmp_path):
    made = MAKERS['lasher'](tmp_path)
    shutil.copytree(made.truth.parent, tmp_path / 'trainingset/boy2')
    shutil.copytree(made.truth.parent, tmp_path / 'trainingset/boy10')
    assert made.open('lasher').sequence_names == ('1 girl',)
    assert made.open('lasher', split='train').sequence_names == ('boy2', 'boy10')
    assert len(made.open('lasher', split='all')) == 3
    shutil.move(tmp_path / 'trainingset', tmp_path / 'TrainingSet')     # however they are written
    shutil.move(tmp_path / 'testingset', tmp_path / 'Testingset')
    assert made.open('lasher').sequence_names == ('1 girl',)
    assert made.open('lasher', split='train').sequence_names == ('boy2', 'boy10')


def test_a_root_without_the_folders_of_a_split_is_taken_whole_but_not_in_silence(tmp_path, caplog):
    MAKERS['lasher'](tmp_path)
    shutil.move(tmp_path / 'testingset', tmp_path / 'mine')
    assert open_layout('lasher', tmp_path / 'mine').sequence_names == ('1 girl',)
    assert open_layout('lasher', tmp_path / 'mine', split='all').sequence_names == ('1 girl',)
    assert not caplog.records
    open_layout('lasher', tmp_path / 'mine', split='train')
    assert 'mine: no trainingset in it, and no list: all of its 1 sequences' in caplog.text
    caplog.clear()
    shutil.move(tmp_path / 'mine', tmp_path / 'trainingset')
    open_layout('lasher', tmp_path / 'trainingset', split='train')
    assert not caplog.records


def test_a_list_that_names_no_sequence_is_named(tmp_path):
    made = MAKERS['lasher'](tmp_path)
    write(tmp_path / 'testingsetList.txt', 'someone\n')
    with pytest.raises(LayoutError, match=r'testingsetList.txt: names none of the 1 .* 1 girl'):
        made.open('lasher')


def test_sequences_of_one_name_in_two_groups_get_the_group_too(tmp_path):
    made = MAKERS['vtuav'](tmp_path)
    shutil.copytree(made.truth.parent, tmp_path / 'test_ST/test_ST_002/car_041')
    assert made.open('vtuav').sequence_names == ('test_ST/test_ST_001/car_041',
                                                 'test_ST/test_ST_002/car_041')
    shutil.move(tmp_path / 'test_ST/test_ST_001', tmp_path / 'test_ST_001')     # as downloaded
    shutil.rmtree(tmp_path / 'test_ST')
    assert made.open('vtuav').sequence_names == ('car_041',)


@pytest.mark.parametrize(('layout', 'files', 'expected'), [
    ('lasher', {'AttriSeqsTxt/1 girl.txt': LASHER_FLAGS + '\r\n'}, ('PO', 'MB', 'TC', 'ARC')),
    ('rgbt234', {'SequencesName.txt': 'other\r\nstraße\r\n',
                 **{f'attr_txt/{a}.txt': '0\r\n0\r\n' for a in (
                     'CM', 'DEF', 'FM', 'HO', 'LI', 'LR', 'MB', 'NO', 'PO', 'SC')},
                 'attr_txt/BC.txt': '1\r\n0\r\n', 'attr_txt/TC.txt': '0\r\n1'}, ('TC',)),
    ('lsotb', {'anno/att/cat_H_001.txt': '1,0,0,0,0,0,0,0,0,0,1,0,0,0,0,1'},
     ('DEF', 'LR', 'HH')),
    ('ptb', {'tiranno/att/birds.txt': '0,0,0,0,0,0,0,0,1,1\n'}, ('IV', 'TC'))])
def test_attributes(layout, files, expected, tmp_path):
    made = MAKERS[layout](tmp_path)
    assert made.get(layout).attributes == ()
    assert any('no attributes' in p for p in made.open(layout).problems())
    for name, text in files.items():
        write(tmp_path / name, text)
    assert made.get(layout).attributes == expected


@pytest.mark.parametrize(('layout', 'files', 'said'), [
    ('lasher', {'AttriSeqsTxt/1 girl.txt': '0,1'}, '2 flags; 19 are expected'),
    ('lasher', {'AttriSeqsTxt/1 girl.txt': LASHER_FLAGS.replace('1', 'x')}, 'must be 0 or 1'),
    ('rgbt210', {'attr_txt/BC.txt': '0\n1\n'}, '2 flags for 1 sequences'),
    ('rgbt210', {'attr_txt/BC.txt': '7\n'}, "'7' is neither 0 nor 1")])
def test_wrong_attributes_are_refused(layout, files, said, tmp_path):
    made = MAKERS[layout](tmp_path)
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(LayoutError, match=said):
        made.get(layout)


# --- boxes

@pytest.mark.parametrize('text', ['1,2,3\n', '1,2,3,4,5\n', '1,2,,4\n', '7\n', 'a,b,c,d\n'])
def test_a_row_that_is_not_four_numbers_is_named(text, tmp_path):
    made = MAKERS['lasher'](tmp_path)
    write(made.truth, '1,2,3,4\n1,2,3,4\n' + text)
    with pytest.raises(LayoutError, match='is not four numbers') as error:
        made.get('lasher')
    assert error.value.row == 3


def test_a_blank_line_between_boxes_is_an_error_as_the_rest_would_shift(tmp_path):
    made = MAKERS['lasher'](tmp_path)
    write(made.truth, '1,2,3,4\n\n1,2,3,4\n1,2,3,4\n')
    with pytest.raises(LayoutError, match='is not four numbers') as error:
        made.get('lasher')
    assert error.value.row == 2


@pytest.mark.parametrize('row', ['0,0,0,0', 'nan,NaN,nan,nan', '5,6,0,7', '5,6,7,-1',
                                 '-1,-1,-1,-1'])
def test_absent_targets_are_nan_in_truth_and_as_written_in_raw_truth(row, tmp_path):
    made = MAKERS['lasher'](tmp_path)
    edit(made.truth, lambda lines: [*lines[:1], row, *lines[2:]])
    sequence = made.get('lasher')
    assert np.isnan(sequence.truth[1]).all() and np.isfinite(sequence.truth[0]).all()
    np.testing.assert_array_equal(sequence.raw_truth[1], np.array(row.split(','), float))


def test_boxes_that_touch_the_border_are_there(tmp_path):
    made = MAKERS['lasher'](tmp_path)
    edit(made.truth, lambda lines: ['-3,0,10,8', *lines[1:]])
    np.testing.assert_array_equal(made.get('lasher').truth[0], (-3, 0, 10, 8))


def test_tracks_of_unequal_length_are_named(tmp_path):
    made = MAKERS['rgbt234'](tmp_path)
    second = made.truth.with_name('infrared.txt')
    edit(second, lambda lines: lines[:-1])
    with pytest.raises(LayoutError, match='3 rows') as error:
        made.get('rgbt234')
    assert error.value.path == second and error.value.row == 4


@pytest.mark.parametrize('last', [0, 1])
def test_every_tenth_frame_has_a_row_and_the_last_step_may_lack_it(last, tmp_path):
    made = FOLDERS['vtuav'].make(tmp_path, frames=25)
    edit(made.truth, lambda lines: lines[:2 + last])
    edit(made.truth.with_name('ir.txt'), lambda lines: lines[:2 + last])
    sequence = made.get('vtuav')
    assert len(sequence) == 25 and sequence.annotated.tolist() == [0, 10, 20][:2 + last]


# --- your own folders

def test_a_folder_may_have_one_modality_no_boxes_and_be_the_root(tmp_path, monkeypatch):
    made = MAKERS['folder'](tmp_path / 'one')
    made.truth.unlink()
    shutil.rmtree(made.thermal[0].parent)
    sequence = open_layout('folder', made.rgb[0].parent.parent)['clip']
    assert sequence.truth.shape == (0, 4) and sequence.annotated.shape == (0,)
    assert [number(p.rgb) for p in sequence] == [0, 1, 2, 3]
    assert all(p.thermal is None for p in sequence)
    monkeypatch.chdir(made.rgb[0].parent.parent)
    assert open_layout('folder', '.').sequence_names == ('clip',)


def test_what_lies_beside_your_own_folder_is_not_looked_at(tmp_path):
    made = MAKERS['folder'](tmp_path / 'one')
    write(tmp_path / 'list.txt', 'milk\neggs\n')
    assert open_layout('folder', tmp_path / 'one').sequence_names == (made.sequence,)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_thermal_keeps_its_depth(dtype, tmp_path):
    made = MAKERS['folder'](tmp_path)
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (48, 64)).astype(dtype)
    save(made.thermal[1], image)
    np.testing.assert_array_equal(made.get('folder').pair(1).thermal, image)


def test_a_16_bit_pair_of_exchanged_folders_is_refused_as_rgb(tmp_path):
    made = MAKERS['folder'](tmp_path)
    save(made.rgb[0], thermal_image(0).astype(np.float32) * 3)      # becomes 8 bits in a PNG
    made.rgb[0].unlink()
    save(made.rgb[0].with_suffix('.tiff'), thermal_image(0).astype(np.float32))
    with pytest.raises(LayoutError, match='is it a thermal one'):
        made.get('folder').pair(0)


def test_a_table_of_boxes_by_frame_leaves_frames_out_where_the_target_is_absent(tmp_path):
    made = MAKERS['folder'](tmp_path)
    made.truth.unlink()
    table = write(made.truth.with_suffix('.csv'),
                  'frame,x,y,w,h,who\n3,7,5,10,8,a\n1,5,5,10,8,a\n')
    sequence = made.get('folder')
    assert sequence.annotated.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(sequence.truth, [(5, 5, 10, 8), [np.nan] * 4, (7, 5, 10, 8)])
    edit(table, lambda lines: [*lines, '4,1,1,1,1,a'])
    with pytest.raises(LayoutError, match='frame 4') as error:
        made.get('folder')
    assert error.value.path == table and error.value.row == 4


@pytest.mark.parametrize(('text', 'said', 'row'), [
    ('a,b\n1,2\n', 'no column frame, x, y, w, h', 1),
    ('frame;x;y;w;h\n', 'no column', 1),
    ('frame,x,y,w,h\n', 'no boxes', None),
    ('frame,x,y,w,h\n0,1,1,1,1\n0,1,1,1,1\n', 'frame 0 is there twice', 3),
    ('frame,x,y,w,h\n-1,1,1,1,1\n', 'frame -1 is negative', 2),
    ('frame,x,y,w,h\n0,1,1,1\n', 'does not give', 2),
    # what a stamp in s would be, in ns, is no frame: 13 TB of boxes
    ('frame,x,y,w,h\n0,1,1,1,1\n12.5,1,1,1,1\n', 'frame 12.5 is no whole number', 3),
    ('frame,x,y,w,h\n0,1,1,1,1\n1.e999999,1,1,1,1\n', 'does not give', 3),
    ('frame,x,y,w,h\n1700000000,1,1,1,1\n', 'is too large; frames are counted from 0', 2)])
def test_wrong_tables_are_named_with_their_row(text, said, row, tmp_path):
    made = MAKERS['videos'](tmp_path)
    write(made.truth, text)
    with pytest.raises(LayoutError, match=said) as error:
        made.open('videos')
    assert error.value.row == row


def test_whole_frames_may_have_a_point(tmp_path):
    """As pandas writes a column with gaps."""
    made = MAKERS['videos'](tmp_path)
    write(made.truth, 'video,frame,x,y,w,h\na,1.0,5,5,9,9\na,3.00,6,5,9,9\n')
    assert made.get('videos').raw_truth[:, 0].tolist() == [5, 0, 6]


@pytest.mark.parametrize('layout', ['videos', 'folder'])
def test_frames_are_compared_with_the_images_before_there_is_a_box_for_each(
        layout, tmp_path, monkeypatch):
    made = MAKERS[layout](tmp_path)
    made.truth.unlink()
    table = write(made.truth.with_suffix('.csv'), 'frame,x,y,w,h\n1,5,5,9,9\n9999999,5,5,9,9\n')
    monkeypatch.setattr(Track, 'filled', lambda self: pytest.fail('a box for every frame'))
    with pytest.raises(LayoutError, match='a box for frame 9999999') as error:
        made.get(layout)
    assert error.value.path == table and error.value.row == 3
