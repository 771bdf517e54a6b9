"""Patches of focus stacks whose ground truth is known: what the multi-stream nets train on."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Iterator, Mapping, NamedTuple, Sequence

import cv2
import numpy as np

from data_prep import layers, photographs, recipes
from data_prep.builder import DatasetSpec, PlannedPhotograph, load_with_rng
from data_prep.database import Datasets
from data_prep.layers import Layer
from data_prep.pair_patches import channels, patch_corners
from data_prep.regions import random_region
from two_stream_fusion.base import lens
from two_stream_fusion.base.pixels import round_half_even

PATCH = 64  # pixels, the side of a patch: a multiple of the nets' strides
FRAMES = 6  # streams of the nets in training
TEST_PATCHES = 1000  # validation patches
REGION = (192, 256)  # pixels: at most so much of a photograph is rendered, for speed alone
LARGEST_BLUR = (1.5, 16)  # pixels: the radius of blur at a distance of 1 in depth is log-uniform in it


class StackRecipe(NamedTuple):
    """How many scenes and stacks have each property.

    layers: shares of the scenes with one, two and three layers. stacks: shares of the stacks with fewer
    frames than FRAMES, planes at uneven distances, a soft photograph, noise, JPEG artefacts, motion and
    changing light. Each is drawn independently.
    """

    layers: Sequence[float]
    stacks: Mapping[str, float]


RECIPES = {
    "stack": StackRecipe(
        (0.3, 0.5, 0.2),
        {"fewer": 0.5, "uneven": 0.5, "soft": 0.4, "noisy": 0.5, "jpeg": 0.3, "moved": 0.2, "light": 0.2},
    ),
    "stack_fewer_faults": StackRecipe(
        (0.25, 0.5, 0.25),
        {"fewer": 0.5, "uneven": 0.5, "soft": 0.3, "noisy": 0.25, "jpeg": 0.15, "moved": 0.1, "light": 0.1},
    ),
}


@dataclasses.dataclass(frozen=True)
class StackPatches(DatasetSpec):
    """Datasets frame1 to frame6 and label: rows x 4 channels x 64 x 64 bytes.

    The channels are R, G, B and Rec.601 gray. The frames of a row are focused at different depths of a scene
    (`draw_scene`), in any order. label is the scene with all in focus. A stack of fewer frames has some of
    them twice.

    Attributes:
        recipe: a name of RECIPES.
        stacks: made of each training photograph, each with a scene of its own.
    """

    val_patches: int = TEST_PATCHES
    recipe: str = "stack"
    stacks: int = 1
    uses_masks: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        """The name of this kind of database."""
        return "stacks"

    def datasets(self) -> Datasets:
        """As DatasetSpec.datasets."""
        names = [*(f"frame{i + 1}" for i in range(FRAMES)), "label"]
        return dict.fromkeys(names, ((4, PATCH, PATCH), "uint8"))

    def count_rows(self, shape: tuple[int, int]) -> int:
        """As DatasetSpec.count_rows."""
        return len(patch_corners(*np.minimum(shape, REGION), PATCH, PATCH))

    def make_rows(self, photograph: PlannedPhotograph) -> Iterator[list[np.ndarray]]:
        """As DatasetSpec.make_rows."""
        image, rng = load_with_rng(photograph, self.seed)
        mask = random_region(*image.shape[:2], rng)
        if photograph.mask:
            mask = photographs.read_mask(photograph.mask, image.shape[:2])
        size = np.minimum(image.shape[:2], REGION)
        y, x = (int(rng.integers(n - side + 1)) for n, side in zip(image.shape[:2], size))
        crop = np.s_[y : y + size[0], x : x + size[1]]
        frames, truth = make_stack(image[crop], mask[crop], RECIPES[self.recipe], rng)
        planes = [channels(picture) for picture in (*frames, truth)]
        for y, x in patch_corners(*size, PATCH, PATCH):
            yield [plane[:, y : y + PATCH, x : x + PATCH] for plane in planes]

    def expand_pairs(self, train: list[PlannedPhotograph]) -> list[PlannedPhotograph]:
        """As DatasetSpec.expand_pairs: `stacks` draws of each photograph, draw by draw."""
        return [photograph._replace(draw=i) for i in range(self.stacks) for photograph in train]


def make_stack(
    photograph: np.ndarray, mask: np.ndarray, recipe: StackRecipe, rng: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray]:
    """Photograph a random scene at several planes of focus.

    - Two to six planes, in a share of the stacks at uneven distances.
    - Shares of the stacks have noise of a sigma log-uniform in 0.3..4.5 levels, JPEG artefacts, frames off by
      up to half a pixel, or light that changes by up to 2 %.
    - Half the photographs are recoloured; some are dark, use a part of the levels, or are soft.

    Args:
        photograph: the background, H x W x 3 uint8 RGB.
        mask: H x W bool, the outline of a thing before it.
        recipe: how many scenes and stacks have each property.
        rng: the generator to draw from.

    Returns:
        FRAMES images in random order and the scene with all in focus, each H x W x 3 uint8.
    """
    has = {name: rng.random() < share for name, share in recipe.stacks.items()}
    clean = recipes.reduce_range(recipes.recolour(photograph, rng), rng)
    if has["soft"]:
        clean = recipes.blur_gaussian(clean, rng.uniform(0.4, 1.3))
    scene = draw_scene(clean, mask, recipe.layers, rng)
    count = int(rng.integers(2, FRAMES)) if has["fewer"] else FRAMES
    share = np.linspace(0, 1, count)
    if has["uneven"]:
        share[1:-1] = np.sort(rng.random(count - 2))
    nearest, farthest = max(x.depth.max() for x in scene), min(x.depth.min() for x in scene)
    planes = farthest + share * (nearest - farthest)
    noise = 0.3 * 15 ** rng.random() if has["noisy"] else None
    quality = int(rng.integers(75, 99)) if has["jpeg"] else None
    frames = []
    for levels in render_stack(scene, planes, log_uniform(LARGEST_BLUR, rng)):
        gain = rng.uniform(0.98, 1.02) if has["light"] else 1
        motion = np.array([[1, 0, rng.uniform(-0.5, 0.5)], [0, 1, rng.uniform(-0.5, 0.5)]])
        image = round_half_even(levels * np.float32(gain), np.uint8)
        frames.append(recipes.capture(image, noise, quality, motion if has["moved"] else None, rng))
    frames += [frames[i] for i in rng.integers(count, size=FRAMES - count)]
    truth = round_half_even(layers.render(scene), np.uint8)
    return [frames[i] for i in rng.permutation(FRAMES)], truth


def draw_scene(
    photograph: np.ndarray, mask: np.ndarray, shares: Sequence[float], rng: np.random.Generator
) -> list[Layer]:
    """Draw a scene of one to three layers, whose depths are within 0 to 1.

    The background is level, a slope or hills. Up to two things stand before it: the masked shape, another, or
    thin hairs. They have the photograph's texture, mirrored, or in a fifth one of its
    colours, darker or brighter.

    Args:
        photograph: the background, H x W x 3 uint8 RGB.
        mask: H x W bool, the outline of a thing.
        shares: of the scenes with one, two and three layers; their sum is 1.
        rng: the generator to draw from.

    Returns:
        The layers, from the back to the front.
    """
    shape = mask.shape
    count = int(rng.choice(3, p=shares))
    depth_range = rng.uniform(0.3, 0.8) if count else 1
    scene = [Layer(photograph, np.ones(shape, np.float32), depth_range * random_depth(shape, rng))]
    for i, near in enumerate(np.sort(rng.uniform(depth_range, 1, count))):
        if rng.random() < 0.25:
            matte = layers.draw_hairs(shape, int(rng.integers(5, 40)), rng)
        else:
            outline = mask if i == 0 and mask.any() else random_region(*shape, rng)
            matte = cv2.GaussianBlur(outline.astype(np.float32), (0, 0), rng.uniform(0.4, 1))
        texture = photograph[:, ::-1] if i == 0 else photograph[::-1]
        if rng.random() < 0.2:
            texture = np.broadcast_to(
                texture.reshape(-1, 3)[rng.integers(texture[..., 0].size)], texture.shape
            )
        texture = np.clip(texture * np.float32(log_uniform((0.3, 1.7), rng)), 0, 255).astype(np.uint8)
        scene.append(Layer(texture, matte, np.full(shape, near, np.float32)))
    return scene


def random_depth(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw the depths of a level, a slope or hills.

    Args:
        shape: (height, width) in pixels.
        rng: the generator to draw from.

    Returns:
        H x W float32, 0 to 1.
    """
    kind = rng.integers(3)
    if kind == 0:
        return np.full(shape, rng.random(), np.float32)
    if kind == 1:
        y, x = np.ogrid[: shape[0], : shape[1]]
        angle = rng.uniform(0, 2 * np.pi)
        depth = (np.cos(angle) * y + np.sin(angle) * x).astype(np.float32)
    else:
        coarse = rng.uniform(size=rng.integers(3, 7, 2)).astype(np.float32)
        depth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return (depth - depth.min()) / max(np.ptp(depth), np.float32(1e-6))


