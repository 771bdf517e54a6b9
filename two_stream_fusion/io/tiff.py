"""Decoding of TIFF: tifffile reads the structure, OpenCV the pixels where it can."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

from two_stream_fusion.base.pixels import round_half_even
from two_stream_fusion.io import decode
from two_stream_fusion.io.decode import UnsupportedImage

DESCRIPTION, ICC = 270, 34675  # tags
# Descriptions that say how the old file is structured
STRUCTURE = re.compile(r'\s*(ImageJ=|<|{.*"shape": ?\[)', re.S)
COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)  # none, CCITT, LZW, JPEG, deflate, PackBits


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these four bytes is TIFF or BigTIFF."""
    return head in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF file without tifffile's log messages: an error says it in one line."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return tifffile.TiffFile(path)


def decode_tiff(path: Path, number: int) -> tuple[np.ndarray, bytes, bytes]:
    """Decode a page of a TIFF file: pixels (alpha is the last channel), EXIF and profile."""
    with open_tiff(path) as file:
        number = page_numbers(file)[number]
        page = file.pages[number]
        _check_page(path, page)
        icc = page.tags[ICC].value if ICC in page.tags else b""
        exif = Image.Exif()
        for tag in decode.TEXT_TAGS:
            text = page.tags[tag].value if tag in page.tags else None
            if isinstance(text, str) and not (tag == DESCRIPTION and STRUCTURE.match(text)):
                exif[tag] = text
        pixels = _decode_with_alpha(path, page, number) if page.extrasamples else None
    if pixels is None:
        pixels = _decode_with_opencv(path, number)
        if page.photometric == 0 and pixels.dtype == np.uint16:  # white is zero: OpenCV inverts 8 bits only
            pixels = ~pixels
    if pixels.dtype.kind == "f":
        pixels = _round_floats(path, pixels)
    return pixels, exif.tobytes() if len(exif) else b"", bytes(icc)


def page_numbers(file: tifffile.TiffFile) -> list[int]:
    """The numbers of the pages that are images; of all pages where all are thumbnails or masks.

    Raises:
        IndexError: the file has no pages.
    """
    file.pages[0]
    every = range(len(file.pages))
    whole = [i for i in every if not file.pages[i].subfiletype & 5]  # type: ignore[union-attr]
    return whole or list(every)


def _check_page(path, page):
    """Raise UnsupportedImage where the pixels or the compression of a page are not read."""
    decode.check_size(path, page.imagewidth, page.imagelength)
    if page.photometric not in (0, 1, 2, 3, 6):  # gray, inverted or not, RGB, palette, YCbCr
        kind = getattr(page.photometric, "name", page.photometric)
        raise UnsupportedImage(f"{path}: {kind} pixels; gray and RGB are fused, so convert it first")
    if page.compression not in COMPRESSIONS:
        kind = getattr(page.compression, "name", page.compression)
        raise UnsupportedImage(f"{path}: packed by {kind}, which is not read; LZW and deflate are")
    if page.samplesperpixel > 4:
        raise UnsupportedImage(
            f"{path}: {page.samplesperpixel} channels; gray and RGB are fused, alpha with them"
        )
    if page.dtype == np.float16:
        raise UnsupportedImage(f"{path}: float16 pixels; 8 or 16 bit integers are needed, or float32 in 0..1")


def _decode_with_opencv(path, number):
    if not number:
        return decode.decode_with_opencv(path.read_bytes())
    with decode.silenced_stderr():
        if hasattr(cv2, "imcount"):
            return decode.swap_rgb(cv2.imreadmulti(str(path), number, 1, flags=decode.OPENCV_FLAGS)[1][0])
        # OpenCV before 4.5.4 reads all pages or none.
        every = cv2.imreadmulti(str(path), flags=decode.OPENCV_FLAGS)[1]
        return decode.swap_rgb(every[number])


def _decode_with_alpha(path, page, number):
    """The pixels of a page with alpha, upright, alpha not multiplied into the colours."""
    if page.axes not in ("YX", "YXS", "SYX") or page.photometric not in (1, 2):
        raise UnsupportedImage(f"{path}: alpha beside other than gray or RGB; convert it first")
    associated = page.extrasamples[0] == 1  # multiplied into the colours
    orientation = page.tags[decode.ORIENTATION].value if decode.ORIENTATION in page.tags else 1
    try:
        pixels = page.asarray()
        pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
    except ValueError:  # a compression that tifffile alone cannot decode: LZW
        if page.dtype == np.uint8:  # OpenCV would multiply alpha into the colours, Pillow divides it out
            with decode.open_with_pillow(path) as file:
                file.seek(number)
                return decode.apply_orientation(np.array(file), orientation)
        pixels, orientation = _decode_with_opencv(path, number), 1
        if pixels.shape[2:] != (page.samplesperpixel,):
            kind = page.compression.name
            raise UnsupportedImage(f"{path}: alpha packed by {kind}; pack it by deflate, or not") from None
    if associated and pixels.dtype.kind == "u":
        alpha, top = pixels[..., -1:], np.iinfo(pixels.dtype).max
        # Colours under zero alpha stay as they are.
        colours = pixels[..., :-1] * np.float32(top) / np.where(alpha, alpha, top)
        colours = round_half_even(colours, pixels.dtype)
        pixels = np.concatenate([colours, alpha], axis=-1)
    return decode.apply_orientation(pixels, orientation)


def _round_floats(path, pixels):
    low, high = pixels.min(), pixels.max()
    if not np.isfinite([low, high]).all():
        raise UnsupportedImage(f"{path}: floats that are not finite (NaN or infinite)")
    if low < 0 or high > 1:
        raise UnsupportedImage(f"{path}: floats from {low:g} to {high:g}; those in 0..1 are read, as 16 bit")
    return round_half_even(pixels * 65535, np.uint16)
