"""Overlays: shapes, colours where they belong, inputs untouched."""
from __future__ import annotations

import numpy as np
import pytest

from rgbt_tracker_ros.types import Box, Estimate, Pair, State
from rgbt_tracker_ros.visualization import (
    COLOURS,
    GROUNDTRUTH,
    RGB_SHARE,
    THERMAL_SHARE,
    draw_overlay,
    film_strip,
    side_by_side,
)

BOX = Box(100, 80, 60, 90)
SIZES = pytest.mark.parametrize('width, height', [(320, 240), (640, 512), (1920, 1080)])


def estimate(state: State = State.TRACKING, box: Box = BOX, **other: object) -> Estimate:
    return Estimate(box, 0.87, state, 0.25, 0.75, **other)


def share(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Return the share of pixels of exactly this colour."""
    return float((image == colour).all(-1).mean())


@SIZES
@pytest.mark.parametrize('state', [s for s in State if s is not State.IDLE])
def test_the_box_has_the_colour_of_its_state_and_the_input_is_untouched(state, width, height):
    image = np.full((height, width, 3), 90, np.uint8)
    image.flags.writeable = False
    out = draw_overlay(image, estimate(state))
    assert out.shape == image.shape and out.dtype == np.uint8 and (image == 90).all()
    x1, y1, x2, y2 = 100, 80, 159, 169          # the box's first and last pixels
    for x, y in ((x1, y1), (x2, y1), (x1, y2), (x2, y2)):
        assert tuple(out[y, x]) == COLOURS[state]
    edge = (out[y1:y2 + 1, x1] == COLOURS[state]).all(-1)
    assert edge.all() == state.in_sight         # dashed where it is the last place known
    assert (out[y1 + 10:y2 - 10, x1 + 10:x2 - 10] == 90).all()


def test_an_idle_tracker_draws_no_box():
    image = np.full((240, 320, 3), 90, np.uint8)
    idle = Estimate(BOX, 0.0, State.IDLE)
    np.testing.assert_array_equal(draw_overlay(image, idle), image)


@pytest.mark.parametrize('image', [
    np.full((240, 320), 90, np.uint8),
    np.linspace(7000, 9000, 240 * 320).reshape(240, 320).astype(np.uint16),
    np.linspace(20, 40, 240 * 320).reshape(240, 320).astype(np.float32),
    np.full((240, 320), np.nan, np.float32),
    np.full((240, 320, 3), 90, np.uint8)[:, ::-1],
], ids=['uint8', 'uint16', 'float32', 'nan', 'view'])
def test_images_of_any_depth_are_drawn_on(image):
    before = image.copy()
    out = draw_overlay(image, estimate())
    assert out.shape == (240, 320, 3) and out.dtype == np.uint8
    assert tuple(out[80, 100]) == COLOURS[State.TRACKING]
    np.testing.assert_array_equal(image, before)
    if image.dtype in (np.uint16, np.float32) and np.isfinite(image).all():
        assert out[235:238, 300].mean() > 200 and out[60, 5].mean() < 80


@pytest.mark.parametrize('box', [
    Box(-50, -50, 80, 80), Box(300, 220, 500, 500), Box(1e12, -1e12, 5, 5), Box(5, 5, 0, 0),
    Box(float('nan'), 0, 10, 10), Box(-1e4, -1e4, 3e4, 3e4), Box(0, 0, 320, 240)])
@pytest.mark.parametrize('state', [State.TRACKING, State.LOST])
@pytest.mark.parametrize('size', [(240, 320), (16, 24)])
def test_boxes_anywhere_are_survived(box, state, size):
    out = draw_overlay(np.zeros((*size, 3), np.uint8), estimate(state, box), groundtruth=box,
                       lines=['a line that is longer than the smallest image is wide'])
    assert out.shape == (*size, 3)


@SIZES
def test_lines_ground_truth_shares_and_frozen_streams_are_seen(width, height):
    image = np.full((height, width, 3), 90, np.uint8)
    plain = draw_overlay(image, estimate())
    out = draw_overlay(image, estimate(), groundtruth=Box(200, 100, 40, 50))
    assert tuple(out[100, 200]) == tuple(out[149, 239]) == GROUNDTRUTH
    bar = out[-1]
    assert (bar[:width // 4] == RGB_SHARE).all() and (bar[width // 4:] == THERMAL_SHARE).all()
    texts = draw_overlay(image, estimate(), lines=['frame 12', 'age 31 ms'])
    changed = (texts != plain).any(-1)
    assert 0.005 < changed.mean() < 0.1 and not changed[height // 3:].any()
    frozen = draw_overlay(image, estimate(frozen=('rgb',)))
    assert (frozen != plain).any()


@pytest.mark.parametrize('box', [Box(100, 0, 60, 60), Box(0, 100, 10, 10), Box(310, 230, 10, 10)])
def test_the_label_stays_inside(box):
    out = draw_overlay(np.full((240, 320, 3), 90, np.uint8), estimate(box=box))
    assert share(out, COLOURS[State.TRACKING]) > 0.01


def test_side_by_side_shows_the_box_in_both_images():
    rgb = np.full((240, 320, 3), 90, np.uint8)
    thermal = np.full((120, 160), 60, np.uint8)
    out = side_by_side(Pair(rgb, thermal), estimate(), lines=['frame 1'])
    assert out.shape == (240, 640, 3)
    assert tuple(out[80, 100]) == tuple(out[80, 420]) == COLOURS[State.TRACKING]
    assert (out[200, 10] == 90).all() and (out[200, 330] == 60).all()


def test_side_by_side_registers_the_thermal_image():
    thermal = np.zeros((240, 320), np.uint8)
    thermal[100:110, 100:110] = 255
    out = side_by_side(Pair(np.zeros((240, 320, 3), np.uint8), thermal), estimate(),
                       homography=(1, 0, 40, 0, 1, 20, 0, 0, 1))
    assert (out[125, 320 + 145] == 255).all() and (out[105, 320 + 105] == 0).all()


@pytest.mark.parametrize('missing', ['rgb', 'thermal'])
def test_side_by_side_says_which_image_is_missing(missing):
    rgb, thermal = np.full((240, 320, 3), 90, np.uint8), np.full((240, 320), 60, np.uint8)
    pair = Pair(None, thermal) if missing == 'rgb' else Pair(rgb, None)
    out = side_by_side(pair, estimate())
    assert out.shape == (240, 640, 3)
    halves = {'rgb': out[:, :320], 'thermal': out[:, 320:]}
    assert share(halves.pop(missing), COLOURS[State.TRACKING]) == 0
    assert share(halves.popitem()[1], COLOURS[State.TRACKING]) > 0.001


@pytest.mark.parametrize('count, columns, grid', [(1, 4, (1, 1)), (5, 2, (3, 2)), (6, 3, (2, 3))])
def test_film_strip_tiles_row_by_row(count, columns, grid):
    images = [np.full((24, 32, 3), 30 + 20 * i, np.uint8) for i in range(count)]
    if count > 1:
        images[1] = np.full((48, 64), 50, np.uint8)         # another size, gray
    out = film_strip(images, columns)
    gap = 2
    assert out.shape == (grid[0] * 26 - gap, grid[1] * 34 - gap, 3)
    for i in range(count):
        y, x = (i // grid[1]) * 26, (i % grid[1]) * 34
        assert (out[y:y + 24, x:x + 32] == 30 + 20 * i).all()


@pytest.mark.parametrize('images, columns', [([], 3), ([np.zeros((4, 4), np.uint8)], 0)])
def test_a_strip_of_nothing_is_refused(images, columns):
    with pytest.raises(ValueError, match='columns'):
        film_strip(images, columns)
