"""Ways to make two photographs focused on different things out of a sharp one.

A recipe takes the sharp photograph (H x W x 3 uint8), the object's region (H x W bool) and a NumPy
Generator, and returns a, b and label, H x W x 3 uint8: a with the object out of focus, b with all but the
object out of focus, and what a perfect fusion of the two is.
"""

from __future__ import annotations

import cv2
import numpy as np

from data_prep import regions
from two_stream_fusion.base import lens, pixels


def paper(clean, region, rng):
    """Section 3.1 of the paper: a Gaussian of one deviation in 2..10, cut off at the object's outline."""
    blurred = gaussian(clean, rng.uniform(2, 10))
    inside = region[..., None]
    return np.where(inside, blurred, clean), np.where(inside, clean, blurred), clean


def defocus(clean, region, rng):
    """Ours, nearer to what lenses do: objects lie in front of what is behind them, and blur is of any size.

    One photograph in five is sharp on both sides, so that the net learns to leave things alone. In three of
    ten a random shape is the object, mask or not. a and b are blurred independently: deviation log-uniform
    in 0.4..6, by a Gaussian or by a disc (the image of a point through an open lens) of the same spread. On
    pixels small blurs differ from what is drawn: at 0.4 a Gaussian's deviation is 0.28 and a disc's 0.52, at
    0.5 0.46 and 0.63, at 1 1.00 and 1.08, from 2 on within 0.03. Half the pairs are layered (see `layered`),
    half are cut along the outline, softened in most.
    """
    return (*_through_a_lens(clean, _redrawn(region, rng), rng), clean)


def handheld(clean, region, rng):
    """The pairs of `defocus` as two photographs by hand show them: with noise, JPEG, and out of register.

    Half the pairs have noise of a deviation log-uniform in 0.3..4.5 levels in each of R, G and B, half JPEG's
    of a quality in 75..98. In half, b is up to 0.7 pixels off and 0.3 % larger or smaller. label is what a
    fusion could give back: at each pixel what the photograph in focus there shows, its noise and its place
    too. The luma of such noise has 0.67 of its deviation, so the gray plane has 0.2..3.0 levels, and so have
    all planes of a gray database: a gray photograph is the luma of a colour one.
    """
    region = _redrawn(region, rng)
    pair = _through_a_lens(clean, region, rng)
    noise = 0.3 * 15 ** rng.random() if rng.random() < 0.5 else None
    quality = int(rng.integers(75, 99)) if rng.random() < 0.5 else None
    moved = rng.random() < 0.5
    a = _taken(pair[0], noise, quality, None, rng)
    if pair[0] is pair[1]:
        return a, a, a
    b = _taken(pair[1], noise, quality, _motion(clean.shape, rng) if moved else None, rng)
    in_a, in_b = (taken.astype(np.float32) - image for taken, image in zip((a, b), pair))
    return a, b, _bytes(clean + np.where(region[..., None], in_b, in_a))


def recoloured(image, rng):
    """H x W x 3 uint8 as it is, or in half the draws in other colours.

    Those are R, G and B in another order, one of the three as it is and each other weakened by a factor
    log-uniform in 1..8: things of one colour, which a net that saw few fuses worse.
    """
    if rng.random() < 0.5:
        return image
    share = 8 ** -rng.random(3)
    share[rng.integers(3)] = 1
    return _bytes(image[..., rng.permutation(3)] * share.astype(np.float32))


def _redrawn(region, rng):
    """The object's region, or in three of ten a random shape."""
    return regions.shape(*region.shape, rng) if rng.random() < 0.3 else region


def _through_a_lens(clean, region, rng):
    """(object out of focus, all else out of focus), H x W x 3 uint8; in one of five `clean` itself twice."""
    if rng.random() < 0.2:
        return clean, clean
    blurs = [(rng.choice(("gaussian", "disc")), 0.4 * 15 ** rng.random()) for _ in range(2)]
    if rng.random() < 0.5:
        return layered(clean, region, blurs) if rng.random() < 0.5 else layered(clean, ~region, blurs)[::-1]
    outline = region.astype(np.float32)
    if rng.random() < 0.7:
        outline = _blur(outline, "gaussian", 0.5 * 8 ** rng.random())
    blurred = [_blur(clean.astype(np.float32), *blur) for blur in blurs]
    outline = outline[..., None]
    return (
        _bytes(clean + outline * (blurred[0] - clean)),
        _bytes(blurred[1] + outline * (clean - blurred[1])),
    )


def _motion(shape, rng):
    """2 x 3: up to 0.7 pixels off and 0.3 % larger or smaller, as a hand and focusing do."""
    scale = 1 + rng.uniform(-0.003, 0.003)
    off = [(1 - scale) * n / 2 + rng.uniform(-0.7, 0.7) for n in shape[1::-1]]
    return np.array([[scale, 0, off[0]], [0, scale, off[1]]])


def _taken(image, noise, quality, motion, rng):
    """A photograph of an image (H x W x 3 uint8): moved, with noise, and through JPEG; what is None not."""
    if motion is not None:
        size = image.shape[1::-1]
        image = cv2.warpAffine(image, motion, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    if noise is not None:
        image = _bytes(image + np.float32(noise) * rng.standard_normal(image.shape, np.float32))
    if quality is not None:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return image


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
    far = light.reshape(-1, 3)[pixels.nearest_index(~near)]
    soft = _blur(np.dstack([light * matte, matte]), *blurs[0])
    a = soft[..., :3] + far * (1 - soft[..., 3:])
    b = light * matte + _blur(far, *blurs[1]) * (1 - matte)
    return tuple(_bytes(255 * np.clip(image, 0, 1) ** np.float32(1 / 2.2)) for image in (a, b))


def _blur(image, kind, deviation):
    """A float32 image blurred by a Gaussian, or by a disc of that deviation along an axis before it is put on
    pixels (see `defocus`), mirrored."""
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


RECIPES = {"paper": paper, "defocus": defocus, "handheld": handheld}
