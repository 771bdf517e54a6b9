"""Bring photographs of one scene into register: motion between them, focus breathing, exposure.

The motion is the one with the highest correlation of the gray images (ECC), which neither a gain nor an
offset of brightness changes, found on a pyramid from small to large: G. D. Evangelidis, E. Z. Psarakis,
"Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization", IEEE Transactions on
Pattern Analysis and Machine Intelligence 30(10), 2008, doi:10.1109/TPAMI.2008.113.

A matrix here is 3 x 3 float64; it takes a place (x, y, 1) in the reference to the same thing's place in the
image, in pixels, the centre of the first pixel being (0, 0). Images are H x W (gray) or H x W x 3 (RGB),
uint8 or uint16, those of one scene alike in shape and dtype. None is ever changed.
experiments/alignment/measure.py prints what the errors are.
"""

from __future__ import annotations

import cv2
import numpy as np

from two_stream_fusion.base.pixels import check_fusable

MODELS = {
    "translation": cv2.MOTION_TRANSLATION,
    "euclidean": cv2.MOTION_EUCLIDEAN,
    "affine": cv2.MOTION_AFFINE,
    "homography": cv2.MOTION_HOMOGRAPHY,
}
FINEST = 1_000_000  # pixels of the largest level
COARSEST = 48  # pixels at least of the shorter side of the smallest level, where an image has as many
BLUR = 5  # side of ECC's own Gaussian, in pixels of a level
STEPS = (100, 1e-6)  # of ECC at a level: how many at most, and the gain in correlation that ends them
ALIKE = 20_000  # pixels of the level whose details are compared: small, so that focus matters little
LIKE = 0.5  # likeness of two images of one scene: 0.56 and more on real pairs; others reach 0.44
SCALES = (0.8, 1.25)  # how much smaller and larger the image may be than the reference
LONGEST = 32766  # pixels a side that OpenCV can move
SHIFT = 0.5  # how far a corner may move, as a share of the longer side
LESS = 1 / 3  # of what two images are unlike that moving one takes away where they are out of register
LESS_FAR = 1 / 6  # the same where their corners are farther apart than FAR
FAR = 0.005  # of the longer side
FLAT = 0.002  # standard deviation of gray in 0..1 under which there is nothing to align by


class AlignmentError(ValueError):
    """Two images could not be aligned. frame: the place in its stack of the one at fault, or None."""

    def __init__(self, message, frame=None):
        super().__init__(message)
        self.frame = frame


def estimate(reference, image, model="affine"):
    """The matrix that takes places in `reference` to `image`, 3 x 3 float64.

    model: translation, euclidean (and rotation), affine (and scales, shear) or homography. The identity where
    nothing else brings the images closer. AlignmentError where an image is flat, or no motion is found that
    is to be believed: the images less alike than LIKE even so, a scale outside SCALES, a corner that moves
    farther than SHIFT. ValueError where the images differ in kind or there is no such model.
    """
    check_fusable(reference, image)
    return _estimate(_pyramid(reference), _pyramid(image), model)


def chain(frames, reference=0, model="affine", progress=iter):
    """The matrices, one for each frame of a focus stack, that take places in frame `reference` to it.

    frames: a sequence of images; each is asked for once and none is kept. Neighbours in a stack are focused
    alike, so each frame is aligned to the one before it, outwards from the reference, and the steps are
    multiplied: where the ends of a stack are much blurred that halves the error of aligning all of them to
    the reference, else the two are equals. model: as of `estimate`. progress: wraps the list of places of
    the frames to align, to show how far the work is. AlignmentError, with its `frame`, where `estimate`
    would raise one or ValueError; IndexError where there is no frame `reference`.
    """
    if not 0 <= reference < len(frames):
        raise IndexError(f"no frame {reference} in a stack of {len(frames)}")
    _check_model(model)
    origin = frames[reference]
    check_fusable(origin)
    if max(origin.shape[:2]) > LONGEST:
        raise AlignmentError(f"sides of more than {LONGEST} pixels cannot be aligned", reference)
    like = np.broadcast_to(origin.dtype.type(0), origin.shape)  # what `check_fusable` compares, and no pixels
    origin = previous = _pyramid(origin)
    if _is_flat(origin):
        raise AlignmentError("nothing to align by: the image is flat", reference)
    matrices = [np.eye(3) for _ in range(len(frames))]
    for i in progress([*range(reference + 1, len(frames)), *range(reference - 1, -1, -1)]):
        nearer = i - 1 if i > reference else i + 1
        if nearer == reference:
            previous = origin
        frame = frames[i]
        try:
            check_fusable(like, frame)
            frame = _pyramid(frame)
            matrices[i] = _scaled(_estimate(previous, frame, model) @ matrices[nearer])
        except ValueError as error:
            raise AlignmentError(str(error), i) from None
        previous = frame
    return matrices


