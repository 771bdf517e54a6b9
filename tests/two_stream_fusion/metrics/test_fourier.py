"""Fourier transforms of real images: OpenCV's and SciPy's, against NumPy's complex ones."""

import numpy as np
import pytest

from two_stream_fusion import metrics
from two_stream_fusion.metrics import cache, fourier


@pytest.mark.parametrize("shape", [(96, 90), (64, 65), (13, 34), (1, 6), (6, 1), (1, 1), (2, 2)])
def test_both_libraries_filter_alike(shape, monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.standard_normal(shape)
    spectrum = fourier.transform(image)
    # A filter of real numbers that makes a real image: even in the frequency.
    response = rng.standard_normal(shape)
    response += np.roll(response[::-1, ::-1], 1, (0, 1))
    expected = np.fft.ifft2(np.fft.fft2(image) * response).real * image.size
    factor = np.ascontiguousarray(response[:, : spectrum.shape[1]])
    twice = spectrum.view(np.float64), np.repeat(factor, 2, axis=1)
    for smooth in (10**6, 0):  # OpenCV's, then SciPy's
        monkeypatch.setattr(fourier, "_SMOOTH", smooth)
        for pair in ((spectrum, factor), twice):
            filtered = fourier.multiply_and_invert(*pair, shape)
            np.testing.assert_allclose(filtered, expected, atol=1e-10)


@pytest.mark.parametrize("name", ["Qp", "Qcb", "Qcv"])
def test_metrics_do_not_depend_on_the_library(name, triple, monkeypatch):
    before = metrics.REGISTRY[name].function(*triple)
    monkeypatch.setattr(cache, "LARGEST", 0)
    monkeypatch.setattr(fourier, "_SMOOTH", 0)
    assert metrics.REGISTRY[name].function(*triple) == pytest.approx(before, rel=1e-11)


def test_largest_prime_factors():
    assert [fourier._largest_prime(n) for n in (1, 2, 520, 517, 1024)] == [1, 2, 13, 47, 2]
