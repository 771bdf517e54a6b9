"""What is measured of each image before a fusion, and what follows: the order, frames left out, warnings.

Each image is read once for it, and its gray levels are made once, at the size at which they are compared.
What is logged goes to the logger of this module.
"""

from __future__ import annotations

import logging
import math
from typing import Callable, NamedTuple, Sequence

import numpy as np

from two_stream_fusion.base.pixels import gray_levels
from two_stream_fusion.stack import camera_shift, motion_blur, screening, white_balance
from two_stream_fusion.stack.align import coarse_pyramid, pyramid_misalignment, seem_aligned, small_pyramid
from two_stream_fusion.stack.frames import Frames
from two_stream_fusion.stack.motion_blur import Directions
from two_stream_fusion.stack.noise import Noise, find_noisy, measure_noise
from two_stream_fusion.stack.order import detail_map, downscale_frame, order_by_details
from two_stream_fusion.stack.registration import Pyramid
from two_stream_fusion.stack.screening import Misfit
from two_stream_fusion.stack.sequences import NamedSequence

LOG = logging.getLogger(__name__)
WARN_PIXELS = 1.5  # images that are farther apart get a warning where they are not aligned
WARN_SHARE = 1 / 600  # of the longer side: the same for large images, which are compared on small versions


class Measurements(NamedTuple):
    """What is known of an image.

    noise: noise.measure_noise. colour: white_balance.mean_colour. details: order.detail_map.
    small: screening.small_gray. directions: motion_blur.measure_directions. coarse: align.coarse_pyramid.
    """

    noise: Noise
    colour: np.ndarray
    details: np.ndarray
    small: np.ndarray
    directions: Directions
    coarse: Pyramid


def measure_image(image: np.ndarray) -> Measurements:
    """Measure an image.

    Args:
        image: H x W or H x W x 3, uint8 or uint16.

    Returns:
        What is known of it.
    """
    reduced = downscale_frame(image)
    levels = gray_levels(reduced)
    return Measurements(
        measure_noise(image),
        white_balance.mean_colour(reduced),
        detail_map(levels),
        screening.small_gray(reduced),
        motion_blur.measure_directions(levels),
        coarse_pyramid(reduced, image.shape),
    )


def order_and_screen(
    frames: Frames,
    measured: Sequence[Measurements],
    *,
    in_order: bool = True,
    keep_all: bool = False,
    compare_brightness: bool = True,
) -> tuple[list[int], list[Misfit]]:
    """Sort the frames of a stack by focus, find those that do not belong, and warn of doubtful ones.

    Args:
        frames: three or more.
        measured: of each of `frames`, spread.
        in_order: sort them; otherwise they stay in their order.
        keep_all: keep frames that do not belong.
        compare_brightness: warn of other brightness and white balance.

    Returns:
        (order, misfits). order: the indices of the frames to fuse. misfits: the frames that do not belong;
        they are in `order` where `keep_all`.
    """
    noise, small = [one.noise for one in measured], [one.small for one in measured]
    shaken = 0.0

    def sort_by_focus(indices):
        nonlocal shaken
        if len(indices) < 3:
            return indices
        shifts = camera_shift.estimate_shifts([small[i] for i in indices])
        order = [indices[i] for i in order_by_details([measured[i].details for i in indices], shifts)]
        shaken = float(np.abs(shifts).max()) if order != indices and camera_shift.is_shaken(shifts) else 0.0
        return order

    sort: Callable[[list[int]], list[int]] = sort_by_focus if in_order else list
    all_indices = list(range(len(frames)))
    misfits = [
        Misfit(i, "transparent throughout" if _is_transparent(frames, i, small) else reason)
        for i, reason in screening.find_misfits(small, sort, noise, frames.level_step())
    ]
    remaining = [i for i in all_indices if i not in {misfit.frame for misfit in misfits}]
    noisy = find_noisy([noise[i] for i in remaining], frames.level_step()) if len(remaining) > 2 else {}
    quiet = [index for i, index in enumerate(remaining) if i not in noisy]
    blurred = motion_blur.find_motion_blur([one.directions for one in measured], quiet, sort_by_focus)
    # As in find_misfits, blank and noisy frames do not count.
    blank_or_noisy = {
        *screening.find_blank(small),
        *(m.frame for m in misfits if m.reason == screening.NOISY),
    }
    others = [misfit for misfit in misfits + blurred if misfit.frame not in blank_or_noisy]
    if 2 * len(others) < len(frames) - len(blank_or_noisy):
        misfits = sorted(misfits + blurred)
    excluded = set() if keep_all else {misfit.frame for misfit in misfits}
    kept = [i for i in all_indices if i not in excluded]
    doubts = screening.find_doubtful(
        [small[i] for i in kept],
        compare_brightness=compare_brightness,
        noise=[noise[i] for i in kept],
        step=frames.level_step(),
    )
    if compare_brightness:
        tints = white_balance.find_other_balances([measured[i].colour for i in kept])
        doubted = {doubtful.frame for doubtful in doubts}
        doubts += [Misfit(*tint) for tint in tints.items() if tint[0] not in doubted]
    for doubtful in doubts:
        LOG.warning("%s is fused, though it is %s", frames.name(kept[doubtful.frame]), doubtful.reason)
    shaken = 0.0
    order = sort(kept)
    if shaken:
        LOG.warning(
            "the camera moved by up to %.1f %% of the longer side, so the order of focus may be wrong;"
            " --keep-order keeps the given one",
            100 * shaken,
        )
    return order, misfits


