"""Rows selected by the values of another blob: Embed, BatchReindex, Filter."""

import math

import torch

from . import Layer, register


def rows_at(table: torch.Tensor, indices: torch.Tensor, name: str) -> torch.Tensor:
    """Select rows of a table.

    On a GPU an index outside the table gives NaN: checking it would wait for the GPU.

    Args:
        table: the rows, along axis 0.
        indices: whole numbers, in any shape and dtype.
        name: of an index, for errors.

    Returns:
        A tensor of shape indices.shape + the shape of a row.

    Raises:
        ValueError: on a CPU, an index is outside the table.
    """
    count, indices = table.shape[0], indices.long()
    valid = (indices >= 0) & (indices < count)
    if table.is_cuda:
        rows = table[torch.where(valid, indices, 0)]
        return torch.where(valid.reshape(*valid.shape, *[1] * (table.dim() - 1)), rows, math.nan)
    if not valid.all():
        invalid = indices[~valid].flatten()[0]
        raise ValueError(f"the {name} {invalid} is outside 0 to {count - 1}")
    return table[indices]


@register("Embed")
class Embed(Layer):
    """Row i of a learned table for every value i of the bottom, plus a bias; the row is a new last axis."""

    options = "embed_param"
    supported = ("num_output", "input_dim", "bias_term", "weight_filler", "bias_filler")
    no_gradient = (0,)

    def setup(self):
        for name in ("num_output", "input_dim"):
            if getattr(self.opt, name) < 1:
                raise ValueError(f"embed_param.{name} must be given, 1 or more")

    def param_shapes(self, shape):
        params = [((self.opt.input_dim, self.opt.num_output), self.opt.weight_filler)]
        return [*params, ((self.opt.num_output,), self.opt.bias_filler)] if self.opt.bias_term else params

    def top_shapes(self, shape):
        return [(*shape, self.opt.num_output)]

    def forward(self, params, x):
        rows = rows_at(params[0], x, "index")
        return rows + params[1] if self.opt.bias_term else rows


@register("BatchReindex")
class BatchReindex(Layer):
    """The rows of the first bottom in the order that the second lists; rows may repeat."""

    bottom_count = (2, 2)
    no_gradient = (1,)

    def top_shapes(self, shape, rows):
        if not shape or len(rows) != 1:
            raise ValueError(f"bottoms of shape {tuple(shape)} and {tuple(rows)}: the second has one axis")
        return [(rows[0], *shape[1:])]

    def forward(self, params, x, rows):
        self.top_shapes(x.shape, rows.shape)
        return rows_at(x, rows, "row")


@register("Filter")
class Filter(Layer):
    """The rows of the other bottoms where the last bottom, the selector, is not 0."""

    bottom_count, top_count = (2, None), (1, None)

    def setup(self):
        bottoms, tops = len(self.spec.bottom), len(self.spec.top)
        if tops != bottoms - 1:
            raise ValueError(f"{tops} tops for {bottoms} bottoms: give one for each but the selector")
        self.no_gradient = (bottoms - 1,)

    def top_shapes(self, *bottom_shapes):
        *shapes, selector = bottom_shapes
        if not selector or math.prod(selector) != selector[0]:
            raise ValueError(f"a selector of shape {tuple(selector)}: it has one value a row")
        if any(shape[:1] != selector[:1] for shape in shapes):
            rows = ", ".join(str(tuple(shape)) for shape in shapes)
            raise ValueError(f"bottoms of shape {rows}: the selector has {selector[0]} rows")
        return shapes  # an upper bound: a forward pass decides how many rows are selected

    def forward(self, params, *bottoms):
        self.top_shapes(*(x.shape for x in bottoms))
        *tables, selector = bottoms
        rows = selector.flatten().nonzero().flatten()
        return tuple(x.index_select(0, rows) for x in tables)
