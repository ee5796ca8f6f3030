"""Which topics of a bag are the two cameras, and which of their images belong together."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
import re

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.bag_reader import IMAGE_TYPES
from rgbt_tracker_ros.data.sequence import LayoutError

THERMAL_WORDS = frozenset(('thermal', 'infrared', 'ir', 'lwir', 'mwir', 'tir', 'flir', 'boson',
                           'lepton', 'seek', 'optris', 'thermo'))
RGB_WORDS = frozenset(('rgb', 'color', 'colour', 'visible', 'vis', 'eo'))
NOT_CAMERAS = frozenset(('depth', 'compresseddepth', 'mask', 'disparity', 'overlay', 'debug'))


@dataclass(frozen=True)
class Pairing:
    """Which messages belong together: numbers into two topics' indexes, -1 for none.

    `stamps`: ns, of RGB, or of thermal where there is no RGB. `skews`: ns, thermal minus RGB.
    """

    rgb: NDArray[np.int64]
    thermal: NDArray[np.int64]
    stamps: NDArray[np.int64]
    skews: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def rate(self) -> float | None:
        """Pairs per second, by the median of their distances; None where that can't be said."""
        period = float(np.median(np.diff(self.stamps))) if len(self) > 1 else 0.0
        return 1e9 / period if period > 0 else None


def pair_stamps(rgb: NDArray[np.int64], thermal: NDArray[np.int64], slop: int,
                complete: bool = False) -> Pairing:
    """Match two cameras by stamps (ns): each the other's nearest, and at most `slop` apart.

    As in the node RGB is the reference: every RGB image is a pair, with thermal where there is
    one. Thermal images without a partner count only where RGB is missing for two of its periods.
    With `complete` only full pairs are left.
    """
    order_r, order_t = np.argsort(rgb, kind='stable'), np.argsort(thermal, kind='stable')
    r, t = rgb[order_r], thermal[order_t]
    to_t, to_r = nearest(r, t), nearest(t, r)
    partner = np.full(len(r), -1, np.int64)
    if len(r) and len(t):
        mutual = (to_r[to_t] == np.arange(len(r))) & (np.abs(t[to_t] - r) <= slop)
        partner[mutual] = to_t[mutual]
    alone = np.setdiff1d(np.arange(len(t)), partner)
    if len(r) and len(alone):
        period = int(np.median(np.diff(r))) if len(r) > 1 else 0
        alone = alone[np.abs(r[to_r[alone]] - t[alone]) > max(2 * period, slop)]
    if complete:
        alone = alone[:0]
    keep = partner >= 0 if complete else np.ones(len(r), bool)
    number_r = np.concatenate([np.flatnonzero(keep), np.full(len(alone), -1, np.int64)])
    number_t = np.concatenate([partner[keep], alone])
    stamps = np.concatenate([r[keep], t[alone]])
    skews = np.zeros(len(stamps), np.int64)
    both = (number_r >= 0) & (number_t >= 0)
    skews[both] = t[number_t[both]] - r[number_r[both]]
    order = np.argsort(stamps, kind='stable')
    return Pairing(_original(order_r, number_r[order]), _original(order_t, number_t[order]),
                   stamps[order], skews[order])


def choose_topics(topics: Mapping[str, str], counts: Mapping[str, int], rgb: str | None,
                  thermal: str | None, path: Path) -> tuple[str, str]:
    """Return the RGB and the thermal topic, '' for none, by type and by the words in their names.

    :param topics: topic -> type. `rgb`, `thermal`: given names; '' leaves a modality out, None
        asks to find it. Of a raw and a compressed topic of one camera that with more messages
        counts, the raw one if they have the same number.
    :raises LayoutError: if a given one is not there, or the names do not tell.
    """
    images = [t for t, kind in topics.items() if kind in IMAGE_TYPES and counts.get(t)]
    listing = ', '.join(f'{t} ({topics[t].split("/")[-1]})' for t in sorted(images)) or 'none'
    for given in (rgb, thermal):
        if given and given not in images:
            raise LayoutError(path, f'no images on {given}; the topics with images: {listing}')
    cameras: dict[str, str] = {}
    for topic in sorted(images, key=lambda t: (-counts[t], topics[t] != IMAGE_TYPES[0], t)):
        cameras.setdefault(topic.removesuffix('/compressed'), topic)
    words = {t: set(re.split(r'[/_\-\d]+', t.lower())) for t in cameras.values()}
    usable = [t for t in words if not words[t] & NOT_CAMERAS and t not in (rgb, thermal)]
    warm = [t for t in usable if words[t] & THERMAL_WORDS]
    cold = [t for t in usable if t not in warm]
    cold = [t for t in cold if words[t] & RGB_WORDS] or cold
    chosen = []
    for name, given, found in (('rgb', rgb, cold), ('thermal', thermal, warm)):
        if given is None and len(found) > 1:
            raise LayoutError(path, f'more than one topic may be {name}: {", ".join(found)}; '
                              f'give {name}_topic. The topics with images: {listing}')
        chosen.append(given if given is not None else found[0] if found else '')
    if not any(chosen):
        raise LayoutError(path, f'no topic to read; the topics with images: {listing}')
    return chosen[0], chosen[1]


def nearest(values: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each value the index of the nearest in `among` (sorted), the earlier of two."""
    if not len(among):
        return np.full(len(values), -1, np.int64)
    right = np.minimum(np.searchsorted(among, values), len(among) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(values - among[left] <= among[right] - values, left, right)


def _original(order: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn numbers into a sorted array to those of the unsorted one; -1 stays."""
    return np.where(numbers < 0, -1, order[numbers]) if len(order) else numbers
