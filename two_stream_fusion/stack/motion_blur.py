"""Frames of a focus stack that a bump of the camera blurred by motion.

Not from the paper. Blur out of focus is alike in all directions; motion takes the detail along it and leaves
the detail across it. A frame between two others is compared with both by its gradients. The first and the
last frame may be less sharp than their neighbours, so they are compared by the power of their spectra.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Callable, NamedTuple, Sequence

import cv2
import numpy as np
import scipy.fft

from two_stream_fusion.stack.screening import Misfit, reduced_gray

SIDE = 600  # pixels: the longer side of the versions whose gradients are compared
CELLS = 12  # a side, of the grid of gradients
NOISE = 0.3  # gray levels: added to gradients before a ratio, so that noise counts for little
HAS_DETAIL = 1.0  # gray levels: cells with weaker gradients say nothing
MIN_CELLS = 8
MAX_LOSS = 0.08  # of detail along the motion (logarithm), below both neighbours: 0.01 in real stacks
MAX_ASYMMETRY = 0.1  # how much more is lost along than across the motion: 0.02 in real stacks that lose some
SPECTRUM_SIDE = 400  # pixels: the longer side of the versions whose spectra are compared
PATCH = 48  # pixels a side, of the patches that have a spectrum; they overlap by half
RINGS = (3.6, 5.4, 8, 12, 18)  # periods a patch: the bounds between rings of frequencies
SECTORS = 12  # of half a turn
ALONG = 1  # sectors on each side of the motion whose power is compared, too
POWER_NOISE = 1.5  # squared gray levels: the power of noise and of rounding at each frequency
HAS_POWER = 2  # times that: rings with less power along or across say nothing
MIN_RINGS = 40  # of all patches
AGREE = 0.85  # of the rings of all patches lose power
MAX_POWER_LOSS = 0.06  # along against across (logarithm): -0.13 in clean stacks, 0.14 at 3 % of the width
TREND = 3  # times what the next frame lost already against the second one: may be lost by another focus


class Directions(NamedTuple):
    """The detail of a frame by directions.

    gradients: 4 x CELLS x CELLS float32 (`directional_detail`).
    levels: gray levels, float32, at most SPECTRUM_SIDE pixels a side, of which the spectra are taken.
    """

    gradients: np.ndarray
    levels: np.ndarray


def measure_directions(frame: np.ndarray) -> Directions:
    """Measure the detail of a frame by directions, as `find_motion_blur` compares it.

    Args:
        frame: H x W or H x W x 3, uint8 or uint16; or its gray levels, float32.

    Returns:
        The detail. Frames of one stack must have one shape.
    """
    levels = reduced_gray(frame, SIDE)
    return Directions(directional_detail(levels), reduced_gray(levels, SPECTRUM_SIDE))


def directional_detail(frame: np.ndarray) -> np.ndarray:
    """The gradients of a frame in four directions.

    Args:
        frame: H x W or H x W x 3, uint8 or uint16; or its gray levels, float32.

    Returns:
        4 x CELLS x CELLS float32: the logarithm of the mean gradient in each cell, along the columns, one
        diagonal, the rows and the other diagonal.
    """
    levels = cv2.GaussianBlur(reduced_gray(frame, SIDE), (0, 0), 0.8)
    x, y = (cv2.Sobel(levels, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    rows, columns = (_cell_weights(length) for length in levels.shape)
    means = np.array([rows @ np.abs(one) @ columns.T for one in (x, x + y, y, x - y)])
    means[1::2] /= np.float32(2**0.5)
    return np.log(means + np.float32(NOISE))


def spectral_power(frame: np.ndarray) -> np.ndarray:
    """The power of a frame's patches at rings of frequencies, by directions.

    Args:
        frame: H x W or H x W x 3, uint8 or uint16; or its gray levels, float32.

    Returns:
        Patches x rings x SECTORS float32, squared gray levels, of white noise its variance. Sector k is of
        waves that run 180 k / SECTORS degrees from the rows. No patches where a side is shorter than PATCH.
    """
    levels = reduced_gray(frame, SPECTRUM_SIDE)
    window, weights = _patch_weights()
    step = PATCH // 2
    rows, columns = (range(0, length - PATCH + 1, step) for length in levels.shape)
    patches = np.array([levels[y : y + PATCH, x : x + PATCH] for y in rows for x in columns])
    if not len(patches):
        return np.zeros((0, len(RINGS) - 1, SECTORS), np.float32)
    patches = (patches - patches.mean(axis=(1, 2), keepdims=True)) * window
    spectra = scipy.fft.rfft2(patches).reshape(len(patches), -1)
    return ((spectra.real**2 + spectra.imag**2) @ weights).reshape(len(patches), -1, SECTORS)


def find_motion_blur(
    measured: Sequence[Directions], indices: Sequence[int], sort: Callable[[list[int]], list[int]]
) -> list[Misfit]:
    """Find frames that the camera's motion blurred.

    The sharpness of a detail rises to one frame of a stack and falls behind it. So a frame between two others
    is not less sharp than both. One that is, in most cells and in one direction far more than across it, is
    blurred by motion.

    The first and the last frame may be less sharp than their neighbours, but alike in all directions. One
    that loses power in one direction, compared with the direction across it, nearly everywhere and to both of
    the two next frames, is blurred by motion.

    Args:
        measured: `measure_directions` of each frame.
        indices: of the frames that belong, in the order given.
        sort: puts indices into the order of their focus. Where the others are not given in it, nothing is
            found.

    Returns:
        The misfits, by their indices.
    """
    remaining, misfits = list(indices), []
    power: dict[int, np.ndarray] = {}
    while len(remaining) > 2:
        ends = remaining[:3], remaining[:-4:-1]
        power.update({i: spectral_power(measured[i].levels) for i in {*ends[0], *ends[1]} - set(power)})
        gradients = [measured[i].gradients for i in remaining]
        scores = [
            _end_score(*(power[i] for i in ends[0])),
            *(_middle_score(*gradients[i - 1 : i + 2]) for i in range(1, len(remaining) - 1)),
            _end_score(*(power[i] for i in ends[1])),
        ]
        worst = int(np.argmin(scores))
        others = remaining[:worst] + remaining[worst + 1 :]
        if scores[worst] >= 0 or sort(others) != others:
            break
        misfits.append(Misfit(remaining[worst], "blurred by motion"))
        remaining = others
    return sorted(misfits)


def _middle_score(before, detail, after):
    """Negative where a frame is blurred by motion, compared to both neighbours."""
    lower = np.minimum(before, after)
    loss = detail - lower
    scores = [1.0]
    for along in range(4):
        usable = np.exp(lower[along]) - NOISE > HAS_DETAIL
        if np.count_nonzero(usable) >= MIN_CELLS:
            asymmetry = loss[along] - loss[(along + 2) % 4]
            scores.append(
                max(np.median(loss[along][usable]) + MAX_LOSS, np.median(asymmetry[usable]) + MAX_ASYMMETRY)
            )
    return min(scores)


def _end_score(power, next_one, second):
    """Negative where the first or last frame is blurred by motion, compared to the two next ones.

    Layers of different directions, as hairs before a photograph, look like motion where focus changes from
    one to the other. Such a change goes on from frame to frame, so a loss is excused where the next frame has
    a TREND-th of it already against the second one. A frame may be missing between them.
    """
    changes = np.maximum(*(_changes(power, other, AGREE) for other in (next_one, second)))
    trend = np.minimum(_changes(next_one, second, 0.5), 0)
    return float(np.min(changes - TREND * trend)) + MAX_POWER_LOSS


def _changes(power, other, quantile):
    """How much more power a frame has along each direction than another, against across it: SECTORS.

    The logarithm, of what a frame with the same share of the other's power in all directions would have
    there. It is a quantile over the rings of all patches; 1 where too few have power.
    """
    if not len(power):
        return np.ones(SECTORS)
    turns = range(-ALONG, ALONG + 1)
    along, other_along = (np.mean([np.roll(one, k, axis=2) for k in turns], axis=0) for one in (power, other))
    across, other_across = (np.roll(one, SECTORS // 2, axis=2) for one in (power, other))
    expected = (across + POWER_NOISE) / (other_across + POWER_NOISE) * other_along
    usable = np.min([across, other_across, other_along, expected], axis=0) > HAS_POWER * POWER_NOISE
    change = np.log((along + POWER_NOISE) / (expected + POWER_NOISE))
    counts = np.count_nonzero(usable, axis=(0, 1))
    ordered = np.sort(np.where(usable, change, np.inf).reshape(-1, SECTORS), axis=0)
    places = np.ceil(quantile * (counts - 1)).astype(int)
    return np.where(counts >= MIN_RINGS, ordered[places, range(SECTORS)], 1.0)


@lru_cache(maxsize=8)
def _cell_weights(length):
    """CELLS x length float32: the mean of the pixels in each cell, as by INTER_AREA."""
    return cv2.resize(np.eye(length, dtype=np.float32), (length, CELLS), interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=1)
def _patch_weights():
    """(window, weights): of the pixels of a patch; and of the power at its frequencies, for each mean."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(PATCH) / PATCH)
    window = np.outer(hann, hann) / (hann @ hann)
    y, x = scipy.fft.fftfreq(PATCH, 1 / PATCH)[:, None], scipy.fft.rfftfreq(PATCH, 1 / PATCH)
    radius, sector = np.hypot(x, y), np.arctan2(y, x) * SECTORS / np.pi
    count = np.where((x == 0) | (x == PATCH // 2), 1, 2)  # the other half of the plane is not computed
    weights = []
    for low, high in zip(RINGS, RINGS[1:]):
        for k in range(SECTORS):
            away = np.abs((sector - k + SECTORS / 2) % SECTORS - SECTORS / 2)
            share = ((radius >= low) & (radius < high)) * np.maximum(0, 1 - away) * count
            weights.append((share / share.sum()).ravel())
    return np.float32(window), np.ascontiguousarray(np.float32(weights).T)
