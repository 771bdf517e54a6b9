"""stack/levels.py: the range of levels that images use."""

from __future__ import annotations

import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import levels, photograph
from two_stream_fusion.stack.levels import IDENTITY, LevelMap, find_level_map, is_full_range

PHOTO = photograph()[::4, ::4] / 255


def scaled(gain, base=0, dtype=np.uint16):
    return levels(PHOTO * gain + base, dtype)


def with_hot_pixel(image):
    image[5, 7] = np.iinfo(image.dtype).max
    return image


def with_bar(image):
    image[-10:-4, -40:-5] = np.iinfo(image.dtype).max
    return image


@pytest.mark.parametrize(
    ("image", "bits"),
    [
        (with_hot_pixel(scaled(4095)), 4),
        (with_hot_pixel(scaled(1023)), 6),
        (with_bar(scaled(4095)), 4),
        (with_hot_pixel(with_bar(scaled(1023))), 6),
        (with_hot_pixel(levels(PHOTO * 15)), 4),
        (scaled(2040, 30000), 5),
        (scaled(510, 60000), 7),
        (with_hot_pixel(scaled(2040, 30000)), 5),
        (levels(PHOTO * 25 + 230), 3),
        (levels(PHOTO * 25 + 128), 3),
    ],
    ids=[
        "hot12",
        "hot10",
        "bar12",
        "hot_bar10",
        "hot8",
        "offset",
        "offset2",
        "hot_offset",
        "bright8",
        "mid8",
    ],
)
def test_outliers_and_offsets_hide_no_range(image, bits):
    for images in ([image, image], [image, image * 0], [image * 0 + np.iinfo(image.dtype).max, image]):
        level_map = find_level_map(images)
        assert level_map.bits in (bits, bits + 1) and level_map.clips  # more where a blank frame is clipped
        spread, outside = level_map.spread(image), level_map.outside(image)
        assert outside.mean() < 0.05 and np.ptp(spread) > np.iinfo(image.dtype).max / 4
        np.testing.assert_array_equal(level_map.restore(spread)[~outside], image[~outside])
        assert not is_full_range(image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_the_whole_type_stay_and_no_more_are_read(dtype):
    image = scaled(np.iinfo(dtype).max, 0, dtype)
    assert is_full_range(image)
    assert find_level_map(iter([image, None])) is IDENTITY
    assert IDENTITY.spread(image) is image and IDENTITY.restore(image) is image
    low_key = levels(PHOTO**3 * np.iinfo(dtype).max, dtype)
    assert find_level_map([low_key]) == IDENTITY  # few highlights are no outliers


@pytest.mark.parametrize(("last", "bits"), [(0, 7), (1, 7), (3, 6), (127, 1), (128, 0)])
def test_of_flat_images_the_largest_level_counts(last, bits):
    images = [np.full((4, 5), level, np.uint8) for level in (1, 0, last)]
    assert find_level_map(images) == LevelMap(0, bits, False)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3)])
def test_levels_outside_are_clipped(dtype, shape):
    top = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, top, shape, dtype, endpoint=True)
    level_map = LevelMap(100, 2, True)
    last = 100 + (top >> 2)
    outside = (image < 100) | (image > last)
    np.testing.assert_array_equal(
        level_map.outside(image), outside.any(axis=2) if image.ndim == 3 else outside
    )
    np.testing.assert_array_equal(level_map.restore(level_map.spread(image)), np.clip(image, 100, last))
    assert level_map.restore(np.array([0, 1, 2, top], dtype)).tolist() == [100, 100, 101, last]


@pytest.mark.parametrize(
    ("lowest", "inner", "highest"),
    [(9900, (10000, 10100), 10150), (9960, (10000, 10070), 10080), (9995, (10000, 10100), 10250)],
)
def test_a_range_that_fits_is_not_clipped(lowest, inner, highest):
    """The levels of one pixel each at both ends are farther from the others than NEAR."""
    image = np.linspace(*inner, 400 * 300).round().astype(np.uint16).reshape(300, 400)
    image[0, 0], image[0, 1] = lowest, highest
    level_map = find_level_map([image, image])
    assert level_map.bits >= 7 and not level_map.outside(image).any()
    np.testing.assert_array_equal(level_map.restore(level_map.spread(image)), image)
