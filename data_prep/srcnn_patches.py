"""Crops of wavelet planes that the comparison method SRCNN is trained on (methods/srcnn.py)."""

from __future__ import annotations

import dataclasses
from typing import Iterator

import cv2
import numpy as np

from data_prep.builder import DatasetSpec, PlannedPhotograph, load_with_rng
from data_prep.database import Datasets
from data_prep.pair_patches import channels
from two_stream_fusion.methods import uwt
from two_stream_fusion.methods.srcnn import LEVELS, PLANE_SCALES, SCALE, interpolate

PATCH = 48
MARGIN = 24  # pixels of the photograph's border left out: there the transform wraps around
PLANES = ("approximation", "detail")


@dataclasses.dataclass(frozen=True)
class SrcnnPatches(DatasetSpec):
    """Datasets data and label: rows x 1 x 48 x 48 float32, divided as the method divides them.

    A photograph, gray, is halved by averaging 2x2 pixels and enlarged again by bicubic interpolation. data is
    a crop of one plane of its transform (methods/uwt.py, at the spacing that the method has at the larger
    size), label the same of the photograph itself.

    Attributes:
        planes: of which planes, "approximation" or "detail": there is a net for each.
        samples: rows of a photograph.
    """

    planes: str = "approximation"
    samples: int = 8

    @property
    def kind(self) -> str:
        """The name of this kind of database; there is one for each choice of planes."""
        return f"srcnn_{self.planes}"

    def datasets(self) -> Datasets:
        """As DatasetSpec.datasets: a wavelet plane of the enlarged image and that of the sharp one."""
        return dict.fromkeys(("data", "label"), ((1, PATCH, PATCH), "float32"))

    def count_rows(self, shape: tuple[int, int]) -> int:
        """As DatasetSpec.count_rows."""
        return self.samples if min(shape) >= PATCH + 2 * MARGIN + 8 else 0

    def make_rows(self, photograph: PlannedPhotograph) -> Iterator[list[np.ndarray]]:
        """As DatasetSpec.make_rows."""
        image, rng = load_with_rng(photograph, self.seed)
        step = SCALE * 2**LEVELS
        height, width = (n // step * step for n in image.shape[:2])
        sharp = channels(image)[3, :height, :width].astype(np.float32)
        half = cv2.resize(sharp, (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA)
        data, label = (uwt.transform(x, LEVELS, spacing=SCALE) for x in (interpolate(half), sharp))
        for _ in range(self.samples):
            plane = 0 if self.planes == "approximation" else rng.integers(1, len(label))
            y, x = (rng.integers(MARGIN, n - MARGIN - PATCH + 1) for n in (height, width))
            crops = (planes[plane, y : y + PATCH, x : x + PATCH] for planes in (data, label))
            yield [(crop[None] / PLANE_SCALES[self.planes]).astype(np.float32) for crop in crops]
