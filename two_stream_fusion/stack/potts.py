"""Potts' model with two labels: each pixel has a cost, and boundaries between labels cost by their length.

The minimum over labels 0 and 1 is the minimum over all values between, cut at a half: T. F. Chan,
S. Esedoglu, M. Nikolova, "Algorithms for Finding Global Minimizers of Image Segmentation and Denoising
Models", SIAM Journal on Applied Mathematics 66(5), 2006, doi:10.1137/040615286. That problem is convex. It is
solved by steps on the values and on their dual variables in turn: A. Chambolle, T. Pock, "A First-Order
Primal-Dual Algorithm for Convex Problems with Applications to Imaging", Journal of Mathematical Imaging and
Vision 40, 2011, doi:10.1007/s10851-010-0251-1. Small versions of the image come first, where few steps cross
a plain area.
"""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.base.tiles import map_tiles

STEPS = 30  # on an image of each size; with a thousand the choice is no better (eval/held_out.py)
SMALLEST = 4  # pixels: the longer side of the smallest image at most
PRIMAL_STEP = 0.5 / 8**0.5  # step size on values
DUAL_STEP = 1 / (8 * PRIMAL_STEP)  # step size on dual variables: a product over 1/8 does not converge


def binary_potts(cost: np.ndarray) -> np.ndarray:
    """Label each pixel 0 or 1, so that the sum of costs and of the length of boundaries is least.

    Args:
        cost: H x W float32, finite: what the label 1 costs more than 0 at each pixel, in units of the cost of
            a pixel of boundary.

    Returns:
        H x W bool, True where the label is 1. It is 0 where nothing speaks for either label, and no neighbour
        does. Lengths are Euclidean, of the slopes between neighbouring pixels. The sum is never more than
        that of one label everywhere, or of each pixel's own.
    """
    costs = [np.ascontiguousarray(cost, np.float32)]
    while max(costs[-1].shape) > SMALLEST:
        costs.append(_halve(costs[-1]))
    values = np.full(
        costs[-1].shape, costs[-1].sum() < 0, np.float32
    )  # one label everywhere: the cheaper one
    across, down = np.zeros_like(values), np.zeros_like(values)
    while costs:
        cost = costs.pop()
        if cost.shape != values.shape:
            values, across, down = (_double(x, cost.shape) for x in (values, across, down))
        values, across, down = map_tiles(_steps, (cost, values, across, down), margin=STEPS)
    # With slopes on a grid the cut at a half is not exact: on a few pixels a plain labelling may be better.
    plain = [np.zeros(cost.shape, bool), np.ones(cost.shape, bool), cost < 0]
    return min([values > 0.5, *plain], key=lambda labels: _energy(labels, cost))


def _energy(labels, cost):
    """What `binary_potts` makes least, of H x W bool labels."""
    across, down = (np.zeros(labels.shape, np.float32) for _ in range(2))
    across[:, :-1] = labels[:, 1:] != labels[:, :-1]
    down[:-1] = labels[1:] != labels[:-1]
    return cost.sum(where=labels, dtype=np.float64) + cv2.magnitude(across, down).sum(dtype=np.float64)


def _halve(cost):
    """Costs of squares of 2x2 pixels: the sum of theirs, in units of two pixels of boundary."""
    height, width = cost.shape
    even = cv2.copyMakeBorder(cost, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=0)
    mean = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return mean * np.float32(2)


def _double(values, shape):
    height, width = shape
    return np.ascontiguousarray(values.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width])


def _steps(cost, values, across, down):
    """(values, across, down) after STEPS; in each step a pixel depends on its neighbours alone.

    across and down are the dual variables of the differences between neighbours, divided by DUAL_STEP. The
    length of their pair is at most 1 / DUAL_STEP.
    """
    values, across, down = values.copy(), across.copy(), down.copy()
    across[:, -1] = down[-1] = 0  # pixels outside the image are not neighbours
    longest = 1 / DUAL_STEP
    cost = cost * np.float32(PRIMAL_STEP)
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
        cv2.scaleAdd(new, PRIMAL_STEP * DUAL_STEP, values, dst=new)
        new -= cost
        np.clip(new, 0, 1, out=new)
        cv2.addWeighted(new, 2, values, -1, 0, dst=ahead)
        values, new = new, values
    return values, across, down
