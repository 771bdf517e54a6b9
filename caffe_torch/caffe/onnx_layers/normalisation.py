"""BatchNorm, LRN, Softmax and MVN."""

import numpy as np

from ..layers import canonical_axis
from ..proto import caffe_pb2
from . import exports, scaled, shifted


@exports("BatchNorm")
def _batch_norm(export):
    x, eps = export.inputs[0], export.opt.eps
    if not export.layer.use_stored:
        axes = [i for i in range(len(export.shapes[0])) if i != 1]
        x = export.op("Sub", x, export.op("ReduceMean", x, axes=axes, keepdims=1))
        variance = export.op("ReduceMean", export.op("Mul", x, x), axes=axes, keepdims=1)
        return export.op("Div", x, export.op("Sqrt", export.op("Add", variance, export.const(eps))))
    means, variances, count = (export.array(i) for i in range(3))
    factor = 1 / count if count[0] else 0 * count
    channels = len(means)
    return export.op(
        "BatchNormalization",
        x,
        export.const(np.ones(channels), "scale"),
        export.const(np.zeros(channels), "shift"),
        export.const(means * factor, "mean"),
        export.const(variances * factor, "variance"),
        epsilon=eps,
    )


@exports("LRN")
def _lrn(export):
    opt, x, size = export.opt, export.inputs[0], export.opt.local_size
    if opt.norm_region == caffe_pb2.LRNParameter.ACROSS_CHANNELS:
        return export.op("LRN", x, size=size, alpha=opt.alpha, beta=opt.beta, bias=opt.k)
    mean = export.op(
        "AveragePool",
        export.op("Mul", x, x),
        kernel_shape=[size] * 2,
        pads=[size // 2] * 4,
        count_include_pad=1,
    )
    divisor = shifted(export, scaled(export, mean, opt.alpha), 1)
    return export.op("Mul", x, export.op("Pow", divisor, export.const(-opt.beta)))


@exports("Softmax")
def _softmax(export):
    return export.op("Softmax", export.inputs[0], axis=canonical_axis(export.opt.axis, len(export.shapes[0])))


@exports("MVN")
def _mvn(export):
    x, missing = export.inputs[0], range(len(export.shapes[0]), 4)
    if missing:
        x = export.op("Unsqueeze", x, export.ints(missing, "axes"))
    axes = [1, 2, 3] if export.opt.across_channels else [2, 3]
    x = export.op("Sub", x, export.op("ReduceMean", x, axes=axes, keepdims=1))
    if not export.opt.normalize_variance:
        return x
    variance = export.op("ReduceMean", export.op("Mul", x, x), axes=axes, keepdims=1)
    return export.op("Div", x, export.op("Add", export.op("Sqrt", variance), export.const(export.opt.eps)))