def warp(image, matrix):
    """`image` as the reference sees it: each pixel interpolated (Lanczos) at the place `matrix` gives.

    What lies outside the image is the image mirrored at its border. The identity leaves every pixel as it is.
    """
    check_fusable(image)
    if np.array_equal(matrix, np.eye(3)):
        return image.copy()
    # OpenCV's cubic kernel shifts what it interpolates by up to 0.05 pixels, this one by up to 0.025.
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    size = image.shape[1::-1]
    matrix = np.asarray(matrix, np.float64)
    return cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def common(matrices, shape):
    """(rows, columns): slices, a rectangle of the reference that every image shows, as large as simply found.

    matrices: of the images. shape: theirs. ValueError where nothing is left.
    """
    height, width = shape[:2]
    # A place p = (x, y, 1) of the reference lies inside an image where line @ p >= 0 for its four borders.
    across, along = [], []
    for x, y, w in np.asarray(matrices, np.float64):
        across += [x, (width - 1) * w - x]
        along += [y, (height - 1) * w - y]
    # Columns that hold for all rows come first, then the rows that hold for those columns.
    left, right = _between(across, 0, (0, width - 1), (0, height - 1))
    top, bottom = _between(along, 1, (0, height - 1), (left, right))
    return slice(top, bottom + 1), slice(left, right + 1)


def match_exposure(reference, image):
    """`image`, already registered, each channel times a gain that makes it as bright as in `reference`.

    The gain is the median, weighted by brightness, of the ratios of pixels in small, blurred versions, so
    that focus matters little; places near black or saturation are left out. Rounded and clipped. An image
    whose gains are all within 0.2 % of 1, or with no place to compare, keeps its pixels as they are.
    """
    check_fusable(reference, image)
    (theirs, usable), (ours, too) = _exposure(reference), _exposure(image)
    usable &= too
    if not usable.any():
        return image.copy()
    gains = [_median(a[usable] / b[usable], b[usable]) for a, b in zip(theirs, ours)]
    if all(abs(gain - 1) <= 0.002 for gain in gains):
        return image.copy()
    top = np.iinfo(image.dtype).max
    matched = np.empty_like(image)
    planes, results = (v.reshape(*image.shape[:2], -1) for v in (image, matched))
    for c, gain in enumerate(gains):
        levels = np.minimum(np.floor(np.arange(top + 1) * gain + 0.5), top).astype(image.dtype)
        results[..., c] = levels[planes[..., c]]
    return matched


def misaligned(reference, image):
    """How far apart two images seem to be, in pixels: root mean square over the corners.

    Cheap: found by the affine model on versions of 200,000 pixels, so on larger images less exact. 0 where
    moving the image takes away little of what it is unlike the reference (LESS), as with pairs that are in
    register, or where one image is flat; infinite where no motion brings them together.
    """
    check_fusable(reference, image)
    ours, theirs = _pyramid(reference, 200_000), _pyramid(image, 200_000)
    if _is_flat(ours) or _is_flat(theirs):
        return 0.0
    try:
        matrix = _estimate(ours, theirs, "affine")
    except AlignmentError:
        return float("inf")
    apart = corner_distance(matrix, np.eye(3), reference.shape)
    less = LESS_FAR if apart > FAR * max(reference.shape) else LESS
    if 1 - _likeness(ours, theirs, matrix) > (1 - less) * (1 - _likeness(ours, theirs, np.eye(3))):
        return 0.0
    return apart


