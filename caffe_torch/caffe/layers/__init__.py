"""Caffe's layers, one file a family, and their registry by Caffe's type names.

A layer defines the shapes of its parameters and its forward pass in PyTorch; autograd computes gradients. By
default the shapes of the tops come from `forward` on meta tensors. Most layers define `top_shapes`, because
PyTorch loads its compiler for most operations on meta tensors, which takes seconds.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import torch

from .. import device, net_spec
from ..proto import caffe_pb2

_REGISTRY: dict[str, type[Layer]] = {}


class Layer:
    """A layer of a net.

    Args:
        spec: its LayerParameter.
        phase: TRAIN or TEST.

    Raises:
        ValueError: Caffe refuses a setting, or it is not supported here; the message names the field.
    """

    type = ""  # Caffe's name, set by `register`
    bottom_count: tuple[int, int | None] = (1, 1)  # minimum and maximum; None: no maximum
    top_count: tuple[int, int | None] = (1, 1)
    is_loss = False  # whether its first top has loss weight 1 by default
    in_place = False  # whether a top may be the bottom of the same index
    no_gradient: tuple[int, ...] = ()  # indices of bottoms without a gradient, such as labels
    options = ""  # the LayerParameter field that holds its settings, if any
    supported: tuple[str, ...] = ()  # the supported settings; any other is an error

    def __init__(self, spec: caffe_pb2.LayerParameter, phase: int):
        self.spec, self.phase = spec, phase
        self.blobs: list = []  # its parameters, set by the net
        self.own_blobs: list = []  # those that the layer creates itself, with their values
        self.blob_shapes: list = []  # the shapes it requires; a program may reshape the blobs
        # Set by the net: whether `forward` runs again, for the gradient alone, and so leaves no traces.
        self.is_repeated = False
        self.overwrites = False  # set by the net: whether `forward` may write to the bottom's memory
        # The message of its settings; protobuf makes the class at run time.
        self.opt: Any = getattr(spec, self.options) if self.options else None
        if self.opt is not None:
            for field, _ in self.opt.ListFields():
                if field.name not in self.supported and field.name != "engine":
                    raise ValueError(f"{self.options}.{field.name} is not supported")
        # Caffe's log lines about its data: where it opens a database, and where it is set up.
        self.opening_lines: list = []
        self.setup_lines: list = []
        self.setup()

    def setup(self) -> None:
        """Read and check the settings.

        Raises:
            ValueError: a setting is wrong.
        """

    def set_up(self, bottoms: list, tops: list) -> None:
        """Look at the blobs once, before the net creates the parameters.

        Raises:
            ValueError: the bottoms do not fit.
        """

    def loss_weights(self) -> list:
        """The loss weight of each top.

        Raises:
            ValueError: the settings have another number of weights.
        """
        weights = list(self.spec.loss_weight)
        if len(weights) not in (0, len(self.spec.top)):
            raise ValueError(f"loss_weight: give one for each of the {len(self.spec.top)} tops")
        return weights or [float(self.is_loss and j == 0) for j in range(len(self.spec.top))]

    def param_shapes(self, *bottom_shapes: tuple) -> list:
        """The shape and FillerParameter of each parameter, in Caffe's order.

        Raises:
            ValueError: the bottoms do not fit.
        """
        return []

    def top_shapes(self, *bottom_shapes: tuple) -> list:
        """The shape of each top.

        Raises:
            ValueError: the bottoms do not fit.
        """
        params = [torch.empty(dims, device="meta") for dims in self.blob_shapes]
        with torch.no_grad():
            tops = self.run(params, [torch.empty(dims, device="meta") for dims in bottom_shapes])
        return [top.shape for top in tops]

    def params(self) -> list:
        """The parameters as tensors of the required shapes, for `forward`.

        Raises:
            ValueError: a program has given a parameter another count.
        """
        pairs = zip([blob.tensor for blob in self.blobs], self.blob_shapes, strict=True)
        try:
            return [tensor if tensor.shape == dims else tensor.view(dims) for tensor, dims in pairs]
        except RuntimeError:
            shapes = [blob.shape for blob in self.blobs]
            raise ValueError(
                f"layer {self.spec.name!r} ({self.type}): its parameters have the shapes {shapes} now, "
                f"which do not fit {self.blob_shapes}"
            ) from None

    def run(self, params: list, bottoms: list) -> tuple:
        """Run `forward`.

        Args:
            params: the parameters, tensors.
            bottoms: the bottoms, tensors.

        Returns:
            A tuple of the tops.

        Raises:
            ValueError: the bottoms do not fit, by the layer or by PyTorch.
        """
        try:
            result = self.forward(params, *bottoms)
        except (RuntimeError, IndexError) as error:
            if device.out_of_memory(error):
                raise
            shapes = ", ".join(str(tuple(x.shape)) for x in bottoms)
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"does not fit bottoms of shape {shapes}: {reason}") from None
        return result if isinstance(result, tuple) else (result,)

    def forward(self, params: list, *bottoms: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Compute the top, or a tuple of tops, from the parameters and bottoms; differentiable."""
        raise NotImplementedError


