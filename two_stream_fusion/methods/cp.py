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

from two_stream_fusion.methods import common, pyramids

_E = 1e-6


def fuse(a, b, *, levels=4, rule="max_abs", window=3, base="average", colour="channels"):
    """Fuse two images H x W or H x W x 3, uint8 or uint16, alike; returns one like them.

    levels: of the pyramid, fewer where the image is too small. rule: max_abs, area_max, energy or match, in a
    window of `window` pixels a side. base: average, a or b. colour: channels or luma.
    ValueError for images that differ or have a side of one pixel, and for options out of range.
    """

    def fuse_plane(x, y):
        return pyramids.fuse_planes(x, y, _contrast, _level, levels, rule, window, base)

    return common.by_channel(fuse_plane, a, b, colour=colour)


def _contrast(level, below):
    return level / (below + _E) - 1


def _level(contrast, below):
    return (below + _E) * (contrast + 1)
