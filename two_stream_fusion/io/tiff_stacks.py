"""Which planes of a TIFF file are the images of a stack: pages, and the axes of ImageJ, OME and others."""

from __future__ import annotations

import itertools
import logging
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import tifffile

from two_stream_fusion.io.decode import UnsupportedImage

MAX_PAGES = 10_000  # reading the directories of more takes minutes
CHOSEN_AXES = {"C": ("channel", "--channel"), "T": ("time", "--time")}
PIXEL_AXES = "YXS"  # rows, columns and samples (R, G, B, alpha) of one image


class Plane(NamedTuple):
    """One image of a TIFF file.

    page: the number of its directory, from 0.
    number: its number in the data of that directory, where one directory describes many images; else None.
    """

    page: int
    number: int | None = None


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these four bytes is TIFF or BigTIFF."""
    return head in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF file without tifffile's log messages: an error says it in one line."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return tifffile.TiffFile(path)


def stack_planes(path: Path, channel: int | None = None, time: int | None = None) -> tuple[Plane, ...]:
    """List the planes of a TIFF file that make a stack.

    Z is the stack. Channels (C) and times (T) are never put into one stack; samples of RGB are no channels.

    Args:
        path: the file.
        channel, time: which one, from 1. None where the file has one.

    Returns:
        The planes in their order; thumbnails and masks are left out.

    Raises:
        UnsupportedImage: a channel or time is not chosen or not there, or the axes are not clear.
        IndexError: the file has no pages.
    """
    status = path.stat()  # a cached list holds for the file as it was
    return _stack_planes(path, status.st_mtime_ns, status.st_size, channel, time)


@lru_cache(maxsize=64)
def _stack_planes(path, _mtime, _size, channel, time):
    with open_tiff(path) as file:
        _check_page_count(path, file)
        _check_last_page(path, file)
        numbers = _page_numbers(path, file)
        series = file.series
        if not series or any(one.kind.lower() in ("generic", "uniform") for one in series):
            planes = [Plane(number) for number in numbers]
            _check_choice(path, {}, "pages", channel, time)
        else:
            series = [one for one in series if _first_page(one) in numbers]
            if series[0].kind.lower() == "ome" and len(series) > 1:
                raise UnsupportedImage(
                    f"{path}: {len(series)} images of several planes; save each as a file of its own"
                )
            planes = [plane for one in series for plane in _series_planes(path, file, one, channel, time)]
            planes = [plane for plane in planes if plane.page in numbers]
    return tuple(planes)


def _check_page_count(path, file):
    file.pages[0]  # IndexError: no pages
    try:
        file.pages[MAX_PAGES]
    except IndexError:
        return
    raise UnsupportedImage(f"{path}: more than {MAX_PAGES} pages")


def _check_last_page(path, file):
    """Raise UnsupportedImage where the last page names a further one: tifffile does not, for a cut file."""
    count, tiff, handle = len(file.pages), file.tiff, file.filehandle
    offset = file.pages[count - 1].offset
    handle.seek(offset)
    tags = int.from_bytes(handle.read(tiff.tagnosize), _byte_order(tiff))
    handle.seek(offset + tiff.tagnosize + tags * tiff.tagsize)
    following = handle.read(tiff.offsetsize)
    if len(following) < tiff.offsetsize or any(following):
        raise UnsupportedImage(
            f"{path}: damaged: the page after number {count} is missing, as in a file cut short"
        )


def _byte_order(tiff):
    return "little" if tiff.byteorder == "<" else "big"


def _page_numbers(path, file):
    """The numbers of the pages that are images; of all pages where all are thumbnails or masks."""
    every = range(len(file.pages))
    images = [i for i in every if not file.pages[i].subfiletype & 5]
    if not images and any(file.pages[i].subifds for i in every):
        raise UnsupportedImage(
            f"{path}: holds a thumbnail, and the image where only programs for RAW find it: develop it first"
        )
    return images or list(every)


def _first_page(series):
    return next((page.index for page in _known_pages(series) if page is not None), None)


def _known_pages(series):
    """The pages of a series; the first alone where their data follow one another."""
    return getattr(series, "_pages", None) or series.pages


def _series_planes(path, file, series, channel, time):
    """The planes of one series, in the order of its stack axis."""
    axes, shape, pages = series.axes, series.shape, _known_pages(series)
    outer = [(axis, size) for axis, size in zip(axes, shape) if axis not in PIXEL_AXES]
    sizes = dict(outer)
    if len(sizes) < len(outer) or axes.strip(PIXEL_AXES) != "".join(sizes):
        raise UnsupportedImage(f"{path}: axes {axes}, which are not read")
    count = 1
    for size in sizes.values():
        count *= size
    if len(pages) == 1 and count > 1 and not _is_truncated(series):
        end = pages[0].index + count
        pages = file.pages[pages[0].index : end] if end <= len(file.pages) else pages
    is_one_directory = len(pages) == 1 and count > 1
    if is_one_directory and pages[0].samplesperpixel > 1 and pages[0].samplesperpixel == count:
        if pages[0].photometric == 2:  # the samples of RGB under another name
            _check_choice(path, {}, axes, channel, time)
            return [Plane(pages[0].index)]
        raise UnsupportedImage(
            f"{path}: {count} samples a pixel (axes {axes}); save each as a page of its own"
        )
    chosen = _check_choice(path, {axis: sizes.get(axis, 1) for axis in CHOSEN_AXES}, axes, channel, time)
    stacked = [axis for axis in sizes if axis not in CHOSEN_AXES and sizes[axis] > 1]
    if len(stacked) > 1:
        raise UnsupportedImage(f"{path}: axes {axes}: {' and '.join(stacked)} cannot both be the stack")
    if is_one_directory and pages[0].compression != 1:
        raise UnsupportedImage(f"{path}: {count} packed planes in a single directory, which are not read")
    if not is_one_directory and len(pages) != count:
        raise UnsupportedImage(f"{path}: {len(pages)} pages for {count} planes (axes {axes})")
    planes = []
    for number, indices in enumerate(itertools.product(*(range(size) for size in sizes.values()))):
        if any(axis in chosen and i != chosen[axis] for axis, i in zip(sizes, indices)):
            continue
        page = pages[0] if is_one_directory else pages[number]
        if page is None or page.parent is not pages[0].parent:
            raise UnsupportedImage(f"{path}: some planes are missing or in other files (axes {axes})")
        planes.append(Plane(page.index, number if is_one_directory else None))
    return planes


def _is_truncated(series):
    """Whether the first directory describes all planes, as ImageJ writes large stacks."""
    return getattr(series, "is_truncated", getattr(series, "truncated", False))


def _check_choice(path, sizes, axes, channel, time):
    """{axis: index from 0} of the axes C and T.

    Raises:
        UnsupportedImage: an axis of several channels or times has no choice, or not that one.
    """
    choices = {"C": channel, "T": time}
    indices, missing = {}, []
    for axis, (noun, option) in CHOSEN_AXES.items():
        size, choice = sizes.get(axis, 1), choices[axis]
        if choice is None and size > 1:
            missing.append((f"{size} {noun}s", f"{option} N"))
        elif choice is not None and not 1 <= choice <= size:
            plural = "" if size == 1 else "s"
            raise UnsupportedImage(f"{path}: {option} {choice}: {size} {noun}{plural} (axes {axes})")
        indices[axis] = (choice or 1) - 1
    if missing:
        missing_axes, options = (" and ".join(words) for words in zip(*missing))
        raise UnsupportedImage(
            f"{path}: {missing_axes} (axes {axes}), which are not fused: choose one by {options}"
        )
    return indices


def refuse_choice(path: Path, channel: int | None, time: int | None) -> None:
    """Refuse to choose a channel or a time of a file that is not TIFF.

    Args:
        path: the file, for the message.
        channel, time: as of `stack_planes`.

    Raises:
        UnsupportedImage: one of them is neither None nor 1.
    """
    _check_choice(path, {}, "YX", channel, time)
