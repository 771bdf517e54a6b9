"""PSFs: fusion by comparing each image with the other one, blurred by its estimated point spread function.

V. Aslantas, A. N. Toprak, "A pixel based multi-focus image fusion method", Optics Communications 332, 2014,
doi:10.1016/j.optcom.2014.06.044.

The scene is f, which is sharp in A, and g, which is sharp in B: A = f + h_g * g, B = h_f * f + g. Blurring A
by h_f gives what B shows of f, so d_A = |h_f * A - B| vanishes where A is sharp, and d_B = |h_g * B - A|
where B is. Each pixel is copied from the image whose difference is the smaller, from A where they are equal.
Gray in 0..255 decides for all channels; the result holds source pixels only.

Readings where the source is silent:
- the kernels are Gaussians of unit sum, cut at 4 sigma ("gaussian"), or uniform discs ("disc"), whose sigma
  is that of the disc along one axis, half its radius. Borders are mirrored, the edge sample not repeated.
- the sigmas minimise the mean over pixels of min(d_A^2, d_B^2), which an ideal pair brings to zero. A grid
  on the images at half size comes first, then a Nelder-Mead search ("grid"); or differential evolution
  with the population of 16, F = 0.6 and CR = 0.6 of the authors' conference paper, from a fixed seed
  ("evolution"). The second finds the same sigmas and is slower. Both search 0.2..8 pixels.
- window: d_A and d_B are averaged over a window before they are compared, and the map then follows the
  majority in it. 1 is the plain method, whose map is grainy where the images are flat.
- area: regions of the map below this share of the image take the choice of their surroundings. The default,
  0, keeps them. 0.01 repairs torn edges on Clock, whose images are misaligned, and removes specks on Pepsi.
  It removes small objects too, which costs 1.9 dB on the motorcycle, whose ground truth is known.
"""

from __future__ import annotations

import logging
from typing import NamedTuple, Sequence

import cv2
import numpy as np
import scipy.optimize

from two_stream_fusion.base.lens import disc
from two_stream_fusion.base.pixels import check_fusable, gray, remove_small_regions
from two_stream_fusion.methods.coefficients import check_window

MIN_SIGMA, MAX_SIGMA = 0.2, 8.0  # pixels
GRID = (0.5, 1, 1.5, 2, 3, 4, 5, 6)  # pixels: the sigmas where the search "grid" begins
_BORDER = cv2.BORDER_REFLECT_101


class Sigmas(NamedTuple):
    """The blur of a pair, in pixels: `f` of B where A is sharp, `g` of A where B is sharp."""

    f: float
    g: float

    @property
    def at_bound(self) -> bool:
        """Whether a sigma lies at an end of its range: one image is sharp throughout, or the model fails."""
        return min(self) < MIN_SIGMA + 0.01 or max(self) > MAX_SIGMA - 0.01

    def __str__(self) -> str:
        ends = f" (the range ends at {MIN_SIGMA:g} and {MAX_SIGMA:g}: is one image sharp throughout,"
        ends += " or are they misaligned?)"
        return f"f {self.f:.2f}, g {self.g:.2f}" + (ends if self.at_bound else "")


def apply(images: Sequence[np.ndarray], decision: dict[str, object]) -> np.ndarray:
    """Copy each pixel from the image that `decide` selected.

    Args:
        images: the two images, as for `decide`.
        decision: what `decide` returned for them.

    Returns:
        The fused image, in the shape and dtype of the images.
    """
    a, b = images
    from_a = decision["decision"]
    return np.where(from_a if a.ndim == 2 else from_a[..., None], a, b)


