"""A way to fuse a focus stack: frames by their agreement with an image of the whole stack. Not the default.

The network fuses the stack two by two. Each pixel comes from the frame that is closest to that image in fine
detail. A Potts prior penalises the length of boundaries. Details as small as the frames' noise hardly count.

Near depth edges no frame is right. Frames focused on the background have the blurred foreground spilled over
it. Frames focused on the foreground have a blurred background. There the network's image is taken.
"""

from __future__ import annotations

import math
from typing import Iterable

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable, depth_scale, remove_small_regions, round_half_up
from two_stream_fusion.base.tiles import map_tiles
from two_stream_fusion.stack import potts
from two_stream_fusion.stack.details import detail_distance, gaussian_blur, gaussian_radius

DETAIL_SIGMA = 4  # pixels: the Gaussian that is subtracted from differences
WINDOW = 3  # pixels: side of the mean over squared differences
FLOOR = 2  # levels of 255, squared: what counts as noise in frames without any
BOUNDARY_COST = 1  # of a pixel of boundary; a pixel that leaves no doubt is worth up to 1
MIN_AREA = 0.00005  # a region of a smaller share of the image is given to its surroundings
STEP_SHARE = 0.25  # of the frames: depth edges are where neighbours come from frames so far apart
MIN_STEP = 2  # frames: neighbours in focus differ by one on any slope
RADIUS = 9  # pixels: how far from a depth edge the network's image is taken
EDGE_WINDOW = 5  # pixels: side of the mean over squared differences
DIFFERENCE = 16  # levels of 255, squared: images that differ by less, beyond their noise, count as alike
SECOND = np.array([1, -2, 1], np.float32)  # second differences; in both directions, noise of 1 gives 6
CELL = 8  # pixels a side, of the squares in which noise is measured
PLAIN_SHARE = 0.1  # of the squares are plain


def select_frames(frames: Iterable[np.ndarray], fused: np.ndarray) -> np.ndarray:
    """Find the sharpest frame at each pixel.

    Args:
        frames: in the order of their focus (two_stream_fusion/stack/order.py), H x W or H x W x 3, uint8 or
            uint16, alike. Each is read once, and one is held at a time.
        fused: an image like them, the network's for all of them.

    Returns:
        H x W uint16, indices of `frames`; the first of frames that are equal.

    Raises:
        ValueError: the images differ in shape or dtype.
    """
    choice = np.zeros(fused.shape[:2], np.uint16)
    nearest = None
    for i, frame in enumerate(frames):
        check_fusable(fused, frame)
        distance = map_tiles(_squared_distance, (frame, fused), gaussian_radius(DETAIL_SIGMA) + WINDOW // 2)
        if nearest is None:
            nearest = distance
            continue
        wins = _wins(nearest, distance, np.float32(FLOOR + noise_variance(frame)))
        is_closer = potts.binary_potts(-wins / np.float32(BOUNDARY_COST))
        choice[is_closer], nearest[is_closer] = i, distance[is_closer]
    return remove_small_regions(choice, MIN_AREA * choice.size)


def _wins(nearest, distance, noise):
    """H x W float32: how much closer a frame is than the nearest so far, -1 to 1; near 0 within noise."""
    total = nearest + distance
    return (nearest - distance) * total**2 / (total + noise) ** 3


def _squared_distance(image, fused):
    """H x W float32: squared difference of details in gray levels of 255, mean over channels and WINDOW."""
    squared = detail_distance(image, fused, DETAIL_SIGMA, np.square)
    return cv2.blur(squared, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)


def restore_edges(blended: np.ndarray, fused: np.ndarray, choice: np.ndarray, count: int) -> np.ndarray:
    """Take the network's image near depth edges, the more the more it differs from the frames there.

    Args:
        blended: H x W or H x W x 3, uint8 or uint16: the frames as `choice` says.
        fused: an image like it, the network's for all frames.
        choice: H x W integers, indices of frames.
        count: the number of frames in the stack.

    Returns:
        An image like `blended`; `blended` itself where there are no depth edges.
    """
    weight = edge_weight(choice, max(MIN_STEP, math.ceil(STEP_SHARE * count)))
    if weight is None:
        return blended
    scale = np.float32(depth_scale(blended))
    tolerance = np.float32(DIFFERENCE + 2 * noise_variance(blended))

    def mix(blended, fused, weight):
        change = fused.astype(np.float32) - blended
        squared = (change / scale) ** 2
        squared = squared.mean(axis=2) if squared.ndim == 3 else squared
        squared = cv2.blur(squared, (EDGE_WINDOW, EDGE_WINDOW), borderType=cv2.BORDER_REFLECT_101)
        weight = weight * squared / (squared + tolerance)
        change *= weight[..., None] if change.ndim == 3 else weight
        return round_half_up(blended + change, blended.dtype)

    return map_tiles(mix, (blended, fused, weight), EDGE_WINDOW // 2)


def edge_weight(choice: np.ndarray, step: int) -> np.ndarray | None:
    """How much the network's image counts at each pixel.

    Args:
        choice: H x W integers, indices of frames.
        step: the number of frames between neighbouring pixels that makes a depth edge.

    Returns:
        H x W float32, 1 within RADIUS pixels of depth edges, 0 farther away, with a soft border; None where
        there are no depth edges.
    """
    edges = np.zeros(choice.shape, bool)
    index = choice.astype(np.int32)
    edges[:, 1:] |= np.abs(np.diff(index, axis=1)) >= step
    edges[1:] |= np.abs(np.diff(index, axis=0)) >= step
    if not edges.any():
        return None
    distance = cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, 5)
    return gaussian_blur((distance <= RADIUS).astype(np.float32), 1)


def noise_variance(image: np.ndarray) -> float:
    """Estimate the variance of an image's noise.

    Second differences in both directions hold noise and hardly any of the scene. They are measured where they
    are weakest, in the plainest tenth of the image. So the estimate is somewhat below the variance.
    J. Immerkaer, "Fast Noise Variance Estimation", Computer Vision and Image Understanding 64(2), 1996,
    doi:10.1006/cviu.1996.0060.

    Args:
        image: H x W or H x W x 3, uint8 or uint16.

    Returns:
        The variance in gray levels of 255, squared; the mean of the channels.
    """
    variances = []
    for plane in cv2.split(image):
        residual = cv2.sepFilter2D(plane, cv2.CV_32F, SECOND, SECOND, borderType=cv2.BORDER_REFLECT_101)
        residual *= np.float32(1 / (6 * depth_scale(image)))
        height, width = (max(1, side // CELL) for side in plane.shape)
        cells = cv2.resize(np.square(residual, out=residual), (width, height), interpolation=cv2.INTER_AREA)
        variances.append(np.quantile(cells, PLAIN_SHARE))
    return float(np.mean(variances))
