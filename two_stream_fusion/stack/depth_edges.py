"""The network's image of a whole stack, near depth edges.

Near a depth edge no frame is right. Frames focused on the background have the blurred foreground spilled over
it. Frames focused on the foreground have a blurred background. The network reconstructs what no frame has, so
its image is taken there: neighbours in focus are fused two by two until one image is left.

Not from the paper.
"""

from __future__ import annotations

import math
from typing import Callable, Iterable

import cv2
import numpy as np

from two_stream_fusion.base.pixels import depth_scale, remove_small_regions, round_half_up
from two_stream_fusion.base.tiles import map_tiles
from two_stream_fusion.stack.details import gaussian_blur
from two_stream_fusion.stack.noise import measure_noise

STEP_SHARE = 0.25  # of the frames: depth edges are where neighbours come from frames so far apart
MIN_STEP = 3  # frames: a slope has neighbours one apart, and two where a frame was skipped
MIN_AREA = 0.0005  # a region of a smaller share of the image has no depth edge: its choice is uncertain
RADIUS = 9  # pixels: how far from a depth edge the network's image is taken
SOFTENING = 1  # pixels: the Gaussian over the border of where it is taken
WINDOW = 5  # pixels: side of the mean over squared differences
RANGE_WINDOW = 5  # pixels: side of the square whose range of values bounds the network's image
DIFFERENCE = 16  # levels of 255, squared: images that differ by less, beyond their noise, count as alike


def edge_weight(choice: np.ndarray, count: int) -> np.ndarray | None:
    """How much the network's image counts at each pixel.

    Args:
        choice: H x W integers, indices of frames in the order of their focus.
        count: the number of frames in the stack.

    Returns:
        H x W float32, 1 within RADIUS pixels of depth edges, 0 farther away, with a soft border; None where
        there are no depth edges.
    """
    step = max(MIN_STEP, math.ceil(STEP_SHARE * count))
    index = remove_small_regions(choice, MIN_AREA * choice.size).astype(np.int32)
    edges = np.zeros(choice.shape, bool)
    edges[:, 1:] |= np.abs(np.diff(index, axis=1)) >= step
    edges[1:] |= np.abs(np.diff(index, axis=0)) >= step
    if not edges.any():
        return None
    distance = cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, 5)
    return gaussian_blur((distance <= RADIUS).astype(np.float32), SOFTENING)


def fuse_tree(
    fuse: Callable[[np.ndarray, np.ndarray], np.ndarray], images: Iterable[np.ndarray]
) -> np.ndarray:
    """Fuse neighbours two by two until one image is left.

    Args:
        fuse: fuses two images.
        images: one or more. Each is read once; of n of them, log2(n) + 2 are held at a time.

    Returns:
        What `fuse` returned last.
    """
    halves: list[tuple[int, np.ndarray]] = []  # (height in the tree, image), the higher ones first
    for image in images:
        height = 0
        while halves and halves[-1][0] == height:
            image, height = fuse(halves.pop()[1], image), height + 1
        halves.append((height, image))
    _, fused = halves.pop()
    while halves:
        fused = fuse(halves.pop()[1], fused)
    return fused


def blend_network(
    image: np.ndarray, network_image: np.ndarray, frames: Iterable[np.ndarray], weight: np.ndarray
) -> np.ndarray:
    """Take the network's image near depth edges, the more the more it differs from the frames there.

    Args:
        image: H x W or H x W x 3, uint8 or uint16: the frames as they were chosen.
        network_image: an image like it, the network's for the whole stack. It counts only where `weight` is
            above 0.
        frames: images like it. Each is read once, and one is held at a time.
        weight: H x W float32, of `edge_weight`.

    Returns:
        An image like `image`. Where the network's image is taken, no value lies outside of those that the
        frames have within RANGE_WINDOW.
    """
    low, high = image.copy(), image.copy()
    for frame in frames:
        cv2.min(low, frame, dst=low)
        cv2.max(high, frame, dst=high)
    window = np.ones((RANGE_WINDOW,) * 2, np.uint8)
    network_image = cv2.min(cv2.max(network_image, cv2.erode(low, window)), cv2.dilate(high, window))
    scale = np.float32(depth_scale(image))
    alike = np.float32(DIFFERENCE + 2 * measure_noise(image).sigma ** 2)

    def mix(image, network_image, weight):
        change = network_image.astype(np.float32) - image
        squared = (change / scale) ** 2
        squared = squared.mean(axis=2) if squared.ndim == 3 else squared
        squared = cv2.blur(squared, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)
        weight = weight * squared / (squared + alike)
        change *= weight[..., None] if change.ndim == 3 else weight
        return round_half_up(image + change, image.dtype)

    return map_tiles(mix, (image, network_image, weight), WINDOW // 2)
