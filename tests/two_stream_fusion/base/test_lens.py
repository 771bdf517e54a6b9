"""The blur of a disc."""

import numpy as np
import pytest

from two_stream_fusion.base import lens


@pytest.mark.parametrize("radius", [0.4, 1, 3.3, 16])
def test_discs_have_unit_sum_and_their_sigma(radius):
    point = np.zeros((65, 65))
    point[32, 32] = 1
    disc = lens.disc(point, radius)
    x = np.arange(65) - 32
    assert disc.sum() == pytest.approx(1)
    np.testing.assert_allclose(disc, disc.T, atol=1e-12)
    if radius >= 3:
        assert np.sqrt((disc * x**2).sum()) == pytest.approx(radius / 2, rel=0.03)


@pytest.mark.parametrize("radius", [0, 0.3, 0.5])
def test_discs_within_a_pixel_change_nothing(radius):
    image = np.random.default_rng(0).random((9, 7, 3)).astype(np.float32)
    np.testing.assert_array_equal(lens.disc(image, radius), image)


def test_a_disc_grows_steadily():
    """By hand: of a radius of 1.2 the middle and its four neighbours count 1 and 0.7, the corners 0.2858."""
    point = np.zeros((5, 5))
    point[2, 2] = 1
    area = 1 + 4 * 0.7 + 4 * (1.7 - 2**0.5)
    disc = lens.disc(point, 1.2)
    assert disc[2, 2] == pytest.approx(1 / area)
    assert disc[1, 2] == disc[2, 3] == pytest.approx(0.7 / area)
    assert disc[1, 1] == pytest.approx((1.7 - 2**0.5) / area)
