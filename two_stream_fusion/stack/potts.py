"""Two labels for the pixels of an image, and outlines between them that cost by length (Potts' model).

The least of such an energy over labels 0 and 1 is the least over all values between, cut at a half (T. F.
Chan, S. Esedoglu, M. Nikolova, "Algorithms for Finding Global Minimizers of Image Segmentation and Denoising
Models", SIAM Journal on Applied Mathematics 66(5), 2006, doi:10.1137/040615286); and that is convex. It is
found by steps on the values and on their outlines in turn (A. Chambolle, T. Pock, "A First-Order Primal-Dual
Algorithm for Convex Problems with Applications to Imaging", Journal of Mathematical Imaging and Vision 40,
2011, doi:10.1007/s10851-010-0251-1), first on small images, where it takes few steps to cross a plain.
"""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.base.tiles import map_tiles

STEPS = 30  # on an image of each size; with a thousand the choice is no better (eval/held_out.py)
SMALLEST = 4  # pixels: the longer side of the smallest image at most
VALUE_STEP = 0.5 / 8**0.5  # how far a step on values goes
OUTLINE_STEP = 1 / (8 * VALUE_STEP)  # and one on outlines: for more than a product of 1/8 nothing converges


def label(cost) -> np.ndarray:
    """H x W bool, True where the label 1 is: the least sum of `cost` there and of the length of outlines.

    cost: H x W float32, finite, what the label 1 costs more than 0 at each pixel, in what a pixel of outline
    costs. Where nothing speaks for either label, and no neighbour does, it is 0. Lengths are Euclidean, of
    the slopes between neighbouring pixels.
    """
    costs = [np.ascontiguousarray(cost, np.float32)]
    while max(costs[-1].shape) > SMALLEST:
        costs.append(_halved(costs[-1]))
    values = np.full(costs[-1].shape, costs[-1].sum() < 0, np.float32)  # the better of the two everywhere
    across, down = np.zeros_like(values), np.zeros_like(values)
    while costs:
        cost = costs.pop()
        if cost.shape != values.shape:
            values, across, down = (_doubled(x, cost.shape) for x in (values, across, down))
        values, across, down = map_tiles(_steps, (cost, values, across, down), margin=STEPS)
    return values > 0.5


def _halved(cost):
    """The same in squares of 2x2 pixels: the sum of their costs, in what their side of outline costs."""
    height, width = cost.shape
    even = cv2.copyMakeBorder(cost, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=0)
    mean = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return mean * np.float32(2)


def _doubled(values, shape):
    height, width = shape
    return np.ascontiguousarray(values.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width])


def _steps(cost, values, across, down):
    """(values, across, down) after STEPS, in each of which a pixel depends on its neighbours alone.

    across and down are the dual variables, one for each difference of neighbours, divided by OUTLINE_STEP;
    their pair is at most 1 / OUTLINE_STEP long.
    """
    values, across, down = values.copy(), across.copy(), down.copy()
    across[:, -1] = down[-1] = 0  # beyond the image is no neighbour
    longest = 1 / OUTLINE_STEP
    cost = cost * np.float32(VALUE_STEP)
    ahead, new, length = values.copy(), np.empty_like(values), np.empty_like(values)
    for _ in range(STEPS):
        across[:, :-1] += np.subtract(ahead[:, 1:], ahead[:, :-1], out=length[:, :-1])
        down[:-1] += np.subtract(ahead[1:], ahead[:-1], out=length[:-1])
        np.maximum(cv2.magnitude(across, down, length), np.float32(longest), out=length)
        for dual in (across, down):
            cv2.divide(dual, length, dst=dual, scale=longest)
        cv2.add(across, down, dst=new)
        new[:, 1:] -= across[:, :-1]
        new[1:] -= down[:-1]
        cv2.scaleAdd(new, VALUE_STEP * OUTLINE_STEP, values, dst=new)
        new -= cost
        np.clip(new, 0, 1, out=new)
        cv2.addWeighted(new, 2, values, -1, 0, dst=ahead)
        values, new = new, values
    return values, across, down
