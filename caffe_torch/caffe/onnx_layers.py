"""What each of Caffe's layer types becomes in ONNX: one function a type, in one registry.

A function gets the layer (onnx_export.LayerExport), adds nodes and returns the value of its top, or a list
for several. A top may be the bottom's own value where nothing is computed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .layers import Source, canonical_axis
from .proto import caffe_pb2

EXPORTS: dict = {"Input": None}
_FLOAT, _INT64 = 1, 7  # onnx.TensorProto's numbers
_LOWEST = np.finfo(np.float32).min
_END = np.iinfo(np.int64).max


def exports(*names):
    """Function decorator: it writes layers of these types."""

    def add(function):
        EXPORTS.update(dict.fromkeys(names, function))
        return function

    return add


def refusal(node) -> str:
    """Why a layer of another type is refused."""
    if isinstance(node.layer, Source):
        return "ONNX has no layers that read data: export the deploy net, whose data comes from Input layers"
    if node.layer.is_loss or node.layer.type == "Accuracy":
        return "losses and measures are not exported: export the deploy net, which has none"
    return f"this type cannot be exported; those that can are {', '.join(sorted(EXPORTS))}"


# Filters


def _geometry(e):
    layer = e.layer
    return {
        "kernel_shape": list(layer.kernel),
        "strides": list(layer.stride),
        "dilations": list(layer.dilation),
        "group": layer.opt.group,
    }


@exports("Convolution")
def _convolution(e):
    params = [e.param(i, name) for i, name in enumerate(("weight", "bias")[: 1 + e.opt.bias_term])]
    pads = [*e.layer.pad, *e.layer.pad]
    return [e.op("Conv", x, *params, pads=pads, **_geometry(e)) for x in e.inputs]


@exports("Deconvolution")
def _deconvolution(e):
    layer, group = e.layer, e.opt.group
    bias = [e.param(1, "bias")] if e.opt.bias_term else []
    reach = [d * (k - 1) - p for d, k, p in zip(layer.dilation, layer.kernel, layer.pad, strict=True)]
    if set(layer.stride) == {1} and min(reach) >= 0:
        # The same sums as a convolution, which runtimes compute several times as fast.
        def flipped(weight):
            inputs, outputs, *kernel = weight.shape
            weight = weight.reshape(group, inputs // group, outputs, *kernel).swapaxes(1, 2)
            weight = weight.reshape(group * outputs, inputs // group, *kernel)
            return np.flip(weight, tuple(range(2, weight.ndim)))

        weight = e.param(0, "weight", flipped)
        return [e.op("Conv", x, weight, *bias, pads=reach * 2, **_geometry(e)) for x in e.inputs]
    weight, pads = e.param(0, "weight"), [*layer.pad, *layer.pad]
    return [e.op("ConvTranspose", x, weight, *bias, pads=pads, **_geometry(e)) for x in e.inputs]


@exports("Im2col")
def _im2col(e):
    rank = len(e.shapes[0])
    if rank > 5:
        raise ValueError("more than 3 spatial axes cannot be exported")
    (channels,) = e.fixed(0, 1)
    kernel, stride, pad, dilation = e.layer._geometry(rank - 2)
    places = int(np.prod(kernel))
    # A convolution of every channel with filters of a single 1 each.
    weight = np.tile(np.eye(places, dtype=np.float32), (channels, 1)).reshape(-1, 1, *kernel)
    return e.op(
        "Conv",
        e.inputs[0],
        e.const(weight, "weight"),
        kernel_shape=list(kernel),
        strides=list(stride),
        pads=[*pad, *pad],
        dilations=list(dilation),
        group=channels,
    )


@exports("InnerProduct")
def _inner_product(e):
    axis, opt = e.layer.axis, e.opt
    rows = e.op("Flatten", e.inputs[0], axis=axis)
    params = [e.param(i, name) for i, name in enumerate(("weight", "bias")[: 1 + opt.bias_term])]
    y = e.op("Gemm", rows, *params, transB=int(not opt.transpose))
    if axis == 1:
        return y
    return _reshape(e, y, [_Axis(i) for i in range(axis)] + [opt.num_output], (None, opt.num_output))


@exports("Embed")
def _embed(e):
    rows = e.op("Gather", e.param(0, "weight"), e.op("Cast", e.inputs[0], to=_INT64), axis=0)
    return e.op("Add", rows, e.param(1, "bias")) if e.opt.bias_term else rows


@exports("BatchReindex")
def _batch_reindex(e):
    return e.op("Gather", e.inputs[0], e.op("Cast", e.inputs[1], to=_INT64), axis=0)


@exports("Filter")
def _filter(e):
    *bottoms, selector = e.inputs
    rows = e.op("Reshape", e.op("Cast", selector, to=9), e.ints([-1]))  # 9: bool
    return [e.op("Compress", x, rows, axis=0) for x in bottoms]


@exports("Parameter")
def _parameter(e):
    return e.op("Identity", e.param(0, "parameter"))


# Pooling


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
    return [top, e.op("Cast", e.op("Mod", place, plane), to=_FLOAT)]


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


# Shape


class _Axis(NamedTuple):
    """In a shape to be: the size of the bottom along an axis."""

    index: int


def _reshape(e, x, new, old):
    """`x`, of shape `old`, reshaped to `new`: sizes, `_Axis`es of the first bottom, one -1 for the rest."""
    given = e.shapes[0]
    new = [given[n.index] if isinstance(n, _Axis) and given[n.index] is not None else n for n in new]
    free = [i for i, n in enumerate(new) if not isinstance(n, int)]
    if -1 not in new and len(free) < 2:
        return e.op("Reshape", x, e.ints([n if isinstance(n, int) else -1 for n in new], "shape"))
    kept = all(new[i].index == i and len(old) == len(given) for i in free)
    if kept:  # 0 keeps the size at the same axis
        return e.op("Reshape", x, e.ints([n if isinstance(n, int) else 0 for n in new], "shape"))
    parts = [e.sizes(0, [n.index]) if isinstance(n, _Axis) else e.ints([n]) for n in new]
    return e.op("Reshape", x, e.op("Concat", *parts, axis=0))


def _added_ones(short, long):
    """The axes at which `long` has a 1 that `short` has not; None where they differ otherwise."""
    axes, rest = [], list(short)
    for i, n in enumerate(long):
        if rest and rest[0] == n:
            rest.pop(0)
        elif n == 1:
            axes.append(i)
        else:
            return None
    return None if rest or not axes else axes


def _with_shape(e, new):
    """The bottom with the shape `new`, by the simplest of ONNX's operators."""
    x, shape = e.inputs[0], e.shapes[0]
    old = [_Axis(i) if n is None else n for i, n in enumerate(shape)]
    new = [shape[n.index] if isinstance(n, _Axis) and shape[n.index] is not None else n for n in new]
    new = [top if n == -1 and top is not None else n for n, top in zip(new, e.top_shapes[0], strict=True)]
    if new == old:
        return e.op("Identity", x)
    inserted, removed = _added_ones(old, new), _added_ones(new, old)
    if inserted:
        return e.op("Unsqueeze", x, e.ints(inserted, "axes"))
    if removed:
        return e.op("Squeeze", x, e.ints(removed, "axes"))
    return _interleaved(e, old, new) or _reshape(e, x, new, shape)


