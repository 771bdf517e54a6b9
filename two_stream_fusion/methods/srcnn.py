"""SRCNN: fusion of wavelet planes whose resolution a network has raised.

J. Zhong, B. Yang, Y. Li, F. Zhong, Z. Chen, "Image Fusion and Super-Resolution with Convolutional Neural
Network", CCPR 2016, doi:10.1007/978-981-10-3005-5_7; the network is that of C. Dong et al., "Image
Super-Resolution Using Deep Convolutional Networks", IEEE TPAMI 38(2), 2016, doi:10.1109/TPAMI.2015.2439281.

Each image goes through an undecimated wavelet transform (uwt.py). Every plane is interpolated to twice
its size and corrected by prototxt/srcnn, which has one set of weights for the approximation and one for all
details. Then the details of more energy in their 3x3 window are selected, and the approximations are
averaged. The inverse transform gives the fused image at twice the size, and averages of 2x2 pixels restore
the size. R, G and B are fused separately.

Readings where the sources are silent: wavelet, number of levels, the rule, the return to the size of the
sources, and the nets' residual form (their output is added to the plane). At the raised size the filters of
the inverse transform use every second pixel. Without the nets this gives exactly the interpolated fusion.
The nets sharpen, so an image fused with itself changes by some levels.
"""

from __future__ import annotations

import cv2
import numpy as np
import pywt

from two_stream_fusion.base.pixels import check_fusable
from two_stream_fusion.methods import models, uwt
from two_stream_fusion.methods.coefficients import fuse_planes, merge_lowpass, select_coefficients

SCALE = 2  # the factor that the nets are trained for
LEVELS = 2
PLANE_SCALES = {"approximation": 255.0, "detail": 16.0}  # planes are divided by this for the nets
TILE = 512  # pixels: the largest side of the sources' part computed at once, for memory alone


def fuse(
    a: np.ndarray,
    b: np.ndarray,
    *,
    scale: int = 2,
    levels: int = 2,
    wavelet: str = "db2",
    rule: str = "energy",
    window: int = 3,
    base: str = "average",
    colour: str = "channels",
) -> np.ndarray:
    """Fuse two images by wavelet planes whose resolution a network has raised.

    Args:
        a, b: H x W or H x W x 3 (RGB), uint8 or uint16, of one shape and dtype, 2 pixels a side or more.
        scale: 2, or 1 to leave the nets out: plain fusion of wavelet planes, which needs no weights.
        levels: of the transform, 1 to 6. The nets were trained with 2.
        wavelet: a name of PyWavelets. The nets were trained with db2.
        rule: "max_abs", "area_max", "energy" or "match", as coefficients.select_coefficients has them.
        window: the side in pixels of the rule's window, odd.
        base: the low-pass band: "average", "a" or "b".
        colour: "channels" (R, G and B each by itself) or "luma".

    Returns:
        The fused image, in the shape and dtype of `a`.

    Raises:
        ValueError: the images cannot be fused, or an option is unknown or out of range.
    """
    check_fusable(a, b)
    if scale not in (1, SCALE):
        raise ValueError(f"scale={scale}: the nets are trained for {SCALE}; 1 leaves them out")
    if wavelet not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"unknown wavelet {wavelet!r}: one of pywt.wavelist(kind='discrete')")
    if not 1 <= levels <= 6:
        raise ValueError(f"levels={levels}: 1 to 6")
    raise_planes = RaisingNets() if scale == SCALE else None

    def fuse_plane(x, y):
        fused = np.empty(x.shape)
        step = 2**levels
        # How far the filters of all levels reach, there and back, then the nets and the window.
        radius = 2 * (pywt.Wavelet(wavelet).dec_len - 1) * (step - 1) + 16
        margin = -(-max(32, 12 * step, radius) // step) * step
        padded = [(n + step - 1) // step * step for n in x.shape]
        border = [(margin, margin + w - n) for w, n in zip(padded, x.shape)]
        x, y = (np.pad(p, border, mode="reflect") for p in (x, y))
        # Tiles of one size, and as few as possible: margins are computed twice.
        sizes = [-(-w // -(-w // TILE) // step) * step for w in padded]
        for top in range(0, padded[0], sizes[0]):
            for left in range(0, padded[1], sizes[1]):
                inner = fused[top : top + sizes[0], left : left + sizes[1]]
                cut = tuple(
                    slice(first, first + min(size, w - first) + 2 * margin)
                    for first, size, w in zip((top, left), sizes, padded)
                )
                part = combine(planes(x[cut]), planes(y[cut]))
                inner[...] = part[margin:, margin:][: inner.shape[0], : inner.shape[1]]
        return fused

    def planes(image):
        bands = uwt.transform(image, levels, 1, wavelet)
        return bands if raise_planes is None else raise_planes(bands)

    def combine(p, q):
        p[0] = merge_lowpass(p[0], q[0], base)
        for i in range(1, len(p)):
            p[i] = select_coefficients(p[i], q[i], rule, window)
        fused = uwt.inverse(p, scale, wavelet)
        height, width = fused.shape
        return fused.reshape(height // scale, scale, width // scale, scale).mean((1, 3))

    return fuse_planes(fuse_plane, a, b, colour=colour)


def interpolate(plane: np.ndarray) -> np.ndarray:
    """Enlarge an H x W float plane to SCALE times its size by bicubic interpolation."""
    return cv2.resize(plane, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)


class RaisingNets:
    """The two trained nets, which raise planes of a transform to SCALE times their size.

    Raises:
        ValueError: the weights are missing or damaged.
    """

    def __init__(self):
        self.nets = {
            kind: models.open_net(*models.model_files(f"srcnn-{kind}", "srcnn")) for kind in PLANE_SCALES
        }

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        """Raise planes.

        Args:
            planes: n x H x W float64, the approximation first.

        Returns:
            n x 2H x 2W float64.
        """
        raised = np.empty((len(planes), *(SCALE * n for n in planes.shape[1:])))
        for i, plane in enumerate(planes):
            band = "detail" if i else "approximation"
            data = interpolate(plane)
            net = self.nets[band]
            net.blobs["data"].reshape(1, 1, *data.shape)
            net.reshape()
            net.blobs["data"].data[...] = data / PLANE_SCALES[band]
            raised[i] = net.forward()["raised"][0, 0] * PLANE_SCALES[band]
        return raised
