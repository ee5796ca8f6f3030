"""The options of made-up scenes with all that goes wrong in the field: see `varied_scenes`."""
from __future__ import annotations

from dataclasses import dataclass

from rgbt_tracker_ros.data.options import number
from rgbt_tracker_ros.data.scene_pairs import SceneOptions


@dataclass(frozen=True, slots=True)
class VariedOptions(SceneOptions):
    """What made-up scenes are like; of what SceneOptions has, too, the defaults are others.

    `similarity`: of the least alike. `registration_error`: thermal against RGB, at most, px of the
    image, in `misaligned` of the samples. `haze`: share of the bad RGB pictures that smoke or
    glare blinds in place of the dark; of the others, from 1 % to `dark` of the light is left, and
    up to `crossover` of the contrast in bad thermal pictures. `lost`: share of the samples in
    which one camera sends nothing; `missing` must be 0. `absent`, `hidden`: shares of the search
    crops without the target, and with something in front of all of it. `crossing`: share in which
    one of those like it overlaps it, `alike`: share of the occluders that look like it.
    `inverted`: share of the samples that are black-hot. `blurred`: share in which a camera is out
    of focus.
    """

    rgb_degraded: float = number(0.25, 0, 1)
    thermal_degraded: float = number(0.15, 0, 1)
    template_degraded: float = number(0.2, 0, 1)
    dark: float = number(0.3, 0.01, 1)
    crossover: float = number(0.3, 0, 1)
    occlusion: float = number(0.2, 0, 1)
    clutter: float = number(0.5, 0, 1)
    distractors: float = number(0.6, 0, 1)
    registration_error: float = number(16.0, 0, 32)
    misaligned: float = number(0.45, 0, 1)
    haze: float = number(0.4, 0, 1)
    lost: float = number(0.2, 0, 1)
    absent: float = number(0.05, 0, 1)
    hidden: float = number(0.06, 0, 1)
    crossing: float = number(0.4, 0, 1)
    alike: float = number(0.3, 0, 1)
    inverted: float = number(0.15, 0, 1)
    blurred: float = number(0.2, 0, 1)
