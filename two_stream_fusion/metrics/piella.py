"""Q, Qw, Qe: structural similarity of the fused image with the source that is salient in each window.

Origin: G. Piella, H. Heijmans, A new quality metric for image fusion, ICIP 2003,
DOI 10.1109/ICIP.2003.1247209, on the universal quality index of Z. Wang, A. C. Bovik, DOI 10.1109/97.995823:
    Q0(X,F) = (2 mX mF + C)(2 sXF + C) / ((mX^2 + mF^2 + C)(sX^2 + sF^2 + C)),    C = (1e-6 * 255)^2
with means, population variances and covariance of every 8x8 window wholly inside the image. The saliency of a
window is its variance, lambda = s(A) / (s(A) + s(B)), and
    Q   the mean over windows of  lambda Q0(A,F) + (1 - lambda) Q0(B,F)
    Qw  the same with weights c(w) = max(s(A), s(B)) / sum of it over the windows
    Qe  Qw(A,B,F) * Qw(A',B',F') where X' is the Prewitt gradient strength, zeros outside the image
Where every source is flat in a window 0.5 is added to each saliency: lambda and the weight are 0.5.
n sources: lambda = s(X) / sum of all, c from the largest.

Range -1..1, 1 for A = B = F; Q0 of two flat windows compares their means alone. Images need 8x8 pixels.
The default is the public toolbox of 2012 as corrected in 2019 after the paper (Y. Liu et al., DOI
10.1016/j.inffus.2020.06.013).

Variants:
Q_gaussian, Qw_gaussian, Qe_gaussian  that toolbox before the correction (Z. Liu et al., DOI
           10.1109/TPAMI.2011.109): SSIM's 11x11 Gaussian window of sigma 1.5, and C1 = (0.01 * 255)^2,
           C2 = (0.03 * 255)^2 in place of C. Q is far higher. As published its Qe stops with an error, since
           the factor Qw is not computed; here it is.
Qe_edge    the factor Qw(A',B',F') alone, which some papers call Qe.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

import cv2
import numpy as np

from two_stream_fusion.metrics import preprocess


def _box_sums(x):
    # A running sum: exact where x holds whole numbers, with a residue of rounding elsewhere.
    depth = cv2.CV_64F if x.dtype == np.float64 else cv2.CV_32S
    return cv2.boxFilter(x, depth, (8, 8), anchor=(0, 0), normalize=False)


def _gaussian_sums(x):
    kernel = cv2.getGaussianKernel(11, 1.5, cv2.CV_64F)
    return cv2.sepFilter2D(x, cv2.CV_64F, kernel, kernel, anchor=(0, 0))


class _Window(NamedTuple):
    size: int
    sums: Callable
    area: int  # what the weights of the sums add up to
    k1: float
    k2: float
    # Variance of windows that hold one level other than 0. The toolbox with the Gaussian has a residue of
    # rounding there, not 0, so that they get no weight: on Clock that makes 1e-4 of Qw_gaussian.
    residue: float


_BOX = _Window(8, _box_sums, 64, 1e-6, 1e-6, 0)
_GAUSSIAN = _Window(11, _gaussian_sums, 1, 0.01, 0.03, 1e-13)

_FLAT = 1e-6  # windows with less variance may be flat: in a flat one rounding leaves less than this


def q(*images: np.ndarray) -> float:
    """Q: the mean similarity over windows.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 8x8 pixels.
    """
    return _means(*preprocess.prepare(*images), _levels, _BOX)[0]


def qw(*images: np.ndarray) -> float:
    """Qw: Q weighted by the saliency of the windows.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 8x8 pixels.
    """
    return _means(*preprocess.prepare(*images), _levels, _BOX)[1]


def qe(*images: np.ndarray) -> float:
    """Qe: Qw of the images times Qw of their edge images.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 8x8 pixels.
    """
    return evaluate_gray(*preprocess.prepare(*images))[2]


def qe_edge(*images: np.ndarray) -> float:
    """Qe_edge: Qw of the edge images alone.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 8x8 pixels.
    """
    return _means(*preprocess.prepare(*images), _edges, _BOX)[1]


def q_gaussian(*images: np.ndarray) -> float:
    """Q_gaussian: Q with SSIM's window and constants.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 11x11 pixels.
    """
    return _means(*preprocess.prepare(*images), _levels, _GAUSSIAN)[0]


def qw_gaussian(*images: np.ndarray) -> float:
    """Qw_gaussian: Qw with SSIM's window and constants.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 11x11 pixels.
    """
    return _means(*preprocess.prepare(*images), _levels, _GAUSSIAN)[1]


def qe_gaussian(*images: np.ndarray) -> float:
    """Qe_gaussian: Qe with SSIM's window and constants.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        -1..1.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 11x11 pixels.
    """
    return evaluate_gray(*preprocess.prepare(*images), _GAUSSIAN)[2]


def quality_map(*images: np.ndarray) -> np.ndarray:
    """Compute the local Q of every window.

    Args:
        images: two or more sources, then the fused image, as `preprocess.prepare` takes them.

    Returns:
        (H - 7) x (W - 7) float32 in -1..1; [y, x] belongs to the window y..y+7, x..x+7.

    Raises:
        ValueError: as `preprocess.prepare` raises it, or for images smaller than 8x8 pixels.
    """
    sources, fused = preprocess.prepare(*images)
    quality = np.empty([max(0, length - 7) for length in fused.shape], np.float32)
    for tile, local, _ in _tiles(sources, fused, _levels, _BOX):
        quality[tile] = local
    return quality


def evaluate_gray(
    sources: Sequence[np.ndarray], fused: np.ndarray, window: _Window = _BOX
) -> tuple[float, float, float]:
    """Q, Qw and Qe of images that `preprocess.prepare` has returned.

    Args:
        sources: gray images, H x W.
        fused: the gray fused image, of the same shape and dtype.
        window: the window and the constants.

    Returns:
        Q, Qw and Qe, each in -1..1.
    """
    mean, weighted = _means(sources, fused, _levels, window)
    return mean, weighted, weighted * _means(sources, fused, _edges, window)[1]


def _means(sources, fused, channel, window):
    """The plain and the weighted mean of the local quality."""
    total = count = weighted = weights = 0.0
    for _, local, weight in _tiles(sources, fused, channel, window):
        total += local.sum()
        count += local.size
        local *= weight
        weighted += local.sum()
        weights += weight.sum()
    return float(total / count), float(weighted / weights)


def _tiles(sources, fused, channel, window):
    """Tile by tile of windows: (tile, local quality, weight)."""
    more = window.size - 1
    if min(fused.shape) <= more:
        raise ValueError(f"the images are {fused.shape}; windows of {window.size} x {window.size} do not fit")
    images = [*sources, fused]
    # Sums take the place of means and variances, so that whole numbers stay whole as long as they can:
    # everything of the second order is area^2 times what the formulas say.
    scale = (preprocess.level_scale(fused) * window.area) ** 2
    c1, c2 = (window.k1 * 255) ** 2 * scale, (window.k2 * 255) ** 2 * scale
    for tile in preprocess.tiles(fused.shape[0] - more, fused.shape[1] - more):
        x, squares = channel(images, tuple(slice(s.start, s.stop + more) for s in tile))
        sums = _over_windows(window.sums, x, window)
        sum_squares = sums * sums
        sums_of_squares = _over_windows(window.sums, squares, window)
        variances = window.area * sums_of_squares - sum_squares
        products = sums[:-1] * sums[-1]
        covariances = window.area * _over_windows(window.sums, x[:-1] * x[-1], window) - products
        if variances.dtype == np.float64 and variances.min() < _FLAT * scale:
            flat = _flat(x, variances < _FLAT * scale, sums_of_squares, window)
            variances[flat] = window.residue * scale
            variances[sums_of_squares == 0] = 0
            covariances[flat[:-1] | flat[-1]] = 0
        # A quarter of Q0: (mX mF + C/2)(sXF + C/2) / ((mX^2 + mF^2 + C)(sX^2 + sF^2 + C))
        indices = products + c1 / 2
        indices *= covariances + c2 / 2
        indices /= sum_squares[:-1] + (sum_squares[-1] + c1)
        indices /= variances[:-1] + (variances[-1] + c2)
        saliencies = variances[:-1].astype(np.float64)
        total = saliencies.sum(0)
        if not total.all():
            saliencies[:, total == 0] = 0.5 * scale
            total = saliencies.sum(0)
        indices *= saliencies
        yield tile, indices.sum(0) / total * 4, saliencies.max(0)


def _over_windows(function, x, window):
    """A cv2 filter over n planes, one below the other; the windows that mix two of them are cut off."""
    n, height, width = x.shape
    y = function(x.reshape(n * height, width)).reshape(x.shape)
    return y[:, : height - window.size + 1, : width - window.size + 1]


def _flat(x, nearly, sums_of_squares, window):
    """Which windows hold one value only; nearly: where the variance is so small that they may."""
    if not sums_of_squares[nearly].any():  # all zeros, as most flat windows of edges are
        return nearly
    box = np.ones((window.size, window.size))
    highest = _over_windows(lambda y: cv2.dilate(y, box, anchor=(0, 0)), x, window)
    lowest = _over_windows(lambda y: cv2.erode(y, box, anchor=(0, 0)), x, window)
    return highest == lowest


def _levels(images, tile):
    """Gray levels in a tile and their squares: n x h x w."""
    # Whole numbers both: of 8 bits they fit uint16 for cv2 to add up, of 16 bits only float64.
    dtype = np.uint16 if images[0].dtype == np.uint8 else np.float64
    x = np.stack([image[tile] for image in images]).astype(dtype)
    return x, x * x


def _edges(images, tile):
    """Prewitt gradient strengths in a tile, zeros outside the image, and their squares: n x h x w."""
    gx, gy = preprocess.gradients(images, tile, preprocess.PREWITT)
    gx *= gx
    gy *= gy
    gx += gy
    return cv2.sqrt(gx.reshape(-1, gx.shape[-1])).reshape(gx.shape), gx
