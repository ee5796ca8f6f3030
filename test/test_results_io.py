"""Result files: every way of writing them is read the same, and what is wrong is named."""
from __future__ import annotations

from collections.abc import Callable
import math
from pathlib import Path

import numpy as np
import pytest

from rgbt_tracker_ros.evaluation.conventions import ResultError
from rgbt_tracker_ros.evaluation.results_io import (
    find_results,
    read_boxes,
    read_result,
    read_results,
)
from rgbt_tracker_ros.evaluation.results_out import FORMATS, write_results
from rgbt_tracker_ros.evaluation.scores import SequenceResult, score_sequence

NAN = math.nan
BOXES = np.array([[10, 20, 40, 30], [11.5, 21.25, 40, 30.5], [-3, 0, 7, 8]])


def rows(form: str, gap: str, table: object = BOXES) -> str:
    return ''.join(gap.join(form % v for v in row) + '\n' for row in np.asarray(table))


WRITTEN: dict[str, str] = {
    'commas': rows('%.4f', ','),
    'commas and blanks': rows('%.4f', ', '),
    'tabs': rows('%.4f', '\t'),
    'blanks': rows('%g', ' '),
    'aligned blanks': rows('%12.4f', '   '),
    "numpy's savetxt": rows('%.18e', ' '),
    'trailing commas': rows('%.4f', ',').replace('\n', ',\n'),
    'Windows': '\ufeff' + rows('%.4f', ',').replace('\n', '\r\n'),
    'old Mac': rows('%.4f', ',').replace('\n', '\r'),
    'blank lines at the end': rows('%.4f', ',') + '\n \n',
    'no line end': rows('%.4f', ',').rstrip(),
    'corners clockwise': rows('%.4f', ' ', BOXES[:, [0, 1, 0, 1, 0, 1, 0, 1]] + np.pad(
        BOXES[:, [2, 2, 3, 3]], ((0, 0), (2, 2)))[:, [0, 1, 2, 1, 3, 4, 0, 5]]),
    'corners the other way': rows('%.4f', ',', BOXES[:, [0, 1, 0, 1, 0, 1, 0, 1]] + np.pad(
        BOXES[:, [2, 2, 3, 3]], ((0, 0), (2, 2)))[:, [0, 1, 0, 5, 2, 4, 3, 1]]),
}


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = 'boy.txt') -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path
    return write


@pytest.mark.parametrize('text', WRITTEN.values(), ids=WRITTEN)
def test_reads(text: str, file: Callable[..., Path]) -> None:
    np.testing.assert_allclose(read_boxes(file(text)), BOXES, atol=1e-9)


@pytest.mark.parametrize(('form', 'inclusive', 'row'), [
    ('ltwh', False, '10 20 40 30'), ('ltrb', False, '10 20 50 50'), ('ltrb', True, '10 20 49 49'),
    ('center', False, '30 35 40 30'), ('corners', True, '10 20 49 20 49 49 10 49')])
def test_forms(form: str, inclusive: bool, row: str, file: Callable[..., Path]) -> None:
    np.testing.assert_array_equal(read_boxes(file(row), form, inclusive), [[10, 20, 40, 30]])


def test_odd_rows_are_read_as_they_are(file: Callable[..., Path]) -> None:
    got = read_boxes(file('nan,NaN,nan,nan\n0,0,0,0\n1,2,-3,inf\n'))
    np.testing.assert_array_equal(got, [[NAN] * 4, [0] * 4, [1, 2, -3, math.inf]])


def test_corners_are_rounded_where_the_benchmark_does(file: Callable[..., Path]) -> None:
    # halves away from zero, and the sides from what was not rounded yet
    path = file('0.5 -2.5 11 -2.5 11 3.4 0.5 3.4\n')
    assert read_result(path, 'boy', 'rgbt234').boxes.tolist() == [[1, -3, 11, 6]]
    assert read_result(path, 'boy', 'gtot').boxes.tolist() == [[1, -3, 11, 6]]
    np.testing.assert_allclose(read_result(path, 'boy', 'plain').boxes, [[0.5, -2.5, 10.5, 5.9]])
    assert read_result(file('0.5 1 2 3\n'), 'boy', 'rgbt234').boxes[0, 0] == 0.5  # not corners


