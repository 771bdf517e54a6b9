"""stack/details.py: the noise of an image."""

import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import levels, photograph
from two_stream_fusion.stack.details import noise_variance


@pytest.mark.parametrize("sigma", [1, 2, 4, 8])
def test_noise_is_measured_beside_texture(sigma):
    """The plainest tenth is somewhat below the variance; the photograph has a noise of its own."""
    clean = photograph()[:200, :256]
    noisy = levels(clean + np.random.default_rng(0).normal(0, sigma, clean.shape))
    assert 0.5 * sigma**2 < noise_variance(noisy) < 1.1 * sigma**2 + noise_variance(clean)


def test_noise_does_not_depend_on_the_kind():
    noisy = levels(photograph()[:200, :200] + np.random.default_rng(0).normal(0, 3, (200, 200, 3)))
    expected = noise_variance(noisy)
    assert noise_variance(noisy.astype(np.uint16) * 257) == pytest.approx(expected, rel=1e-3)
    assert noise_variance(noisy[..., 0]) == pytest.approx(expected, rel=0.5)


@pytest.mark.parametrize("size", [(2, 2), (3, 40), (9, 9)])
def test_small_and_plain_images_have_a_noise(size):
    assert noise_variance(np.full(size, 7, np.uint8)) == 0
