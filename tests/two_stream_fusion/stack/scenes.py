"""A photograph, focus stacks of which the truth is known, and a network that knows it."""

from functools import lru_cache

import cv2
import numpy as np
import pytest
import skimage.data

KINDS = pytest.mark.parametrize("kind", ["gray8", "colour8", "gray16", "colour16"])


def sharper(a, b, **_):
    """A net that knows: of the two, the one with more detail around, pixel by pixel; noise of its own."""
    sharpness = [
        cv2.GaussianBlur(cv2.Laplacian(x.astype(np.float32), -1) ** 2, (0, 0), 3).reshape(*x.shape[:2], -1)
        for x in (a, b)
    ]
    first = sharpness[0].mean(2) >= sharpness[1].mean(2)
    return np.where(first if a.ndim == 2 else first[..., None], a, b)


def strips(shape, dtype=np.uint8, count=4):
    """A photograph, frames each sharp in an upright strip of its own, and the strip of each column."""
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    truth = rng.integers(0, top, shape, dtype, endpoint=True)
    strip = np.arange(shape[1]) * count // shape[1]
    frames = []
    for i in range(count):
        frame = cv2.GaussianBlur(truth, (0, 0), 3)
        frame[:, strip == i] = truth[:, strip == i]
        frames.append(frame)
    return truth, frames, strip


def receding(count, shape=(240, 320, 3)):
    """Frames of a plane that recedes from left to right, each in focus at one depth."""
    truth = np.random.default_rng(2).integers(0, 255, shape, np.uint8)
    blurred = [cv2.GaussianBlur(truth, (0, 0), 0.3 + 0.6 * i) if i else truth for i in range(count)]
    depth = np.arange(shape[1]) * count // shape[1]
    frames = []
    for i in range(count):
        frame = truth.copy()
        for d in range(count):
            frame[:, depth == d] = blurred[abs(d - i)][:, depth == d]
        frames.append(frame)
    return frames


@lru_cache(maxsize=None)
def photograph():
    """400 x 512 x 3 uint8, of the astronaut."""
    return skimage.data.astronaut()[:400]


def as_kind(image, image_type):
    """A colour uint8 image as gray or colour, 8 or 16 bit."""
    if image_type.startswith("gray"):
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return image.astype(np.uint16) * 257 if image_type.endswith("16") else image


def slope(image, count, most=6.0):
    """Frames (float32) of a photograph whose depth grows from left to right; the largest blur is `most`."""
    sharp = image.astype(np.float32)
    sigmas = np.linspace(0, most, 25)
    levels = np.stack([cv2.GaussianBlur(sharp, (0, 0), float(s)) if s else sharp for s in sigmas])
    width = image.shape[1]
    for i in range(count):
        nearest = np.rint(np.abs(np.linspace(0, 1, width) - i / (count - 1)) * 24).astype(int)
        yield np.stack([levels[nearest[x], :, x] for x in range(width)], axis=1)


def levels(values, dtype=np.uint8):
    """Values rounded to levels of a type, those beyond it clipped."""
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)


def psnr(truth, image, peak=255):
    """Peak signal to noise in dB."""
    return 10 * np.log10(peak**2 / np.mean((truth.astype(float) - image) ** 2))
