"""`rgbt evaluate` as a user has it: figures, resuming, results of others, errors."""
from __future__ import annotations

import errno
import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

from evaluate_kit import write_scenes
from layouts_kit import MAKERS, write
import pytest

from rgbt_tracker_ros import cli
from rgbt_tracker_ros.data.layouts import open_layout

HERE = Path(__file__).parent
TIMES = {'fps', 'ms_median', 'ms_p95', 'provenance'}


def evaluate(*args) -> int:
    return cli.main(['evaluate', *map(str, args)])


def without_times(data):
    """Return JSON without what may differ where the same is done again."""
    if isinstance(data, dict):
        return {k: without_times(v) for k, v in data.items() if k not in TIMES}
    return [without_times(v) for v in data] if isinstance(data, list) else data


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp('data'))


def test_the_same_command_gives_the_same_figures(root, tmp_path):
    files = [tmp_path / f'{i}.json' for i in range(3)]
    for file, more in zip(files, ([], ['--fresh'], ['--fresh', '--processes', '2']), strict=True):
        assert evaluate('--layout', 'folder', '--root', root, '--device', 'cpu', '--tracker',
                        'student,kcf-thermal', '--limit', 2, '--json', file,
                        '--out', tmp_path / 'kept', *more) == 0
    runs = [json.loads(f.read_text()) for f in files]
    assert [r['tracker'] for r in runs[0]] == ['student', 'kcf-thermal']
    assert without_times(runs[0]) == without_times(runs[1]) == without_times(runs[2])
    student = runs[0][0]
    assert student['convention'] == 'plain' and list(student['sequences']) == ['a', 'b']
    a = student['sequences']['a']
    assert a['PR'] > 0.5 and a['fps'] > 0 and a['ms_p95'] >= a['ms_median'] > 0
    assert student['mean']['SR'] == pytest.approx(
        (a['SR'] + student['sequences']['b']['SR']) / 2)
    known = student['provenance']
    assert len(known['tracker']['sha256']) == 64 and known['processes'] == 1
    assert known['command'].startswith('rgbt evaluate --layout folder')
    # one tracker: one object
    assert evaluate('--layout', 'folder', '--root', root, '--device', 'cpu', '--limit', 2,
                    '--json', tmp_path / '4.json', '--out', tmp_path / 'kept') == 0
    again = json.loads((tmp_path / '4.json').read_text())
    assert without_times(again) == without_times(student)


def test_the_table_has_every_sequence_and_the_mean(root, tmp_path, capsys):
    assert evaluate('--layout', 'folder', '--root', root, '--tracker',
                    'evaluate_kit:steady,mosse', '--sequences', 'c,a') == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert [r[0] for r in rows if r and len(r) == 5][:3] == ['c', 'a', 'c']
    assert rows[0][:6] == ['steady', '(plain)', 'PR', 'NPR', 'SR', 'fps']
    assert 'mean of 2' in out and '2 sequences, 95 % intervals' in out


@pytest.mark.parametrize('form', ['plain', 'lasher', 'vtuav', 'otb'])
def test_results_written_are_scored_alike_without_images(root, tmp_path, form):
    files, bare = tmp_path / 'files', write_scenes(tmp_path / 'bare', images=False)
    common = ['--layout', 'folder', '--json']
    assert evaluate(*common, tmp_path / 'a.json', '--root', root, '--tracker', 'kcf',
                    '--save-results', files, '--format', form) == 0
    assert len([f for f in files.rglob('*a.txt') if 'kcf' in str(f.relative_to(files))]) == 1
    assert evaluate(*common, tmp_path / 'b.json', '--root', bare, '--results', files) == 0
    a, b = (json.loads((tmp_path / f'{n}.json').read_text()) for n in 'ab')
    assert b['tracker'] == 'kcf'
    for name, scores in a['sequences'].items():
        for key in ('PR', 'NPR', 'SR', 'iou'):
            assert b['sequences'][name][key] == pytest.approx(scores[key], abs=1e-8)


def test_results_of_others_stand_beside_trackers(root, tmp_path, capsys):
    files = tmp_path / 'theirs'
    files.mkdir()
    for name in 'abc':
        (files / f'{name}.txt').write_text((root / name / 'groundtruth.txt').read_text())
    assert evaluate('--layout', 'folder', '--root', root, '--tracker', 'mosse', '--results',
                    f'oracle={files}', '--json', tmp_path / 'x.json') == 0
    runs = json.loads((tmp_path / 'x.json').read_text())
    assert [r['tracker'] for r in runs] == ['mosse', 'oracle']
    assert runs[1]['mean']['SR'] > 0.95 and runs[1]['mean']['fps'] is None
    # a short one is named, and the others are scored
    (files / 'b.txt').write_text('1,2,3,4\n')
    capsys.readouterr()
    assert evaluate('--layout', 'folder', '--root', root, '--results', files,
                    '--json', tmp_path / 'x.json') == 1
    assert 'theirs failed on b:' in capsys.readouterr().err
    data = json.loads((tmp_path / 'x.json').read_text())
    assert list(data['sequences']) == ['a', 'c'] and list(data['failed']) == ['b']


