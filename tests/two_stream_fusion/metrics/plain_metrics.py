"""The six metrics as plain NumPy on whole images: the same definitions, written for reading, not for speed.

The tests compare two_stream_fusion/metrics with it. Two gray uint8 sources; arguments are not checked.
"""

from __future__ import annotations

import numpy as np


def all_six(a, b, fused):
    """{name: value}, as metrics.evaluate."""
    q, qw = piella(a.astype(float), b.astype(float), fused.astype(float))
    _, qw_edges = piella(*(prewitt(image.astype(float)) for image in (a, b, fused)))
    mi = 0.0
    for source in (a, b):
        both = entropy(source) + entropy(fused)
        mi += 2 * (both - entropy(256 * source.astype(int) + fused)) / both
    return {"IE": entropy(fused), "MI": mi, "Qabf": qabf(a, b, fused), "Q": q, "Qw": qw, "Qe": qw * qw_edges}


def entropy(levels):
    p = np.bincount(levels.ravel()) / levels.size
    p = p[p > 0]
    return -(p * np.log2(p)).sum()


def correlate(image, mask):
    """3x3 correlation with zeros outside."""
    height, width = image.shape
    padded = np.pad(image, 1)
    return sum(mask[i][j] * padded[i : i + height, j : j + width] for i in range(3) for j in range(3))


def qabf(a, b, fused):
    def strength_and_orientation(image):
        sx = correlate(image.astype(float), [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        sy = correlate(image.astype(float), [[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
        sx = np.where(sx == 0, 1e-5, sx)
        g = np.sqrt(sx**2 + sy**2)
        return np.where(g == 0, 1e-5, g), np.arctan(sy / sx)

    gf, af = strength_and_orientation(fused)
    kept = weight = 0.0
    for image in (a, b):
        g, angle = strength_and_orientation(image)
        strength = np.minimum(g, gf) / np.maximum(g, gf)
        orientation = 1 - np.abs(angle - af) / (np.pi / 2)
        q = 0.9994 / (1 + np.exp(-15 * (strength - 0.5))) * 0.9879 / (1 + np.exp(-22 * (orientation - 0.8)))
        kept, weight = kept + (q * g).sum(), weight + g.sum()
    return kept / weight


def prewitt(image):
    gx = correlate(image, [[1, 0, -1], [1, 0, -1], [1, 0, -1]])
    gy = correlate(image, [[1, 1, 1], [0, 0, 0], [-1, -1, -1]])
    return np.sqrt(gx**2 + gy**2)


def window_means(x):
    rows = sum(x[i : x.shape[0] - 7 + i] for i in range(8))
    return sum(rows[:, j : x.shape[1] - 7 + j] for j in range(8)) / 64


def piella(a, b, fused):
    """(Q, Qw)."""
    c = (1e-6 * 255) ** 2
    mf = window_means(fused)
    vf = window_means(fused * fused) - mf * mf
    indices, saliencies = [], []
    for x in (a, b):
        m = window_means(x)
        v = window_means(x * x) - m * m
        cov = window_means(x * fused) - m * mf
        indices.append((2 * m * mf + c) * (2 * cov + c) / ((m * m + mf * mf + c) * (v + vf + c)))
        saliencies.append(v)
    flat = saliencies[0] + saliencies[1] == 0
    sa, sb = (s + 0.5 * flat for s in saliencies)
    local = sa / (sa + sb) * indices[0] + sb / (sa + sb) * indices[1]
    weight = np.maximum(sa, sb)
    return local.mean(), (local * weight).sum() / weight.sum()