def _interleaved(e, old, new):
    """Planes of several blobs in turns, Reshape, Concat, Reshape in Caffe, as a Concat and a Gather.

    Two free sizes that move to other axes would need the shape at run time, which few runtimes can read.
    None for any other reshaping.
    """
    a = next((i for i, (n, m) in enumerate(zip(old, new, strict=False)) if n != m), len(new))
    moved = [n for n in old[a + 2 :] if isinstance(n, _Axis)]
    concat = e.graph.producers.get(e.inputs[0])
    if len(moved) < 2 or old[:a] + old[a + 2 :] != new[:a] + new[a + 1 :] or concat is None:
        return None
    makers = [e.graph.producers.get(name) for name in concat.input]
    if concat.op_type != "Concat" or any(node is None or node.op_type != "Unsqueeze" for node in makers):
        return None
    count, axes = len(makers), {tuple(e.graph.initializers[node.input[1]]) for node in makers}
    if axes != {(a + 1,)} or concat.attribute[0].i != a + 1 or old[a + 1] != count:
        return None
    joined = e.op("Concat", *(node.input[0] for node in makers), axis=a)
    order = np.arange(count * old[a]).reshape(count, old[a]).T.ravel()
    return e.op("Gather", joined, e.ints(order, "order"), axis=a)


@exports("Split", "Dropout")
def _nothing(e):
    return [e.inputs[0]] * len(e.tops)


@exports("Silence")
def _silence(e):
    return []


@exports("Reshape")
def _reshape_layer(e):
    axis, num_axes, rank = e.opt.axis, e.opt.num_axes, len(e.shapes[0])
    first = axis if axis >= 0 else rank + axis + 1
    last = rank if num_axes == -1 else first + num_axes
    between = [_Axis(first + i) if n == 0 else n for i, n in enumerate(e.opt.shape.dim)]
    return _with_shape(e, [*map(_Axis, range(first)), *between, *map(_Axis, range(last, rank))])


