"""stack/white_balance.py: frames of another tint than the others."""

import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import levels, photograph, slope
from two_stream_fusion.stack.white_balance import find_other_balances, mean_colour

PHOTO = photograph()[::4, ::4]


def tinted(frame, *gains):
    return levels(frame * gains)


def find(frames):
    return find_other_balances([mean_colour(frame) for frame in frames])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_mean_colour_is_in_levels_of_255(dtype):
    scale = np.iinfo(dtype).max // 255
    frame = np.full((4, 5, 3), (10, 20, 30)).astype(dtype) * dtype(scale)
    np.testing.assert_allclose(mean_colour(frame), [10, 20, 30])
    np.testing.assert_allclose(mean_colour(frame[..., 1]), [20, 20, 20])


@pytest.mark.parametrize("count", [2, 3, 6])
def test_another_focus_or_brightness_is_no_tint(count):
    frames = [levels(frame * (0.7 + 0.05 * i)) for i, frame in enumerate(slope(PHOTO, count))]
    assert find(frames) == {}


@pytest.mark.parametrize(("gain", "found"), [(1 / 1.4, True), (0.95, False), (1.05, False), (1.4, True)])
@pytest.mark.parametrize("count", [2, 3, 6])
def test_another_white_balance_is_found(gain, found, count):
    frames = [levels(frame * 0.6) for frame in slope(PHOTO, count)]
    frames[1] = tinted(frames[1], 1, 1, gain)
    assert list(find(frames)) == [1] * found


def test_swapped_channels_are_found():
    frames = [levels(frame) for frame in slope(PHOTO, 5)]
    frames[2] = frames[2][..., ::-1]
    found = find(frames)
    assert list(found) == [2] and "another white balance: " in found[2]


@pytest.mark.parametrize("count", [2, 4])
def test_a_colour_that_hardly_occurs_counts_for_little(count):
    frames = [np.full((8, 8, 3), (120, 110, blue % 2), np.uint8) for blue in range(count)]
    assert find(frames) == {}
