"""Encoding: PNG, TIFF, JPEG and WebP as bytes, with alpha and metadata."""

from __future__ import annotations

import inspect
import io
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image

from two_stream_fusion.io import icc, jpeg, png
from two_stream_fusion.io.decode import swap_rgb
from two_stream_fusion.io.metadata import (
    TEXT_TAGS,
    XMP_TAG,
    Metadata,
    exif_with_resolution,
    exif_without_maker_note,
)
from two_stream_fusion.io.tiff import DESCRIPTION, ICC

MAX_JPEG_EXIF = 65533  # bytes: a segment of JPEG begins with its length, two bytes


def encode_png(pixels: np.ndarray, metadata: Metadata) -> bytes:
    """Encode PNG by OpenCV, which has 16 bit colour.

    Args:
        pixels: H x W or H x W x C, uint8 or uint16; an even number of channels ends with alpha.
        metadata: of the image. It becomes chunks after the first one, IHDR.

    Returns:
        The bytes of the file.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        data = _encode_gray_with_alpha(pixels)
    else:
        data = cv2.imencode(".png", swap_rgb(pixels))[1].tobytes()
    chunks = b""
    if metadata.icc:
        chunks += png.make_chunk(b"iCCP", b"ICC\0\0" + zlib.compress(metadata.icc))
    if metadata.resolution:
        per_metre = metadata.resolution.per("m")
        chunks += png.resolution_chunk(per_metre.x, per_metre.y)
    if metadata.exif:
        chunks += png.make_chunk(b"eXIf", metadata.exif[6:])
    if metadata.xmp:
        chunks += png.xmp_chunk(metadata.xmp)
    return data[: png.IHDR_END] + chunks + data[png.IHDR_END :]


def _encode_gray_with_alpha(pixels):
    """Encode H x W x 2 as PNG, which OpenCV cannot."""
    height, width = pixels.shape[:2]
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (1, 0)))  # each row begins with its filter type, 0 for none
    header = size + bytes([8 * pixels.itemsize, 4, 0, 0, 0])
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")]
    return png.SIGNATURE + b"".join(png.make_chunk(*chunk) for chunk in chunks)


def encode_tiff(pixels: np.ndarray, metadata: Metadata) -> bytes:
    """Encode TIFF, compressed by deflate, with the texts of EXIF.

    A resolution for an inch or centimetre is in tags. One for another unit is that of a microscope: its
    unit is in a description as ImageJ writes it, unless there is one already.

    Args:
        pixels, metadata: as of `encode_png`.

    Returns:
        The bytes of the file.
    """
    texts = Image.Exif()
    texts.load(metadata.exif)
    tags = [(tag, "s", 0, str(texts[tag]).encode("latin-1"), True) for tag in TEXT_TAGS if tag in texts]
    for tag, data in ((ICC, metadata.icc), (XMP_TAG, metadata.xmp)):
        if data:
            tags.append((tag, "B", len(data), data, True))
    options = {}
    if metadata.resolution:
        resolution = metadata.resolution
        unit = {"inch": 2, "cm": 3}.get(resolution.unit)
        if unit is None and DESCRIPTION in texts:
            resolution, unit = resolution.per("cm"), 3
        elif unit is None:
            name = "micron" if resolution.unit == "µm" else resolution.unit
            description = f"ImageJ=1.53t\nimages=1\nunit={name}\n".encode()
            tags.append((DESCRIPTION, "s", 0, description, True))
        options = _resolution_options(resolution, unit or 1)
    file = io.BytesIO()
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    tifffile.imwrite(
        file,
        pixels,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        metadata=None,
        software=False,
        extratags=tags,
        **options,
    )
    return file.getvalue()


def _resolution_options(resolution, unit):
    """A resolution as options of tifffile; its releases before 2022 take the unit beside the numbers."""
    if "resolutionunit" in inspect.signature(tifffile.TiffWriter.write).parameters:
        return {"resolution": resolution[:2], "resolutionunit": unit}
    return {"resolution": (*resolution[:2], {1: None, 2: "INCH", 3: "CENTIMETER"}[unit])}


def encode_jpeg(pixels: np.ndarray, metadata: Metadata) -> bytes:
    """Encode JPEG of quality 95 without chroma subsampling.

    JFIF has whole numbers of dots an inch. EXIF has the resolutions that are too large for it. Where EXIF
    is too long, the maker's note is left out. Where that is not enough, all EXIF but the resolution is.

    Args:
        pixels: H x W or H x W x 3, uint8.
        metadata: as of `encode_png`.

    Returns:
        The bytes of the file.
    """
    options = {"format": "JPEG", "quality": 95, "subsampling": 0}
    if metadata.resolution:
        per_inch = metadata.resolution.per("inch")
        if min(per_inch[:2]) >= 0.5 and max(per_inch[:2]) < 65535:
            options["dpi"] = (round(per_inch.x), round(per_inch.y))
            metadata = metadata._replace(resolution=None)
    for shorten in (exif_without_maker_note, lambda _: b""):
        if len(exif_with_resolution(metadata.exif, metadata.resolution)) > MAX_JPEG_EXIF:
            metadata = metadata._replace(exif=shorten(metadata.exif))
    return jpeg.with_xmp(_encode_with_pillow(pixels, metadata, **options), metadata.xmp)


def encode_webp(pixels: np.ndarray, metadata: Metadata) -> bytes:
    """Encode lossless WebP, whose resolution is in EXIF.

    WebP has no gray: gray pixels become RGB, and a profile of gray is left out.

    Args:
        pixels: H x W or H x W x C, uint8; an even number of channels ends with alpha.
        metadata: as of `encode_png`.

    Returns:
        The bytes of the file.
    """
    metadata = metadata._replace(icc=icc.rgb_profile(metadata.icc))
    return _encode_with_pillow(pixels, metadata, format="WEBP", lossless=True, exact=True, xmp=metadata.xmp)


def _encode_with_pillow(pixels, metadata, **options):
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        image = Image.merge("LA", [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(2)])
    else:
        image = Image.fromarray(pixels)
    file = io.BytesIO()
    exif = exif_with_resolution(metadata.exif, metadata.resolution)
    image.save(file, exif=exif, icc_profile=metadata.icc, **options)
    return file.getvalue()


ENCODERS = {
    ".png": encode_png,
    ".tif": encode_tiff,
    ".tiff": encode_tiff,
    ".jpg": encode_jpeg,
    ".jpeg": encode_jpeg,
    ".webp": encode_webp,
}