def render_stack(scene: Sequence[Layer], planes: Sequence[float], blur: float) -> Iterator[np.ndarray]:
    """Render a scene as a lens shows it that is focused at several depths, each layer of smooth depth.

    `layers.render` is exact where depth changes fast; this takes a tenth of its time. Each layer is blurred
    by a few discs, and a pixel is interpolated between the two nearest to its own.

    Args:
        scene: from the back to the front; the first covers the whole image.
        planes: the depths in focus.
        blur: the radius of a point's disc in pixels for a distance of 1 from the depth in focus.

    Yields:
        H x W x 3 float32 RGB for each plane, levels of 0 to 255.
    """
    radii = blur * (np.arange(9) / 8) ** 1.5  # finer where the blur is small
    blurred = []
    for photograph, matte, _ in scene:
        light = (photograph / np.float32(255)) ** np.float32(recipes.GAMMA)
        coverage = matte[..., None]
        layer = np.dstack([light * coverage, coverage])
        blurred.append(np.stack([lens.disc(layer, radius) for radius in radii]))
    for at in planes:
        image = np.zeros(scene[0].photograph.shape, np.float32)
        for layer, discs in zip(scene, blurred):
            position = 8 * (np.abs(layer.depth - at) ** np.float32(2 / 3)).clip(0, 1)
            below = np.minimum(position.astype(int), 7)[None, ..., None]
            share = position[..., None] - below[0]
            near, far = (np.take_along_axis(discs, below + i, 0)[0] for i in (0, 1))
            seen = near + share * (far - near)
            image = seen[..., :3] + image * (1 - seen[..., 3:])
        yield 255 * np.clip(image, 0, 1) ** np.float32(1 / recipes.GAMMA)


def log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw a number whose logarithm is uniform.

    Args:
        limits: the least and the largest number.
        rng: the generator to draw from.

    Returns:
        The number.
    """
    return float(np.exp(rng.uniform(*np.log(limits))))
