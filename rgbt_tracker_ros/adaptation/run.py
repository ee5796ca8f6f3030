"""From recordings to a better student: split, mine, train, judge, hand over.

A folder keeps what every step left, so that a run that was stopped goes on where it was:
mined.json with mining/ and then tracks.csv, the training in training/, verdict.json, report.png.
"""
from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as List
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
import math
from pathlib import Path
import shutil
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.adaptation.blend import blended
from rgbt_tracker_ros.adaptation.judging import RULE, Judge, JudgingSettings, Verdict
from rgbt_tracker_ros.adaptation.mining import MiningSettings
from rgbt_tracker_ros.adaptation.overrides import as_text
from rgbt_tracker_ros.adaptation.search import Search
from rgbt_tracker_ros.adaptation.split import fingerprint, split
from rgbt_tracker_ros.adaptation.stretches import LEAST, cut
from rgbt_tracker_ros.data.fixed_pattern import Floats, estimate_pattern
from rgbt_tracker_ros.data.layouts import open_layout
from rgbt_tracker_ros.data.offsets import Offset, estimate_offset
from rgbt_tracker_ros.data.options import parse
from rgbt_tracker_ros.data.pair_sources import source_class
from rgbt_tracker_ros.data.pseudo_tracks import PseudoTrack, read_tracks, write_tracks
from rgbt_tracker_ros.data.recorded_pairs import part_of, thermal_levels
from rgbt_tracker_ros.data.sequence import LayoutError, Sequence, shorten
from rgbt_tracker_ros.distillation import resume
from rgbt_tracker_ros.distillation.export import Card, export, time_of
from rgbt_tracker_ros.distillation.recipe import Recipe, load_recipe
from rgbt_tracker_ros.distillation.schema import RecipeError
from rgbt_tracker_ros.distillation.stages import Setting, crops_of
from rgbt_tracker_ros.distillation.trainer import Options, Trainer
from rgbt_tracker_ros.models import checkpoint
from rgbt_tracker_ros.models.registry import name_of
from rgbt_tracker_ros.models.student import Student
from rgbt_tracker_ros.runtime.eager import EagerStudent
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.tracker import Tracker
from rgbt_tracker_ros.types import Pair

if TYPE_CHECKING:
    from lightning_fabric import Fabric

RECIPE = Path(__file__).with_name('recipe.yaml')
STAGE, NETWORK = 'adapt', 'student'
LOOKED_AT = 120
"""Pairs that tell how far thermal lies off, and the pattern of its sensor."""
SHARES = (1.0, 0.75, 0.5)
"""How much of the way from the old weights to the new ones is tried (Wortsman et al., 2022)."""


@dataclass(frozen=True)
class AdaptationSettings:
    """What to adapt, to what, and how.

    `student`: weights file; `work`: folder of the run; `recordings`: folder, of `layout`;
    `config`: of the tracker on the robot; `held_out`: share kept aside to judge; `overrides`: of
    the recipe, as `load_recipe` takes them.
    """

    student: Path
    recordings: Path
    work: Path
    layout: str = 'recording'
    layout_options: dict[str, Any] = field(default_factory=dict)
    config: TrackerConfig = field(default_factory=TrackerConfig)
    held_out: float = 0.2
    seed: int = 0
    overrides: tuple[str, ...] = ()
    mining: MiningSettings = field(default_factory=MiningSettings)
    judging: JudgingSettings = field(default_factory=JudgingSettings)


