"""How far thermal lies off, found without labels, and made-up samples in a camera's style."""
from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from rgbt_tracker_ros.data import dressing
from rgbt_tracker_ros.data.camera_style import STYLES
from rgbt_tracker_ros.data.dressing import dress, sensor_noise
from rgbt_tracker_ros.data.fixed_pattern import estimate_pattern
from rgbt_tracker_ros.data.jitter import CropView
from rgbt_tracker_ros.data.offsets import estimate_offset
from rgbt_tracker_ros.types import Box, Pair


def scene(number: int, shift: tuple[int, int] = (0, 0), size: tuple[int, int] = (320, 240),
          thermal_size: tuple[int, int] | None = None) -> Pair:
    """Blobs that both cameras see, on grounds of their own; thermal `shift` px right and down."""
    rng = np.random.default_rng(number)
    w, h = size
    rgb = cv2.resize(rng.integers(60, 120, (12, 16, 3), np.uint8), size)
    thermal = cv2.resize(rng.integers(60, 120, (5, 7), np.uint8), size)
    for _ in range(6):
        at = rng.integers(40, (w - 40, h - 40))
        axes = [int(v) for v in rng.integers(8, 20, 2)]
        colour = [int(v) for v in rng.choice((10, 240), 4)]
        cv2.ellipse(rgb, [int(v) for v in at], axes, 0, 0, 360, colour[:3], -1)
        cv2.ellipse(thermal, [int(v) for v in at + shift], axes, 0, 0, 360, colour[3], -1)
    noise = rng.normal(0, 4, (h, w, 4))
    rgb = np.clip(rgb + noise[..., :3], 0, 255).astype(np.uint8)
    thermal = np.clip(thermal + noise[..., 3], 0, 255).astype(np.uint8)
    return Pair(rgb, cv2.resize(thermal, thermal_size) if thermal_size else thermal)


@pytest.mark.parametrize('shift, options', [
    ((0, 0), {}), ((5, -3), {}), ((-9, 7), {}),
    ((12, 4), {'size': (640, 480)}),                    # px of the RGB image, whatever its size
    ((6, 0), {'thermal_size': (160, 120)})])
def test_the_offset_is_found(shift, options):
    found = estimate_offset(scene(n, shift, **options) for n in range(30))
    assert found.sure and (found.x, found.y) == pytest.approx(shift, abs=0.8)


@pytest.mark.parametrize('last', [False, True])
def test_the_offset_is_that_of_the_rig_that_is_seen_most(last):
    """A camera was changed: its pictures have another size, and lie off in another way."""
    other = [scene(n, (-24, 16), size=(640, 480)) for n in range(100, 112)]
    pairs = [scene(n, (5, -3)) for n in range(20)]
    found = estimate_offset([*pairs, *other] if last else [*other, *pairs])
    assert found.sure and (found.x, found.y) == pytest.approx((5, -3), abs=0.8)
    alone = estimate_offset(pairs)
    assert found == alone


def test_what_the_homography_says_is_no_offset():
    found = estimate_offset((scene(n, (8, 4)) for n in range(30)), (1, 0, -8, 0, 1, -4, 0, 0, 1))
    assert found.sure and (found.x, found.y) == pytest.approx((0, 0), abs=0.8)


def test_the_offset_is_found_in_the_dark():
    """By the edges that are left when both images are blurred."""
    style = replace(STYLES['dusk'], offset=(5.0, -3.0))
    found = estimate_offset(style.apply(scene(n), n) for n in range(60))
    assert found.sure and (found.x, found.y) == pytest.approx((5, -3), abs=1)


def test_cameras_that_share_nothing_have_no_offset():
    mixed = (Pair(scene(n).rgb, scene(n + 100).thermal) for n in range(30))
    assert not estimate_offset(mixed).sure


@pytest.mark.parametrize('pairs', [
    [], [Pair(scene(0).rgb, None)], [scene(0, size=(96, 88), thermal_size=(48, 20)),
                                     Pair(np.zeros((20, 300, 3), np.uint8),
                                          np.zeros((20, 300), np.uint8))][1:]])
