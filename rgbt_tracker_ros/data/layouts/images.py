"""The images of a sequence as files: found and compared by name, decoded when asked for."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
import logging
from pathlib import Path
import re
from statistics import median_low
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.sequence import LayoutError, identity_of
from rgbt_tracker_ros.data.sources import IMAGE_SUFFIXES, as_frame, as_thermal, natural_order
from rgbt_tracker_ros.types import Image, Pair, PairError

# Share of pixels whose channels differ by more than lossy coding makes of gray
_COLOURED_SHARE, _GRAY_TOLERANCE = 0.02, 16

_log = logging.getLogger(__name__)


class ImageFiles:
    """Frames whose images are files; one list may be empty, otherwise both are of equal length.

    Stamps are evenly spaced by `fps` (30 where not known). Unless `trusting`, the first pair to be
    decoded is checked for exchanged folders.
    """

    def __init__(self, rgb: Sequence[Path], thermal: Sequence[Path], fps: float | None = None,
                 trusting: bool = False) -> None:
        self.rgb, self.thermal = list(rgb), list(thermal)
        self._fps = fps or 30.0
        self._trusting = trusting

    def __len__(self) -> int:
        return len(self.rgb) or len(self.thermal)

    @property
    def identity(self) -> str:
        """See `identity_of`. :raises LayoutError: if a file is gone."""
        return f'{identity_of((*self.rgb, *self.thermal))} {self._fps}'

    def pair(self, index: int) -> Pair:
        """Decode pair `index`.

        :raises LayoutError: if an image can't be decoded or used, or the folders are exchanged.
        """
        rgb = read_image(self.rgb[index], index) if self.rgb else None
        thermal = read_image(self.thermal[index], index) if self.thermal else None
        if not self._trusting and rgb is not None and thermal is not None:
            check_not_exchanged(rgb, thermal, self.rgb[index], self.thermal[index], index)
            self._trusting = True
        try:
            return Pair(None if rgb is None else to_rgb(rgb),
                        None if thermal is None else as_thermal(thermal),
                        stamp=int(index * 1e9 / self._fps))
        except PairError as error:
            path = self.rgb[index] if self.rgb else self.thermal[index]
            raise LayoutError(path, str(error), index + 1) from error


def read_image(path: Path, index: int = 0) -> NDArray[Any]:
    """Decode a file as sources.FolderSource does: colour as RGB, depth kept.

    :raises LayoutError: if it can't be read or decoded; the row is `index` + 1.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise LayoutError(path, f"the image can't be read: {error.strerror}", index + 1) from error
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None:
        raise LayoutError(path, "can't be decoded as an image", index + 1)
    return as_frame(image)


def to_rgb(image: NDArray[Any]) -> Image:
    """Give a one-channel image three channels, 8 bits deep; leave colour alone."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise PairError(f'an RGB image of {image.dtype}; is it a thermal one?')
    return image if image.ndim == 3 else np.dstack([image] * 3)


def check_not_exchanged(rgb: NDArray[Any], thermal: NDArray[Any], rgb_path: Path,
                        thermal_path: Path, index: int) -> None:
    """Refuse a pair whose thermal image is coloured while its RGB image is gray.

    :raises LayoutError: naming both files.
    """
    if is_coloured(thermal) and not is_coloured(rgb):
        raise LayoutError(
            thermal_path, f'the thermal image is coloured and the RGB image {rgb_path} is gray: '
            f'{thermal_path.parent.name}/ and {rgb_path.parent.name}/ seem to be exchanged '
            '(strict=False believes their names)', index + 1)


def is_coloured(image: NDArray[Any]) -> bool:
    """Whether an image shows colours: a share of its pixels that no lossy coding explains."""
    if image.ndim != 3:
        return False
    some = image[::4, ::4].astype(np.int16)
    return bool((np.ptp(some, axis=2) > _GRAY_TOLERANCE).mean() > _COLOURED_SHARE)


def list_images(folder: Path, other: str = '') -> list[Path]:
    """Return the images of a folder in the order of the numbers in their names.

    :param other: pattern of the other modality's names (without suffix), if there is one.
    :raises LayoutError: if the folder is not there or empty, or holds the other modality.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise LayoutError(folder, f"the folder can't be read: {error.strerror}") from error
    files = sorted((p for p in entries if p.suffix.lower() in IMAGE_SUFFIXES
                    and not p.name.startswith('.')), key=natural_order)
    if not files:
        raise LayoutError(folder, f'no images; looked for {", ".join(IMAGE_SUFFIXES)}')
    if other:
        for row, file in enumerate(files, 1):
            if re.fullmatch(other, file.stem, re.IGNORECASE):
                raise LayoutError(file, 'by its name an image of the other modality: are the '
                                  'folders exchanged?', row)
    return files


