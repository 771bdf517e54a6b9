"""Layers that move or join values, and those that choose rows."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..layers import canonical_axis
from ..layers.shape import axis_of
from . import BOOL, INT64, exports

_END = np.iinfo(np.int64).max


class Axis(NamedTuple):
    """In a shape to be: the size of the bottom along an axis."""

    index: int


def reshaped(export, x, new, old):
    """`x`, of shape `old`, reshaped to `new`: sizes, `Axis`es of the first bottom, one -1 for the rest."""
    bottom_shape = export.shapes[0]
    new = [
        bottom_shape[n.index] if isinstance(n, Axis) and bottom_shape[n.index] is not None else n for n in new
    ]
    free = [i for i, n in enumerate(new) if not isinstance(n, int)]
    if -1 not in new and len(free) < 2:
        return export.op("Reshape", x, export.ints([n if isinstance(n, int) else -1 for n in new], "shape"))
    kept = all(new[i].index == i and len(old) == len(bottom_shape) for i in free)
    if kept:  # 0 keeps the size at the same axis
        return export.op("Reshape", x, export.ints([n if isinstance(n, int) else 0 for n in new], "shape"))
    parts = [export.sizes(0, [n.index]) if isinstance(n, Axis) else export.ints([n]) for n in new]
    return export.op("Reshape", x, export.op("Concat", *parts, axis=0))


def _added_ones(short, long):
    """The axes at which `long` has a 1 that `short` has not; None where they differ otherwise."""
    axes, remaining = [], list(short)
    for i, n in enumerate(long):
        if remaining and remaining[0] == n:
            remaining.pop(0)
        elif n == 1:
            axes.append(i)
        else:
            return None
    return None if remaining or not axes else axes


def _with_shape(export, new):
    """The bottom with the shape `new`, by the simplest of ONNX's operators."""
    x, shape = export.inputs[0], export.shapes[0]
    old = [Axis(i) if n is None else n for i, n in enumerate(shape)]
    new = [shape[n.index] if isinstance(n, Axis) and shape[n.index] is not None else n for n in new]
    new = [
        top if n == -1 and top is not None else n for n, top in zip(new, export.top_shapes[0], strict=True)
    ]
    if new == old:
        return export.op("Identity", x)
    inserted, removed = _added_ones(old, new), _added_ones(new, old)
    if inserted:
        return export.op("Unsqueeze", x, export.ints(inserted, "axes"))
    if removed:
        return export.op("Squeeze", x, export.ints(removed, "axes"))
    return _interleaved(export, old, new) or reshaped(export, x, new, shape)


def _interleaved(export, old, new):
    """Planes of several blobs in turns, Reshape, Concat, Reshape in Caffe, as a Concat and a Gather.

    Two free sizes that move to other axes would need the shape at run time, which few runtimes can read.
    None for any other reshaping.
    """
    a = next((i for i, (n, m) in enumerate(zip(old, new, strict=False)) if n != m), len(new))
    moved = [n for n in old[a + 2 :] if isinstance(n, Axis)]
    concat = export.graph.producers.get(export.inputs[0])
    if (
        len(moved) < 2
        or not isinstance(old[a], int)
        or old[:a] + old[a + 2 :] != new[:a] + new[a + 1 :]
        or concat is None
    ):
        return None
    makers = [export.graph.producers.get(name) for name in concat.input]
    if concat.op_type != "Concat" or any(node is None or node.op_type != "Unsqueeze" for node in makers):
        return None
    count, axes = len(makers), {tuple(export.graph.initializers[node.input[1]]) for node in makers}
    if axes != {(a + 1,)} or concat.attribute[0].i != a + 1 or old[a + 1] != count:
        return None
    joined = export.op("Concat", *(node.input[0] for node in makers), axis=a)
    order = np.arange(count * old[a]).reshape(count, old[a]).T.ravel()
    return export.op("Gather", joined, export.ints(order, "order"), axis=a)


