"""Layers that the net's author writes in Python; see python_layer.py."""

from .. import parallel, python_layer
from ..proto import caffe_pb2
from . import Layer, register


@register("Python")
class Python(Layer):
    """Runs `python_param.layer`, a class of the module `python_param.module`."""

    options, supported = "python_param", ("module", "layer", "param_str", "share_in_parallel")
    bottom_count, top_count = (0, None), (0, None)
    in_place = True

    def setup(self):
        if parallel.count > 1:
            raise ValueError("Python layers are for one process: they do not divide their data among several")
        self.program = python_layer.create(self.spec)

    def set_up(self, bottoms, tops):
        python_layer.call(self.spec, "setup", self.program.setup, bottoms, tops)
        self.own_blobs = list(self.program.blobs)

    def param_shapes(self, *bottom_shapes):
        return [(blob.shape, caffe_pb2.FillerParameter()) for blob in self.own_blobs]

    def top_shapes(self, *bottom_shapes):
        raise AssertionError("a program gives its tops their shapes: PythonNode.reshape")