def match_lengths(rgb: list[Path], thermal: list[Path], strict: bool, where: Path,
                  ) -> tuple[list[Path], list[Path]]:
    """Return both lists, of equal length (unless one is empty).

    :raises LayoutError: if `strict` and they are not: names the first image without a partner. Or
        if both lack an image, but not the same one: names the first pair that is none.
    """
    if not rgb or not thermal:
        return rgb, thermal
    if len(rgb) == len(thermal):
        if strict and (row := _first_apart(rgb, thermal)) is not None:
            raise LayoutError(rgb[row], f'stands beside {thermal[row]}, which is not as many '
                              'frames after the first: each folder lacks an image that the other '
                              'has (strict=False takes them as they stand)', row + 1)
        return rgb, thermal
    if strict:
        many, few = (rgb, thermal) if len(rgb) > len(thermal) else (thermal, rgb)
        row = _first_without_partner(many, few)
        raise LayoutError(many[row], f'has no partner in {few[0].parent.name}/: '
                          f'{len(rgb)} RGB and {len(thermal)} thermal images', row + 1)
    count = min(len(rgb), len(thermal))
    _log.warning('%s: %d RGB and %d thermal images, cut to %d', where, len(rgb), len(thermal),
                 count)
    return rgb[:count], thermal[:count]


def gap(files: list[Path]) -> str:
    """Tell where the numbers in the names jump, for a message; '' where they don't."""
    numbers = [_number(p) for p in files]
    for row in range(1, len(numbers)):
        before, after = numbers[row - 1], numbers[row]
        if before is not None and after is not None and after > before + 1:
            return f'; {files[row - 1].name} is followed by {files[row].name}'
    return ''


def _first_without_partner(many: list[Path], few: list[Path]) -> int:
    """Index into `many` of the first image whose step from the start `few` lacks."""
    numbers = [[_number(p) for p in files] for files in (many, few)]
    if any(n is None for n in numbers[0] + numbers[1]):
        return len(few)
    # files may be numbered from different starts; a missing first one can't be told then
    starts = [n[0] for n in numbers] if numbers[0][0] != numbers[1][0] and (
        numbers[0][-1] != numbers[1][-1]) else [0, 0]
    steps = {n - starts[1] for n in numbers[1] if n is not None}    # type: ignore[operator]
    return next((i for i, n in enumerate(numbers[0])
                 if n is not None and n - starts[0] not in steps),  # type: ignore[operator]
                len(few))


def _first_apart(rgb: list[Path], thermal: list[Path]) -> int | None:
    """Row of the first pair whose numbers, from the first ones on, differ by a frame or more.

    None where there is no such pair, or the names do not count frames at one pitch. Names may be
    stamps, which are never quite the same.
    """
    a, b = ([n for p in files if (n := _number(p)) is not None] for files in (rgb, thermal))
    if len(a) < len(rgb) or len(b) < len(thermal) or len(a) < 2:
        return None
    steps = [[after - before for before, after in pairwise(n)] for n in (a, b)]
    pitch, other = (median_low(s) for s in steps)
    if pitch != other or min(map(min, steps)) < 1:
        return None
    return next((row for row in range(len(a)) if abs(a[row] - a[0] - b[row] + b[0]) >= pitch),
                None)


def _number(path: Path) -> int | None:
    found = re.findall(r'\d+', path.stem)
    return int(found[-1]) if found else None
