"""Qabf, and with 50 decimal digits Q, Qw and Qe, pixel by pixel as they are defined."""

import math
from decimal import Decimal, getcontext

getcontext().prec = 50


def at(image, y, x):
    inside = 0 <= y < len(image) and 0 <= x < len(image[0])
    return int(image[y][x]) if inside else 0


def gradient(image, y, x, middle):
    """Along x and y, the middle tap across weighing `middle`: 2 for Sobel, 1 for Prewitt."""
    weights = ((-1, 1), (0, middle), (1, 1))
    return (
        sum(w * (at(image, y + d, x + 1) - at(image, y + d, x - 1)) for d, w in weights),
        sum(w * (at(image, y + 1, x + d) - at(image, y - 1, x + d)) for d, w in weights),
    )


def qabf(*images):
    *sources, fused = (image.tolist() for image in images)

    def edge(image, y, x):
        sx, sy = gradient(image, y, x, 2)
        return math.hypot(sx, sy) or 1e-5, math.atan(sy / (sx or 1e-5))

    kept = weights = 0.0
    for y in range(len(fused)):
        for x in range(len(fused[0])):
            gf, af = edge(fused, y, x)
            for source in sources:
                g, angle = edge(source, y, x)
                strength, turned = min(g, gf) / max(g, gf), 1 - abs(angle - af) / (math.pi / 2)
                q = (
                    0.9994
                    / (1 + math.exp(-15 * (strength - 0.5)))
                    * 0.9879
                    / (1 + math.exp(-22 * (turned - 0.8)))
                )
                kept += q * g
                weights += g
    return kept / weights


def piella(*images, levels=255):
    """(Q, Qw, Qe)"""
    rows, columns = images[0].shape
    exact = [[[Decimal(int(v)) for v in row] for row in image] for image in images]
    squares = [
        [[sum(g * g for g in gradient(image.tolist(), y, x, 1)) for x in range(columns)] for y in range(rows)]
        for image in images
    ]
    edges = [[[Decimal(s).sqrt() for s in row] for row in image] for image in squares]
    q, qw = means(exact, levels)
    return float(q), float(qw), float(qw * means(edges, levels)[1])


def means(images, levels):
    scale = Decimal(levels) / 255
    c = (Decimal("1e-6") * levels) ** 2
    qualities, weights = [], []
    for top in range(len(images[0]) - 7):
        for left in range(len(images[0][0]) - 7):
            *sources, fused = (
                [image[y][x] for y in range(top, top + 8) for x in range(left, left + 8)] for image in images
            )
            mf, vf = mean(fused), covariance(fused, fused)
            saliencies = [covariance(source, source) for source in sources]
            if not any(saliencies):
                saliencies = [s + scale**2 / 2 for s in saliencies]
            quality = 0
            for source, saliency in zip(sources, saliencies):
                m, v, cov = mean(source), covariance(source, source), covariance(source, fused)
                q0 = (2 * m * mf + c) * (2 * cov + c) / ((m * m + mf * mf + c) * (v + vf + c))
                quality += saliency / sum(saliencies) * q0
            qualities.append(quality)
            weights.append(max(saliencies))
    weighted = sum(q * w for q, w in zip(qualities, weights)) / sum(weights)
    return sum(qualities) / len(qualities), weighted


def mean(window):
    return sum(window) / 64


def covariance(x, y):
    # of deviations from the first value, so that a flat window gives exactly 0
    x, y = [v - x[0] for v in x], [v - y[0] for v in y]
    return mean([a * b for a, b in zip(x, y)]) - mean(x) * mean(y)
