"""Object regions for photographs that have no mask."""

from __future__ import annotations

import numpy as np

STRIP_ROWS = 256  # rows computed at a time, for memory alone
AREA = (0.12, 0.45)  # of the image: the share that the region would have without its waves, at least and most
RADIUS_FLOOR = 0.3  # of the mean radius: the outline never comes closer to the centre


def random_region(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a random smooth region, around a tenth to a half of the image.

    Its outline lies at a distance r (1 + sum of a few cosines of the angle) from a centre.

    Args:
        height, width: size of the image in pixels.
        rng: the generator to draw from.

    Returns:
        height x width bool, True inside.
    """
    centre = rng.uniform(0.3, 0.7, 2) * (height, width)
    stretch, turn = rng.uniform(0.7, 1.4), rng.uniform(0, np.pi)
    waves = [(k, rng.normal(0, 0.35 / k), rng.uniform(0, 2 * np.pi)) for k in range(2, 6)]
    radius = np.sqrt(rng.uniform(*AREA) * height * width / np.pi)

    def inside(rows):
        dy, dx = rows[:, None] - centre[0], np.arange(width) - centre[1]
        u = (np.cos(turn) * dx + np.sin(turn) * dy) * stretch
        v = (np.cos(turn) * dy - np.sin(turn) * dx) / stretch
        angle, outline = np.arctan2(v, u), 1.0
        for k, depth, phase in waves:
            outline = outline + depth * np.cos(k * angle + phase)
        return np.hypot(u, v) < radius * np.maximum(outline, RADIUS_FLOOR)

    strips = range(0, height, STRIP_ROWS)
    return np.concatenate([inside(np.arange(y, min(y + STRIP_ROWS, height))) for y in strips])
