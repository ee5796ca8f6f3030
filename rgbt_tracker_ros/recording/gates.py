"""Which pairs are worth keeping: against hours of an empty corridor."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.recording.raw_images import RawCompressed, RawImage, sampled

CHANGED = 0.1       # of the sampled pixels that change most decide
BACK = 1_000_000_000    # ns: a stamp that far before the last one kept is a new time, not too soon


@dataclass(frozen=True, slots=True)
class GateSettings:
    """`every_n`: of so many pairs one is kept. `min_interval`: ns between two that are kept.

    `scene_change`: change since the last pair kept, in per cent of the range of values there, over
    the tenth of the picture that changed most, in either image; 0: whatever the picture.
    """

    every_n: int = 1
    min_interval: int = 0
    scene_change: float = 0.0


class Gates:
    """Asks the cheap questions first. `skipped` counts refusals by gate."""

    def __init__(self, settings: GateSettings) -> None:
        self.settings = settings
        self.skipped: Counter[str] = Counter()
        self._number = 0
        self._stamp: int | None = None
        self._seen: tuple[NDArray[np.float32], ...] = ()

    def admit(self, stamp: int, images: tuple[RawImage | RawCompressed, ...]) -> bool:
        """Decide on a pair; what is admitted is what the next one is compared with.

        :raises ImageError: if an image has to be looked at and does not decode.
        """
        reason = self._refusal(stamp, images)
        if reason:
            self.skipped[reason] += 1
        return not reason

    def _refusal(self, stamp: int, images: tuple[RawImage | RawCompressed, ...]) -> str:
        number, self._number = self._number, self._number + 1
        if number % self.settings.every_n:
            return 'every_n'
        if self._stamp is not None and self._stamp - BACK < stamp < (
                self._stamp + self.settings.min_interval):
            return 'interval'
        if self.settings.scene_change:
            now = tuple(sampled(image).astype(np.float32) for image in images)
            if len(self._seen) == len(now) and all(
                    change(a, b) < self.settings.scene_change
                    for a, b in zip(self._seen, now, strict=True)):
                return 'unchanged'
            self._seen = now
        self._stamp = stamp
        return ''


def change(before: NDArray[np.float32], now: NDArray[np.float32]) -> float:
    """Return how much a picture changed, in per cent of its range (1st to 99th percentile, at
    least 1): the mean over the tenth of the pixels that changed most. Another size is a change of
    100. Noise of a camera is below about 5, a person who crosses the picture far above.
    """
    if before.shape != now.shape:
        return 100.0
    low, high = np.percentile(now, (1, 99))
    difference = np.abs(now - before).reshape(-1, now.shape[-1] if now.ndim == 3 else 1).mean(1)
    count = max(1, int(CHANGED * len(difference)))
    most = np.partition(difference, len(difference) - count)[-count:]
    return float(100 * most.mean() / max(float(high - low), 1.0))