@pytest.mark.parametrize(('text', 'row', 'message'), [
    ('', None, 'the file is empty'),
    (' \n\n', None, 'the file is empty'),
    ('1;2;3;4\n', 1, 'it seems to be separated by semicolons'),
    ('x,y,w,h\n1,2,3,4\n', 1, "'x,y,w,h' is not 4 or 8 numbers"),
    ('1,2,3\n', 1, 'is not 4 or 8 numbers .*: it has 3'),
    ('1,2,3,4,5\n', 1, 'it has 5'),
    ('1,2,3,4\n1,2,3\n', 2, "'1,2,3' is not 4 numbers .*: it has 3"),
    ('1,2,3,4\n1,2,3,4,1,2,3,4\n', 2, 'it has 8'),
    ('1,2,3,4\n\n1,2,3,4\n', 2, "'' is not 4 numbers"),
    ('1,2,3,4\n1,2,,4\n', 2, "'1,2,,4' is not 4 numbers"),
    ('1,2,3,4\n1 2 3 4\n', 2, 'separators differ from row to row'),
    ('1 2 3 4\n1,2,3,4\n', 2, 'separators differ from row to row'),
    ('1,5 2,5 3,5 4,5\n', 1, 'decimal commas'),
    ('1,5\t2,5\t3,5\t4,5\n', 1, 'decimal commas'),
    ('1,2,3,4\n1,2,3,-nan(ind)\n', 2, 'is not 4 numbers'),
])
def test_says_what_is_wrong_and_where(text: str, row: int | None, message: str,
                                      file: Callable[..., Path]) -> None:
    path = file(text)
    with pytest.raises(ResultError, match=message) as caught:
        read_boxes(path)
    assert str(caught.value).startswith(f'{path}' + (f', row {row}: ' if row else ': '))


def test_refuses_what_is_not_text(tmp_path: Path) -> None:
    (tmp_path / 'a.txt').write_bytes(b'\xff\xfe1\x002\x00')
    with pytest.raises(ResultError, match='not a text file'):
        read_boxes(tmp_path / 'a.txt')
    with pytest.raises(FileNotFoundError):
        read_boxes(tmp_path / 'none.txt')


def test_a_short_file_is_named_when_it_is_scored(file: Callable[..., Path]) -> None:
    path = file('1,2,3,4\n' * 3)
    with pytest.raises(ResultError) as caught:
        score_sequence(read_result(path, 'boy'), np.ones((5, 4)), 'lasher')
    assert str(caught.value).startswith(f'{path}, row 3: 3 rows for 5 rows of truth')


@pytest.mark.parametrize(('files', 'found'), [
    (['boy.txt', 'redboy.txt', 'car.txt'], ['boy.txt', 'car.txt']),
    (['X_boy.txt', 'X_car.txt', 'X_redboy.txt'], ['X_boy.txt', 'X_car.txt']),
    (['boy.txt', 'boy_time.txt', 'car.txt', 'car_time.txt'], ['boy.txt', 'car.txt']),
    (['tracking_results/X_tracking_result/boy.txt', 'tracking_results/X_tracking_result/car.txt'],
     ['tracking_results/X_tracking_result/boy.txt', 'tracking_results/X_tracking_result/car.txt']),
    (['x/vitb/boy.txt', 'x/vitb/car.txt', 'x/vitl/boy.txt'],  # the other lacks one
     ['x/vitb/boy.txt', 'x/vitb/car.txt']),
])
def test_finds(files: list[str], found: list[str], file: Callable[..., Path], tmp_path: Path,
               ) -> None:
    for name in files:
        file('0.1\n' if '_time' in name else '1,2,3,4\n', name)
    assert find_results(tmp_path, ['boy', 'car']) == {
        'boy': tmp_path / found[0], 'car': tmp_path / found[1]}
    assert [r.name for r in read_results(tmp_path, ['boy', 'car'])] == ['boy', 'car']


def test_of_two_prefixes_the_shorter_is_meant(file: Callable[..., Path], tmp_path: Path) -> None:
    plain = file('1,2,3,4\n', 'boy.txt')
    file('1,2,3,4\n', 'redboy.txt')
    assert find_results(tmp_path, ['boy']) == {'boy': plain}


def test_of_several_trackers_in_a_folder_one_is_named(file: Callable[..., Path], tmp_path: Path,
                                                      ) -> None:
    for name in ('Bright_boy.txt', 'Still_boy.txt', 'Still_redboy.txt'):
        file('1,2,3,4\n', name)
    with pytest.raises(ResultError, match=r'of 2 trackers.*Still=.*: Still, Bright'):
        find_results(tmp_path, ['boy'])
    assert find_results(tmp_path, ['boy'], 'Bright') == {'boy': tmp_path / 'Bright_boy.txt'}
    assert find_results(tmp_path, ['boy', 'redboy'])['boy'] == tmp_path / 'Still_boy.txt'


