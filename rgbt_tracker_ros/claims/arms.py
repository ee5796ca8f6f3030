"""Arms: what is trained and measured for the claims; they share stages where they can."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
import shlex
from typing import Any

NOTHING = ''
"""An arm's stage where it trains nothing."""
STEP_SECONDS = {  # about, on one core; for the order of work and the time left
    'cmd_tir': {'rgb': 0.30, 'cmd': 0.45}, 'ckd': {'joint': 0.34, 'mce': 0.14},
    'mutual_prompt': {'teacher': 0.24, 'student': 0.19},
    'cmd_rgbt': {'teacher': 0.09, 'student': 0.08},
    'shipped': {'teacher': 0.15, 'student': 0.35}}


@dataclass(frozen=True)
class Measure:
    """One measurement of a network that an arm trains.

    `kind` is a name of `measures.KINDS`, `of` a 'stage.network' (a part of it by one more name),
    `prefix` goes before the names of its figures, `options` to the measurement.
    """

    kind: str
    of: str
    prefix: str = ''
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """A recipe with changes, trained up to a stage, and what is measured of it.

    `needs`: arms whose trained stages it takes over; `sets`: what `rgbt train` has as --set;
    `first`: done before arms that claims only report; `scale`: of the recipe.
    """

    name: str
    recipe: str
    stage: str
    measures: tuple[Measure, ...]
    needs: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    first: bool = False
    scale: str = 'tiny'

    @property
    def command(self) -> str:
        """Return the command that trains it, for people."""
        sets = ''.join(f' --set {shlex.quote(s)}' for s in self.sets)
        return f'rgbt train {self.recipe} --scale tiny --seed SEED --out DIR{sets}'


def weights(stage: str, **terms: float) -> tuple[str, ...]:
    """Return the --set values that change the weights of a stage's terms."""
    return tuple(f'stages.{stage}.terms.{name}.weight={value:g}' for name, value in terms.items())


# --- cmd_tir: an RGB tracker teaches a thermal one -------------------------------------------

def _cmd(name: str, generator: str, sets: tuple[str, ...] = (), first: bool = False,
         *more: Measure) -> Arm:
    return Arm(f'cmd_tir/{name}_{generator}', 'cmd_tir', 'cmd',
               (Measure('localise', 'cmd.student', options={'test_set': 'clean'}), *more),
               ('cmd_tir/rgb',), (*sets, f'stages.cmd.data.options.generator={generator}'), first)


_NO_A = weights('cmd', down_score=0, down_box=0, up_score=0, up_box=0)
_C = (*_NO_A, *weights('cmd', response=600, response_box=1))
_SELF = (*_NO_A, *weights('cmd', self_score=600, self_box=1))
_TIR = (
    Arm('cmd_tir/rgb', 'cmd_tir', 'rgb', tuple(
        Measure('localise', 'rgb.tracker', f'{m}_', {'test_set': 'clean', 'modality': m})
        for m in ('rgb', 'thermal')), first=True),
    Arm('cmd_tir/supervised', 'cmd_tir', 'rgb',
        (Measure('localise', 'rgb.tracker', options={'test_set': 'clean'}),),
        sets=('stages.rgb.networks.tracker.config.modality=thermal',), first=True),
    _cmd('a', 'detector', (), True, Measure('localise', 'rgb.tracker', 'teacher_', {
        'test_set': 'clean', 'modality': 'rgb'})),
    _cmd('c', 'detector', _C, True),
    _cmd('self', 'random', _SELF, True), _cmd('a', 'random'),
    _cmd('c', 'random', _C, True), _cmd('self', 'detector', _SELF, True),
    _cmd('a', 'center'), _cmd('c', 'center', _C), _cmd('self', 'center', _SELF))

# --- mutual_prompt: two prompted streams teach one --------------------------------------------

_STUDENT = (Measure('localise', 'student.student'),)
_NO_KD = weights('student', feature=0, response=0, boxes=0)
EARLY = 250  # steps: a quarter of the recipe's


def _prompts(kind: str) -> Arm:
    return Arm(f'mutual_prompt/teacher_{kind}', 'mutual_prompt', 'teacher',
               (Measure('localise', 'teacher.teacher'),),
               sets=(f'stages.teacher.networks.teacher.config.prompts={kind}',))


def _prompted(name: str, sets: tuple[str, ...] = ()) -> Arm:
    return Arm(f'mutual_prompt/{name}', 'mutual_prompt', 'student', _STUDENT,
               ('mutual_prompt/teacher',), sets, True)


_EARLY = (f'stages.student.steps={EARLY}',)
_PROMPT = (
    Arm('mutual_prompt/teacher', 'mutual_prompt', 'teacher',
        (Measure('localise', 'teacher.teacher'),), first=True),
    Arm('mutual_prompt/speed', 'mutual_prompt', NOTHING,
        (Measure('race', 'student.teacher student.student'),), first=True),
    _prompted('distilled'), _prompted('alone', _NO_KD),
    _prompted('distilled_early', _EARLY), _prompted('alone_early', (*_NO_KD, *_EARLY)),
    _prompts('none'), _prompts('to_rgb'), _prompts('to_thermal'))

# --- ckd: styles meet, contents stay ----------------------------------------------------------

_TRACK = (Measure('localise', 'joint.tracker'),
          Measure('localise', 'joint.tracker', 'occluded_', {'occlude': 0.25}),
          Measure('style_gap', 'joint.tracker'), Measure('content', 'joint.tracker'),
          Measure('probe', 'joint.tracker'))
