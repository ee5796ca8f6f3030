"""One look: what the network is shown, and its answer in image pixels."""
from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

from rgbt_tracker_ros.tracking.confidence import (
    Calibration,
    agreed_box,
    find_peak,
    motion_prior,
)
from rgbt_tracker_ros.tracking.geometry import Crop
from rgbt_tracker_ros.tracking.views import Levels
from rgbt_tracker_ros.types import Box

if TYPE_CHECKING:  # torch is imported by Tracker.load alone
    from rgbt_tracker_ros.runtime.eager import EagerStudent, Template


@dataclass(slots=True)
class Found:
    """A candidate in image pixels, with the share of thermal in it."""

    box: Box
    confidence: float
    weight_thermal: float


@dataclass(frozen=True, slots=True)
class Window:
    """What is shown to the network: a crop of both images, None where one is missing."""

    crop: Crop
    rgb: Levels | None
    thermal: Levels | None

    def alone(self, name: str) -> Window:
        """Return the window with one modality, rgb or thermal."""
        return Window(self.crop, self.rgb if name == 'rgb' else None,
                      self.thermal if name == 'thermal' else None)


def look(student: EagerStudent, template: Template, calibration: Calibration, window: Window,
         spread: float, influence: float) -> Found | None:
    """Have the network answer for a window.

    :param spread: of the motion prior, crop px. :param influence: of it, in [0, 1].
    :returns: None where the answer is not finite: an optimiser inside a network (DiMP's) may run
        away.
    """
    response = student.search(template, window.rgb, window.thermal)
    sizes = student.config
    middle = sizes.search_size / 2
    prior = motion_prior(response.logits.shape[0], sizes.stride, (middle, middle),
                         (spread, spread), sizes.cell_offset)
    peak = find_peak(response.logits, prior, influence)
    x1, y1, x2, y2 = (float(v) for v in response.boxes[:, peak.row, peak.column])
    if sizes.every_cell_learned and math.isfinite(peak.logit):
        x1, y1, x2, y2 = agreed_box(response.boxes, peak.score, peak.row, peak.column)
    if not all(map(math.isfinite, (peak.logit, x1, y1, x2, y2))):
        return None
    box = Box(x1, y1, max(x2 - x1, 1e-3), max(y2 - y1, 1e-3))
    return Found(window.crop.from_crop(box), calibration(peak.logit),
                 response.share_of_thermal(box, sizes.search_size))
