"""Qabf: how much of the sources' edge strength and orientation the fused image keeps.

Origin: C. S. Xydeas, V. Petrovic, Objective image fusion performance measure, Electronics Letters 36(4),
2000, DOI 10.1049/el:20000267. For each image X: 3x3 Sobel with zeros outside the image, strength
g = sqrt(sx^2 + sy^2), orientation a = atan(sy / sx); sx = 0 and g = 0 are taken as 1e-5. For each source X:
    G = min(g_X, g_F) / max(g_X, g_F)        D = 1 - |a_X - a_F| / (pi/2)
    Q_XF = 0.9994 / (1 + exp(-15 (G - 0.5))) * 0.9879 / (1 + exp(-22 (D - 0.8)))
    Qabf = sum(Q_AF g_A + Q_BF g_B) / sum(g_A + g_B)        over all pixels; n sources: sums of n terms

Range 0..0.9748: identical images give 0.9747936250, not 1, flat and constant ones too. The border counts (the
zeros outside make large gradients there); a reflecting border moves the value by about 0.01.

Variants, each as its own toolbox computes it:
Qabf_hong  the "Qabf.m" signed Hong (2007), in many benchmarks: G = g_F, not 1, where strengths are equal, and
           orientation -pi/2 wherever sx = 0, flat areas included; NaN for black images. Meant for 0..255,
           wrong on 0..1 images.
Qabf_2012  toolbox of Z. Liu et al., DOI 10.1109/TPAMI.2011.109: D = | |a_X - a_F| - pi/2 | / (pi/2), slopes
           -10 and -20, midpoints 0.5 and 0.75, no 0.9994 and 0.9879, and the mean over pixels of the local
           ratio, so that flat areas count as much as edges.
The default is that toolbox as corrected in 2019 after the paper (Y. Liu et al., DOI
10.1016/j.inffus.2020.06.013).
"""

from __future__ import annotations

import math
from typing import Callable, Sequence

import cv2
import numpy as np

from two_stream_fusion.metrics import preprocess

_ZERO = 1e-5  # stands for a zero gradient, in gray levels of 8 bits


def qabf(*images: np.ndarray) -> float:
    """Qabf: edge strength and orientation that the fused image keeps.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        0..0.9748.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    return evaluate_gray(*preprocess.prepare(*images))


def qabf_hong(*images: np.ndarray) -> float:
    """Qabf_hong: the variant of Hong's Qabf.m.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        0..0.9754; NaN for black images.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    return evaluate_gray(*preprocess.prepare(*images), _gradients_hong, _preservation_hong)


def qabf_2012(*images: np.ndarray) -> float:
    """Qabf_2012: the variant of the toolbox of 2012.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        0..0.9867.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    total = 0.0
    for _, preserved, g in _tiles(sources, fused, _gradients, _preservation_2012):
        total += ((preserved * g[:-1]).sum(0) / g[:-1].sum(0)).sum()
    return float(total / fused.size)


def maps(*images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map where edges were kept and where they were lost.

    V. Petrovic, C. Xydeas, Objective image fusion performance characterisation, ICCV 2005, pp. 1866-1871.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        Two H x W float32 arrays. Quality is the local Qabf, sum(Q_XF g_X) / sum(g_X), 0..0.9748. Loss is
        sum((1 - Q_XF) g_X) where a source's edge is stronger than the fused one, else 0, in Sobel's units of
        8-bit gray levels.

    Raises:
        ValueError: as `preprocess.prepare` raises it.
    """
    sources, fused = preprocess.prepare(*images)
    quality, loss = np.empty((2, *fused.shape), np.float32)
    for tile, preserved, g in _tiles(sources, fused, _gradients, _preservation):
        quality[tile] = (preserved * g[:-1]).sum(0) / g[:-1].sum(0)
        weaker = (g[-1] < g[:-1]).any(0)
        loss[tile] = weaker * ((1 - preserved) * g[:-1]).sum(0) / preprocess.level_scale(fused)
    return quality, loss


