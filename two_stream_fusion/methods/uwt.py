"""The undecimated (stationary) wavelet transform of an image, also spaced out."""

from __future__ import annotations

import warnings

import numpy as np
import pywt


def transform(image, levels=2, spacing=1, wavelet="db2"):
    """1 + 3 levels planes of an H x W image, each H x W: the approximation, then the details, coarse first.

    With spacing s the filters reach over every s-th pixel, which is what a transform of the image at 1/s of
    its size reaches over: interpolating that one's planes by s gives the planes of the interpolated image.
    H and W are multiples of 2^levels s; the image goes on at its other side. Normalised: the approximation
    has the levels of the image.
    """
    planes = np.empty((1 + 3 * levels, *image.shape), image.dtype)
    for y in range(spacing):
        for x in range(spacing):
            with warnings.catch_warnings():  # of wavelets that keep no energy: the inverse undoes them too
                warnings.simplefilter("ignore", UserWarning)
                first, *details = pywt.swt2(
                    image[y::spacing, x::spacing], wavelet, levels, trim_approx=True, norm=True
                )
            planes[0, y::spacing, x::spacing] = first
            for i, detail in enumerate(plane for level in details for plane in level):
                planes[1 + i, y::spacing, x::spacing] = detail
    return planes


def inverse(planes, spacing=1, wavelet="db2"):
    """The image whose `transform` gave the planes."""
    image = np.empty(planes.shape[1:], planes.dtype)
    for y in range(spacing):
        for x in range(spacing):
            part = planes[:, y::spacing, x::spacing]
            levels = [tuple(part[i : i + 3]) for i in range(1, len(part), 3)]
            image[y::spacing, x::spacing] = pywt.iswt2([part[0], *levels], wavelet, norm=True)
    return image
