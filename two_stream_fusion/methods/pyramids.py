"""What LP, RP and CP share: Burt's pyramid, the fusion of its levels, and the way back.

Kernel (1, 4, 6, 4, 1) / 16 along both axes, borders mirrored without repeating the edge sample (OpenCV's
pyrDown and pyrUp). A side of odd length is extended by one mirrored sample at its end before it is halved,
and cropped on the way back. P. J. Burt, E. H. Adelson, The Laplacian pyramid as a compact image code, IEEE
Transactions on Communications 31(4), 1983, DOI 10.1109/TCOM.1983.1095851.
"""

from __future__ import annotations

from typing import Callable

import cv2
import numpy as np

from two_stream_fusion.methods.coefficients import merge_lowpass, select_coefficients


def fuse_pyramids(
    a: np.ndarray,
    b: np.ndarray,
    split: Callable[[np.ndarray, np.ndarray], np.ndarray],
    join: Callable[[np.ndarray, np.ndarray], np.ndarray],
    levels: int,
    rule: str,
    window: int,
    base: str,
) -> np.ndarray:
    """Fuse two planes: select the details of every level, then join them onto one base.

    Args:
        a, b: H x W float64, of one shape.
        split: split(level, below) is the detail of a level, given the prediction of the next coarser one.
        join: join(detail, below) is the inverse of `split`.
        levels: 1 or more; fewer are used where a side runs out.
        rule, window: as for coefficients.select_coefficients.
        base: as for coefficients.merge_lowpass.

    Returns:
        H x W float64, not clipped.

    Raises:
        ValueError: an option is unknown or out of range.
    """
    if levels < 1:
        raise ValueError(f"levels={levels}: at least 1 is needed")
    details = []
    while len(details) < levels and min(a.shape) > 1:
        height, width = a.shape
        a, detail_a = _halve(a, split)
        b, detail_b = _halve(b, split)
        details.append(select_coefficients(detail_a, detail_b, rule, window)[:height, :width])
    fused = merge_lowpass(a, b, base)
    for detail in reversed(details):
        height, width = detail.shape
        fused = join(detail, cv2.pyrUp(fused)[:height, :width])
    return fused


def _halve(level, split):
    """The next coarser level, and the detail it lacks."""
    height, width = level.shape
    level = cv2.copyMakeBorder(level, 0, height % 2, 0, width % 2, cv2.BORDER_REFLECT_101)
    coarser = cv2.pyrDown(level)
    return coarser, split(level, cv2.pyrUp(coarser))