@exports("Split", "Dropout")
def _nothing(export):
    return [export.inputs[0]] * len(export.tops)


@exports("Silence")
def _silence(export):
    return []


@exports("Reshape")
def _reshape_layer(export):
    axis, num_axes, rank = export.opt.axis, export.opt.num_axes, len(export.shapes[0])
    first = axis if axis >= 0 else rank + axis + 1
    last = rank if num_axes == -1 else first + num_axes
    between = [Axis(first + i) if n == 0 else n for i, n in enumerate(export.opt.shape.dim)]
    return _with_shape(export, [*map(Axis, range(first)), *between, *map(Axis, range(last, rank))])


@exports("Flatten")
def _flatten(export):
    rank = len(export.shapes[0])
    first, last = (canonical_axis(i, rank) for i in (export.opt.axis, export.opt.end_axis))
    if first == 1 and last == rank - 1:
        return export.op("Flatten", export.inputs[0], axis=1)
    return _with_shape(export, [*map(Axis, range(first)), -1, *map(Axis, range(last + 1, rank))])


@exports("Concat")
def _concat(export):
    return export.op("Concat", *export.inputs, axis=axis_of(export.opt, "concat", len(export.shapes[0])))


@exports("Slice")
def _slice(export):
    axis, points = axis_of(export.opt, "slice", len(export.shapes[0])), list(export.opt.slice_point)
    if len(export.tops) == 1:
        return export.op("Identity", export.inputs[0])
    sizes = [shape[axis] for shape in export.top_shapes]
    if not points and None in sizes:
        return export.op("Split", export.inputs[0], outputs=len(export.tops), axis=axis)
    if None in sizes:
        edges = [0, *points, _END]
        return [_cut(export, {axis: edge}, export.ints([end])) for edge, end in pairwise(edges)]
    return export.op(
        "Split", export.inputs[0], export.ints(sizes, "sizes"), outputs=len(export.tops), axis=axis
    )


def _cut(export, starts, ends):
    """The first bottom from `starts`, by axis, to `ends`, an int64 value."""
    starts, axes = export.ints(list(starts.values()), "starts"), export.ints(list(starts), "axes")
    return export.op("Slice", export.inputs[0], starts, ends, axes)


@exports("Crop")
def _crop(export):
    shape, reference_shape = export.shapes
    axis = canonical_axis(export.opt.axis, len(shape))
    axes, offset = list(range(axis, len(shape))), list(export.opt.offset) or [0]
    starts = dict(zip(axes, offset if len(offset) == len(axes) else offset * len(axes), strict=True))
    if None not in reference_shape[axis:]:
        return _cut(
            export, starts, export.ints([start + reference_shape[i] for i, start in starts.items()], "ends")
        )
    sizes = export.sizes(1, axes)
    return _cut(
        export, starts, export.op("Add", sizes, export.ints(list(starts.values()))) if any(offset) else sizes
    )


@exports("Tile")
def _tile(export):
    repeats = [1] * len(export.shapes[0])
    repeats[canonical_axis(export.opt.axis, len(repeats))] = export.opt.tiles
    return export.op("Tile", export.inputs[0], export.ints(repeats, "repeats"))


@exports("Embed")
def _embed(export):
    rows = export.op(
        "Gather", export.param(0, "weight"), export.op("Cast", export.inputs[0], to=INT64), axis=0
    )
    return export.op("Add", rows, export.param(1, "bias")) if export.opt.bias_term else rows


@exports("BatchReindex")
def _batch_reindex(export):
    return export.op("Gather", export.inputs[0], export.op("Cast", export.inputs[1], to=INT64), axis=0)


@exports("Filter")
def _filter(export):
    *bottoms, selector = export.inputs
    rows = export.op("Reshape", export.op("Cast", selector, to=BOOL), export.ints([-1]))
    return [export.op("Compress", x, rows, axis=0) for x in bottoms]


@exports("Parameter")
def _parameter(export):
    return export.op("Identity", export.param(0, "parameter"))
