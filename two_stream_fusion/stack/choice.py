"""Which frame of a focus stack is sharp, at each pixel: one pass over neighbours in focus.

Ours, beyond the paper. Each frame is fused by the network with the one before it, photographs both, never
with what became of others; whichever the network's image is nearer to in its details wins there, and the wins
are added up along the stack. The frame with more of them is taken, between that of the frames before and the
next one, at outlines that cost by length (stack/potts.py). Folding a stack as a pair is done, on the
contrary, takes errors on: between two frames both out of focus it has to choose, and inside of something
plain, where a net that reaches ten pixels sees no outline, it chooses wrong. So details alone count here,
those as small as noise hardly; plain places, where nothing is, go by what is around them. Light may differ
between frames, so they are joined the more widely the coarser the scale.
"""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable, gray, remove_small_regions
from two_stream_fusion.base.tiles import map_tiles
from two_stream_fusion.stack import potts
from two_stream_fusion.stack.select import blur_reach, blurred, distance

DETAIL = 4  # pixels: deviation of the Gaussian over differences that is taken away from them
WINDOW = 3  # pixels: the side of the mean over squared differences
NOISE = 20  # mean square of differences, in levels of 255, below which they count for little
OUTLINE = 0.5  # what a pixel of outline costs; a pixel that leaves no doubt is worth up to 1 for each frame
AREA = 0.00005  # a region of a smaller share of the image goes to what surrounds it
SEAM = 0.5  # deviation in pixels of the Gaussian over outlines
BROADEST = 0.04  # of the longer side: the scale from which on all is joined as widely
LARGEST = 600  # pixels: the longer side at which frames are compared to find their order
CELLS = 24  # a side, of the grid on which frames are compared to find their order
STARTS = 50  # ways through the frames that are tried at most
DISORDER = 1.1  # how many times as far the way through the frames as given may be as the shortest found


def order(frames):
    """The places of `frames` in the order of their focus, from either end; as they are where that will do.

    Frames whose details are alike, in size and place, are focused alike: the shortest way through all, grown
    at both ends by what is nearest, is the order, unless the way as given is hardly longer (DISORDER).
    frames: as of `choose`, each asked for once, and none is held.
    """
    seen = np.array([_details(frame) for frame in frames])
    apart = np.array([np.abs(seen - one).mean(axis=(1, 2)) for one in seen])
    given = list(range(len(seen)))
    begun = given[:: -(-len(given) // STARTS)]
    found = min((_grown(apart, first) for first in begun), key=lambda way: _length(apart, way))
    if _length(apart, given) <= DISORDER * _length(apart, found):
        return given
    return found if found[0] < found[-1] else found[::-1]


def _details(frame):
    """CELLS x CELLS float32: how much detail a small version of a frame has in each cell, logarithmic."""
    small = cv2.resize(frame, _within(frame.shape, LARGEST), interpolation=cv2.INTER_AREA)
    levels = gray(small).astype(np.float32)
    fine = np.abs(levels - blurred(levels, 1.5))
    return np.log(cv2.resize(fine, (CELLS, CELLS), interpolation=cv2.INTER_AREA) + np.float32(0.5))


def _grown(apart, first):
    """A way through all places: from `first` on, whichever is nearest to an end of it is put there."""
    way, left = [first], np.arange(len(apart)) != first
    while left.any():
        reach = np.where(left, apart[[way[0], way[-1]]], np.inf)
        end, nearest = map(int, np.unravel_index(reach.argmin(), reach.shape))
        way.insert(end * len(way), nearest)
        left[nearest] = False
    return way


def _length(apart, way):
    return apart[way[:-1], way[1:]].sum()


def choose(net, frames, *, progress=iter, **how):
    """Which of `frames` is the sharpest at each pixel: H x W uint16, a place in frames.

    Where they are equal the first is taken. net: fuses two images, a TwoStream; it gets `how` and progress.
    frames: two or more images in the order of their focus (see `order`), H x W or H x W x 3, uint8 or uint16,
    alike; each is asked for once, and two are held at a time. ValueError where images differ.
    """
    frames = iter(frames)
    previous = next(frames)
    won = np.zeros(previous.shape[:2], np.float32)
    best, choice = won.copy(), np.zeros(won.shape, np.uint16)
    for i, frame in enumerate(frames, start=1):
        check_fusable(previous, frame)
        fused = net(previous, frame, progress=progress, **how)
        won += map_tiles(_wins, (previous, frame, fused), blur_reach(DETAIL) + WINDOW // 2)
        better = potts.label((best - won) / np.float32(OUTLINE))
        choice[better], best[better] = i, won[better]
        previous = frame
    return remove_small_regions(choice, AREA * choice.size)


def put_together(frames, choice):
    """The image that has each pixel from the frame that `choice` names, joined without a line.

    Details are joined narrowly, what is coarser the more widely, up to BROADEST: what frames have in common,
    but for light that has changed between them. No value lies outside of those that the frames have there.
    P. J. Burt, E. H. Adelson, "A Multiresolution Spline With Application to Image Mosaics", ACM Transactions
    on Graphics 2(4), 1983, doi:10.1145/245.247. frames: as of `choose`, each asked for once; those that have
    no pixel are not held. choice: what `choose` gave.
    """
    levels = 1 + max(0, int(np.log2(BROADEST * max(choice.shape))))
    bands = [np.float32(0)] * levels
    low = high = None
    for i, frame in enumerate(frames):
        low = frame.copy() if low is None else cv2.min(low, frame, dst=low)
        high = frame.copy() if high is None else cv2.max(high, frame, dst=high)
        weight = (choice == i).astype(np.float32)
        if not weight.any():
            continue
        band, weight = frame.astype(np.float32), blurred(weight, SEAM)
        for level in range(levels):
            coarser = cv2.pyrDown(band)
            if level < levels - 1:
                band -= cv2.pyrUp(coarser, dstsize=band.shape[1::-1])
            band *= weight[..., None] if band.ndim == 3 else weight
            band += bands[level]
            bands[level], band, weight = band, coarser, cv2.pyrDown(weight)
    values = bands.pop()
    while bands:
        finer = bands.pop()
        values = cv2.pyrUp(values, dstsize=finer.shape[1::-1])
        values += finer
    values += np.float32(0.5)
    return np.clip(np.floor(values, out=values), low, high, out=values).astype(low.dtype)


def _within(shape, side):
    """(width, height) of an image of H x W..., no larger than `side`."""
    share = min(1, side / max(shape[:2]))
    return max(1, round(shape[1] * share)), max(1, round(shape[0] * share))


def _distance(image, fused):
    """H x W float32: squared difference of details in gray levels of 255, mean over channels and WINDOW."""
    return cv2.blur(
        distance(image, fused, DETAIL, np.square), (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101
    )


def _wins(a, b, fused):
    """H x W float32: how much nearer b is to fused, from -1 to 1; little where both are as near as noise."""
    first, second = _distance(a, fused), _distance(b, fused)
    both = first + second
    return (first - second) * both**2 / (both + NOISE) ** 3
