"""Crops are exact: what goes in comes out, and pixels land where the boxes say."""
import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from rgbt_tracker_ros.tracking import geometry
from rgbt_tracker_ros.tracking.config import TrackerConfig
from rgbt_tracker_ros.tracking.geometry import Crop, of_indices, thermal_to_rgb
from rgbt_tracker_ros.types import Box, BoxError, Pair, PairError

coordinate = st.floats(-2000, 2000)
length = st.floats(4, 1500)
boxes = st.builds(Box, coordinate, coordinate, length, length)
crops = st.builds(Crop, coordinate, coordinate, length, st.sampled_from([96, 128, 192, 256]))


@given(crops, boxes)
def test_round_trip(crop, box):
    there = crop.from_crop(crop.to_crop(box))
    back = crop.to_crop(crop.from_crop(box))
    assert there.as_tuple() == pytest.approx(box.as_tuple(), abs=1e-4)
    assert back.as_tuple() == pytest.approx(box.as_tuple(), abs=1e-4)


@given(boxes, st.sampled_from([2.0, 4.0]), st.sampled_from([96, 192]))
def test_a_crop_around_a_box_has_it_in_the_middle_at_its_size(box, factor, size):
    inside = Crop.around(box, factor, size).to_crop(box)
    assert inside.center == pytest.approx((size / 2, size / 2), abs=1e-6)
    assert np.sqrt(inside.area) == pytest.approx(size / factor)


@settings(deadline=None, max_examples=40)
@given(st.floats(30, 130), st.floats(30, 110), st.floats(12, 300), st.floats(-0.5, 0.5))
def test_pixels_follow_the_boxes(x, y, side, offset):
    """A white rectangle, drawn over whole pixels, has its centroid where the box is mapped to."""
    image = np.zeros((180, 200), np.uint8)
    box = Box(int(x), int(y), 14, 10)
    image[int(y):int(y) + 10, int(x):int(x) + 14] = 255
    cx, cy = box.center
    crop = Crop(cx - side / 2 + offset, cy - side / 2 - offset, side, 96)
    cut = crop.cut(image).astype(float)
    v, u = np.mgrid[:96, :96] + 0.5
    if side < 14 + 2 * abs(offset):  # the rectangle is cut off
        return
    centroid = (u * cut).sum() / cut.sum(), (v * cut).sum() / cut.sum()
    assert centroid == pytest.approx(crop.to_crop(box).center, abs=0.35)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_outside_is_zero(dtype):
    image = np.full((50, 60), 200, dtype)
    cut = Crop(-30, -25, 60, 60).cut(image)
    assert cut.dtype == dtype and cut.shape == (60, 60)
    assert (cut[:25] == 0).all() and (cut[:, :30] == 0).all() and (cut[26:, 31:] == 200).all()


def test_shrinking_does_not_alias():
    """A fine checkerboard turns grey, not into a moire."""
    board = ((np.indices((400, 400)).sum(0) % 2) * 255).astype(np.uint8)
    cut = Crop(0, 0, 400, 50).cut(board)[5:-5, 5:-5]
    assert abs(int(cut.mean()) - 127) < 3 and cut.std() < 10


@settings(deadline=None, max_examples=150)
@given(st.builds(Crop, st.floats(-900, 900), st.floats(-900, 900), st.floats(200, 3000),
                 st.sampled_from([96, 192])),
       st.sampled_from([None, (0.6, 0.02, 20, -0.03, 1.1, -9, 0, 0, 1),
                        (1, 0, 4, 0, 1, 4, 1e-4, 2e-4, 1), (1, 0, 4, 0, 1, 4, -2e-3, 0, 1)]))
def test_only_what_a_crop_shows_is_shrunk(crop, homography):
    """The result is that of shrinking the whole image."""
    image = np.random.default_rng(0).integers(0, 255, (431, 617, 3), dtype=np.uint8)
    m = None if homography is None else np.reshape(homography, (3, 3))
    quick = crop.cut(image, m)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, '_region', lambda m, size, block, columns, rows:
                      (0, 0, columns, rows))
        whole = crop.cut(image, m)
    if homography is None or homography[6:8] == (0, 0):
        np.testing.assert_array_equal(quick, whole)
    else:  # rounding of the perspective
        assert np.abs(quick.astype(int) - whole).max() <= 8


def test_a_crop_far_outside_is_empty():
    image = np.full((400, 600), 200, np.uint8)
    for x, y in ((-3000, 0), (2000, 0), (0, -3000), (0, 3000), (2000, 2000)):
        assert not Crop(x, y, 900, 96).cut(image).any()


@pytest.mark.parametrize('homography, thermal_size, point, expected', [
    ((), (320, 240), (100, 50), (200, 100)),
    ((1, 0, 7, 0, 1, -3, 0, 0, 1), (640, 480), (100, 50), (107, 47)),
    ((1, 0, 0, 0, 1, 0, 0, 0.001, 1), (640, 480), (100, 50), (100 / 1.05, 50 / 1.05)),
])
def test_registration(homography, thermal_size, point, expected):
    m = thermal_to_rgb(homography, thermal_size, (640, 480))
    x, y, w = (of_indices(m) if homography else m) @ (*point, 1)
    assert (x / w, y / w) == pytest.approx(expected)