_LARGE = '{template_size: 64, search_size: 128, dim: 192, depth: 6, heads: 6, ' \
         'head_widths: [96, 48]}'
_LARGE_MCE = '{template_size: 64, search_size: 128, dim: 192, depth: 6, heads: 6, ' \
             'head_widths: [96, 48], eliminate_at: [1, 2, 3], keep: 0.7}'


def _coupled(name: str, first: bool, *sets: str) -> Arm:
    return Arm(f'ckd/{name}', 'ckd', 'joint', _TRACK, (), sets, first)


def _pruned(name: str, first: bool, elimination: str, *sets: str) -> Arm:
    # in quotes: `off` alone is false in YAML
    return Arm(f'ckd/{name}', 'ckd', 'mce',
               (Measure('localise', 'mce.tracker'), Measure('cost', 'mce.tracker')),
               ('ckd/coupled',),
               (f'stages.mce.networks.tracker.config.elimination="{elimination}"', *sets), first)


_CKD = (
    Arm('ckd/coupled', 'ckd', 'joint',
        (*_TRACK, Measure('cost', 'joint.tracker'),
         Measure('localise', 'joint.tracker.rgb_teacher', 'rgb_only_'),
         Measure('localise', 'joint.tracker.thermal_teacher', 'thermal_only_')), first=True),
    _coupled('masked', True, *weights('joint', style=0, content_rgb=0, content_thermal=0)),
    _pruned('mce', True, 'mce'),
    Arm('ckd/speed', 'ckd', NOTHING, (Measure('race', 'mce.tracker mce.tracker', options={
        'first': {'elimination': 'off'}}),), first=True,
        sets=(f'stages.joint.networks.tracker.config={_LARGE}',
              f'stages.mce.networks.tracker.config={_LARGE_MCE}')),
    _coupled('style', False, *weights('joint', content_rgb=0, content_thermal=0)),
    _coupled('plain', False, *weights('joint', style=0, content_rgb=0, content_thermal=0),
             'stages.joint.networks.tracker.config.mask_ratio=0'),
    _pruned('ce', False, 'ce'), _pruned('whole', True, 'off'),
    _pruned('zero', False, 'mce', 'stages.mce.networks.tracker.config.eliminated=zero'),
    _pruned('heads', False, 'mce', 'stages.mce.networks.tracker.frozen=["*", "!head.*"]'))

# --- cmd_rgbt: a deep teacher, a shallow student -----------------------------------------------


def _shallow(name: str, first: bool = False, *sets: str) -> Arm:
    return Arm(f'cmd_rgbt/{name}', 'cmd_rgbt', 'student',
               (*_STUDENT, Measure('cost', 'student.student')), ('cmd_rgbt/teacher',), sets, first)


_RGBT = (
    Arm('cmd_rgbt/teacher', 'cmd_rgbt', 'teacher',
        (Measure('localise', 'teacher.teacher'), Measure('cost', 'teacher.teacher')), first=True),
    _shallow('distilled', True),
    _shallow('alone', True, *weights('student', scfd=0, mpsd=0, response=0)),
    _shallow('both', False, *weights('student', response=0)),
    _shallow('scfd', False, *weights('student', mpsd=0, response=0)),
    _shallow('mpsd', False, *weights('student', scfd=0, response=0)),
    _shallow('uniform', False, 'stages.student.terms.mpsd.options.selector=uniform'),
    _shallow('single', False, 'stages.student.terms.mpsd.options.selector=single'),
    _shallow('common', False, 'stages.student.terms.scfd.options.beta=0'))

# --- adapt: the shipped student on other cameras, without labels -----------------------------

ADAPT = str(Path(__file__).parents[1] / 'adaptation' / 'recipe.yaml')


_ADAPT = (Arm('adapt/distilled', ADAPT, NOTHING, (
    Measure('adaptation', '', options={'style': 'dusk', 'videos': 40, 'tests': 40}),), first=True,
    scale='full'),)

# --- shipped: one student, taught by each paper alone and by all of them -----------------------

PAPERS = {'labels': (), 'cmd_tir': ('reliable',), 'mutual_prompt': ('response',),
          'ckd': ('style',), 'cmd_rgbt': ('scfd', 'mpsd')}
"""Arm -> the terms of recipe `shipped` that it keeps beside the labels: those of one paper."""
_TAUGHT = sorted({term for terms in PAPERS.values() for term in terms})


_VIDEOS = {'videos': 10}    # of each suite: with 4 of them a lost target counts for too much


def _taught(name: str, *sets: str) -> Arm:
    return Arm(f'shipped/{name}', 'shipped', 'student',
               (Measure('suites', 'student.student', options=_VIDEOS),
                Measure('cost', 'student.student')), ('shipped/teacher',), sets, True)


_SHIPPED = (
    Arm('shipped/teacher', 'shipped', 'teacher',
        (Measure('suites', 'teacher.teacher', options=_VIDEOS),
         Measure('cost', 'teacher.teacher')), first=True),
    _taught('all'),
    *(_taught(name, *weights('student', **{t: 0 for t in _TAUGHT if t not in kept}))
      for name, kept in PAPERS.items()))

_CROSS = (Arm('cross/structure', 'ckd', NOTHING, (Measure('structure', ''),)),)

ARMS: dict[str, Arm] = {arm.name: arm for arm in (
    *_TIR, *_CKD, *_PROMPT, *_RGBT, *_SHIPPED, *_ADAPT, *_CROSS)}
