"""What metrics keep from one call to the next: many methods are compared on the same sources.

Nothing is kept of images above half a megapixel.
"""

from __future__ import annotations

import functools
from typing import Callable, Sequence, TypeVar

import numpy as np

LARGEST = 2**19  # pixels: of larger images nothing is kept
_Result = TypeVar("_Result")


def cache_by_size(function: Callable[[int, int], _Result]) -> Callable[[int, int], _Result]:
    """Decorate a function of height and width so that it keeps its last result.

    Callers must not change the result.

    Args:
        function: of height and width in pixels.

    Returns:
        A function of the same numbers.
    """
    kept = functools.lru_cache(maxsize=1)(function)

    @functools.wraps(function)
    def recall_or_compute(height, width):
        return (kept if height * width <= LARGEST else function)(height, width)

    return recall_or_compute


def cache_by_images(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Decorate a function of images so that it keeps its last result.

    Images count as the same where all their levels are. Callers must not change the result.

    Args:
        function: of one or more images of one shape.

    Returns:
        A function of the same images.
    """

    @functools.lru_cache(maxsize=1)
    def kept(*copies):
        return function(*(np.frombuffer(data, dtype).reshape(shape) for data, dtype, shape in copies))

    @functools.wraps(function)
    def recall_or_compute(*images):
        if images[0].size > LARGEST:
            return function(*images)
        return kept(*((image.tobytes(), image.dtype.str, image.shape) for image in images))

    return recall_or_compute


def cache_by_sources(
    function: Callable[..., list[_Result]],
) -> Callable[[Sequence[np.ndarray], np.ndarray], tuple[list[_Result], _Result]]:
    """Decorate a function of images so that it keeps what it last returned of the sources.

    Callers must not change the result.

    Args:
        function: of one or more images of one shape; returns a list, one entry an image.

    Returns:
        A function of the sources and the fused image. It returns the list of the sources and the entry of the
        fused image.
    """
    of_images = cache_by_images(function)

    @functools.wraps(function)
    def recall_or_compute(sources, fused):
        if fused.size > LARGEST:  # what the images share is computed once
            *of_sources, of_fused = function(*sources, fused)
        else:
            of_sources, (of_fused,) = of_images(*sources), function(fused)
        return list(of_sources), of_fused

    return recall_or_compute
