"""Two photographs of one scene, focused near and far, rendered from a photograph and its depth.

The scene is the motorcycle of the Middlebury 2014 stereo set (Scharstein et al. 2014,
doi:10.1007/978-3-319-11752-2_3), which scikit-image bundles with its disparity. It stands in for a real
pair where none can be fetched, and is never trained on.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from two_stream_fusion.base import lens, pixels

FAR, NEAR = 15, 50  # disparities in focus, in pixels: the wall, and the motorcycle
SHARP = (
    16  # a disparity this far from the one in focus is sharp still, so each thing is sharp in one of the two
)
BLUR = 0.33  # radius of the disc that a point becomes, in pixels for each pixel of disparity beyond that
LAYER = 1.5  # disparities in one layer


def pair():
    """(near, far, sharp), 500 x 741 x 3 uint8: focused on the motorcycle, on what is behind it, everywhere.

    OSError where this scikit-image lacks the photograph or its disparity.
    """
    sharp, disparity = scene()
    return focus(sharp, disparity, NEAR), focus(sharp, disparity, FAR), sharp


def scene():
    """The photograph (H x W x 3 uint8, RGB) and its disparity (H x W float32), gaps filled."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    for name in ("motorcycle_left.png", "motorcycle_disp.npz"):
        if not (folder / name).is_file():
            raise OSError(f"{folder / name}: this scikit-image does not bundle it")
    photograph = cv2.imread(str(folder / "motorcycle_left.png"))[..., ::-1]
    with np.load(folder / "motorcycle_disp.npz") as file:
        return photograph.copy(), fill(file["arr_0"])


def fill(disparity):
    """Gaps (not finite) take the farther one of their neighbours in the row: most are hidden from one eye."""
    known = np.isfinite(disparity)
    column = np.arange(disparity.shape[1])
    left = np.maximum.accumulate(np.where(known, column, 0), axis=1)
    right = np.minimum.accumulate(np.where(known, column, len(column) - 1)[:, ::-1], axis=1)[:, ::-1]
    beside = (np.take_along_axis(disparity, side, 1) for side in (left, right))
    filled = np.fmin(*(np.where(np.isfinite(d), d, np.nan) for d in beside))
    smooth = cv2.medianBlur(np.nan_to_num(filled, nan=np.nanmin(filled)).astype(np.float32), 5)
    return cv2.dilate(
        smooth, np.ones((3, 3))
    )  # pixels on an outline, of mixed colour, go with the nearer thing


def focus(sharp, disparity, at, depth=SHARP):
    """The scene as a lens focused at disparity `at` shows it, H x W x 3 uint8.

    depth: how far from `at` a disparity is sharp still.

    A point becomes a disc, as wide as its disparity is far from `at` (thin lens). Layers of like disparity
    are blurred and laid over each other from the back to the front, so something near and out of focus
    spills over what is behind it, and something near and sharp has a sharp outline. Each layer goes on
    behind the nearer ones as its nearest pixel does.
    """
    light = (sharp / np.float32(255)) ** np.float32(2.2)  # a lens adds up light, not values of gamma
    layer = np.round((disparity - disparity.min()) / LAYER).astype(int)
    image = np.zeros_like(light)
    for k in np.unique(layer):
        nearest = pixels.nearest_index(layer <= k)
        own = (layer.ravel()[nearest] == k).astype(np.float32)[..., None]
        colour = light.reshape(-1, 3)[nearest] * own
        radius = BLUR * max(0, abs(disparity.min() + k * LAYER - at) - depth)
        blurred = lens.disc(np.dstack([colour, own]), radius)
        image = blurred[..., :3] + image * (1 - blurred[..., 3:])
    return np.rint(255 * np.clip(image, 0, 1) ** (1 / 2.2)).astype(np.uint8)