def test_a_failure_is_named_and_the_rest_is_scored(root, tmp_path, capsys):
    assert evaluate('--layout', 'folder', '--root', root, '--tracker',
                    'evaluate_kit:raises', '--json', tmp_path / 'x.json') == 1
    captured = capsys.readouterr()
    assert 'raises failed on b: RuntimeError: out of cheese' in captured.err
    assert 'in update' in captured.err and 'mean of 2' in captured.out
    data = json.loads((tmp_path / 'x.json').read_text())
    assert data['failed'] == {'b': 'RuntimeError: out of cheese'}


def test_a_broken_sequence_is_named_once_and_the_rest_is_scored(root, tmp_path, capsys):
    data = tmp_path / 'data'
    shutil.copytree(root, data)
    (data / 'a' / 'groundtruth.txt').unlink()
    (data / 'b' / 'thermal' / '0003.png').unlink()
    assert evaluate('--layout', 'folder', '--root', data, '--tracker', 'mosse,kcf',
                    '--json', tmp_path / 'x.json') == 1
    first, second, *last = capsys.readouterr().err.splitlines()
    assert 'sequence a is left out: no true boxes; layout folder looks for groundtruth' in first
    assert 'sequence b is left out' in second and 'b/rgb/0003.png, row 4' in second
    assert [line.split(': ', 1)[1] for line in last] == [
        f'{name}: 2 of 3 sequences failed and are in no figure: a, b' for name in ('mosse', 'kcf')]
    runs = json.loads((tmp_path / 'x.json').read_text())
    assert [list(r['sequences']) for r in runs] == [['c'], ['c']]
    assert evaluate('--list', '--layout', 'folder', '--root', data) == 1
    listed = capsys.readouterr()
    assert [row.split()[0] for row in listed.out.splitlines()] == ['a', 'c']
    assert listed.err.count('\n') == 1 and 'sequence b is left out' in listed.err


def test_an_attribute_chooses_sequences_whatever_is_broken(tmp_path, capsys):
    made = MAKERS['lasher'](tmp_path)
    for name, flags in (('b', 1), ('c', 0), ('d', 1)):
        shutil.copytree(made.truth.parent, tmp_path / 'testingset' / name)
        write(tmp_path / 'AttriSeqsTxt' / f'{name}.txt', ','.join([f'{flags}'] * 19))
    write(tmp_path / 'AttriSeqsTxt' / '1 girl.txt', ','.join(['0'] * 19))
    (tmp_path / 'testingset' / 'd' / 'init.txt').unlink()
    args = ['--layout', 'lasher', '--root', tmp_path, '--list', '--attribute']
    assert evaluate(*args, 'TC') == 1
    listed = capsys.readouterr()
    assert [row.split()[0] for row in listed.out.splitlines()] == ['b']
    assert 'sequence d is left out' in listed.err
    assert evaluate(*args, 'OCC') == 2
    assert "no sequence carries attribute 'OCC'; there are AIV, ARC" in capsys.readouterr().err


def test_trackers_that_share_no_sequence_are_scored_but_not_compared(root, tmp_path, capsys):
    assert evaluate('--layout', 'folder', '--root', root, '--sequences', 'b', '--tracker',
                    'evaluate_kit:raises,mosse', '--json', tmp_path / 'x.json') == 1
    assert len(json.loads((tmp_path / 'x.json').read_text())) == 2
    shutil.copytree(root / 'a', tmp_path / 'data' / 'a')
    shutil.copytree(root / 'b', tmp_path / 'data' / 'b')
    files = tmp_path / 'files'
    files.mkdir()
    shutil.copy(root / 'b' / 'groundtruth.txt', files / 'b.txt')
    (files / 'a.txt').write_text('1,2,3,4\n')
    capsys.readouterr()
    assert evaluate('--layout', 'folder', '--root', tmp_path / 'data', '--results', files,
                    '--tracker', 'evaluate_kit:raises') == 1
    assert 'no sequence in common' in capsys.readouterr().out


@pytest.mark.parametrize('number, processes', [
    (signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGKILL, 1)])
