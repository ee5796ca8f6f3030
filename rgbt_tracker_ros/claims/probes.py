"""What distillation does to features: the gap of style, the content kept, what a probe reads."""
from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rgbt_tracker_ros.claims.localise import PAIRS, Metrics, crops_of, pairs
from rgbt_tracker_ros.data.pair_sources import Batch
from rgbt_tracker_ros.data.scene_pairs import ScenePairs
from rgbt_tracker_ros.distillation.losses.normal import instance_norm
from rgbt_tracker_ros.distillation.losses.task import gaussian_target
from rgbt_tracker_ros.models.coupled import Coupled
from rgbt_tracker_ros.models.network import Network, Taps

STREAMS = ('rgb', 'thermal')
_PROBE_SEED = 4242  # of the pairs that a probe learns from
_RIDGE = 1e-2


def _taps(network: Network, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Taps]]:
    network.eval()
    with torch.inference_mode():
        for batch in batches:
            yield batch, network.taps(batch)


def style_gap(network: Network, count: int = PAIRS) -> Metrics:
    """Measure how far apart the styles of the two streams are, on clean pairs.

    With mu the mean over a sample's tokens of one channel after one block, the gap of a layer is
    mean over channels of (E mu_v - E mu_t)^2 / (0.5 (Var mu_v + Var mu_t)), E and Var over the
    samples. It does not change when features shrink.

    :returns: `gap.{layer}` and their mean `gap`.
    """
    depth = 0
    means: dict[str, list[Tensor]] = {}
    for _, taps in _taps(network, iter(pairs(network, 'clean', count))):
        while f'blocks.{depth}.rgb' in taps:
            depth += 1
        for i in range(depth):
            for stream in STREAMS:
                means.setdefault(f'{i}.{stream}', []).append(taps[f'blocks.{i}.{stream}'].mean(1))
    gaps = {}
    for i in range(depth):
        v, t = (torch.cat(means[f'{i}.{stream}']) for stream in STREAMS)
        spread = 0.5 * (v.var(0) + t.var(0))
        apart = (v.mean(0) - t.mean(0)).square()
        gaps[f'gap.{i}'] = float((apart / spread.clamp(min=1e-12)).mean())
    return gaps | {'gap': sum(gaps.values()) / depth}


def content_kept(network: Coupled, count: int = PAIRS) -> Metrics:
    """Measure how much of its teacher's content each student has, on mixed pairs, unmasked.

    :returns: `content`: correlation over the tokens between a channel of the student and the same
        of its teacher, mean over channels, samples, layers and modalities.
    """
    total, n = 0.0, 0
    for _, taps in _taps(network, iter(pairs(network, 'mixed', count))):
        i = 0
        while f'blocks.{i}.rgb' in taps:
            for stream in STREAMS:
                ours = instance_norm(taps[f'blocks.{i}.{stream}'], eps=1e-12)
                theirs = instance_norm(taps[f'blocks.{i}.{stream}_teacher'], eps=1e-12)
                total += float((ours * theirs).mean(1).mean(1).sum())
                n += len(ours)
            i += 1
    return {'content': total / n}


def linear_probe(network: Network, count: int = PAIRS) -> Metrics:
    """Measure what each stream alone knows of the target's place, read by a linear probe.

    Ridge regression from a search token of the last block to the target's heat map, on as many
    training pairs as there are test pairs, all clean; the probe's answer is its highest cell.

    :returns: `probe.rgb`, `probe.thermal`: share of the answers less than a cell from the
        target's cell in x and y, x 100.
    """
    def features(batches: Iterator[Batch]) -> tuple[dict[str, Tensor], Tensor]:
        found: dict[str, list[Tensor]] = {s: [] for s in STREAMS}
        heat = []
        for batch, taps in _taps(network, batches):
            last = max(int(k.split('.')[1]) for k in taps if k.startswith('blocks.'))
            box = batch['search_box'] / network.config.search_size
            heat.append(gaussian_target(box, network.config.cells).flatten(1))
            for s in STREAMS:
                tokens = taps[f'blocks.{last}.{s}']
                found[s].append(tokens[:, -heat[-1].shape[1]:])
        return {s: torch.cat(x) for s, x in found.items()}, torch.cat(heat)

    source = ScenePairs(_PROBE_SEED, crops_of(network.config), rgb_degraded=0.0,
                        thermal_degraded=0.0)
    known, wanted = features(source.batch(range(i, min(i + 100, count)))
                             for i in range(0, count, 100))
    unknown, truth = features(iter(pairs(network, 'clean', count)))
    side = network.config.cells
    goal = truth.argmax(1)
    out = {}
    for s in STREAMS:
        guess = _ridge(known[s].flatten(0, 1), wanted.flatten(), unknown[s]).argmax(1)
        off = torch.maximum((guess % side - goal % side).abs(),
                            (guess // side - goal // side).abs())
        out[f'probe.{s}'] = 100 * float((off <= 1).float().mean())
    return out


def _ridge(x: Tensor, y: Tensor, new: Tensor) -> Tensor:
    """Fit y (N,) to standardised x (N, C); return the fit at `new` (..., C)."""
    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    z = (x - mean) / std
    gram = z.T @ z / len(z) + _RIDGE * torch.eye(z.shape[1])
    weight = torch.linalg.solve(gram, z.T @ (y - y.mean()) / len(z))
    return (new - mean) / std @ weight
