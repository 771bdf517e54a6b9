"""Fuse a focus stack two by two, with few images in memory."""

from __future__ import annotations

from typing import Callable, Iterable

import numpy as np


def fuse_tree(
    fuse: Callable[[np.ndarray, np.ndarray], np.ndarray], frames: Iterable[np.ndarray]
) -> np.ndarray:
    """Fuse neighbours two by two, then the results two by two, until one image is left.

    Each frame passes through log2 N fusions, where N is the number of frames; folding would pass the first
    through N - 1. Each fusion costs some detail.

    Args:
        fuse: fuses two images.
        frames: one or more, in the order of their focus. Each is read once. Besides a pair, at most log2 N
            images are held.

    Returns:
        The fused image.

    Raises:
        ValueError: there is no frame.
    """
    waiting: list[tuple[int, np.ndarray]] = []  # (level, image), levels falling
    for frame in frames:
        level, image = 0, frame
        while waiting and waiting[-1][0] == level:
            image = fuse(waiting.pop()[1], image)
            level += 1
        waiting.append((level, image))
    if not waiting:
        raise ValueError("no frames to fuse")
    image = waiting.pop()[1]
    while waiting:
        image = fuse(waiting.pop()[1], image)
    return image
