"""Blobs that no layer computes: Input, set by the program, and Parameter, learned."""

from ..proto import caffe_pb2
from . import Layer, Source, register


@register("Input")
class Input(Source):
    """Tops of the given shapes, whose values the program sets."""

    options, supported = "input_param", ("shape",)
    top_count = (1, None)

    def setup(self):
        shapes, tops = len(self.opt.shape), len(self.spec.top)
        if shapes not in (0, 1, tops):
            raise ValueError(f"input_param has {shapes} shapes for {tops} tops: give one, or one each")

    def top_shapes(self):
        shapes = [tuple(shape.dim) for shape in self.opt.shape] or [()]
        return shapes if len(shapes) == len(self.spec.top) else shapes * len(self.spec.top)

    def load(self):
        return []


@register("Parameter")
class Parameter(Layer):
    """A learned blob: the top is the layer's only parameter, of the given shape."""

    options, supported = "parameter_param", ("shape",)
    bottom_count = (0, 0)

    def param_shapes(self):
        return [(tuple(self.opt.shape.dim), caffe_pb2.FillerParameter())]

    def top_shapes(self):
        return [tuple(self.opt.shape.dim)]

    def forward(self, params):
        return params[0].view_as(params[0])
