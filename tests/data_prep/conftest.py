"""Photographs to build databases from, and how a database is read again."""

import dataclasses
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image

from data_prep import builder, photographs
from data_prep.pair_patches import PairPatches


@pytest.fixture
def folder(tmp_path):
    """Twelve photographs of noise, 56x40 (6 patches of 16), each in grays of its own; 02 has a mask."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(20 * i, 20 * i + 20, (40, 56, 3), dtype=np.uint8)
        # A JPEG only where the mask's rule asks for one: PNG keeps the range exactly.
        Image.fromarray(pixels).save(folder / ("02.jpg" if i == 2 else f"{i:02d}.png"), quality=95)
    mask = np.zeros((40, 56), np.uint8)
    mask[16:, 16:] = 255
    Image.fromarray(mask).save(folder / "02.png")
    return folder


@pytest.fixture
def smooth_photographs(tmp_path, monkeypatch):
    """Ten photographs, 128x112: smooth noise; one flat, and one smaller than any patch."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(10):
        noise = cv2.GaussianBlur(rng.integers(0, 256, (112, 128, 3), np.uint8), (0, 0), 1)
        Image.fromarray(noise if i else np.full_like(noise, 90)).save(folder / f"{i:02d}.png")
    Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(folder / "small.png")
    return folder


@pytest.fixture
def rows():
    """A function: the datasets of a split, as its list names the files."""

    def read(out, split="train"):
        parts = []
        for name in Path(out, f"{split}.txt").read_text().split():
            with h5py.File(name, "r") as file:
                parts.append({key: file[key][()] for key in file})
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    return read


@pytest.fixture
def contents():
    """A function: every file below a folder, as bytes."""

    def read(out):
        files = [path for path in sorted(Path(out).rglob("*")) if path.is_file()]
        return {str(path.relative_to(out)): path.read_bytes() for path in files}

    return read


@pytest.fixture
def make():
    """A function that builds databases of patches of 16 from the photographs in a folder; its manifest."""

    def build(folder, out, workers=2, warn=None, **changes):
        spec = dataclasses.replace(PairPatches(patch=16, val_patches=0), **changes)
        return builder.build(photographs.find(folder), folder, out, spec, workers, warn)

    return build
