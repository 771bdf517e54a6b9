"""Ways to make two photographs focused on different things out of a sharp one.

A recipe is a function (clean, region, rng) -> (a, b, label):

| | |
|---|---|
| clean | the sharp photograph, H x W x 3 uint8 RGB |
| region | the object, H x W bool |
| rng | a NumPy Generator; the same state gives the same pair |
| a | the object out of focus, H x W x 3 uint8 |
| b | all but the object out of focus, H x W x 3 uint8 |
| label | the ground truth: the ideal fusion of a and b, H x W x 3 uint8 |
"""

from __future__ import annotations

from typing import Callable, Tuple

import cv2
import numpy as np

from data_prep.regions import random_region
from two_stream_fusion.base import lens, pixels

Images = Tuple[np.ndarray, np.ndarray, np.ndarray]
Blur = Tuple[str, float]  # "gaussian" or "disc", and its sigma in pixels
GAMMA = 2.2  # of the photographs' levels
PAPER_SIGMA = (2, 10)  # section 3.1

# The shares of pairs in `blur_photographs`, drawn independently, but that a pair is dark or of low range, not
# both. Half the pairs are recoloured too.
# Plain pairs keep the largest part: with noise, JPEG and misalignment in half of all, the paper's net loses
# 1 dB on plain pairs (models/2-1-2_f64_k5-handheld).
NOISY_SHARE = 0.25  # photographs in low light are noisy
JPEG_SHARE = 0.25  # cameras write JPEG
MOVED_SHARE = 0.15  # alignment leaves fractions of a pixel
DARK_SHARE = 0.15  # night scenes; their gradients are small, so that few pairs would teach the net nothing
LOW_RANGE_SHARE = 0.1  # haze, fluorescence and X-rays use a part of the range
LEAST_RANGE = 1 / 12  # of the range of levels, in dark pairs and those of low range


def blur_paper(clean: np.ndarray, region: np.ndarray, rng: np.random.Generator) -> Images:
    """Blur as section 3.1 of the paper does: a Gaussian of one sigma in 2..10, cut off at the outline.

    Args:
        clean, region, rng: as of every recipe, see above.

    Returns:
        (a, b, label), likewise.
    """
    blurred = blur_gaussian(clean, rng.uniform(*PAPER_SIGMA))
    inside = region[..., None]
    return np.where(inside, blurred, clean), np.where(inside, clean, blurred), clean


def blur_defocus(clean: np.ndarray, region: np.ndarray, rng: np.random.Generator) -> Images:
    """Blur nearer to what lenses do: objects lie in front of the background, and blur is of any size.

    - With probability 0.2 both photographs are sharp, so that the net learns to leave things alone.
    - With probability 0.3 the region is replaced by a random one.
    - a and b are blurred independently, by a Gaussian or by a disc (the image of a point through an open
      lens) of the same spread. Sigma is log-uniform in 0.4..6.
    - Half the other pairs are layered (see `blur_layers`). The rest are cut along the outline, which is
      softened in most.

    Pixels change the spread of small blurs:

    | sigma | Gaussian | disc |
    |---|---|---|
    | 0.4 | 0.28 | 0.52 |
    | 0.5 | 0.46 | 0.63 |
    | 1 | 1.00 | 1.08 |
    | 2 and more | within 0.03 | within 0.03 |

    Args:
        clean, region, rng: as of every recipe, see above.

    Returns:
        (a, b, label), likewise.
    """
    return (*_defocus_pair(clean, _maybe_random_region(region, rng), rng), clean)


def blur_handheld(clean: np.ndarray, region: np.ndarray, rng: np.random.Generator) -> Images:
    """Make the pairs of `blur_defocus` look hand-held: with noise, JPEG and misalignment.

    - Half the pairs have noise in each of R, G and B. Its sigma is log-uniform in 0.3..4.5 levels.
    - Half have JPEG artefacts of a quality in 75..98.
    - In half of those that are not sharp in both, b is up to 0.7 pixels off and 0.3 % larger or smaller.

    The label is what a fusion could give back: at each pixel the photograph that is in focus there, with its
    noise and its displacement. The luma of the noise has 0.67 of its sigma, so the gray plane has 0.2..3.0
    levels. All planes of a gray database have as much: a gray photograph is the luma of a colour one.

    Args:
        clean, region, rng: as of every recipe, see above.

    Returns:
        (a, b, label), likewise.
    """
    return _handheld_pair(clean, region, rng, noisy=0.5, compressed=0.5, moved=0.5)


