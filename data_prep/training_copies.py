"""The copies of published photographs and masks that released models are trained on.

A photograph is saved as JPEG, and scaled down where its repository has large ones. Of a mask the largest
region is kept. Equal copies make equal databases, so a training can be repeated. Pillow writes the same JPEG
files from version 9.4 on, with libjpeg-turbo, as pip installs it. PNG files differ between versions of zlib.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

QUALITY = 92
LONGER_SIDE = {"sasky1/DRPL": 364}  # pixels; the photographs of other repositories keep their size


def copy_photograph(data: bytes, repository: str) -> bytes:
    """Copy a published photograph.

    Args:
        data: the file.
        repository: owner/name of the repository that publishes it.

    Returns:
        A JPEG file, RGB, with chroma at half the size.

    Raises:
        OSError: the file is no image.
    """
    with Image.open(io.BytesIO(data)) as published:
        image = published.convert("RGB")
    scale = LONGER_SIDE.get(repository, max(image.size)) / max(image.size)
    if scale < 1:
        size = tuple(round(side * scale) for side in image.size)
        image = image.resize(size, Image.LANCZOS)
    copy = io.BytesIO()
    image.save(copy, "JPEG", quality=QUALITY, optimize=True, subsampling="4:2:0")
    return copy.getvalue()


def copy_mask(data: bytes) -> bytes:
    """Copy the largest region of a published mask.

    Args:
        data: the file; levels over 127 are the object.

    Returns:
        A gray PNG file of levels 0 and 255. Pixels that touch by a corner alone are not of one region.

    Raises:
        OSError: the file is no image.
        ValueError: no pixel is of the object.
    """
    with Image.open(io.BytesIO(data)) as published:
        marked = np.asarray(published.convert("L")) > 127
    if not marked.any():
        raise ValueError("the mask is empty")
    _, regions, statistics, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8), connectivity=4)
    largest = 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()  # region 0 is the background
    copy = io.BytesIO()
    Image.fromarray(np.where(regions == largest, 255, 0).astype(np.uint8)).save(copy, "PNG", optimize=True)
    return copy.getvalue()


def fingerprint(path: str | Path) -> str:
    """Identify a copy.

    Args:
        path: of a photograph (.jpg) or a mask (.png).

    Returns:
        The sha256 of the file of a photograph, and of the pixels of a mask; "" where that is no gray image.
    """
    data = Path(path).read_bytes()
    if Path(path).suffix != ".png":
        return hashlib.sha256(data).hexdigest()
    try:
        with Image.open(io.BytesIO(data)) as mask:
            is_gray, pixels = mask.mode == "L", np.asarray(mask)
    except Exception:  # Pillow's decoders raise many kinds for damaged files
        return ""
    return hashlib.sha256(pixels.tobytes()).hexdigest() if is_gray else ""
