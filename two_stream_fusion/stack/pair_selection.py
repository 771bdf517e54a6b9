"""The decision from the reconstruction: which photograph the network's output agrees with, at each pixel.

Not from the paper. A net that reconstructs every pixel loses a little of each; the photographs hold them
whole. Each pixel comes from the photograph whose fine detail is closer to the network's output. Differences
in brightness say little of focus, so they do not count. A Potts prior penalises the length of boundaries
(stack/potts.py), so ambiguous pixels follow their neighbours. Regions that are still very small are given to
their surroundings.

Seams are softened by less than a pixel. They are wide only where a line would show: where both photographs
have nothing but gradual shades, such as a background out of focus, and one is brighter than the other.
Elsewhere each pixel of the result is a photograph's own.
"""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable, gray, remove_small_regions
from two_stream_fusion.base.tiles import map_tiles
from two_stream_fusion.stack import potts
from two_stream_fusion.stack.details import detail_distance, gaussian_blur, gaussian_radius

SLOPE = 16  # gray levels of 255 a pixel: shades are gradual where both photographs stay under half of it
STEP = 1  # gray levels of 255: photographs that differ by less join without a line; by twice that, with one


def select_pixels(
    a: np.ndarray,
    b: np.ndarray,
    fused: np.ndarray,
    *,
    boundary_cost: float = 12,
    detail_sigma: float = 2,
    min_area: float = 0.0003,
    seam_sigma: float = 0.4,
    wide_sigma: float = 6,
) -> tuple[np.ndarray, np.ndarray]:
    """Assemble two photographs as a fused image of them says.

    Args:
        a, b, fused: H x W or H x W x 3, uint8 or uint16, alike; `fused` is a network's output for a and b.
        boundary_cost: cost of a pixel of boundary, in gray levels of 255 of detail distance; 0 decides each
            pixel by itself.
        detail_sigma: standard deviation in pixels of the Gaussian that is subtracted from differences; 0 for
            none.
        min_area: a region of a smaller share of the image is given to its surroundings, 0 to below 1.
        seam_sigma: standard deviation in pixels of the Gaussian over boundaries where they do not show; 0 for
            hard ones.
        wide_sigma: the same where a line would show.

    Returns:
        (refined, from_b): an image like the others, and H x W bool, where b is taken rather than a. Pixels
        that nothing speaks for come from a.

    Raises:
        ValueError: the images differ in shape or dtype, or an option is out of range.
    """
    check_fusable(a, b, fused)
    options = (boundary_cost, detail_sigma, seam_sigma, wide_sigma)
    if not (0 <= min_area < 1 and all(option >= 0 for option in options)):
        raise ValueError(
            f"boundary_cost={boundary_cost}, detail_sigma={detail_sigma}, min_area={min_area},"
            f" seam_sigma={seam_sigma}, wide_sigma={wide_sigma}: min_area is a share from 0 to below 1, the"
            " others are 0 or more"
        )

    def b_is_farther(a, b, fused):
        return detail_distance(b, fused, detail_sigma) - detail_distance(a, fused, detail_sigma)

    cost = map_tiles(b_is_farther, (a, b, fused), gaussian_radius(detail_sigma))
    from_b = potts.binary_potts(cost / np.float32(boundary_cost)) if boundary_cost else cost < 0
    from_b = remove_small_regions(from_b, min_area * from_b.size)
    weight = _soften_seams(from_b.astype(np.float32), a, b, seam_sigma, wide_sigma)
    return map_tiles(_weighted_mean, (a, b, weight)), from_b


def _weighted_mean(a, b, weight):
    """The mean of two images, the second with a weight of 0 to 1 (H x W), rounded to their type."""
    if a.ndim == 3:
        weight = weight[..., None]
    return np.floor(a * (1 - weight) + b * weight + np.float32(0.5)).astype(a.dtype)


def _soften_seams(weight, a, b, seam_sigma, wide_sigma):
    """A weight (H x W float32) blurred by `seam_sigma`, or by `wide_sigma` where a line would show.

    A line shows where both photographs have only gradual shades, within twice `wide_sigma`, and differ.
    """
    narrow = gaussian_blur(weight, seam_sigma)
    if not wide_sigma:
        return narrow
    levels = [map_tiles(lambda part: gray(part).astype(np.float32), (image,)) for image in (a, b)]
    steepest = cv2.max(*map(_slope, levels))
    steepest = cv2.dilate(steepest, np.ones((int(4 * wide_sigma) // 2 * 2 + 1,) * 2, np.uint8))
    gradual = gaussian_blur(np.clip(1.5 - steepest / SLOPE, 0, 1), wide_sigma)
    step = np.abs(gaussian_blur(levels[0], wide_sigma) - gaussian_blur(levels[1], wide_sigma))
    return narrow + gradual * np.clip(step / STEP - 1, 0, 1) * (gaussian_blur(weight, wide_sigma) - narrow)


def _slope(levels):
    """H x W float32: how steep gray levels are, in levels a pixel, after noise is smoothed away."""
    levels = gaussian_blur(levels, 1)
    return cv2.magnitude(*(cv2.Sobel(levels, -1, x, 1 - x, scale=1 / 8) for x in (0, 1)))
