"""The noise of frames, and which frames of a stack are far noisier than others.

Noise is detail, so a noisy frame wins in most places. It does less harm left out, unless it alone is sharp
somewhere and its noise is weaker than what would be lost.

Not from the paper. The noise is that of plain blocks: J. Immerkaer, "Fast Noise Variance Estimation",
Computer Vision and Image Understanding 64(2), 1996, doi:10.1006/cviu.1996.0060.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

import cv2
import numpy as np

from two_stream_fusion.base.pixels import gray_levels

GRID = 24  # blocks a side at most, spread over a frame
BLOCK = 16  # pixels a side
MARGIN = 3  # pixels around a block that its filters see
SECOND = np.array([1, -2, 1], np.float32)  # second differences; in both directions, noise of 1 gives 6
DETAIL = cv2.getGaussianKernel(2 * MARGIN + 1, 1.5)  # what is finer than this Gaussian counts as detail
DETAIL_OF_NOISE = float(1 - 2 * DETAIL.max() ** 2 + (DETAIL**2).sum() ** 2)  # the variance of noise of 1
PLAIN = 0.1  # of the blocks are plain
MIN_BLOCKS = (
    10  # with fewer none is sure to be plain: frames of 48 x 64 pixels pass for noisy by their detail
)
MAX_CLIPPED = 0.05  # of the pixels of a block: where more are black or white, noise is not seen
MIN_NOISE = 2  # gray levels: noise below hardly wins (frame_selection.FLOOR)
# Times the noise of the quietest frame: under 1.5 in real stacks, 3.2 in one of cloth, of 1.2 levels.
NOISIER = 3
# Correlation of neighbouring pixels in plain blocks that show noise; grass and cloth: 0.52.
MAX_STRUCTURE = 0.5
WHITE = 0.22  # the same, below which the blocks show nothing but noise
MAX_LOST = 0.4  # of the variance of the noise: detail that a noisy frame alone shows, above which it is kept


class Noise(NamedTuple):
    """The noise of a frame, and its detail.

    sigma: standard deviation of the noise, in levels of 255.
    structure: correlation of neighbouring pixels in plain blocks: about 0 where they show noise alone.
    detail: float32, for each block the standard deviation of its detail without the noise.
    """

    sigma: float
    structure: float
    detail: np.ndarray


def measure_noise(frame: np.ndarray) -> Noise:
    """Measure the noise of a frame at its full size, on some of its blocks.

    Args:
        frame: H x W or H x W x 3, uint8 or uint16.

    Returns:
        Its noise; 0 where no block is unclipped, and in small frames (MIN_BLOCKS).
    """
    (rows, down), (columns, across) = map(_places, frame.shape[:2])
    blocks = len(rows) // down, len(columns) // across
    edges = [min(MARGIN, max(0, side - 2) // 2) for side in (down, across)]  # two pixels stay at least

    def mean(values, lost_rows=0, lost_columns=0):
        """The mean in each block without its margins, and without its last rows and columns."""
        sides = down - 2 * edges[0] - lost_rows, across - 2 * edges[1] - lost_columns
        places = [slice(edge, edge + side) for edge, side in zip(edges, sides)]
        inner = values.reshape(blocks[0], down, blocks[1], across)[:, places[0], :, places[1]]
        inner = inner.reshape(blocks[0] * sides[0], blocks[1] * sides[1])
        return cv2.resize(inner, blocks[::-1], interpolation=cv2.INTER_AREA).ravel()

    pixels = frame[rows].reshape(len(rows), frame.shape[1], -1).take(columns, axis=1)
    levels = gray_levels(pixels if frame.ndim == 3 else pixels[..., 0])
    fine = levels - cv2.sepFilter2D(levels, cv2.CV_32F, DETAIL, DETAIL)
    power = mean(np.square(fine))
    clipped = (levels < 0.5) | (levels > 254.5)
    seen = np.flatnonzero(mean(clipped.astype(np.float32)) <= MAX_CLIPPED)
    if blocks[0] * blocks[1] < MIN_BLOCKS or not len(seen):
        return Noise(0.0, 1.0, np.sqrt(power))
    curvature = mean(np.square(cv2.sepFilter2D(levels, cv2.CV_32F, SECOND, SECOND))) / 36
    plain = seen[np.argsort(curvature[seen])][: max(1, round(PLAIN * len(seen)))]
    below, beside = np.zeros_like(fine), np.zeros_like(fine)
    np.multiply(fine[1:], fine[:-1], out=below[:-1])
    np.multiply(fine[:, 1:], fine[:, :-1], out=beside[:, :-1])
    pairs = (mean(below, lost_rows=1) + mean(beside, lost_columns=1)) / 2
    structure = float(pairs[plain].sum() / max(power[plain].sum(), 1e-6))
    # Plain blocks were found by their curvature, so it is somewhat low there.
    variance = power[plain].mean() / DETAIL_OF_NOISE if structure < WHITE else curvature[plain].mean()
    detail = np.sqrt(np.maximum(power - DETAIL_OF_NOISE * variance, 0))
    return Noise(float(np.sqrt(variance)), structure, detail)


def find_noisy(noise: Sequence[Noise], step: float = 0) -> dict[int, bool]:
    """Find the frames that are far noisier than the quietest one.

    Args:
        noise: of each frame of a stack.
        step: between the levels that the frames use, in levels of 255. Rounding to them is no noise.

    Returns:
        {index: needed}. needed: whether the frame alone shows detail that is stronger than its noise.
    """
    quiet = min(one.sigma for one in noise)
    least = max(MIN_NOISE, step, NOISIER * quiet)
    noisy = [i for i, one in enumerate(noise) if one.sigma > least and one.structure < MAX_STRUCTURE]
    kept = [one.detail for i, one in enumerate(noise) if i not in noisy]
    needed = {}
    for i in sorted(noisy, key=lambda i: noise[i].sigma):
        lost = np.square(np.maximum(noise[i].detail - np.max(kept, axis=0), 0))
        needed[i] = bool(lost.mean() > MAX_LOST * noise[i].sigma ** 2)
        if needed[i]:
            kept.append(noise[i].detail)
    return dict(sorted(needed.items()))


def _places(length):
    """The rows (or columns) of the blocks and their margins, and how many each block has."""
    side = min(BLOCK + 2 * MARGIN, length)
    starts = np.linspace(0, length - side, max(1, min(GRID, length // side))).astype(int)
    return (starts[:, None] + np.arange(side)).ravel(), side
