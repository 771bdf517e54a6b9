"""Focus stacks of scenes made of layers: what is near hides what is far, and spills over it out of focus."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import cv2
import numpy as np

from data_prep.recipes import GAMMA
from two_stream_fusion.base import lens, pixels

STEP = 0.5  # planes of focus: depths within a layer are rounded to it
FINER = 4  # hairs are drawn on a grid this many times as fine


class Layer(NamedTuple):
    """A photograph at a depth.

    photograph: H x W x 3 uint8 RGB. matte: H x W float32, how much of each pixel it covers, 0 to 1.
    depth: H x W float32; larger is nearer. The unit is the distance between planes of focus.
    """

    photograph: np.ndarray
    matte: np.ndarray
    depth: np.ndarray


def render(layers: Sequence[Layer], at: float = 0, blur: float = 0) -> np.ndarray:
    """Render a scene as a lens shows it that is focused at one depth.

    A point becomes a disc, as wide as its depth is far from `at` (thin lens). Light adds up, not
    gamma-encoded levels. What a layer hides of itself is continued from its nearest pixel.

    Args:
        layers: from the back to the front; the first covers the whole image.
        at: the depth in focus.
        blur: the radius of the disc in pixels for each plane of distance; 0 renders all in focus.

    Returns:
        H x W x 3 float32 RGB, levels of 0 to 255.
    """
    image = np.zeros(layers[0].photograph.shape, np.float32)
    for photograph, matte, depth in layers:
        light = (photograph / np.float32(255)) ** np.float32(GAMMA)
        slab = np.rint(depth / STEP).astype(int) if blur else np.zeros(matte.shape, int)
        solid = matte > 0.5
        for k in np.unique(slab[solid]):
            nearest = pixels.nearest_index(solid & (slab <= k))
            coverage = (slab.ravel()[nearest] == k) * matte
            colour = light.reshape(-1, 3)[nearest] * coverage[..., None]
            disc = lens.disc(np.dstack([colour, coverage]), blur * abs(k * STEP - at))
            image = disc[..., :3] + image * (1 - disc[..., 3:])
    return 255 * np.clip(image, 0, 1) ** np.float32(1 / GAMMA)


def visible_depth(layers: Sequence[Layer]) -> np.ndarray:
    """The depth of the nearest thing at each pixel, as `render` rounds it: H x W float32."""
    depth = layers[0].depth
    for layer in layers[1:]:
        depth = np.where(layer.matte > 0.5, layer.depth, depth)
    return (np.rint(depth / STEP) * STEP).astype(np.float32)


def draw_hairs(shape: tuple[int, int], count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw thin curved lines from the lower border upward.

    Args:
        shape: (height, width) in pixels.
        count: how many.
        rng: the generator to draw from.

    Returns:
        H x W float32, how much of each pixel they cover, 0 to 1. Lines are 0.75 to 2 pixels wide.
    """
    height, width = shape
    fine = np.zeros((FINER * height, FINER * width), np.uint8)
    t = np.linspace(0, 1, 60)[:, None]
    for _ in range(count):
        root = np.array([rng.uniform(0.05, 0.95) * width, height + 5.0])
        tip = np.array([root[0] + rng.normal(0, 0.25 * width), rng.uniform(0.05, 0.6) * height])
        bend = (root + tip) / 2 + rng.normal(0, 0.12 * width, 2)
        curve = (1 - t) ** 2 * root + 2 * t * (1 - t) * bend + t**2 * tip
        points = np.rint(FINER * curve).astype(np.int32)
        cv2.polylines(fine, [points], False, 255, int(rng.integers(3, 9)), cv2.LINE_AA)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) / np.float32(255)
