"""`rgbt distill`: what is mined, trained, judged and handed over; how it stops and goes on."""
from __future__ import annotations

from dataclasses import asdict, replace
import json
import os
from pathlib import Path
import subprocess
import sys

from adaptation_kit import (
    BOX,
    JUDGING,
    MINING,
    SURE,
    TRAINING,
    fresh,
    main,
    measured,
    sequence,
    settings,
    walk,
    write_recording,
    write_recordings,
    write_student,
)
import numpy as np
import pytest
from segments_kit import TRACK, Images, segment
from test_distributed import free_port
import torch
from tracker_kit import moved, scene

from rgbt_tracker_ros.adaptation import cli, mining, report, run, search
from rgbt_tracker_ros.adaptation.blend import blended
from rgbt_tracker_ros.adaptation.judging import Judge, JudgingSettings, Measured, Verdict
from rgbt_tracker_ros.adaptation.mining import (
    MiningSettings,
    follow,
    mine,
    recorded_tracks,
    starts,
    there_and_back,
)
from rgbt_tracker_ros.adaptation.overrides import as_text, chosen
from rgbt_tracker_ros.adaptation.run import SHARES, Adaptation
from rgbt_tracker_ros.adaptation.search import Search
from rgbt_tracker_ros.adaptation.split import split
from rgbt_tracker_ros.data.layouts import open_layout
from rgbt_tracker_ros.data.pseudo_tracks import PseudoTrack, read_tracks
from rgbt_tracker_ros.data.sequence import LayoutError
from rgbt_tracker_ros.distillation.devices import make_fabric
from rgbt_tracker_ros.distillation.graph import Graph
from rgbt_tracker_ros.distillation.recipe import load_recipe
from rgbt_tracker_ros.distillation.schema import RecipeError
from rgbt_tracker_ros.distillation.train_log import TrainLog
from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.registry import build
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Box, Pair

KIT = Path(__file__).with_name('adaptation_kit.py')


@pytest.fixture(scope='module')
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp('student') / 'old.safetensors')


@pytest.fixture(scope='module')
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recordings(tmp_path_factory.mktemp('recordings'), tracks=True)


@pytest.fixture(autouse=True)
def no_pictures_of_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainLog, 'plot', lambda self: None)


# --- split

EQUAL = [12] * 5


@pytest.mark.parametrize('lengths, share, trained, aside', [
    (EQUAL, 0.2, 4, 1), (EQUAL, 0.05, 4, 1), (EQUAL, 0.4, 3, 2), (EQUAL, 0.5, 2, 3),
    ([10] * 10, 0.25, 7, 3), ([100, 9, 9, 9, 9], 0.2, 1, 4),
    # few, one that is most of all, and some that are next to nothing: the end of each
    ([12] * 4, 0.2, 4, 4), ([50], 0.2, 1, 1), ([10, 10, 10, 10, 500], 0.2, 5, 5),
    ([500, 500, 2, 2, 2, 2], 0.2, 6, 6)])
def test_what_is_kept_aside(lengths, share, trained, aside):
    names = [f's{i}' for i in range(len(lengths))]
    found = split(lengths, names, share, Path('r'))
    assert list(found.trained) == names[:trained]
    assert list(found.held_out) == names[len(names) - aside:]
    if trained + aside == len(names):
        assert found.trained_part == found.held_part == (0.0, 1.0)
        assert share - 1e-9 <= sum(lengths[-aside:]) / sum(lengths) <= share + 0.2
    else:
        assert found.trained_part == (0.0, 1 - share) and found.held_part == (1 - share, 1.0)


@pytest.mark.parametrize('lengths, share, kind, text', [
    (EQUAL, 0.01, RecipeError, '--held-out is 0.01; it must be 0.05 to 0.5'),
    (EQUAL, float('nan'), RecipeError, '--held-out is nan'),
    ([39], 0.2, LayoutError, 'r: 39 pairs are too few to learn from; 40 are the least'),
    ([10] * 4, 0.1, LayoutError, '--held-out 0.1 keeps 4 of 40 pairs aside, too few')])
def test_what_can_not_be_split_is_refused(lengths, share, kind, text):
    with pytest.raises(kind, match=text):
        split(lengths, [f's{i}' for i in range(len(lengths))], share, Path('r'))


# --- mining

