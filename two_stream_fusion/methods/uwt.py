"""The undecimated (stationary) wavelet transform of an image, also spaced out."""

from __future__ import annotations

import warnings

import numpy as np
import pywt


def transform(image: np.ndarray, levels: int = 2, spacing: int = 1, wavelet: str = "db2") -> np.ndarray:
    """Transform an image into planes of its own size.

    Args:
        image: H x W floats, H and W multiples of 2^levels spacing. It is continued periodically.
        levels: of the transform.
        spacing: the filters take every `spacing`-th pixel. Planes of the image at 1/s of its size,
            interpolated by s, are planes of the interpolated image with a spacing of s.
        wavelet: a name of PyWavelets.

    Returns:
        1 + 3 levels planes, each H x W, in the dtype of `image`: the approximation, then the details from
        coarse to fine. The transform is normalised: the approximation has the levels of the image.
    """
    planes = np.empty((1 + 3 * levels, *image.shape), image.dtype)
    for y in range(spacing):
        for x in range(spacing):
            with warnings.catch_warnings():  # wavelets that change the energy warn; the inverse undoes that
                warnings.simplefilter("ignore", UserWarning)
                first, *details = pywt.swt2(
                    image[y::spacing, x::spacing], wavelet, levels, trim_approx=True, norm=True
                )
            planes[0, y::spacing, x::spacing] = first
            for i, detail in enumerate(plane for level in details for plane in level):
                planes[1 + i, y::spacing, x::spacing] = detail
    return planes


def inverse(planes: np.ndarray, spacing: int = 1, wavelet: str = "db2") -> np.ndarray:
    """Rebuild an image from its planes.

    Args:
        planes: (1 + 3 levels) x H x W, as `transform` returns them.
        spacing, wavelet: those of the transform.

    Returns:
        H x W, in the dtype of `planes`.
    """
    image = np.empty(planes.shape[1:], planes.dtype)
    for y in range(spacing):
        for x in range(spacing):
            part = planes[:, y::spacing, x::spacing]
            levels = [tuple(part[i : i + 3]) for i in range(1, len(part), 3)]
            image[y::spacing, x::spacing] = pywt.iswt2([part[0], *levels], wavelet, norm=True)
    return image
