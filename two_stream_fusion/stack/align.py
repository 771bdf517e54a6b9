"""Align images of one scene: correct camera motion and focus breathing.

stack/registration.py finds the motion between two images. A matrix is 3 x 3 float64 and
takes a point (x, y, 1) in the reference to the same thing's point in the image, in pixels; the centre of the
first pixel is (0, 0). Images are H x W (gray) or H x W x 3 (RGB), uint8 or uint16; those of one scene are
alike in shape and dtype. None is ever changed. experiments/alignment/measure.py prints the errors.
"""

from __future__ import annotations

from typing import Callable, Iterable, Sequence

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable
from two_stream_fusion.stack import registration
from two_stream_fusion.stack.registration import MOTIONS, AlignmentError
from two_stream_fusion.stack.sequences import ImageSequence

__all__ = [
    "MOTIONS",
    "AlignmentError",
    "coarse_pyramid",
    "common_window",
    "corner_distance",
    "correlate_images",
    "estimate",
    "estimate_stack",
    "misalignment",
    "pyramid_misalignment",
    "seem_aligned",
    "small_pyramid",
    "warp",
]

MAX_SIDE = 32766  # pixels that OpenCV can warp
SMALL_PIXELS = 200_000  # of the versions that `misalignment` compares
COARSE_PIXELS = 30_000  # of levels on which images aligned are recognised
MIN_GAIN = 1 / 3  # of 1 - correlation of two images, that moving one removes where they are misaligned
MIN_GAIN_FAR = 1 / 6  # the same where their corners are farther apart than FAR_SHARE
FAR_SHARE = 0.005  # of the longer side


def estimate(reference: np.ndarray, image: np.ndarray, motion: str = "affine") -> np.ndarray:
    """Find the motion between two images.

    Args:
        reference: an image.
        image: another of the same scene.
        motion: translation, euclidean (with rotation), affine (with scales and shear) or homography.

    Returns:
        The matrix that takes points in `reference` to `image`, 3 x 3 float64. It is the identity where no
        motion brings the images closer.

    Raises:
        AlignmentError: an image is flat, or no plausible motion is found: the correlation stays below
            registration.MIN_CORRELATION, the scale is outside of SCALE_RANGE, or a corner moves farther than
            MAX_SHIFT.
        ValueError: the images differ in shape or dtype, or there is no such motion.
    """
    check_fusable(reference, image)
    return registration.register(
        registration.make_pyramid(reference), registration.make_pyramid(image), motion
    )


def estimate_stack(
    frames: ImageSequence,
    reference: int = 0,
    motion: str = "affine",
    progress: Callable[[Iterable], Iterable] = iter,
) -> list[np.ndarray]:
    """Find the motion of each frame of a focus stack.

    Neighbours in a stack are focused alike. So each frame is aligned to the one before it, outwards from the
    reference, and the matrices are multiplied. Where the ends of a stack are much blurred that halves the
    error of aligning all frames to the reference; elsewhere both are equal.

    Args:
        frames: images in the order of their focus. Each is read once and none is kept.
        reference: the index in `frames` of the one that stays as it is.
        motion: as of `estimate`.
        progress: wraps the list of indices of the frames to align.

    Returns:
        A matrix for each frame, which takes points in the reference to it.

    Raises:
        AlignmentError: a frame cannot be aligned; `frame` is its index.
        IndexError: there is no frame `reference`.
        ValueError: there is no such motion.
    """
    if not 0 <= reference < len(frames):
        raise IndexError(f"no frame {reference} in a stack of {len(frames)}")
    registration.check_motion(motion)
    first = frames[reference]
    check_fusable(first)
    if max(first.shape[:2]) > MAX_SIDE:
        raise AlignmentError(f"sides of more than {MAX_SIDE} pixels cannot be aligned", reference)
    like = np.broadcast_to(first.dtype.type(0), first.shape)  # for `check`, without the pixels
    origin = previous = registration.make_pyramid(first)
    del first
    if registration.is_flat(origin):
        raise AlignmentError("nothing to align by: the image is flat", reference)
    matrices = [np.eye(3) for _ in range(len(frames))]
    for i in progress([*range(reference + 1, len(frames)), *range(reference - 1, -1, -1)]):
        neighbour = i - 1 if i > reference else i + 1
        if neighbour == reference:
            previous = origin
        frame = frames[i]
        try:
            check_fusable(like, frame)
            pyramid = registration.make_pyramid(frame)
            del frame  # not kept while the next is read
            step = registration.register(previous, pyramid, motion)
        except ValueError as error:
            raise AlignmentError(str(error), i) from None
        matrices[i] = registration.normalize(step @ matrices[neighbour])
        previous = pyramid
    return matrices


