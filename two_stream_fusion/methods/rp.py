"""RP: fusion by the ratio of low-pass pyramid.

Origin: A. Toet, Image fusion by a ratio of low-pass pyramid, Pattern Recognition Letters 9(4), 1989,
DOI 10.1016/0167-8655(89)90003-2. The ratios R = G / (EXPAND(REDUCE(G)) + e) of each level are selected, the
rest averaged.

Readings: 4 levels and e = 1e-6 on gray levels of 0..255, which matters in black areas only. The larger ratio
wins, as in the common toolbox, so bright detail is kept, dark detail lost, and the result brighter than its
sources; only this gives the low scores that published tables have for RP. Toet's own rule, the larger
|R - 1|, makes it the contrast pyramid (CP, methods/cp.py). Where ratios are equal b is taken. The result is
clipped to the range of the type, the pyramid is not.
"""

from __future__ import annotations

from two_stream_fusion.methods import common, pyramids

_E = 1e-6


def fuse(a, b, *, levels=4, rule="max_abs", window=3, base="average", colour="channels"):
    """Fuse two images H x W or H x W x 3, uint8 or uint16, alike; returns one like them.

    levels: of the pyramid, fewer where the image is too small. rule: max_abs, area_max, energy or match, in a
    window of `window` pixels a side. base: average, a or b. colour: channels or luma.
    ValueError for images that differ or have a side of one pixel, and for options out of range.
    """

    def fuse_plane(x, y):
        return pyramids.fuse_planes(x, y, _ratio, _level, levels, rule, window, base)

    return common.by_channel(fuse_plane, a, b, colour=colour)


def _ratio(level, below):
    return level / (below + _E)


def _level(ratio, below):
    return (below + _E) * ratio
