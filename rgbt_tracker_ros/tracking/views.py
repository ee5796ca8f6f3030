"""The two images of a pair, made ready for cropping in one frame of reference."""
from __future__ import annotations

from collections.abc import Container
from copy import copy
from dataclasses import dataclass, replace
import math

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.tracking.alignment import Alignment
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.geometry import Crop, Matrix, thermal_to_rgb
from rgbt_tracker_ros.tracking.thermal import FrozenDetector, ThermalNormalizer
from rgbt_tracker_ros.types import Box, Image, Pair, PairError, Thermal

Levels = NDArray[np.uint8]
Crops = tuple[Levels | None, Levels | None]
NAMES = ('rgb', 'thermal')


@dataclass(slots=True)
class Given:
    """What a target was given in: `crops` (RGB, thermal) of `crop` around `box`, the whole of the
    image that is not the reference ('' where there is none), and the map by which it was cut.

    `follows`: the box was marked in that image, and goes where the map takes it; `own` is then the
    whole of the reference image. `guessed`: nothing was known of an offset when it was placed.
    `step`: (x, y) px by which the evidence has then moved it.
    """

    crop: Crop
    box: Box
    crops: Crops
    other: str
    image: Levels | None
    map: Matrix | None
    follows: bool = False
    own: Levels | None = None
    guessed: bool = False
    step: tuple[float, float] = (0.0, 0.0)

    def carry(self, at: Matrix) -> None:
        """Move the box, and the crop around it, to where a new map takes what it shows."""
        assert self.map is not None
        x, y = self.box.center
        u, v, w = (float(c) for c in at @ np.linalg.inv(self.map) @ (x, y, 1.0))
        # at the horizon of a homography there is nothing to go by
        dx, dy = (u / w - x, v / w - y) if abs(w) > 1e-9 else (0.0, 0.0)
        self.step = (dx, dy) if self.guessed else (0.0, 0.0)
        factor = self.crop.side / math.sqrt(self.box.area)
        self.box = replace(self.box, x=self.box.x + dx, y=self.box.y + dy)
        self.crop, self.guessed = Crop.around(self.box, factor, self.crop.size), False


