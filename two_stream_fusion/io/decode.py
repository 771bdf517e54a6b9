"""Decoding of all formats but TIFF, and what the decoders share: errors, orientation, EXIF."""

from __future__ import annotations

import io
import os
import re
import stat
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Iterator

import cv2
import numpy as np
from PIL import Image

from two_stream_fusion.base.pixels import round_half_even

PILLOW_FORMATS = ("BMP", "JPEG", "MPO", "PNG", "PPM", "WEBP")  # by Pillow's names
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
MAX_MEGAPIXELS = 500  # a file that claims more is damaged or a decompression bomb; it is not decoded
# What is kept of EXIF: description, camera, software, time, author, rights; exposure and place. The rest
# describes the old file: its size, orientation and thumbnail.
TEXT_TAGS = (270, 271, 272, 305, 306, 315, 33432)
IFD_TAGS = (0x8769, 0x8825)
SIZE_TAGS = (0xA002, 0xA003, 0xA005)
ORIENTATION = 274
OPENCV_NO_MEMORY = -4  # cv2.error.code where an allocation fails
# How files of kinds that are not read begin.
OTHER_FORMATS = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"v/1\x01": "EXR",
    b"PF\n": "PFM",
    b"Pf\n": "PFM",
}
AVIF_BRANDS = (b"avif", b"avis")
OPENCV_FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_UNCHANGED  # alpha too; only TIFF's orientation is applied


class UnsupportedImage(ValueError):
    """An image of a kind that is not read; the message is for the user."""


@contextmanager
def decoder_errors(path: Path) -> Iterator[None]:
    """Turn what the libraries raise for a damaged file into one ValueError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UnsupportedImage, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, cv2.error) and error.code == OPENCV_NO_MEMORY:
            raise MemoryError from None
        if isinstance(error, OSError) and error.errno is not None:  # an error of the disk, not of the decoder
            raise
        raise ValueError(f"{path}: not an image, or a damaged one ({path.stat().st_size} bytes)") from None


def read_head(path: Path, size: int = 12) -> bytes:
    """The first bytes of an image file.

    Raises:
        OSError: the file cannot be read.
        UnsupportedImage: it is a FIFO, a socket or a device, or of a known kind that is not read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # reading one might never end
        raise UnsupportedImage(f"{path}: is a FIFO, a socket or a device; images are read from files")
    with open(path, "rb") as file:
        head = file.read(size)
    names = [name for magic, name in OTHER_FORMATS.items() if head.startswith(magic)]
    names += ["AVIF"] if head[4:8] == b"ftyp" and head[8:12] in AVIF_BRANDS else []
    if names:
        raise UnsupportedImage(f"{path}: {names[0]} files are not read; PNG, TIFF, JPEG, WebP and HEIC are")
    return head


def check_size(path: Path, width: int, height: int) -> None:
    """Raise UnsupportedImage for a file that claims more than MAX_MEGAPIXELS."""
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise UnsupportedImage(f"{path}: {width}x{height}, more than {MAX_MEGAPIXELS} million pixels")


