"""Layers that move or join values, and those that choose rows."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..layers import canonical_axis
from . import BOOL, INT64, exports

_END = np.iinfo(np.int64).max


class Axis(NamedTuple):
    """In a shape to be: the size of the bottom along an axis."""

    index: int


def reshaped(e, x, new, old):
    """`x`, of shape `old`, reshaped to `new`: sizes, `Axis`es of the first bottom, one -1 for the rest."""
    given = e.shapes[0]
    new = [given[n.index] if isinstance(n, Axis) and given[n.index] is not None else n for n in new]
    free = [i for i, n in enumerate(new) if not isinstance(n, int)]
    if -1 not in new and len(free) < 2:
        return e.op("Reshape", x, e.ints([n if isinstance(n, int) else -1 for n in new], "shape"))
    kept = all(new[i].index == i and len(old) == len(given) for i in free)
    if kept:  # 0 keeps the size at the same axis
        return e.op("Reshape", x, e.ints([n if isinstance(n, int) else 0 for n in new], "shape"))
    parts = [e.sizes(0, [n.index]) if isinstance(n, Axis) else e.ints([n]) for n in new]
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
    old = [Axis(i) if n is None else n for i, n in enumerate(shape)]
    new = [shape[n.index] if isinstance(n, Axis) and shape[n.index] is not None else n for n in new]
    new = [top if n == -1 and top is not None else n for n, top in zip(new, e.top_shapes[0], strict=True)]
    if new == old:
        return e.op("Identity", x)
    inserted, removed = _added_ones(old, new), _added_ones(new, old)
    if inserted:
        return e.op("Unsqueeze", x, e.ints(inserted, "axes"))
    if removed:
        return e.op("Squeeze", x, e.ints(removed, "axes"))
    return _interleaved(e, old, new) or reshaped(e, x, new, shape)


def _interleaved(e, old, new):
    """Planes of several blobs in turns, Reshape, Concat, Reshape in Caffe, as a Concat and a Gather.

    Two free sizes that move to other axes would need the shape at run time, which few runtimes can read.
    None for any other reshaping.
    """
    a = next((i for i, (n, m) in enumerate(zip(old, new, strict=False)) if n != m), len(new))
    moved = [n for n in old[a + 2 :] if isinstance(n, Axis)]
    concat = e.graph.producers.get(e.inputs[0])
    if (
        len(moved) < 2
        or not isinstance(old[a], int)
        or old[:a] + old[a + 2 :] != new[:a] + new[a + 1 :]
        or concat is None
    ):
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
    between = [Axis(first + i) if n == 0 else n for i, n in enumerate(e.opt.shape.dim)]
    return _with_shape(e, [*map(Axis, range(first)), *between, *map(Axis, range(last, rank))])


@exports("Flatten")
def _flatten(e):
    rank = len(e.shapes[0])
    first, last = (canonical_axis(i, rank) for i in (e.opt.axis, e.opt.end_axis))
    if first == 1 and last == rank - 1:
        return e.op("Flatten", e.inputs[0], axis=1)
    return _with_shape(e, [*map(Axis, range(first)), -1, *map(Axis, range(last + 1, rank))])


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


@exports("Embed")
def _embed(e):
    rows = e.op("Gather", e.param(0, "weight"), e.op("Cast", e.inputs[0], to=INT64), axis=0)
    return e.op("Add", rows, e.param(1, "bias")) if e.opt.bias_term else rows


@exports("BatchReindex")
def _batch_reindex(e):
    return e.op("Gather", e.inputs[0], e.op("Cast", e.inputs[1], to=INT64), axis=0)


@exports("Filter")
def _filter(e):
    *bottoms, selector = e.inputs
    rows = e.op("Reshape", e.op("Cast", selector, to=BOOL), e.ints([-1]))
    return [e.op("Compress", x, rows, axis=0) for x in bottoms]


@exports("Parameter")
def _parameter(e):
    return e.op("Identity", e.param(0, "parameter"))
