"""The undecimated wavelet transform behind SRCNN."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from two_stream_fusion.methods import uwt


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32))
def test_round_trip(levels, spacing, rows, columns, seed):
    step = spacing * 2**levels
    image = np.random.default_rng(seed).normal(size=(rows * step, columns * step))
    planes = uwt.transform(image, levels, spacing)
    assert planes.shape == (1 + 3 * levels, *image.shape)
    np.testing.assert_allclose(uwt.inverse(planes, spacing), image, rtol=0, atol=1e-12)


def test_planes_by_hand():
    """Haar, one level: half of sums and differences of neighbours, the image goes on at its other side."""
    image = np.arange(16.0).reshape(4, 4) ** 1.5

    def low(x, axis):
        return (x + np.roll(x, -1, axis)) / 2

    def high(x, axis):
        return (x - np.roll(x, -1, axis)) / 2

    planes = uwt.transform(image, 1, 1, "haar")
    for plane, (down, across) in zip(planes, [(low, low), (high, low), (low, high), (high, high)]):
        np.testing.assert_allclose(plane, across(down(image, 0), 1), rtol=0, atol=1e-12)


def test_upsampled_filters_transform_an_interpolated_image_alike():
    image = np.random.default_rng(0).random((48, 64))

    def raised(plane):
        return cv2.resize(plane, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)

    one = np.stack([raised(plane) for plane in uwt.transform(image)])
    other = uwt.transform(raised(image), spacing=2)
    inside = (slice(None), slice(40, -40), slice(40, -40))
    np.testing.assert_allclose(one[inside], other[inside], rtol=0, atol=1e-12)


def test_the_approximation_keeps_levels():
    np.testing.assert_allclose(uwt.transform(np.full((8, 8), 77.0))[0], 77, rtol=1e-12)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError):
        uwt.transform(np.zeros((6, 8)))
