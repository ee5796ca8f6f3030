"""Thermal normalisation, false colours, and the detection of frozen pictures."""
from __future__ import annotations

from dataclasses import replace

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest

from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.palettes import PALETTES, detect_palette, palette, to_levels
from rgbt_tracker_ros.tracking.thermal import FrozenDetector, ThermalNormalizer
from rgbt_tracker_ros.types import PairError

AUTO = TrackerConfig()
FIXED = TrackerConfig(thermal_range='fixed', thermal_min=-1000.0, thermal_max=50000.0)
PERCENTILE = TrackerConfig(thermal_range='percentile')
INSTANT = replace(PERCENTILE, thermal_smoothing=0.0)
MODES = pytest.mark.parametrize('config', [AUTO, FIXED, PERCENTILE],
                                ids=['auto', 'fixed', 'percentile'])

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)
thermals = st.one_of(
    hnp.arrays(np.uint8, shapes), hnp.arrays(np.uint16, shapes), hnp.arrays('>u2', shapes),
    hnp.arrays(np.float32, shapes))


def scene(rng: np.random.Generator, low: float = 7000, high: float = 9000) -> np.ndarray:
    """Return a 16-bit image spread evenly over low..high."""
    return rng.uniform(low, high, (120, 160)).astype(np.uint16)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# --- all modes, any input

@MODES
@settings(deadline=None, max_examples=60)
@given(image=thermals)
def test_any_input_gives_uint8_of_its_shape_and_hotter_is_never_darker(config, image):
    before = image.copy()
    out = ThermalNormalizer(config)(image)
    assert out.shape == image.shape and out.dtype == np.uint8 and out.flags.c_contiguous
    np.testing.assert_array_equal(image, before)
    real = ~np.isnan(image)
    by_heat = out[real][np.argsort(image[real], kind='stable')]
    assert (np.diff(by_heat.astype(int)) >= 0).all()
    assert (out[~real] == 0).all()


@settings(deadline=None, max_examples=40)
@given(image=hnp.arrays(np.uint8, shapes))
def test_fixed_range_of_its_own_output_changes_nothing(image):
    again = TrackerConfig(thermal_range='fixed', thermal_min=0.0, thermal_max=255.0)
    once = ThermalNormalizer(FIXED)(image)
    np.testing.assert_array_equal(ThermalNormalizer(again)(once), once)


@MODES
@pytest.mark.parametrize('dtype', ['u1', 'u2', 'f4'])
def test_layout_in_memory_does_not_matter(config, dtype, rng):
    image = rng.integers(0, 250, (48, 64)).astype(dtype)
    expected = ThermalNormalizer(config)(image)
    padded = np.zeros((48, 70), dtype)
    padded[:, :64] = image
    read_only = image.copy()
    read_only.flags.writeable = False
    for other in (padded[:, :64], image[::-1].copy()[::-1], np.asfortranarray(image), read_only,
                  image.astype(image.dtype.newbyteorder())):
        np.testing.assert_array_equal(ThermalNormalizer(config)(other), expected)


@pytest.mark.parametrize('bad', [
    np.zeros((0, 4), np.uint16), np.zeros((4, 4, 3), np.uint16), np.zeros((4, 4, 4), np.uint8),
    np.zeros((4, 4), np.complex64), np.zeros(4, np.uint8), np.zeros((2, 4, 4, 3), np.uint8)])
def test_unusable_input_is_refused_with_its_shape(bad):
    with pytest.raises(PairError, match=str(bad.shape[0])):
        ThermalNormalizer(AUTO)(bad)


# --- the range

def test_auto_leaves_8_bit_alone_and_stretches_16_bit(rng):
    normalize = ThermalNormalizer(AUTO)
    assert normalize.range is None
    gray = rng.integers(90, 110, (40, 50), dtype=np.uint8)
    np.testing.assert_array_equal(normalize(gray), gray)
    assert normalize.range == (0.0, 255.0)
    out = normalize(scene(rng))
    assert out.min() == 0 and out.max() == 255
    assert normalize.range == pytest.approx((7020, 8990), abs=15)


def test_fixed_maps_its_ends_and_cuts_off_beyond():
    config = replace(AUTO, thermal_range='fixed', thermal_min=100.0, thermal_max=200.0)
    image = np.array([[0, 100, 150, 200, 60000]], np.uint16)
    for dtype in (np.uint16, np.float32, '>u2'):
        normalize = ThermalNormalizer(config)
        assert normalize(image.astype(dtype)).tolist() == [[0, 0, 128, 255, 255]]
        assert normalize.range == (100.0, 200.0)
    assert ThermalNormalizer(config)(np.array([[0, 100, 150, 200, 255]], np.uint8)).tolist() == [
        [0, 0, 128, 255, 255]]


def test_the_config_can_be_replaced_between_two_frames(rng):
    normalize, image = ThermalNormalizer(AUTO), scene(rng)
    normalize(image)
    normalize.config = replace(AUTO, thermal_range='fixed', thermal_min=0.0, thermal_max=20000.0)
    assert normalize(image).max() == pytest.approx(255 * 9000 / 20000, abs=1)


