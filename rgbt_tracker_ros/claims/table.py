"""The claims of the four recipes, as figures of arms with the bars they are held to."""
from __future__ import annotations

from collections.abc import Callable

from rgbt_tracker_ros.claims.arms import PAPERS
from rgbt_tracker_ros.claims.judge import Claim, Get, Part
from rgbt_tracker_ros.claims.tried import TRIED_ADAPT

Figure = Callable[[Get], float]


def diff(a: str, b: str, metric: str, metric_b: str = '') -> Figure:
    """Return the figure: an arm's metric less another arm's, of the same seed."""
    return lambda get: get(a, metric) - get(b, metric_b or metric)


def percent(a: str, b: str, metric: str) -> Figure:
    """Return the figure: an arm's metric in percent of another arm's."""
    return lambda get: 100 * get(a, metric) / get(b, metric)


def closed(arm: str, low: str, high: str, metric: str, metric_low: str = '') -> Figure:
    """Return the figure: how much of the gap between two arms a third one closes, in percent."""
    return lambda get: 100 * (get(arm, metric) - get(low, metric_low or metric)) \
        / (get(high, metric) - get(low, metric_low or metric))


def beyond(arm: str, low: str, high: str, share: float, metric: str, metric_low: str = '',
           ) -> Figure:
    """Return the figure: by how much an arm closes more than a share of the gap between two
    others. Unlike the quotient it has a meaning where there is no gap.
    """
    def figure(get: Get) -> float:
        start = get(low, metric_low or metric)
        return get(arm, metric) - start - share * (get(high, metric) - start)
    return figure


def closed_of(arm: str, metric: str, low: str, high: str) -> Figure:
    """Return the figure: how much of the gap between two metrics of an arm a third one closes, in
    percent.
    """
    return lambda get: 100 * (get(arm, metric) - get(arm, low)) / (get(arm, high) - get(arm, low))


def own(arm: str, metric: str) -> Figure:
    """Return the figure: an arm's metric as it is."""
    return lambda get: get(arm, metric)


def _minutes(*arms: str) -> Figure:
    return lambda get: sum(get(arm, 'cpu_seconds') for arm in arms) / 60


_T, _P, _K, _R = 'cmd_tir/', 'mutual_prompt/', 'ckd/', 'cmd_rgbt/'
_GENERATORS = ('detector', 'random', 'center')

CMD_TIR = (
    Claim('B1.1', 'Without thermal labels, the distilled tracker beats the RGB weights on thermal '
          'by 2 points or more (objective A, detector boxes)', tuple(
              Part(f'{m.upper()}: distilled - RGB weights',
                   diff(f'{_T}a_detector', f'{_T}rgb', m, f'thermal_{m}'), 2.0, unit='points')
              for m in ('sr', 'pr')), required=True),
    Claim('B1.2', 'It closes 25 % of the gap to supervision with the released objective A, 50 % '
          'with the best switch (C, imitation of the response)', (
              *(Part(f'{o}: SR gained, less {share:.0%} of the gap', beyond(
                  f'{_T}{o.lower()}_detector', f'{_T}rgb', f'{_T}supervised', share, 'sr',
                  'thermal_sr'), 0.0, unit='points') for o, share in (('A', 0.25), ('C', 0.5))),
              *(Part(f'{o}: gap in SR closed', closed(
                  f'{_T}{o.lower()}_detector', f'{_T}rgb', f'{_T}supervised', 'sr',
                  'thermal_sr'), unit='%') for o in 'AC')), required=True),
    Claim('B1.3', 'Each of the three box generators beats the RGB weights (objective A); the '
          'order of the three is reported', (
              *(Part(f'{g}: SR - RGB weights', diff(f'{_T}a_{g}', f'{_T}rgb', 'sr', 'thermal_sr'),
                     0.0, unit='points', strict=True) for g in _GENERATORS),
              Part('detector - random', diff(f'{_T}a_detector', f'{_T}a_random', 'sr'),
                   unit='points'),
              Part('random - center', diff(f'{_T}a_random', f'{_T}a_center', 'sr'),
                   unit='points'),
              *(Part(f'{g}, best switch C: SR - RGB weights',
                     diff(f'{_T}c_{g}', f'{_T}rgb', 'sr', 'thermal_sr'), unit='points')
                for g in _GENERATORS)),
          tried='The order is the expected one. But with the released objective, A, only boxes of '
          'a detector teach: boxes that hold no object, as most random ones and most of those in '
          'the middle of the picture, make of the features something that finds less than the RGB '
          'weights do. Imitation of the response, C, learns from each of them (the last three '
          'figures).'),
    Claim('B1.4', 'Distillation beats self-training on the same pseudo boxes without any RGB by 2 '
          'points of success or more, with boxes that hold no object (random); precision, where '
          'self-training is ahead, and detector boxes are reported', (
              Part('random: best switch C - control, SR',
                   diff(f'{_T}c_random', f'{_T}self_random', 'sr'), 2.0, unit='points'),
              Part('random: C - control, PR',
                   diff(f'{_T}c_random', f'{_T}self_random', 'pr'), unit='points'),
              Part('random: A - control, SR', diff(f'{_T}a_random', f'{_T}self_random', 'sr'),
                   unit='points'),
              Part('detector: C - control, SR',
                   diff(f'{_T}c_detector', f'{_T}self_detector', 'sr'), unit='points'),
              Part('detector: C - control, PR',
                   diff(f'{_T}c_detector', f'{_T}self_detector', 'pr'), unit='points'),
              Part('detector: A - control, SR',
                   diff(f'{_T}a_detector', f'{_T}self_detector', 'sr'), unit='points')),
          required=True),
    Claim('B1.4b', 'The same with boxes in the middle of the picture', (
        Part('center: C - control, SR', diff(f'{_T}c_center', f'{_T}self_center', 'sr'), 2.0,
             unit='points'),
        Part('center: A - control, SR', diff(f'{_T}a_center', f'{_T}self_center', 'sr'),
             unit='points'))),
    Claim('B1.5', 'The RGB tracker is as it was: the frozen teacher on RGB, after - before', (
        Part('SR', diff(f'{_T}a_detector', f'{_T}rgb', 'teacher_sr', 'rgb_sr'), 0.0,
             unit='points'),)),
)

