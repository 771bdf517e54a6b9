"""Layers that move or join values without changing them."""

import math

import torch

from . import Layer, canonical_axis, register


@register("Split")
class Split(Layer):
    """The bottom, once for each layer that reads it; their gradients add up."""

    top_count = (1, None)

    def forward(self, params, x):
        return tuple(x.view_as(x) for _ in self.spec.top)


@register("Concat")
class Concat(Layer):
    """The bottoms one after another along `axis`."""

    options, supported = "concat_param", ("axis", "concat_dim")
    bottom_count = (1, None)

    def forward(self, params, *bottoms):
        legacy = self.opt.HasField("concat_dim")
        if legacy and self.opt.HasField("axis"):
            raise ValueError("concat_param: give axis or concat_dim, not both")
        axis = self.opt.concat_dim if legacy else self.opt.axis
        return torch.cat(bottoms, canonical_axis(axis, bottoms[0].dim()))


@register("Reshape")
class Reshape(Layer):
    """Other dimensions for the same values, from `axis` on over `num_axes` axes.

    In shape.dim, 0 keeps the bottom's dimension and one -1 stands for what is left over.
    """

    options, supported = "reshape_param", ("shape", "axis", "num_axes")

    def forward(self, params, x):
        axis, num_axes = self.opt.axis, self.opt.num_axes
        first = axis if axis >= 0 else x.dim() + axis + 1
        last = x.dim() if num_axes == -1 else first + num_axes
        if not 0 <= first <= x.dim() or num_axes < -1 or last > x.dim():
            raise ValueError(f"reshape_param: axis {axis}, num_axes {num_axes} do not fit {x.dim()} axes")
        old, new = x.shape[first:last], list(self.opt.shape.dim)
        if new.count(-1) > 1 or min(new, default=0) < -1:
            raise ValueError("reshape_param.shape: dimensions are 0, -1 (once) or positive")
        if any(n == 0 and i >= len(old) for i, n in enumerate(new)):
            raise ValueError("reshape_param.shape: a 0 stands where the bottom has no axis to copy")
        new = [old[i] if n == 0 else n for i, n in enumerate(new)]
        shape = (*x.shape[:first], *new, *x.shape[last:])
        rest = math.prod(n for n in shape if n != -1)
        if x.numel() % rest if -1 in new else x.numel() != rest:
            raise ValueError(f"a blob of shape {tuple(x.shape)} cannot be reshaped to {shape}")
        return x.reshape(shape)  # in C order: a copy where the tensor is channels last
