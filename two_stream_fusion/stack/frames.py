"""Photographs to fuse, as a sequence that reads each one when it is asked for."""

from __future__ import annotations

import copy
import glob
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterable, Iterator, NamedTuple, Sequence, Union

import cv2
import numpy as np

from two_stream_fusion.base.files import read_text
from two_stream_fusion.base.pixels import MIN_SIDE, check_fusable, extend_visible
from two_stream_fusion.io import images
from two_stream_fusion.stack import align
from two_stream_fusion.stack.exposure import apply_gains, exposure_gains
from two_stream_fusion.stack.levels import IDENTITY, LevelMap, find_level_map, is_full_range
from two_stream_fusion.stack.neighbour_fill import NeighbourFilled

ENDINGS = (*images.WRITABLE, ".bmp", ".pgm", ".ppm", ".heic", ".heif", *images.RAW)
KEPT_BYTES = 64 * 2**20  # of a stack whose images are kept in memory
ALPHA_ROUNDS = 2  # more estimates of the motion of frames with alpha, each with hidden pixels filled better

Source = Union[str, Path, np.ndarray]


class Entry(NamedTuple):
    """One image of a sequence: a page of a file, or an array.

    position: its index among the sources, pages counted. name: for messages.
    channel, time, value_range: as of images.read.
    """

    position: int
    name: str
    path: Path
    page: int
    pixels: np.ndarray | None = None
    channel: int | None = None
    time: int | None = None
    value_range: tuple[float, float] | None = None

    def load(self) -> images.Photograph:
        """Read the image. Pixels under alpha 0 get the colour of the nearest visible one."""
        if self.pixels is not None:
            return images.Photograph(self.pixels)
        choice = {"channel": self.channel, "time": self.time, "value_range": self.value_range}
        photograph = images.load(self.path, self.page, **{k: v for k, v in choice.items() if v is not None})
        return photograph._replace(pixels=extend_visible(photograph.pixels, photograph.alpha))


