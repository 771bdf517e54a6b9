"""LP: fusion by the Laplacian pyramid.

Origin: P. J. Burt, E. H. Adelson, Merging images through pattern decomposition, Proc. SPIE 575, 1985,
DOI 10.1117/12.966501. The details D = G - EXPAND(REDUCE(G)) of each level are selected, the rest averaged.

Readings: 4 levels and the larger magnitude, as in comparisons of fusion methods. The option area_max, a vote
in a 3x3 window, scores clearly better (Y. Liu, S. Liu, Z. Wang, DOI 10.1016/j.inffus.2014.09.004).
The kernel is (1, 4, 6, 4, 1) / 16, a = 0.375 of Burt's family; his own choice was a = 0.4. Where magnitudes
are equal b is taken. Details may overshoot: the result is clipped to the range of the type.
"""

from __future__ import annotations

import operator

import numpy as np

from two_stream_fusion.methods import coefficients, pyramids


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
    """Fuse two images by their Laplacian pyramids.

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
        return pyramids.fuse_pyramids(x, y, operator.sub, operator.add, levels, rule, window, base)

    return coefficients.fuse_planes(fuse_plane, a, b, colour=colour)
