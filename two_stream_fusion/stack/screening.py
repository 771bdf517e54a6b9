"""Frames of a stack that do not belong: blank, too bright, noisy, blurred throughout, of another scene.

Not from the paper. Frames are compared in small versions, each with what most frames agree on. The bounds
lie between what real stacks reach and what such faults do; both stand beside them. Frames that a bump of the
camera blurred are found by stack/motion_blur.py.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

import cv2
import numpy as np

from two_stream_fusion.base.pixels import gray_levels
from two_stream_fusion.stack.noise import Noise, find_noisy

SIDE = 256  # pixels: the longer side of the small versions
BROAD_STEP = 4  # pixels: what is compared without its focus is made smaller by this factor
BROAD_SIGMA = 1.5  # such pixels: the Gaussian under which focus does not matter
CELLS = 16  # a side, of the grid on which detail is compared
MAX_GAIN = 1.5  # brightness against the median of the frames: 1.08 in real stacks, 2.8 without flash
MIN_CORRELATION = 0.6  # with the median of the frames, focus blurred excluded: 0.86 in real stacks
MIN_AGREEMENT = 0.8  # the same of half of the frames, below which they have no scene in common
MIN_DETAIL = 0.7  # of the sharper neighbour's, in a frame's best cells: 0.85 in real stacks, 0.5 after a bump
BEST_CELLS = 0.95  # quantile over the cells where a neighbour or the frame has detail
HAS_DETAIL = 1.2  # gray levels, NOISE counted: cells below say nothing
MIN_CELLS = 8
DETAIL_SIGMA = 1.5  # pixels: what is finer than this Gaussian counts as detail
NOISE = 0.3  # gray levels: added to detail before a ratio, so that noise counts for little
WHITE = -0.06  # correlation of neighbouring pixels in the fine detail of white noise; over 0.3 in real stacks
MIN_STRUCTURE = 0.2  # the same of the other frames, below which noise is not told from them
BLANK = 0.05  # of the largest standard deviation of broad structure among the frames, and
MAX_BLANK = 1  # gray level: a frame below both shows nothing
FLICKER = 1.25  # brightness against the median of the frames that gets a warning
PLAIN_SIDE = 5  # pixels a side, of a window of one exact level
PLAIN_RANGE = 1.5  # gray levels: the others show something where their median has this range in it
PLAIN_SHARE = 0.05  # of the image: what is plain in one frame alone and gets a warning
NOISY = "far noisier than the others"


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
    return reduced_gray(frame, SIDE)


def reduced_gray(frame: np.ndarray, side: int) -> np.ndarray:
    """The gray levels of a frame, made smaller where it is larger.

    Args:
        frame: H x W or H x W x 3, uint8 or uint16; or its gray levels, float32.
        side: pixels: the longer side at most.

    Returns:
        Gray levels in 0..255, float32.
    """
    share = min(1, side / max(frame.shape[:2]))
    size = tuple(max(2, round(length * share)) for length in frame.shape[1::-1])
    resized = frame if size == frame.shape[1::-1] else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return gray_levels(resized)


def find_misfits(
    small: Sequence[np.ndarray],
    sort: Callable[[list[int]], list[int]] = list,
    noise: Sequence[Noise] = (),
    step: float = 0,
) -> list[Misfit]:
    """Find the frames of a stack that would harm a fusion.

    Args:
        small: `small_gray` of each frame.
        sort: puts indices of frames into the order of their focus; the default leaves them as they are.
        noise: of each frame (noise.measure_noise). Empty: no frame counts as noisy.
        step: as of noise.find_noisy.

    Returns:
        The misfits, by their indices. None where there are fewer than three frames. Blank frames are misfits
        where any other frame is not blank. Noisy frames are where others show what they show. The others are
        only where they are fewer than half of the frames that are not blank: otherwise it is not known which
        are the right ones.
    """
    if len(small) < 3:
        return []
    broad = np.array([_broad(levels) for levels in small])
    blank = _blank(broad)
    not_blank = [i for i in range(len(small)) if i not in blank]
    median = _median(broad[not_blank])
    blanks = [Misfit(i, _unlike_brightness(median, broad[i], MAX_GAIN) or "blank throughout") for i in blank]
    correlations = {i: _correlation(broad[i], median) for i in not_blank}
    agree = np.median(list(correlations.values())) >= MIN_AGREEMENT
    misfits = []
    for i in not_blank:
        brightness = _unlike_brightness(median, broad[i], MAX_GAIN)
        if brightness:
            misfits.append(Misfit(i, brightness))
        elif agree and correlations[i] < MIN_CORRELATION:
            misfits.append(Misfit(i, "of another scene"))
    excluded = {misfit.frame for misfit in misfits}
    rest = [i for i in not_blank if i not in excluded]
    noisy = find_noisy([noise[i] for i in rest], step) if noise and len(rest) > 2 else {}
    noises = [Misfit(rest[i], NOISY) for i, needed in noisy.items() if not needed]
    rest = sort([i for i in rest if i not in {misfit.frame for misfit in noises}])
    fine = [_fine(small[i]) for i in rest]
    details = [_detail(one) for one in fine]
    shares = _noise_shares(fine) if rest else []
    real = [(detail - NOISE) * np.sqrt(1 - share) + NOISE for share, detail in zip(shares, details)]
    for i, frame in enumerate(rest):
        neighbours = [real[j] for j in (i - 1, i + 1) if 0 <= j < len(rest)]
        if neighbours and _is_blurred(details[i], np.max(neighbours, axis=0)):
            misfits.append(Misfit(frame, "blurred throughout"))
    return sorted(blanks + noises + (misfits if 2 * len(misfits) < len(not_blank) else []))


def find_doubtful(
    small: Sequence[np.ndarray],
    *,
    compare_brightness: bool = True,
    noise: Sequence[Noise] = (),
    step: float = 0,
) -> list[Misfit]:
    """Find frames that may not belong, too little unlike the others to be left out.

    They are somewhat brighter or darker than the others, or have a large area of one exact level where
    the others show something, as files have that lost data. Or they are far noisier, and alone are sharp
    somewhere.

    Args:
        small: `small_gray` of each frame that is fused.
        compare_brightness: whether brightness counts; where it will be matched, it need not.
        noise, step: as of `find_misfits`.

    Returns:
        The doubtful frames, by their indices.
    """
    if len(small) < 3:
        return []
    noisy = find_noisy(noise, step) if noise else {}
    median = _median(small)
    usual, shows = _broad(median), _range(median) > PLAIN_RANGE
    misfits = []
    for i, levels in enumerate(small):
        if i in noisy:
            misfits.append(Misfit(i, NOISY + (", which are not sharp where it is" if noisy[i] else "")))
            continue
        plain = (_range(levels) < 1e-3) & shows
        largest = 0.0
        if plain.mean() >= PLAIN_SHARE:
            largest = np.unique(np.rint(levels[plain]), return_counts=True)[1].max() / plain.size
        if largest >= PLAIN_SHARE:
            misfits.append(Misfit(i, f"of one level in {100 * largest:.0f} % of its area, unlike the others"))
            continue
        brightness = _unlike_brightness(usual, _broad(levels), FLICKER)
        if brightness and compare_brightness:
            misfits.append(Misfit(i, brightness))
    return misfits


def compare_pair(first: np.ndarray, second: np.ndarray) -> str | None:
    """Say how the second of two images differs from the first, where that would harm a fusion.

    Args:
        first, second: `small_gray` of each.

    Returns:
        What the second is, compared to the first, or None.
    """
    gain = _gain(_broad(first), _broad(second))
    if not 1 / MAX_GAIN <= gain <= MAX_GAIN:
        return f"{gain:.2g} times as bright"
    details = _detail(_fine(first)), _detail(_fine(second))
    if _is_blurred(details[1], details[0]):
        return "blurred throughout"
    return "sharper throughout" if _is_blurred(*details) else None


def _unlike_brightness(median, levels, most):
    """In words, how much brighter or darker a frame is than the others; None within a factor of `most`."""
    gain = _gain(median, levels)
    return None if 1 / most <= gain <= most else f"{gain:.2g} times as bright as the others"


def find_blank(small: Sequence[np.ndarray]) -> list[int]:
    """Find the frames that show nothing while another one does.

    Args:
        small: `small_gray` of each frame.

    Returns:
        Their indices.
    """
    return _blank(np.array([_broad(levels) for levels in small]))


def _blank(broad):
    contrasts = broad.std(axis=(1, 2))
    if contrasts.max() < MAX_BLANK:
        return []
    return np.flatnonzero(contrasts < min(MAX_BLANK, BLANK * contrasts.max())).tolist()


def _noise_shares(fine):
    """The share of noise in the fine detail of each frame, 0 to 1.

    Noise is white; detail is not, even where it is sharp. And noise is not there in other frames: what
    correlates with another frame is no noise, either.
    """
    flat = np.reshape(fine, (len(fine), -1))
    shared = flat @ flat.T
    power = np.diag(shared).copy()
    structure = np.array([_structure(levels) for levels in fine])
    norms = np.sqrt(np.maximum(power, 1e-12))
    shared /= norms[:, None] * norms
    np.fill_diagonal(shared, 0)
    shares = []
    for i, own in enumerate(structure):
        others = np.median(np.delete(structure, i)) if len(structure) > 2 else 0.0
        share = (others - own) / (others - WHITE) if others > MIN_STRUCTURE else 0.0
        shares.append(float(np.clip(min(share, 1 - shared[i].max() ** 2), 0, 1)))
    return shares


def _structure(fine):
    """The correlation of neighbouring pixels."""
    power = float(np.square(fine).mean())
    beside, below = (fine[:, 1:] * fine[:, :-1]).mean(), (fine[1:] * fine[:-1]).mean()
    return float(beside + below) / 2 / power if power else 0.0


def _median(images):
    """As np.median over the first axis, in half of its time."""
    ordered = np.sort(images, axis=0)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _range(levels):
    """The range of levels in the window around each pixel."""
    window = np.ones((PLAIN_SIDE, PLAIN_SIDE), np.uint8)
    return cv2.dilate(levels, window) - cv2.erode(levels, window)


def _gain(reference, levels):
    return float(np.median((levels + 1) / (reference + 1)))


def _is_blurred(detail, neighbour):
    has_detail = np.maximum(detail, neighbour) > HAS_DETAIL
    if np.count_nonzero(has_detail) < MIN_CELLS:
        return False
    return bool(np.quantile(detail[has_detail] / neighbour[has_detail], BEST_CELLS) < MIN_DETAIL)


def _correlation(first, second):
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum()) / norm if norm else 0.0


def _broad(levels):
    """A small version without what depends on focus."""
    size = tuple(
        max(1, round(length / BROAD_STEP)) for length in levels.shape[::-1]
    )  # OpenCV 3 needs a tuple
    return cv2.GaussianBlur(cv2.resize(levels, size, interpolation=cv2.INTER_AREA), (0, 0), BROAD_SIGMA)


def _fine(levels):
    """The fine detail of a small version."""
    return levels - cv2.GaussianBlur(levels, (0, 0), DETAIL_SIGMA)


def _detail(fine):
    """CELLS x CELLS float32: the mean size of fine detail in each cell, and NOISE."""
    return cv2.resize(np.abs(fine), (CELLS, CELLS), interpolation=cv2.INTER_AREA) + np.float32(NOISE)
