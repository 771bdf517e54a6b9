"""Sums, products and places of the largest values."""

import numpy as np

from ..layers import canonical_axis
from ..proto import caffe_pb2
from . import FLOAT, exports, scaled

_END = np.iinfo(np.int64).max


@exports("Eltwise")
def _eltwise(export):
    operation = caffe_pb2.EltwiseParameter.EltwiseOp.Name(export.opt.operation)
    if operation == "MAX":
        return export.op("Max", *export.inputs)
    factors = list(export.opt.coeff) or [1] * len(export.inputs)
    first, *rest = [scaled(export, x, factor) for x, factor in zip(export.inputs, factors, strict=True)]
    for x in rest:
        first = export.op("Add" if operation == "SUM" else "Mul", first, x)
    return first


def _spread(export, i, name):
    """Parameter `i` with axes of length 1 behind, so that it broadcasts over the bottom."""
    layer, rank = export.layer, len(export.shapes[0])
    array = export.array(i)
    export.fixed(0, *range(layer.axis, layer.axis + array.ndim))
    behind = [1] * (rank - layer.axis - array.ndim)
    return export.param(i, name, lambda array: array.reshape(*array.shape, *behind))


def _second(export):
    """The second bottom, in the same way."""
    rank, second = len(export.shapes[0]), len(export.shapes[1])
    behind = range(second, rank - export.layer.axis)
    return (
        export.op("Unsqueeze", export.inputs[1], export.ints(behind, "axes")) if behind else export.inputs[1]
    )


@exports("Scale")
def _scale(export):
    has_parameters = len(export.inputs) == 1
    y = export.op(
        "Mul", export.inputs[0], _spread(export, 0, "weight") if has_parameters else _second(export)
    )
    return export.op("Add", y, _spread(export, int(has_parameters), "bias")) if export.opt.bias_term else y


@exports("Bias")
def _bias(export):
    return export.op(
        "Add", export.inputs[0], _spread(export, 0, "bias") if len(export.inputs) == 1 else _second(export)
    )


@exports("Reduction")
def _reduction(export):
    rank = len(export.shapes[0])
    operation = caffe_pb2.ReductionParameter.ReductionOp.Name(export.opt.operation)
    axes = list(range(canonical_axis(export.opt.axis, rank), rank))
    if operation == "SUM":  # its axes are an input from opset 13 on
        y = export.op("ReduceSum", export.inputs[0], export.ints(axes, "axes"), keepdims=0)
    else:
        name = {"ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}[operation]
        y = export.op(name, export.inputs[0], axes=axes, keepdims=0)
    return scaled(export, y, export.opt.coeff)


@exports("ArgMax")
def _arg_max(export):
    rank, top_k, values = len(export.shapes[0]), export.opt.top_k, export.opt.out_max_val
    along = export.opt.HasField("axis")
    axis = canonical_axis(export.opt.axis, rank) if along else 1
    rows = export.inputs[0] if along else export.op("Flatten", export.inputs[0], axis=1)
    if top_k == 1:
        index = export.op("ArgMax", rows, axis=axis, keepdims=1, select_last_index=1)  # of equals the last
        largest = export.op("ReduceMax", rows, axes=[axis], keepdims=1) if values else None
    else:
        (size,) = export.fixed(0, axis) if along else [int(np.prod(export.fixed(0, *range(1, rank))))]
        # TopK has the first of equal values first, Caffe the last.
        ends = export.ints([-_END]), export.ints([axis]), export.ints([-1])
        turned = export.op("Slice", rows, export.ints([_END]), *ends)
        largest, index = export.op("TopK", turned, export.ints([top_k]), outputs=2, axis=axis)
        index = export.op("Sub", export.ints([size - 1]), index)
    index = export.op("Cast", index, to=FLOAT)
    if along:
        return largest if values else index
    behind = [1] * (rank - 3)
    parts = [index, largest] if values else [index]
    parts = [export.op("Unsqueeze", part, export.ints([1])) for part in parts]
    y = export.op("Concat", *parts, axis=1) if values else parts[0]
    return export.op("Unsqueeze", y, export.ints(range(3, 3 + len(behind)))) if behind else y