def warn_if_pair_differs(frames: Frames, *, compare_colours: bool = True) -> None:
    """Warn where two images do not belong together.

    Args:
        frames: two, spread.
        compare_colours: compare their white balance.
    """
    for i in find_noisy([measure_noise(frame) for frame in frames], frames.level_step()):
        LOG.warning("%s is far noisier than %s", frames.name(i), frames.name(1 - i))
    difference = screening.compare_pair(*map(screening.small_gray, frames))
    if not difference and compare_colours:
        difference = white_balance.find_other_balances([*map(white_balance.mean_colour, frames)]).get(1)
    if difference:
        LOG.warning("%s is %s, compared to %s", frames.name(1), difference, frames.name(0))


def warn_if_misaligned(frames: NamedSequence, coarse: Sequence[Pyramid] | None = None) -> None:
    """Warn of misaligned neighbours: of all such pairs, the one that is farthest apart.

    Small levels are compared first. Images are read again where those do not agree.

    Args:
        frames: the images in the order in which they are fused.
        coarse: `align.coarse_pyramid` of each; all images are read for it where None.
    """
    bound = max(WARN_PIXELS, WARN_SHARE * max(frames.shape))
    if coarse is None:
        coarse = [coarse_pyramid(downscale_frame(frame), frames.shape) for frame in frames]
    misaligned, pyramids = [], {}
    for i in range(1, len(coarse)):
        if seem_aligned(coarse[i - 1], coarse[i], frames.shape, bound):
            continue
        pyramids = {j: pyramids[j] if j in pyramids else small_pyramid(frames[j]) for j in (i - 1, i)}
        pixels = pyramid_misalignment(pyramids[i - 1], pyramids[i], frames.shape, ignored=bound)
        if pixels > bound:
            misaligned.append((pixels, i - 1, i))
    if not misaligned:
        return
    pixels, first, second = max(misaligned, key=lambda pair: pair[0])
    if math.isinf(pixels):
        problem = "not to show the same scene"
    else:
        problem = f"{pixels:.1f} pixels apart; --align aligns images"
    more = f" (and {len(misaligned) - 1} more pairs of neighbours)" if len(misaligned) > 1 else ""
    LOG.warning("%s and %s seem %s%s", frames.name(first), frames.name(second), problem, more)


def _is_transparent(frames, i, small):
    """Whether a frame has alpha 0 throughout; the colours of such frames are read as black."""
    return not small[i].any() and not frames.is_opaque(i)