MUTUAL_PROMPT = (
    Claim('B2.1', "The one-stream student keeps 97 % of its two-stream teacher's precision and "
          '96 % of its success', (
              Part('PR, student / teacher', percent(f'{_P}distilled', f'{_P}teacher', 'pr'), 97.0,
                   unit='%'),
              Part('SR, student / teacher', percent(f'{_P}distilled', f'{_P}teacher', 'sr'), 96.0,
                   unit='%')), required=True,
          tried='What the teacher says fades from 35 % of the steps on and is over at 70 %. Tried '
          'with the tuning seed and a teacher of 1600 steps (PR 77.6): so, in 1000 steps, 76.3, '
          'and 75.2 without distillation; distilled to the end, 74.4 after 800 steps and 76.0 '
          'after 1200. The recipe of before (teacher 1600 steps, student 800, distilled to the '
          'end) had on seeds 1 to 3 96.7 % of the precision and 96.2 % of the success: these '
          'seeds led to the present one, and are not judged any more. On seed 1 a '
          'teacher of 1300 steps and a student of 1100, distilled to the end, had 99.9 %, with '
          '1.7 points less than without distillation, and was given up for that. With a '
          'teacher of 1200 steps (PR 74.1), 1600 steps of 8 samples at twice the rate in place '
          'of 800 of 32 gave 71.3 in place of 72.1.'),
    Claim('B2.2', "It runs at 3 times its teacher's speed or more (tiny scale, batch 1, one "
          'thread, search pass of the network alone)', (
              Part('time of the teacher / time of the student', own(f'{_P}speed', 'ratio'), 3.0,
                   unit='times'),), required=True,
          tried='Judged at the tiny scale alone. At full scale on a CPU the student was 1.9 times '
          'as fast, less than what is claimed: there the time goes into products of large '
          'matrices, of which the student has half, and hardly into the many small operations of '
          'the prompters. On a GPU it was not measured.'),
    Claim('B2.3', 'Distillation adds precision at equal steps, and adds more at a quarter of the '
          'steps', (
              Part('PR at all steps: with - without', diff(f'{_P}distilled', f'{_P}alone', 'pr'),
                   0.0, unit='points', strict=True),
              Part('PR at a quarter: with - without',
                   diff(f'{_P}distilled_early', f'{_P}alone_early', 'pr'), 0.0, unit='points',
                   strict=True),
              Part('gain at a quarter - gain at all steps', lambda get:
                   get(f'{_P}distilled_early', 'pr') - get(f'{_P}alone_early', 'pr')
                   - get(f'{_P}distilled', 'pr') + get(f'{_P}alone', 'pr'), 0.0, unit='points',
                   strict=True)),
          required=True,
          tried='What distillation adds, it adds early: a student that starts from the weights of '
          'its teacher gets there without it, too, given time. Of the recipe of before (see B2.1) '
          'it added 0.5 points at all steps (-2.5 to 3.5) and 1.7 at a quarter (1.3 to 2.1), on '
          'seeds 1 to 3; with that recipe B2.1 did not hold.'),
    Claim('B2.4', 'The teacher is better with mutual prompts than without, and than with prompts '
          'into one stream where RGB is degraded', (
              Part('PR: mutual - none', diff(f'{_P}teacher', f'{_P}teacher_none', 'pr'), 0.0,
                   unit='points', strict=True),
              *(Part(f'PR where RGB is degraded: mutual - {kind}',
                     diff(f'{_P}teacher', f'{_P}teacher_{kind}', 'pr_rgb_degraded'), 0.0,
                     unit='points', strict=True) for kind in ('to_rgb', 'to_thermal'))),
          tried='What three seeds can tell is that mutual prompts bring nothing beyond doubt at '
                'this scale. Both streams are trained from scratch here, all of them; in the '
                'paper (after MPLT) prompts are what a tracker pre-trained on RGB learns the '
                'other modality by. Nothing was tried to turn it.'),
)

