"""Object regions for photographs that have no mask."""

from __future__ import annotations

import numpy as np


def shape(height, width, rng) -> np.ndarray:
    """A random smooth shape, height x width bool, around a tenth to a half of the image.

    Its outline lies at a distance r (1 + sum of a few cosines of the angle) from a centre.
    """
    y, x = np.mgrid[:height, :width]
    centre_y, centre_x = rng.uniform(0.3, 0.7, 2) * (height, width)
    stretch, turn = rng.uniform(0.7, 1.4), rng.uniform(0, np.pi)
    dy, dx = y - centre_y, x - centre_x
    u = (np.cos(turn) * dx + np.sin(turn) * dy) * stretch
    v = (np.cos(turn) * dy - np.sin(turn) * dx) / stretch
    angle, outline = np.arctan2(v, u), 1.0
    for k in range(2, 6):
        outline = outline + rng.normal(0, 0.35 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    radius = np.sqrt(rng.uniform(0.12, 0.45) * height * width / np.pi)
    return np.hypot(u, v) < radius * np.maximum(outline, 0.3)
