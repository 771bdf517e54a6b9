"""stack/noise.py: the noise of an image."""

import cv2
import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import photograph
from two_stream_fusion.stack.noise import noise_variance


@pytest.mark.parametrize("sigma", [2, 4, 8])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_of_a_known_sigma(sigma, dtype):
    """Over the blurred astronaut; the estimate is of the plainest tenth, so it is below the variance."""
    scale = np.iinfo(dtype).max // 255
    levels = 60 + 0.5 * cv2.GaussianBlur(photograph(), (0, 0), 3).astype(float)
    noisy = levels + np.random.default_rng(0).normal(0, sigma, levels.shape)
    variance = noise_variance(np.rint(noisy * scale).astype(dtype))
    assert 0.6 * sigma**2 < variance < sigma**2


def test_golden_variance():
    image = np.random.default_rng(1).integers(90, 110, (64, 80), np.uint8)
    assert noise_variance(image) == pytest.approx(22.80, rel=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 5, 3)])
def test_images_of_any_size(shape):
    assert noise_variance(np.full(shape, 7, np.uint8)) == 0
