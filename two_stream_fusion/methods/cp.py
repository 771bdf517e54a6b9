"""CP: fusion by the contrast pyramid.

Origin: A. Toet, L. J. van Ruyven, J. M. Valeton, Merging thermal and visual images by a contrast pyramid,
Optical Engineering 28(7), 1989, DOI 10.1117/12.7977034. The contrasts C = G / (EXPAND(REDUCE(G)) + e) - 1 of
each level are selected, the rest averaged.

Readings: 4 levels, the larger absolute contrast, and e = 1e-6 on gray levels of 0..255, which matters in
black areas only. There a zero whose neighbours are zeros has contrast -1, wins, and stays black whatever the
other source shows. Where contrasts are equal b is taken. The result is clipped to the range of the type, the
pyramid is not.
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
    """Fuse two images by their contrast pyramids.

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
        return pyramids.fuse_pyramids(x, y, _contrast, _level, levels, rule, window, base)

    return coefficients.fuse_planes(fuse_plane, a, b, colour=colour)


def _contrast(level, below):
    return level / (below + _E) - 1


def _level(contrast, below):
    return (below + _E) * (contrast + 1)
