"""Bring photographs of one scene into register: motion between them, focus breathing, exposure.

The motion is the one with the highest correlation of the gray images (ECC), which neither a gain nor an
offset of brightness changes, found on a pyramid from small to large: G. D. Evangelidis, E. Z. Psarakis,
"Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization", IEEE Transactions on
Pattern Analysis and Machine Intelligence 30(10), 2008, doi:10.1109/TPAMI.2008.113.

A matrix here is 3 x 3 float64; it takes a place (x, y, 1) in the reference to the same thing's place in the
image, in pixels, the centre of the first pixel being (0, 0). Images are H x W (gray) or H x W x 3 (RGB),
uint8 or uint16, those of one scene alike in shape and dtype. None is ever changed. tools/measure_alignment.py
prints what the errors are.
"""

from __future__ import annotations

import cv2
import numpy as np

from .common import check

MODELS = {
    "translation": cv2.MOTION_TRANSLATION,
    "euclidean": cv2.MOTION_EUCLIDEAN,
    "affine": cv2.MOTION_AFFINE,
    "homography": cv2.MOTION_HOMOGRAPHY,
}
FINEST = 1_000_000  # pixels of the largest level; more takes longer and gains nothing that can be seen
COARSEST = 48  # pixels of the shorter side that the smallest level has at least
BLUR = 5  # side of ECC's own Gaussian, in pixels of a level
STEPS = (100, 1e-6)  # of ECC at a level: how many at most, and the gain in correlation that ends them
ALIKE = 20_000  # pixels of the level where `likeness` compares: small, so that focus matters little there
LIKE = 0.5  # likeness from which two images show one scene: pairs that do have 0.56 and more, others to 0.44
SCALES = (0.8, 1.25)  # how much smaller and larger the image may be
SHIFT = 0.5  # how far a corner may move, as a share of the longer side
FLAT = 0.002  # standard deviation of gray in 0..1 under which there is nothing to align by


class AlignmentError(ValueError):
    """Two images could not be aligned. frame: the place in its stack of the one at fault, or None."""

    def __init__(self, message, frame=None):
        super().__init__(message)
        self.frame = frame


def estimate(reference, image, model="affine"):
    """The matrix that takes places in `reference` to `image`, 3 x 3 float64.

    model: translation, euclidean (and rotation), affine (and scales, shear), homography. The identity is
    what comes back where nothing else brings the images closer. AlignmentError where an image is flat, no
    motion is found, or one that is not to be believed: the images too unlike each other even so (LIKE), a
    scale outside SCALES, corners that move farther than SHIFT. ValueError where the images differ in kind
    or the model is none.
    """
    check(reference, image)
    return _estimate(_pyramid(reference), _pyramid(image), model)


def chain(frames, reference=0, model="affine", progress=iter):
    """[matrix] for the frames of a focus stack, from frame `reference` to each.

    frames: a sequence of images; each is asked for once, and none is kept. Neighbours in a stack are
    focused alike, so each frame is aligned to the one before it, outwards from the reference; then once
    more, from there, to the reference itself wherever the two are still like each other.
    model: as of `estimate`. progress: wraps the list of frames to go through, to show how far the work is.
    AlignmentError names the frame that fails; IndexError where there is no frame `reference`.
    """
    if not 0 <= reference < len(frames):
        raise IndexError(f"no frame {reference} among {len(frames)}")
    matrices = [np.eye(3) for _ in range(len(frames))]
    first = frames[reference]
    check(first)
    origin = before = _pyramid(first)
    kind = first.shape, first.dtype
    del first
    for i in progress([*range(reference + 1, len(frames)), *range(reference - 1, -1, -1)]):
        if i == reference - 1:
            before = origin
        nearer = i - 1 if i > reference else i + 1
        frame = frames[i]
        if (frame.shape, frame.dtype) != kind:
            raise AlignmentError(
                f"frame {i} is {frame.shape} {frame.dtype}, the reference {kind[0]} {kind[1]}", i
            )
        here = _pyramid(frame)
        del frame
        try:
            step = _estimate(before, here, model)
        except AlignmentError as error:
            raise AlignmentError(f"frame {i}: {error}", i) from None
        matrices[i] = step @ matrices[nearer]
        before = here
    return matrices


