"""A recording at a glance: thumbnails of pairs over time, and how far their stamps are apart."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.segments_info import SegmentInfo
from rgbt_tracker_ros.data.sequence import LayoutError
from rgbt_tracker_ros.types import Pair, Thermal

Canvas = NDArray[np.uint8]

COLUMNS, ROWS = 3, 4            # of pairs
WIDTH, HEIGHT, GAP = 250, 200, 10   # px of a thumbnail, and between them
CAPTION, CHART = 24, 220        # px: height of a line of text, of the histogram with its axis
BINS = 41
PAPER, INK, FAINT, BAR = (255, 255, 255), (40, 40, 40), (205, 205, 205), (190, 120, 50)     # BGR


def contact_sheet(title: str, infos: Sequence[SegmentInfo]) -> Canvas:
    """Draw it: (H, W, 3) uint8, blue first.

    The pairs are spread evenly over all that there are. Thermal images are shown over one range,
    that of all those shown, so that brightness means the same in each.
    """
    shown = _pairs(infos)
    low, high = _range([p.thermal for _, p in shown if p.thermal is not None])
    drawn = [(caption, _fitted(None if p.rgb is None else p.rgb[..., ::-1]),
              _fitted(None if p.thermal is None else _gray(p.thermal, low, high)))
             for caption, p in shown]
    tall = max((len(i) for _, *images in drawn for i in images if i is not None), default=0)
    cell = 2 * WIDTH + GAP
    width = COLUMNS * cell + (COLUMNS + 1) * GAP
    rows = -(-len(shown) // COLUMNS)
    top, step = CAPTION * 3, tall + CAPTION + GAP
    height = top + rows * step + CHART
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    _write(sheet, title, GAP, CAPTION, 0.7)
    for n, (caption, *images) in enumerate(drawn):
        x, y = GAP + n % COLUMNS * (cell + GAP), top + n // COLUMNS * step
        _write(sheet, caption, x, y - 6)
        for side, image in enumerate(images):
            if image is not None:
                h, w = image.shape[:2]
                dx, dy = x + side * (WIDTH + GAP) + (WIDTH - w) // 2, y + (tall - h) // 2
                sheet[dy:dy + h, dx:dx + w] = image
    skews = np.concatenate([i.skews for i in infos] or [np.empty(0)])
    _histogram(sheet[height - CHART:], skews)
    return sheet


def _pairs(infos: Sequence[SegmentInfo]) -> list[tuple[str, Pair]]:
    """Return pairs evenly spread over all segments, with captions."""
    there = [i for i in infos if i.sequence is not None and i.pairs]
    ends = np.cumsum([i.pairs for i in there])
    total = int(ends[-1]) if there else 0
    shown = []
    for number in sorted({round(n) for n in np.linspace(0, total - 1, COLUMNS * ROWS)}):
        if not total:
            break
        at = int(np.searchsorted(ends, number, side='right'))
        info, index = there[at], int(number - (ends[at - 1] if at else 0))
        assert info.sequence is not None
        try:
            pair = info.sequence.pair(index)
        except LayoutError as error:
            info.problems.append(f'pair {index}: {error.what}')
            continue
        since = (pair.stamp - there[0].first_stamp) / 1e9
        shown.append((f'{info.name}  pair {index}  {since:.1f} s', pair))
    return shown


def _range(images: list[Thermal]) -> tuple[float, float]:
    """Return the values that are shown black and white."""
    values = np.concatenate([i[::4, ::4].astype(np.float64).ravel() for i in images]
                            or [np.zeros(1)])
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (0.5, 99.5)) if len(values) else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))


def _gray(image: Thermal, low: float, high: float) -> Canvas:
    if image.ndim == 3:     # false colours, red first
        return image[..., ::-1].astype(np.uint8)
    share = np.nan_to_num((image.astype(np.float32) - low) / (high - low))
    return np.repeat((share.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def _fitted(image: Canvas | None) -> Canvas | None:
    """Return an image as a thumbnail with a frame."""
    if image is None:
        return None
    scale = min(WIDTH / image.shape[1], HEIGHT / image.shape[0])
    w, h = (max(1, round(v * scale)) for v in (image.shape[1], image.shape[0]))
    small = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA).astype(np.uint8)
    cv2.rectangle(small, (0, 0), (w - 1, h - 1), FAINT, 1)
    return small


def _histogram(chart: Canvas, skews: NDArray[np.float64]) -> None:
    """Draw how many pairs have which skew (ms), thermal minus RGB."""
    left, right, base = GAP * 6, chart.shape[1] - GAP * 2, chart.shape[0] - CAPTION * 2
    if not len(skews):
        _write(chart, 'no pair, no skew', left, CAPTION)
        return
    p50, p95 = np.percentile(np.abs(skews), (50, 95))
    _write(chart, f'skew, thermal minus RGB: {len(skews)} pairs, median |skew| {p50:.2f} ms, '
           f'95th percentile {p95:.2f} ms', left, CAPTION)
    # around 0 and as wide as it has to be, in steps that can be read
    reach = _round_up(max(float(np.abs(skews).max()), 0.5))
    counts, edges = np.histogram(skews.clip(-reach, reach), BINS, (-reach, reach))
    top = CAPTION + GAP

    def place(value: float) -> int:
        return round(left + (value + reach) / (2 * reach) * (right - left))

    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            y = base - max(1, round(count / counts.max() * (base - top)))
            cv2.rectangle(chart, (place(low) + 1, y), (place(high) - 1, base), BAR, cv2.FILLED)
    cv2.line(chart, (left, base), (right, base), INK, 1)
    for tick in np.linspace(-reach, reach, 9):
        x = place(float(tick))
        cv2.line(chart, (x, base), (x, base + 5), INK, 1)
        text = f'{tick:g}'
        _write(chart, text, x - 4 * len(text), base + 22)
    _write(chart, str(counts.max()), GAP, top + 6)
    _write(chart, 'ms', right - 18, base + 42)


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 8 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(f * power for f in (1, 2, 4, 8, 10) if f * power >= value))


def _write(canvas: Canvas, text: str, x: int, y: int, scale: float = 0.45) -> None:
    cv2.putText(canvas, text.encode('ascii', 'replace').decode(), (x, y),
                cv2.FONT_HERSHEY_SIMPLEX, scale, INK, 1, cv2.LINE_AA)
