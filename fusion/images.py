"""Reading and writing images."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

# JPEG ends with this marker; OpenCV fills what is missing of a truncated file with gray.
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def read(path) -> np.ndarray:
    """The image at `path`: H x W (gray) or H x W x 3 (RGB), uint8 or uint16.

    Upright as its EXIF orientation says; an alpha channel is left out. OSError where the file cannot
    be read, ValueError where it is not a whole image or of another depth.
    """
    data = Path(path).read_bytes()
    if data.startswith(_JPEG_START) and _JPEG_END not in data[-4096:]:
        raise ValueError(f"{path}: the JPEG file is truncated")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(f"{path}: not an image, or a damaged one ({len(data)} bytes)")
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path}: {image.dtype} pixels; 8 or 16 bit integers are needed")
    return image if image.ndim == 2 else image[:, :, ::-1]


def write(path, image) -> None:
    """Write H x W or H x W x 3 (RGB) uint8 or uint16 to `path`, whole or not at all.

    The ending of `path` names the format. ValueError where that format cannot hold the image.
    """
    path = Path(path)
    if image.dtype == np.uint16 and path.suffix.lower() not in (".png", ".tif", ".tiff"):
        raise ValueError(f"{path}: 16 bit images need .png or .tif")
    try:
        done, data = cv2.imencode(path.suffix, image if image.ndim == 2 else image[:, :, ::-1])
    except cv2.error:
        done = False
    if not done:
        raise ValueError(f"{path}: cannot be written as {path.suffix or 'a file without an ending'}")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data.tobytes())
        os.replace(beside, path)
    finally:
        if beside.exists():
            beside.unlink()
