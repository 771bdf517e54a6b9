"""BatchNorm, LRN, Softmax and MVN."""

import numpy as np

from ..layers import canonical_axis
from ..proto import caffe_pb2
from . import exports, scaled, shifted


@exports("BatchNorm")
def _batch_norm(e):
    x, eps = e.inputs[0], e.opt.eps
    if not e.layer.use_stored:
        axes = [i for i in range(len(e.shapes[0])) if i != 1]
        x = e.op("Sub", x, e.op("ReduceMean", x, axes=axes, keepdims=1))
        variance = e.op("ReduceMean", e.op("Mul", x, x), axes=axes, keepdims=1)
        return e.op("Div", x, e.op("Sqrt", e.op("Add", variance, e.const(eps))))
    means, variances, count = (e.array(i) for i in range(3))
    factor = 1 / count if count[0] else 0 * count
    channels = len(means)
    return e.op(
        "BatchNormalization",
        x,
        e.const(np.ones(channels), "scale"),
        e.const(np.zeros(channels), "shift"),
        e.const(means * factor, "mean"),
        e.const(variances * factor, "variance"),
        epsilon=eps,
    )


@exports("LRN")
def _lrn(e):
    opt, x, size = e.opt, e.inputs[0], e.opt.local_size
    if opt.norm_region == caffe_pb2.LRNParameter.ACROSS_CHANNELS:
        return e.op("LRN", x, size=size, alpha=opt.alpha, beta=opt.beta, bias=opt.k)
    mean = e.op(
        "AveragePool", e.op("Mul", x, x), kernel_shape=[size] * 2, pads=[size // 2] * 4, count_include_pad=1
    )
    divisor = shifted(e, scaled(e, mean, opt.alpha), 1)
    return e.op("Mul", x, e.op("Pow", divisor, e.const(-opt.beta)))


@exports("Softmax")
def _softmax(e):
    return e.op("Softmax", e.inputs[0], axis=canonical_axis(e.opt.axis, len(e.shapes[0])))


@exports("MVN")
def _mvn(e):
    x, missing = e.inputs[0], range(len(e.shapes[0]), 4)
    if missing:
        x = e.op("Unsqueeze", x, e.ints(missing, "axes"))
    axes = [1, 2, 3] if e.opt.across_channels else [2, 3]
    x = e.op("Sub", x, e.op("ReduceMean", x, axes=axes, keepdims=1))
    if not e.opt.normalize_variance:
        return x
    variance = e.op("ReduceMean", e.op("Mul", x, x), axes=axes, keepdims=1)
    return e.op("Div", x, e.op("Add", e.op("Sqrt", variance), e.const(e.opt.eps)))
