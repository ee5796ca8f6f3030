"""Which of two networks is faster, by how much, and what they cost on paper."""
from __future__ import annotations

from collections.abc import Callable
import statistics
import time

import torch

from rgbt_tracker_ros.claims.localise import Metrics, crops_of
from rgbt_tracker_ros.data.scene_pairs import ScenePairs
from rgbt_tracker_ros.models.network import Network
from rgbt_tracker_ros.models.profile import parameters, tracking_macs

ROUNDS, WARM_UP = 200, 20


def cost(network: Network) -> Metrics:
    """Return `parameters` and `macs` of the tracking pass (see profile)."""
    return {'parameters': float(parameters(network.tracking_network())),
            'macs': float(tracking_macs(network).layers)}


def race(first: Network, second: Network, rounds: int = ROUNDS) -> Metrics:
    """Time the tracking pass of two networks alternately, batch 1, in this thread.

    :returns: `ratio`: median over rounds of the first's time over the second's right after it;
        `first_ms`, `second_ms`: medians.
    """
    runs = [_pass(network) for network in (first, second)]
    times = []
    with torch.inference_mode():
        for _ in range(WARM_UP + rounds):
            pair = []
            for run in runs:
                start = time.perf_counter()
                run()
                pair.append(time.perf_counter() - start)
            times.append(pair)
    times = times[WARM_UP:]
    return {'ratio': statistics.median(a / b for a, b in times),
            'first_ms': 1000 * statistics.median(a for a, _ in times),
            'second_ms': 1000 * statistics.median(b for _, b in times)}


def _pass(network: Network) -> Callable[[], object]:
    """Return the search half of the tracking pass on one sample."""
    batch = ScenePairs(0, crops_of(network.config)).batch([0])
    network.eval()
    with torch.inference_mode():
        template = network.encode_template(batch['template_rgb'], batch['template_thermal'],
                                           batch['template_present'], batch['template_box'])
    return lambda: network(template, batch['search_rgb'], batch['search_thermal'],
                           batch['search_present'])
