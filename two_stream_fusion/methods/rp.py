"""RP: fusion by the ratio of low-pass pyramid.

Origin: A. Toet, Image fusion by a ratio of low-pass pyramid, Pattern Recognition Letters 9(4), 1989,
DOI 10.1016/0167-8655(89)90003-2. The ratios R = G / (EXPAND(REDUCE(G)) + e) of each level are selected, the
rest averaged.

Readings: 4 levels and e = 1e-6 on gray levels of 0..255, which matters in black areas only. The larger ratio
wins, as in the common toolbox. So bright detail is kept, dark detail is lost, and the result is brighter
than its sources. Only this rule gives the low scores that published tables have for RP. Toet's own rule, the
larger |R - 1|, makes it the contrast pyramid (CP, methods/cp.py). Where ratios are equal b is taken. The
result is clipped to the range of the type, the pyramid is not.
"""

from __future__ import annotations

import numpy as np

from two_stream_fusion.methods import coefficients, pyramids

_E = 1e-6  # against division by zero


def fuse(
    a: np.ndarray,
    b: np.ndarray,
    *,
    levels: int = 4,
    rule: str = "max_abs",
    window: int = 3,
    base: str = "average",
    colour: str = "channels",
) -> np.ndarray:
    """Fuse two images by their ratio of low-pass pyramids.

    Args:
        a, b: H x W or H x W x 3 (RGB), uint8 or uint16, of one shape and dtype, 2 pixels a side or more.
        levels: of the pyramid; fewer where a side runs out.
        rule: "max_abs", "area_max", "energy" or "match", as coefficients.select_coefficients has them.
        window: the side in pixels of the rule's window, odd.
        base: the low-pass band: "average", "a" or "b".
        colour: "channels" (R, G and B each by itself) or "luma".

    Returns:
        The fused image, in the shape and dtype of `a`.

    Raises:
        ValueError: the images cannot be fused, or an option is unknown or out of range.
    """

    def fuse_plane(x, y):
        return pyramids.fuse_pyramids(x, y, _ratio, _level, levels, rule, window, base)

    return coefficients.fuse_planes(fuse_plane, a, b, colour=colour)


def _ratio(level, below):
    return level / (below + _E)


def _level(ratio, below):
    return (below + _E) * ratio
