"""The motion between two images: ECC on pyramids, from small versions to large ones.

The motion is the one with the highest correlation of the gray images (ECC), which neither a gain nor an
offset of brightness changes: G. D. Evangelidis, E. Z. Psarakis, "Parametric Image Alignment Using Enhanced
Correlation Coefficient Maximization", IEEE Transactions on Pattern Analysis and Machine Intelligence 30(10),
2008, doi:10.1109/TPAMI.2008.113.

This is what stack/align.py is made of. A matrix is 3 x 3 float64 and takes a point (x, y, 1) in the reference
to the same thing's point in the image, in pixels; the centre of the first pixel is (0, 0). A pyramid is a
list of levels from small to large; a level is a gray image (H x W float32 in 0..1) and the matrix from its
points to those of the full image.
"""

from __future__ import annotations

from typing import List, Tuple

import cv2
import numpy as np

from two_stream_fusion.stack import dust

MOTIONS = {
    "translation": cv2.MOTION_TRANSLATION,
    "euclidean": cv2.MOTION_EUCLIDEAN,
    "affine": cv2.MOTION_AFFINE,
    "homography": cv2.MOTION_HOMOGRAPHY,
}
MAX_PIXELS = 1_000_000  # of the largest level
MIN_SIDE = 48  # pixels of the shorter side of the smallest level, where an image has as many
ECC_BLUR = 5  # side of ECC's own Gaussian, in pixels of a level
ECC_CRITERIA = (100, 1e-6)  # at a level: steps at most, gain in correlation that ends them; for speed alone
CORRELATION_PIXELS = 20_000  # of the level whose details are compared: small, so that focus matters little
MIN_CORRELATION = 0.5  # of images of one scene: real pairs have 0.56 and more, others up to 0.44
SCALE_RANGE = (0.8, 1.25)  # of the image's size in that of the reference
MAX_SHIFT = 0.5  # of a corner, as a share of the longer side
MIN_CONTRAST = 0.002  # standard deviation of gray in 0..1 below which there is nothing to align by

SPOT_PIXELS = 200_000  # of the level on which static spots are detected
SPOT_DISTANCE = 0.002  # of the longer side: motions with and without spots that are closer are the same
SPOT_GAIN = 1 / 4  # of 1 - correlation outside of spots, that the motion without spots has to remove

Level = Tuple[np.ndarray, np.ndarray]
Pyramid = List[Level]


class AlignmentError(ValueError):
    """Two images could not be aligned. frame: the index in its stack of the one at fault, or None."""

    def __init__(self, message: str, frame: int | None = None):
        super().__init__(message)
        self.frame = frame


def make_pyramid(
    image: np.ndarray,
    max_pixels: int = MAX_PIXELS,
    *,
    shape: tuple[int, ...] | None = None,
    kept_pixels: int | None = None,
) -> Pyramid:
    """Make the pyramid of an image.

    Args:
        image: H x W or H x W x 3, uint8 or uint16.
        max_pixels: of the largest level.
        shape: of the image, where `image` is a smaller version of it.
        kept_pixels: of the largest level that is made; None for all.

    Returns:
        Its levels, from small to large; each has about half the side of the next.
    """
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = (shape or image.shape)[:2]
    share = min(1, (max_pixels / (height * width)) ** 0.5)
    sizes = [(max(2, round(width * share)), max(2, round(height * share)))]
    while min(sizes[-1]) >= 2 * MIN_SIDE:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    levels = []
    for size in sizes:
        if kept_pixels is not None and size[0] * size[1] > kept_pixels:
            continue
        if size != gray.shape[::-1]:
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        x, y = width / size[0], height / size[1]
        up = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
        levels.append((gray.astype(np.float32) / np.iinfo(image.dtype).max, up))
    return levels[::-1]


def check_motion(motion: str) -> None:
    """Check the name of a kind of motion.

    Args:
        motion: the name.

    Raises:
        ValueError: it is not one of MOTIONS.
    """
    if motion not in MOTIONS:
        raise ValueError(f"unknown motion {motion!r}: {', '.join(MOTIONS)}")


def is_flat(pyramid: Pyramid) -> bool:
    """Whether an image has too little contrast to be aligned by."""
    return bool(pyramid[-1][0].std() < MIN_CONTRAST)


def register(reference: Pyramid, image: Pyramid, motion: str) -> np.ndarray:
    """Find the motion between two images, as align.estimate.

    Fixed spots, such as dust on the sensor, do not count where the rest of the scene says that it
    moved otherwise.

    Args:
        reference, image: the pyramids of two images.
        motion: one of MOTIONS.

    Returns:
        The matrix that takes points in `reference` to `image`.

    Raises:
        AlignmentError: an image is flat, or no plausible motion is found.
        ValueError: there is no such motion.
    """
    return register_without_spots(reference, image, motion)[0]