def mined(pairs: list[Pair], make=None, taken=(), **changes) -> list[PseudoTrack]:
    chosen_ = replace(MiningSettings(every=6, length=6), **changes)
    found = sequence(pairs)
    return [t for through in starts(range(len(pairs)), chosen_)
            for t in mine(make or fresh(), found, through, chosen_, taken)]


def test_what_comes_back_is_kept():
    found = mined(walk())
    assert [t.frames.tolist() for t in found] == [list(range(6)), list(range(6, 12))]
    for track in found:
        assert track.sequence == 'walk' and track.confidence.min() > 0.9
        assert all(track.box(row).iou(moved(BOX, (3, 1), int(n))) > 0.7
                   for row, n in enumerate(track.frames))


def test_where_the_two_ways_differ_is_left_out(monkeypatch):
    """What is kept is between them."""
    there = [Box(20, 20, 20, 20)] * 6
    back = [Box(20, 20, 20, 20), Box(24, 20, 20, 20), Box(90, 20, 20, 20), *there[3:]]
    ways = iter([(there, [0.9] * 6), (back[::-1], [0.9] * 6)])
    monkeypatch.setattr(mining, 'follow', lambda *_: next(ways))
    kept, boxes, sure = there_and_back(fresh(), walk(6), there[0], MiningSettings())
    assert kept == [0, 1, 3, 4, 5] and len(sure) == 5
    assert boxes[:2] == [there[0], Box(22, 20, 20, 20)]


# near the white square, the oracle goes over to it and does not come back; alone it sees nothing
@pytest.mark.parametrize('decoy', [Box(180, 80, 40, 40), Box(20, 190, 40, 40)])
def test_what_does_not_come_back_is_dropped(decoy):
    found = mined(walk(decoy=decoy))
    assert len(found) == 2 and all(t.box(0).iou(decoy) < 0.1 for t in found)


@pytest.mark.parametrize('make, changes', [
    (fresh(-1.0), {}), (None, {'returns': 1.0}), (None, {'least': 7, 'length': 6})],
    ids=['unsure', 'not to the pixel', 'too short'])
def test_what_is_not_good_enough_is_dropped(make, changes):
    assert mined(walk(), make, **changes) == []


def test_regions_of_recorded_tracks_are_left_to_them():
    taken = PseudoTrack('walk', np.array([0, 1]), np.array([BOX.as_tuple()] * 2), np.ones(2))
    assert [t.frames[0] for t in mined(walk(), taken=[taken])] == [6]


def test_a_track_ends_where_images_change_their_size():
    pairs = walk(4) + [scene(BOX, (300, 200), number=9)] * 2
    boxes, sure = follow(fresh(), pairs, BOX, 0.0)
    assert len(boxes) == len(sure) == 4 and sure[0] == 1.0
    assert follow(fresh(), pairs, Box(-90, 0, 40, 40), 0.0) == ([], [])


@pytest.mark.parametrize('stop, expected', [
    (12, [range(6), range(6, 12)]), (13, [range(6), range(6, 12)]),
    (17, [range(6), range(6, 12), range(12, 17)]), (4, [])])
def test_starts(stop, expected):
    assert starts(range(stop), MiningSettings(every=6, length=6, least=5)) == expected


def test_recorded_tracks_are_those_of_which_it_was_sure(tmp_path, monkeypatch):
    def track(self, index, at):
        make = self.store.types
        sure, state = (0.4, 2) if index == 2 else (0.9, 3) if index == 4 else (0.9, 2)
        message = make[TRACK](
            header=self.make.header(at), target_id='a' if index < 9 else 'b', state=state,
            box=make['rgbt_tracker_ros/msg/Box'](float(index), 5.0, 10.0, 8.0 * (index != 5)),
            confidence=sure, weight_rgb=0.5, weight_thermal=0.5, pair_skew=0.0, age=0.0,
            network_time=0.0)
        return bytes(self.store.serialize_cdr(message, TRACK))

    monkeypatch.setattr(Images, 'track', track)
    segment(tmp_path, pairs=13, tracks=True)
    opened = next(iter(open_layout('recording', tmp_path)))
    limits = replace(MINING, least=2, confidence=0.5)
    found = recorded_tracks(opened, [range(7), range(7, 13)], limits)
    assert [t.frames.tolist() for t in found] == [[0, 1, 3, 6], [7, 8], [9, 10, 11]]
    assert found[0].boxes.tolist() == [[n, 5, 10, 8] for n in (0, 1, 3, 6)]
    assert [len(t) for t in recorded_tracks(opened, [range(13)], replace(limits, least=4))] == [6]
    assert recorded_tracks(sequence(walk(2)), [range(2)], limits) == []


