"""Sums, products and places of the largest values."""

import numpy as np

from ..layers import canonical_axis
from ..proto import caffe_pb2
from . import FLOAT, exports, scaled

_END = np.iinfo(np.int64).max


@exports("Eltwise")
def _eltwise(e):
    operation = caffe_pb2.EltwiseParameter.EltwiseOp.Name(e.opt.operation)
    if operation == "MAX":
        return e.op("Max", *e.inputs)
    factors = list(e.opt.coeff) or [1] * len(e.inputs)
    first, *rest = [scaled(e, x, factor) for x, factor in zip(e.inputs, factors, strict=True)]
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
    return scaled(e, y, e.opt.coeff)


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
    place = e.op("Cast", place, to=FLOAT)
    if along:
        return found if values else place
    behind = [1] * (rank - 3)
    parts = [place, found] if values else [place]
    parts = [e.op("Unsqueeze", part, e.ints([1])) for part in parts]
    y = e.op("Concat", *parts, axis=1) if values else parts[0]
    return e.op("Unsqueeze", y, e.ints(range(3, 3 + len(behind)))) if behind else y
