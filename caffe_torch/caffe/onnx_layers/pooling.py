"""Pooling and SPP."""

import numpy as np

from ..proto import caffe_pb2
from . import FLOAT, exports

_LOWEST = np.finfo(np.float32).min


@exports("Pooling")
def _pooling(e):
    maximum = e.opt.pool == caffe_pb2.PoolingParameter.MAX
    if e.opt.global_pooling and len(e.tops) == 1:
        return e.op("GlobalMaxPool" if maximum else "GlobalAveragePool", e.inputs[0])
    if e.opt.global_pooling:
        e.layer.kernel = tuple(e.fixed(0, 2, 3))
    return _pool(e, e.inputs[0], e.layer, len(e.tops) > 1)


def _pool(e, x, layer, places=False):
    """MaxPool or AveragePool with as much padding as gives Caffe's windows.

    With p of padding, kernel k and stride s, ceil((n + 2p - k) / s) + 1 windows that begin before n + p are
    floor((n + p + q - k) / s) + 1 windows for q = min(p + s - 1, k - 1); without padding q = s - 1. So the
    same graph fits every n.
    """
    maximum = layer.opt.pool == caffe_pb2.PoolingParameter.MAX
    kernel, stride, before = layer.kernel, layer.stride, layer.pad
    axes = list(zip(e.shapes[0][2:], kernel, stride, before, strict=True))
    behind = [_padding_behind(layer, *axis) for axis in axes]
    sizes = {"kernel_shape": list(kernel), "strides": list(stride), "pads": [*before, *behind]}
    beyond = any(q >= k for q, k in zip(behind, kernel, strict=True))
    if beyond and (places or not maximum):
        e.fixed(0, 2, 3)  # perhaps no window is empty at the net's own size
        raise ValueError("the last window is empty (the stride is above the kernel): use round_mode: FLOOR")
    if not maximum:
        return _average(e, x, sizes, before, behind)
    if beyond:
        pads = e.ints([0, 0, *before, 0, 0, *behind], "pads")
        return e.op("MaxPool", e.op("Pad", x, pads, e.const(_LOWEST, "lowest")), **{**sizes, "pads": [0] * 4})
    # Where no window begins in the padding behind, ceil_mode is the same, and more runtimes have it.
    if behind != list(before) and all(n is None and p + s <= k for n, k, s, p in axes):
        sizes.update(ceil_mode=1, pads=[*before, *before])
    if not places:
        return e.op("MaxPool", x, **sizes)
    top, place = e.op("MaxPool", x, outputs=2, **sizes)
    plane = e.op("ReduceProd", e.sizes(0, [2, 3]), keepdims=1)
    return [top, e.op("Cast", e.op("Mod", place, plane), to=FLOAT)]


def _padding_behind(layer, size, kernel, stride, before):
    if layer.opt.round_mode == caffe_pb2.PoolingParameter.FLOOR:
        return before
    if size is None:
        return min(before + stride - 1, kernel - 1) if before else stride - 1
    count = layer._windows(size, kernel, stride, before)
    if (size + 2 * before - kernel) // stride + 1 == count:
        return before
    return max(0, (count - 1) * stride + kernel - before - size)


def _average(e, x, sizes, before, behind):
    """Means whose divisor counts Caffe's own padding, and not what a window covers beyond."""
    if all(q <= p for p, q in zip(before, behind, strict=True)):
        return e.op("AveragePool", x, count_include_pad=1, **sizes)
    if any(before):
        x = e.op("Pad", x, e.ints([0, 0, *before] * 2, "pads"))
    rest = [max(0, q - p) for p, q in zip(before, behind, strict=True)]
    return e.op("AveragePool", x, **{**sizes, "pads": [0, 0, *rest]}, count_include_pad=0)


@exports("SPP")
def _spp(e):
    height, width = e.fixed(0, 2, 3)
    levels = [e.layer._level(2**i, height, width) for i in range(e.opt.pyramid_height)]
    tops = [_pool(e, e.inputs[0], level) for level in levels]
    if len(tops) == 1:
        return tops[0]
    return e.op("Concat", *(e.op("Flatten", top, axis=1) for top in tops), axis=1)
