"""SRCNN: fusion of wavelet planes whose resolution a network has raised.

J. Zhong, B. Yang, Y. Li, F. Zhong, Z. Chen, "Image Fusion and Super-Resolution with Convolutional Neural
Network", CCPR 2016, doi:10.1007/978-981-10-3005-5_7; the network is that of C. Dong et al., "Image
Super-Resolution Using Deep Convolutional Networks", IEEE TPAMI 38(2), 2016, doi:10.1109/TPAMI.2015.2439281.

Each image goes through an undecimated wavelet transform (uwt.py). Every plane is interpolated to twice
its size and corrected by prototxt/srcnn, which has one set of weights for the approximation and one for all
details. Then the details of more energy in their 3x3 window are taken, the approximations averaged, the
inverse transform gives the fused image at twice the size, and averages of 2x2 pixels bring it back. R, G and
B are fused each by itself.

Readings where the sources are silent: wavelet, number of levels, the rule, the return to the size of the
sources, and the nets' residual form (what they find is added to the plane). The inverse transform at the
raised size has its filters reach over every second pixel: without the nets it then gives exactly the
interpolated fusion. The nets sharpen: an image fused with itself does not come back to the level.
"""

from __future__ import annotations

import cv2
import numpy as np
import pywt

from two_stream_fusion.methods import uwt
from two_stream_fusion.methods.common import by_channel, check, residual, stronger

SCALE = 2  # the one the nets are trained for
LEVELS = 2
LEVELS_OF_GRAY = {"approximation": 255.0, "detail": 16.0}  # planes are divided by this for the nets
TILE = 512  # pixels of the sources worked on at once, a side at the most


def fuse(
    a, b, *, scale=2, levels=2, wavelet="db2", rule="energy", window=3, base="average", colour="channels"
):
    """Fuse two images, H x W or H x W x 3, uint8 or uint16, alike; the result is of their kind.

    scale: 2, or 1 to leave the nets out: plain fusion of wavelet planes, which needs no weights. levels,
    wavelet (PyWavelets' names): of the transform; the nets were trained with 2 and db2. rule, window: how
    details are selected (methods/common.py); base: the approximation, average, a or b; colour: channels or
    luma.
    ValueError where the images cannot be fused or an option is out of range.
    """
    check(a, b)
    if scale not in (1, SCALE):
        raise ValueError(f"scale={scale}: the nets are trained for {SCALE}; 1 leaves them out")
    if wavelet not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"unknown wavelet {wavelet!r}: one of pywt.wavelist(kind='discrete')")
    if not 1 <= levels <= 6:
        raise ValueError(f"levels={levels}: 1 to 6")
    net = Nets() if scale == SCALE else None

    def fuse_planes(x, y):
        fused = np.empty(x.shape)
        step = 2**levels
        # The filters of `levels` levels there and back; the nets and the window.
        reach = 2 * (pywt.Wavelet(wavelet).dec_len - 1) * (step - 1) + 16
        margin = -(-max(32, 12 * step, reach) // step) * step
        whole = [(n + step - 1) // step * step for n in x.shape]
        border = [(margin, margin + w - n) for w, n in zip(whole, x.shape)]
        x, y = (np.pad(p, border, mode="reflect") for p in (x, y))
        # Parts of one size, as few as will do: their margins are work done twice.
        sizes = [-(-w // -(-w // TILE) // step) * step for w in whole]
        for top in range(0, whole[0], sizes[0]):
            for left in range(0, whole[1], sizes[1]):
                inner = fused[top : top + sizes[0], left : left + sizes[1]]
                cut = tuple(
                    slice(first, first + min(size, w - first) + 2 * margin)
                    for first, size, w in zip((top, left), sizes, whole)
                )
                part = combine(planes(x[cut]), planes(y[cut]))
                inner[...] = part[margin:, margin:][: inner.shape[0], : inner.shape[1]]
        return fused

    def planes(image):
        found = uwt.transform(image, levels, 1, wavelet)
        return found if net is None else net(found)

    def combine(p, q):
        p[0] = residual(p[0], q[0], base)
        for i in range(1, len(p)):
            p[i] = stronger(p[i], q[i], rule, window)
        fused = uwt.inverse(p, scale, wavelet)
        height, width = fused.shape
        return fused.reshape(height // scale, scale, width // scale, scale).mean((1, 3))

    return by_channel(fuse_planes, a, b, colour=colour)


def raised(plane):
    """An H x W float plane at twice its size, by bicubic interpolation."""
    return cv2.resize(plane, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)


class Nets:
    """The two trained nets: planes of a transform, n x H x W float64, to n x 2H x 2W.

    ValueError where their weights are missing or not whole.
    """

    def __init__(self):
        from two_stream_fusion.methods import models

        self.nets = {
            kind: models.open_net(*models.files(f"srcnn-{kind}", "srcnn")) for kind in LEVELS_OF_GRAY
        }

    def __call__(self, planes):
        found = np.empty((len(planes), *(SCALE * n for n in planes.shape[1:])))
        for i, plane in enumerate(planes):
            kind = "detail" if i else "approximation"
            data = raised(plane)
            net = self.nets[kind]
            net.blobs["data"].reshape(1, 1, *data.shape)
            net.reshape()
            net.blobs["data"].data[...] = data / LEVELS_OF_GRAY[kind]
            found[i] = net.forward()["raised"][0, 0] * LEVELS_OF_GRAY[kind]
        return found
