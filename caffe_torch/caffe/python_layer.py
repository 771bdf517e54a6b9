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
import traceback
from collections.abc import Callable
from typing import Any

from .blob import Blob
from .proto import caffe_pb2


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
    """Make the program that a Python layer names.

    Args:
        spec: the layer.

    Returns:
        An object of its class.

    Raises:
        ValueError: the module or the class is missing.
        Exception: what importing the module or the constructor raises.
    """
    param = spec.python_param
    for name in ("module", "layer"):
        if not getattr(param, name):
            raise ValueError(f"python_param.{name} must be given")
    try:
        module = call(spec, "importing the module", importlib.import_module, param.module)
    except ModuleNotFoundError as error:
        if error.name != param.module.partition(".")[0]:
            raise
        raise ValueError(
            f"python_param.module {param.module!r}: no such module; "
            f"put the folder of {param.module}.py into PYTHONPATH"
        ) from None
    program = getattr(module, param.layer, None)
    if not (isinstance(program, type) and issubclass(program, Layer)):
        raise ValueError(
            f"python_param.layer {param.layer!r}: {param.module} has no such class of caffe.Layer"
        )
    return call(spec, "the constructor", program, spec)


# Errors of a program

_MESSAGE = "_caffe_layer"  # the attribute of an error that a program raised


def call(spec: caffe_pb2.LayerParameter, step: str, function: Callable, *arguments: object) -> Any:
    """Call a part of a layer's program.

    Args:
        spec: the layer.
        step: what the part does, for the message.
        function: the part.
        arguments: its arguments.

    Returns:
        What it returns.

    Raises:
        Exception: what it raises, as with pycaffe. A note (PEP 678) names the layer.
    """
    try:
        return function(*arguments)
    except Exception as error:
        if not failure(error):
            param = spec.python_param
            message = f"layer {spec.name!r} (Python, {param.module}.{param.layer}): {step} raised an error"
            setattr(error, _MESSAGE, message)
            error.__notes__ = [*getattr(error, "__notes__", ()), message]
        raise


def failure(error: BaseException) -> str:
    """Name the layer and the method whose program raised an error; "" for an error of any other origin."""
    return getattr(error, _MESSAGE, "")


def user_traceback(error: BaseException) -> str:
    """Format the traceback of an error that a program raised, from the program's own code on."""
    report = traceback.TracebackException.from_exception(error)
    in_call = [(frame.filename, frame.name) == (__file__, "call") for frame in report.stack]
    frames = report.stack[in_call.index(True) + 1 :] if any(in_call) else report.stack
    hidden = "<frozen importlib", importlib.__file__
    report.stack = traceback.StackSummary.from_list([f for f in frames if not f.filename.startswith(hidden)])
    report.__notes__ = [note for note in getattr(error, "__notes__", ()) if note != failure(error)]
    return "".join(report.format())
