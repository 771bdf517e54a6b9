"""What LP, RP and CP share: Burt's pyramid, the fusion of its levels, and the way back.

Kernel (1, 4, 6, 4, 1) / 16 along both axes, borders mirrored without repeating the edge sample (OpenCV's
pyrDown and pyrUp). A side of odd length is extended by one mirrored sample at its end before it is halved,
and cropped on the way back. P. J. Burt, E. H. Adelson, The Laplacian pyramid as a compact image code, IEEE
Transactions on Communications 31(4), 1983, DOI 10.1109/TCOM.1983.1095851.
"""

from __future__ import annotations

import cv2

from two_stream_fusion.methods.common import residual, stronger


def fuse_planes(a, b, split, join, levels, rule, window, base):
    """Fuse two H x W float64 planes: select the details of every level, join them onto one base.

    split(level, below) gives the detail of a level, given what the next coarser level predicts of it;
    join(detail, below) is its inverse. levels: fewer where a side runs out. rule, window: of
    common.stronger; base: of common.residual. ValueError for an option out of range.
    """
    if levels < 1:
        raise ValueError(f"{levels} levels: at least 1 is needed")
    details = []
    while len(details) < levels and min(a.shape) > 1:
        height, width = a.shape
        a, detail_a = _halve(a, split)
        b, detail_b = _halve(b, split)
        details.append(stronger(detail_a, detail_b, rule, window)[:height, :width])
    fused = residual(a, b, base)
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
