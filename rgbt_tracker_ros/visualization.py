"""Draw what a tracker knows onto its images."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.types import Box, Estimate, Image, Pair, State

COLOURS: dict[State, tuple[int, int, int]] = {          # RGB
    State.IDLE: (160, 160, 160),
    State.SEARCHING: (255, 96, 64),
    State.TRACKING: (48, 230, 96),
    State.UNCERTAIN: (255, 200, 32),
    State.LOST: (230, 32, 64),
}
GROUNDTRUTH = (255, 255, 255)
RGB_SHARE, THERMAL_SHARE = (80, 160, 255), (255, 140, 40)
_INK, _PAPER = (255, 255, 255), (24, 24, 24)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_overlay(image: NDArray[Any], estimate: Estimate, *, lines: Sequence[str] = (),
                 groundtruth: Box | None = None) -> Image:
    """Draw an estimate on a copy of its image.

    The box has the colour of its state and is dashed where it is only the last place known. Below
    runs a bar of the shares that RGB (blue) and thermal (orange) have in the answer.

    :param image: (H, W, 3) uint8 RGB, or (H, W) of any depth, stretched to be seen.
    :param lines: texts for the upper left corner, ASCII.
    :param groundtruth: a box to draw in white, thin.
    :return: (H, W, 3) uint8 RGB.
    """
    canvas = displayable(image)
    colour, thick = COLOURS[estimate.state], _thickness(canvas)
    if groundtruth is not None:
        _rectangle(canvas, groundtruth, GROUNDTRUTH, max(1, thick // 2))
    if estimate.state is not State.IDLE:
        _rectangle(canvas, estimate.box, colour, thick, dashed=not estimate.state.in_sight)
        _label(canvas, estimate, colour)
    _shares(canvas, estimate)
    notes = [f'{name} frozen' for name in estimate.frozen]
    _corner(canvas, [*lines, *notes])
    return canvas


def side_by_side(pair: Pair, estimate: Estimate, *, lines: Sequence[str] = (),
                 groundtruth: Box | None = None, homography: Sequence[float] = ()) -> Image:
    """Draw an estimate on both images of a pair, RGB left, thermal right.

    :param homography: 9 numbers, row by row, from thermal to RGB pixels, by which the thermal
        image is brought to the RGB image; without it, it is scaled to the same size.
    :return: (H, 2 W, 3) uint8 RGB, W x H being the reference image's size.
    """
    width, height = pair.size
    panels: list[Image] = []
    for name, image in (('RGB', pair.rgb), ('thermal', pair.thermal)):
        if image is None:
            panel = np.full((height, width, 3), _PAPER, np.uint8)
            _corner(panel, [f'no {name}'])
        else:
            seen = displayable(image)
            if len(homography) == 9 and name == 'thermal' and pair.rgb is not None:
                matrix = np.asarray(homography, np.float64).reshape(3, 3)
                seen = cv2.warpPerspective(seen, matrix, (width, height)).astype(np.uint8)
            elif seen.shape[:2] != (height, width):
                seen = cv2.resize(seen, (width, height)).astype(np.uint8)
            text = [name, *lines] if not panels else [name]
            own = replace(estimate, frozen=tuple(
                f for f in estimate.frozen if f == name.lower()))
            panel = draw_overlay(seen, own, lines=text, groundtruth=groundtruth)
        panels.append(panel)
    return np.hstack(panels)


def film_strip(images: Sequence[NDArray[Any]], columns: int) -> Image:
    """Tile images row by row, each scaled to the first one's size, with thin gaps.

    :raises ValueError: without images, or with less than one column.
    """
    if not len(images) or columns < 1:
        raise ValueError(f'a strip needs images and columns; got {len(images)} and {columns}')
    height, width = images[0].shape[:2]
    gap = max(2, width // 160)
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    strip = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), _PAPER,
                    np.uint8)
    for i, image in enumerate(images):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        strip[y:y + height, x:x + width] = cv2.resize(
            displayable(image), (width, height), interpolation=cv2.INTER_AREA)
    return strip


def displayable(image: NDArray[Any]) -> Image:
    """Return a copy as (H, W, 3) uint8 RGB; depths other than 8 bits stretched by percentile."""
    if image.dtype != np.uint8:
        values = image[np.isfinite(image)]
        low, high = np.percentile(values, (1, 99.5)) if values.size else (0.0, 1.0)
        levels = (image.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
        image = np.clip(np.nan_to_num(levels), 0, 255).astype(np.uint8)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return np.array(image, np.uint8, order='C')


def _thickness(canvas: Image) -> int:
    return int(max(1, round(canvas.shape[1] / 320)))


def _text_style(canvas: Image) -> tuple[float, int, int]:
    """Return font scale, stroke and padding for this width: 9 px capitals at 320 px."""
    scale = max(0.4, canvas.shape[1] / 1280)
    return scale, max(1, round(scale * 1.5)), max(3, round(scale * 8))


def _rectangle(canvas: Image, box: Box, colour: tuple[int, int, int], thick: int,
               dashed: bool = False) -> None:
    corners = np.array([box.x, box.y, box.x + box.w, box.y + box.h])
    if not np.isfinite(corners).all():
        return
    # a box far outside must not overflow OpenCV's coordinates
    x1, y1, x2, y2 = (int(v) for v in np.clip(corners.round(), -10000, 10000))
    x2, y2 = max(x1, x2 - 1), max(y1, y2 - 1)
    if not dashed:
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, thick)
        return
    for a, b in _dashes(x1, x2, 4 * thick + 4):
        for y in (y1, y2):
            cv2.line(canvas, (a, y), (b, y), colour, thick)
    for a, b in _dashes(y1, y2, 4 * thick + 4):
        for x in (x1, x2):
            cv2.line(canvas, (x, a), (x, b), colour, thick)


def _dashes(start: int, stop: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield an odd number of dashes and gaps, so that all corners are drawn."""
    pieces = max(1, (stop - start) // length) | 1
    edges = np.linspace(start, stop, pieces + 1).round().astype(int)
    yield from ((int(edges[i]), int(edges[i + 1])) for i in range(0, pieces, 2))


def _text_size(canvas: Image, text: str) -> tuple[int, int]:
    """Return (width, height) of a line with the room around it."""
    scale, stroke, pad = _text_style(canvas)
    (w, h), below = cv2.getTextSize(text, _FONT, scale, stroke)
    return int(w) + 2 * pad, int(h) + int(below) + pad


def _write(canvas: Image, text: str, x: int, y: int, ink: tuple[int, int, int]) -> None:
    """Write a line into the patch of its _text_size whose top left corner is (x, y)."""
    scale, stroke, pad = _text_style(canvas)
    (_, h), _ = cv2.getTextSize(text, _FONT, scale, stroke)
    cv2.putText(canvas, text, (x + pad, y + h + pad // 2 + 1), _FONT, scale, ink, stroke,
                cv2.LINE_AA)


def _label(canvas: Image, estimate: Estimate, colour: tuple[int, int, int]) -> None:
    """Name state and confidence above the box, or below where there is no room."""
    box, edge = estimate.box, _thickness(canvas)
    if not all(math.isfinite(v) for v in box.as_tuple()):
        return
    text = f'{estimate.state.name.lower()} {estimate.confidence:.2f}'
    width, height = _text_size(canvas, text)
    y = box.y - height - edge
    if y < 0:
        y = box.y + box.h + edge
    left = round(max(0, min(box.x - edge // 2, canvas.shape[1] - width)))
    top = round(max(0, min(y, canvas.shape[0] - height)))
    canvas[top:top + height, left:left + width] = colour
    _write(canvas, text, left, top, _PAPER)


def _shares(canvas: Image, estimate: Estimate) -> None:
    """Draw the shares of the modalities along the lower edge."""
    height, width = canvas.shape[:2]
    total = estimate.weight_rgb + estimate.weight_thermal
    if not total > 0:
        return
    top = height - max(3, height // 100)
    split = round(width * estimate.weight_rgb / total)
    canvas[top:, :split], canvas[top:, split:] = RGB_SHARE, THERMAL_SHARE


def _corner(canvas: Image, lines: Sequence[str]) -> None:
    """Write lines into the upper left corner, on a darkened patch."""
    if not lines:
        return
    sizes = [_text_size(canvas, line) for line in lines]
    patch = canvas[:sum(h for _, h in sizes), :max(w for w, _ in sizes)]
    patch //= 3
    y = 0
    for line, (_, height) in zip(lines, sizes, strict=True):
        _write(canvas, line, 0, y, _INK)
        y += height