class Frames:
    """Images alike in size, depth and colour: a sequence of arrays, as images.read gives them.

    Files are read when their image is asked for, and none is kept. The exceptions are pairs, and stacks that
    take no more than KEPT_BYTES: their images are asked for again and again. The first image is read at once,
    for it sets what the others must be. `reordered`, `registered` and `spread` give new sequences and leave
    this one as it is.

    Levels may use a part of their type, as 12 bits in 16 or a dark photograph do. What is measured on images,
    and every method, is made for levels that use all of it. So the work is done on `spread` images, and
    `restore` gives its result the levels of the sources (see stack/levels.py).

    Args:
        sources: files (all pages of those that hold several) or arrays, H x W or H x W x 3, uint8 or uint16.
        channel, time, value_range: what is read of files, as of images.read.

    Attributes:
        shape, dtype: of every image.
        metadata: of the first image: EXIF, ICC profile, XMP and resolution.
        matrices, window: of registered images: see align.estimate_stack and align.common_window.

    Raises:
        OSError: a file cannot be read.
        ValueError: an image is damaged, differs from the first, or is alone; the message names it.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        channel: int | None = None,
        time: int | None = None,
        value_range: tuple[float, float] | None = None,
    ):
        self.entries = _entries(sources, channel, time, value_range)
        if len(self.entries) < 2:
            alone = f"{self.entries[0].name}: one image alone; " if self.entries else ""
            raise ValueError(f"{alone}two or more are needed")
        first = self.entries[0].load()
        self._source_shape = self.shape = first.pixels.shape
        self.dtype, self.metadata = first.pixels.dtype, first.metadata
        if min(self.shape[:2]) < MIN_SIDE:
            size = describe(self.shape, self.dtype)
            raise ValueError(f"{self.name(0)} is {size}: at least {MIN_SIDE}x{MIN_SIDE} pixels are needed")
        self._opaque = {0: first.alpha is None}  # by position among the sources; all copies share it
        self.matrices: list[np.ndarray] | None = None
        self.window: tuple[slice, slice] | None = None
        self._exposure_reference: np.ndarray | None = None
        keeps = len(self) == 2 or len(self) * first.pixels.nbytes <= KEPT_BYTES
        self._kept = {0: first} if keeps else None  # by position; all copies share it, too
        self._level_map: LevelMap | None = IDENTITY if is_full_range(first.pixels) else None
        self._is_spread = False

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, i: int) -> np.ndarray:
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        return self.with_alpha(i % len(self))[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        """In their order; the next is read while the one before is worked on."""
        with ThreadPoolExecutor(1) as reader:
            pending = reader.submit(self.__getitem__, 0)
            for i in range(1, len(self) + 1):
                image = pending.result()
                if i < len(self):
                    pending = reader.submit(self.__getitem__, i)
                yield image

    def with_alpha(self, i: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Image i (0 to len - 1) and its own alpha, H x W, or None where it is opaque.

        Raises:
            OSError, ValueError: as of the class.
        """
        pixels, alpha = self._load_alike(i)
        if self.matrices is not None:
            if alpha is not None:
                alpha = align.warp(alpha, self.matrices[i], cv2.INTER_LINEAR)[self.window]
            pixels = self._register(pixels, i)
        elif self._is_spread:
            pixels = self.level_map.spread(pixels)
        return pixels, alpha

    def _register(self, pixels, i):
        """Image i, moved and as bright as the reference; spread where this sequence is."""
        levels = self.level_map
        if not levels.clips:
            pixels = levels.spread(pixels)  # first, so that less is lost by rounding
        pixels = np.ascontiguousarray(align.warp(pixels, self.matrices[i])[self.window])
        if self._exposure_reference is not None:
            spread_pixels = levels.spread(pixels) if levels.clips else pixels
            gains = exposure_gains(self._exposure_reference, spread_pixels)
            pixels = apply_gains(pixels, gains, levels.base)
        if levels.clips:
            return levels.spread(pixels) if self._is_spread else pixels
        return pixels if self._is_spread else levels.restore(pixels)

    @property
    def has_alpha(self) -> bool:
        """Whether an image is not opaque. Images that have not been read yet are read for it."""
        known_opaque = [self._opaque.get(entry.position) for entry in self.entries]
        return False in known_opaque or not all(map(self.is_opaque, range(len(self))))

    def is_opaque(self, i: int) -> bool:
        """Whether image i has no alpha. It is read for it, unless it was read before."""
        position = self.entries[i].position
        if position not in self._opaque:
            self._load(i)
        return self._opaque[position]

    @property
    def level_map(self) -> LevelMap:
        """How the levels of the images are spread. All images are read for it, unless the first uses all of
        its type."""
        if self._level_map is None:
            self._level_map = find_level_map(self._load_alike(i)[0] for i in range(len(self)))
        return self._level_map

    def spread(self) -> Frames:
        """The same images, their levels spread over all of their type; what lies far outside is clipped."""
        _ = self.level_map  # found once, for every sequence that comes from this one
        frames = copy.copy(self)
        frames._is_spread = True
        return frames

    def level_step(self) -> float:
        """The step between the levels of `spread` images, in levels of 255."""
        return 255 * 2**self.level_map.bits / np.iinfo(self.dtype).max

    def restore(self, image: np.ndarray) -> np.ndarray:
        """Give an image that was made of `spread` images the levels of the sources, rounded."""
        return self.level_map.restore(image)

    def clipped(self) -> np.ndarray:
        """Where `spread` clips any of these images: H x W bool. All are read where it may."""
        clipped = np.zeros(self.shape[:2], bool)
        if self.level_map.clips:
            for image in self:
                clipped |= self.level_map.outside(image)
        return clipped

    def reordered(self, indices: Sequence[int]) -> Frames:
        """The images at `indices`, each once, in that order. For images not yet registered."""
        frames = copy.copy(self)
        frames.entries = [self.entries[i] for i in indices]
        return frames

    def registered(
        self,
        reference: int,
        motion: str = "affine",
        *,
        crop: bool = True,
        exposure: bool = True,
        progress: Callable[[Iterable], Iterable] = iter,
    ) -> Frames:
        """The images as image `reference` sees the scene, and as bright.

        Args:
            reference: an index in this sequence.
            motion: as of align.estimate.
            crop: keep what all images show; otherwise what an image does not show is mirrored at its border.
            exposure: match brightness and white balance.
            progress: wraps the list of images to align.

        Returns:
            A new sequence, with `matrices` and `window`.

        Raises:
            ValueError: an image cannot be aligned; the message names it.
        """
        spread = self.spread()
        frames = copy.copy(self)
        try:
            matrices = align.estimate_stack(spread, reference, motion, progress)
            for _ in range(ALPHA_ROUNDS if self.has_alpha else 0):
                matrices = align.estimate_stack(NeighbourFilled(spread, matrices), reference, motion)
            frames.matrices = matrices
        except align.AlignmentError as error:
            name = "" if error.frame is None else f"{self.name(error.frame)}: "
            raise ValueError(f"{name}{error}") from None
        full_window = (slice(0, self.shape[0]), slice(0, self.shape[1]))
        window = align.common_window(frames.matrices, self.shape) if crop else full_window
        frames.window = window
        frames.shape = (*(side.stop - side.start for side in window), *self.shape[2:])
        frames._exposure_reference = None
        if exposure and self.level_map.bits and not self.level_map.clips:
            # An image that becomes brighter may need levels that none of the images has.
            frames._level_map = self.level_map._replace(bits=self.level_map.bits - 1)
        frames._exposure_reference = frames.spread()[reference] if exposure else None
        return frames

    def release(self) -> None:
        """Keep no images of a stack any longer; they are read again when they are asked for."""
        if self._kept is not None and len(self) > 2:
            self._kept.clear()

    def name(self, i: int) -> str:
        """The file of an image, and its page where the file holds several; "image 1" and so on for arrays."""
        return self.entries[i].name

    def _load_alike(self, i):
        """Image i and its alpha as its file has them, checked against the first."""
        photograph = self._load(i)
        pixels, alpha = photograph.pixels, photograph.alpha
        if pixels.shape != self._source_shape or pixels.dtype != self.dtype:
            raise ValueError(
                f"{self.name(i)} is {describe(pixels.shape, pixels.dtype)}, {self.name(0)} is "
                f"{describe(self._source_shape, self.dtype)}: images to fuse must agree in size, depth and"
                " colour"
            )
        own, first = photograph.metadata.icc, self.metadata.icc
        if bool(own) != bool(first) and not _is_srgb(own or first):
            with_profile, without = (i, 0) if own else (0, i)
            raise ValueError(
                f"{self.name(with_profile)} has an ICC profile or names other colours than sRGB, "
                f"{self.name(without)} does not: give both the same ICC profile first"
            )
        if own and first and _comparable(own) != _comparable(first):
            raise ValueError(
                f"{self.name(i)} and {self.name(0)} have different ICC profiles: convert them to one first"
            )
        return pixels, alpha

    def _load(self, i):
        entry = self.entries[i]
        photograph = (self._kept or {}).get(entry.position) or entry.load()
        self._opaque[entry.position] = photograph.alpha is None
        if self._kept is not None:
            self._kept[entry.position] = photograph
        return photograph


