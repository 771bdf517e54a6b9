"""Object regions for photographs that have no mask."""

from __future__ import annotations

import numpy as np

STRIP = 256  # rows worked out at a time: a large photograph would take much memory


def shape(height, width, rng) -> np.ndarray:
    """A random smooth shape, height x width bool, around a tenth to a half of the image.

    Its outline lies at a distance r (1 + sum of a few cosines of the angle) from a centre.
    """
    centre = rng.uniform(0.3, 0.7, 2) * (height, width)
    stretch, turn = rng.uniform(0.7, 1.4), rng.uniform(0, np.pi)
    waves = [(k, rng.normal(0, 0.35 / k), rng.uniform(0, 2 * np.pi)) for k in range(2, 6)]
    radius = np.sqrt(rng.uniform(0.12, 0.45) * height * width / np.pi)

    def inside(rows):
        dy, dx = rows[:, None] - centre[0], np.arange(width) - centre[1]
        u = (np.cos(turn) * dx + np.sin(turn) * dy) * stretch
        v = (np.cos(turn) * dy - np.sin(turn) * dx) / stretch
        angle, outline = np.arctan2(v, u), 1.0
        for k, depth, phase in waves:
            outline = outline + depth * np.cos(k * angle + phase)
        return np.hypot(u, v) < radius * np.maximum(outline, 0.3)

    strips = range(0, height, STRIP)
    return np.concatenate([inside(np.arange(y, min(y + STRIP, height))) for y in strips])