@exports("Flatten")
def _flatten(e):
    rank = len(e.shapes[0])
    first, last = (canonical_axis(i, rank) for i in (e.opt.axis, e.opt.end_axis))
    if first == 1 and last == rank - 1:
        return e.op("Flatten", e.inputs[0], axis=1)
    return _with_shape(e, [*map(_Axis, range(first)), -1, *map(_Axis, range(last + 1, rank))])


def _axis(e, name):
    old = e.opt.HasField(f"{name}_dim")
    return canonical_axis(getattr(e.opt, f"{name}_dim") if old else e.opt.axis, len(e.shapes[0]))


@exports("Concat")
def _concat(e):
    return e.op("Concat", *e.inputs, axis=_axis(e, "concat"))


@exports("Slice")
def _slice(e):
    axis, points = _axis(e, "slice"), list(e.opt.slice_point)
    if len(e.tops) == 1:
        return e.op("Identity", e.inputs[0])
    sizes = [shape[axis] for shape in e.top_shapes]
    if not points and None in sizes:
        return e.op("Split", e.inputs[0], outputs=len(e.tops), axis=axis)
    if None in sizes:
        edges = [0, *points, _END]
        return [_cut(e, {axis: edge}, e.ints([end])) for edge, end in pairwise(edges)]
    return e.op("Split", e.inputs[0], e.ints(sizes, "sizes"), outputs=len(e.tops), axis=axis)


def _cut(e, starts, ends):
    """The first bottom from `starts`, by axis, to `ends`, an int64 value."""
    starts, axes = e.ints(list(starts.values()), "starts"), e.ints(list(starts), "axes")
    return e.op("Slice", e.inputs[0], starts, ends, axes)


@exports("Crop")
def _crop(e):
    shape, like = e.shapes
    axis = canonical_axis(e.opt.axis, len(shape))
    axes, offset = list(range(axis, len(shape))), list(e.opt.offset) or [0]
    starts = dict(zip(axes, offset if len(offset) == len(axes) else offset * len(axes), strict=True))
    if None not in like[axis:]:
        return _cut(e, starts, e.ints([start + like[i] for i, start in starts.items()], "ends"))
    sizes = e.sizes(1, axes)
    return _cut(e, starts, e.op("Add", sizes, e.ints(list(starts.values()))) if any(offset) else sizes)


@exports("Tile")
def _tile(e):
    repeats = [1] * len(e.shapes[0])
    repeats[canonical_axis(e.opt.axis, len(repeats))] = e.opt.tiles
    return e.op("Tile", e.inputs[0], e.ints(repeats, "repeats"))


# Arithmetic


def _scaled(e, x, factor):
    return x if factor == 1 else e.op("Mul", x, e.const(factor))


def _shifted(e, x, shift):
    return x if shift == 0 else e.op("Add", x, e.const(shift))


@exports("Eltwise")
def _eltwise(e):
    operation = caffe_pb2.EltwiseParameter.EltwiseOp.Name(e.opt.operation)
    if operation == "MAX":
        return e.op("Max", *e.inputs)
    factors = list(e.opt.coeff) or [1] * len(e.inputs)
    first, *rest = [_scaled(e, x, factor) for x, factor in zip(e.inputs, factors, strict=True)]
    for x in rest:
        first = e.op("Add" if operation == "SUM" else "Mul", first, x)
    return first


def _spread(e, i, name):
    """Parameter `i` with axes of length 1 behind, so that it broadcasts over the bottom."""
    layer, rank = e.layer, len(e.shapes[0])
    array = e.array(i)
    e.fixed(0, *range(layer.axis, layer.axis + array.ndim))
    behind = [1] * (rank - layer.axis - array.ndim)
    return e.param(i, name, lambda array: array.reshape(*array.shape, *behind))


def _second(e):
    """The second bottom, in the same way."""
    rank, second = len(e.shapes[0]), len(e.shapes[1])
    behind = range(second, rank - e.layer.axis)
    return e.op("Unsqueeze", e.inputs[1], e.ints(behind, "axes")) if behind else e.inputs[1]


@exports("Scale")
def _scale(e):
    own = len(e.inputs) == 1
    y = e.op("Mul", e.inputs[0], _spread(e, 0, "weight") if own else _second(e))
    return e.op("Add", y, _spread(e, int(own), "bias")) if e.opt.bias_term else y