def test_no_track_crosses_the_border_of_what_is_kept_aside(tmp_path, student):
    made = write_recordings(tmp_path / 'r', 2, 100, tracks=True)
    one = Adaptation(settings(student, made, tmp_path / 'work'))
    assert one.split.held_part == (0.8, 1.0)
    found = one.mine(make_fabric('cpu'))
    sides = [{bool(n >= 80) for n in t.frames} for t in found]
    assert all(len(side) == 1 for side in sides)
    assert {True} in sides and {False} in sides
    # those that were recorded, and those that were found now
    assert any(t.boxes[0][1:].tolist() == [5, 10, 8] and len(t) == 80 for t in found)
    assert any(len(t) <= MINING.length and t.boxes[0][1:].tolist() != [5, 10, 8] for t in found)


# --- the search through all recordings

def searched(**changes) -> Search:
    """A search through three walks, of which the second is too short for a start."""
    walks = [sequence(walk(n), f'w{n}') for n in (24, 2, 13)]
    return Search(walks, [[range(len(w))] for w in walks],
                  replace(MiningSettings(every=6, length=6), **changes))


def test_starts_are_spread_where_there_are_more_than_may_be():
    every = [(0, 0), (0, 6), (0, 12), (0, 18), (2, 0), (2, 6)]
    for most, expected in ((6, every), (3, [every[i] for i in (1, 3, 5)]), (1, [every[3]])):
        found = searched(most=most)
        assert [(place, through.start) for place, through in found.starts] == expected
        assert found.capped == (most < 6)


def test_parts_and_processes_find_what_one_finds_at_once(tmp_path, monkeypatch):
    alone = searched()
    alone.run(fresh(), tmp_path / 'a')
    [whole] = alone.files(tmp_path / 'a')
    found = [t.sequence for t in read_tracks(whole)]
    assert found == ['w24'] * 4 + ['w13'] * 2
    monkeypatch.setattr(search, 'PART', 2)
    several = searched()
    files = several.files(tmp_path / 'b')
    assert len(files) == 5      # 3 recordings and 6 starts
    for rank in (1, 0):
        several.run(fresh(), tmp_path / 'b', rank, 2)
        assert sum(f.is_file() for f in files) == (2 if rank else 5)
    parts = [t for file in files for t in read_tracks(file)]
    assert [t.sequence for t in parts] == found
    for a, b in zip(read_tracks(whole), parts, strict=True):
        assert np.array_equal(a.frames, b.frames) and np.array_equal(a.boxes, b.boxes)


