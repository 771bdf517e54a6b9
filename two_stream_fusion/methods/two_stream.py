"""The two-stream network of Xu et al. 2018, run through Caffe: the paper's method, and nothing else.

K. Xu et al., "Multi-focus Image Fusion using Fully Convolutional Two-stream Network for Visual
Sensors", KSII Transactions on Internet and Information Systems 12(5), 2018.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Callable, Iterable

import numpy as np
from caffe.proto import caffe_pb2

from two_stream_fusion.base.pixels import LUMA, check_alike, check_fusable, round_half_even
from two_stream_fusion.base.tiles import NETWORK_TILE, tiles
from two_stream_fusion.methods import models


def fuse(
    a: np.ndarray, b: np.ndarray, *, model: str = models.DEFAULT, tile: int = NETWORK_TILE
) -> np.ndarray:
    """Fuse two images with one of the shipped models.

    Args:
        a, b: H x W or H x W x 3, uint8 or uint16, alike.
        model: a name of models/.
        tile: side in pixels of the squares that are computed at once; 0 for the whole image.

    Returns:
        The fused image, like a and b.

    Raises:
        ValueError: the images differ in shape or dtype, or there is no such model.
    """
    return TwoStream(*models.model_files(model, "two_stream"))(a, b, tile=tile)


class TwoStream:
    """A trained net of prototxt/, ready to fuse.

    Args:
        deploy: its deploy.prototxt, with the inputs a and b and one output.
        weights: its .caffemodel.

    Attributes:
        receptive_field_radius: how far an output pixel looks, in pixels.

    Raises:
        OSError: a file is missing.
        ValueError: a file is not what it should be.
    """

    def __init__(self, deploy: str | Path, weights: str | Path):
        self.deploy, self.weights = deploy, weights
        refuse_strides(models.read_prototxt(deploy, caffe_pb2.NetParameter()), deploy)
        self.receptive_field_radius = receptive_field_radius(deploy)
        self.net = models.open_net(deploy, weights)
        if list(self.net.inputs) != ["a", "b"] or len(self.net.outputs) != 1:
            raise ValueError(
                f"{deploy}: not a fusion net: inputs {list(self.net.inputs)}, outputs "
                f"{list(self.net.outputs)}; a, b and one output are needed"
            )

    def __call__(
        self,
        a: np.ndarray,
        b: np.ndarray,
        *,
        tile: int = NETWORK_TILE,
        where: np.ndarray | None = None,
        progress: Callable[[Iterable], Iterable] = iter,
    ) -> np.ndarray:
        """Fuse two images.

        Args:
            a, b: H x W (gray) or H x W x 3 (RGB), uint8 or uint16, alike.
            tile: side in pixels of the squares that are computed at once; 0 for the whole image. Squares
                overlap by the receptive field, so the result depends on it only by float rounding.
            where: H x W bool; squares without a True in them are not computed, and are those of a. All are
                computed where it is None.
            progress: wraps the list of squares.

        Returns:
            The fused image, like a and b.

        Raises:
            ValueError: the images differ in shape or dtype, or the net's output is of another size.
        """
        check_alike(a, b)
        fused = np.empty_like(a) if where is None else a.copy()
        squares = tiles(a.shape[:2], tile, self.receptive_field_radius)
        for inner, outer, inside in progress([s for s in squares if where is None or where[s[0]].any()]):
            part = self._forward(to_channels(a[outer]), to_channels(b[outer]))
            size = 4, *a[outer].shape[:2]
            if part.shape != size:
                raise ValueError(
                    f"{self.deploy}: makes {part.shape} of {size}; the layers of a fusion net keep sizes"
                    " (pad is half of an odd kernel_size), and the last has four channels"
                )
            fused[inner] = from_channels(part[(slice(None), *inside)], a)
        return fused

    def _forward(self, a, b):
        """The net's output for two 4 x H x W float32 arrays in 0..1, of the same kind."""
        shape = (1, *a.shape)
        if tuple(self.net.blobs["a"].shape) != shape:
            self.net.blobs["a"].reshape(*shape)
            self.net.blobs["b"].reshape(*shape)
            self.net.reshape()
        for name, image in (("a", a), ("b", b)):
            self.net.blobs[name].data[...] = image
        return next(iter(self.net.forward().values()))[0]