def corner_distance(first, second, shape):
    """How far apart two matrices take the corners of an image of `shape`: root mean square, in pixels."""
    apart = _corners(first, shape) - _corners(second, shape)
    return float(np.sqrt((apart**2).sum(axis=1).mean()))


def likeness(reference, image, matrix=None):
    """How alike two images are, the second taken where `matrix` (else the identity) says: -1 to 1.

    The correlation, where they overlap, of their details some pixels wide in versions of ALIKE pixels; focus
    matters little there, and slow changes of brightness not at all. -1 where they hardly overlap.
    """
    check_fusable(reference, image)
    return _likeness(_pyramid(reference), _pyramid(image), np.eye(3) if matrix is None else matrix)


def _pyramid(image, finest=FINEST):
    """[(gray, H x W float32 in 0..1; the matrix from its places to the image's)], from small to large."""
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = gray.shape
    share = min(1, (finest / gray.size) ** 0.5)
    sizes = [(max(2, round(width * share)), max(2, round(height * share)))]
    while min(sizes[-1]) >= 2 * COARSEST:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    levels = []
    for size in sizes:
        if size != gray.shape[::-1]:
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        x, y = width / size[0], height / size[1]
        up = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
        levels.append((gray.astype(np.float32) / np.iinfo(image.dtype).max, up))
    return levels[::-1]


def _check_model(model):
    if model not in MODELS:
        raise ValueError(f"unknown model {model!r}: {', '.join(MODELS)}")


def _estimate(reference, image, model):
    """`estimate` for the pyramids of two images."""
    _check_model(model)
    if _is_flat(reference) or _is_flat(image):
        raise AlignmentError("nothing to align by: an image is flat")
    for start in (_stay, _shift):
        matrix = _climb(reference, image, MODELS[model], start(reference[0], image[0]))
        if matrix is not None and _believable(reference, image, matrix):
            return matrix if _closer(reference[-1], image[-1], matrix) else np.eye(3)
    raise AlignmentError("no motion is found that brings the images together")


def _is_flat(pyramid):
    return pyramid[-1][0].std() < FLAT


def _stay(reference, image):
    """No motion, to start from."""
    return np.eye(3)


def _shift(reference, image):
    """The shift that phase correlation finds between two levels, up to some 30 % of the side; ECC, 10 %."""
    (fixed, up), (moving, _) = reference, image
    (x, y), _ = cv2.phaseCorrelate(fixed, moving, cv2.createHanningWindow(fixed.shape[::-1], cv2.CV_32F))
    return up @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]) @ np.linalg.inv(up)


def _climb(reference, image, kind, matrix):
    """The matrix that ECC finds from the smallest level to the largest; None where it fails there."""
    kinds = [cv2.MOTION_TRANSLATION, min(kind, cv2.MOTION_AFFINE), *[kind] * len(reference)]
    kinds = [*kinds[: len(reference) - 1], kind]  # fewer parameters where there are few pixels
    for (fixed, up), (moving, _), kind in zip(reference, image, kinds):
        down = np.linalg.inv(up)
        found = _ecc(fixed, moving, down @ matrix @ up, kind)
        if found is not None:
            matrix = _scaled(up @ found @ down)
    if found is None:
        return None
    # ECC takes the gradients of one image; the mean of both ways errs less: 0.53 pixels at most for 0.86.
    back = _ecc(moving, fixed, np.linalg.inv(found), kind)
    if back is not None:
        matrix = _scaled(up @ (found + _scaled(np.linalg.inv(back))) @ down)
    return matrix


def _ecc(fixed, moving, matrix, kind):
    """The matrix of the highest correlation near `matrix`; None where ECC does not converge."""
    rows = 3 if kind == cv2.MOTION_HOMOGRAPHY else 2
    found = np.ascontiguousarray(_scaled(matrix)[:rows], np.float32)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, *STEPS)
    try:
        _, found = cv2.findTransformECC(fixed, moving, found, kind, criteria, None, BLUR)
    except cv2.error:
        return None
    whole = np.eye(3)
    whole[:rows] = found
    return whole if np.isfinite(whole).all() and np.linalg.det(whole) > 1e-3 else None


