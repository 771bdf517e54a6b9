"""Layers with weights, and Im2col."""

import numpy as np

from ..layers.convolution import missing_zeros, read_geometry
from . import exports
from .shape import Axis, reshaped


def _geometry(export):
    layer = export.layer
    return {
        "kernel_shape": list(layer.kernel),
        "strides": list(layer.stride),
        "dilations": list(layer.dilation),
        "group": layer.opt.group,
    }


def _pads(export, kernel, pad, dilation):
    """The zeros before and after a bottom: more after one that is too short for the filter."""
    axes = range(2, 2 + len(kernel))
    missing = missing_zeros(export.node.bottoms[0].shape[2:], kernel, pad, dilation)
    if any(missing):
        export.fixed(0, *axes)  # for this size alone
    return [*pad, *(p + m for p, m in zip(pad, missing, strict=True))]


@exports("Convolution")
def _convolution(export):
    params = [export.param(i, name) for i, name in enumerate(("weight", "bias")[: 1 + export.opt.bias_term])]
    pads = _pads(export, export.layer.kernel, export.layer.pad, export.layer.dilation)
    return [export.op("Conv", x, *params, pads=pads, **_geometry(export)) for x in export.inputs]


@exports("Deconvolution")
def _deconvolution(export):
    layer, group = export.layer, export.opt.group
    bias = [export.param(1, "bias")] if export.opt.bias_term else []
    reach = [d * (k - 1) - p for d, k, p in zip(layer.dilation, layer.kernel, layer.pad, strict=True)]
    if set(layer.stride) == {1} and min(reach) >= 0:
        # The same sums as a convolution, which runtimes compute several times as fast.
        def flipped(weight):
            inputs, outputs, *kernel = weight.shape
            weight = weight.reshape(group, inputs // group, outputs, *kernel).swapaxes(1, 2)
            weight = weight.reshape(group * outputs, inputs // group, *kernel)
            return np.flip(weight, tuple(range(2, weight.ndim)))

        weight = export.param(0, "weight", flipped)
        return [
            export.op("Conv", x, weight, *bias, pads=reach * 2, **_geometry(export)) for x in export.inputs
        ]
    weight, pads = export.param(0, "weight"), [*layer.pad, *layer.pad]
    return [
        export.op("ConvTranspose", x, weight, *bias, pads=pads, **_geometry(export)) for x in export.inputs
    ]


@exports("Im2col")
def _im2col(export):
    rank = len(export.shapes[0])
    if rank > 5:
        raise ValueError("more than 3 spatial axes cannot be exported")
    (channels,) = export.fixed(0, 1)
    kernel, stride, pad, dilation = read_geometry(export.layer.opt, rank - 2)
    places = int(np.prod(kernel))
    # A convolution of every channel with filters of a single 1 each.
    weight = np.tile(np.eye(places, dtype=np.float32), (channels, 1)).reshape(-1, 1, *kernel)
    return export.op(
        "Conv",
        export.inputs[0],
        export.const(weight, "weight"),
        kernel_shape=list(kernel),
        strides=list(stride),
        pads=_pads(export, kernel, pad, dilation),
        dilations=list(dilation),
        group=channels,
    )


@exports("InnerProduct")
def _inner_product(export):
    axis, opt = export.layer.axis, export.opt
    rows = export.op("Flatten", export.inputs[0], axis=axis)
    params = [export.param(i, name) for i, name in enumerate(("weight", "bias")[: 1 + opt.bias_term])]
    y = export.op("Gemm", rows, *params, transB=int(not opt.transpose))
    if axis == 1:
        return y
    return reshaped(export, y, [Axis(i) for i in range(axis)] + [opt.num_output], (None, opt.num_output))
