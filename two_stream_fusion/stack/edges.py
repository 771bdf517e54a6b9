"""Depth edges of a focus stack: where the network's image is taken.

Ours, beyond the paper. Near the outline of something in front no frame is right. Frames focused on the
background have the blurred foreground spilled over it. Frames focused on the foreground have a blurred
background. The pixels on the outline are a mixture that no frame has. The network was trained on such places.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from two_stream_fusion.base.pixels import depth_scale, round_half_up
from two_stream_fusion.base.tiles import map_tiles
from two_stream_fusion.stack.details import gaussian_blur, noise_variance

STEP_SHARE = 0.25  # of the frames: depth edges are where neighbours come from frames so far apart
MIN_STEP = 2  # frames: neighbours in focus differ by one on any slope
RADIUS = 9  # pixels: how far from a depth edge the network's image is taken
WINDOW = 5  # pixels: side of the mean over squared differences
DIFFERENCE = 16  # levels of 255, squared: images that differ by less, beyond their noise, count as alike


def restore_edges(blended: np.ndarray, fused: np.ndarray, choice: np.ndarray, count: int) -> np.ndarray:
    """Take the network's image near depth edges, the more the more it differs from the frames there.

    Args:
        blended: H x W or H x W x 3, uint8 or uint16: the frames as `choice` says.
        fused: an image like it, the network's for all frames.
        choice: H x W integers, places in the stack.
        count: the number of frames in the stack.

    Returns:
        An image like `blended`; `blended` itself where there are no depth edges.
    """
    weight = edge_weight(choice, max(MIN_STEP, math.ceil(STEP_SHARE * count)))
    if weight is None:
        return blended
    scale = np.float32(depth_scale(blended))
    alike = np.float32(DIFFERENCE + 2 * noise_variance(blended))

    def mix(blended, fused, weight):
        change = fused.astype(np.float32) - blended
        squared = (change / scale) ** 2
        squared = squared.mean(axis=2) if squared.ndim == 3 else squared
        squared = cv2.blur(squared, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)
        weight = weight * squared / (squared + alike)
        change *= weight[..., None] if change.ndim == 3 else weight
        return round_half_up(blended + change, blended.dtype)

    return map_tiles(mix, (blended, fused, weight), WINDOW // 2)


def edge_weight(choice: np.ndarray, step: int) -> np.ndarray | None:
    """How much the network's image counts at each pixel.

    Args:
        choice: H x W integers, places in the stack.
        step: the number of frames between neighbouring pixels that makes a depth edge.

    Returns:
        H x W float32, 1 within RADIUS pixels of depth edges, 0 farther away, with a soft border; None where
        there are no depth edges.
    """
    edges = np.zeros(choice.shape, bool)
    place = choice.astype(np.int32)
    edges[:, 1:] |= np.abs(np.diff(place, axis=1)) >= step
    edges[1:] |= np.abs(np.diff(place, axis=0)) >= step
    if not edges.any():
        return None
    distance = cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, 5)
    return gaussian_blur((distance <= RADIUS).astype(np.float32), 1)