def test_a_long_search_says_how_long(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(search, 'perf_counter', iter(range(0, 10_000, 100)).__next__)
    searched().run(fresh(), tmp_path)
    assert 'tracks from 6 starts, about 2 minutes; fewer by --set mining.most=N' in \
        capsys.readouterr().out
    monkeypatch.setattr(search, 'perf_counter', lambda: 0.0)
    searched().run(fresh(), tmp_path / 'b')
    assert not capsys.readouterr().out


# --- blend, report

@pytest.mark.parametrize('share', [0.0, 0.25, 1.0])
def test_weights_between_two_students(tmp_path, student, share):
    new = write_student(tmp_path / 'new.safetensors', 1)
    a, b = (checkpoint.load(f)[0].state_dict() for f in (student, new))
    network, info = blended(student, new, share)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            assert np.allclose(value, a[name] + share * (b[name] - a[name]), atol=1e-6)
            assert share not in (0, 1) or np.array_equal(value, (a, b)[int(share)][name])
    assert info['calibration'] == SURE and not network.training


def test_another_network_is_not_blended(tmp_path, student):
    new = write_student(tmp_path / 'new.safetensors', head=4)
    with pytest.raises(ValueError, match=r'new.safetensors is another network than'):
        blended(student, new, 0.5)


def verdicts(*findings: float) -> dict[float, Verdict]:
    """Return what a judge says of students that gain 10 points in tracking, and find so well."""
    judge = Judge.__new__(Judge)
    judge.settings = JUDGING
    return judge.verdicts(measured(), {share: measured(0.6, finding) for share, finding in zip(
        SHARES, findings, strict=True)})


def test_the_report_has_figures(tmp_path):
    lines = report.table(verdicts(0.4, 0.6, 0.6)).splitlines()
    assert lines[1].startswith('100% of the way: refused: on the recordings') and \
        lines[5] == '75% of the way: better; by chance alone as much in 0.4% of cases'
    assert '50.0   60.0   +10.0 (+10.0 to +10.0)' in lines[6]


@pytest.mark.parametrize('share', [*SHARES, None])
def test_the_picture_shows_every_student(tmp_path, monkeypatch, share):
    from matplotlib.axes import Axes
    drawn, bar = [], Axes.bar
    monkeypatch.setattr(Axes, 'bar', lambda self, *a, **k: drawn.append(
        (k['label'], k['color'])) or bar(self, *a, **k))
    report.draw(tmp_path / 'report.png', verdicts(0.4, 0.6, 0.6), share)
    assert (tmp_path / 'report.png').read_bytes()[:4] == b'\x89PNG'
    assert [p.name for p in tmp_path.iterdir()] == ['report.png']
    labels, colours = zip(*drawn, strict=True)
    assert labels == ('old student', *(
        f'new, {a:.0%} of the way{" (chosen)" * (a == share)}' for a in SHARES))
    assert len(set(colours)) == 4


# --- overrides

def test_values_are_read_as_they_were():
    for value in (1e-05, [1e-05, 2.0], {'a b': {'c': 1e16}}, [], '', 'on', '2024-01-01', 'x' * 200,
                  ['a: b', 'Straße', '\N{GRINNING FACE}']):
        recipe = load_recipe(str(run.RECIPE), '', (
            f'stages.adapt.data.options.tracks={as_text(value)}',))
        assert recipe.stages['adapt'].data.options['tracks'] == value


def test_settings_are_chosen_among_overrides():
    first, second, left = chosen(['mining.every=7', 'stages.adapt.batch=4', 'judging.loss=0.02'])
    assert first == MiningSettings(every=7) and second == JudgingSettings(loss=0.02)
    assert left == ('stages.adapt.batch=4',)


@pytest.mark.parametrize('text, reason', [
    ('mining.evry=7', "key 'evry' is unknown; did you mean 'every'"),
    ('mining.every=0', 'every is 0; it must be 1 or more'),
    ('mining.returns=2', 'returns is 2.0; it must be 0 to 1'),
    ('judging.samples=a', "judging.samples is 'a', it must be int"),
    ('judging.loss=-1', 'loss is -1.0; it must be 0 or more')])
def test_settings_that_make_no_sense_are_refused(text, reason):
    with pytest.raises(RecipeError, match=reason):
        chosen([text])


def test_a_small_number_in_the_homography_stays_a_number(tmp_path, student, recordings):
    config = TrackerConfig(homography=(1, 0, 0, 0, 1, 0, 1e-05, 0, 1), thermal_range='fixed',
                           thermal_min=7000, thermal_max=8000)
    one = Adaptation(settings(student, recordings, tmp_path, config=config))
    for data in (one.recipe.stages['adapt'].data, one.recipe.result.calibration.data):
        assert data.options['homography'] == [1, 0, 0, 0, 1, 0, 1e-05, 0, 1]
        assert data.options['thermal_range'] == [7000, 8000]


# --- the command

def command(student: Path, recordings: Path, out: Path, *more: str) -> int:
    """Run `rgbt distill` on the CPU, in a moment."""
    small = [*TRAINING, *(f'{name}.{key}={value}' for name, made in (
        ('mining', MINING), ('judging', JUDGING)) for key, value in asdict(made).items())]
    return cli.main([
        '--from', str(recordings), '--out', str(out), '--student', str(student),
        '--device', 'cpu', '--workers', '0', '--threads', '1',
        *(part for text in small for part in ('--set', text)), *more])


def fake(monkeypatch: pytest.MonkeyPatch, gain: float) -> list[str]:
    """Have every new student gain so much; return the names of those that are measured."""
    names: list[str] = []

    def measure(self: Judge, file: Path, name: str = '') -> Measured:
        names.append(name)
        return measured(0.5 if name == 'the old student' else 0.5 + gain)

    monkeypatch.setattr(Judge, 'measure', measure)
    return names


def left(folder: Path) -> list[str]:
    """Return what a writer left half-written."""
    return [str(p) for p in folder.rglob('*') if p.suffix == '.part' or '.export' in p.name]


@pytest.fixture(scope='module')
def adapted(tmp_path_factory, student, recordings) -> Path:
    """What comes out where nothing goes wrong."""
    out = tmp_path_factory.mktemp('adapted') / 'new.safetensors'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, 'PART', 3)
        patch.setattr(TrainLog, 'plot', lambda self: None)
        fake(patch, 0.1)
        assert command(student, recordings, out) == 0
    return out


