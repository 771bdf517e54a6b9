"""Rows chosen by numbers that another blob holds: Embed, BatchReindex, Filter."""

import math

import torch

from . import Layer, register


def rows_at(table: torch.Tensor, places: torch.Tensor, name: str) -> torch.Tensor:
    """The rows of `table` at `places`, whole numbers of any shape: places.shape + the shape of a row.

    A place outside the table is an error on a CPU, where `name` says what it is. A GPU cannot report it, so
    it gives NaN.
    """
    count, places = table.shape[0], places.long()
    valid = (places >= 0) & (places < count)
    if table.is_cuda:
        rows = table[torch.where(valid, places, 0)]
        return torch.where(valid.reshape(*valid.shape, *[1] * (table.dim() - 1)), rows, math.nan)
    if not valid.all():
        wrong = places[~valid].flatten()[0]
        raise ValueError(f"the {name} {wrong} is outside 0 to {count - 1}")
    return table[places]


@register("Embed")
class Embed(Layer):
    """Row i of a learned table for every number i of the bottom, plus a bias; a new last axis."""

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
    """The rows of the first bottom in the order that the second lists; a row may come several times."""

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
    """The rows of every bottom but the last at which the last, the selector, is not 0."""

    bottom_count, top_count = (2, None), (1, None)

    def setup(self):
        bottoms, tops = len(self.spec.bottom), len(self.spec.top)
        if tops != bottoms - 1:
            raise ValueError(f"{tops} tops for {bottoms} bottoms: give one for each but the selector")
        self.no_gradient = (bottoms - 1,)

    def top_shapes(self, *shapes):
        *shapes, selector = shapes
        if not selector or math.prod(selector) != selector[0]:
            raise ValueError(f"a selector of shape {tuple(selector)}: it has one value a row")
        if any(shape[:1] != selector[:1] for shape in shapes):
            rows = ", ".join(str(tuple(shape)) for shape in shapes)
            raise ValueError(f"bottoms of shape {rows}: the selector has {selector[0]} rows")
        return shapes  # until a forward pass knows how many rows are selected

    def forward(self, params, *bottoms):
        self.top_shapes(*(x.shape for x in bottoms))
        *bottoms, selector = bottoms
        rows = selector.flatten().nonzero().flatten()
        return tuple(x.index_select(0, rows) for x in bottoms)
