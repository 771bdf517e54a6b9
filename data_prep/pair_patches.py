"""Patches of pairs that are focused on different parts of a photograph: what the fusion nets train on."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Iterator

import numpy as np

from data_prep import photographs, recipes
from data_prep.builder import DatasetSpec, PlannedPhotograph, load_with_rng
from data_prep.database import Datasets
from data_prep.regions import random_region

PATCH = 50  # pixels, the side of the nets' patches
BATCH, TEST_PATCHES = 16, 1600  # patches in a batch of the nets, and in a test of the solvers
# Rec.601 luma in thousandths. Whole numbers keep a database of a seed byte for byte the same on every
# machine; the floats of base/pixels.py round a few pixels to another level.
LUMA = (299, 587, 114)


@dataclasses.dataclass(frozen=True)
class PairPatches(DatasetSpec):
    """Datasets a, b and label: rows x 4 channels x P x P bytes.

    The channels are R, G, B and Rec.601 gray.

    Attributes:
        recipe: how pairs are blurred, of recipes.RECIPES.
        patch: P, the side of a patch in pixels.
        stride: distance between patches in pixels; 0 means their side, so that none overlap.
        pairs: pairs made of each training photograph, each with a region and blur of its own.
        recolour: whether half the training pairs get other colours.
        gray: whether photographs are made gray first.
    """

    val_patches: int = TEST_PATCHES
    recipe: str = "paper"
    patch: int = PATCH
    stride: int = 0
    pairs: int = 1
    recolour: bool = False
    gray: bool = False
    uses_masks: ClassVar[bool] = True

    def __post_init__(self):
        if not self.stride:
            object.__setattr__(self, "stride", self.patch)

    @property
    def kind(self) -> str:
        """The name of this kind of database."""
        return "pairs"

    def datasets(self) -> Datasets:
        """As DatasetSpec.datasets: two sources and their fusion, each with the planes R, G, B and gray."""
        return dict.fromkeys(("a", "b", "label"), ((4, self.patch, self.patch), "uint8"))

    def count_rows(self, shape: tuple[int, int]) -> int:
        """As DatasetSpec.count_rows."""
        return len(patch_corners(*shape, self.patch, self.stride))

    def make_rows(self, photograph: PlannedPhotograph) -> Iterator[list[np.ndarray]]:
        """As DatasetSpec.make_rows."""
        images = make_training_pair(photograph, self)
        for y, x in patch_corners(*photograph.shape, self.patch, self.stride):
            yield [image[:, y : y + self.patch, x : x + self.patch] for image in images]

    def expand_pairs(self, train: list[PlannedPhotograph]) -> list[PlannedPhotograph]:
        """As DatasetSpec.expand_pairs: `pairs` draws of each photograph, draw by draw."""
        return [p._replace(draw=i, recolour=self.recolour) for i in range(self.pairs) for p in train]


def make_training_pair(photograph: PlannedPhotograph, spec: PairPatches) -> list[np.ndarray]:
    """Make the pair of a photograph.

    Args:
        photograph: as planned; read again here.
        spec: the settings.

    Returns:
        [a, b, label], each 4 x H x W uint8. Which of the two has the object out of focus is drawn at random.

    Raises:
        ValueError: the file has changed since it was inspected.
    """
    image, rng = load_with_rng(photograph, spec.seed)
    region = random_region(*image.shape[:2], rng)  # drawn always: a mask changes nothing else
    if photograph.mask:
        region = photographs.read_mask(photograph.mask, image.shape[:2])
    if photograph.recolour:
        image = recipes.recolour(image, rng)
    if spec.gray:
        image = np.moveaxis(channels(image, gray=True)[:3], 0, 2)
    a, b, label = recipes.RECIPES[spec.recipe](image, region, rng)
    if rng.integers(2):
        a, b = b, a
    return [channels(x, spec.gray) for x in (a, b, label)]


def channels(rgb: np.ndarray, gray: bool = False) -> np.ndarray:
    """The four channels of the nets: R, G, B and Rec.601 gray, rounded half up.

    Args:
        rgb: H x W x 3 uint8.
        gray: whether all four are the gray one.

    Returns:
        4 x H x W uint8.
    """
    luma = ((rgb @ np.array(LUMA, np.uint32) + 500) // 1000).astype(np.uint8)
    return np.stack([luma] * 4 if gray else [*np.moveaxis(rgb, 2, 0), luma])


def patch_corners(height: int, width: int, size: int, stride: int) -> list[tuple[int, int]]:
    """The upper left corners (y, x) of all whole patches on a grid, row by row.

    Args:
        height, width: of the image, in pixels.
        size: side of a patch in pixels.
        stride: pixels from one patch to the next.

    Returns:
        The corners; none where the image is smaller than a patch.
    """
    return [(y, x) for y in range(0, height - size + 1, stride) for x in range(0, width - size + 1, stride)]
