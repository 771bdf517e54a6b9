"""stack/registration.py: pyramids, and the motion that ECC finds on them."""

import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import photograph
from two_stream_fusion.stack import registration
from two_stream_fusion.stack.align import corner_distance, warp


def test_levels_halve_and_say_where_their_places_are():
    pyramid = registration.make_pyramid(photograph(), 100_000)
    assert [gray.shape for gray, _ in pyramid] == [(70, 89), (140, 179), (280, 358)]
    for gray, up in pyramid:
        assert gray.dtype == np.float32 and gray.min() >= 0 and gray.max() <= 1
        last = up @ [gray.shape[1] - 0.5, gray.shape[0] - 0.5, 1]  # the far edge of the last pixel
        np.testing.assert_allclose(last, [511.5, 399.5, 1])


def test_golden_motion():
    """Of noise-free photographs, to the pixel's hundredth part."""
    true = np.array([[1.01, 0.004, -3.2], [-0.004, 1.01, 2.6], [0, 0, 1]])
    photo = photograph()
    first, second = (registration.make_pyramid(x) for x in (photo, warp(photo, np.linalg.inv(true))))
    estimate = registration.register(first, second, "affine")
    assert corner_distance(estimate, true, photo.shape) == pytest.approx(0.007, abs=0.01)
    assert registration.correlate_pyramids(first, second, estimate) == pytest.approx(0.9982, abs=0.002)
    assert registration.correlate_pyramids(first, second, np.eye(3)) == pytest.approx(0.9145, abs=0.002)


@pytest.mark.parametrize(("side", "count"), [(95, 1), (96, 2)])
def test_the_smallest_level_has_48_pixels_or_more(side, count):
    assert len(registration.make_pyramid(np.zeros((side, 300), np.uint8))) == count


@pytest.mark.parametrize(("deviation", "is_flat"), [(0.0018, True), (0.0022, False)])
def test_an_image_is_flat_by_its_contrast(deviation, is_flat):
    gray = 0.5 + deviation * (np.indices((8, 8)).sum(0) % 2 * 2.0 - 1)
    assert registration.is_flat([(gray, np.eye(3))]) is is_flat


def zoomed(scale, shift=0.0):
    return np.array([[scale, 0, shift], [0, scale, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("matrix", "correlation", "is_plausible"),
    [
        (zoomed(0.82), 1, True),
        (zoomed(0.78), 1, False),
        (zoomed(1.23), 1, True),
        (zoomed(1.27), 1, False),
        (zoomed(1, 47), 1, True),
        (zoomed(1, 53), 1, False),
        (zoomed(1), 0.52, True),
        (zoomed(1), 0.48, False),
    ],
)
def test_plausible_motions(monkeypatch, matrix, correlation, is_plausible):
    monkeypatch.setattr(registration, "correlate_pyramids", lambda *_: correlation)
    pyramid = [(np.zeros((80, 100), np.float32), np.eye(3))]
    assert registration._is_plausible(pyramid, pyramid, matrix) == is_plausible


def test_levels_of_20_000_pixels_are_correlated(monkeypatch):
    monkeypatch.setattr(registration, "_correlation", lambda fixed, *_: fixed.size)
    pyramid = [(np.zeros((100, width), np.float32), np.eye(3)) for width in (160, 195, 205, 250)]
    assert registration.correlate_pyramids(pyramid, pyramid, np.eye(3)) == 19_500


def test_spots_are_looked_for_at_200_000_pixels(monkeypatch):
    sizes = []
    monkeypatch.setattr(registration.dust, "find_spots", lambda first, second: sizes.append(first.size))
    pyramid = [(np.zeros((1000, width), np.float32), np.eye(3)) for width in (160, 195, 205, 250)]
    assert registration._misleading_spots(pyramid, pyramid, np.eye(3)) is None and sizes == [195_000]


def with_spots(monkeypatch):
    """Have some spots found on every pair."""
    spots = np.zeros((80, 100), bool)
    spots[40, 50] = True
    monkeypatch.setattr(registration.dust, "find_spots", lambda first, second: spots)
    return spots


@pytest.mark.parametrize(
    ("shift", "correlation", "do_mislead"),
    [(9, 0.8, True), (0.18, 0.8, False), (0.22, 0.8, True), (9, 0.78, False)],
)
def test_spots_mislead_where_another_motion_fits_far_better(monkeypatch, shift, correlation, do_mislead):
    pyramid = [(np.random.default_rng(0).random((80, 100), np.float32), np.eye(3))]
    without = zoomed(1, shift)
    spots = with_spots(monkeypatch)
    monkeypatch.setattr(registration, "_register_once", lambda *_: without)
    monkeypatch.setattr(
        registration, "correlate_pyramids", lambda a, b, matrix: correlation if matrix is without else 0.72
    )
    found = registration._misleading_spots(pyramid, pyramid, np.eye(3))
    assert found is (spots if do_mislead else None)


@pytest.mark.parametrize(("scale", "do_mislead"), [(1.0, True), (1.01, True), (1.03, False), (0.97, False)])
def test_spots_do_not_mislead_to_a_larger_motion(monkeypatch, scale, do_mislead):
    """Letters at a few of the same places are no dust: dust stands still."""
    pyramid = [(np.random.default_rng(0).random((80, 100), np.float32), np.eye(3))]
    without = zoomed(1, 1.5)
    spots = with_spots(monkeypatch)
    monkeypatch.setattr(registration, "_register_once", lambda *_: without)
    monkeypatch.setattr(
        registration, "correlate_pyramids", lambda a, b, matrix: 0.9 if matrix is without else 0.7
    )
    found = registration._misleading_spots(pyramid, pyramid, zoomed(scale))
    assert found is (spots if do_mislead else None)
