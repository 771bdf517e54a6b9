"""CNN: a classifier of patches decides which photograph is in focus.

Y. Liu, X. Chen, H. Peng, Z. Wang, "Multi-focus image fusion with a deep convolutional neural network",
Information Fusion 36, 2017, doi:10.1016/j.inffus.2016.12.001.

prototxt/cnn, trained on pairs of a sharp and a blurred patch of 16x16 (data_prep/make_cnn_database.py), says
of every second row and column how likely the patch that begins there is in focus in a rather than in b. Mean
over the patches that hold a pixel: the focus map. Above a half, the pixel comes from a; regions under a
share `area` of the image are given up; a guided filter (gf.py) smooths the map along the edges of what
it selects, and the photographs are mixed by it. One map, from gray, serves all channels.

The net is the authors' light form: their two fully connected layers, with nothing in between, are one.
"""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.methods.common import by_channel, check, gray
from two_stream_fusion.methods.gf import guided_filter

PATCH = 16
TILE = 512  # pixels a side of what is classified at once
REACH = 4  # pixels beyond a patch that change its score where the photograph goes on: 2 rows after pooling


def fuse(a, b, *, area=0.01, radius=8, eps=0.1, model="cnn") -> np.ndarray:
    """Fuse two images, H x W or H x W x 3, uint8 or uint16, alike; the result is of their kind.

    area: regions of the decision map under this share of the image are given up. radius, eps: of the guided
    filter. model: of models/. ValueError where the images cannot be fused or an option is out of range.
    """
    return apply((a, b), decide(a, b, area=area, radius=radius, eps=eps, model=model))


def apply(images, decided) -> np.ndarray:
    """Two images mixed as `decide` says of them."""
    weight = decided["weight"]
    return by_channel(lambda a, b: weight * a + (1 - weight) * b, *images)


def decide(a, b, *, area=0.01, radius=8, eps=0.1, model="cnn"):
    """What `fuse` decides by, each H x W in 0..1, 1 where a is in focus.

    "focus", float64: the mean score; "decision", uint8: it above a half, without small regions; "weight",
    float64: that, smoothed. Options and errors as `fuse`.
    """
    check(a, b)
    if not 0 <= area < 0.5:
        raise ValueError(f"area={area}: a share of the image from 0 to below 0.5")
    if radius < 1 or radius != int(radius) or not eps > 0:
        raise ValueError(f"radius={radius}, eps={eps}: a whole number from 1, and above 0")
    planes = [gray(image) / 255 for image in (a, b)]
    focus = spread(scores(*planes, model=model), planes[0].shape)
    decision = without_small((focus > 0.5).astype(np.uint8), np.ceil(area * focus.size))
    guide = np.where(decision, *planes)
    weight = np.clip(guided_filter(guide, decision.astype(np.float64), int(radius), eps), 0, 1)
    return {"focus": focus, "decision": decision, "weight": weight}


def scores(a, b, *, model="cnn", tile=TILE):
    """How likely each patch is in focus in a: rows x columns float32, for the patch that begins at pixel
    (2 row, 2 column). a, b: H x W, gray in 0..1; smaller ones are mirrored up to one patch.
    """
    from two_stream_fusion.methods import models

    extended = [np.pad(x, [(0, max(0, PATCH - n)) for n in x.shape], mode="reflect") for x in (a, b)]
    size = extended[0].shape
    net = models.open_net(*models.files(model, "cnn"))
    found = np.empty([(n + 1) // 2 - PATCH // 2 + 1 for n in size], np.float32)
    step = tile // 2
    for y in range(0, found.shape[0], step):
        for x in range(0, found.shape[1], step):
            inner = found[y : y + step, x : x + step]
            # The rows and columns these patches cover, and the surroundings that their scores depend on.
            starts = [max(0, 2 * first - REACH) for first in (y, x)]
            ends = [
                min(n, 2 * (first + count - 1) + PATCH + REACH)
                for n, first, count in zip(size, (y, x), inner.shape)
            ]
            for name, plane in zip("ab", extended):
                part = plane[starts[0] : ends[0], starts[1] : ends[1]]
                net.blobs[name].reshape(1, 1, *part.shape)
                net.blobs[name].data[...] = part
            net.reshape()
            likely = net.forward()["prob"][0, 1]
            top, left = y - starts[0] // 2, x - starts[1] // 2
            inner[...] = likely[top : top + inner.shape[0], left : left + inner.shape[1]]
    return found


def spread(found, size):
    """H x W float64: the mean of the scores of all patches that hold a pixel."""
    total, count = (np.zeros([max(PATCH, n) for n in size]) for _ in range(2))
    rows, columns = found.shape
    total[: 2 * rows : 2, : 2 * columns : 2] = found
    count[: 2 * rows : 2, : 2 * columns : 2] = 1
    held = [
        cv2.boxFilter(
            x,
            -1,
            (PATCH, PATCH),
            anchor=(PATCH - 1, PATCH - 1),
            normalize=False,
            borderType=cv2.BORDER_CONSTANT,
        )
        for x in (total, count)
    ]
    # Running sums round: a mean of ones may lie a little over one.
    return np.clip(held[0] / held[1], 0, 1)[: size[0], : size[1]]


def without_small(decision, smallest):
    """H x W uint8, 0 or 1: 8-connected regions of 1, then of 0, under `smallest` pixels are turned over."""
    for _ in range(2):
        _, region, stats, _ = cv2.connectedComponentsWithStats(decision, connectivity=8)
        kept = stats[:, cv2.CC_STAT_AREA] >= smallest
        kept[0] = False
        decision = 1 - kept[region].astype(np.uint8)
    return decision