TRIED_MCE = (
    "The pruned network is held against the one that it comes from, as after the paper's "
    'second stage; beside it stands the same second stage without elimination. Two things are '
    "not the paper's, and stand in for a pre-trained network of twelve blocks: the head sees "
    'eliminated tokens as they were when they left (paper: zeros), and the second stage '
    'trains the whole network, in half as many steps as the first (paper: the head alone); '
    'B3.5c says what they are worth. To save a quarter, four blocks must prune after the '
    'first three, where attention does not find the target yet. Tried with the tuning seed '
    'after a first stage of 600 steps (PR 58.5; 61.1 with the head trained on, not pruned), '
    'pruned to 75 %: kept tokens and the head alone, 53.3 (ranked by all tokens of the '
    'template, 52.7, and with zeros 39.0; pruned once, after the first block, 53.6, or after '
    'the second, 54.6); kept tokens and the whole network, 400 steps at half the rate, 61.1. '
    'Ranking is not what it lacks: before the second stage, tokens kept at random gave 42.3, '
    'by the vote 42.2, the target and its neighbours always kept 43.6. A pre-trained network, '
    'as at full scale, was not tried. The time is measured on a larger network of the same '
    'kind, which was not trained: at the tiny scale the vote costs as much time as it saves.')

CKD = (
    Claim('B3.1', 'Style distillation cuts the style gap of the students to a third or less of '
          'that of the same network, equally masked, without distillation', (
              Part('gap, layer mean: with / without',
                   lambda get: get(f'{_K}coupled', 'gap') / get(f'{_K}masked', 'gap'), 1 / 3,
                   at_most=True, unit='times'),), required=True),
    Claim('B3.2', 'The content is kept', (
        Part('correlation with the teachers: style and content - style alone',
             diff(f'{_K}coupled', f'{_K}style', 'content'), 0.0, unit=''),
        *(Part(f'linear probe of the {s} student: distilled - not',
               diff(f'{_K}coupled', f'{_K}masked', f'probe.{s}'), -1.0, unit='points')
          for s in ('rgb', 'thermal')))),
    Claim('B3.3', 'It costs no accuracy: success at most 1 point below the equally masked network '
          'without distillation', (
              Part('SR: distilled - not', diff(f'{_K}coupled', f'{_K}masked', 'sr'), -1.0,
                   unit='points'),
              Part('SR where RGB is degraded',
                   diff(f'{_K}coupled', f'{_K}masked', 'sr_rgb_degraded'), unit='points'),
              Part('SR where thermal is degraded',
                   diff(f'{_K}coupled', f'{_K}masked', 'sr_thermal_degraded'), unit='points'),
              Part('SR: distilled - neither masks nor distillation',
                   diff(f'{_K}coupled', f'{_K}plain', 'sr'), unit='points')), required=True),
    Claim('B3.4', 'A network trained with masks loses less when a quarter of the search crop is '
          'covered', (
              Part('loss of SR: unmasked - masked training', lambda get:
                   get(f'{_K}plain', 'sr') - get(f'{_K}plain', 'occluded_sr')
                   - get(f'{_K}masked', 'sr') + get(f'{_K}masked', 'occluded_sr'), 0.0,
                   unit='points', strict=True),)),
    Claim('B3.5', 'Candidate elimination by one vote saves a quarter of the operations, and after '
          'its second stage at most half a point of the precision before it is lost (it does lose '
          'to a network that had the same second stage without elimination: the last figure)', (
              Part('operations: pruned / whole', lambda get:
                   get(f'{_K}mce', 'macs') / get(f'{_K}coupled', 'macs'), 0.75, at_most=True,
                   unit='times'),
              Part('PR: pruned - whole', diff(f'{_K}mce', f'{_K}coupled', 'pr'), -0.5,
                   unit='points'),
              Part('time: whole / pruned, at d 192 and 128 px', own(f'{_K}speed', 'ratio'),
                   1 / 0.9, unit='times'),
              Part('PR: pruned - whole, both after the second stage',
                   diff(f'{_K}mce', f'{_K}whole', 'pr'), unit='points')), required=True,
          tried=TRIED_MCE),
    Claim('B3.5b', 'One vote of both modalities is as good as a vote of each, or better', (
        Part('PR: together - apart', diff(f'{_K}mce', f'{_K}ce', 'pr'), 0.0, unit='points'),),
        tried='Both are the same network after the same second stage, and keep the same number '
              'of tokens; what is between them is within the noise of three seeds. The arm that '
              'votes apart is a reconstruction; nothing was tried to turn it.'),
    Claim('B3.5c', 'What makes elimination cheap at this scale: tokens that leave early, not '
          'zeros; a whole network that is trained on, not its head alone', (
              Part('PR: kept - zeros', diff(f'{_K}mce', f'{_K}zero', 'pr'), unit='points'),
              Part('PR: whole network - head alone trained on',
                   diff(f'{_K}mce', f'{_K}heads', 'pr'), unit='points'))),
)

