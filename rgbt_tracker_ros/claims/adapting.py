"""What `rgbt distill` brings: success on cameras of a new style, before and after, with labels and
without, and on the cameras of before.

The recordings are made-up videos seen through `camera_style`, which the tests share in style
alone: other seeds, other scenes. Nothing of the truth reaches the distilled student; the labelled
one is trained in the same way, with the true boxes in place of pseudo tracks.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rgbt_tracker_ros.adaptation.run import SHARES, STAGE, Adaptation, AdaptationSettings
from rgbt_tracker_ros.claims.localise import Metrics
from rgbt_tracker_ros.claims.online import follow
from rgbt_tracker_ros.data.pseudo_tracks import PseudoTrack, write_tracks
from rgbt_tracker_ros.distillation.devices import make_fabric
from rgbt_tracker_ros.distillation.trainer import Options
from rgbt_tracker_ros.models.checkpoint import SHIPPED

RECORDED, TESTED = 10_000, 20_000
"""Seeds of the videos that are recorded and of those that are tested on: apart from one another,
and from the benchmark, which has seed 0.
"""
LABELLED = tuple(f'stages.{STAGE}.{value}' for value in (
    'data.options.true_boxes=true', 'data.options.tracked=0.6', 'data.options.instant=0',
    'data.options.replay=0.4', 'terms.response.weight=0', 'terms.edges.weight=0'))
"""What is changed where there are labels: they are learned from, edges too, without a teacher."""


def adaptation(run: Path, seed: int, *, style: str = 'dusk', suite: str = 'aligned',
               videos: int = 40, frames: int = 50, tests: int = 40,
               overrides: tuple[str, ...] = ()) -> Metrics:
    """Adapt the shipped student to `videos` x `frames` unlabelled pairs, and measure it.

    :param run: folder; what is trained or judged there already is not done again.
    :returns: success (area under the curve of overlaps x 100) of online tracking: `shipped`,
        `distilled`, `labelled` on the new cameras, with `_original` on those of before; `gain` as
        the verdict on recordings kept aside has it; `accepted` 1 where the student was handed
        over, otherwise 0, and then `distilled` is the student that was refused.
    """
    look = {'suite': suite, 'sequences': videos, 'frames': frames, 'style': style}
    settings = AdaptationSettings(SHIPPED, Path('.'), run / 'distilled', 'synthetic',
                                  look | {'seed': RECORDED + seed}, seed=seed,
                                  overrides=overrides)
    one = Adaptation(settings)
    fabric = make_fabric('cpu', precision=one.recipe.stages[STAGE].precision)
    one.mine(fabric)
    _train(one, fabric)
    verdicts, share = one.judge()
    chosen = SHARES[0] if share is None else share
    distilled = one.blend(chosen)

    labelled = Adaptation(replace(settings, work=run / 'labelled',
                                  overrides=(*LABELLED, *overrides)))
    labelled.settings.work.mkdir(parents=True, exist_ok=True)
    write_tracks(labelled.settings.work / 'tracks.csv', [
        PseudoTrack(s.name, s.annotated[seen], s.truth[seen], np.ones(int(seen.sum())))
        for s in labelled.sequences if (seen := np.isfinite(s.truth).all(1)).any()])
    _train(labelled, fabric)
    bound = labelled.blend(SHARES[0])

    metrics = {'gain': verdicts[chosen].tracking.gain, 'accepted': float(share is not None),
               'share': chosen}
    for name, file in (('shipped', SHIPPED), ('distilled', distilled), ('labelled', bound)):
        for cameras, seen_by in (('', style), ('_original', None)):
            metrics[name + cameras] = follow(file, {
                'suite': suite, 'sequences': tests, 'frames': frames, 'style': seen_by,
                'seed': TESTED + seed})['sr']
    return metrics


def _train(one: Adaptation, fabric: Any) -> None:
    if not one.train(fabric, Options(one.settings.work / 'training', device='cpu')):
        raise KeyboardInterrupt