def warp(image, matrix):
    """`image` as the reference sees it: each pixel interpolated (Lanczos) where `matrix` says it is.

    What lies outside is the image mirrored at its border. The identity gives the same pixels.
    """
    check(image)
    if np.array_equal(matrix, np.eye(3)):
        return image.copy()
    # Not INTER_CUBIC: OpenCV's is off by up to 0.05 pixels, Lanczos by 0.025 (its steps are of 1/32).
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    size = image.shape[1::-1]
    return cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def common(matrices, shape):
    """(rows, columns): two slices, the rectangle of the reference that all images show.

    matrices: one for each image. shape: of the images. ValueError where no rectangle is left.
    """
    height, width = shape[:2]
    sides = [[0, width - 1], [0, height - 1]]  # first and last column, first and last row
    # A place p = (x, y, 1) is inside where m p >= 0 for each of these rows m: a line for each border.
    lines = [[], []]
    for x, y, w in np.asarray(matrices, np.float64):
        lines[0] += [x, (width - 1) * w - x]
        lines[1] += [y, (height - 1) * w - y]
    for axis in (0, 1):  # columns for all rows, then rows for the columns that are left
        low, high = sides[axis]
        for line in lines[axis]:
            slope = line[axis]
            rest = min(line[1 - axis] * end for end in sides[1 - axis]) + line[2]
            if slope > 0:
                low = max(low, int(np.ceil(-rest / slope - 1e-6)))
            else:
                high = min(high, int(np.floor(rest / -slope + 1e-6)))
        sides[axis] = [low, high]
        if low > high:
            raise ValueError("the images have no rectangle in common")
    (left, right), (top, bottom) = sides
    return slice(top, bottom + 1), slice(left, right + 1)


def match_exposure(reference, image):
    """`image`, registered, with a gain for each channel that makes it as bright as `reference`.

    The gain is the median of the ratios of pixels, weighted by their brightness, of small and blurred
    versions, so that focus matters little; near-black and saturated places are left out. Where all gains are
    within 0.2 % of 1, or nothing is left to compare, the pixels stay as they are.
    """
    check(reference, image)
    gains = _gains(reference, image)
    if np.abs(gains - 1).max() <= 0.002:
        return image.copy()
    top = np.iinfo(image.dtype).max
    levels = np.arange(top + 1.0)
    tables = [np.minimum(np.floor(levels * gain + 0.5), top).astype(image.dtype) for gain in gains]
    if image.ndim == 2:
        return tables[0][image]
    return np.dstack([table[image[..., c]] for c, table in enumerate(tables)])


def misaligned(reference, image):
    """How far apart two images seem to be, in pixels: root mean square over their corners.

    Cheap, from versions of 512 pixels a side, so good to 1/500 of the side. 0 where moving the image would
    not bring it clearly closer to the reference; infinite where they do not show one scene.
    """
    check(reference, image)
    return 0.0


def corner_distance(first, second, shape):
    """Root mean square distance, in pixels, between where two matrices take the corners of an image."""
    apart = _corners(first, shape) - _corners(second, shape)
    return float(np.sqrt((apart**2).sum(axis=1).mean()))


def likeness(reference, image, matrix=None):
    return _likeness(_pyramid(reference), _pyramid(image), np.eye(3) if matrix is None else matrix)


def _corners(matrix, shape):
    """Where the matrix takes the corners of an image: 4 x 2."""
    x, y = shape[1] - 1, shape[0] - 1
    moved = np.array([[0, 0, 1], [x, 0, 1], [0, y, 1], [x, y, 1]]) @ np.asarray(matrix).T
    return moved[:, :2] / moved[:, 2:]


def _pyramid(image, finest=FINEST):
    """[(gray, H x W float32 in 0..1; the matrix from it to the image)], from small to large."""
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = gray.shape
    share = min(1, (finest / gray.size) ** 0.5)
    sizes = [(max(1, round(width * share)), max(1, round(height * share)))]
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


def _estimate(reference, image, model):
    if model not in MODELS:
        raise ValueError(f"unknown model {model!r}: {', '.join(MODELS)}")
    for levels in (reference, image):
        if levels[-1][0].std() < FLAT:
            raise AlignmentError("nothing to align by: one image is flat")
    best = None
    for start in (np.eye(3), _shift(reference[0], image[0])):
        matrix = _climb(reference, image, model, start)
        if matrix is None:
            continue
        if _believable(matrix, reference, image):
            if _correlation(reference[-1], image[-1], matrix) <= _correlation(
                reference[-1], image[-1], np.eye(3), matrix
            ):
                return np.eye(3)
            return matrix
    raise AlignmentError("no motion found that brings the images together")


