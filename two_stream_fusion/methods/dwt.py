"""DWT: fusion by the discrete wavelet transform.

Origin: H. Li, B. S. Manjunath, S. K. Mitra, Multisensor image fusion using the wavelet transform, Graphical
Models and Image Processing 57(3), 1995, DOI 10.1006/gmip.1995.1022. The three detail bands of each level are
selected by their rule, area_max: the larger maximum of magnitudes in a window, then a vote in the window.
The approximations are averaged.

Readings: the (2,2) biorthogonal spline wavelet, 4 levels, a 3x3 window, as in the survey of Y. Liu et al.,
DOI 10.1016/j.inffus.2020.06.013. Where votes or magnitudes are equal b is taken. Other papers use db1 with
mode="periodization" (DOI 10.1016/j.inffus.2014.09.004), or the rule max_abs. A decimated transform depends on
which samples it keeps. align="reference" keeps those of the survey's published images, which hardly changes
the scores. The result is clipped to the range of the type.
"""

from __future__ import annotations

import cv2
import numpy as np
import pywt

from two_stream_fusion.methods.coefficients import fuse_planes, merge_lowpass, select_coefficients

_SHIFT = 45  # 13 modulo 16: the alignment of the survey's images at 4 levels; wide enough for its filters


def fuse(
    a: np.ndarray,
    b: np.ndarray,
    *,
    wavelet: str = "bior2.2",
    levels: int = 4,
    rule: str = "area_max",
    window: int = 3,
    mode: str = "symmetric",
    align: str = "plain",
    base: str = "average",
    colour: str = "channels",
) -> np.ndarray:
    """Fuse two images by their wavelet transforms.

    Args:
        a, b: H x W or H x W x 3 (RGB), uint8 or uint16, of one shape and dtype, 2 pixels a side or more.
        wavelet: a name of PyWavelets.
        levels: 1 to 16; fewer, but at least one, where the image is too small for the filters.
        mode: how PyWavelets extends the border.
        align: "plain", or "reference", which extends the border in its own way whatever `mode` says.
        rule: "max_abs", "area_max", "energy" or "match", as coefficients.select_coefficients has them.
        window: the side in pixels of the rule's window, odd.
        base: the low-pass band: "average", "a" or "b".
        colour: "channels" (R, G and B each by itself) or "luma".

    Returns:
        The fused image, in the shape and dtype of `a`.

    Raises:
        ValueError: the images cannot be fused, or an option is unknown or out of range.
    """
    if not 1 <= levels <= 16:
        raise ValueError(f"levels={levels}: 1 to 16")
    if wavelet not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"unknown wavelet {wavelet!r}: one of pywt.wavelist(kind='discrete')")
    if mode not in pywt.Modes.modes:
        raise ValueError(f"unknown mode {mode!r}: {', '.join(pywt.Modes.modes)}")
    if align not in ("plain", "reference"):
        raise ValueError(f"unknown align {align!r}: plain or reference")

    def fuse_plane(x, y):
        if align == "plain":
            return _fuse_planes(x, y, wavelet, mode, levels, rule, window, base)
        height, width = x.shape
        deepest = max(x.shape).bit_length()  # a plane of one sample has no more levels
        x, y = (_extend(plane, 2 ** min(levels, deepest)) for plane in (x, y))
        fused = _fuse_planes(x, y, wavelet, "periodization", levels, rule, window, base)
        return fused[_SHIFT : _SHIFT + height, _SHIFT : _SHIFT + width]

    return fuse_planes(fuse_plane, a, b, colour=colour)


def _fuse_planes(a, b, wavelet, mode, levels, rule, window, base):
    height, width = a.shape
    details = []
    for _ in range(max(1, min(levels, pywt.dwtn_max_level(a.shape, wavelet)))):
        a, *bands_a = _split(a, wavelet, mode)
        b, *bands_b = _split(b, wavelet, mode)
        details.append([select_coefficients(x, y, rule, window) for x, y in zip(bands_a, bands_b)])
    fused = merge_lowpass(a, b, base)
    for bands in reversed(details):
        rows, columns = bands[0].shape  # the level below comes out one larger where these are odd
        fused = _join(fused[:rows, :columns], *bands, wavelet=wavelet, mode=mode)
    return fused[:height, :width]


def _split(plane, wavelet, mode):
    """The four bands of a level, the approximation first, each with rows and columns exchanged.

    Along columns PyWavelets takes four times as long as along rows, so the plane is turned between the two.
    """
    halves = pywt.dwt(plane, wavelet, mode)
    return [band for half in halves for band in pywt.dwt(cv2.transpose(half), wavelet, mode)]


def _join(low, *bands, wavelet, mode):
    """The inverse of `_split`."""
    halves = (pywt.idwt(low, bands[0], wavelet, mode), pywt.idwt(*bands[1:], wavelet, mode))
    return pywt.idwt(*map(cv2.transpose, halves), wavelet, mode)


def _extend(plane, multiple):
    """Mirror a plane by _SHIFT samples at top and left, by as much or more at bottom and right."""
    ends = [_SHIFT + -(size + 2 * _SHIFT) % multiple for size in plane.shape]
    return cv2.copyMakeBorder(plane, _SHIFT, ends[0], _SHIFT, ends[1], cv2.BORDER_REFLECT_101)