def test_a_better_student_is_handed_over(adapted, student, recordings):
    tracker = Tracker.load(adapted, 'cpu')
    pair = next(iter(open_layout('recording', recordings))).pair(0)
    tracker.init(pair, Box(16, 22, 20, 20))
    assert tracker.update(pair).box.w > 0
    _, info = checkpoint.load(adapted)
    assert info['adapted'] == {'from': checkpoint.sha256_of(student), 'share': 1.0, 'pairs': 160,
                               'tracking': 10.0, 'finding': 0.0, 'kept': 0.0}
    assert info['recipe'] == 'recipe' and info['held_out']['samples'] == 8
    work = adapted.with_suffix('.work')
    # what was judged, and nothing but what was found is added
    judged, said = checkpoint.load(work / 'blend_1.safetensors')
    assert {k: v for k, v in info.items() if k != 'adapted'} == said
    given = checkpoint.load(adapted)[0].state_dict()
    assert all(torch.equal(v, given[k]) for k, v in judged.state_dict().items())
    assert (work / 'report.png').is_file() and not left(adapted.parent)
    tracks = read_tracks(work / 'tracks.csv')
    assert {t.sequence for t in tracks} == {f'walk_{k:04}' for k in range(5)}
    weights = (work / 'training/adapt/student.safetensors', student)
    assert len({checkpoint.sha256_of(f) for f in weights}) == 2


def test_a_student_that_is_no_better_is_refused(tmp_path, student, recordings, monkeypatch,
                                                capsys):
    fake(monkeypatch, 0.0)
    out = tmp_path / 'new.safetensors'
    out.write_bytes(b'old')
    assert command(student, recordings, out) == 1
    assert out.read_bytes() == b'old' and not left(tmp_path)
    text = capsys.readouterr()
    assert '160 pairs in 5 recordings, 1 of them kept aside' in text.out
    assert '100% of the way: refused' in text.out
    assert 'is not written: on the recordings kept aside it is not better beyond' in text.err
    assert (tmp_path / 'new.work/report.png').is_file()
    # asked again, it is not measured again
    assert not fake(monkeypatch, 0.1)
    assert command(student, recordings, out) == 1


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, at: int) -> list[object]:
    """Press ctrl-C in call number `at`; returns the first arguments of all calls."""
    before, calls = getattr(owner, name), list[object]()

    def call(*args, **options):
        calls.append(args[0])
        if len(calls) == at:
            raise KeyboardInterrupt
        return before(*args, **options)

    monkeypatch.setattr(owner, name, call)
    return calls


@pytest.mark.parametrize('owner, name, at', [
    # 2 regions-starts a recording: in the third one; parts are of a recording each
    (search, 'mine', 6), (run, 'write_tracks', 1), (Graph, 'forward', 2), (Judge, 'measure', 2),
    (checkpoint, 'save', 3), (report, 'draw', 1), (checkpoint, 'save', 8)],
    ids=['mining', 'tracks', 'training', 'judging', 'blending', 'report', 'handing over'])
def test_what_was_stopped_goes_on_to_the_same_bytes(tmp_path, student, recordings, adapted,
                                                    monkeypatch, capsys, owner, name, at):
    out = tmp_path / 'new.safetensors'
    monkeypatch.setattr(search, 'PART', 3)
    fake(monkeypatch, 0.1)
    with monkeypatch.context() as patch:
        calls = interrupt(patch, owner, name, at)
        assert command(student, recordings, out) == 130
    assert 'the same command goes on' in capsys.readouterr().err
    assert out.exists() == (name == 'draw') and not left(tmp_path)
    assert len(calls) == at
    again = interrupt(monkeypatch, search, 'mine', -1)
    measured_again = fake(monkeypatch, 0.1)
    assert command(student, recordings, out) == 0
    assert out.read_bytes() == adapted.read_bytes()
    tracks, others = (f.with_suffix('.work') / 'tracks.csv' for f in (out, adapted))
    assert tracks.read_bytes() == others.read_bytes()
    # what was finished is not done again: two of five recordings; all of them; the verdict
    assert len(again) == {'mine': 6}.get(name, 0)
    assert bool(measured_again) == (name != 'draw' and at != 8)


