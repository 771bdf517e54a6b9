"""Photographs as files: read, load, pages and write. Formats have modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from two_stream_fusion.base import files
from two_stream_fusion.io import decode, encode, raw, tiff, tiff_stacks
from two_stream_fusion.io.metadata import NO_METADATA, Metadata

if TYPE_CHECKING:
    import numpy.typing as npt

WRITABLE = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp")
# fmt: off
RAW = (
    ".3fr", ".arw", ".cr2", ".cr3", ".dcr", ".dng", ".erf", ".gpr", ".iiq", ".kdc", ".mef", ".mos", ".nef",
    ".nrw", ".orf", ".pef", ".raf", ".rw2", ".sr2", ".srw",
)
# fmt: on


class Photograph(NamedTuple):
    """An image file.

    pixels: H x W or H x W x 3 (RGB), uint8 or uint16. alpha: H x W in their dtype; None for an opaque image.
    metadata: EXIF, ICC profile, XMP and resolution.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = NO_METADATA


def read(
    path: str | Path,
    page: int = 0,
    *,
    channel: int | None = None,
    time: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> np.ndarray:
    """Read the pixels of an image file.

    Args:
        path: of the file: PNG, TIFF, JPEG, WebP, BMP, PNM, HEIC or RAW.
        page: which image of the stack in a TIFF file, from 0.
        channel, time: which channel and time of a hyperstack (ImageJ, OME), from 1; None where it has one.
        value_range: (low, high): levels of TIFF other than uint8 and uint16 (floats, int16) that become 0 and
            65535. Levels beyond are clipped. None: floats are 0..1, and other types are refused.

    Returns:
        H x W (gray) or H x W x 3 (RGB), uint8 or uint16, upright as the EXIF orientation says. Floats in 0..1
        become uint16.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or of a kind that is not read.
    """
    return load(path, page, channel=channel, time=time, value_range=value_range).pixels


def load(
    path: str | Path,
    page: int = 0,
    *,
    channel: int | None = None,
    time: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> Photograph:
    """Read an image file with its alpha and metadata.

    Args:
        path, page, channel, time, value_range: as of `read`.

    Returns:
        The pixels, the alpha (None where every pixel is opaque) and the metadata.

    Raises:
        OSError, ValueError: as `read`.
    """
    path = Path(path)
    if path.suffix.lower() in RAW:
        return Photograph(raw.develop_raw(path))
    head = decode.read_head(path)
    with decode.decoder_errors(path):
        if tiff_stacks.is_tiff(head[:4]):
            pixels, metadata = tiff.decode_tiff(path, page, channel, time, value_range)
        else:
            tiff_stacks.refuse_choice(path, channel, time)
            if value_range is not None:
                raise decode.UnsupportedImage(f"{path}: --range is for the levels of TIFF alone")
            decoder = decode.decode_heif if decode.is_heif(head) else decode.decode_with_pillow
            pixels, metadata = decoder(path)
        if pixels.dtype not in (np.uint8, np.uint16):
            raise decode.UnsupportedImage(
                f"{path}: {pixels.dtype} pixels; 8 or 16 bit integers are needed, or TIFF's floats in 0..1"
            )
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        alpha = None
        if channels in (2, 4):
            alpha = np.ascontiguousarray(pixels[..., -1])
            alpha = None if alpha.min() == np.iinfo(alpha.dtype).max else alpha
            pixels = pixels[..., 0] if channels == 2 else pixels[..., :3]
        return Photograph(np.ascontiguousarray(pixels), alpha, metadata)


def header(
    path: str | Path, page: int = 0, *, channel: int | None = None, time: int | None = None
) -> decode.Header:
    """Read the size of an image, and the memory that decoding it takes, without decoding it.

    Args:
        path, page, channel, time: as of `read`.

    Returns:
        The header.

    Raises:
        OSError, ValueError: as `read`.
    """
    path = Path(path)
    if path.suffix.lower() in RAW:
        return raw.header_of_raw(path)
    head = decode.read_head(path)
    with decode.decoder_errors(path):
        if tiff_stacks.is_tiff(head[:4]):
            return tiff.header_of_tiff(path, page, channel, time)
        return (decode.header_of_heif if decode.is_heif(head) else decode.header_by_pillow)(path)


def pages(path: str | Path, *, channel: int | None = None, time: int | None = None) -> int:
    """Count the images of the stack in a file: 1 for all formats but TIFF.

    Args:
        path, channel, time: as of `read`.

    Returns:
        The number of images.

    Raises:
        OSError, ValueError: as `read`.
    """
    path = Path(path)
    if path.suffix.lower() in RAW or not tiff_stacks.is_tiff(decode.read_head(path, 4)):
        return 1
    with decode.decoder_errors(path):
        return len(tiff_stacks.stack_planes(path, channel, time))


def write(
    path: str | Path,
    pixels: np.ndarray,
    alpha: np.ndarray | None = None,
    metadata: Metadata = NO_METADATA,
    *,
    replace: bool = True,
) -> None:
    """Write an image file, whole or not at all.

    Args:
        path: its ending names the format, one of WRITABLE.
        pixels: H x W or H x W x 3 (RGB), uint8 or uint16.
        alpha: H x W in the dtype of `pixels`; None for an opaque image.
        metadata: as Photograph has it. TIFF keeps only the texts of EXIF; JPEG keeps XMP of up to 65 KB.
        replace: replace an older file.

    Raises:
        OSError: the file cannot be written.
        ValueError: the format cannot hold the image, or without `replace` the file exists.
    """
    path = Path(path)
    check_writable(path, pixels.dtype, alpha is not None, pixels.shape)
    suffix = path.suffix.lower()
    if alpha is not None:
        pixels = np.dstack([pixels, alpha])
    data = encode.ENCODERS[suffix](pixels, metadata)
    with files.atomic_write(path, replace) as partial:
        partial.write_bytes(data)


def check_writable(
    path: str | Path, dtype: npt.DTypeLike = np.uint8, alpha: bool = False, shape: tuple[int, ...] = ()
) -> None:
    """Check that the format of a path can hold an image.

    Args:
        path: its ending names the format.
        dtype: of the image, np.uint8 or np.uint16.
        alpha: whether it has alpha.
        shape: of the image; empty where it is not known yet.

    Raises:
        ValueError: the ending names no format for such an image, or `dtype` is another.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        ending = suffix or "a file without an ending"
        raise ValueError(f"{path}: cannot be written as {ending}; there are {' '.join(WRITABLE)}")
    if dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path}: {np.dtype(dtype)} pixels; uint8 and uint16 are written")
    if dtype == np.uint16 and suffix not in (".png", ".tif", ".tiff"):
        raise ValueError(f"{path}: 16 bit images need .png or .tif")
    if alpha and suffix in (".jpg", ".jpeg"):
        raise ValueError(f"{path}: JPEG has no alpha channel; .png, .tif and .webp have")
    max_side = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}.get(suffix)
    if max_side and max(shape[:2], default=0) > max_side:
        raise ValueError(f"{path}: {suffix} ends at {max_side} pixels a side; use .png or .tif")