def register_without_spots(
    reference: Pyramid, image: Pyramid, motion: str
) -> tuple[np.ndarray, Pyramid, Pyramid]:
    """As `register`, and return the pyramids that the motion was estimated from.

    Args:
        reference, image: the pyramids of two images.
        motion: one of MOTIONS.

    Returns:
        (matrix, reference, image): the pyramids are without spots where the spots were not to count.

    Raises:
        AlignmentError, ValueError: as `register`.
    """
    check_motion(motion)
    if is_flat(reference) or is_flat(image):
        raise AlignmentError("nothing to align by: an image is flat")
    matrix = _register_once(reference, image, motion)
    spots = _misleading_spots(reference, image, matrix)
    if spots is not None:
        reference, image = _without_spots(reference, image, spots)
        matrix = _register_once(reference, image, motion)
        if matrix is None:
            raise AlignmentError("fixed spots, such as dust, hide the motion of the scene")
    if matrix is None:
        raise AlignmentError("no motion is found that aligns the images")
    return matrix, reference, image


def _register_once(reference, image, motion):
    """The matrix of the highest correlation, or None where no plausible one is found."""
    for initial_motion in (_no_motion, _phase_correlation_shift):
        matrix = _coarse_to_fine_ecc(
            reference, image, MOTIONS[motion], initial_motion(reference[0], image[0])
        )
        if matrix is not None and _is_plausible(reference, image, matrix):
            return matrix if _improves_correlation(reference[-1], image[-1], matrix) else np.eye(3)
    return None


def _misleading_spots(reference, image, matrix):
    """The fixed spots without which the images are far more alike by another motion, as `_find_spots`."""
    count = max(1, sum(gray.size <= SPOT_PIXELS for gray, _ in reference))
    spots = _find_spots(reference[:count], image[:count])
    if spots is None:
        return None
    reference, image = _without_spots(reference[:count], image[:count], spots)
    if is_flat(reference) or is_flat(image):
        return None
    without = _register_once(reference, image, "translation")
    if without is None:
        return None
    if matrix is None:
        return spots
    fixed, up = reference[-1]
    resting, with_spots, without_spots = (
        moved_corners(np.linalg.inv(up) @ one @ up, fixed.shape) for one in (np.eye(3), matrix, without)
    )
    if np.abs(with_spots - without_spots).max() <= SPOT_DISTANCE * max(fixed.shape):
        return None
    # What stands still can only keep the motion small. Where it is large, the spots are parts of the scene.
    if np.abs(with_spots - resting).max() >= np.abs(without_spots - resting).max():
        return None
    misfit, misfit_without = (1 - correlate_pyramids(reference, image, one) for one in (matrix, without))
    return spots if misfit_without < (1 - SPOT_GAIN) * misfit else None


def _find_spots(reference, image):
    """The spots that two pyramids share, H x W bool at their largest level; None where they share none."""
    return dust.find_spots(reference[-1][0], image[-1][0])


