"""LP: fusion by the Laplacian pyramid.

Origin: P. J. Burt, E. H. Adelson, Merging images through pattern decomposition, Proc. SPIE 575, 1985,
DOI 10.1117/12.966501. The details D = G - EXPAND(REDUCE(G)) of each level are selected, the rest averaged.

Readings: 4 levels and the larger magnitude, as in comparisons of fusion methods; area_max, a vote in a 3x3
window, scores clearly better (Y. Liu, S. Liu, Z. Wang, DOI 10.1016/j.inffus.2014.09.004) and is an option.
The kernel is (1, 4, 6, 4, 1) / 16, a = 0.375 of Burt's family; his own choice was a = 0.4. Where magnitudes
are equal b is taken. Details may overshoot: the result is clipped to the range of the type.
"""

from __future__ import annotations

import operator

from two_stream_fusion.methods import common, pyramids


def fuse(a, b, *, levels=4, rule="max_abs", window=3, base="average", colour="channels"):
    """Fuse two images H x W or H x W x 3, uint8 or uint16, alike; returns one like them.

    levels: of the pyramid, fewer where the image is too small. rule: max_abs, area_max, energy or match, in a
    window of `window` pixels a side. base: average, a or b. colour: channels or luma.
    ValueError for images that differ or have a side of one pixel, and for options out of range.
    """

    def fuse_plane(x, y):
        return pyramids.fuse_planes(x, y, operator.sub, operator.add, levels, rule, window, base)

    return common.by_channel(fuse_plane, a, b, colour=colour)
