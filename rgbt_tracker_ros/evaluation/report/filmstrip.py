"""Filmstrips: a few moments of a failure, RGB beside thermal, with the boxes drawn over them."""
from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.evaluation.report.markup import Markup, number, tag
from rgbt_tracker_ros.types import Pair
from rgbt_tracker_ros.visualization import displayable

Window = tuple[float, float, float, float]
PICTURE = (300, 225)
"""Most width and height of a picture in px."""
QUALITY = 72
_ASPECT = 4 / 3
_LEAST, _MOST = 5.0, 9.0    # height of the part shown, in sizes of the target
_ROOM = 1.25                # around what must be seen


@dataclass(frozen=True)
class Shot:
    """One moment: boxes x, y, w, h in px (NaN without one) and what is written under it.

    `truth_thermal` is the target in the thermal image where it has a truth of its own, NaN
    otherwise. `problem` says why there is no picture.
    """

    frame: int
    truth: NDArray[np.float64]
    truth_thermal: NDArray[np.float64]
    answer: NDArray[np.float64]
    overlap: float
    confidence: float
    pair: Pair | None = None
    problem: str = ''


def windows(shots: Sequence[Shot], size: tuple[int, int] | None) -> list[Window]:
    """Return for each shot the part x, y, w, h of the reference image to show, 4:3.

    All are of one size, so that the target is seen to grow or shrink; each follows the target, and
    holds the answer too unless that is too far away.

    :param size: (width, height) of the reference image, to stay inside; None where unknown.
    """
    targets = [_size(s.truth) for s in shots if np.isfinite(s.truth).all()]
    targets = targets or [_size(s.answer) for s in shots if np.isfinite(s.answer).all()]
    target = float(np.median(targets)) if targets else 60.0
    spans = [_span(s) for s in shots if np.isfinite(s.truth).all() and np.isfinite(s.answer).all()]
    needed = max((max(h, w / _ASPECT) for w, h in spans), default=0.0) * _ROOM
    height = float(np.clip(needed, _LEAST * target, _MOST * target))
    if size is not None:
        height = min(height, size[1], size[0] / _ASPECT)
    width = height * _ASPECT
    parts, centre = [], np.array(size or (width, height)) / 2
    for shot in shots:
        centre = _centre(shot, width, height, centre)
        x, y = centre - np.array((width, height)) / 2
        if size is not None:
            x, y = np.clip(x, 0, size[0] - width), np.clip(y, 0, size[1] - height)
        parts.append((float(x), float(y), width, height))
    return parts


def _size(box: NDArray[np.float64]) -> float:
    return float(max(box[2:].max(), 4.0))


def _span(shot: Shot) -> tuple[float, float]:
    """Return width and height of what holds both truth and answer."""
    low = np.minimum(shot.truth[:2], shot.answer[:2])
    high = np.maximum(shot.truth[:2] + shot.truth[2:], shot.answer[:2] + shot.answer[2:])
    return float(high[0] - low[0]), float(high[1] - low[1])


