"""Every number the online tracker can be tuned by."""
from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np

from rgbt_tracker_ros.tracking.geometry import thermal_to_rgb


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Settings of a Tracker. Nodes replace it between two frames (`tracker.config = ...`).

    :raises ValueError: a setting out of range, or a homography that can't be inverted; the text
        names it, its value, and what it must be.

    Thermal input: `thermal_range` is `auto` (8-bit as it is, other depths by percentile), `fixed`
    (`thermal_min`..`thermal_max`, in the camera's own units) or `percentile`; `thermal_low`,
    `thermal_high` are percentiles in [0, 100], `thermal_smoothing` the share of the old range that
    is kept at every frame, in [0, 1). `homography`: 9 numbers, row by row, that take a thermal
    pixel to an RGB pixel (indices, as OpenCV's findHomography has them); empty scales the thermal
    image to the RGB image's size.

    States: at or above `tracking_threshold` the target is tracked, above `lost_threshold` it is
    uncertain, below it for `lost_frames` frames it is searched for, and after `lost_after` s of
    that it is lost. `search_growth` is the factor by which the window grows at every frame of the
    search. `frozen_after` (s): a picture that has not changed for so long is left out; 0 never.
    `probe_interval` (s) between two tries of one modality alone (see reliability.py); 0 never.

    `alignment_reach`: share of the RGB image's longer side by which thermal may lie off where the
    homography has it, and is found (see alignment.py); 0: it is taken to be right.
    """

    thermal_range: str = 'auto'
    thermal_min: float = 0.0
    thermal_max: float = 0.0
    thermal_low: float = 1.0
    thermal_high: float = 99.5
    thermal_smoothing: float = 0.9
    homography: tuple[float, ...] = ()
    tracking_threshold: float = 0.5
    lost_threshold: float = 0.2
    lost_frames: int = 5
    lost_after: float = 3.0
    search_growth: float = 1.1
    window_influence: float = 0.3
    frozen_after: float = 0.25
    probe_interval: float = 0.5
    alignment_reach: float = 0.075

    def __post_init__(self) -> None:
        object.__setattr__(self, 'homography', tuple(
            float(v) for v in np.ravel(np.asarray(self.homography, np.float64))))
        checks = (
            (self.thermal_range in ('auto', 'fixed', 'percentile'), 'thermal_range',
             "'auto', 'fixed' or 'percentile'"),
            (math.isfinite(self.thermal_min), 'thermal_min', 'finite'),
            (math.isfinite(self.thermal_max), 'thermal_max', 'finite'),
            (self.thermal_range != 'fixed' or self.thermal_max > self.thermal_min, 'thermal_max',
             'above thermal_min where thermal_range is fixed'),
            (0 <= self.thermal_low < self.thermal_high <= 100, 'thermal_low',
             'below thermal_high, both within 0 and 100'),
            (0 <= self.thermal_smoothing < 1, 'thermal_smoothing', 'at least 0 and below 1'),
            (len(self.homography) in (0, 9), 'homography', '9 numbers, row by row, or none'),
            (0 <= self.lost_threshold <= self.tracking_threshold <= 1, 'lost_threshold',
             'at most tracking_threshold, both within 0 and 1'),
            (self.lost_frames >= 1, 'lost_frames', 'at least 1'),
            (self.lost_after >= 0, 'lost_after', 'at least 0 s'),
            (1 <= self.search_growth < math.inf, 'search_growth', 'at least 1'),
            (0 <= self.window_influence <= 1, 'window_influence', 'within 0 and 1'),
            (0 <= self.frozen_after < math.inf, 'frozen_after', 'at least 0 s, and finite'),
            (0 <= self.probe_interval < math.inf, 'probe_interval', 'at least 0 s, and finite'),
            (0 <= self.alignment_reach <= 0.2, 'alignment_reach', 'within 0 and 0.2'),
        )
        for ok, name, want in checks:
            if not ok:
                raise ValueError(f'{name} is {getattr(self, name)!r}; it must be {want}')
        thermal_to_rgb(self.homography, (1, 1), (1, 1))  # raises where it can't be inverted