@pytest.mark.parametrize('value', [0, 1, 7000, 65535])
@pytest.mark.parametrize('dtype', [np.uint16, np.float32])
def test_a_flat_image_is_mid_grey_and_a_spot_in_it_stands_out(dtype, value):
    image = np.full((60, 80), value, dtype)
    assert (ThermalNormalizer(AUTO)(image) == 128).all()
    image[31, 47] = value - 7 if value == 65535 else value + 1
    out = ThermalNormalizer(AUTO)(image)
    assert out[31, 47] == (0 if value == 65535 else 255)
    assert (np.delete(out.ravel(), 31 * 80 + 47) == 128).all()


def test_what_is_not_finite_does_not_move_the_range(rng):
    image = scene(rng).astype(np.float32)
    clean = ThermalNormalizer(AUTO)
    clean(image)
    image[::7, ::5], image[3, :], image[4, :] = np.nan, np.inf, -np.inf
    dirty = ThermalNormalizer(AUTO)
    out = dirty(image)
    assert dirty.range == pytest.approx(clean.range, abs=60)
    assert (out[3][~np.isnan(image[3])] == 255).all()
    assert (out[4][~np.isnan(image[4])] == 0).all()
    assert (out[np.isnan(image)] == 0).all()
    assert (ThermalNormalizer(AUTO)(np.full((5, 5), np.nan, np.float32)) == 0).all()


def test_a_frame_without_any_reading_says_nothing_of_the_range(rng):
    image = rng.uniform(0.2, 5, (60, 80)).astype(np.float32)
    fresh, blind = ThermalNormalizer(AUTO), ThermalNormalizer(AUTO)
    nothing = np.full_like(image, np.nan)
    assert (blind(nothing) == 0).all()
    np.testing.assert_array_equal(blind(image), fresh(image))
    kept = blind.range
    blind(nothing)
    assert blind.range == kept
    flat = ThermalNormalizer(AUTO)
    flat(np.full_like(image, 5))
    assert (flat(nothing) == 0).all()  # no width, and no division by it


def test_the_range_follows_the_scene_smoothly_and_arrives(rng):
    normalize = ThermalNormalizer(replace(AUTO, thermal_smoothing=0.9))
    normalize(scene(rng))
    start = normalize.range
    target = ThermalNormalizer(INSTANT)
    warmer = scene(rng, 7500, 9900)
    target(warmer)
    normalize(warmer)
    for now, old, new in zip(normalize.range, start, target.range, strict=True):
        assert now == pytest.approx(0.9 * old + 0.1 * new)
    for _ in range(100):
        normalize(warmer)
    assert normalize.range == pytest.approx(target.range, abs=1)


@pytest.mark.parametrize('then', ['gain switch', 'dtype', 'reset'])
def test_the_range_starts_anew(then, rng):
    normalize, other = ThermalNormalizer(AUTO), ThermalNormalizer(INSTANT)
    normalize(scene(rng))
    image = scene(rng, 7500, 9900)
    if then == 'gain switch':
        image = scene(rng, 20000, 21000)
    elif then == 'dtype':
        image = image.astype(np.float32)
    else:
        normalize.reset()
        assert normalize.range is None
    normalize(image)
    other(image)
    assert normalize.range == other.range


# --- false colours

def thermal_scene() -> np.ndarray:
    """Return a smooth 8-bit thermal picture: a gradient with warm blobs."""
    y, x = np.mgrid[:240, :320]
    image = 40 + x / 4 + y / 8
    for cx, cy, r, heat in ((80, 60, 20, 120), (200, 150, 35, 90), (270, 40, 12, 110)):
        image += heat * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * r * r))
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.mark.parametrize('name', PALETTES)
def test_false_colours_are_taken_back_to_levels_even_after_jpeg(name):
    levels = thermal_scene()
    colours = palette(name)[levels]
    ok, data = cv2.imencode('.jpg', colours[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])
    assert ok
    colours = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    normalize = ThermalNormalizer(AUTO)
    error = np.abs(normalize(colours).astype(int) - levels)
    assert normalize.palette == name
    assert error.mean() < 4 and np.percentile(error, 99) < 24


@pytest.mark.parametrize('name', PALETTES)
def test_a_palette_leads_back_to_its_own_indices(name):
    colours = palette(name)
    assert colours.shape == (256, 3) and colours.dtype == np.uint8
    error = np.abs(to_levels(colours[None], name)[0].astype(int) - np.arange(256))
    assert error.max() <= 10 and error.mean() < 2.5


def test_gray_in_three_channels_is_its_own_channel_and_keeps_the_palette_open():
    levels = thermal_scene()
    normalize = ThermalNormalizer(AUTO)
    np.testing.assert_array_equal(normalize(np.dstack([levels] * 3)), levels)
    assert normalize.palette is None
    normalize(palette('inferno')[levels])
    assert normalize.palette == 'inferno'
    normalize(np.dstack([levels] * 3))
    assert normalize.palette == 'inferno'
    normalize.reset()
    assert normalize.palette is None