def warp(image: np.ndarray, matrix: np.ndarray, interpolation: int = cv2.INTER_LANCZOS4) -> np.ndarray:
    """Move an image to where the reference sees it.

    Args:
        image: an image.
        matrix: as `estimate` gives it.
        interpolation: of OpenCV. INTER_LINEAR does not ring at the edges of masks.

    Returns:
        An image like `image`: each pixel is interpolated at the point that the matrix gives. What
        lies outside of the image is mirrored at its border. The identity leaves every pixel as it is.
    """
    check_fusable(image)
    if np.array_equal(matrix, np.eye(3)):
        return image.copy()
    # OpenCV's cubic kernel shifts what it interpolates by up to 0.05 pixels, this one by up to 0.025.
    flags = interpolation | cv2.WARP_INVERSE_MAP
    size = image.shape[1::-1]
    matrix = np.asarray(matrix, np.float64)
    return cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def common_window(matrices: Sequence[np.ndarray], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """A rectangle of the reference that every image shows, as large as simply found.

    Args:
        matrices: of the images.
        shape: of the images, H x W...

    Returns:
        (rows, columns), two slices.

    Raises:
        ValueError: no pixel is common to all.
    """
    height, width = shape[:2]
    # A point p = (x, y, 1) of the reference lies inside an image where line @ p >= 0 for its four borders.
    column_lines, row_lines = [], []
    for x, y, w in np.asarray(matrices, np.float64):
        column_lines += [x, (width - 1) * w - x]
        row_lines += [y, (height - 1) * w - y]
    # First the columns that hold for all rows, then the rows that hold for those columns.
    left, right = _allowed_interval(column_lines, 0, (0, width - 1), (0, height - 1))
    top, bottom = _allowed_interval(row_lines, 1, (0, height - 1), (left, right))
    return slice(top, bottom + 1), slice(left, right + 1)


def misalignment(reference: np.ndarray, image: np.ndarray) -> float:
    """Estimate quickly how far apart two images are.

    Args:
        reference: an image.
        image: another of the same kind.

    Returns:
        Pixels, root mean square over the corners, by the affine motion on versions of SMALL_PIXELS; so it is
        less exact for larger images. 0 where moving the image raises the correlation little (MIN_GAIN), as
        with pairs aligned, and where one image is flat. Infinite where no motion brings them together.
    """
    check_fusable(reference, image)
    return pyramid_misalignment(small_pyramid(reference), small_pyramid(image), reference.shape)


def small_pyramid(image: np.ndarray) -> registration.Pyramid:
    """What `pyramid_misalignment` compares of an image.

    Args:
        image: an image.

    Returns:
        Its pyramid.
    """
    return registration.make_pyramid(image, SMALL_PIXELS)


def coarse_pyramid(image: np.ndarray, shape: tuple[int, ...]) -> registration.Pyramid:
    """The small levels of the `small_pyramid` of an image.

    Args:
        image: an image, or a smaller version of it.
        shape: of the image, H x W...

    Returns:
        The levels; none where all are larger than COARSE_PIXELS.
    """
    return registration.make_pyramid(image, SMALL_PIXELS, shape=shape, kept_pixels=COARSE_PIXELS)


def pyramid_misalignment(
    first: registration.Pyramid, second: registration.Pyramid, shape: tuple[int, ...], ignored: float = 0
) -> float:
    """Estimate how far apart two images are, as `misalignment`, from their pyramids.

    Small levels are compared first.

    Args:
        first, second: of each image, as `small_pyramid` returns it.
        shape: of the images, H x W...
        ignored: in pixels. Where the small levels are less than half of it apart, the answer is 0.

    Returns:
        Pixels, as `misalignment`.
    """
    if registration.is_flat(first) or registration.is_flat(second):
        return 0.0
    coarse = [[level for level in pyramid if level[0].size <= COARSE_PIXELS] for pyramid in (first, second)]
    if ignored and seem_aligned(*coarse, shape, ignored):
        return 0.0
    try:
        matrix, first, second = registration.register_without_spots(first, second, "affine")
    except AlignmentError:
        return float("inf")
    distance = corner_distance(matrix, np.eye(3), shape)
    gain = MIN_GAIN_FAR if distance > FAR_SHARE * max(shape) else MIN_GAIN
    difference = 1 - registration.correlate_pyramids(first, second, np.eye(3))
    if 1 - registration.correlate_pyramids(first, second, matrix) > (1 - gain) * difference:
        return 0.0
    return distance


def seem_aligned(
    first: registration.Pyramid, second: registration.Pyramid, shape: tuple[int, ...], ignored: float
) -> bool:
    """Whether small levels of two images are so little apart that larger ones need no look.

    Args:
        first, second: as `coarse_pyramid` returns them; without levels the answer is no.
        shape, ignored: as of `pyramid_misalignment`.

    Returns:
        Whether they are less than half of `ignored` apart.
    """
    return bool(first) and _coarse_distance(first, second, shape) < ignored / 2


def _coarse_distance(first, second, shape):
    try:
        return corner_distance(registration.register(first, second, "affine"), np.eye(3), shape)
    except AlignmentError:
        return float("inf")


def corner_distance(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    """The distance between where two matrices take the corners of an image.

    Args:
        first, second: matrices.
        shape: of the image, H x W...

    Returns:
        Pixels, root mean square over the four corners.
    """
    distances = registration.moved_corners(first, shape) - registration.moved_corners(second, shape)
    return float(np.sqrt((distances**2).sum(axis=1).mean()))


def correlate_images(reference: np.ndarray, image: np.ndarray, matrix: np.ndarray | None = None) -> float:
    """Correlate the details of two images, the second moved by a matrix.

    Args:
        reference: an image.
        image: another of the same kind.
        matrix: as `estimate` gives it; the identity where None.

    Returns:
        -1 to 1: the correlation, where the images overlap, of details some pixels wide in versions of
        registration.CORRELATION_PIXELS. Focus matters little there, and slow changes of brightness not at
        all. -1 where they hardly overlap.
    """
    check_fusable(reference, image)
    matrix = np.eye(3) if matrix is None else matrix
    return registration.correlate_pyramids(
        registration.make_pyramid(reference), registration.make_pyramid(image), matrix
    )


def _allowed_interval(lines, axis, ends, others):
    """The first and last pixel on an axis that all lines allow, for every pixel on the other axis.

    ends: the first and last pixel of this axis; others: those of the other axis.
    """
    first, last = ends
    for line in lines:
        offset = line[2] + min(line[1 - axis] * pixel for pixel in others)
        end = -offset / line[axis]
        if line[axis] > 0:
            first = max(first, int(np.ceil(end - 1e-6)))
        else:
            last = min(last, int(np.floor(end + 1e-6)))
    if first > last:
        raise ValueError("the images have no rectangle in common")
    return first, last
