"""How far the score at the peak can be believed: Platt scaling on samples kept aside."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
from tqdm import tqdm

from rgbt_tracker_ros.data.pair_sources import PairSource
from rgbt_tracker_ros.models.network import Network


class Outcome(NamedTuple):
    """Per sample: the `logit` at the peak, the `overlap` (IoU) of the box there, 0 where the
    target was absent.
    """

    logit: NDArray[np.float64]
    overlap: NDArray[np.float64]


@torch.inference_mode()
def outcomes(network: Network, source: PairSource, count: int, batch: int = 32,
             device: str | torch.device = 'cpu', workers: int = 0,
             what: str = 'calibrating') -> Outcome:
    """Run a network's tracking pass over the first `count` samples of a source; the progress bar
    says `what` for.
    """
    network.eval()
    logits, overlaps = [], []
    numbers = [range(i, min(i + batch, count)) for i in range(0, count, batch)]
    for data in tqdm(source.iterate(numbers, device, workers), what, len(numbers),
                     unit='batch', disable=None):  # too short for a log file
        template = network.encode_template(data['template_rgb'], data['template_thermal'],
                                           data['template_present'], data['template_box'])
        out = network(template, data['search_rgb'], data['search_thermal'],
                      data['search_present'])
        peak = out.logits.flatten(1).max(1)
        boxes = out.boxes.flatten(2).gather(
            2, peak.indices[:, None, None].expand(-1, 4, 1))[..., 0]
        logits.append(peak.values)
        overlaps.append(_iou(boxes, data['search_box']) * data['visible'])
    return Outcome(torch.cat(logits).double().cpu().numpy(),
                   torch.cat(overlaps).double().cpu().numpy())


def _iou(corners: Tensor, boxes: Tensor) -> Tensor:
    low = torch.maximum(corners[:, :2], boxes[:, :2])
    high = torch.minimum(corners[:, 2:], boxes[:, :2] + boxes[:, 2:])
    inter = (high - low).clamp(min=0).prod(1)
    area = (corners[:, 2:] - corners[:, :2]).clamp(min=0).prod(1) + boxes[:, 2:].prod(1)
    return inter / (area - inter).clamp(min=1e-9)


def platt(logit: NDArray[np.float64], hit: NDArray[np.bool_]) -> dict[str, float]:
    """Fit p = 1 / (1 + exp(-(scale * logit + bias))) by Newton's method (Platt, 1999).

    :returns: `scale` and `bias`, and the expected calibration error `ece` over 10 bins.
    :raises ValueError: if all samples are hits, or none is.
    """
    if hit.all() or not hit.any():
        raise ValueError(f'{int(hit.sum())} of {len(hit)} samples are hits; '
                         'a calibration needs hits and misses')
    x = np.stack((logit, np.ones_like(logit)), 1)
    # Platt's targets keep the fit finite where hits and misses separate
    target = np.where(hit, (hit.sum() + 1) / (hit.sum() + 2), 1 / ((~hit).sum() + 2))
    theta = np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -50, 50)))
        gradient = x.T @ (p - target)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        theta -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    p = 1 / (1 + np.exp(-np.clip(x @ theta, -50, 50)))
    return {'scale': float(theta[0]), 'bias': float(theta[1]),
            'ece': expected_calibration_error(p, hit)}


def expected_calibration_error(p: NDArray[np.float64], hit: NDArray[np.bool_],
                               bins: int = 10) -> float:
    """Mean gap between confidence and hit rate over equal bins, weighted by their counts."""
    index = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(p[index == b].mean() - hit[index == b].mean()) * (index == b).mean()
            for b in range(bins) if (index == b).any()]
    return float(sum(gaps))