def refuse_strides(net: caffe_pb2.NetParameter, path: str | Path) -> None:
    """Refuse a net with strides, which does not keep an image's size.

    Args:
        net: of the net.
        path: its file, for the message.

    Raises:
        ValueError: a layer has a stride.
    """
    for layer in net.layer:
        conv, pool = layer.convolution_param, layer.pooling_param
        strides = (*conv.stride, conv.stride_h, conv.stride_w, pool.stride, pool.stride_h, pool.stride_w)
        if max(strides) > 1:
            raise ValueError(f"{path}: {layer.name} has a stride, so its net is not for images of any size")


def receptive_field_radius(deploy: str | Path) -> int:
    """Half of a net's receptive field: how far an output pixel looks, in pixels.

    Args:
        deploy: a deploy.prototxt.

    Returns:
        Pixels.

    Raises:
        OSError: there is no such file.
        ValueError: it is not a net.
    """
    net = models.read_prototxt(deploy, caffe_pb2.NetParameter())
    radii: dict[str, float] = {}  # of each blob
    steps: dict[str, float] = {}  # pixels from one value of a blob to the next
    for layer in net.layer:
        radius = max((radii.get(bottom, 0) for bottom in layer.bottom), default=0)
        step = max((steps.get(bottom, 1) for bottom in layer.bottom), default=1)
        if layer.type in ("Convolution", "Deconvolution", "Pooling"):
            window = layer.pooling_param if layer.type == "Pooling" else layer.convolution_param
            stride = max(1, _largest(window, "stride"), window.stride_h, window.stride_w)
            if layer.type == "Deconvolution":
                step /= stride
            radius += step * _window_radius(window)
            if layer.type != "Deconvolution":
                step *= stride
        for top in layer.top:
            radii[top], steps[top] = radius, step
    return math.ceil(max(radii.values(), default=0))


def _window_radius(window) -> int:
    """How far a window reaches, in pixels; window: a ConvolutionParameter or PoolingParameter."""

    width = max(_largest(window, "kernel_size"), window.kernel_h, window.kernel_w) - 1
    dilation = max(_largest(window, "dilation"), 1) if hasattr(window, "dilation") else 1
    pad = max(_largest(window, "pad"), window.pad_h, window.pad_w)
    return max(pad, width * dilation - pad)


def _largest(window, name) -> int:
    """The largest value of a field; 0 where it is not given."""
    value = getattr(window, name)
    return max([value] if isinstance(value, int) else value, default=0)


def to_channels(image: np.ndarray) -> np.ndarray:
    """Convert an image to the network's input.

    Args:
        image: H x W or H x W x 3 (RGB), uint8 or uint16.

    Returns:
        4 x H x W float32 in 0..1: R, G, B and gray, which is Rec.601 luma. A gray image is in all four
        channels.

    Raises:
        ValueError: the image is of another dtype or shape.
    """
    check_fusable(image, min_side=1)
    channels = np.empty((4, *image.shape[:2]), np.float32)
    if image.ndim == 2:
        channels[:] = image
    else:
        channels[:3] = image.transpose(2, 0, 1)
        channels[3] = LUMA[0] * channels[0] + LUMA[1] * channels[1] + LUMA[2] * channels[2]
    channels /= np.iinfo(image.dtype).max
    return channels


def from_channels(channels: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Convert the network's output to an image: the inverse of `to_channels`, rounded and clipped.

    Args:
        channels: 4 x H x W float32.
        like: an image whose dtype and number of channels the result has.

    Returns:
        H x W or H x W x 3, of the dtype of `like`.
    """
    values = channels[3] if like.ndim == 2 else channels[:3].transpose(1, 2, 0)
    return round_half_even(values * np.float32(np.iinfo(like.dtype).max), like.dtype)