def test_nothing_to_see_is_no_offset(pairs):
    assert estimate_offset(pairs) == (0.0, 0.0, 0.0, False)


def view(size: int, level: float, spread: float, noise: float = 0.0, seed: int = 0,
         present: tuple[float, float] = (1.0, 1.0)) -> CropView:
    """A smooth slope of that mean and deviation, with noise, in both modalities."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(-3 ** 0.5, 3 ** 0.5, size)[:, None] * spread + level
    image = np.broadcast_to(slope, (size, size)) + rng.normal(0, noise, (size, size))
    gray = np.clip(image, 0, 255).astype(np.uint8)
    rgb = np.repeat(gray[..., None], 3, 2)
    return CropView(rgb * np.uint8(present[0]), gray * np.uint8(present[1]), Box(8, 8, 8, 8),
                    present)


def test_levels_and_noise_become_those_of_the_camera():
    views = view(32, 60, 20), view(64, 60, 20)
    dress(np.random.default_rng(0), views, view(64, 150, 35, 8, seed=1), (0, 0))
    for image in (views[1].rgb[..., 0], views[1].thermal):
        assert image.mean() == pytest.approx(150, abs=6)
        assert image.std() == pytest.approx(36, rel=0.15)
        assert sensor_noise(image.astype(np.float32)).std() == pytest.approx(8, rel=0.25)
    assert views[0].thermal.mean() == pytest.approx(150, abs=8)     # the same camera for both
    assert views[1].box == Box(8, 8, 8, 8)


def test_noise_is_not_taken_for_contrast():
    views = view(32, 120, 30), view(64, 120, 30)
    dress(np.random.default_rng(0), views, view(64, 120, 6, 10, seed=1), (0, 0))
    for image in (views[1].rgb[..., 0], views[1].thermal):
        assert image.std() == pytest.approx(136 ** 0.5, rel=0.15)
        assert image.mean(1).std() == pytest.approx(6, rel=0.2)     # of the slope alone


def test_thermal_alone_is_shifted(monkeypatch):
    monkeypatch.setattr(dressing, '_INVERTED', 0.0)
    views = view(32, 60, 20), view(64, 60, 20)
    views[1].thermal[20:30, 20:30] = views[1].rgb[20:30, 20:30] = 255
    dress(np.random.default_rng(0), views, view(64, 60, 20), (6, -3))
    found = [np.argwhere(image > 0.85 * image.max()).mean(0) for image in (views[1].rgb[..., 0],
                                                            views[1].thermal)]
    assert found[1] - found[0] == pytest.approx((-3, 6), abs=0.5)   # rows, columns


@pytest.mark.parametrize('chance, sign', [(0.0, 1), (1.0, -1)])
def test_a_palette_may_fall(monkeypatch, chance, sign):
    monkeypatch.setattr(dressing, '_INVERTED', chance)
    views = view(32, 60, 20), view(64, 60, 20)
    dress(np.random.default_rng(0), views, view(64, 150, 35), (0, 0))
    for one in views:       # the same camera for both
        assert np.sign(int(one.thermal[-1, 0]) - int(one.thermal[0, 0])) == sign
        assert one.rgb[-1, 0, 0] > one.rgb[0, 0, 0]
    assert views[1].thermal.mean() == pytest.approx(150, abs=6)


def test_what_lies_beyond_the_picture_stays_black():
    views = view(32, 60, 20), view(64, 60, 20)
    views[1].rgb[:, :20] = views[1].thermal[:, :20] = 0
    dress(np.random.default_rng(0), views, view(64, 150, 35, 8, seed=1), (0, 0))
    for image in (views[1].rgb[..., 0], views[1].thermal):
        assert not image[:, :20].any() and image[:, 20:].all()
        assert image[:, 20:].mean() == pytest.approx(150, abs=6)    # whatever else is black


def test_the_curve_of_a_camera_in_the_dark():
    """What is bright stands out of the dark, though mean and deviation are the same."""
    views, dark = (view(32, 110, 40), view(64, 110, 40)), view(64, 110, 40)
    dark.rgb = (255 * (dark.rgb / 255) ** 4).astype(np.uint8)
    straight = view(64, float(dark.rgb.mean()), float(dark.rgb.std()))
    found = []
    for camera in (dark, straight):
        ours = view(32, 110, 40), view(64, 110, 40)
        dress(np.random.default_rng(0), ours, camera, (0, 0))
        found.append(np.percentile(ours[1].rgb, (50, 98)))
    assert found[0][0] < found[1][0] - 4 and found[0][1] > found[1][1] + 10
    assert views[1].rgb.std() == pytest.approx(40, rel=0.1)


def test_the_pattern_of_the_sensor_is_in_every_dressed_picture(monkeypatch):
    monkeypatch.setattr(dressing, '_INVERTED', 0.0)
    pattern = np.tile(np.where(np.arange(64) % 8 < 4, 12, -12), (64, 1)).astype(np.float32)
    camera = view(64, 120, 5, 3, seed=2)
    camera.thermal = np.clip(camera.thermal + pattern, 0, 255).astype(np.uint8)
    views = view(32, 60, 20), view(64, 60, 20)
    dress(np.random.default_rng(0), views, camera, (0, 0), pattern)
    columns = views[1].thermal.mean(0)
    assert np.corrcoef(columns, pattern[0])[0, 1] > 0.95
    assert views[1].thermal.mean(1).std() == pytest.approx(5, rel=0.3)  # not taken for contrast


def columns_of(shape: tuple[int, int]) -> np.ndarray:
    return np.broadcast_to(np.random.default_rng(9).normal(0, 8, shape[1]), shape)


def pictures(count: int, still: bool = False, pattern: bool = True) -> list[np.ndarray]:
    found = []
    for n in range(count):
        image = scene(0 if still else n).thermal.astype(np.float32)
        image = image + np.random.default_rng(n).normal(0, 6, image.shape)
        found.append(np.clip(image + columns_of(image.shape) * pattern, 0, 255).astype(np.uint8))
    return found


def test_the_pattern_of_a_sensor_is_found():
    found = estimate_pattern([*pictures(60), np.zeros((8, 8), np.uint8)])  # and one of another
    assert found is not None and found.shape == (240, 320) and found.dtype == np.float32
    assert np.corrcoef(found.mean(0), columns_of((240, 320))[0])[0, 1] > 0.9


@pytest.mark.parametrize('some', [
    pictures(20), pictures(60, pattern=False), pictures(60, still=True), [],
    [np.full((48, 64), 7, np.uint8)] * 40])
def test_where_there_is_no_telling_there_is_no_pattern(some):
    assert estimate_pattern(some) is None


@pytest.mark.parametrize('ours, theirs, changed', [
    ((1.0, 0.0), (1.0, 1.0), (True, False)), ((0.0, 1.0), (1.0, 1.0), (False, True)),
    ((1.0, 1.0), (0.0, 1.0), (False, True)), ((1.0, 1.0), (1.0, 0.0), (True, False))])
def test_what_is_missing_stays_as_it_is(ours, theirs, changed):
    views = view(32, 60, 20, present=ours), view(64, 60, 20, present=ours)
    before = views[1].rgb.copy(), views[1].thermal.copy()
    dress(np.random.default_rng(0), views, view(64, 150, 30, 5, present=theirs), (0, 0))
    assert (views[1].rgb != before[0]).any() == changed[0]
    assert (views[1].thermal != before[1]).any() == changed[1]


def test_edges_of_the_scene_are_no_noise():
    image = np.full((64, 64), 60, np.float32) + np.random.default_rng(0).normal(0, 3, (64, 64))
    image[:, 32:] += 150
    assert np.abs(sensor_noise(image.astype(np.float32))).max() < 15