TRIED_CMD = (
    "Both arms start from the teacher's matcher and head, and differ in the weights of the "
    'terms alone. Tried with the tuning seed, precision distilled and alone, against an '
    'earlier teacher (a block less) of 71.7: 500 steps of 32, 67.2 and 64.3; SCFD and MPSD half '
    'as heavy, 67.0; with imitation of the boxes, 66.7; with divergence of the score maps '
    '(weight 10) and boxes, 64.8. With plain imitation of the fused map besides: 300 steps, '
    '62.4 and 60.9; the same at three times the rate, 66.2 and 65.4 (65.0 where the weights '
    'are four times as large and fall to 0 by 70 % of the steps); a student with residual '
    'blocks, 66.8 and 65.8; 1000 steps of 8 pairs at twice the rate, 67.5 and 65.0; 2000 of '
    'them, alone, 71.8, as good as the teacher. In all pairs distillation is furthest ahead '
    'in the middle of the training, and less so once the rate has come down. What lacked was '
    'the teacher: with a block more and 3000 steps of 8 samples it has 75.9, and with it the '
    'student of 1000 such steps 71.9 and 67.4, 53 % of the gap (70.5 with the fused map '
    'besides), which is the recipe now. The recipe of before (1000 steps of 32 samples for the '
    'teacher, 500 for the student) had on seeds 1 to 3 66.1 and 64.5, teacher 72.1: 22 %; the '
    'present one on the same seeds, which had led to it, more than 40 %. They are not judged any '
    'more; what it is on fresh ones stands under B4.3.')