class Source(Layer):
    """A layer without bottoms, which loads data into the net."""

    bottom_count = (0, 0)

    def top_shapes(self, *bottom_shapes: tuple) -> list:
        """The shape of each top."""
        raise NotImplementedError

    def load(self) -> list:
        """Load the next batch: a tensor for each top, on the current device.

        Raises:
            ValueError: the data cannot be read.
        """
        raise NotImplementedError


def register(name: str) -> Callable[[type], type]:
    """Class decorator: add a layer to the registry.

    Args:
        name: Caffe's type name.
    """

    def add(cls):
        cls.type = name
        _REGISTRY[name] = cls
        return cls

    return add


def create(spec: caffe_pb2.LayerParameter, phase: int) -> Layer:
    """Make the layer that `spec.type` names.

    Raises:
        ValueError: the type or a setting is not supported.
    """
    if spec.type not in _REGISTRY:
        raise ValueError(_refusal(spec.type))
    return _REGISTRY[spec.type](spec, phase)


_RECURRENT = ("LSTM", "LSTMUnit", "RNN")
_INSTEAD = "write it as a Python layer (caffe.Layer; caffe_torch/README.md, Layers)"


def _refusal(name):
    """Why a layer type is refused, and what to do instead."""
    if not name:
        return "type must be given"
    refused = f"layer type {name!r} is not supported"
    if name in _RECURRENT:
        return (
            f"{refused}: recurrent nets are outside the scope of this package; {_INSTEAD}, unroll the steps "
            "into InnerProduct layers that share parameters by name, or use BVLC Caffe"
        )
    types_by_lower_case = {type_name.lower(): type_name for type_name in type_list()}
    nearest = [
        types_by_lower_case[match] for match in difflib.get_close_matches(name.lower(), types_by_lower_case)
    ]
    similar = f"; the nearest are {', '.join(nearest)}" if nearest else ""
    return f"{refused}{similar}; if it is a type of another Caffe fork, {_INSTEAD}"


def type_list() -> list:
    """The supported layer types, sorted (pycaffe's layer_type_list)."""
    return sorted(_REGISTRY)


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Convert tensors of fewer bits to float32, which sums over many values need."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def canonical_axis(axis: int, dims: int) -> int:
    """Convert a possibly negative axis to its index from the front.

    Raises:
        ValueError: it is outside -dims .. dims - 1.
    """
    if not -dims <= axis < dims:
        raise ValueError(f"axis {axis} is outside a blob of {dims} axes")
    return axis % dims


def __getattr__(name):
    """This module is also pycaffe's L: `L.Convolution(bottom, num_output=64)`; see net_spec.py."""
    if not name[:1].isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(net_spec.layers, name)


from . import (  # noqa: E402, F401  (fill the registry)
    arithmetic,
    convolution,
    data,
    images,
    input,
    lookup,
    loss,
    margin,
    neuron,
    normalisation,
    pooling,
    python,
    shape,
    windows,
)
