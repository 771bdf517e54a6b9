"""PSNR and SSIM: how close an image is to its ground truth. METRICS, which needs none, leaves them out."""

from __future__ import annotations

import numpy as np

from two_stream_fusion.metrics import preprocess

SSIM_MIN_SIDE = 11  # pixels: the window of SSIM


def psnr(clean: np.ndarray, image: np.ndarray) -> float:
    """Peak signal-to-noise ratio.

    Args:
        clean: the ground truth, uint8 or uint16, of any shape.
        image: what is compared with it, of the same shape and dtype.

    Returns:
        PSNR in dB, for a peak of 255 or 65535; infinite where the two are equal.
    """
    error = np.mean((clean.astype(float) - image) ** 2)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10((255 * preprocess.level_scale(image)) ** 2 / error))


def ssim(clean: np.ndarray, image: np.ndarray) -> float:
    """Structural similarity with the window and variances of its authors.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", 2004. DOI 10.1109/TIP.2003.819861

    Args:
        clean: the ground truth, H x W, uint8 or uint16; H and W are SSIM_MIN_SIDE or more.
        image: what is compared with it, of the same shape and dtype.

    Returns:
        SSIM in -1..1; 1 where the two are equal.

    Raises:
        ValueError: the images are smaller than the window.
    """
    from skimage.metrics import structural_similarity  # late: it takes half a second, and is seldom needed

    peak = 255 * preprocess.level_scale(image)
    form = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": peak}
    return float(structural_similarity(clean, image, **form))
