"""The two-stream network of Xu et al. 2018, run through Caffe.

K. Xu et al., "Multi-focus Image Fusion using Fully Convolutional Two-stream Network for Visual
Sensors", KSII Transactions on Internet and Information Systems 12(5), 2018.
"""

from __future__ import annotations

import numpy as np
from caffe.proto import caffe_pb2

from two_stream_fusion.base.pixels import LUMA, check_alike, check_fusable, round_half_even
from two_stream_fusion.base.tiles import tiles
from two_stream_fusion.methods import models
from two_stream_fusion.stack import choice as stack
from two_stream_fusion.stack import select

TILE = 512  # pixels a side: BVLC Caffe needs 6 GB for it, caffe_torch a tenth


def fuse(a, b, *more, model=models.DEFAULT, refine="none", tile=TILE):
    """Fuse two or more images with one of the shipped models, by name: see TwoStream and fold."""
    return fold(TwoStream(*models.model_files(model, "two_stream")), [a, b, *more], refine=refine, tile=tile)[
        0
    ]


def fold(net, images, *, refine="none", tile=TILE, progress=iter):
    """Fuse two or more images: (fused, choice).

    net: a TwoStream. images: a sequence, gone through once, by "select" twice where there are more than two,
    so that they need not all be in memory; what they may be, tile and progress are as TwoStream has them.
    refine: "none", the net's own image, of each and what became of those before it, which loses a little in
    every step; choice is None. Or "select", which puts the photographs together, two by stack/select.py,
    more, in the order of their focus, by stack/choice.py; choice is H x W uint16, the place in `images` of
    the one each pixel is from.
    ValueError where images differ, for fewer than two, and for another refine.
    """
    if refine not in ("none", "select"):
        raise ValueError(f"unknown refine {refine!r}: none or select")
    if len(images) < 2:
        raise ValueError("two images or more are needed")
    if refine == "select" and len(images) > 2:
        choice = stack.choose(net, images, tile=tile, progress=progress)
        return stack.put_together(images, choice), choice
    images = iter(images)
    fused = first = next(images)
    for image in images:
        fused = net(fused, image, tile=tile, progress=progress)
    if refine == "none":
        return fused, None
    fused, from_second = select.refine(first, image, fused)
    return fused, from_second.astype(np.uint16)


class TwoStream:
    """A trained net of prototxt/, ready to fuse.

    deploy: path of its deploy.prototxt, with the inputs a and b. weights: its .caffemodel.
    OSError where a file is missing; ValueError where a file is not what it should be.
    """

    def __init__(self, deploy, weights):
        self.deploy, self.weights = deploy, weights
        self.reach = reach(deploy)
        self.net = models.open_net(deploy, weights)
        if list(self.net.inputs) != ["a", "b"] or len(self.net.outputs) != 1:
            raise ValueError(
                f"{deploy}: not a fusion net: inputs {list(self.net.inputs)}, outputs "
                f"{list(self.net.outputs)}; wanted a, b and one output"
            )

    def __call__(self, a, b, *, tile=TILE, progress=iter):
        """Fuse two images.

        a, b: H x W (gray) or H x W x 3 (RGB), uint8 or uint16, alike.
        tile: side of the squares computed at once, in pixels; 0 for the whole image. The result does
        not depend on it but for float rounding, since squares overlap as far as the net reaches.
        progress: wraps the list of squares, to show how far the work is.
        Returns the fused image, in the shape and dtype of the inputs; ValueError where they differ, and where
        the net makes something of another size.
        """
        check_alike(a, b)
        fused = np.empty_like(a)
        for inner, outer, inside in progress(tiles(a.shape[:2], tile, self.reach)):
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


def refuse_strides(net, path):
    """ValueError where a layer of a NetParameter has a stride: sizes are not kept, images not passed on."""
    for layer in net.layer:
        conv, pool = layer.convolution_param, layer.pooling_param
        strides = (*conv.stride, conv.stride_h, conv.stride_w, pool.stride, pool.stride_h, pool.stride_w)
        if max(strides) > 1:
            raise ValueError(f"{path}: {layer.name} has a stride, so its net is not for images of any size")


def reach(deploy) -> int:
    """How far, in pixels, an output pixel of a net looks: half its receptive field.

    ValueError where a layer has a stride: only nets that keep every image's size have one.
    """
    net = models.read_prototxt(deploy, caffe_pb2.NetParameter())
    refuse_strides(net, deploy)
    streams: dict[str, int] = {}  # blob -> reach so far
    total = 0
    for layer in net.layer:
        here = max((streams.get(bottom, 0) for bottom in layer.bottom), default=0)
        if layer.type in ("Convolution", "Deconvolution", "Pooling"):
            window = layer.pooling_param if layer.type == "Pooling" else layer.convolution_param
            here += _extent(window)
        for top in layer.top:
            streams[top] = here
        total = max(total, here)
    return total


def _extent(window) -> int:
    """How far, in pixels, a window reaches; window: a ConvolutionParameter or PoolingParameter."""

    def most(name):
        value = getattr(window, name)
        return max([value] if isinstance(value, int) else value, default=0)

    width = max(most("kernel_size"), window.kernel_h, window.kernel_w) - 1
    dilation = max(most("dilation"), 1) if hasattr(window, "dilation") else 1
    pad = max(most("pad"), window.pad_h, window.pad_w)
    return max(pad, width * dilation - pad)


def to_channels(image):
    """An H x W or H x W x 3 uint8 or uint16 image as 4 x H x W float32: R, G, B, gray in 0..1.

    Gray is Rec.601 luma; a gray image stands in all four channels.
    """
    check_fusable(image, min_side=1)
    channels = np.empty((4, *image.shape[:2]), np.float32)
    if image.ndim == 2:
        channels[:] = image
    else:
        channels[:3] = image.transpose(2, 0, 1)
        red, green, blue = LUMA
        channels[3] = red * channels[0] + green * channels[1] + blue * channels[2]
    channels /= np.iinfo(image.dtype).max
    return channels


def from_channels(channels, like):
    """The inverse of `to_channels`, rounded and clipped, in the shape and dtype of the image `like`."""
    values = channels[3] if like.ndim == 2 else channels[:3].transpose(1, 2, 0)
    return round_half_even(values * np.float32(np.iinfo(like.dtype).max), like.dtype)
