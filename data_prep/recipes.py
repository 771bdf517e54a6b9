"""Ways to make two photographs focused on different things out of a sharp one.

A recipe takes the sharp photograph (H x W x 3 uint8), the object's region (H x W bool) and a NumPy
Generator, and returns a, b and label, H x W x 3 uint8: a with the object out of focus, b with all but the
object out of focus, and what a perfect fusion of the two is.
"""

from __future__ import annotations

import cv2
import numpy as np

from data_prep import lens, regions


def paper(clean, region, rng):
    """Section 3.1 of the paper: a Gaussian of one deviation in 2..10, cut off at the object's outline."""
    blurred = gaussian(clean, rng.uniform(2, 10))
    inside = region[..., None]
    return np.where(inside, blurred, clean), np.where(inside, clean, blurred), clean


def defocus(clean, region, rng):
    """Ours, nearer to what lenses do: objects lie in front of what is behind them, and blur is of any size.

    One photograph in five is sharp on both sides, so that the net learns to leave things alone. In three of
    ten a random shape is the object, mask or not. a and b are blurred independently: deviation log-uniform
    in 0.4..6, by a Gaussian or by a disc (the image of a point through an open lens) of the same spread. Half
    the pairs are layered (see `layered`), half are cut along the outline, softened in most.
    """
    if rng.random() < 0.3:
        region = regions.shape(*region.shape, rng)
    if rng.random() < 0.2:
        return clean, clean, clean
    blurs = [(rng.choice(("gaussian", "disc")), 0.4 * 15 ** rng.random()) for _ in range(2)]
    if rng.random() < 0.5:
        a, b = layered(clean, region, blurs) if rng.random() < 0.5 else layered(clean, ~region, blurs)[::-1]
        return a, b, clean
    outline = region.astype(np.float32)
    if rng.random() < 0.7:
        outline = _blur(outline, "gaussian", 0.5 * 8 ** rng.random())
    blurred = [_blur(clean.astype(np.float32), *blur) for blur in blurs]
    outline = outline[..., None]
    return (
        _bytes(clean + outline * (blurred[0] - clean)),
        _bytes(blurred[1] + outline * (clean - blurred[1])),
        clean,
    )


def layered(clean, near, blurs):
    """(near out of focus, far out of focus), each H x W x 3 uint8, of a scene of two layers.

    near: H x W bool, where the nearer layer is. Blurred, it spills over the far layer and lets it show
    through; sharp, it has a sharp outline, and none of it is in the far layer's blur. What the near layer
    hides is taken from the nearest pixel beside it. Light is added up, not values of gamma. blurs: the blur
    of near and of far, as of `_blur`.
    """
    if near.all() or not near.any():
        return tuple(_bytes(_blur(clean.astype(np.float32), *blur)) for blur in blurs)
    light = ((np.arange(256) / 255) ** 2.2).astype(np.float32)[clean]
    matte = near.astype(np.float32)[..., None]
    far = light.reshape(-1, 3)[lens.nearest(~near)]
    soft = _blur(np.dstack([light * matte, matte]), *blurs[0])
    a = soft[..., :3] + far * (1 - soft[..., 3:])
    b = light * matte + _blur(far, *blurs[1]) * (1 - matte)
    return tuple(_bytes(255 * np.clip(image, 0, 1) ** np.float32(1 / 2.2)) for image in (a, b))


def _blur(image, kind, deviation):
    """A float32 image blurred by a Gaussian, or by a disc of the same deviation along an axis, mirrored."""
    if kind == "gaussian":
        return cv2.GaussianBlur(image, (0, 0), deviation, borderType=cv2.BORDER_REFLECT_101)
    return lens.disc(image, 2 * deviation)


def _bytes(image):
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def gaussian(image, deviation):
    """`image` (H x W x 3 uint8) blurred in float32, mirrored at its borders, rounded back to uint8."""
    channels = (image[..., c].astype(np.float32) for c in range(3))  # one at a time, for memory
    blurred = (cv2.GaussianBlur(c, (0, 0), deviation, borderType=cv2.BORDER_REFLECT_101) for c in channels)
    return np.dstack([np.clip(np.rint(c), 0, 255).astype(np.uint8) for c in blurred])


RECIPES = {"paper": paper, "defocus": defocus}