@exports("Bias")
def _bias(e):
    return e.op("Add", e.inputs[0], _spread(e, 0, "bias") if len(e.inputs) == 1 else _second(e))


@exports("Reduction")
def _reduction(e):
    rank, operation = len(e.shapes[0]), caffe_pb2.ReductionParameter.ReductionOp.Name(e.opt.operation)
    axes = list(range(canonical_axis(e.opt.axis, rank), rank))
    if operation == "SUM":  # its axes are an input from opset 13 on
        y = e.op("ReduceSum", e.inputs[0], e.ints(axes, "axes"), keepdims=0)
    else:
        name = {"ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}[operation]
        y = e.op(name, e.inputs[0], axes=axes, keepdims=0)
    return _scaled(e, y, e.opt.coeff)


@exports("ArgMax")
def _arg_max(e):
    rank, top_k, values = len(e.shapes[0]), e.opt.top_k, e.opt.out_max_val
    along = e.opt.HasField("axis")
    axis = canonical_axis(e.opt.axis, rank) if along else 1
    rows = e.inputs[0] if along else e.op("Flatten", e.inputs[0], axis=1)
    if top_k == 1:
        place = e.op("ArgMax", rows, axis=axis, keepdims=1, select_last_index=1)  # of equals the last
        found = e.op("ReduceMax", rows, axes=[axis], keepdims=1) if values else None
    else:
        (size,) = e.fixed(0, axis) if along else [int(np.prod(e.fixed(0, *range(1, rank))))]
        # TopK has the first of equal values first, Caffe the last.
        ends = e.ints([-_END]), e.ints([axis]), e.ints([-1])
        turned = e.op("Slice", rows, e.ints([_END]), *ends)
        found, place = e.op("TopK", turned, e.ints([top_k]), outputs=2, axis=axis)
        place = e.op("Sub", e.ints([size - 1]), place)
    place = e.op("Cast", place, to=_FLOAT)
    if along:
        return found if values else place
    behind = [1] * (rank - 3)
    parts = [place, found] if values else [place]
    parts = [e.op("Unsqueeze", part, e.ints([1])) for part in parts]
    y = e.op("Concat", *parts, axis=1) if values else parts[0]
    return e.op("Unsqueeze", y, e.ints(range(3, 3 + len(behind)))) if behind else y


# Normalisation


@exports("BatchNorm")
def _batch_norm(e):
    x, eps = e.inputs[0], e.opt.eps
    if not e.layer.use_store:
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
    divisor = _shifted(e, _scaled(e, mean, opt.alpha), 1)
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


# Element by element


def _operator(caffe_type, op_type):
    EXPORTS[caffe_type] = lambda e: e.op(op_type, e.inputs[0])


_operator("Sigmoid", "Sigmoid")
_operator("TanH", "Tanh")
_operator("AbsVal", "Abs")
_operator("BNLL", "Softplus")


@exports("ReLU")
def _relu(e):
    slope = e.opt.negative_slope
    return e.op("LeakyRelu", e.inputs[0], alpha=slope) if slope else e.op("Relu", e.inputs[0])


@exports("PReLU")
def _prelu(e):
    behind = [1] * (len(e.shapes[0]) - 2)
    return e.op("PRelu", e.inputs[0], e.param(0, "slope", lambda array: array.reshape(-1, *behind)))


@exports("ELU")
def _elu(e):
    return e.op("Elu", e.inputs[0], alpha=e.opt.alpha)


@exports("Power")
def _power(e):
    y = _shifted(e, _scaled(e, e.inputs[0], e.opt.scale), e.opt.shift)
    return y if e.opt.power == 1 else e.op("Pow", y, e.const(e.opt.power))


@exports("Exp")
def _exp(e):
    y = e.op("Exp", _scaled(e, e.inputs[0], e.layer.log_base * e.opt.scale))
    return _scaled(e, y, e.layer.factor)


@exports("Log")
def _log(e):
    y = e.op("Log", _shifted(e, _scaled(e, e.inputs[0], e.opt.scale), e.opt.shift))
    return _scaled(e, y, 1 / e.layer.log_base)


@exports("Swish")
def _swish(e):
    return e.op("Mul", e.inputs[0], e.op("Sigmoid", _scaled(e, e.inputs[0], e.opt.beta)))


@exports("Clip")
def _clip(e):
    return e.op("Clip", e.inputs[0], e.const(e.opt.min, "min"), e.const(e.opt.max, "max"))


@exports("Threshold")
def _threshold(e):
    return e.op("Cast", e.op("Greater", e.inputs[0], e.const(e.opt.threshold)), to=_FLOAT)