@pytest.mark.parametrize('more, text', [
    ('student', 'mined.json is of a run with student = '),
    ('shorter', 'is of a run with recording walk_0004, which is not in'),
    (('--held-out', '0.3'), 'mined.json is of a run with split'),
    (('--set', 'mining.every=5'), 'with mining.every = 16, not 5; choose another --work'),
    (('--seed', '1'), 'run.json is of a run with seed = 0, not 1; choose another --work'),
    (('--set', 'mining.most=9'), 'with mining.most = nothing, not 9'),
    (('--set', 'stages.adapt.steps=9'), 'run with stages.adapt.steps = 3, not 9')])
def test_a_folder_of_another_run_is_refused(tmp_path, student, recordings, adapted, capsys, more,
                                            text):
    was = adapted.read_bytes()
    if more == 'student':
        student, more = write_student(tmp_path / 'other.safetensors', 1), ()
    if more == 'shorter':
        recordings, more = write_recordings(tmp_path / 'other', 4), ()
    assert command(student, recordings, adapted, *more) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert text in error and error.startswith('rgbt distill: ')
    assert adapted.read_bytes() == was


def test_a_run_goes_on_with_the_recordings_it_began_with(tmp_path, student, recordings, adapted,
                                                         monkeypatch, capsys):
    """One was whole since, another came to them."""
    monkeypatch.setattr(search, 'PART', 3)
    fake(monkeypatch, 0.1)
    made, out = write_recordings(tmp_path / 'r', tracks=True), tmp_path / 'new.safetensors'
    cut_off = made / 'walk_0004.partial'
    (made / 'walk_0004').rename(cut_off)
    with monkeypatch.context() as patch:
        interrupt(patch, Graph, 'forward', 2)
        assert command(student, made, out) == 130
    cut_off.rename(made / 'walk_0004')
    write_recording(made, 5)
    capsys.readouterr()
    assert command(student, made, out) == 0
    assert 'left out, since this run began without: walk_0005; another --work takes all' in \
        capsys.readouterr().out
    (_, one), (_, other) = (checkpoint.load(f) for f in (out, adapted))
    assert one['adapted'] == other['adapted']


def test_another_recording_of_the_same_name_and_length_is_noticed(tmp_path, student):
    made = write_recordings(tmp_path / 'r', 4, 64)
    one = Adaptation(settings(student, made, tmp_path / 'work'))
    one.mine(make_fabric('cpu'))
    folder = made / 'walk_0003'
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    write_recording(made, 3, 64, first=7000)
    two = Adaptation(settings(student, made, tmp_path / 'work'))
    with pytest.raises(ValueError, match=r'is of a run with recordings.walk_0003 = "64 pairs, '):
        two.mine(make_fabric('cpu'))


@pytest.mark.parametrize('more, text', [
    (('--from', 'none'), '--from none does not exist'),
    (('--student', 'none.safetensors'), '--student none.safetensors does not exist'),
    (('--out', 'new.pt'), '--out new.pt: name a file that ends in .safetensors'),
    (('--steps', '0'), '--steps is 0; it must be 1 or more'),
    (('--held-out', '0.9'), '--held-out is 0.9'),
    (('--student', 'siamese.safetensors'), 'holds a Siamese; only networks of the type `student`'),
    (('--from', 'short'), 'short: 32 pairs are too few to learn from; 40 are the least'),
    (('--set', 'judging.length=16'), 'what is kept aside makes 2 stretches of 16 pairs, too few '
     'to judge by; 8 are the least: record about 640 pairs in all'),
    (('--config', 'eight.yaml'),
     'homography is (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0); it must be 9 numbers'),
    (('--config', 'none.yaml'), "none.yaml: can't be read"),
    (('--set', 'stages.adapt.data.options.homography=[1, 2]'), 'homography is [1, 2]'),
    (('--set', 'stages.adapt.data.options.replay=2'), 'replay is 2, it must be from 0 to 1'),
    (('--set', 'stages.adapt.terms.task.wight=2'), "key 'wight' is unknown"),
    (('--set', 'judging.window=2'), "key 'window' is unknown"),
    (('--option', 'topic=/a'), 'layout recording has no option topic'),
    (('--device', 'cuda:9'), 'cuda')])