class Adaptation:
    """One adaptation in a folder."""

    def __init__(self, settings: AdaptationSettings) -> None:
        """Open the recordings and the student, and put the recipe together.

        A folder that holds a run goes on with the recordings that it began with: `ignored` names
        those that came later.

        :raises LayoutError: no recording, or too little of it. :raises CheckpointError: see
            `checkpoint.load`. :raises RecipeError: the file holds another kind of network, or the
            recipe has no such key. :raises OptionError: an option of the data is wrong.
            :raises ResumeError: a recording that the run began with is gone.
        """
        self.settings = s = settings
        network, _ = checkpoint.load(s.student)
        if not isinstance(network, Student):
            raise RecipeError(f'{s.student} holds a {type(network).__name__}; only '
                              'networks of the type `student` can be adapted')
        self._crops = crops_of(STAGE, {NETWORK: network})
        self.sequences, self.ignored = self._open()
        self.split = split([len(q) for q in self.sequences], [q.name for q in self.sequences],
                           s.held_out, s.recordings)
        self._require_stretches()
        self.offset, self.pattern = self._looks()
        self.recipe = self._recipe(network.config.as_dict())
        data = self.recipe.stages[STAGE].data
        parse(data.source, source_class(data.source).Options, data.options)

    def _open(self) -> tuple[list[Sequence], list[str]]:
        """Return the recordings that the run began with, and the names of others; all of them
        where it begins.
        """
        s = self.settings
        dataset, theirs = open_layout(s.layout, s.recordings, **s.layout_options), self._record()
        names: List[str] = list((theirs or {}).get('recordings', dataset.sequence_names))
        if gone := [n for n in names if n not in dataset]:
            raise resume.ResumeError(
                f'{s.work} is of a run with recording {gone[0]}, which is not in {s.recordings}; '
                'choose another --work, or bring it back')
        return ([q for q in map(dataset.__getitem__, names) if len(q)],
                [n for n in dataset.sequence_names if n not in names])

    def _record(self) -> Any:
        """Return what pseudo tracks were looked for in, None where that has not begun."""
        return resume.read_json(self.settings.work / 'mined.json')

    def _require_stretches(self) -> None:
        """Refuse what is certain to be refused in the end, before it costs hours."""
        s, names = self.settings, self.split.held_out
        count = len(cut([part_of(q, self.split.held_part) for q in self.sequences
                         if q.name in names], s.judging.length))
        if count < LEAST:
            needed = math.ceil(LEAST * s.judging.length / s.held_out)
            raise LayoutError(s.recordings, f'what is kept aside makes {count} stretches of '
                              f'{s.judging.length} pairs, too few to judge by; {LEAST} are the '
                              f'least: record about {needed} pairs in all, better 2,000')

    def _looks(self) -> tuple[Offset, Floats | None]:
        """Return how far thermal lies off, and the thermal sensor's fixed pattern, None where it
        can't be told: from pairs all over what is trained on, each decoded once.
        """
        moments = [(q, i) for q in self.sequences if q.name in self.split.trained
                   for i in part_of(q, self.split.trained_part)]
        fixed, thermal = self._seen()['thermal_range'], list[NDArray[np.uint8]]()

        def pairs() -> Iterator[Pair]:
            for sequence, i in moments[::max(len(moments) // LOOKED_AT, 1)]:
                pair = sequence.pair(i)
                if pair.thermal is not None:
                    thermal.append(thermal_levels(pair.thermal, fixed))
                yield pair

        offset = estimate_offset(pairs(), self.settings.config.homography)
        return offset, estimate_pattern(thermal)

    def _recipe(self, sizes: dict[str, Any]) -> Recipe:
        s = self.settings
        batch = load_recipe(str(RECIPE), '', s.overrides).stages[STAGE].batch
        both: dict[str, Any] = {
            'layout': s.layout, 'root': str(s.recordings.resolve()),
            'layout_options': s.layout_options, **self._seen(),
            'tracks': str((s.work / 'tracks.csv').resolve()),
            'offset': [round(v, 2) for v in self.offset[:2]] if self.offset.sure else [],
            'pattern': '' if self.pattern is None else str(self._pattern_file.resolve())}
        train = {**both, 'sequences': list(self.split.trained),
                 'part': list(self.split.trained_part), 'slots': batch}
        # hits and misses need boxes that are exact: of made-up scenes as these cameras show them
        aside = {**both, 'sequences': list(self.split.held_out),
                 'part': list(self.split.held_part), 'tracked': 0, 'instant': 0, 'replay': 1,
                 'dressed': 1}
        stage = f'stages.{STAGE}'
        return load_recipe(str(RECIPE), '', (
            *(f'{stage}.networks.{name}.config={as_text(sizes)}' for name in (NETWORK, 'old')),
            *(f'{stage}.data.options.{k}={as_text(v)}' for k, v in train.items()),
            f'result.calibration.data={as_text({"source": "recorded", "options": aside})}',
            *s.overrides))

    def _seen(self) -> dict[str, list[float]]:
        """Return how the tracker on the robot sees the thermal image."""
        c = self.settings.config
        fixed = c.thermal_range == 'fixed'
        return {'homography': list(c.homography),
                'thermal_range': [c.thermal_min, c.thermal_max] if fixed else []}

    @cached_property
    def _search(self) -> Search:
        return Search(self.sequences, [self._spans(q) for q in self.sequences],
                      self.settings.mining)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What the pseudo tracks come from."""
        s, mining = self.settings, asdict(self.settings.mining)
        if not self._search.capped:     # then another limit finds the same
            del mining['most']
        found: dict[str, Any] = resume.plain({
            'student': checkpoint.sha256_of(s.student), 'config': asdict(s.config),
            'mining': mining, 'split': asdict(self.split),
            'recordings': {q.name: fingerprint(q) for q in self.sequences}})
        return found

    def mine(self, fabric: Fabric) -> list[PseudoTrack]:
        """Look for pseudo tracks, every process for its share; what was found before a stop is
        not looked for again.

        :raises ValueError: the processes can't share a batch. :raises LayoutError: if an image
            can't be decoded. :raises ResumeError: the folder holds those of another student, other
            recordings or settings. :raises OSError: if they can't be kept.
        """
        batch = self.recipe.stages[STAGE].batch
        if batch % fabric.world_size:
            raise ValueError(f'the batch of {batch} can not be shared by {fabric.world_size} '
                             f'processes; --set stages.{STAGE}.batch=... a multiple')
        s, theirs = self.settings, self._record()
        record, whole, parts = s.work / 'mined.json', s.work / 'tracks.csv', s.work / 'mining'
        if theirs is not None:
            with _hinting():
                resume.same(theirs, self._identity, record)
        done = theirs is not None and whole.is_file()
        fabric.barrier()
        if not done:
            if theirs is None and fabric.is_global_zero:
                shutil.rmtree(parts, ignore_errors=True)
                resume.write_json(record, self._identity)
            fabric.barrier()
            self._search.run(partial(Tracker, EagerStudent(s.student, 'cpu'), s.config), parts,
                             fabric.global_rank, fabric.world_size)
            fabric.barrier()
            if fabric.is_global_zero:
                found = [t for file in self._search.files(parts) for t in read_tracks(file)]
                resume.replace(whole, lambda part: write_tracks(part, found))
                shutil.rmtree(parts)
            fabric.barrier()
        return read_tracks(whole)

    def _spans(self, sequence: Sequence) -> list[range]:
        """Return the parts of a sequence that tracks may lie in: none lies in two."""
        at = self.split
        return [part_of(sequence, part) for names, part in (
            (at.trained, at.trained_part), (at.held_out, at.held_part)) if sequence.name in names]

    def describe(self, tracks: List[PseudoTrack]) -> str:
        """Return in a few words what there is to learn from."""
        names, x, y = self.split, *self.offset[:2]
        aside = f'the last {self.settings.held_out:.0%} of each' \
            if names.trained == names.held_out else f'{len(names.held_out)} of them'
        return (f'{sum(map(len, self.sequences))} pairs in {len(self.sequences)} recordings, '
                f'{aside} kept aside; {len(tracks)} pseudo tracks of '
                f'{sum(map(len, tracks))} boxes'
                + (f'; thermal lies off by {x:+.1f} px (right), {y:+.1f} px (down), which the '
                   'student will know (a homography of the tracker that says so does better)'
                   if self.offset.sure and max(abs(x), abs(y)) >= 1 else '')
                + (f'\nleft out, since this run began without: {shorten(tuple(self.ignored))}; '
                   'another --work takes all' if self.ignored else ''))

    def train(self, fabric: Fabric, options: Options) -> bool:
        """Train what is not trained yet; True when it is done. Processes part here: what follows
        is for one alone.

        :raises: see Trainer.
        """
        if self.pattern is not None and fabric.is_global_zero:
            resume.replace(self._pattern_file, partial(_save, array=self.pattern))
        fabric.barrier()
        with _hinting():
            trainer = Trainer(self.recipe, self._setting, options, fabric)
            done = trainer.run()
        trainer.close()
        return done

    @property
    def _setting(self) -> Setting:
        s = self.settings
        return Setting(s.seed, s.recordings, s.student)

    @property
    def _pattern_file(self) -> Path:
        return self.settings.work / 'pattern.npy'

    @property
    def _trained(self) -> Path:
        return self.settings.work / 'training' / STAGE / f'{NETWORK}.safetensors'

    def judge(self) -> tuple[dict[float, Verdict], float | None]:
        """Return what is said of the new student, and of those part of the way to it, and the
        share of the way that is to be gone: None where no share makes it better. What was judged
        before is not judged again.

        :raises LayoutError: if an image can't be decoded. :raises OSError: if it can't be kept.
        """
        s, record = self.settings, self.settings.work / 'verdict.json'
        identity = {**self._identity, 'judging': asdict(s.judging), 'rule': RULE,
                    'trained': checkpoint.sha256_of(self._trained)}
        said = resume.read_json(record)
        if said is None or resume.difference(said.get('identity'), identity) is not None:
            said = {'identity': identity, **self._judge()}
            resume.write_json(record, said)
        share = said['share']
        return {float(a): Verdict.of(v) for a, v in said['verdicts'].items()}, share

    def _judge(self) -> dict[str, Any]:
        s, names = self.settings, set(self.split.held_out)
        judge = Judge([q for q in self.sequences if q.name in names], self._crops, s.judging,
                      s.config, self.split.held_part, **self._seen())
        old = judge.measure(s.student, 'the old student')
        verdicts = judge.verdicts(old, {
            share: judge.measure(self.blend(share), f'{share:.0%} of the way')
            for share in SHARES})
        best = max((share for share, v in verdicts.items() if v.better), default=None,
                   key=lambda a: verdicts[a].tracking.gain + verdicts[a].finding.gain)
        return {'share': best, 'verdicts': {str(a): v.as_dict() for a, v in verdicts.items()}}

    def blend(self, share: float) -> Path:
        """Return the file of the student `share` of the way from the old weights to the trained
        ones, its confidence calibrated: what is judged is what is handed over.
        """
        out = self.settings.work / f'blend_{share:g}.safetensors'
        made_of = [checkpoint.sha256_of(self.settings.student),
                   checkpoint.sha256_of(self._trained), share]
        if not out.is_file() or checkpoint.load(out)[1].get('blend') != made_of:
            network, info = blended(self.settings.student, self._trained, share)
            # the old calibration, should no new one be found: all hits, or none
            more = {'blend': made_of} | {k: info[k] for k in ('calibration',) if k in info}
            with TemporaryDirectory(prefix='.blend-', dir=self.settings.work) as folder:
                raw = Path(folder) / 'raw.safetensors'
                checkpoint.save(network, raw)
                export(self.recipe, self._setting, raw, out, stage=STAGE, more=more)
        return out

    def hand_over(self, share: float, verdict: Verdict, out: Path) -> Card:
        """Write the student that was judged, weights and calibration, and what was found of it.

        :raises OSError: if it can't be written; an old file is then still there.
        """
        network, info = checkpoint.load(self.blend(share))
        info['adapted'] = {'from': checkpoint.sha256_of(self.settings.student), 'share': share,
                           'pairs': sum(len(q) for q in self.sequences),
                           **{k: round(getattr(verdict, k).gain, 2)
                              for k in ('tracking', 'finding', 'kept')}}
        checkpoint.save(network, out, **info)
        return Card(out, name_of(network), checkpoint.sha256_of(out), time_of(out), info)


@contextmanager
def _hinting() -> Iterator[None]:
    """Name the option of `rgbt distill` that a run's folder is chosen by."""
    try:
        yield
    except resume.ResumeError as error:
        raise resume.ResumeError(str(error).replace('another --out', 'another --work')) from error


def _save(path: Path, array: Floats) -> None:
    with path.open('wb') as file:   # np.save by itself gives files its own suffix
        np.save(file, array)