def test_colours_of_no_palette_become_luma(rng):
    colours = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    assert detect_palette(colours) == ''
    np.testing.assert_array_equal(ThermalNormalizer(AUTO)(colours),
                                  cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))


def test_false_colours_may_be_views_of_any_layout():
    colours = palette('jet')[thermal_scene()]
    expected = ThermalNormalizer(AUTO)(colours)
    bgr = np.ascontiguousarray(colours[..., ::-1])
    np.testing.assert_array_equal(ThermalNormalizer(AUTO)(bgr[..., ::-1]), expected)


# --- frozen pictures

MS = 1_000_000


@pytest.mark.parametrize('dtype', ['u1', 'u2', 'f4'])
def test_a_picture_is_frozen_once_it_has_been_the_same_for_long(dtype):
    image = np.full((48, 64), 9, dtype)
    detector = FrozenDetector(0.3)
    assert [detector.update(image.copy(), t * MS) for t in (0, 100, 200, 299, 300, 400)] == [
        False, False, False, False, True, True]
    image[47, 63] += 1                              # a pixel that the thin grid misses
    assert not detector.update(image, 500 * MS)
    assert not detector.update(image, 799 * MS)
    assert detector.update(image, 800 * MS)


def test_a_reused_buffer_is_not_a_frozen_picture():
    buffer = np.zeros((48, 64, 3), np.uint8)
    detector = FrozenDetector(0.1)
    for t in range(10):
        buffer[5, 5, 1] = t
        assert not detector.update(buffer, t * 50 * MS)


def test_nan_is_the_same_as_itself():
    detector = FrozenDetector(0.1)
    image = np.full((20, 20), np.nan, np.float32)
    assert [detector.update(image.copy(), t * 100 * MS) for t in range(3)] == [False, True, True]


@pytest.mark.parametrize('second, stamp', [
    (np.zeros((20, 30), np.uint8), 50), (np.zeros((21, 30), np.uint8), 200),
    (np.zeros((20, 30), np.uint16), 200), (np.zeros((20, 30, 3), np.uint8), 200)],
    ids=['stamps go back', 'height', 'dtype', 'channels'])
def test_the_detector_starts_anew(second, stamp):
    detector = FrozenDetector(0.05)
    first = np.zeros((20, 30), np.uint8)
    assert [detector.update(first, t * MS) for t in (100, 150)] == [False, True]
    assert not detector.update(second, stamp * MS)
    assert detector.update(second, (stamp + 50) * MS)


def test_zero_means_never_and_can_be_changed():
    detector = FrozenDetector(0.0)
    image = np.zeros((20, 30), np.uint8)
    assert not any(detector.update(image, t * 1000 * MS) for t in range(5))
    detector.frozen_after = 1.0
    assert [detector.update(image, t * 1000 * MS) for t in (5, 6)] == [True, True]


@pytest.mark.parametrize('bad', [-0.1, float('nan'), float('inf')])
def test_a_senseless_time_is_refused(bad):
    with pytest.raises(ValueError, match='frozen_after'):
        FrozenDetector(bad)


@pytest.mark.parametrize('times', [1, 2, 3])
def test_a_picture_is_overdue_by_the_camera_s_own_pace(times):
    """A slow camera whose every picture comes several times is on time; a hung one is not."""
    detector, stamp = FrozenDetector(1.0), 0
    seen = []
    for shown in [*([times] * 12), times + 4, times, times]:
        image = np.full((20, 30), len(seen) % 256, np.uint8)
        for _ in range(shown):
            stamp += 37 * MS
            assert not detector.update(image, stamp)
            seen.append(detector.overdue)
    hung = [False] * (12 * times) + [False] * times + [True] * 4 + [False] * (2 * times)
    assert seen == hung


@pytest.mark.parametrize('frozen_after', [0.0, 0.25])
def test_a_slow_camera_s_picture_stands_in_also_where_none_is_ever_frozen(frozen_after):
    """9 Hz beside 30 Hz: for one and a half of its periods, and no longer."""
    detector, last = FrozenDetector(frozen_after), None
    for i in range(30):
        if i % 3 == 0:
            last = np.full((8, 8), i, np.uint8)
            assert not detector.update(last, i * 37 * MS)
        elif i > 12:
            np.testing.assert_array_equal(detector.held(i * 37 * MS), last)
    assert detector.held((27 + 4) * 37 * MS) is not None
    assert detector.held((27 + 5) * 37 * MS) is None


def test_where_none_is_ever_frozen_none_is_overdue():
    detector = FrozenDetector(0.0)
    for i in range(30):
        assert not detector.update(np.full((8, 8), min(i, 10), np.uint8), i * 33 * MS)
        assert not detector.overdue and detector.repeated == (i > 10)


def test_nothing_is_overdue_where_the_pace_is_not_known():
    detector = FrozenDetector(1.0)
    for t in range(20):
        detector.update(np.zeros((20, 30), np.uint8), t * 33 * MS)
        assert detector.repeated == (t > 0) and not detector.overdue
