"""Blend the frames of a focus stack into one image, as a choice among them says.

P. J. Burt, E. H. Adelson, "A Multiresolution Spline With Application to Image Mosaics", ACM Transactions on
Graphics 2(4), 1983, doi:10.1145/245.247.
"""

from __future__ import annotations

from typing import Any, Iterable

import cv2
import numpy as np

from two_stream_fusion.stack.details import gaussian_blur

SEAM_SIGMA = 0.5  # pixels: the Gaussian over the boundaries between frames, at the finest scale
WIDEST_SCALE = 0.04  # of the longer side: the scale of the coarsest level, which has the widest seams


def blend_frames(frames: Iterable[np.ndarray], choice: np.ndarray) -> np.ndarray:
    """Take each pixel from the frame that `choice` names, without visible seams.

    Seams are narrow in fine detail and the wider the coarser the scale, up to WIDEST_SCALE. At coarse scales
    frames differ only by light that changed between them, so wide seams hide that.

    Args:
        frames: H x W or H x W x 3, uint8 or uint16, alike. Each is read once; a frame that has no pixel is
            not kept.
        choice: H x W integers, places in `frames`, as select_frames gives them.

    Returns:
        An image like the frames. No value lies outside of those that the frames have at its pixel.
    """
    levels = 1 + max(0, int(np.log2(WIDEST_SCALE * max(choice.shape))))
    bands: list[Any] = [np.float32(0)] * levels
    low: Any = None
    high: Any = None
    for i, frame in enumerate(frames):
        low = frame.copy() if low is None else cv2.min(low, frame, dst=low)
        high = frame.copy() if high is None else cv2.max(high, frame, dst=high)
        weight = (choice == i).astype(np.float32)
        if not weight.any():
            continue
        band: Any = frame.astype(np.float32)
        weight = gaussian_blur(weight, SEAM_SIGMA)
        for level in range(levels):
            coarser = cv2.pyrDown(band)
            if level < levels - 1:
                band -= cv2.pyrUp(coarser, dstsize=band.shape[1::-1])
            band *= weight[..., None] if band.ndim == 3 else weight
            band += bands[level]
            bands[level], band, weight = band, coarser, cv2.pyrDown(weight)
    values = bands.pop()
    while bands:
        finer = bands.pop()
        values = cv2.pyrUp(values, dstsize=finer.shape[1::-1])
        values += finer
    values += np.float32(0.5)
    return np.clip(np.floor(values, out=values), low, high, out=values).astype(low.dtype)
