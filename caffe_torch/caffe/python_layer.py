"""caffe.Layer: the base of layers that are written in Python, as pycaffe has it.

class Mean(caffe.Layer):
    def setup(self, bottom, top): ...                     # once, when the net is built
    def reshape(self, bottom, top): top[0].reshape(1)     # before every forward pass
    def forward(self, bottom, top): top[0].data[0] = bottom[0].data.mean()
    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = top[0].diff[0] / bottom[0].count

A net names it by `type: "Python"` and `python_param { module: "MODULE" layer: "Mean" param_str: "..." }`.
Such a net is a program: building it imports the module and runs its code.
"""

from __future__ import annotations

import importlib
import os
import traceback

from .blob import Blob
from .proto import caffe_pb2


class PythonLayerError(RuntimeError):
    """The program of a Python layer raised; __cause__ is what it raised."""

    def user_traceback(self) -> str:
        """The traceback of the program's own code, without the frames of this package."""
        error = self.__cause__
        if error is None:
            return ""
        package = os.path.dirname(__file__)
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if os.path.dirname(frame.filename) != package]
        lines = traceback.format_list(theirs) + traceback.format_exception_only(error)
        return "Traceback (most recent call last):\n" + "".join(lines)


class BlobVec(list):
    """A layer's parameters, as `setup` adds them."""

    def add_blob(self, *shape: int) -> None:
        """Add a parameter of this shape, filled with zeros."""
        self.append(Blob(shape))


class Layer:
    """What the class of a Python layer inherits.

    blobs: its parameters; `setup` adds them by `self.blobs.add_blob(*shape)`. phase: TRAIN or TEST.
    param_str: the text that the net gives it. type: "Python".
    The methods take lists of blobs; `propagate_down` says for which bottoms a gradient is needed.
    """

    type = "Python"

    def __init__(self, spec: caffe_pb2.LayerParameter):
        self.blobs = BlobVec()
        self.phase = spec.phase
        self.param_str = spec.python_param.param_str

    def setup(self, bottom, top):
        """Read `param_str`, check the bottoms, add parameters."""
        raise NotImplementedError("has no method setup")

    def reshape(self, bottom, top):
        """Give the tops their shapes."""
        raise NotImplementedError("has no method reshape")

    def forward(self, bottom, top):
        """Write top[i].data."""
        raise NotImplementedError("has no method forward")

    def backward(self, top, propagate_down, bottom):
        """Write bottom[i].diff where propagate_down[i], and add to the diff of the parameters."""
        raise NotImplementedError("has no method backward")


def create(spec: caffe_pb2.LayerParameter) -> Layer:
    """The program that a Python layer names.

    Raises: ValueError where module or class are missing; PythonLayerError where importing or
    constructing it raises.
    """
    param = spec.python_param
    for name in ("module", "layer"):
        if not getattr(param, name):
            raise ValueError(f"python_param.{name} must be given")
    try:
        module = importlib.import_module(param.module)
    except ModuleNotFoundError as error:
        if error.name != param.module.partition(".")[0]:
            raise _raised(spec, "importing the module") from error
        raise ValueError(
            f"python_param.module {param.module!r}: no such module; "
            f"put the folder of {param.module}.py into PYTHONPATH"
        ) from None
    except Exception as error:
        raise _raised(spec, "importing the module") from error
    program = getattr(module, param.layer, None)
    if not (isinstance(program, type) and issubclass(program, Layer)):
        raise ValueError(
            f"python_param.layer {param.layer!r}: {param.module} has no such class of caffe.Layer"
        )
    return call(spec, "the constructor", program, spec)


def call(spec: caffe_pb2.LayerParameter, what: str, function, *arguments):
    """Call a part of a layer's program; PythonLayerError, with the layer's name, where it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        raise _raised(spec, what) from error


def _raised(spec, what):
    param = spec.python_param
    return PythonLayerError(
        f"layer {spec.name!r} (Python, {param.module}.{param.layer}): {what} raised an error"
    )