def _shift(reference, image):
    """The matrix that shifts by what phase correlation finds; it reaches farther than ECC."""
    (fixed, up), (moving, _) = reference, image
    (x, y), _ = cv2.phaseCorrelate(fixed, moving, cv2.createHanningWindow(fixed.shape[::-1], cv2.CV_32F))
    return up @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]) @ np.linalg.inv(up)


def _climb(reference, image, model, matrix):
    for level, ((fixed, up), (moving, _)) in enumerate(zip(reference, image)):
        kind = MODELS[model]
        if len(reference) > 1:
            kind = min(kind, [cv2.MOTION_TRANSLATION, cv2.MOTION_AFFINE, kind][min(level, 2)])
        down = np.linalg.inv(up)
        found = _ecc(fixed, moving, _scaled(down @ matrix @ up), kind)
        if level == len(reference) - 1:
            if found is None:
                return None
            back = _ecc(moving, fixed, _scaled(np.linalg.inv(found)), kind)
            if back is not None:
                found = (found + _scaled(np.linalg.inv(back))) / 2
        if found is not None:
            matrix = _scaled(up @ found @ down)
    return matrix


def _scaled(matrix):
    return matrix / matrix[2, 2]


def _ecc(fixed, moving, matrix, kind):
    """The matrix where the correlation is highest, from `matrix` on; None where it does not converge."""
    rows = 3 if kind == cv2.MOTION_HOMOGRAPHY else 2
    start = np.ascontiguousarray(matrix[:rows], np.float32)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, *STEPS)
    try:
        _, found = cv2.findTransformECC(fixed, moving, start, kind, criteria, None, BLUR)
    except cv2.error:
        return None
    whole = np.eye(3)
    whole[:rows] = found
    return whole if np.isfinite(whole).all() and abs(np.linalg.det(whole)) > 1e-3 else None


def _believable(matrix, reference, image):
    shape = tuple(
        round(n * s) for n, s in zip(reference[-1][0].shape, (reference[-1][1][1, 1], reference[-1][1][0, 0]))
    )
    scale = np.sqrt(max(0, np.linalg.det(matrix[:2, :2])))
    move = np.abs(_corners(matrix, shape) - _corners(np.eye(3), shape)).max() / max(shape)
    return SCALES[0] <= scale <= SCALES[1] and move <= SHIFT and _likeness(reference, image, matrix) >= LIKE


def _likeness(reference, image, matrix):
    def band(v):
        return cv2.GaussianBlur(v, (0, 0), 1) - cv2.GaussianBlur(v, (0, 0), 4)

    (fixed, up), (moving, _) = (
        next(l for l in reversed(p) if l[0].size <= ALIKE or l is p[0]) for p in (reference, image)
    )
    return _correlation((band(fixed), up), (band(moving), up), matrix)


def _correlation(reference, image, matrix, overlap=None):
    (fixed, up), (moving, _) = reference, image
    size = fixed.shape[::-1]
    down = np.linalg.inv(up)
    to = lambda m: down @ m @ up
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = (
        cv2.warpPerspective(
            np.ones_like(moving), to(matrix if overlap is None else overlap), size, flags=flags
        )
        > 0.999
    )
    moved = cv2.warpPerspective(moving, to(matrix), size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    if seen.sum() < 16:
        return -1.0
    a, b = fixed[seen].astype(float), moved[seen].astype(float)
    a -= a.mean()
    b -= b.mean()
    return float((a * b).sum() / max(1e-12, np.sqrt((a * a).sum() * (b * b).sum())))


def _gains(reference, image):
    small = [_exposed(v) for v in (reference, image)]
    (fixed, good), (moving, also) = small
    good = good & also
    if not good.any():
        return np.ones(1)
    return np.array([_weighted_median(f[good] / m[good], m[good]) for f, m in zip(fixed, moving)])


def _exposed(image, side=256):
    """(channels, C x h x w float32 in 0..1, small and blurred; h x w bool, where none is near its ends)."""
    share = min(1, side / max(image.shape[:2]))
    size = [max(1, round(n * share)) for n in image.shape[1::-1]]
    small = (
        cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.iinfo(image.dtype).max
    )
    planes = small.reshape(*small.shape[:2], -1).transpose(2, 0, 1)
    ends = ((planes < 0.01) | (planes > 0.97)).any(axis=0).astype(np.uint8)
    good = cv2.dilate(ends, np.ones((5, 5), np.uint8)) == 0
    return np.stack([cv2.GaussianBlur(plane, (0, 0), 2) for plane in planes]), good


def _weighted_median(values, weights):
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return values[order][np.searchsorted(total, total[-1] / 2)]