CMD_RGBT = (
    Claim('B4.1', "The student has a third of its teacher's parameters and half its operations, "
          'or less', (
              Part('parameters: student / teacher', lambda get:
                   get(f'{_R}distilled', 'parameters') / get(f'{_R}teacher', 'parameters'),
                   1 / 3, at_most=True, unit='times'),
              Part('operations: student / teacher', lambda get:
                   get(f'{_R}distilled', 'macs') / get(f'{_R}teacher', 'macs'), 0.5,
                   at_most=True, unit='times')), required=True),
    Claim('B4.2', 'Distilled (SCFD, MPSD and imitation of the answer), it beats the same student '
          'undistilled by 2 points of precision or more', (
              Part('PR: distilled - alone', diff(f'{_R}distilled', f'{_R}alone', 'pr'), 2.0,
                   unit='points'),
              Part('SR: distilled - alone', diff(f'{_R}distilled', f'{_R}alone', 'sr'),
                   unit='points')), required=True,
          tried=TRIED_CMD),
    Claim('B4.3', 'Distillation recovers 40 % of the gap to the teacher or more', (
        Part('PR gained, less 40% of the gap', beyond(
            f'{_R}distilled', f'{_R}alone', f'{_R}teacher', 0.4, 'pr'), 0.0, unit='points'),
        Part('gap in PR recovered', closed(f'{_R}distilled', f'{_R}alone', f'{_R}teacher', 'pr'),
             unit='%'),
        Part('gap in PR: teacher - alone', diff(f'{_R}teacher', f'{_R}alone', 'pr'),
             unit='points')), required=True),
    Claim('B4.4', 'SCFD alone and MPSD alone are better than none, both at least as good as '
          'either (without imitation of the answer)', (
              *(Part(f'PR: {m.upper()} - alone', diff(f'{_R}{m}', f'{_R}alone', 'pr'), 0.0,
                     unit='points', strict=True) for m in ('scfd', 'mpsd')),
              Part('PR: both - the better one', lambda get: get(f'{_R}both', 'pr')
                   - max(get(f'{_R}scfd', 'pr'), get(f'{_R}mpsd', 'pr')), 0.0, unit='points'))),
    Claim('B4.5', 'Choosing paths by their quality is at least as good as the aggregate path '
          'alone', (
              Part('PR: chosen - single', diff(f'{_R}distilled', f'{_R}single', 'pr'), 0.0,
                   unit='points'),
              Part('PR: chosen - uniform', diff(f'{_R}distilled', f'{_R}uniform', 'pr'),
                   unit='points'),
              Part('PR: uniform - single', diff(f'{_R}uniform', f'{_R}single', 'pr'),
                   unit='points'))),
    Claim('B4.6', 'Where a modality is degraded, what each modality has alone is worth handing on',
          tuple(Part(f'PR where {c} is degraded: with - without the specific term',
                     diff(f'{_R}distilled', f'{_R}common', f'pr_{c}_degraded'), 0.0,
                     unit='points', strict=True) for c in ('rgb', 'thermal'))),
)

_S = 'shipped/'
_PAPERS = tuple(name for name in PAPERS if name != 'labels')
SHIPPED = (
    Claim('S1.1', 'Taught by what all four papers have, the student tracks at least as well as '
          'taught by any one of them, or by labels alone', tuple(
              Part(f'SR: all - {name}', diff(f'{_S}all', f'{_S}{name}', 'sr'), 0.0, unit='points')
              for name in (*_PAPERS, 'labels')), required=True,
          tried='Six hundred steps of 16 samples; seeds 4 and 5 on another processor. All '
          'together are ahead of labels beyond doubt, and on the mean of three of the papers; '
          'imitation of the answers alone (mutual_prompt) does better. With seeds 1 and 2 it was '
          'looked into why, each trial against that arm, trained anew (58.2 and 60.7): one term '
          'more beside it, at the weight of the recipe, SR -2.4 (style), -2.4 (SCFD), -2.5 '
          '(reliable response), -2.5 (MPSD) on the mean of the two, one of the eight ahead; all '
          'of them faded out by half of the steps -5.3; the answers of the better of the paths in '
          'place of the fused one -3.2. One-shot localisation of the same students does not see '
          'it: 51.3 for imitation alone, 51.5 to 51.7 with one term more, 50.6 faded. So what '
          'differs is how a weak student fares online, where a target once lost is lost for the '
          'video, and a training more or less moves it by 2 to 3 points. The weights of the '
          'terms are those of the full scale, where nothing but all against labels was measured '
          '(see the model card); there imitation alone is to be tried first.'),
    Claim('S1.2', "It keeps 97 % of its teacher's precision at a tenth of its operations", (
        Part('PR, student / teacher', percent(f'{_S}all', f'{_S}teacher', 'pr'), 97.0, unit='%'),
        Part('operations: student / teacher', lambda get: get(f'{_S}all', 'macs')
             / get(f'{_S}teacher', 'macs'), 0.1, at_most=True, unit='times'))),
    Claim('S1.3', 'Each paper alone is better than labels alone', tuple(
        Part(f'SR: {name} - labels', diff(f'{_S}{name}', f'{_S}labels', 'sr'), 0.0,
             unit='points', strict=True) for name in _PAPERS)),
)

