"""Frames of another white balance than the others: their parts of a fusion would have another tint.

Not from the paper. Alignment matches the white balance (stack/exposure.py); this is for what it does not see.
"""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from two_stream_fusion.base.pixels import depth_scale

FACTOR = 1.2  # of red, green or blue: up to 1.08 in real stacks and pairs; from lamplight to daylight 2
OFFSET = 8  # levels of 255 added to each mean, so that a colour that hardly occurs counts for little
COLOURS = ("red", "green", "blue")


def mean_colour(frame: np.ndarray) -> np.ndarray:
    """The mean of each channel of a frame.

    Args:
        frame: H x W or H x W x 3, uint8 or uint16.

    Returns:
        3 float64, in levels of 255; of a gray frame all are equal.
    """
    means = cv2.mean(frame)
    return np.array(means[:3] if frame.ndim == 3 else means[:1] * 3) / depth_scale(frame)


def find_other_balances(means: Sequence[np.ndarray]) -> dict[int, str]:
    """Find the frames whose white balance is not that of most others.

    Args:
        means: `mean_colour` of each frame. Of two, the second is compared with the first.

    Returns:
        {index: what it is}, in words.
    """
    shares = np.array(means) + OFFSET
    shares /= shares.mean(axis=1, keepdims=True)
    factors = shares / (np.median(shares, axis=0) if len(shares) > 2 else shares[0])
    found = {}
    for i, factor in enumerate(factors):
        channel = int(np.abs(np.log(factor)).argmax())
        if max(factor[channel], 1 / factor[channel]) > FACTOR:
            found[i] = (
                f"of another white balance: {COLOURS[channel]} is {factor[channel]:.2g} times as strong"
            )
    return found
