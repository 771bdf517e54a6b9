"""Fourier transforms of real images, for the metrics that filter by frequency."""

from __future__ import annotations

import cv2
import numpy as np

_SMOOTH = 13  # OpenCV is fast where no prime factor of the sides is larger


def transform(image: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """The half of the Fourier transform that tells all of a real image.

    Args:
        image: H x W float64.
        shape: to which zeros enlarge it; H x W if None.

    Returns:
        H x (W // 2 + 1) complex128, of `shape`: frequencies along x from 0 upward, as of np.fft.rfft2.
    """
    from scipy.fft import rfft2  # late, as all of SciPy; it takes half the time of NumPy's

    return rfft2(image, shape)


def multiply_and_invert(
    spectrum: np.ndarray, factor: np.ndarray, shape: tuple[int, int], product: np.ndarray | None = None
) -> np.ndarray:
    """Filter an image whose transform is given.

    Args:
        spectrum: what `transform` returns of it. Or the same H x (2 (W // 2) + 2) float64: real and imaginary
            parts side by side.
        factor: the filter at these frequencies, of the same shape; real numbers, each twice beside the
            second form of the spectrum.
        shape: (H, W) of the image.
        product: H x W complex128 to overwrite, so that several calls need one.

    Returns:
        H x W float64: the inverse transform of the product without its factor 1 / (H W).
    """
    height, width = shape
    if product is None:
        product = np.empty(shape, np.complex128)
    half = product[:, : width // 2 + 1]
    np.multiply(spectrum, factor, out=half if spectrum.dtype == product.dtype else half.view(np.float64))
    if max(_largest_prime(height), _largest_prime(width)) <= _SMOOTH:
        # It reads that half only, and takes two thirds of SciPy's time (twice as much for other sides).
        planes = product.view(np.float64).reshape(height, width, 2)
        return cv2.dft(planes, flags=cv2.DFT_INVERSE | cv2.DFT_REAL_OUTPUT)
    from scipy.fft import irfft2

    return irfft2(half, shape, norm="forward")


def _largest_prime(n):
    """The largest prime factor of n."""
    factor = 2
    while factor * factor <= n:
        if n % factor:
            factor += 1
        else:
            n //= factor
    return n
