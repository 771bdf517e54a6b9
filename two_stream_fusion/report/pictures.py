"""Pictures inside a page: shrunk, coloured and encoded as data URIs within a bound."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple, Sequence

import cv2
import numpy as np
from PIL import Image

from two_stream_fusion.base.pixels import depth_scale, eight_bits
from two_stream_fusion.io import icc

MAX_SIDE = 1600  # pixels of a picture
MAX_BYTES = 24_000_000  # all pictures of a page, as text
WHITE = 32  # levels of 0..255: the difference that is shown brightest
# Qualities of WebP and shrinking factors, tried in this order until all pictures fit. Fine differences are
# what a page is for, so the quality falls a little before pixels are lost.
RUNGS = ((90, 1.0), (80, 1.0), (80, 0.7), (75, 0.5), (75, 0.35), (70, 0.25), (70, 0.12), (60, 0.06))
TWO_COLOURS = ((0x2B, 0x6C, 0xB0), (0xF2, 0xA9, 0x3B))  # blue and orange: told apart by the colour-blind too


class Shown(NamedTuple):
    """Pixels to embed.

    pixels: H x W, H x W x 3 or H x W x 4 (RGB and alpha), uint8, as `shrink` gives them. is_flat: a map of
    few colours, which is encoded without loss. icc: the profile of the colours.
    """

    pixels: np.ndarray
    is_flat: bool = False
    icc: bytes | None = None


def shrink(image: np.ndarray, is_flat: bool = False, max_side: int = MAX_SIDE) -> np.ndarray:
    """Make an image small enough for a page.

    Args:
        image: H x W or H x W x C, uint8 or uint16.
        is_flat: take the nearest pixel: a mean of two labels would be a third one.
        max_side: pixels of the longer side.

    Returns:
        The image in uint8, with the proportions it had.
    """
    factor = max_side / max(image.shape[:2])
    if factor < 1:
        size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST if is_flat else cv2.INTER_AREA)
    return np.ascontiguousarray(eight_bits(image))


def choice_colours(count: int) -> np.ndarray:
    """The colour of each frame in a map of choices.

    Args:
        count: the number of frames.

    Returns:
        count x 3 uint8: blue and orange for two frames, viridis from the first to the last for more.
    """
    if count <= 2:
        return np.array(TWO_COLOURS[:count], np.uint8)
    levels = np.linspace(0, 255, count).round().astype(np.uint8)
    return cv2.applyColorMap(levels[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1].copy()


def difference_picture(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The absolute difference of two images as colours, inferno: black where they are equal.

    Args:
        image, truth: H x W or H x W x 3, uint8 or uint16, alike.

    Returns:
        H x W x 3 uint8; of colour images the channel that differs most counts. WHITE levels and more have the
        brightest colour.
    """
    levels = np.abs(image.astype(np.float32) - truth) / depth_scale(image)
    levels = levels.max(axis=2) if levels.ndim == 3 else levels
    scaled = np.minimum(levels * (255 / WHITE), 255).astype(np.uint8)
    return cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)[..., ::-1].copy()


def encode_all(pictures: Sequence[Shown], max_bytes: int = MAX_BYTES) -> list[str]:
    """Encode pictures as data URIs of WebP.

    Args:
        pictures: what to embed.
        max_bytes: the bound of all URIs together, in characters.

    Returns:
        A URI for each.

    Raises:
        ValueError: there are too many for the bound, however small they are made.
    """
    for quality, factor in RUNGS:
        total, uris = 0, []
        for picture in pictures:
            uris.append(_encode(picture, quality, factor))
            total += len(uris[-1])
            if total > max_bytes:
                break
        else:
            return uris
    raise ValueError(f"{len(pictures)} pictures are too many for a page of {max_bytes / 1e6:.0f} MB")


def _encode(picture, quality, factor):
    pixels = picture.pixels
    if factor < 1:
        pixels = shrink(pixels, picture.is_flat, max(1, round(factor * max(pixels.shape[:2]))))
    options = {"lossless": True} if picture.is_flat else {"quality": quality, "method": 3}
    profile = icc.rgb_profile(picture.icc) if pixels.ndim == 3 else b""
    if profile:
        options["icc_profile"] = profile
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "WEBP", **options)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode("ascii")
