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
  ("evolution"), which finds the same and is slower. Both keep to 0.2..8 pixels.
- window: d_A and d_B are averaged over a window before they are compared, and the map then follows the
  majority in it. 1 is the plain method, whose map is grainy where the images are flat.
- area: regions of the map under this share of the image go to what surrounds them. 0, the default, leaves
  them: 0.01 removes what tears edges of Clock, whose photographs are out of register, and specks on Pepsi,
  but also small things, which costs 1.9 dB where the perfect fusion is known (the motorcycle).
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import cv2
import numpy as np
import scipy.optimize

from two_stream_fusion.base.lens import disc
from two_stream_fusion.methods.common import check, check_window, gray, without_specks

LOWEST, HIGHEST = 0.2, 8.0  # sigmas, in pixels
GRID = (0.5, 1, 1.5, 2, 3, 4, 5, 6)
_BORDER = cv2.BORDER_REFLECT_101


class Sigmas(NamedTuple):
    """The blur of a pair, in pixels: `f` of B where A is sharp, `g` of A where B is sharp."""

    f: float
    g: float

    @property
    def at_bound(self) -> bool:
        """Whether a sigma ran into the end of its range: one image is sharp all over, or the model fails."""
        return min(self) < LOWEST + 0.01 or max(self) > HIGHEST - 0.01

    def __str__(self) -> str:
        ends = f" (the range ends at {LOWEST:g} and {HIGHEST:g}: is one photograph sharp throughout,"
        ends += " or are they out of register?)"
        return f"f {self.f:.2f}, g {self.g:.2f}" + (ends if self.at_bound else "")


def fuse(a, b, *, window=7, area=0.0, psf="gaussian", search="grid", sigmas=None) -> np.ndarray:
    """Fuse two images, H x W or H x W x 3, uint8 or uint16, alike; the result is of their kind.

    window: side in pixels, odd; 1 compares pixel by pixel. area: a share from 0 to below 0.5. sigmas: what
    `estimate` found, or two numbers of pixels; None to estimate them by `psf` and `search`. ValueError where
    the images cannot be fused or an option is unknown or out of range.
    """
    return apply((a, b), decide(a, b, window=window, area=area, psf=psf, search=search, sigmas=sigmas))


def apply(images, decided) -> np.ndarray:
    """Two images put together as `decide` says of them."""
    a, b = images
    from_a = decided["decision"]
    return np.where(from_a if a.ndim == 2 else from_a[..., None], a, b)


def decide(a, b, *, window=7, area=0.0, psf="gaussian", search="grid", sigmas=None):
    """What `fuse` decides by: "sigmas", of type Sigmas, and "decision", H x W bool, true where a is taken.

    Options and errors as `fuse`.
    """
    check(a, b)
    check_window(window)
    if not 0 <= area < 0.5:
        raise ValueError(f"area={area}: a share of the image from 0 to below 0.5")
    if sigmas is None:
        sigmas = estimate(a, b, psf=psf, search=search)
        logging.getLogger(__name__).info("sigmas of the blur in pixels: %s", sigmas)
    if np.shape(sigmas) != (2,) or not all(0 < sigma <= HIGHEST for sigma in sigmas):
        raise ValueError(f"sigmas={sigmas}: two blurs, above 0 and at most {HIGHEST:g} pixels each")
    sigmas = Sigmas(*sigmas)
    a, b = _plane(a), _plane(b)
    difference_a = cv2.absdiff(_blur(a, sigmas.f, psf), b)
    difference_b = cv2.absdiff(_blur(b, sigmas.g, psf), a)
    side = (int(window),) * 2
    votes = cv2.blur(difference_a, side, borderType=_BORDER) <= cv2.blur(
        difference_b, side, borderType=_BORDER
    )
    majority = cv2.blur(votes.astype(np.float32), side, borderType=_BORDER) > 0.5
    return {"sigmas": sigmas, "decision": without_specks(majority, area * majority.size)}


def estimate(a, b, *, psf="gaussian", search="grid") -> Sigmas:
    """The sigmas of a pair's blur, in pixels within 0.2..8. Options and errors as `fuse`."""
    check(a, b)
    a, b = _plane(a), _plane(b)

    def misfit(sigmas):
        sigma_f, sigma_g = np.clip(sigmas, LOWEST, HIGHEST)
        return _misfit(cv2.absdiff(_blur(a, sigma_f, psf), b), cv2.absdiff(_blur(b, sigma_g, psf), a))

    if search == "grid":
        start = _best_of_grid(a, b, psf)
        # Steps of a fifth, and precision asked of the sigmas alone: the misfit's scale is the picture's.
        simplex = [start, (1.2 * start[0], start[1]), (start[0], 1.2 * start[1])]
        found = scipy.optimize.minimize(
            misfit,
            start,
            method="Nelder-Mead",
            options={"xatol": 0.005, "fatol": np.inf, "maxfev": 100, "initial_simplex": simplex},
        ).x
    elif search == "evolution":
        # popsize counts per parameter: 8 for each of two is the population of 16.
        found = scipy.optimize.differential_evolution(
            misfit,
            [(LOWEST, HIGHEST)] * 2,
            popsize=8,
            mutation=0.6,
            recombination=0.6,
            tol=1e-4,
            seed=0,
            polish=False,
        ).x
    else:
        raise ValueError(f"unknown search {search!r}: grid or evolution")
    return Sigmas(*(float(sigma) for sigma in np.clip(found, LOWEST, HIGHEST)))


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
    least = cv2.min(difference_a, difference_b)
    return cv2.norm(least, cv2.NORM_L2SQR) / least.size


def _plane(image):
    return gray(image).astype(np.float32)


def _blur(plane, sigma, psf):
    if psf == "gaussian":
        side = 2 * int(np.ceil(4 * sigma)) + 1
        return cv2.GaussianBlur(plane, (side, side), sigma, borderType=_BORDER)
    if psf == "disc":
        return disc(plane, 2 * sigma)
    raise ValueError(f"unknown psf {psf!r}: gaussian or disc")
