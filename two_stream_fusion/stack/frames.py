"""Photographs to fuse as a sequence that reads each when it is asked for."""

from __future__ import annotations

import glob
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from two_stream_fusion.base.pixels import MIN_SIDE
from two_stream_fusion.io import images
from two_stream_fusion.stack import align

ENDINGS = (*images.WRITABLE, ".bmp", ".pgm", ".ppm", ".heic", ".heif", *images.RAW)


class Frames:
    """The images of `paths`, all pages of those that hold several, alike in size, depth and colour.

    A sequence of arrays as images.read gives them, of which none is kept, but for the two of a pair, which
    are asked for again and again; the first is read when this is made, for it sets what the others must be.
    As they are in their files, until `register` has been called.
    OSError and ValueError, which name the file, where one cannot be read or differs from the first.
    """

    def __init__(self, paths):
        self.entries = [(Path(path), page) for path in paths for page in range(images.pages(path))]
        if len(self.entries) < 2:
            raise ValueError(f"{self.entries[0][0]}: one image alone; two or more are needed")
        first = images.load(*self.entries[0])
        self.shape = self.in_file = first.pixels.shape
        if min(self.shape[:2]) < MIN_SIDE:
            size = describe(self.shape, first.pixels.dtype)
            raise ValueError(f"{self.name(0)} is {size}: the least are {MIN_SIDE}x{MIN_SIDE} pixels")
        self.dtype, self.exif, self.icc = first.pixels.dtype, first.exif, first.icc
        self.alpha = first.alpha  # H x W, of the images read so far, the least opaque; None: opaque
        self.matrices = self.window = self.like = None
        self._pair = {self.entries[0]: first} if len(self) == 2 else None

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, i):
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        pixels, alpha = self.with_alpha(i % len(self))
        if alpha is not None:
            self.alpha = alpha if self.alpha is None else np.minimum(self.alpha, alpha)
        return pixels

    def with_alpha(self, i):
        """Image i (0..len - 1) and its own alpha, H x W, or None where opaque. Errors as of the class."""
        found = (self._pair or {}).get(self.entries[i]) or images.load(*self.entries[i])
        if self._pair is not None:
            self._pair[self.entries[i]] = found
        if found.pixels.shape != self.in_file or found.pixels.dtype != self.dtype:
            raise ValueError(
                f"{self.name(i)} is {describe(found.pixels.shape, found.pixels.dtype)}, {self.name(0)} is "
                f"{describe(self.in_file, self.dtype)}: images to fuse must agree in size, depth and colour"
            )
        pixels, alpha = found.pixels, found.alpha
        if self.matrices is not None:
            pixels = align.warp(pixels, self.matrices[i])[self.window]
            alpha = None if alpha is None else align.warp(alpha, self.matrices[i])[self.window]
            if self.like is not None:
                pixels = align.match_exposure(self.like, pixels)
            pixels = np.ascontiguousarray(pixels)
        return pixels, alpha

    def reorder(self, places):
        """From here on have the images in another order: those at `places`, each once."""
        self.entries = [self.entries[i] for i in places]

    def register(self, reference, model="affine", *, crop=True, exposure=True, progress=iter):
        """From here on have all images as image `reference` sees the scene, and as bright.

        model: as of align.estimate. crop: to what all of them show; else what an image does not show is
        mirrored at its border. exposure: match brightness and white balance. progress: wraps the list of
        images to align. ValueError, which names the file, for an image that cannot be aligned.
        """
        try:
            self.matrices = align.chain(self, reference, model, progress)
        except align.AlignmentError as error:
            raise ValueError(f"{self.name(error.frame)}: {error}") from None
        everything = (slice(0, self.shape[0]), slice(0, self.shape[1]))
        self.window = align.common(self.matrices, self.shape) if crop else everything
        self.shape = (*(side.stop - side.start for side in self.window), *self.shape[2:])
        self.alpha = None
        self.like = self[reference] if exposure else None

    def __iter__(self):
        """In their order; the next is read while the one before is worked on."""
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self.__getitem__, 0)
            for i in range(1, len(self) + 1):
                found = coming.result()
                coming = reader.submit(self.__getitem__, i) if i < len(self) else None
                yield found

    def name(self, i) -> str:
        """The file of an image, and its page where the file holds several."""
        path, page = self.entries[i]
        return f"{path}, page {page}" if (path, 1) in self.entries else str(path)


def describe(shape, dtype) -> str:
    """An image's size, depth and kind in words."""
    kind = "gray" if len(shape) == 2 else "colour"
    return f"{shape[1]}x{shape[0]} {8 * np.dtype(dtype).itemsize} bit {kind}"


def find(words) -> list[Path]:
    """The files that are meant by names, patterns (*.tif), folders and lists (@list.txt, a name a line).

    Numbers in the names found in a folder or by a pattern count as such: 2.tif comes before 10.tif. Lines of
    a list are relative to it. ValueError for a pattern, folder or list without an image.
    """
    found = []
    for word in map(str, words):
        if word.startswith("@"):
            try:
                text = Path(word[1:]).read_text(encoding="utf-8-sig")
            except UnicodeDecodeError:
                raise ValueError(f"{word[1:]}: not a list of names") from None
            here = Path(word[1:]).parent
            lines = [line.strip() for line in text.splitlines()]
            part = [here / line for line in lines if line and not line.startswith("#")]
        elif os.path.isdir(word):
            part = inside(word)
        elif glob.has_magic(word) and not os.path.exists(word):
            part = sorted(map(Path, glob.glob(word)), key=in_order)
        else:
            part = [Path(word)]
        if not part:
            raise ValueError(f"{word}: no images there")
        found += part
    return found


def inside(folder) -> list[Path]:
    """The image files of a folder, in order; hidden ones, such as macOS's ._NAME.jpg, left out."""
    files = (p for p in Path(folder).iterdir() if not p.name.startswith(".") and p.is_file())
    return sorted((p for p in files if p.suffix.lower() in ENDINGS), key=in_order)


def in_order(path):
    """What to sort file names by, so that their numbers are in order."""
    return [(int(x), "") if x.isdigit() else (-1, x) for x in re.split(r"(\d+)", str(path)) if x]