def test_a_homography_is_as_opencv_finds_it():
    """Found from what is hot in both images, by indices of pixels, it lays one over the other."""
    points = [(20, 30), (140, 30), (20, 100), (140, 100)]
    thermal, rgb = np.zeros((120, 160), np.uint8), np.zeros((1080, 1920), np.uint8)
    for x, y in points:     # a thermal pixel is a block of 12 x 9
        thermal[y, x] = 255
        rgb[9 * y:9 * y + 9, 12 * x:12 * x + 12] = 255
    middles = [(12 * x + 5.5, 9 * y + 4) for x, y in points]
    h, _ = cv2.findHomography(np.float32(points), np.float32(middles))
    found, scaled = (thermal_to_rgb(v, (160, 120), (1920, 1080)) for v in (tuple(h.ravel()), ()))
    assert found == pytest.approx(scaled, abs=1e-4)


@pytest.mark.parametrize('homography', [
    (), (0.9, 0.02, 20, -0.03, 1.1, -9, 0, 0, 1), (1, 0, 4, 0, 1, 4, 1e-4, 2e-4, 1)])
def test_a_thermal_blob_lands_on_its_rgb_place(homography):
    thermal = np.zeros((240, 320), np.uint8)
    thermal[100:120, 150:180] = 255
    m = thermal_to_rgb(homography, (320, 240), (640, 480))
    u, v, w = m @ np.array([(150, 100, 1), (180, 100, 1), (150, 120, 1), (180, 120, 1)]).T
    x, y = u / w, v / w
    box = Box(x.min(), y.min(), np.ptp(x), np.ptp(y))
    crop = Crop.around(box, 4.0, 192)
    cut = crop.cut(thermal, m)
    u, v, w, h = cv2.boundingRect((cut > 127).astype(np.uint8))
    assert (u, v, u + w, v + h) == pytest.approx(
        (lambda b: (b.x, b.y, b.x + b.w, b.y + b.h))(crop.to_crop(box)), abs=3.5)


@pytest.mark.parametrize('bad', [
    (1, 2, 3, 2, 4, 6, 0, 0, 1), (0,) * 9, (float('nan'),) * 9, (float('inf'),) * 9])
def test_a_homography_that_cannot_be_inverted_is_refused(bad):
    with pytest.raises(ValueError, match='invertible'):
        thermal_to_rgb(bad, (640, 480), (640, 480))
    with pytest.raises(ValueError, match='invertible'):
        TrackerConfig(homography=bad)


@pytest.mark.parametrize('scale', [1e-6, -1, 1e6])
def test_the_scale_of_a_homography_means_nothing(scale):
    image = np.random.default_rng(0).integers(0, 255, (240, 320), dtype=np.uint8)
    h = np.array([0.9, 0.02, 20, -0.03, 1.1, -9, 1e-4, 0, 1])
    cuts = [Crop(30, 20, side, 96).cut(image, thermal_to_rgb(tuple(v), (320, 240), (640, 480)))
            for v in (h, h * scale) for side in (60, 400)]
    for one, scaled in zip(cuts[:2], cuts[2:], strict=True):
        assert np.abs(one.astype(int) - scaled).max() <= 8 and one.any()


@pytest.mark.parametrize('box, text', [
    (Box(float('nan'), 1, 5, 5), 'not finite'), (Box(1, 1, 0, 5), 'no area'),
    (Box(1, 1, -4, 5), 'no area'), (Box(700, 1, 50, 50), 'outside the 640x480'),
    (Box(-60, 1, 62, 50), 'px a side are needed')])
def test_bad_boxes_say_what_is_wrong(box, text):
    with pytest.raises(BoxError, match=text):
        box.checked(640, 480)


def test_a_box_over_the_rim_is_cut():
    assert Box(-10, 470, 40, 40).checked(640, 480) == Box(0, 470, 30, 10)


@given(boxes, boxes)
def test_iou_is_symmetric_and_bounded(a, b):
    assert a.iou(b) == pytest.approx(b.iou(a)) and 0 <= a.iou(b) <= 1
    assert a.iou(a) == pytest.approx(1)


@pytest.mark.parametrize('rgb, thermal, text', [
    (None, None, 'neither'),
    (np.zeros((4, 4), np.uint8), None, 'RGB must be'),
    (np.zeros((0, 4, 3), np.uint8), None, 'RGB must be'),
    (None, np.zeros((4, 4), np.int32), 'thermal must be'),
    (None, np.zeros((4, 0), np.uint8), 'thermal must be')])
def test_bad_pairs_say_what_is_wrong(rgb, thermal, text):
    with pytest.raises(PairError, match=text):
        Pair(rgb, thermal)