def blur_photographs(clean: np.ndarray, region: np.ndarray, rng: np.random.Generator) -> Images:
    """Make pairs of all kinds that photographs come in.

    The pairs are those of `blur_handheld`, with other shares of noise, JPEG and misalignment (the constants
    above). Before that the colours of half of them change (`recolour`), and some become dark or use a part
    of the levels alone (`reduce_range`).

    Args:
        clean, region, rng: as of every recipe, see above.

    Returns:
        (a, b, label), likewise.
    """
    clean = reduce_range(recolour(clean, rng), rng)
    return _handheld_pair(clean, region, rng, NOISY_SHARE, JPEG_SHARE, MOVED_SHARE)


def reduce_range(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weaken the levels of some images, as darkness, haze and faint subjects do.

    In DARK_SHARE of the draws all levels are multiplied by a factor log-uniform in LEAST_RANGE..1. In
    LOW_RANGE_SHARE they are also raised by a random level, so that they end below 256.

    Args:
        image: H x W x 3 uint8.
        rng: the generator to draw from.

    Returns:
        H x W x 3 uint8; `image` itself where nothing changes.
    """
    kind, factor, raised = rng.random(3)
    if kind >= DARK_SHARE + LOW_RANGE_SHARE:
        return image
    scale = LEAST_RANGE**factor
    offset = 0 if kind < DARK_SHARE else raised * 255 * (1 - scale)
    return _to_uint8(image * np.float32(scale) + np.float32(offset))


def recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With probability 0.5, give an image strong colours, which are rare in photographs.

    R, G and B change places. One of the three keeps its levels, each other is weakened by a factor
    log-uniform in 1..8. A net trained without strong colours fuses them worse.

    Args:
        image: H x W x 3 uint8.
        rng: the generator to draw from.

    Returns:
        H x W x 3 uint8; `image` itself where nothing changes.
    """
    if rng.random() < 0.5:
        return image
    share = 8 ** -rng.random(3)
    share[rng.integers(3)] = 1
    return _to_uint8(image[..., rng.permutation(3)] * share.astype(np.float32))


def blur_layers(clean: np.ndarray, near: np.ndarray, blurs: tuple[Blur, Blur]) -> tuple:
    """Photograph a scene of two layers twice, once focused on each.

    The near layer, blurred, spills over the far one and lets it show through. Sharp, it has a sharp outline,
    and the far layer's blur holds none of it. What the near layer hides is taken from the nearest pixel
    beside it. Light is added up, not gamma-encoded levels.

    Args:
        clean: the sharp photograph, H x W x 3 uint8.
        near: H x W bool, where the near layer is.
        blurs: the blur of the near layer and of the far one, each ("gaussian" or "disc", sigma).

    Returns:
        (near layer out of focus, far layer out of focus), each H x W x 3 uint8.
    """
    if near.all():
        return _to_uint8(_blur(clean.astype(np.float32), *blurs[0])), clean
    if not near.any():
        return clean, _to_uint8(_blur(clean.astype(np.float32), *blurs[1]))
    light = ((np.arange(256) / 255) ** GAMMA).astype(np.float32)[clean]
    matte = near.astype(np.float32)[..., None]
    far = light.reshape(-1, 3)[pixels.nearest_index(~near)]
    soft = _blur(np.dstack([light * matte, matte]), *blurs[0])
    a = soft[..., :3] + far * (1 - soft[..., 3:])
    b = light * matte + _blur(far, *blurs[1]) * (1 - matte)
    return tuple(_to_uint8(255 * np.clip(image, 0, 1) ** np.float32(1 / GAMMA)) for image in (a, b))


def blur_gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur an image by a Gaussian, in float32, mirrored at its borders.

    Args:
        image: H x W x 3 uint8.
        sigma: in pixels.

    Returns:
        H x W x 3 uint8, rounded.
    """
    channels = (image[..., c].astype(np.float32) for c in range(3))  # one at a time, for memory
    return np.dstack([_to_uint8(_blur(channel, "gaussian", sigma)) for channel in channels])


def _maybe_random_region(region, rng):
    """The region, or with probability 0.3 a random one in its place."""
    return random_region(*region.shape, rng) if rng.random() < 0.3 else region


def _defocus_pair(clean, region, rng):
    """(a, b) of `blur_defocus`; with probability 0.2 both are `clean` itself."""
    if rng.random() < 0.2:
        return clean, clean
    blurs = [(rng.choice(("gaussian", "disc")), 0.4 * 15 ** rng.random()) for _ in range(2)]
    if rng.random() < 0.5:
        if rng.random() < 0.5:
            return blur_layers(clean, region, blurs)
        return blur_layers(clean, ~region, blurs)[::-1]
    outline = region.astype(np.float32)
    if rng.random() < 0.7:
        outline = _blur(outline, "gaussian", 0.5 * 8 ** rng.random())
    blurred = [_blur(clean.astype(np.float32), *blur) for blur in blurs]
    outline = outline[..., None]
    return (
        _to_uint8(clean + outline * (blurred[0] - clean)),
        _to_uint8(blurred[1] + outline * (clean - blurred[1])),
    )


def _handheld_pair(clean, region, rng, noisy, compressed, moved):
    """(a, b, label) of `blur_handheld`, with the shares of pairs that have noise, JPEG and misalignment."""
    region = _maybe_random_region(region, rng)
    pair = _defocus_pair(clean, region, rng)
    noise = 0.3 * 15 ** rng.random() if rng.random() < noisy else None
    quality = int(rng.integers(75, 99)) if rng.random() < compressed else None
    is_moved = rng.random() < moved
    a = capture(pair[0], noise, quality, None, rng)
    if pair[0] is pair[1]:
        return a, a, a
    b = capture(pair[1], noise, quality, _random_motion(clean.shape, rng) if is_moved else None, rng)
    in_a, in_b = (captured.astype(np.float32) - image for captured, image in zip((a, b), pair))
    return a, b, _to_uint8(clean + np.where(region[..., None], in_b, in_a))


def _random_motion(shape, rng):
    """A 2 x 3 matrix: up to 0.7 pixels off and 0.3 % larger or smaller, as a hand and focusing cause."""
    scale = 1 + rng.uniform(-0.003, 0.003)
    offset = [(1 - scale) * n / 2 + rng.uniform(-0.7, 0.7) for n in shape[1::-1]]
    return np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])


def capture(
    image: np.ndarray,
    noise: float | None,
    quality: int | None,
    motion: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Photograph an image: move it, add noise, compress it. None leaves a step out.

    Args:
        image: H x W x 3 uint8 RGB.
        noise: its sigma in levels, in each of R, G and B.
        quality: of JPEG.
        motion: 2 x 3, takes points of `image` to those of the result.
        rng: the generator of the noise.

    Returns:
        H x W x 3 uint8.
    """
    if motion is not None:
        size = image.shape[1::-1]
        image = cv2.warpAffine(image, motion, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    if noise is not None:
        image = _to_uint8(image + np.float32(noise) * rng.standard_normal(image.shape, np.float32))
    if quality is not None:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return image


def _blur(image, shape, sigma):
    """A float32 image blurred by a Gaussian, or by a disc of that sigma along an axis, mirrored.

    The sigma is that of the continuous blur, before it is sampled on pixels (see `blur_defocus`).
    """
    if shape == "gaussian":
        return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return lens.disc(image, 2 * sigma)


def _to_uint8(image):
    return pixels.round_half_even(image, np.uint8)


Recipe = Callable[[np.ndarray, np.ndarray, np.random.Generator], Images]
RECIPES: dict[str, Recipe] = {
    "paper": blur_paper,
    "defocus": blur_defocus,
    "handheld": blur_handheld,
    "photographs": blur_photographs,
}
