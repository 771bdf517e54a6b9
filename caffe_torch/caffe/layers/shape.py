"""Layers that rearrange, join or select values without changing them."""

import math
from itertools import pairwise
from typing import Any

import torch

from . import Layer, canonical_axis, register


def axis_of(opt: Any, name: str, dims: int) -> int:
    """The axis of a Concat or Slice, by `axis` or by its older name.

    Args:
        opt: the settings.
        name: "concat" or "slice".
        dims: the number of axes of the bottom.

    Raises:
        ValueError: both names are given, or the bottom has no such axis.
    """
    legacy = opt.HasField(f"{name}_dim")
    if legacy and opt.HasField("axis"):
        raise ValueError(f"{name}_param: give axis or {name}_dim, not both")
    return canonical_axis(getattr(opt, f"{name}_dim") if legacy else opt.axis, dims)


@register("Split")
class Split(Layer):
    """The bottom, as a top for each layer that reads it; the gradients are summed."""

    top_count = (1, None)

    def forward(self, params, x):
        return tuple(x.view_as(x) for _ in self.spec.top)


@register("Concat")
class Concat(Layer):
    """The bottoms one after another along `axis`."""

    options, supported = "concat_param", ("axis", "concat_dim")
    bottom_count = (1, None)

    def top_shapes(self, *shapes):
        axis = axis_of(self.opt, "concat", len(shapes[0]))
        if any((*s[:axis], *s[axis + 1 :]) != (*shapes[0][:axis], *shapes[0][axis + 1 :]) for s in shapes):
            raise ValueError(
                f"bottoms of shape {', '.join(str(tuple(s)) for s in shapes)} differ not only in axis {axis}"
            )
        return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]

    def forward(self, params, *bottoms):
        return torch.cat(bottoms, axis_of(self.opt, "concat", bottoms[0].dim()))


@register("Slice")
class Slice(Layer):
    """The bottom cut along `axis` at the slice_points, or into equal parts; the opposite of Concat."""

    options, supported = "slice_param", ("axis", "slice_dim", "slice_point")
    top_count = (1, None)

    def _parts(self, shape):
        """The axis, and the sizes of the parts along it."""
        axis = axis_of(self.opt, "slice", len(shape))
        size, tops, points = shape[axis], len(self.spec.top), list(self.opt.slice_point)
        if not points:
            if size % tops:
                raise ValueError(f"{size} values along axis {axis} cannot be cut into {tops} equal parts")
            points = list(range(size // tops, size, size // tops))
        if len(points) != tops - 1:
            raise ValueError(f"slice_param.slice_point: {len(points)} points for {tops} tops, give one less")
        edges = [0, *points, size]
        sizes = [end - start for start, end in pairwise(edges)]
        if min(sizes) < 1:
            raise ValueError(f"slice_param.slice_point: {points} do not rise between 0 and {size}")
        return axis, sizes

    def top_shapes(self, shape):
        axis, sizes = self._parts(shape)
        return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]

    def forward(self, params, x):
        axis, sizes = self._parts(x.shape)
        return tuple(part.clone() for part in x.split(sizes, axis))


@register("Crop")
class Crop(Layer):
    """The part of the first bottom that starts at `offset` and has the second's shape, from `axis` on."""

    options, supported = "crop_param", ("axis", "offset")
    bottom_count = (2, 2)

    def _starts(self, shape, reference_shape):
        """{axis: the start of the part along it}."""
        if len(shape) != len(reference_shape):
            raise ValueError(
                f"bottoms of shape {tuple(shape)} and {tuple(reference_shape)}: give as many axes"
            )
        axis, offset = canonical_axis(self.opt.axis, len(shape)), list(self.opt.offset) or [0]
        axes = range(axis, len(shape))
        if len(offset) not in (1, len(axes)):
            raise ValueError(f"crop_param.offset: {len(offset)} values for {len(axes)} axes, give one or all")
        starts = dict(zip(axes, offset if len(offset) == len(axes) else offset * len(axes), strict=True))
        for i, start in starts.items():
            if start + reference_shape[i] > shape[i]:
                raise ValueError(
                    f"{reference_shape[i]} values from {start} on do not fit axis {i} of {tuple(shape)}"
                )
        return starts

    def top_shapes(self, shape, reference_shape):
        starts = self._starts(shape, reference_shape)
        return [tuple(reference_shape[i] if i in starts else n for i, n in enumerate(shape))]

    def forward(self, params, x, reference):
        for i, start in self._starts(x.shape, reference.shape).items():
            x = x.narrow(i, start, reference.shape[i])
        return x.clone()


@register("Flatten")
class Flatten(Layer):
    """The axes from `axis` to `end_axis` joined to one."""

    options, supported = "flatten_param", ("axis", "end_axis")

    def forward(self, params, x):
        first, last = (canonical_axis(i, x.dim()) for i in (self.opt.axis, self.opt.end_axis))
        if first > last:
            raise ValueError(f"flatten_param: axis {first} comes after end_axis {last}")
        return x.flatten(first, last)


@register("Silence")
class Silence(Layer):
    """No top: its bottoms are then not outputs of the net."""

    bottom_count, top_count = (1, None), (0, 0)

    def forward(self, params, *bottoms):
        return ()


@register("Reshape")
class Reshape(Layer):
    """The same values with the dimensions shape.dim in place of `num_axes` axes from `axis` on.

    A dimension 0 copies the bottom's. One dimension may be -1: it is inferred from the count.
    """

    options, supported = "reshape_param", ("shape", "axis", "num_axes")

    def forward(self, params, x):
        axis, num_axes = self.opt.axis, self.opt.num_axes
        first = axis if axis >= 0 else x.dim() + axis + 1
        last = x.dim() if num_axes == -1 else first + num_axes
        if not 0 <= first <= x.dim() or num_axes < -1 or last > x.dim():
            raise ValueError(f"reshape_param: axis {axis}, num_axes {num_axes} do not fit {x.dim()} axes")
        old, new = x.shape[first:], list(self.opt.shape.dim)
        if new.count(-1) > 1 or min(new, default=0) < -1:
            raise ValueError("reshape_param.shape: dimensions are 0, -1 (once) or positive")
        if any(n == 0 and i >= len(old) for i, n in enumerate(new)):
            raise ValueError("reshape_param.shape: a 0 stands where the bottom has no axis to copy")
        new = [old[i] if n == 0 else n for i, n in enumerate(new)]
        shape = (*x.shape[:first], *new, *x.shape[last:])
        known_count = math.prod(n for n in shape if n != -1)
        if (known_count == 0 or x.numel() % known_count) if -1 in new else x.numel() != known_count:
            raise ValueError(f"a blob of shape {tuple(x.shape)} cannot be reshaped to {shape}")
        return x.reshape(shape)  # in C order: a channels-last tensor is copied


@register("Tile")
class Tile(Layer):
    """The bottom repeated `tiles` times along `axis`."""

    options, supported = "tile_param", ("axis", "tiles")

    def setup(self):
        if self.opt.tiles < 1:
            raise ValueError("tile_param.tiles must be given, 1 or more")

    def top_shapes(self, shape):
        axis = canonical_axis(self.opt.axis, len(shape))
        return [(*shape[:axis], shape[axis] * self.opt.tiles, *shape[axis + 1 :])]

    def forward(self, params, x):
        return torch.cat([x] * self.opt.tiles, canonical_axis(self.opt.axis, x.dim()))
