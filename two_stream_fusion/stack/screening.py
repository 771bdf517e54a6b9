"""Frames of a stack that do not belong: black, lit in another way, blurred by a bump, of another scene.

Not from the paper. Frames are compared in small versions, each with what most frames agree on. The bounds
lie between what real stacks reach and what such faults do; both stand beside them.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

import cv2
import numpy as np

from two_stream_fusion.base.pixels import gray

SIDE = 256  # pixels: the longer side of the small versions
BROAD_SIGMA = 6  # pixels: the Gaussian under which focus does not matter
CELLS = 16  # a side, of the grid on which detail is compared
MAX_GAIN = 1.5  # brightness against the median of the frames: 1.08 in real stacks, 2.8 without flash
MIN_CORRELATION = 0.6  # with the median of the frames, focus blurred away: 0.86 in real stacks
MIN_AGREEMENT = 0.8  # the same of half of the frames, below which they have no scene in common
MIN_DETAIL = 0.7  # of the sharper neighbour's, in a frame's best cells: 0.85 in real stacks, 0.5 after a bump
BEST_CELLS = 0.95  # quantile over the cells where a neighbour or the frame has detail
HAS_DETAIL = 1.2  # gray levels, NOISE counted: cells below say nothing
MIN_CELLS = 8
DETAIL_SIGMA = 1.5  # pixels: what is finer than this Gaussian counts as detail
NOISE = 0.3  # gray levels: added to detail before a ratio, so that noise counts for little
MOTION_SIDE = 600  # pixels: the longer side of the versions on which blur by motion is looked for
MOTION_CELLS = 12  # a side
MOTION_HAS_DETAIL = 1.0  # gray levels
MAX_LOSS = 0.08  # of detail along the motion (logarithm), below both neighbours: 0.01 in real stacks
MAX_ASYMMETRY = 0.1  # how much more is lost along than across the motion: 0.02 in real stacks that lose some


class Misfit(NamedTuple):
    """A frame that does not belong to its stack: its index, and why, in words."""

    frame: int
    reason: str


def small_gray(frame: np.ndarray) -> np.ndarray:
    """A small version of a frame, as the other functions compare it.

    Args:
        frame: H x W or H x W x 3, uint8 or uint16.

    Returns:
        Gray levels in 0..255, float32, at most SIDE pixels a side.
    """
    return _reduce(frame, SIDE)


def find_misfits(small: Sequence[np.ndarray], sort: Callable[[list[int]], list[int]] = list) -> list[Misfit]:
    """Find the frames of a stack that would harm a fusion.

    Args:
        small: `small_gray` of each frame.
        sort: puts indices of frames into the order of their focus; the default leaves them as they are.

    Returns:
        The misfits, by their indices. None where there are fewer than three frames, or half of them or more
        would be misfits: then it is not known which are the right ones.
    """
    if len(small) < 3:
        return []
    broad = np.array([cv2.GaussianBlur(levels, (0, 0), BROAD_SIGMA) for levels in small])
    median = np.median(broad, axis=0)
    correlations = [_correlation(levels, median) for levels in broad]
    agree = np.median(correlations) >= MIN_AGREEMENT
    misfits = []
    for i, levels in enumerate(broad):
        gain = _gain(median, levels)
        if not 1 / MAX_GAIN <= gain <= MAX_GAIN:
            misfits.append(Misfit(i, f"{gain:.2g} times as bright as the others"))
        elif agree and correlations[i] < MIN_CORRELATION:
            misfits.append(Misfit(i, "of another scene"))
    excluded = {misfit.frame for misfit in misfits}
    order = sort([i for i in range(len(small)) if i not in excluded])
    details = [_detail(small[i]) for i in order]
    for i, frame in enumerate(order):
        neighbours = [details[j] for j in (i - 1, i + 1) if 0 <= j < len(order)]
        if neighbours and _is_blurred(details[i], np.max(neighbours, axis=0)):
            misfits.append(Misfit(frame, "blurred throughout"))
    return sorted(misfits) if 2 * len(misfits) < len(small) else []


def directional_detail(frame: np.ndarray) -> np.ndarray:
    """The detail of a frame in four directions, as `find_motion_blur` compares it.

    Args:
        frame: H x W or H x W x 3, uint8 or uint16.

    Returns:
        4 x MOTION_CELLS x MOTION_CELLS float32: the logarithm of the mean gradient in each cell, along the
        columns, one diagonal, the rows and the other diagonal.
    """
    levels = cv2.GaussianBlur(_reduce(frame, MOTION_SIDE), (0, 0), 0.8)
    x, y = (cv2.Sobel(levels, cv2.CV_32F, *order) / 8 for order in ((1, 0), (0, 1)))
    gradients = x, (x + y) / np.float32(2**0.5), y, (x - y) / np.float32(2**0.5)
    cells = MOTION_CELLS, MOTION_CELLS
    means = [cv2.resize(np.abs(one), cells, interpolation=cv2.INTER_AREA) for one in gradients]
    return np.log(np.array(means) + np.float32(NOISE))


def find_motion_blur(
    details: Sequence[np.ndarray], indices: Sequence[int], sort: Callable[[list[int]], list[int]]
) -> list[Misfit]:
    """Find frames that the camera's motion blurred.

    The sharpness of a detail rises to one frame of a stack and falls behind it. So a frame between two others
    is not less sharp than both. One that is, in most cells and in one direction far more than across it, is
    blurred by motion. The ends of a stack cannot be judged.

    Args:
        details: `directional_detail` of each frame.
        indices: of the frames that belong, in the order given.
        sort: puts indices into the order of their focus. Where the others are not given in it, nothing is
            found.

    Returns:
        The misfits, by their indices.
    """
    remaining, misfits = list(indices), []
    while len(remaining) > 2:
        scores = [
            _motion_score(*(details[j] for j in remaining[i - 1 : i + 2]))
            for i in range(1, len(remaining) - 1)
        ]
        worst = int(np.argmin(scores)) + 1
        others = remaining[:worst] + remaining[worst + 1 :]
        if scores[worst - 1] >= 0 or sort(others) != others:
            break
        misfits.append(Misfit(remaining[worst], "blurred by motion"))
        remaining = others
    return sorted(misfits)


def _motion_score(before, detail, after):
    """Negative where a frame is blurred by motion, compared to both neighbours."""
    lower = np.minimum(before, after)
    loss = detail - lower
    scores = [1.0]
    for along in range(4):
        usable = np.exp(lower[along]) - NOISE > MOTION_HAS_DETAIL
        if np.count_nonzero(usable) >= MIN_CELLS:
            asymmetry = loss[along] - loss[(along + 2) % 4]
            scores.append(
                max(np.median(loss[along][usable]) + MAX_LOSS, np.median(asymmetry[usable]) + MAX_ASYMMETRY)
            )
    return min(scores)


def compare_pair(first: np.ndarray, second: np.ndarray) -> str | None:
    """Say how the second of two images differs from the first, where that would harm a fusion.

    Args:
        first, second: `small_gray` of each.

    Returns:
        What the second is, compared to the first, or None.
    """
    gain = _gain(*(cv2.GaussianBlur(levels, (0, 0), BROAD_SIGMA) for levels in (first, second)))
    if not 1 / MAX_GAIN <= gain <= MAX_GAIN:
        return f"{gain:.2g} times as bright"
    details = _detail(first), _detail(second)
    if _is_blurred(details[1], details[0]):
        return "blurred throughout"
    return "sharper throughout" if _is_blurred(*details) else None


def _reduce(frame, side):
    """A frame as gray levels in 0..255, float32, at most `side` pixels a side."""
    share = min(1, side / max(frame.shape[:2]))
    size = tuple(max(2, round(length * share)) for length in frame.shape[1::-1])
    return gray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA)).astype(np.float32)


def _gain(reference, levels):
    return float(np.median((levels + 1) / (reference + 1)))


def _is_blurred(detail, neighbour):
    told = np.maximum(detail, neighbour) > HAS_DETAIL
    if np.count_nonzero(told) < MIN_CELLS:
        return False
    return bool(np.quantile(detail[told] / neighbour[told], BEST_CELLS) < MIN_DETAIL)


def _correlation(first, second):
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum()) / norm if norm else 0.0


def _detail(levels):
    """CELLS x CELLS float32: the mean size of fine detail in each cell, and NOISE."""
    fine = cv2.absdiff(levels, cv2.GaussianBlur(levels, (0, 0), DETAIL_SIGMA))
    return cv2.resize(fine, (CELLS, CELLS), interpolation=cv2.INTER_AREA) + np.float32(NOISE)
