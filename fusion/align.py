"""Bring photographs of one scene into register: motion between them, focus breathing, exposure.

The motion is the one with the highest correlation of the gray images (ECC), which neither a gain nor an
offset of brightness changes, found on a pyramid from small to large: G. D. Evangelidis, E. Z. Psarakis,
"Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization", IEEE Transactions on
Pattern Analysis and Machine Intelligence 30(10), 2008, doi:10.1109/TPAMI.2008.113.

A matrix here is 3 x 3 float64 and takes a place (x, y, 1) in the reference to the same thing's place in the
image, in pixels, the centre of the first pixel being (0, 0). Images are H x W (gray) or H x W x 3 (RGB),
uint8 or uint16.
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
FINEST = 1_000_000
COARSEST = 48
BLUR = 5
STEPS = (100, 1e-6)
CORRELATION = 0.5
SCALES = (0.8, 1.25)
SHIFT = 0.25


def estimate(reference, image, model="affine"):
    """The matrix from `reference` to `image`"""
    check(reference, image)
    if model not in MODELS:
        raise ValueError(f"unknown model {model!r}: {', '.join(MODELS)}")
    return _estimate(_pyramid(reference), _pyramid(image), model, np.eye(3))


def warp(image, matrix):
    """`image` as the reference sees it: each pixel fetched from where `matrix` says."""
    if np.array_equal(matrix, np.eye(3)):
        return image.copy()
    return cv2.warpPerspective(
        image,
        np.asarray(matrix, np.float64),
        image.shape[1::-1],
        flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def corners(shape):
    height, width = shape[:2]
    x, y = width - 1.0, height - 1.0
    return np.array([[0, 0], [x, 0], [0, y], [x, y]])


def apply(matrix, points):
    """N x 2 places (x, y) taken along by the matrix."""
    moved = np.column_stack([points, np.ones(len(points))]) @ np.asarray(matrix).T
    return moved[:, :2] / moved[:, 2:]


def distance(first, second, shape):
    """Root mean square distance in pixels between where two matrices take the corners of an image."""
    apart = apply(first, corners(shape)) - apply(second, corners(shape))
    return float(np.sqrt((apart**2).sum(axis=1).mean()))


def _pyramid(image, finest=FINEST):
    """[(gray in 0..1, float32, and the matrix from it to the image)], small to large."""
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


def _estimate(reference, image, model, matrix):
    for level, ((fixed, up), (moving, _)) in enumerate(zip(reference, image)):
        kind = MODELS[model]
        if len(reference) > 1:
            kind = min(kind, [cv2.MOTION_TRANSLATION, cv2.MOTION_AFFINE, kind][min(level, 2)])
        down = np.linalg.inv(up)
        found = _ecc(fixed, moving, _scaled(down @ matrix @ up), kind)
        if level == len(reference) - 1 and found is not None:
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
    return whole
