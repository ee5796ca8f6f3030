"""OpenCV's trackers behind the contract of ours: init(pair, box), update(pair) -> Estimate.

CSRT (Lukezic et al., Discriminative correlation filter with channel and spatial reliability,
CVPR 2017), KCF (Henriques et al., High-speed tracking with kernelized correlation filters, TPAMI
2015) and MOSSE (Bolme et al., Visual object tracking using adaptive correlation filters, CVPR
2010) take one colour picture; which one is made of a pair is the baseline's *view*.
"""
from __future__ import annotations

from operator import attrgetter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.geometry import of_indices, thermal_to_rgb
from rgbt_tracker_ros.tracking.thermal import ThermalNormalizer
from rgbt_tracker_ros.types import Box, Estimate, Pair, PairError, State

ALGORITHMS = {'csrt': 'TrackerCSRT_create', 'kcf': 'TrackerKCF_create',
              'mosse': 'legacy.TrackerMOSSE_create'}
"""Name of an algorithm -> what makes it, within cv2."""
VIEWS = {'rgb': (1.0, 0.0), 'thermal': (0.0, 1.0), 'mean': (0.5, 0.5)}
"""Name of a view -> shares of RGB and thermal in the picture."""

Picture = NDArray[np.uint8]


class BaselineError(RuntimeError):
    """An algorithm that this build of OpenCV lacks; the text says what to install."""


def available(algorithm: str) -> None:
    """Check that OpenCV has an algorithm of ALGORITHMS.

    :raises BaselineError: if its build lacks the contrib modules.
    """
    _factory(algorithm)


class OpenCVTracker:
    """One of OpenCV's trackers on one view of the pairs.

    Boxes are in pixels of the reference image: RGB, or thermal where `init` had no RGB. The
    thermal image becomes 8 bits as for the student (`ThermalNormalizer`, `config.thermal_*`) and
    is laid over the reference by `config.homography`, as wide as the reference without one. The
    view `mean` is half RGB and half thermal, or what is there of the two.

    These trackers tell no confidence: it is 1 while they say that they follow. Where they say that
    they lost the target, or their picture is missing, the last box is given with state LOST and
    confidence 0.
    """

    def __init__(self, algorithm: str, view: str = 'mean',
                 config: TrackerConfig | None = None) -> None:
        """Choose one of ALGORITHMS and one of VIEWS.

        :raises BaselineError: if this build of OpenCV lacks the algorithm.
        :raises ValueError: unknown algorithm or view.
        """
        if algorithm not in ALGORITHMS or view not in VIEWS:
            raise ValueError(f'no baseline {algorithm!r} on {view!r}; there are '
                             f'{", ".join(ALGORITHMS)} on {", ".join(VIEWS)}')
        self.algorithm, self.view = algorithm, view
        self.config = config or TrackerConfig()
        self._make = _factory(algorithm)
        self._shares = dict(zip(('rgb', 'thermal'), VIEWS[view], strict=True))
        self._normalizer = ThermalNormalizer(self.config)
        self._tracker: Any = None
        self._box = Box(0, 0, 0, 0)
        self._reference, self._size = '', (0, 0)

    def init(self, pair: Pair, box: Box) -> Estimate:
        """Start to follow `box`, cut to the reference image and rounded to whole pixels.

        :raises BoxError: box not finite, without area, or hardly inside the image.
        :raises PairError: if the pair lacks the image that this view is of.
        """
        box = box.checked(*pair.size)
        self._reference = 'rgb' if pair.rgb is not None else 'thermal'
        self._size = pair.size
        self._normalizer.reset()
        picture, shares = self._picture(pair)
        if picture is None:
            raise PairError(f'{self.algorithm}-{self.view} needs a {self.view} image in the first '
                            f'frame; choose another view, of {", ".join(VIEWS)}')
        x1, y1 = round(box.x), round(box.y)
        x2 = max(min(round(box.x + box.w), self._size[0]), x1 + 1)
        y2 = max(min(round(box.y + box.h), self._size[1]), y1 + 1)
        tracker = self._make()
        tracker.init(picture, (x1, y1, x2 - x1, y2 - y1))
        self._tracker, self._box = tracker, box
        return Estimate(box, 1.0, State.TRACKING, *shares)

    def update(self, pair: Pair) -> Estimate:
        """Find the target in the next pair.

        :raises RuntimeError: before `init`.
        :raises PairError: if the reference image has changed its size since `init`.
        """
        if self._tracker is None:
            raise RuntimeError('OpenCVTracker.update was called before OpenCVTracker.init')
        picture, shares = self._picture(pair)
        found, values = (False, ()) if picture is None else self._tracker.update(picture)
        if not found:
            return Estimate(self._box, 0.0, State.LOST, *shares)
        self._box = Box(*map(float, values))
        return Estimate(self._box, 1.0, State.TRACKING, *shares)

    def _picture(self, pair: Pair) -> tuple[Picture | None, tuple[float, float]]:
        """Return the view of a pair, (H, W, 3) BGR of the reference's size, and what is in it."""
        images = {'rgb': pair.rgb, 'thermal': pair.thermal}
        reference = images[self._reference]
        if reference is not None and reference.shape[1::-1] != self._size:
            raise PairError(f'{self._reference} image is {reference.shape[1]}x'
                            f'{reference.shape[0]}, the target was given in '
                            f'{self._size[0]}x{self._size[1]}; give the target again')
        parts: dict[str, Picture] = {}
        for name, image in images.items():
            if image is not None and self._shares[name]:
                parts[name] = self._aligned(
                    cv2.cvtColor(pair.rgb, cv2.COLOR_RGB2BGR) if name == 'rgb' else
                    cv2.cvtColor(self._normalizer(image), cv2.COLOR_GRAY2BGR), name)
        if len(parts) == 2:
            mixed = cv2.addWeighted(parts['rgb'], self._shares['rgb'],
                                    parts['thermal'], self._shares['thermal'], 0)
            return mixed, (self._shares['rgb'], self._shares['thermal'])
        name = next(iter(parts), '')
        return parts.get(name), (float(name == 'rgb'), float(name == 'thermal'))

    def _aligned(self, image: Picture, name: str) -> Picture:
        """Lay an image over the reference image."""
        size = image.shape[1], image.shape[0]
        if name == self._reference or (size == self._size and not self.config.homography):
            return image
        thermal, rgb = (size, self._size) if name == 'thermal' else (self._size, size)
        m = thermal_to_rgb(self.config.homography, thermal, rgb)
        if name == 'rgb':
            m = np.asarray(np.linalg.inv(m), np.float64)
        return cv2.warpPerspective(image, of_indices(m), self._size, flags=cv2.INTER_LINEAR)


def _factory(algorithm: str) -> Any:
    path = ALGORITHMS[algorithm]
    try:
        return attrgetter(path)(cv2)
    except AttributeError as error:
        raise BaselineError(
            f'OpenCV {cv2.__version__} here has no cv2.{path}; install one build with contrib '
            'and no other: pip uninstall opencv-python opencv-python-headless; '
            'pip install opencv-contrib-python-headless') from error