def test_what_was_done_before_an_interruption_is_kept(root, tmp_path, number, processes):
    calls, kept = tmp_path / 'calls', tmp_path / 'x.json.cache'
    command = [sys.executable, '-m', 'rgbt_tracker_ros.cli', 'evaluate', '--layout', 'folder',
               '--root', str(root), '--tracker', 'evaluate_kit:steady', '--json',
               str(tmp_path / 'x.json'), '--processes', str(processes)]
    env = {**os.environ, 'PYTHONPATH': str(HERE), 'CALLS': str(calls), 'OMP_NUM_THREADS': '1'}
    # a shell starts what runs in its background with SIGINT ignored, and that is inherited
    child = subprocess.Popen(command, env={**env, 'SLEEP': '0.2'}, stderr=subprocess.PIPE,
                             text=True, start_new_session=True,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    until = time.monotonic() + 120
    while not list(kept.rglob('*.npz')):
        assert child.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    os.killpg(child.pid, number)
    _, err = child.communicate(timeout=180)
    if number == signal.SIGINT:
        assert child.returncode == 130
        assert 'interrupted' in err and str(kept) in err and 'Traceback' not in err
    assert not (tmp_path / 'x.json').exists()
    done = len(list(kept.rglob('*.npz')))
    assert 0 < done < 3
    calls.write_text('')
    subprocess.run(command, env=env, check=True, timeout=120)
    assert calls.read_text().count('\n') == 12 * (3 - done)
    assert list(json.loads((tmp_path / 'x.json').read_text())['sequences']) == ['a', 'b', 'c']


def test_a_report_of_several_trackers_is_one_page(root, tmp_path):
    assert evaluate('--layout', 'folder', '--root', root, '--tracker', 'mosse,kcf',
                    '--limit', 2, '--report', tmp_path / 'report') == 0
    page = (tmp_path / 'report' / 'index.html').read_text()
    assert 'mosse' in page and 'kcf' in page
    assert list((tmp_path / 'report' / 'cache').rglob('*.npz'))


@pytest.mark.parametrize('images', [True, False])
def test_a_report_of_files_has_pictures_where_images_are_there(root, tmp_path, images):
    data = root if images else write_scenes(tmp_path / 'bare', images=False)
    files = tmp_path / 'files'
    files.mkdir()
    for name in 'abc':
        (files / f'{name}.txt').write_text('0,0,3,3\n' * 12)
    assert evaluate('--layout', 'folder', '--root', data, '--results', files,
                    '--report', tmp_path / 'report') == 0
    page = (tmp_path / 'report' / 'index.html').read_text()
    assert 'class="card loss"' in page and ('data:image/jpeg' in page) == images
    # pages are passed on: no folder of this machine is in them
    assert str(tmp_path) not in page and str(root) not in page and '--results files' in page


@pytest.mark.parametrize('name', ["it's", 'a b=c'])
def test_folders_of_any_name_hold_results(root, tmp_path, name):
    files = tmp_path / name
    files.mkdir()
    for one in 'abc':
        (files / f'{one}.txt').write_text('0,0,3,3\n' * 12)
    assert evaluate('--layout', 'folder', '--root', root, '--results', files,
                    '--report', tmp_path / 'report') == 0
    page = (tmp_path / 'report' / 'index.html').read_text()
    assert str(tmp_path) not in page and name.replace("'", '&#x27;') in page


def test_a_full_disk_names_the_file_and_leaves_the_report_of_before(root, tmp_path, capsys,
                                                                     monkeypatch):
    command = ['--layout', 'folder', '--root', root, '--tracker', 'mosse', '--report',
               tmp_path / 'report']
    assert evaluate(*command) == 0
    page = tmp_path / 'report' / 'index.html'
    before = page.read_bytes()
    write = Path.write_bytes

    def full(self, data):
        write(self, data[:100])
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    assert evaluate(*command) == 2
    assert f"{page}: can't be written: No space left on device" in capsys.readouterr().err
    assert page.read_bytes() == before and list(page.parent.glob('.*')) == []


def test_list(root, capsys):
    assert evaluate('--list') == 0
    out = capsys.readouterr().out
    assert 'lasher' in out and 'csrt-thermal' in out and 'rgbt234_toolkit' in out
    assert evaluate('--list', '--layout', 'folder', '--root', root) == 0
    assert [row.split()[:2] for row in capsys.readouterr().out.splitlines()] == [
        ['a', '12'], ['b', '12'], ['c', '12']]


@pytest.mark.parametrize('args, message', [
    ([], '--layout and --root are needed'),
    (['--layout', 'laser', '--root', '{root}'], "no layout 'laser'; there are lasher"),
    (['--layout', 'folder', '--root', '{root}/nowhere'], 'nowhere: no such file or folder'),
    (['--layout', 'lasher', '--root', '{root}'], '{root}'),
    (['--layout', 'folder', '--root', '{root}', '--tracker', 'sort'], "no tracker 'sort'"),
    (['--layout', 'folder', '--root', '{root}', '--tracker', 'csrt,csrt'], 'two trackers'),
    (['--layout', 'folder', '--root', '{root}', '--sequences', 'a,bb'],
     "no sequence 'bb'; did you mean b"),
    (['--layout', 'folder', '--root', '{root}', '--attribute', 'OCC'], "attribute 'OCC'"),
    (['--layout', 'folder', '--root', '{root}', '--results', '{root}/none'], 'no such folder'),
    (['--layout', 'folder', '--root', '{root}', '--device', 'tpu'], "device 'tpu' is unknown"),
    (['--layout', 'folder', '--root', '{root}', '--config', '{root}/no.yaml'], 'no.yaml'),
    (['--layout', 'folder', '--root', '{root}', '--json', '{root}/no/x.json'], 'make it first'),
    (['--layout', 'folder', '--root', '{root}', '--option', 'x'], 'must be KEY=VALUE'),
    (['--layout', 'folder', '--root', '{root}', '--option', 'x=1'], 'layout folder'),
    (['--layout', 'folder', '--root', '{root}', '--tracker', 'x=mosse', '--results', 'x={root}/a'],
     "two of the trackers are called 'x'"),
    (['--layout', 'folder', '--root', '{root}', '--json', '{root}'], 'is a folder; name a file'),
    (['--layout', 'folder', '--root', '{root}', '--report', '{root}/a/a.txt'],
     '--report {root}/a/a.txt: is a file; name a folder'),
    (['--layout', 'folder', '--root', '{root}', '--save-results', '{root}/a/a.txt/x'],
     "--save-results {root}/a/a.txt/x: this folder can't be made: Not a directory"),
    (['--layout', 'folder', '--root', '{root}', '--format', 'gtot'], 'say with --save-results'),
    (['--layout', 'folder', '--root', '{root}', '--rate', '0.5'], '--rate 0.5: is for'),
    (['--layout', 'folder', '--root', '{root}', '--convention', 'rgbt234'],
     'a: convention rgbt234 needs the truth of RGB and of thermal'),
    (['--convention', 'mine'], "invalid choice: 'mine'"), (['--processes', '0'], '1 or more'),
    (['--sequences', 'a,,b'], 'list of names')])
def test_what_is_wrong_is_said_in_one_line(root, tmp_path, capsys, args, message):
    (root / 'a' / 'a.txt').write_text('1,2,3,4\n' * 12)
    for name in 'bc':
        (root / 'a' / f'{name}.txt').write_text('1,2,3,4\n' * 12)
    try:
        status = evaluate(*(a.format(root=root) for a in args))
    except SystemExit as error:
        status = error.code
    err = capsys.readouterr().err
    assert status == 2 and message.format(root=root) in err and err.count('\n') == 1


def test_every_pair_of_a_bag_is_scored_as_the_same_images_are(root, tmp_path):
    bag_kit = pytest.importorskip('bag_kit')
    make, messages = bag_kit.Factory('mcap'), []
    sequence = open_layout('folder', root)['a']
    for i, pair in enumerate(sequence):
        for topic, image, encoding in (('/rgb/image_raw', pair.rgb, 'rgb8'),
                                       ('/thermal/image_raw', pair.thermal, 'mono8')):
            stamp = 10**18 + i * 33 * bag_kit.MS
            messages.append((topic, bag_kit.IMAGE, stamp, make.image(image, encoding, stamp)))
    bag = bag_kit.write_bag(tmp_path / 'a', 'mcap', make, messages)
    (bag / 'groundtruth.csv').write_text('frame,x,y,w,h\n' + ''.join(
        f'{i},{",".join(map(repr, row.tolist()))}\n' for i, row in enumerate(sequence.truth)))
    scores = []
    for layout, where in (('folder', root), ('bag', bag), ('bag', bag)):
        assert evaluate('--layout', layout, '--root', where, '--sequences', 'a', '--tracker',
                        'kcf', '--json', tmp_path / 'x.json', '--fresh') == 0
        data = json.loads((tmp_path / 'x.json').read_text())['sequences']['a']
        assert data['frames'] == len(sequence) == 12
        scores.append([data[key] for key in ('PR', 'NPR', 'SR', 'iou')])
    assert scores[0] == scores[1] == scores[2]
