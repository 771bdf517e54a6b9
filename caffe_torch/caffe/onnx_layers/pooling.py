"""Pooling and SPP."""

import numpy as np

from ..proto import caffe_pb2
from . import FLOAT, exports

_LOWEST = np.finfo(np.float32).min


@exports("Pooling")
def _pooling(export):
    maximum = export.opt.pool == caffe_pb2.PoolingParameter.MAX
    if export.opt.global_pooling and len(export.tops) == 1:
        return export.op("GlobalMaxPool" if maximum else "GlobalAveragePool", export.inputs[0])
    if export.opt.global_pooling:
        export.layer.kernel = tuple(export.fixed(0, 2, 3))
    return _pool(export, export.inputs[0], export.layer, len(export.tops) > 1)


def _pool(export, x, layer, with_indices=False):
    """MaxPool or AveragePool with as much padding as gives Caffe's windows.

    With p of padding, kernel k and stride s, ceil((n + 2p - k) / s) + 1 windows that begin before n + p are
    floor((n + p + q - k) / s) + 1 windows for q = min(p + s - 1, k - 1); without padding along either axis
    q = s - 1. So the same graph fits every n.
    """
    maximum = layer.opt.pool == caffe_pb2.PoolingParameter.MAX
    kernel, stride, pads_begin = layer.kernel, layer.stride, layer.pad
    axes = list(zip(export.shapes[0][2:], kernel, stride, pads_begin, strict=True))
    pads_end = [_padding_behind(layer, *axis) for axis in axes]
    sizes = {"kernel_shape": list(kernel), "strides": list(stride), "pads": [*pads_begin, *pads_end]}
    beyond = any(q >= k for q, k in zip(pads_end, kernel, strict=True))
    if beyond and (with_indices or not maximum):
        export.fixed(0, 2, 3)  # perhaps no window is empty at the net's own size
        raise ValueError("the last window is empty (the stride is above the kernel): use round_mode: FLOOR")
    if not maximum:
        return _average(export, x, sizes, pads_begin, pads_end)
    if beyond:
        pads = export.ints([0, 0, *pads_begin, 0, 0, *pads_end], "pads")
        return export.op(
            "MaxPool",
            export.op("Pad", x, pads, export.const(_LOWEST, "lowest")),
            **{**sizes, "pads": [0] * 4},
        )
    # Where no window begins in the padding behind, ceil_mode is the same, and more runtimes have it.
    if pads_end != list(pads_begin) and all(n is None and p + s <= k for n, k, s, p in axes):
        sizes.update(ceil_mode=1, pads=[*pads_begin, *pads_begin])
    if not with_indices:
        return export.op("MaxPool", x, **sizes)
    top, index = export.op("MaxPool", x, outputs=2, **sizes)
    plane = export.op("ReduceProd", export.sizes(0, [2, 3]), keepdims=1)
    return [top, export.op("Cast", export.op("Mod", index, plane), to=FLOAT)]


def _padding_behind(layer, size, kernel, stride, pad_begin):
    if layer.opt.round_mode == caffe_pb2.PoolingParameter.FLOOR:
        return pad_begin
    if size is None:
        return min(pad_begin + stride - 1, kernel - 1) if any(layer.pad) else stride - 1
    count = layer._windows(size, kernel, stride, pad_begin)
    if (size + 2 * pad_begin - kernel) // stride + 1 == count:
        return pad_begin
    return max(0, (count - 1) * stride + kernel - pad_begin - size)


def _average(export, x, sizes, pads_begin, pads_end):
    """Means whose divisor counts Caffe's own padding, and not what a window covers beyond."""
    if all(q <= p for p, q in zip(pads_begin, pads_end, strict=True)):
        return export.op("AveragePool", x, count_include_pad=1, **sizes)
    if any(pads_begin):
        x = export.op("Pad", x, export.ints([0, 0, *pads_begin] * 2, "pads"))
    excess = [max(0, q - p) for p, q in zip(pads_begin, pads_end, strict=True)]
    return export.op("AveragePool", x, **{**sizes, "pads": [0, 0, *excess]}, count_include_pad=0)


@exports("SPP")
def _spp(export):
    height, width = export.fixed(0, 2, 3)
    levels = [export.layer._level(2**i, height, width) for i in range(export.opt.pyramid_height)]
    tops = [_pool(export, export.inputs[0], level) for level in levels]
    if len(tops) == 1:
        return tops[0]
    return export.op("Concat", *(export.op("Flatten", top, axis=1) for top in tops), axis=1)