def decide(
    a: np.ndarray,
    b: np.ndarray,
    *,
    window: int = 7,
    area: float = 0.0,
    psf: str = "gaussian",
    search: str = "grid",
    sigmas: Sequence[float] | None = None,
) -> dict[str, object]:
    """Decide which of two images each pixel comes from.

    Args:
        a, b: H x W or H x W x 3 (RGB), uint8 or uint16, of one shape and dtype, 2 pixels a side or more.
        window: side in pixels of the window over differences and votes, odd; 1 compares pixel by pixel.
        area: regions under this share of the image, 0 to below 0.5, go to their surroundings.
        psf: "gaussian" or "disc".
        search: "grid" or "evolution".
        sigmas: the blur of the pair in pixels, (f, g); None to have `estimate` find it.

    Returns:
        "sigmas", a Sigmas, and "decision", H x W bool, true where `a` is taken.

    Raises:
        ValueError: the images cannot be fused, or an option is unknown or out of range.
    """
    check_fusable(a, b)
    check_window(window)
    if not 0 <= area < 0.5:
        raise ValueError(f"area={area}: a share of the image from 0 to below 0.5")
    if sigmas is None:
        sigmas = estimate(a, b, psf=psf, search=search)
        logging.getLogger(__name__).info("sigmas of the blur in pixels: %s", sigmas)
    if np.shape(sigmas) != (2,) or not all(0 < sigma <= MAX_SIGMA for sigma in sigmas):
        raise ValueError(f"sigmas={sigmas}: two blurs, above 0 and at most {MAX_SIGMA:g} pixels each")
    sigmas = Sigmas(*sigmas)
    a, b = _gray_plane(a), _gray_plane(b)
    difference_a = cv2.absdiff(_blur(a, sigmas.f, psf), b)
    difference_b = cv2.absdiff(_blur(b, sigmas.g, psf), a)
    side = (int(window),) * 2
    votes = cv2.blur(difference_a, side, borderType=_BORDER) <= cv2.blur(
        difference_b, side, borderType=_BORDER
    )
    majority = cv2.blur(votes.astype(np.float32), side, borderType=_BORDER) > 0.5
    return {"sigmas": sigmas, "decision": remove_small_regions(majority, area * majority.size)}


def estimate(a: np.ndarray, b: np.ndarray, *, psf: str = "gaussian", search: str = "grid") -> Sigmas:
    """Estimate the blur of a pair.

    Args:
        a, b, psf, search: as for `decide`.

    Returns:
        The sigmas in pixels, each within MIN_SIGMA..MAX_SIGMA.

    Raises:
        ValueError: as `decide`.
    """
    check_fusable(a, b)
    a, b = _gray_plane(a), _gray_plane(b)

    def misfit(sigmas):
        sigma_f, sigma_g = np.clip(sigmas, MIN_SIGMA, MAX_SIGMA)
        return _misfit(cv2.absdiff(_blur(a, sigma_f, psf), b), cv2.absdiff(_blur(b, sigma_g, psf), a))

    if search == "grid":
        start = _best_of_grid(a, b, psf)
        # Steps of a fifth. Only the sigmas' precision ends the search: the misfit's scale is the picture's.
        simplex = [start, (1.2 * start[0], start[1]), (start[0], 1.2 * start[1])]
        best = scipy.optimize.minimize(
            misfit,
            start,
            method="Nelder-Mead",
            options={"xatol": 0.005, "fatol": np.inf, "maxfev": 100, "initial_simplex": simplex},
        ).x
    elif search == "evolution":
        # popsize counts per parameter: 8 for each of two is the population of 16.
        best = scipy.optimize.differential_evolution(
            misfit,
            [(MIN_SIGMA, MAX_SIGMA)] * 2,
            popsize=8,
            mutation=0.6,
            recombination=0.6,
            tol=1e-4,
            seed=0,
            polish=False,
        ).x
    else:
        raise ValueError(f"unknown search {search!r}: grid or evolution")
    return Sigmas(*(float(sigma) for sigma in np.clip(best, MIN_SIGMA, MAX_SIGMA)))


def _best_of_grid(a, b, psf):
    """The pair of GRID that fits best, judged at half size, where sigmas are half as large."""
    half = tuple(max(2, n // 2) for n in a.shape[::-1])
    a, b = (cv2.resize(x, half, interpolation=cv2.INTER_AREA) for x in (a, b))
    differences_a = [cv2.absdiff(_blur(a, sigma / 2, psf), b) for sigma in GRID]
    differences_b = [cv2.absdiff(_blur(b, sigma / 2, psf), a) for sigma in GRID]
    misfits = [[_misfit(of_a, of_b) for of_b in differences_b] for of_a in differences_a]
    i, j = np.unravel_index(np.argmin(misfits), (len(GRID), len(GRID)))
    return GRID[i], GRID[j]


def _misfit(difference_a, difference_b):
    smaller = cv2.min(difference_a, difference_b)
    return cv2.norm(smaller, cv2.NORM_L2SQR) / smaller.size


def _gray_plane(image):
    return gray(image).astype(np.float32)


def _blur(plane, sigma, psf):
    if psf == "gaussian":
        side = 2 * int(np.ceil(4 * sigma)) + 1
        return cv2.GaussianBlur(plane, (side, side), sigma, borderType=_BORDER)
    if psf == "disc":
        return disc(plane, 2 * sigma)
    raise ValueError(f"unknown psf {psf!r}: gaussian or disc")
