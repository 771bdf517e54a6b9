"""Input: blobs that the program fills."""

from . import Source, register


@register("Input")
class Input(Source):
    """Tops of the given shapes; their contents are the program's business."""

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