def _centre(shot: Shot, width: float, height: float,
            before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the middle of truth and answer if both fit, else the truth's, else the one before."""
    truth, answer = (b[:2] + b[2:] / 2 for b in (shot.truth, shot.answer))
    if not np.isfinite(truth).all():
        return answer if np.isfinite(answer).all() else before
    if np.isfinite(answer).all():
        w, h = _span(shot)
        if w <= width and h <= height:
            return (truth + answer) / 2
    return truth


def strip(shots: Sequence[Shot], name: str) -> Markup:
    """Return the moments of a failure as a list that scrolls sideways."""
    size = next((s.pair.size for s in shots if s.pair is not None), None)
    items, most = [], 1
    for shot, part in zip(shots, windows(shots, size), strict=True):
        views = _views(shot, part, name)
        most = max(most, len(views))
        where = tag('b', f'frame {shot.frame}')
        text = f'IoU {number(shot.overlap, 2)}'
        if math.isfinite(shot.confidence):
            text += f', confidence {number(shot.confidence, 2)}'
        items.append(tag('li', tag('div', views, class_='shot'),
                         tag('p', where, tag('span', text), class_='shot-title')))
    return tag('ol', items, class_='strip' if most > 1 else 'strip single', tabindex=0,
               aria_label=f'Moments of {name}')


def _views(shot: Shot, part: Window, name: str) -> list[Markup]:
    if shot.pair is None:
        return [_view('no images', None, part, shot, shot.truth, name)]
    thermal_truth = shot.truth_thermal if np.isfinite(shot.truth_thermal).all() else shot.truth
    views = []
    for kind, image, truth in (('RGB', shot.pair.rgb, shot.truth),
                               ('thermal', shot.pair.thermal, thermal_truth)):
        picture = None if image is None else cut(image, part, shot.pair.size)
        views.append(_view(kind if picture else f'no {kind}', picture, part, shot, truth, name))
    return views


def cut(image: NDArray[Any], part: Window, size: tuple[int, int]) -> str:
    """Return a part of an image as the data URI of a JPEG no larger than `PICTURE`.

    :param part: x, y, w, h in px of the reference image.
    :param size: (width, height) of the reference image; this one is thought stretched to it.
    """
    height, width = image.shape[:2]
    sx, sy = width / size[0], height / size[1]
    x, y, w, h = part[0] * sx, part[1] * sy, part[2] * sx, part[3] * sy
    shrink = min(1.0, PICTURE[0] / w, PICTURE[1] / h)
    shape = max(1, round(w * shrink)), max(1, round(h * shrink))
    matrix = np.array([[w / shape[0], 0, x + (w / shape[0] - 1) / 2],
                       [0, h / shape[1], y + (h / shape[1] - 1) / 2]])
    seen = displayable(image)
    if shrink < 0.7:    # no jagged edges
        seen = cv2.GaussianBlur(seen, (0, 0), 0.4 / shrink).astype(np.uint8)
    seen = cv2.warpAffine(seen, matrix, shape, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    done, data = cv2.imencode('.jpg', cv2.cvtColor(seen, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    if not done:
        raise RuntimeError(f"OpenCV can't write a JPEG of {seen.shape}")
    return 'data:image/jpeg;base64,' + b64encode(data.tobytes()).decode('ascii')


def _view(kind: str, picture: str | None, part: Window, shot: Shot, truth: NDArray[np.float64],
          name: str) -> Markup:
    """Return one picture with its boxes; the boxes alone where there is none."""
    x, y, w, h = part
    body: list[Markup] = []
    if picture is not None:
        body.append(tag('image', href=picture, x=x, y=y, width=w, height=h,
                        preserveAspectRatio='none'))
    wrong = ' wrong' if shot.overlap < 0.5 else ''
    for box, class_ in ((truth, 'truth'), (shot.answer, f'answer{wrong}')):
        if np.isfinite(box).all():
            place = dict(zip(('x', 'y', 'width', 'height'), map(float, box), strict=True))
            body += [tag('rect', class_='halo', **place), tag('rect', class_=class_, **place)]
    middles = truth[:2] + truth[2:] / 2, shot.answer[:2] + shot.answer[2:] / 2
    away = middles[1] - middles[0]
    if np.isfinite(away).all() and not (x < middles[1][0] < x + w and y < middles[1][1] < y + h):
        (x1, y1), (x2, y2) = middles[0].tolist(), middles[1].tolist()
        body += [tag('line', x1=x1, y1=y1, x2=x2, y2=y2, class_='away'),
                 _words(f'answer {math.hypot(*away):.0f} px away', part, 0.1)]
    body.append(_words(kind, part, 0.97))
    far = '' if not math.isfinite(shot.overlap) else f', overlap {number(shot.overlap, 2)}'
    return tag('svg', body, viewBox=f'{x:.1f} {y:.1f} {w:.1f} {h:.1f}', role='img',
               aria_label=f'{name}, frame {shot.frame}, {kind}: truth and answer{far}')


def _words(text: str, part: Window, down: float) -> Markup:
    """Return a text in a picture, `down` of the way from its top; readable on anything."""
    x, y, w, h = part
    return tag('text', text, x=x + 0.02 * w, y=y + down * h,
               style=f'font-size:{h / 14:.2f}px;stroke-width:{h / 60:.2f}px')
