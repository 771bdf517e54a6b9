"""Checks, luma, rounding and regions, against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from two_stream_fusion.base import pixels


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([np.zeros((4, 4))], "images of dtype float64 cannot be fused: use uint8 or uint16"),
        ([np.zeros((4, 4, 4), np.uint8)], "an image of shape (4, 4, 4) cannot be fused: H x W or H x W x 3"),
        ([np.zeros((1, 4), np.uint8)], "an image of 4x1 pixels cannot be fused: too small"),
        (
            [np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint16)],
            "images differ: (4, 5) uint8 and (4, 5) uint16",
        ),
    ],
)
def test_images_that_cannot_be_fused_are_refused(images, message):
    with pytest.raises(ValueError) as error:
        pixels.check_fusable(*images)
    assert str(error.value) == message


def test_the_smallest_side_can_be_chosen():
    line = np.zeros((1, 4), np.uint8)
    pixels.check_fusable(line, min_side=1)
    with pytest.raises(ValueError, match="too small"):
        pixels.check_fusable(line[:0], min_side=1)


def test_gray_is_luma_in_levels_of_255():
    rgb = np.array([[[10, 100, 200]]], np.uint8)
    assert pixels.gray(rgb)[0, 0] == pytest.approx(0.2989 * 10 + 58.7 + 22.8)
    np.testing.assert_allclose(pixels.gray(rgb.astype(np.uint16) * 257), pixels.gray(rgb))
    assert pixels.gray(rgb[..., 1]).tolist() == [[100.0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_halves_are_rounded_up_or_to_even_and_clipped(dtype):
    top = np.iinfo(dtype).max
    values = np.array([-3, 0.5, 1.5, 2.5, 2.51, top + 0.7])
    assert pixels.round_half_up(values, dtype).tolist() == [0, 1, 2, 3, 3, top]
    assert pixels.round_half_even(values, dtype).tolist() == [0, 0, 2, 2, 3, top]
    assert pixels.round_half_up(values, dtype).dtype == dtype


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_nearest_is_marked_and_none_is_much_nearer(height, width, seed):
    """OpenCV's distance by a mask of 5x5 is off by 2 % and a little."""
    rng = np.random.default_rng(seed)
    marked = rng.random((height, width)) < 0.3
    marked.flat[rng.integers(marked.size)] = True
    index_map = pixels.nearest_index(marked)
    assert marked.ravel()[index_map].all()
    marked_places = np.argwhere(marked)
    for at in np.ndindex(height, width):
        nearest_distance = np.hypot(*(marked_places - at).T).min()
        distance = np.hypot(*(np.array(np.unravel_index(index_map[at], marked.shape)) - at))
        assert distance <= 1.03 * nearest_distance + 0.01


def test_small_regions_go_to_what_surrounds_them():
    choice = np.zeros((50, 50), bool)
    choice[10:12, 10:12] = 1  # 4 pixels
    choice[30:40, 30:40] = 1  # 100, with a hole of 1 and a diagonal neighbour of 1
    choice[35, 35] = 0
    choice[40, 40] = 1
    clean = pixels.remove_small_regions(choice, 5)
    expected = np.zeros_like(choice)
    expected[30:40, 30:40] = 1
    expected[40, 40] = 1
    assert np.array_equal(clean, expected)


def test_small_regions_of_any_label_go():
    """Choices among frames: a small region of 3 in a region of 2 beside one of 7."""
    choice = np.full((40, 60), 2, np.uint16)
    choice[:, 30:] = 7
    expected = choice.copy()
    choice[5:7, 5:7] = 3
    choice[20:22, 50:53] = 0
    assert np.array_equal(pixels.remove_small_regions(choice, 10), expected)
    assert np.array_equal(pixels.remove_small_regions(choice, 5)[20:22, 50:53], np.zeros((2, 3)))


def test_where_all_regions_are_small_they_stay():
    choice = np.indices((6, 6)).sum(0) // 4 % 2 == 1
    assert np.array_equal(pixels.remove_small_regions(choice, 100), choice)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_hidden_pixels_take_the_nearest_visible_colour(channels):
    image = np.arange(12 * 3, dtype=np.uint8).reshape(3, 4, 3)
    image = np.ascontiguousarray(image[..., 0]) if not channels else image
    before, alpha = image.copy(), np.array([[0, 9, 9, 9], [0, 9, 9, 0], [9, 9, 9, 9]], np.uint8)
    extended = pixels.extend_visible(image, alpha)
    np.testing.assert_array_equal(extended[alpha > 0], image[alpha > 0])
    np.testing.assert_array_equal(extended[0, 0], image[0, 1])
    assert any(np.array_equal(extended[1, 3], image[pixel]) for pixel in ((0, 3), (1, 2), (2, 3)))
    np.testing.assert_array_equal(image, before)
    assert pixels.extend_visible(image, None) is image
    assert pixels.extend_visible(image, np.ones((3, 4), np.uint8)) is image
    assert not pixels.extend_visible(image, np.zeros((3, 4), np.uint8)).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3)])
def test_gray_levels_are_the_gray_image_in_float32(dtype, shape):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    levels = pixels.gray_levels(image)
    assert levels.dtype == np.float32
    np.testing.assert_allclose(levels, pixels.gray(image), atol=2e-4)
    assert pixels.gray_levels(levels) is levels
