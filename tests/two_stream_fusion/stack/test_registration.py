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