_A = 'adapt/distilled'
ADAPT = (
    Claim('D1.1', 'After `rgbt distill` on 2,000 unlabelled pairs of cameras of another style '
          "the shipped student's success there is 5 points higher or more", (
              Part('SR there: distilled - shipped', diff(_A, _A, 'distilled', 'shipped'), 5.0,
                   unit='points'),
              Part('SR there: shipped', own(_A, 'shipped'), unit='points'),
              Part('SR there: distilled', own(_A, 'distilled'), unit='points'),
              Part('SR there: trained in the same way with labels', own(_A, 'labelled'),
                   unit='points')), required=True, tried=TRIED_ADAPT),
    Claim('D1.2', 'It closes 40 % of the gap to the student that is trained there with labels, or '
          'more', (
              Part('SR gained, less 40% of the gap', lambda get: get(_A, 'distilled')
                   - get(_A, 'shipped') - 0.4 * (get(_A, 'labelled') - get(_A, 'shipped')), 0.0,
                   unit='points'),
              Part('gap in SR closed', closed_of(_A, 'distilled', 'shipped', 'labelled'),
                   unit='%')), required=True),
    Claim('D1.3', 'On the cameras of before it loses 1 point or less', (
        Part('SR there: distilled - shipped',
             diff(_A, _A, 'distilled_original', 'shipped_original'), -1.0, unit='points'),
        Part('SR there: with labels of the new cameras - shipped',
             diff(_A, _A, 'labelled_original', 'shipped_original'), unit='points')),
          required=True),
    Claim('D1.4', 'The judge, who sees no label, hands it over', (
        Part('runs in which it did', own(_A, 'accepted'), 1.0, unit=''),),
        tried='Two of three. The rule of before, which took samples of one scene for independent '
              'ones, handed over all three; but in simulations with eight scenes kept aside, as '
              'here, 39 % of students that were no better than the old one passed it, too. The '
              'present one counts scenes, and lets 5 % pass. With seed 6 the student gains 6.9 '
              'points on new videos (D1.1), and is refused: it finds 1.5 points less on made-up '
              'scenes, where 1 is put up with (on videos of the cameras of before it tracks 0.2 '
              'points worse); and the two on the way to it, tracking there and back on eight '
              'scenes, are not to be told from chance.'),
)

CROSS = (
    Claim('X1', 'Both modalities together beat the better one alone by 3 points of success or '
          'more (the students of `ckd` against its unimodal teachers)', (
              Part('SR: both - the better one', lambda get: get(f'{_K}coupled', 'sr') - max(
                  get(f'{_K}coupled', 'rgb_only_sr'), get(f'{_K}coupled', 'thermal_only_sr')),
                   3.0, unit='points'),)),
    Claim('X2', 'All four train from one entry point by configuration alone: no module of the '
          'library names a recipe, and little is written twice', (
              Part('modules that name a recipe', own('cross/structure', 'naming'), 0.0,
                   at_most=True),
              Part('lines of code that occur twice', own('cross/structure', 'duplicated'), 3.0,
                   at_most=True, unit='%'))),
    Claim('X3', 'Each recipe trains at the tiny scale in about 10 minutes of one CPU core', tuple(
        Part(f'{name}', _minutes(*arms), 10.0, at_most=True, unit='min')
        for name, arms in {'cmd_tir': (f'{_T}rgb', f'{_T}a_detector'),
                           'mutual_prompt': (f'{_P}teacher', f'{_P}distilled'),
                           'ckd': (f'{_K}coupled', f'{_K}mce'),
                           'cmd_rgbt': (f'{_R}teacher', f'{_R}distilled')}.items()),
          tried='Measured as CPU time while other trainings ran on the same machine: cmd_tir on '
          'cores of an AMD EPYC of 2025, the others on those of a Xeon without AMX, where cmd_tir '
          'had taken 11.3 minutes.'),
)

CLAIMS: dict[str, Claim] = {c.id: c for c in (
    *CMD_TIR, *MUTUAL_PROMPT, *CKD, *CMD_RGBT, *SHIPPED, *ADAPT, *CROSS)}
SYSTEMS = ('cmd_tir', 'mutual_prompt', 'ckd', 'cmd_rgbt', 'shipped', 'adapt', 'cross')