@pytest.mark.parametrize(('files', 'message'), [
    ([], 'no result file of these sequences; looked for SEQUENCE.txt'),
    (['boy_time.txt'], 'no result file'),
    (['X_boy.txt', 'X_dog.txt'], 'no result for 1 of 2 sequences: car; looked for X_SEQUENCE.txt'),
    (['a/boy.txt', 'a/car.txt', 'b/boy.txt', 'b/car.txt'], 'name one of them: .*/a, .*/b'),
])
def test_says_what_it_did_not_find(files: list[str], message: str, file: Callable[..., Path],
                                   tmp_path: Path) -> None:
    for name in files:
        file('1,2,3,4\n', name)
    with pytest.raises(ResultError, match=message):
        find_results(tmp_path, ['boy', 'car'])
    with pytest.raises(ResultError, match='no such folder'):
        find_results(tmp_path / 'none', ['boy'])


def test_what_stands_beside_the_boxes(file: Callable[..., Path]) -> None:
    path = file('1,2,3,4\n' * 3)
    file('0.5\n0.01\n0.02\n', 'boy_time.txt')
    file('1\n0.9\n0.1\n', 'boy_confidence.txt')
    file('2\n2\n4\n', 'boy_state.txt')
    r = read_result(path, 'boy')
    assert (r.seconds.tolist(), r.confidences.tolist(), r.states.tolist()) == (
        [0.5, 0.01, 0.02], [1, 0.9, 0.1], [2, 2, 4])
    file('0.5\n0.01\n', 'boy_time.txt')
    with pytest.raises(ResultError, match=r'boy_time.txt, row 2: 2 rows, but boy.txt has 3'):
        read_result(path, 'boy')


RESULT = SequenceResult(
    'set00/boy',
    np.array([[1, 2, 30, 40], [1.23456789012345, 2, 30, 40], [NAN] * 4, [5, 6, 7, 8]]),
    np.array([1, 0.75, NAN, 0.5]), np.array([2, 2, 4, 3]), np.array([0.1, 0.02, 0.02, 0.02]))


@pytest.mark.parametrize(('form', 'name', 'first'), [
    ('plain', 'set00_boy.txt', '1,2,30,40'),
    ('lasher', 'tracking_results/X_tracking_result/set00_boy.txt', '1,2,30,40'),
    ('rgbt', 'X/set00_boy.txt', '1,2,30,40'),
    ('otb', 'X/set00_boy.txt', '1,2,30,40'),
    ('vtuav', 'X_set00_boy.txt', '1 2 30 40'),
    ('rgbt234', 'X_set00_boy.txt', '1 2 31 2 31 42 1 42'),
    ('rgbt210', 'X_set00_boy.txt', '1 2 31 2 31 42 1 42'),
    ('gtot', 'BBresults/X/X_set00_boy.txt', '1 2 31 2 31 42 1 42'),
    ('pytracking', 'X/set00_boy.txt', '1\t2\t30\t40')])
def test_writes(form: str, name: str, first: str, tmp_path: Path) -> None:
    assert write_results([RESULT], tmp_path, 'X', form) == [tmp_path / name]
    assert (tmp_path / name).read_text().splitlines()[0] == first
    back = read_result(find_results(tmp_path, ['set00/boy'])['set00/boy'], 'set00/boy')
    expected = np.nan_to_num(RESULT.boxes) if form == 'pytracking' else RESULT.boxes
    np.testing.assert_allclose(back.boxes, expected, atol=1e-13)
    if FORMATS[form].form == 'ltwh':
        np.testing.assert_array_equal(back.boxes, expected)
    for field in ('seconds', 'confidences', 'states'):
        values = getattr(back, field)
        assert (values is not None) == (field in FORMATS[form].beside)
        if values is not None:
            np.testing.assert_array_equal(values, getattr(RESULT, field))


def test_every_format_is_tested() -> None:
    assert set(FORMATS) == {'plain', 'lasher', 'rgbt', 'otb', 'vtuav', 'rgbt234', 'rgbt210',
                            'gtot', 'pytracking'}


@pytest.mark.parametrize(('form', 'tracker', 'name', 'message'), [
    ('lashr', 'X', 'boy', "'lashr' is not known; choose one of: plain"),
    ('plain', '..', 'boy', "'..' in tracker"),
    ('plain', 'X', '..', "'..' in tracker 'X', sequence '..'"),
    ('plain', '', 'boy', "'' in tracker"),
])
def test_refuses_to_write(form: str, tracker: str, name: str, message: str, tmp_path: Path,
                          ) -> None:
    with pytest.raises(ValueError, match=message):
        write_results([SequenceResult(name, BOXES)], tmp_path, tracker, form)
    assert not list(tmp_path.rglob('*.txt'))
