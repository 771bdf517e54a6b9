"""Arithmetic between blobs, with learned parameters, and within a blob: Eltwise, Scale, Bias, Reduction."""

import torch

from ..proto import caffe_pb2
from . import Layer, at_least_float32, canonical_axis, register

_PROD, _SUM = caffe_pb2.EltwiseParameter.PROD, caffe_pb2.EltwiseParameter.SUM


@register("Eltwise")
class Eltwise(Layer):
    """The product, weighted sum or maximum of bottoms of one shape. MAX ignores coefficients, as in Caffe."""

    options, supported = "eltwise_param", ("operation", "coeff", "stable_prod_grad")
    bottom_count = (2, None)

    def setup(self):
        coefficients, bottoms = len(self.opt.coeff), len(self.spec.bottom)
        if coefficients and self.opt.operation == _PROD:
            raise ValueError("eltwise_param.coeff: a PROD takes no coefficients, only a SUM does")
        if coefficients not in (0, bottoms):
            raise ValueError(f"eltwise_param.coeff: {coefficients} coefficients for {bottoms} bottoms")

    def top_shapes(self, *shapes):
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(f"the bottoms differ in shape: {', '.join(str(tuple(s)) for s in shapes)}")
        return shapes[:1]

    def forward(self, params, *bottoms):
        self.top_shapes(*(x.shape for x in bottoms))
        result, *rest = bottoms
        if self.opt.operation == _SUM:
            coefficients = list(self.opt.coeff) or [1.0] * len(bottoms)
            return sum(c * x if c != 1 else x for c, x in zip(coefficients, bottoms, strict=True))
        if self.opt.operation == _PROD:
            for x in rest:
                result = result * x
            return result
        # Of equal values Caffe's gradient goes to the second of the first two bottoms, else to the earlier.
        result = torch.where(result > rest[0], result, rest[0])
        for x in rest[1:]:
            result = torch.where(x > result, x, result)
        return result


class _Broadcast(Layer):
    """Base of Scale and Bias: a learned blob or the second bottom, broadcast from `axis` on."""

    bottom_count = (1, 2)
    in_place = True

    def param_shapes(self, shape, second=None):
        axis, count = self.opt.axis, self.opt.num_axes
        if second is not None:
            count = len(second)
        elif count < -1:
            raise ValueError(f"{self.options}.num_axes {count}: use -1 (all), 0 (a scalar) or more")
        self.axis = 0 if count == 0 else canonical_axis(axis, len(shape))
        last = len(shape) if count == -1 else self.axis + count
        if last > len(shape):
            raise ValueError(f"{count} axes from axis {axis} on do not fit a bottom of {len(shape)} axes")
        self.shape = shape[self.axis : last]
        return [] if second is not None else [(self.shape, self._filler())]

    def _filler(self):
        return self.opt.filler

    def top_shapes(self, shape, second=None):
        if second is not None and shape[self.axis : self.axis + len(second)] != second:
            raise ValueError(
                f"bottoms of shape {tuple(shape)} and {tuple(second)} do not fit from axis {self.axis}"
            )
        return [shape]

    def _expand(self, blob, x):
        """`blob` with axes of length 1 appended, so that it broadcasts over x."""
        self.top_shapes(x.shape, blob.shape)
        return blob.reshape((*blob.shape, *[1] * (x.dim() - self.axis - blob.dim())))


@register("Scale")
class Scale(_Broadcast):
    """The bottom times a learned blob or the second bottom; with bias_term, plus another learned blob."""

    options, supported = "scale_param", ("axis", "num_axes", "filler", "bias_term", "bias_filler")

    def param_shapes(self, shape, second=None):
        params = super().param_shapes(shape, second)
        return [*params, (self.shape, self.opt.bias_filler)] if self.opt.bias_term else params

    def _filler(self):
        return self.opt.filler if self.opt.HasField("filler") else caffe_pb2.FillerParameter(value=1)

    def forward(self, params, x, second=None):
        scale, *bias = params if second is None else [second, *params]
        y = x * self._expand(scale, x)
        return y + self._expand(bias[0], x) if bias else y


@register("Bias")
class Bias(_Broadcast):
    """The bottom plus a learned blob or the second bottom."""

    options, supported = "bias_param", ("axis", "num_axes", "filler")

    def forward(self, params, x, second=None):
        return x + self._expand(params[0] if second is None else second, x)


@register("Reduction")
class Reduction(Layer):
    """`coeff` times the sum, the sum of |x| or x^2, or the mean, over all axes from `axis` on."""

    options, supported = "reduction_param", ("operation", "axis", "coeff")

    def top_shapes(self, shape):
        return [shape[: self._axis(len(shape))]]

    def _axis(self, dims):
        return canonical_axis(self.opt.axis, dims)

    def forward(self, params, x):
        axis = self._axis(x.dim())
        rows = at_least_float32(x).reshape(*x.shape[:axis], -1)
        operation = caffe_pb2.ReductionParameter.ReductionOp.Name(self.opt.operation)
        if operation == "ASUM":
            rows = rows.abs()
        elif operation == "SUMSQ":
            rows = rows * rows
        total = rows.mean(-1) if operation == "MEAN" else rows.sum(-1)
        return total * self.opt.coeff
