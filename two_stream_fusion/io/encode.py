"""Encoding: PNG, TIFF, JPEG and WebP as bytes, with alpha and metadata."""

from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image

from two_stream_fusion.io.decode import TEXT_TAGS, swap_rgb
from two_stream_fusion.io.tiff import ICC


def encode_png(pixels: np.ndarray, exif: bytes, icc: bytes) -> bytes:
    """Encode PNG by OpenCV, which has 16 bit colour.

    Args:
        pixels: H x W or H x W x C, uint8 or uint16; an even number of channels ends with alpha.
        exif, icc: metadata, or empty. They become chunks after the first one, IHDR.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        data = _encode_gray_with_alpha(pixels)
    else:
        data = cv2.imencode(".png", swap_rgb(pixels))[1].tobytes()
    chunks = b""
    if icc:
        chunks += png_chunk(b"iCCP", b"ICC\0\0" + zlib.compress(icc))
    if exif:
        chunks += png_chunk(b"eXIf", exif[6:])
    return data[:33] + chunks + data[33:]


def _encode_gray_with_alpha(pixels):
    """Encode H x W x 2 as PNG, which OpenCV cannot."""
    height, width = pixels.shape[:2]
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (1, 0)))  # each row begins with its filter type, 0 for none
    header = size + bytes([8 * pixels.itemsize, 4, 0, 0, 0])
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def encode_tiff(pixels: np.ndarray, exif: bytes, icc: bytes) -> bytes:
    """Encode TIFF, compressed by deflate, with the texts of EXIF. Arguments as `encode_png`."""
    texts = Image.Exif()
    texts.load(exif)
    tags = [(tag, "s", 0, texts[tag], True) for tag in TEXT_TAGS if tag in texts]
    if icc:
        tags.append((ICC, "B", len(icc), icc, True))
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
    )
    return file.getvalue()


def encode_jpeg(pixels: np.ndarray, exif: bytes, icc: bytes) -> bytes:
    """Encode JPEG of quality 95 without chroma subsampling. Arguments as `encode_png`."""
    return _encode_with_pillow(pixels, exif, icc, format="JPEG", quality=95, subsampling=0)


def encode_webp(pixels: np.ndarray, exif: bytes, icc: bytes) -> bytes:
    """Encode lossless WebP. Arguments as `encode_png`."""
    return _encode_with_pillow(pixels, exif, icc, format="WEBP", lossless=True, exact=True)


def _encode_with_pillow(pixels, exif, icc, **options):
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        image = Image.merge("LA", [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(2)])
    else:
        image = Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, exif=exif, icc_profile=icc, **options)
    return file.getvalue()


ENCODERS = {
    ".png": encode_png,
    ".tif": encode_tiff,
    ".tiff": encode_tiff,
    ".jpg": encode_jpeg,
    ".jpeg": encode_jpeg,
    ".webp": encode_webp,
}
