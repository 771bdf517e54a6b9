"""IE: information entropy of the fused image.

Origin: C. E. Shannon, A mathematical theory of communication, 1948, DOI 10.1002/j.1538-7305.1948.tb01338.x.
H(F) = -sum p log2 p over the histogram of 256 bins, in bits.

Range 0 (a constant image) to 8 (all 256 levels equally frequent). It looks at the fused image alone: noise
raises it, and blur of one source need not lower it.
Elsewhere: MATLAB's `entropy` is the same on uint8 and converts other types by `im2uint8` first.
"""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.metrics import preprocess


def entropy(*images: np.ndarray) -> float:
    """IE of the fused image; the sources are only checked.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        Bits, 0..8.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    _, fused = preprocess.prepare(*images)
    return entropy_of_histogram(histogram(fused))


def entropy_of_histogram(counts: np.ndarray) -> float:
    """Shannon entropy of a histogram.

    Args:
        counts: numbers from 0 upward, of any shape; their sum is more than 0.

    Returns:
        Bits; exactly 0 where one bin holds everything.
    """
    p = counts[counts > 0] / counts.sum()
    return abs(float((p * np.log2(p)).sum()))


def histogram(*images: np.ndarray) -> np.ndarray:
    """Count how often each level, or pair of levels, occurs.

    Args:
        images: one or two gray images, H x W, uint8 or uint16, of one shape and dtype.

    Returns:
        Counts, float64: 256 of one image, 256 x 256 of two, whose rows are the levels of the first. uint16
        levels are rounded to 8 bits, so that there are 256 bins at every depth.
    """
    n = len(images)
    height, width = images[0].shape
    # cv2 counts in float32, which is exact to 2**24; the rounded copies of uint16 images are temporaries.
    rows = max(1, (2**24 if images[0].dtype == np.uint8 else 2**20) // width)
    counts = np.zeros((256,) * n)
    for top in range(0, height, rows):
        block = [_eight_bits(image[top : top + rows]) for image in images]
        counts += cv2.calcHist(block, list(range(n)), None, [256] * n, [0, 256] * n).reshape(counts.shape)
    return counts


def _eight_bits(image):
    if image.dtype == np.uint8:
        return image
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
