"""Two photographs of one scene, focused near and far, rendered from a photograph and its depth.

The scene is the motorcycle of the Middlebury 2014 stereo set (Scharstein et al. 2014,
doi:10.1007/978-3-319-11752-2_3), which scikit-image bundles with its disparity. It replaces a real
pair where none can be fetched, and is never trained on.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from data_prep.recipes import GAMMA
from two_stream_fusion.base import lens, pixels

FAR, NEAR = 15, 50  # disparities in focus, in pixels: the wall, and the motorcycle
SHARP = 16  # so far from the one in focus disparities are sharp too: each thing is in one of the two
BLUR = 0.33  # radius of the disc that a point becomes, in pixels for each pixel of disparity beyond that
LAYER = 1.5  # disparities in one layer


def render_depth_pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render the scene focused near, focused far, and sharp everywhere.

    Returns:
        (near, far, sharp), each 500 x 741 x 3 uint8 RGB. Near has the motorcycle in focus, far has what is
        behind it.

    Raises:
        OSError: this scikit-image lacks the photograph or its disparity.
    """
    sharp, disparity = scene()
    return focus(sharp, disparity, NEAR), focus(sharp, disparity, FAR), sharp


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Read the photograph and its disparity.

    Returns:
        The photograph, H x W x 3 uint8 RGB, and its disparity in pixels, H x W float32, gaps filled.

    Raises:
        OSError: this scikit-image lacks one of the two.
    """
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    for name in ("motorcycle_left.png", "motorcycle_disp.npz"):
        if not (folder / name).is_file():
            raise OSError(f"{folder / name}: this scikit-image does not bundle it")
    photograph = cv2.imread(str(folder / "motorcycle_left.png"))[..., ::-1]
    with np.load(folder / "motorcycle_disp.npz") as file:
        return photograph.copy(), fill(file["arr_0"])


def fill(disparity: np.ndarray) -> np.ndarray:
    """Fill the gaps of a disparity map: most are hidden from one of the two eyes.

    Args:
        disparity: H x W, in pixels; gaps are not finite.

    Returns:
        H x W float32. A gap takes the farther one of its neighbours in the row.
    """
    known = np.isfinite(disparity)
    column = np.arange(disparity.shape[1])
    left = np.maximum.accumulate(np.where(known, column, 0), axis=1)
    right = np.minimum.accumulate(np.where(known, column, len(column) - 1)[:, ::-1], axis=1)[:, ::-1]
    beside = (np.take_along_axis(disparity, side, 1) for side in (left, right))
    filled = np.fmin(*(np.where(np.isfinite(d), d, np.nan) for d in beside))
    smooth = cv2.medianBlur(np.nan_to_num(filled, nan=np.nanmin(filled)).astype(np.float32), 5)
    # Pixels on an outline have mixed colours: they go with the nearer thing.
    return cv2.dilate(smooth, np.ones((3, 3)))


def focus(sharp: np.ndarray, disparity: np.ndarray, at: float, depth: float = SHARP) -> np.ndarray:
    """Render the scene as a lens shows it that is focused at one disparity.

    A point becomes a disc, as wide as its disparity is far from `at` (thin lens). Layers of like disparity
    are blurred and laid over each other from the back to the front. So a near layer out of focus spills over
    what is behind it, and a sharp one has a sharp outline. Behind nearer layers a layer continues with its
    nearest pixel.

    Args:
        sharp: the photograph, H x W x 3 uint8 RGB.
        disparity: H x W float32, in pixels; larger is nearer.
        at: the disparity in focus.
        depth: how far from `at` a disparity is still sharp.

    Returns:
        H x W x 3 uint8 RGB.
    """
    light = (sharp / np.float32(255)) ** np.float32(GAMMA)  # a lens adds up light, not gamma-encoded levels
    layer = np.round((disparity - disparity.min()) / LAYER).astype(int)
    image = np.zeros_like(light)
    for k in np.unique(layer):
        nearest = pixels.nearest_index(layer <= k)
        coverage = (layer.ravel()[nearest] == k).astype(np.float32)[..., None]
        colour = light.reshape(-1, 3)[nearest] * coverage
        radius = BLUR * max(0, abs(disparity.min() + k * LAYER - at) - depth)
        blurred = lens.disc(np.dstack([colour, coverage]), radius)
        image = blurred[..., :3] + image * (1 - blurred[..., 3:])
    return pixels.round_half_even(255 * np.clip(image, 0, 1) ** (1 / GAMMA), np.uint8)
