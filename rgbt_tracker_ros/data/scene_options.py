"""What a made-up video is like: the options of SceneVideo."""
from __future__ import annotations

from dataclasses import dataclass, field

from rgbt_tracker_ros.data.options import number


@dataclass(frozen=True, slots=True)
class VideoSceneOptions:
    """What a made-up video is like.

    `frames`, `width` x `height` px, `fps`. `target`: sqrt(w h) at the start, px. `speed`: of the
    target, its own sizes per frame (standard deviation). `drift`: of its size, in the logarithm,
    over 100 frames. `degraded`: share of the frames in which one camera is bad, in spells of
    `spell` frames, in turn. `occlusions`: how many times something passes in front of it in 100
    frames. `similarity`, `distractors`, `clutter`, `dark`, `crossover`, `difficulty`,
    `registration_error`: as of scenes.

    `clean`: frames at the start in which no camera is bad; half a spell where not given.
    `rgb_share`: share of the spells that are RGB's; `haze`: share of these in which smoke or
    glare blinds it in place of the dark. `aspect`: how much shapes differ (standard deviation of
    half the logarithm of width to height). `dashes`: sudden fast motions of the target in 100
    frames, or of the camera, at up to `dash` of its sizes a frame. `crossings`: how many times one
    of the distractors passes close to it or over it in 100 frames, before it or behind it; else
    they go their own ways. `hidden`: what passes in front of it hides it wholly for up to so many
    frames (0: it may never). `missing`, `frozen`: shares of the frames in which one camera sends
    nothing, or its last picture again, in spells of up to `outage` frames; both are never out or
    bad at once. `cells`: factor of the size of the ground's patches. `saturation`: of RGB.
    """

    frames: int = number(100, 2)
    width: int = number(320, 32)
    height: int = number(240, 32)
    fps: float = number(30.0, 0.1)
    target: float = number(28.0, 8)
    speed: float = number(0.12, 0, 1)
    drift: float = number(0.25, 0, 0.7)
    degraded: float = number(0.4, 0, 1)
    spell: int = number(20, 1)
    occlusions: float = number(1.0, 0, 5)
    similarity: float = number(0.5, 0, 1)
    distractors: float = number(0.5, 0, 1)
    clutter: float = number(0.35, 0, 1)
    dark: float = number(0.05, 0, 1)
    crossover: float = number(0.1, 0, 1)
    difficulty: float = number(1.0, 0, 3)
    registration_error: float = number(0.0, 0, 16)
    clean: int | None = field(default=None, metadata={'low': 0, 'high': float('inf')})
    rgb_share: float = number(0.5, 0, 1)
    haze: float = number(0.0, 0, 1)
    aspect: float = number(0.25, 0, 0.6)
    dashes: float = number(0.0, 0, 10)
    dash: float = number(2.0, 0, 3)
    crossings: float = number(0.0, 0, 12)
    hidden: int = number(0, 0, 90)
    missing: float = number(0.0, 0, 0.9)
    frozen: float = number(0.0, 0, 0.9)
    outage: int = number(12, 1)
    cells: float = number(1.0, 0.3, 4)
    saturation: float = number(1.0, 0, 1)