def _entries(sources, channel, time, value_range):
    entries: list[Entry] = []
    for source in sources:
        if isinstance(source, np.ndarray):
            source = source.astype(source.dtype.newbyteorder("="), copy=False)
            check_fusable(source)
            position = len(entries)
            name = f"image {position + 1}"
            entries.append(Entry(position, name, Path(name), 0, np.ascontiguousarray(source)))
            continue
        path = Path(source)
        pages = images.pages(path, channel=channel, time=time)
        for page in range(pages):
            name = f"{path}, page {page}" if pages > 1 else str(path)
            entries.append(Entry(len(entries), name, path, page, None, channel, time, value_range))
    return entries


def _is_srgb(icc):
    """Whether a profile says that it is sRGB, which an image without a profile counts as."""
    return b"sRGB" in icc or "sRGB".encode("utf-16-be") in icc


def _comparable(icc):
    """A profile without its date and identity, which do not change colours (ICC.1:2010, 7.2)."""
    return icc[:24] + icc[36:84] + icc[100:]


def describe(shape: tuple[int, ...], dtype: np.dtype) -> str:
    """An image's size, depth and kind in words, such as "520x520 8 bit colour".

    Args:
        shape: of the image, H x W or H x W x 3.
        dtype: np.uint8 or np.uint16.

    Returns:
        The words.
    """
    kind = "gray" if len(shape) == 2 else "colour"
    return f"{shape[1]}x{shape[0]} {8 * np.dtype(dtype).itemsize} bit {kind}"