class Views:
    """Keeps, from pair to pair, what the images themselves need: the thermal range, the frozen
    pictures, the registration, and how far that is off. The reference image is the one that the
    target was given in: RGB, or thermal where there was no RGB then.
    """

    def __init__(self, config: TrackerConfig, seen: tuple[str, ...] = NAMES) -> None:
        """Show the modalities `seen` alone. The other can still be the frame of the boxes, and
        tell a frozen picture from a scene that stands still.
        """
        self._seen = seen
        self._normalizer = ThermalNormalizer(config)
        self._frozen = {name: FrozenDetector(config.frozen_after) for name in NAMES}
        self._config = config
        self._sizes: dict[str, tuple[int, int]] = {}
        self._reference = ''
        self._maps: dict[str, Matrix] = {}
        self._images: dict[str, Levels] = {}
        self._alignment = Alignment(config.alignment_reach)
        self.frozen: tuple[str, ...] = ()
        self.uneven = False
        """Whether one picture of this pair is new and the other is the one before."""

    def configure(self, config: TrackerConfig) -> None:
        """Take new settings at the next pair."""
        if config is self._config:
            return
        if config.frozen_after != self._config.frozen_after:
            self._frozen = {n: FrozenDetector(config.frozen_after) for n in NAMES}
        if config.homography != self._config.homography:
            self._maps.clear()
        if config.alignment_reach != self._config.alignment_reach:
            self._alignment = Alignment(config.alignment_reach)
            self._maps.clear()
        self._config = self._normalizer.config = config

    def started(self, pair: Pair) -> Views:
        """Return views for a new target with `pair` as its first: the reference image there is the
        frame of all boxes. The thermal range, the frozen pictures and how far thermal lies off
        are of the cameras, not of the target: they are shared with this one, which can still be
        used if nothing comes of the new target.
        """
        new = copy(self)
        new._reference = 'rgb' if pair.rgb is not None else 'thermal'
        new._sizes, new._maps = {}, {}
        self._normalizer.look_again()
        new.see(pair, held=False)
        return new

    def shown(self, seen: tuple[str, ...]) -> Views:
        """Return views of the same target that show the modalities `seen`, of this pair those
        that are shown here too. All else is shared with this one.
        """
        new = copy(self)
        new._seen = seen
        new._images = {n: im for n, im in self._images.items() if n in seen}
        return new

    def see(self, pair: Pair, believed: Container[str] = (), held: bool = True) -> None:
        """Take the next pair.

        :param believed: modalities that are believed alone. Beside such a one the other's picture
            is left out as soon as a new one is overdue.
        :param held: whether, beside a modality that is not, the other's last picture stands in
            for one that is missing, as it is between two pictures of a slower camera.
        :raises PairError: if the reference image has changed its size since the target was given;
            nothing of that pair is then taken.
        """
        pictures: dict[str, Image | Thermal | None] = {'rgb': pair.rgb, 'thermal': pair.thermal}
        for name, other in (NAMES, NAMES[::-1]):
            if held and pictures[name] is None and name in self._seen and other not in believed:
                pictures[name] = self._frozen[name].held(pair.stamp)
        reference = pictures[self._reference]
        known = self._sizes.get(self._reference)
        if reference is not None and known is not None and reference.shape[1::-1] != known:
            height, width = reference.shape[:2]
            raise PairError(f'{self._reference} image is {width}x{height}, the target was given '
                            f'in {known[0]}x{known[1]}; give the target again')
        images: dict[str, Image | Thermal] = {}
        still, overdue, repeated = [], [], []
        for name, image in pictures.items():
            if image is None:
                continue
            size = image.shape[1], image.shape[0]
            if self._sizes.get(name) != size:
                self._sizes[name] = size
                self._maps.clear()
            if self._frozen[name].update(image, pair.stamp):
                still.append(name)
            if self._frozen[name].repeated:
                repeated.append(name)
            if self._frozen[name].overdue:
                overdue.append(name)
            if name in self._seen:
                image = self._normalizer(image) if name == 'thermal' else image
            images[name] = image
        # if nothing moves anywhere it is the scene that stands still, or nothing better is there
        self.frozen = tuple(still)
        self.uneven = len(images) == 2 and len(repeated) == 1
        if len(images) == 2 and len(overdue) == 1:
            other, = images.keys() - overdue
            if other in believed and other in self._seen:
                still = overdue
        if 0 < len(still) < len(images):
            images = {n: im for n, im in images.items() if n not in still}
        self._images = {n: im.astype(np.uint8, copy=False) for n, im in images.items()
                        if n in self._seen}
        if len(self._images) == 2 and not self.uneven and self._alignment.see(
                self._images['rgb'], self._images['thermal'],
                self._registration(self._sizes['thermal'], self._sizes['rgb'])):
            self._maps.clear()

    @property
    def reference(self) -> str:
        """The modality whose image is the frame of all boxes: rgb or thermal."""
        return self._reference

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the reference image, px."""
        return self._sizes[self._reference]

    @property
    def names(self) -> tuple[str, ...]:
        """Modalities that can be cropped now."""
        return tuple(self._images)

    def _registration(self, thermal: tuple[int, int], rgb: tuple[int, int]) -> Matrix:
        return thermal_to_rgb(self._config.homography, thermal, rgb)

    def _map(self, name: str, size: tuple[int, int]) -> Matrix:
        """Return the map from image `name`, which is not the reference, to the reference image."""
        reference = self._sizes[self._reference]
        x, y = self._alignment.offset
        m = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]]) @ self._registration(
            *((size, reference) if name == 'thermal' else (reference, size)))
        return np.asarray(np.linalg.inv(m) if name == 'rgb' else m, np.float64)

    def cut(self, crop: Crop) -> Crops:
        """Return the RGB (n, n, 3) and thermal (n, n) crops, None where an image is missing."""
        rgb, thermal = (self._cut(crop, name, self._images.get(name)) for name in NAMES)
        return rgb, thermal

    def _cut(self, crop: Crop, name: str, image: Levels | None) -> Levels | None:
        if image is None or name == self._reference:
            return None if image is None else crop.cut(image)
        if name not in self._maps:
            self._maps[name] = self._map(name, self._sizes[name])
        return crop.cut(image, self._maps[name])

    def placed(self, box: Box) -> Box:
        """Return a box that the registration alone has brought from thermal to RGB by what is
        known of the offset, too.
        """
        x, y = self._alignment.offset
        return replace(box, x=box.x - x, y=box.y - y)

    def given(self, crop: Crop, box: Box, crops: Crops, follows: bool = False) -> Given:
        """Return what `cut_again` needs once `crop` was cut from this pair; `box` is kept with
        it. `follows`: it was marked in the image that is not the reference.
        """
        other = next((n for n in self._images if n != self._reference), '')
        own = self._images.get(self._reference) if follows else None
        return Given(crop, box, crops, other, self._images[other].copy() if other else None,
                     self._map(other, self._sizes[other]) if other else None, follows,
                     None if own is None else own.copy(), self._alignment.offset == (0.0, 0.0))

    def cut_again(self, given: Given) -> bool:
        """Cut what was given again where thermal has since been found, or set, to lie elsewhere;
        the new crops are then in `given`.

        :returns: whether that was so.
        """
        if given.image is None or given.map is None:
            return False
        height, width = given.image.shape[:2]
        at = self._map(given.other, (width, height))
        if np.array_equal(at, given.map):
            return False
        if given.follows and not given.guessed and self._alignment.offset == (0.0, 0.0):
            return False    # what the box was placed by is looked for anew; it lay right
        if given.follows:
            given.carry(at)
        new = given.crop.cut(given.image, at)
        given.crops = (new, given.crops[1]) if given.other == 'rgb' else (
            given.crops[0] if given.own is None else given.crop.cut(given.own), new)
        given.map = at
        return True