def _believable(reference, image, matrix):
    """Whether the scale, the way the corners go and the likeness are those of photographs of one scene."""
    fixed, up = reference[-1]
    here = np.linalg.inv(up) @ matrix @ up
    scale = max(0, np.linalg.det(here[:2, :2])) ** 0.5
    moved = np.abs(_corners(here, fixed.shape) - _corners(np.eye(3), fixed.shape)).max()
    return (
        SCALES[0] <= scale <= SCALES[1]
        and moved <= SHIFT * max(fixed.shape)
        and _likeness(reference, image, matrix) >= LIKE
    )


def _closer(reference, image, matrix):
    """Whether two levels correlate better with the matrix than without, where they overlap."""
    fixed, moving = (cv2.GaussianBlur(gray, (BLUR, BLUR), 0) for gray, _ in (reference, image))
    here = np.linalg.inv(reference[1]) @ matrix @ reference[1]
    overlap = _overlap(fixed.shape, here)
    return _correlation(fixed, moving, here, overlap) > _correlation(fixed, moving, np.eye(3), overlap)


def _likeness(reference, image, matrix):
    """`likeness` for the pyramids of two images."""
    level = max((i for i, (gray, _) in enumerate(reference) if gray.size <= ALIKE), default=0)
    (fixed, up), (moving, _) = reference[level], image[level]
    here = np.linalg.inv(up) @ matrix @ up
    return _correlation(_details(fixed), _details(moving), here, _overlap(fixed.shape, here))


def _details(gray):
    return cv2.GaussianBlur(gray, (0, 0), 1) - cv2.GaussianBlur(gray, (0, 0), 4)


def _overlap(shape, matrix):
    """H x W bool: where a second image, taken where the matrix says, covers the first."""
    return _moved(np.ones(shape, np.float32), matrix, cv2.BORDER_CONSTANT) > 0.999


def _correlation(fixed, moving, matrix, overlap):
    """Of two levels, the second moved by the matrix, over the places of `overlap`; -1 where these are few."""
    if overlap.sum() < 16:
        return -1.0
    a, b = fixed[overlap], _moved(moving, matrix, cv2.BORDER_REFLECT_101)[overlap]
    a, b = a - a.mean(), b - b.mean()
    norm = float(a @ a) ** 0.5 * float(b @ b) ** 0.5
    return float(a @ b) / norm if norm else -1.0


def _moved(gray, matrix, border):
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(gray, matrix, gray.shape[::-1], flags=flags, borderMode=border)


def _corners(matrix, shape):
    """Where the matrix takes the centres of the corner pixels of an image: 4 x 2."""
    x, y = shape[1] - 1, shape[0] - 1
    moved = np.array([[0, 0, 1], [x, 0, 1], [0, y, 1], [x, y, 1]]) @ np.transpose(matrix)
    return moved[:, :2] / moved[:, 2:]


def _scaled(matrix):
    return matrix / matrix[2, 2]


def _between(lines, axis, ends, others):
    """The first and last whole place on an axis that all lines allow, for every place on the other axis.

    ends: the first and last there are; others: those of the other axis.
    """
    first, last = ends
    for line in lines:
        rest = line[2] + min(line[1 - axis] * place for place in others)
        end = -rest / line[axis]
        if line[axis] > 0:
            first = max(first, int(np.ceil(end - 1e-6)))
        else:
            last = min(last, int(np.floor(end + 1e-6)))
    if first > last:
        raise ValueError("the images have no rectangle in common")
    return first, last


def _exposure(image):
    """(C x h x w float32 in 0..1, small and blurred; h x w bool: not near black or saturation)."""
    share = min(1, 256 / max(image.shape[:2]))
    size = tuple(max(2, round(n * share)) for n in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = small.reshape(size[1], size[0], -1) / np.iinfo(image.dtype).max
    ends = ((small < 0.01) | (small > 0.97)).any(axis=2).astype(np.uint8)
    usable = cv2.dilate(ends, np.ones((5, 5), np.uint8)) == 0
    return np.stack([cv2.GaussianBlur(c, (0, 0), 2) for c in np.moveaxis(small, 2, 0)]), usable


def _median(values, weights):
    """The value that half of the weight lies below."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])