def find_images(patterns: Iterable[str | Path]) -> list[Path]:
    """The files that are meant by names, patterns, folders and lists.

    Numbers in the names found in a folder or by a pattern count as numbers: 2.tif comes before 10.tif.

    Args:
        patterns: names, patterns (*.tif), folders, or lists (@list.txt: a name a line, relative to the list;
            a line that begins with # is a comment, unless there is a file of that name).

    Returns:
        The files in their order; names are not checked.

    Raises:
        OSError: a list cannot be read.
        ValueError: a pattern, folder or list names no image.
    """
    all_paths: list[Path] = []
    for pattern in map(str, patterns):
        if pattern.startswith("@"):
            paths = _read_list(Path(pattern[1:]))
        elif os.path.isdir(pattern):
            paths = images_in_folder(pattern)
        elif glob.has_magic(pattern) and not os.path.lexists(pattern):
            paths = sorted(map(Path, _match(pattern)), key=natural_key)
        else:
            paths = [Path(pattern)]
        if not paths:
            raise ValueError(f"{pattern}: no images there")
        all_paths += paths
    return all_paths


def images_in_folder(folder: str | Path) -> list[Path]:
    """The image files of a folder in natural order; hidden ones, such as macOS's ._NAME.jpg, are left out.

    Raises:
        ValueError: a link in it leads nowhere, or photographs are there twice, RAW and developed.
    """
    visible = (p for p in Path(folder).iterdir() if not p.name.startswith("."))
    paths = sorted((p for p in visible if p.suffix.lower() in ENDINGS and not p.is_dir()), key=natural_key)
    for path in paths:
        if path.is_symlink() and not path.exists():
            raise ValueError(f"{path}: is a link to {os.readlink(path)}, which does not exist")
    paths = [path for path in paths if path.is_file()]
    raw = {path.stem for path in paths if path.suffix.lower() in images.RAW}
    developed = next((p for p in paths if p.stem in raw and p.suffix.lower() not in images.RAW), None)
    if developed:
        twin = next(p for p in paths if p.stem == developed.stem and p.suffix.lower() in images.RAW)
        patterns = " or ".join(f"'{Path(folder, '*' + path.suffix)}'" for path in (developed, twin))
        raise ValueError(f"{folder}: {twin.name} stands beside {developed.name}; choose by {patterns}")
    return paths


def natural_key(path: str | Path) -> list[tuple[int, str]]:
    """A key that sorts file names with their numbers as numbers."""
    return [(int(x), "") if x.isdecimal() else (-1, x) for x in re.split(r"(\d+)", str(path)) if x]


def _match(pattern):
    """What a pattern matches; its folder may have brackets in its own name."""
    folder, name = os.path.split(pattern)
    if os.path.isdir(folder):
        return glob.glob(os.path.join(glob.escape(folder), name))
    return glob.glob(pattern)


def _read_list(path):
    kind = "a list of names"
    text = read_text(path, kind)
    if "\0" in text:
        raise ValueError(f"{path}: not {kind}")
    paths = [(line.strip(), path.parent / line.strip()) for line in text.splitlines()]
    return [file for line, file in paths if line and (not line.startswith("#") or os.path.isfile(file))]
