"""Patches, sharp and blurred, that the comparison method CNN is trained on (methods/cnn.py).

Liu et al. 2017, doi:10.1016/j.inffus.2016.12.001.
"""

from __future__ import annotations

import dataclasses
from typing import Iterator

import cv2
import numpy as np

from data_prep.builder import DatasetSpec, PlannedPhotograph, load_with_rng
from data_prep.database import Datasets
from data_prep.pair_patches import channels

PATCH = 16
BLURS = 5  # times that a photograph is blurred over, each time by a Gaussian of SIGMA in a window of WINDOW
SIGMA, WINDOW = 2, (7, 7)
MIN_VARIANCE = 25  # of a sharp patch on 0..255: flatter ones look alike in and out of focus
TEST_PATCHES = 6400  # in a test of the solver


@dataclasses.dataclass(frozen=True)
class CnnPatches(DatasetSpec):
    """Datasets a and b, rows x 1 x 16 x 16 bytes, one of them sharp; and label, rows: 1 where a is, else 0.

    Attributes:
        samples: rows of a photograph.
    """

    val_patches: int = TEST_PATCHES
    samples: int = 400

    @property
    def kind(self) -> str:
        """The name of this kind of database."""
        return "cnn"

    def datasets(self) -> Datasets:
        """As DatasetSpec.datasets: a pair of gray patches, and 1 where a is the sharp one."""
        return {"a": ((1, PATCH, PATCH), "uint8"), "b": ((1, PATCH, PATCH), "uint8"), "label": ((), "uint8")}

    def count_rows(self, shape: tuple[int, int]) -> int:
        """As DatasetSpec.count_rows."""
        return self.samples if min(shape) >= PATCH else 0

    def make_rows(self, photograph: PlannedPhotograph) -> Iterator[list[np.ndarray]]:
        """As DatasetSpec.make_rows."""
        image, rng = load_with_rng(photograph, self.seed)
        sharp = channels(image)[3]
        levels = [sharp]
        for _ in range(BLURS):
            levels.append(cv2.GaussianBlur(levels[-1], WINDOW, SIGMA, borderType=cv2.BORDER_REFLECT_101))
        variance = patch_variance(sharp)
        textured = np.argwhere(variance > MIN_VARIANCE)
        if not len(textured):  # a photograph without texture: its rows teach little, but the count stands
            textured = np.argwhere(np.ones_like(variance, bool))
        for i in range(self.samples):
            y, x = textured[rng.integers(len(textured))]
            blurred = levels[1 + rng.integers(BLURS)]
            pair = [level[None, y : y + PATCH, x : x + PATCH] for level in (sharp, blurred)]
            label = i % 2
            yield [*(pair if label else pair[::-1]), np.array(label, np.uint8)]


def patch_variance(plane: np.ndarray) -> np.ndarray:
    """The variance of every whole patch of an H x W plane, by its upper left corner: float64."""
    plane = plane.astype(np.float64)
    mean, square = (
        cv2.boxFilter(p, -1, (PATCH, PATCH), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
        for p in (plane, plane * plane)
    )
    height, width = plane.shape
    return (square - mean * mean)[: height - PATCH + 1, : width - PATCH + 1]