def test_bad_input_is_one_clear_line_before_anything_is_done(tmp_path, student, recordings,
                                                             monkeypatch, capsys, more, text):
    monkeypatch.chdir(tmp_path)
    if more[1] == 'short':
        write_recordings(tmp_path / 'short', 1)
    if more[1] == 'siamese.safetensors':
        checkpoint.save(build('siamese', template_size=16, search_size=32, stride=8,
                              backbone='tiny', stages=3, widths=[8, 8, 8], blocks=[0, 0, 0],
                              width=8, kernel=1, head=[8, 8]), Path(more[1]))
    (tmp_path / 'eight.yaml').write_text('homography: [1, 0, 0, 0, 1, 0, 0, 0]\n')
    assert command(student, recordings, Path('new.safetensors'), *more) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and text in error[0] and error[0].startswith('rgbt distill: ')
    assert not (tmp_path / 'new.work').exists()


def test_what_is_missing_is_said_at_the_start(tmp_path, student, recordings, monkeypatch, capsys):
    monkeypatch.setattr('rgbt_tracker_ros.distillation.needs.find_spec',
                        lambda name: None if name == 'matplotlib' else 1)
    assert command(student, recordings, tmp_path / 'new.safetensors') == 2
    assert "not installed: matplotlib; pip install 'lightning-fabric" in capsys.readouterr().err
    assert not (tmp_path / 'new.work').exists()


@pytest.mark.parametrize('gain, status', [(0.1, 0), (0.0, 1)])
def test_a_picture_that_can_not_be_drawn_is_no_more_than_told(
        tmp_path, student, recordings, monkeypatch, capsys, gain, status):
    def fail(*_):
        raise RuntimeError('no font')

    fake(monkeypatch, gain)
    monkeypatch.setattr(report, 'draw', fail)
    out = tmp_path / 'new.safetensors'
    assert command(student, recordings, out) == status and out.exists() == (status == 0)
    assert 'report.png can not be drawn: no font' in capsys.readouterr().err


def test_a_verdict_of_another_rule_is_not_taken_up(tmp_path, student, recordings, monkeypatch):
    fake(monkeypatch, 0.0)
    out = tmp_path / 'new.safetensors'
    assert command(student, recordings, out) == 1
    monkeypatch.setattr(run, 'RULE', 99)
    fake(monkeypatch, 0.1)
    assert command(student, recordings, out) == 0


def test_arguments_are_complained_of_in_a_line(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(['--from', '.'])
    assert caught.value.code == 2
    assert capsys.readouterr().err == ('rgbt distill: the following arguments are required: '
                                       '--out; see rgbt distill --help\n')


def test_two_processes_end_at_the_weights_of_one(tmp_path, student, recordings):
    one, two = tmp_path / 'one', tmp_path / 'two'
    main(str(student), str(recordings), str(one))
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2',
         '--master-addr', '127.0.0.1', '--master-port', str(free_port()), str(KIT),
         str(student), str(recordings), str(two)], capture_output=True, text=True,
        env=os.environ | {'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr[-3000:]
    assert (one / 'tracks.csv').read_bytes() == (two / 'tracks.csv').read_bytes()
    a, b = (checkpoint.load(f / 'training/adapt/student.safetensors')[0].state_dict()
            for f in (one, two))
    for name, value in a.items():
        # a norm takes this bias out: its gradient is rounding alone
        assert name == 'value.bias' or np.allclose(value, b[name], atol=1e-4), name
    start = checkpoint.load(student)[0].state_dict()
    moved = {n: float((start[n] - v).abs().max()) for n, v in a.items()}
    assert max(moved.values()) > 5e-4, moved    # far more than the two may differ
    verdicts = [json.loads((f / 'verdict.json').read_text())['verdicts'] for f in (one, two)]
    assert verdicts[0].keys() == verdicts[1].keys() == {str(s) for s in SHARES}
