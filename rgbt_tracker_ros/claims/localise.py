"""One-shot localisation on held-out pairs of made-up scenes, and what it depends on."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgbt_tracker_ros.data.localise_set import LocaliseSet
from rgbt_tracker_ros.data.pair_sources import Batch, Condition, CropSizes
from rgbt_tracker_ros.evaluation.metrics import center_error, success
from rgbt_tracker_ros.models.draws import uniform
from rgbt_tracker_ros.models.network import Network, NetworkConfig, Output

PAIRS = 2000
SETS: dict[str, dict[str, Any]] = {
    'mixed': {}, 'clean': {'rgb_degraded': 0.0, 'thermal_degraded': 0.0}}
"""Test sets: options of `scenes`."""
NEAR = 1 / 16
"""Precision counts centres nearer than this share of the search crop: 4 px of 64."""
_OCCLUDED = 44  # stream of the draws
Metrics = dict[str, float]


def crops_of(config: NetworkConfig) -> CropSizes:
    """Return the crops that a network sees."""
    return CropSizes(config.template_size, config.search_size, config.template_factor,
                     config.search_factor)


def pairs(network: Network, test_set: str = 'mixed', count: int = PAIRS) -> LocaliseSet:
    """Return the held-out pairs in a network's crops: the same for all networks of its sizes."""
    return LocaliseSet(crops_of(network.config), count, **SETS[test_set])


def best_boxes(output: Output) -> Tensor:
    """Return the box at the highest score: (B, 4) x, y, w, h in crop px."""
    best = output.logits.flatten(1).argmax(1)
    x1, y1, x2, y2 = output.boxes.flatten(2).gather(
        2, best[:, None, None].expand(-1, 4, 1))[..., 0].unbind(1)
    return torch.stack((x1, y1, x2 - x1, y2 - y1), 1)


def answers(network: Network, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Tensor]]:
    """Run the tracking pass over batches; yield each with its boxes (B, 4)."""
    network.eval()
    with torch.inference_mode():
        for batch in batches:
            template = network.encode_template(
                batch['template_rgb'], batch['template_thermal'], batch['template_present'],
                batch['template_box'])
            yield batch, best_boxes(network(template, batch['search_rgb'],
                                            batch['search_thermal'], batch['search_present']))


def localise(network: Network, test_set: str = 'mixed', occlude: float = 0.0,
             count: int = PAIRS) -> Metrics:
    """Score a network on held-out pairs.

    :param occlude: share of the search crop's patches that are blanked in both modalities.
    :returns: `sr` (area under the curve of overlaps, x 100) and `pr` (share of the centres nearer
        than NEAR, x 100); on a mixed set also `sr_clean`, `sr_rgb_degraded` and so on.
    """
    batches = iter(pairs(network, test_set, count))
    if occlude:
        batches = (occluded(b, occlude) for b in batches)
    found, truth, condition = [], [], []
    for batch, boxes in answers(network, batches):
        found.append(boxes.numpy())
        truth.append(batch['search_box'].numpy())
        condition.append(batch['condition'].numpy())
    near = NEAR * network.config.search_size
    return scores(np.concatenate(found), np.concatenate(truth), np.concatenate(condition), near)


def scores(found: np.ndarray, truth: np.ndarray, condition: np.ndarray, near: float) -> Metrics:
    """Return success and precision x 100 of boxes (N, 4), of all and by `condition` (N,)."""
    groups = {'': np.ones(len(truth), bool)}
    if len(np.unique(condition)) > 1:
        groups |= {f'_{c.name.lower()}': condition == c for c in Condition
                   if (condition == c).any()}
    out = {}
    for name, chosen in groups.items():
        out[f'sr{name}'] = 100 * success(found[chosen], truth[chosen])
        out[f'pr{name}'] = 100 * float(np.mean(center_error(found[chosen], truth[chosen]) < near))
    return out


def occluded(batch: Batch, share: float, cells: int = 8) -> Batch:
    """Blank a share of the patches of the search crops, the same in both modalities.

    The search crop is a grid of `cells` x `cells` patches; a blank one is mid-grey. Which ones
    are depends on the sample's number alone.
    """
    keep = (uniform(0, batch['index'], cells ** 2, _OCCLUDED) >= share).view(-1, 1, cells, cells)
    out = dict(batch)
    for name in ('search_rgb', 'search_thermal'):
        image = batch[name]
        whole = torch.nn.functional.interpolate(keep.float(), size=image.shape[-2:]) > 0.5
        grey = torch.tensor(128 if image.dtype == torch.uint8 else 0.5, dtype=image.dtype)
        out[name] = torch.where(whole, image, grey)
    return out


def with_config(network: Network, **changes: Any) -> Network:
    """Return a network of the same weights that is configured otherwise."""
    made = type(network)(replace(network.config, **changes))
    made.load_state_dict(network.state_dict())
    return made.eval()