def evaluate_gray(
    sources: Sequence[np.ndarray],
    fused: np.ndarray,
    gradients: Callable | None = None,
    preservation: Callable | None = None,
) -> float:
    """Qabf of images that `preprocess.prepare` has returned.

    Args:
        sources: gray images, H x W.
        fused: the gray fused image, of the same shape and dtype.
        gradients: (images, tile) -> strengths and orientations; None for the default's.
        preservation: (strengths, orientations) -> Q_XF of each source; None for the default's.

    Returns:
        As `qabf`.
    """
    kept_sum = weight_sum = 0.0
    for _, preserved, g in _tiles(sources, fused, gradients or _gradients, preservation or _preservation):
        weight_sum += g[:-1].sum()
        preserved *= g[:-1]  # not np.vdot: BLAS would wake its threads for it
        kept_sum += preserved.sum()
    return float(kept_sum / weight_sum) if weight_sum > 0 else math.nan


def _tiles(sources, fused, gradients, preservation):
    """Tile by tile: (tile, Q_XF of n sources, g of the sources and the fused image)."""
    images = [*sources, fused]
    for tile in preprocess.tiles(*fused.shape):
        g, a = gradients(images, tile)
        yield tile, preservation(g, a), g


def _gradients(images, tile):
    """Edge strengths g and orientations a in a tile of the images."""
    zero = _ZERO * preprocess.level_scale(images[0])
    sx, sy = preprocess.gradients(images, tile, preprocess.SOBEL)
    g = cv2.magnitude(*(s.reshape(-1, s.shape[-1]) for s in (sx, sy))).reshape(sx.shape)
    np.maximum(g, zero, out=g)
    np.copyto(sx, zero, where=sx == 0)
    sy /= sx
    return g, np.arctan(sy, out=sy)


def _gradients_hong(images, tile):
    sx, sy = preprocess.gradients(images, tile, preprocess.SOBEL)
    vertical = sx == 0
    a = np.arctan(sy / np.where(vertical, 1, sx))
    a[vertical] = -math.pi / 2
    return np.sqrt(sx * sx + sy * sy), a


def _preservation(g, a):
    """Q_XF of every source from the strengths and orientations of the sources and, last, the fused image."""
    strength = np.minimum(g[:-1], g[-1])
    strength /= np.maximum(g[:-1], g[-1])
    turned = a[:-1] - a[-1]
    np.abs(turned, out=turned)
    # -22 (D - 0.8) with D = 1 - turned / (pi/2)
    turned *= 44 / math.pi
    turned -= 4.4
    strength -= 0.5
    strength *= -15
    return _sigmoids(strength, turned, 0.9994 * 0.9879)


def _preservation_hong(g, a):
    larger = np.maximum(g[:-1], g[-1])
    strength = np.minimum(g[:-1], g[-1]) / np.where(larger == 0, 1, larger)
    strength = np.where(g[:-1] == g[-1], g[-1], strength)
    preserved = 1 - np.abs(a[:-1] - a[-1]) * (2 / math.pi)
    return _sigmoids(-15 * (strength - 0.5), -22 * (preserved - 0.8), 0.9994 * 0.9879)


def _preservation_2012(g, a):
    strength = np.minimum(g[:-1], g[-1]) / np.maximum(g[:-1], g[-1])
    preserved = np.abs(np.abs(a[:-1] - a[-1]) - math.pi / 2) * (2 / math.pi)
    return _sigmoids(-10 * (strength - 0.5), -20 * (preserved - 0.75), 1.0)


def _sigmoids(x, y, gain):
    """gain / (1 + exp(x)) / (1 + exp(y))."""
    # cv2's exp takes a quarter of the time of NumPy's.
    first, second = (cv2.exp(exponent.reshape(-1, x.shape[-1])) for exponent in (x, y))
    first += 1
    second += 1
    first *= second
    return np.divide(gain, first, out=first).reshape(x.shape)