def _without_spots(reference, image, spots):
    """Both pyramids with the spots that they share filled.

    They are found at the largest level. Where none is seen there, as of soft dust, they are those that are
    given, of a smaller level.
    """
    found = _find_spots(reference, image)
    if found is None:
        size = reference[-1][0].shape[::-1]
        found = cv2.resize(spots.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    filled = []
    for pyramid in (reference, image):
        gray = dust.fill_spots(pyramid[-1][0], found)
        levels = []
        for level, up in pyramid[::-1]:
            if level.shape != gray.shape:
                gray = cv2.resize(gray, level.shape[::-1], interpolation=cv2.INTER_AREA)
            levels.append((gray, up))
        filled.append(levels[::-1])
    return filled


def correlate_pyramids(reference: Pyramid, image: Pyramid, matrix: np.ndarray) -> float:
    """Correlate the details of two images, the second moved by a matrix.

    Args:
        reference, image: the pyramids of two images.
        matrix: takes points in `reference` to `image`.

    Returns:
        -1 to 1, as align.correlate_images.
    """
    level = max((i for i, (gray, _) in enumerate(reference) if gray.size <= CORRELATION_PIXELS), default=0)
    (fixed, up), (moving, _) = reference[level], image[level]
    at_level = np.linalg.inv(up) @ matrix @ up
    return _correlation(_details(fixed), _details(moving), at_level, _overlap(fixed.shape, at_level))


def moved_corners(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where a matrix takes the centres of the corner pixels of an image.

    Args:
        matrix: 3 x 3.
        shape: of the image, H x W...

    Returns:
        4 x 2 float64, (x, y) in pixels.
    """
    x, y = shape[1] - 1, shape[0] - 1
    moved = np.array([[0, 0, 1], [x, 0, 1], [0, y, 1], [x, y, 1]]) @ np.transpose(matrix)
    return moved[:, :2] / moved[:, 2:]


def normalize(matrix: np.ndarray) -> np.ndarray:
    """The same motion with 1 as the last number of its matrix."""
    return matrix / matrix[2, 2]


def _no_motion(reference, image):
    return np.eye(3)


def _phase_correlation_shift(reference, image):
    """The shift that phase correlation finds between two levels.

    It reaches some 30 % of the side, ECC by itself 10 %.
    """
    (fixed, up), (moving, _) = reference, image
    (x, y), _ = cv2.phaseCorrelate(fixed, moving, cv2.createHanningWindow(fixed.shape[::-1], cv2.CV_32F))
    return up @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]) @ np.linalg.inv(up)


def _coarse_to_fine_ecc(reference, image, motion_type, matrix):
    """The matrix that ECC finds from the smallest level to the largest; None where it fails at that."""
    types = [cv2.MOTION_TRANSLATION, min(motion_type, cv2.MOTION_AFFINE), *[motion_type] * len(reference)]
    types = [*types[: len(reference) - 1], motion_type]  # fewer parameters where there are few pixels
    level_matrix: np.ndarray | None = None
    for (fixed, up), (moving, _), level_type in zip(reference, image, types):
        down = np.linalg.inv(up)
        level_matrix = _ecc(fixed, moving, down @ matrix @ up, level_type)
        if level_matrix is not None:
            matrix = normalize(up @ level_matrix @ down)
    if level_matrix is None:
        return None
    # ECC takes the gradients of one image. The mean of both directions errs less: 0.53 pixels, not 0.86.
    back = _ecc(moving, fixed, np.linalg.inv(level_matrix), motion_type)
    if back is not None:
        matrix = normalize(up @ (level_matrix + normalize(np.linalg.inv(back))) @ down)
    return matrix


def _ecc(fixed, moving, matrix, motion_type):
    """The matrix of the highest correlation near `matrix`; None where ECC does not converge."""
    rows = 3 if motion_type == cv2.MOTION_HOMOGRAPHY else 2
    level_matrix = np.ascontiguousarray(normalize(matrix)[:rows], np.float32)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, *ECC_CRITERIA)
    try:
        _, level_matrix = cv2.findTransformECC(
            fixed, moving, level_matrix, motion_type, criteria, None, ECC_BLUR
        )
    except cv2.error:
        return None
    square = np.eye(3)
    square[:rows] = level_matrix
    return square if np.isfinite(square).all() and np.linalg.det(square) > 1e-3 else None


def _is_plausible(reference, image, matrix):
    """Whether scale, motion of the corners and correlation are those of photographs of one scene."""
    fixed, up = reference[-1]
    at_level = np.linalg.inv(up) @ matrix @ up
    scale = max(0, np.linalg.det(at_level[:2, :2])) ** 0.5
    shift = np.abs(moved_corners(at_level, fixed.shape) - moved_corners(np.eye(3), fixed.shape)).max()
    return (
        SCALE_RANGE[0] <= scale <= SCALE_RANGE[1]
        and shift <= MAX_SHIFT * max(fixed.shape)
        and correlate_pyramids(reference, image, matrix) >= MIN_CORRELATION
    )


def _improves_correlation(reference, image, matrix):
    """Whether two levels correlate better with the matrix than without, where they overlap."""
    fixed, moving = (cv2.GaussianBlur(gray, (ECC_BLUR, ECC_BLUR), 0) for gray, _ in (reference, image))
    at_level = np.linalg.inv(reference[1]) @ matrix @ reference[1]
    overlap = _overlap(fixed.shape, at_level)
    return _correlation(fixed, moving, at_level, overlap) > _correlation(fixed, moving, np.eye(3), overlap)


def _details(gray):
    return cv2.GaussianBlur(gray, (0, 0), 1) - cv2.GaussianBlur(gray, (0, 0), 4)


def _overlap(shape, matrix):
    """H x W bool: where a second image, moved by the matrix, covers the first."""
    return _move(np.ones(shape, np.float32), matrix, cv2.BORDER_CONSTANT) > 0.999


def _correlation(fixed, moving, matrix, overlap):
    """Of two levels, the second moved by the matrix, within `overlap`; -1 where that has few pixels."""
    if overlap.sum() < 16:
        return -1.0
    a, b = fixed[overlap], _move(moving, matrix, cv2.BORDER_REFLECT_101)[overlap]
    a, b = a - a.mean(), b - b.mean()
    norm = float(a @ a) ** 0.5 * float(b @ b) ** 0.5
    return float(a @ b) / norm if norm else -1.0


def _move(gray, matrix, border):
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(gray, matrix, gray.shape[::-1], flags=flags, borderMode=border)