def open_with_pillow(file: str | Path | BinaryIO) -> Image.Image:
    """Open an image by Pillow without its size warning: the caller checks the size before decoding."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        return Image.open(file)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def decode_with_pillow(path: Path) -> tuple[np.ndarray, bytes, bytes]:
    """Decode a BMP, JPEG, PNG, PNM or WebP file: pixels (alpha is the last channel), EXIF and profile."""
    data = path.read_bytes()
    with open_with_pillow(io.BytesIO(data)) as file:
        if file.format not in PILLOW_FORMATS:
            raise UnsupportedImage(
                f"{path}: {file.format} files are not read; PNG, TIFF, JPEG, WebP and HEIC are"
            )
        check_size(path, *file.size)
        frames = getattr(file, "n_frames", 1)
        if frames > 1 and file.format != "MPO":  # a camera's JPEG, followed by previews
            raise UnsupportedImage(f"{path}: animated, {frames} frames; save them as files of their own")
        if file.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            raise UnsupportedImage(f"{path}: {file.mode} pixels; gray and RGB are fused, so convert it first")
        metadata = Image.Exif()
        metadata.load(file.info.get("exif") or b"")
        orientation, exif, icc = (
            metadata.get(ORIENTATION, 1),
            kept_exif(metadata),
            file.info.get("icc_profile") or b"",
        )
        raw = [str(tile[3]) for tile in file.tile]
        if file.format == "PPM" or file.mode.startswith("I") or any("16" in kind for kind in raw):
            # Pillow has 16 bits for gray only.
            pixels = _decode_netpbm(data) if file.format == "PPM" else decode_with_opencv(data)
            pixels = pixels[..., 2:] if any("LA" in kind for kind in raw) else pixels
        else:
            mode = "L" if file.mode in ("1", "L", "LA") else "RGB"
            if "A" in file.mode or "transparency" in file.info:
                mode += "A"
            pixels = np.array(file.convert(mode))
        return apply_orientation(pixels, orientation), exif, icc


def _decode_netpbm(data):
    """Decode PBM, PGM or PPM; the file's own white level becomes the largest value of the type.

    Raises:
        ValueError: a number is below 0 or above the file's white level.
    """
    plain = data[:2] in (b"P2", b"P3")
    if not plain and data[:2] not in (b"P5", b"P6"):
        return decode_with_opencv(data)
    words = re.sub(rb"#[^\n]*", b"", data[2:] if plain else data[2:4096]).split(None, -1 if plain else 3)
    width, height, white = map(int, words[:3])
    if plain:  # OpenCV scales some of these wrongly
        pixels = np.array(words[3:], int).reshape(height, width, *((3,) if data[:2] == b"P3" else ()))
    else:
        pixels = decode_with_opencv(data)
    if pixels.min() < 0 or pixels.max() > white:
        raise ValueError(f"numbers from {pixels.min()} to {pixels.max()}, and white is {white}")
    dtype = np.uint8 if white < 256 else np.uint16
    top = np.iinfo(dtype).max
    return pixels.astype(dtype) if white == top else round_half_even(pixels * (top / white), dtype)


def decode_with_opencv(data: bytes) -> np.ndarray:
    """Decode by OpenCV: H x W or H x W x C, R, G, B and alpha in this order."""
    with silenced_stderr():
        image = cv2.imdecode(np.frombuffer(data, np.uint8), OPENCV_FLAGS)
    if image is None:
        raise ValueError("OpenCV cannot decode it")
    return swap_rgb(image)


_stderr_lock = threading.Lock()


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Drop what the C libraries print about a damaged file; the error says it once.

    One thread at a time: a second one would restore the null device of the first as stderr.
    """
    with _stderr_lock:
        original = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            os.close(null)


def swap_rgb(image: np.ndarray) -> np.ndarray:
    """Convert OpenCV's order of channels to RGB(A), or back."""
    return image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]


def apply_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image upright by its EXIF orientation, 1 to 8."""
    if orientation in (2, 4, 5, 7):  # mirrored; what is left is a turn
        pixels, orientation = pixels[:, ::-1], {2: 1, 4: 3, 5: 8, 7: 6}[orientation]
    return np.rot90(pixels, {3: 2, 6: 3, 8: 1}.get(orientation, 0))


def decode_heif(path: Path) -> tuple[np.ndarray, bytes, bytes]:
    """Decode the main image of a HEIC file as `decode_with_pillow` does; libheif turns it upright."""
    try:
        import pillow_heif
    except ImportError:
        raise UnsupportedImage(f"{path}: HEIC files need pillow-heif (pip install pillow-heif)") from None
    file = pillow_heif.open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    check_size(path, *file.size)
    if file.premultiplied_alpha:
        raise UnsupportedImage(f"{path}: alpha multiplied into the colours, which is not read of HEIC")
    pixels, white = np.array(file), 2 ** file.info["bit_depth"] - 1
    if white > 255:
        pixels = round_half_even(pixels * np.float32(65535 / white), np.uint16)
    metadata = Image.Exif()
    metadata.load(file.info.get("exif") or b"")
    return pixels, kept_exif(metadata), file.info.get("icc_profile") or b""


def develop_raw(path: Path) -> np.ndarray:
    """Develop a RAW file with the camera's white balance: H x W x 3 uint16."""
    try:
        import rawpy
    except ImportError:
        raise ValueError(f"{path}: RAW files need rawpy (pip install rawpy)") from None
    with open(path, "rb") as file:
        try:
            with rawpy.imread(file) as raw:
                return raw.postprocess(output_bps=16, use_camera_wb=True, no_auto_bright=True)
        except rawpy.LibRawError as error:
            reason = error.args[0] if error.args else "cannot be read"
            reason = reason.decode() if isinstance(reason, bytes) else reason
            raise ValueError(f"{path}: not a RAW file, or not whole: {reason}") from None


def kept_exif(exif: Image.Exif) -> bytes:
    """EXIF as bytes, without the tags that describe the old file."""
    kept = Image.Exif()
    for tag in TEXT_TAGS:
        if tag in exif:
            kept[tag] = exif[tag]
    for part in IFD_TAGS:
        values = {tag: v for tag, v in exif.get_ifd(part).items() if tag not in SIZE_TAGS}
        if values:
            kept[part] = values
    return kept.tobytes() if len(kept) else b""
