"""Caffe's layers, a family a file, found by Caffe's type name in one registry.

A layer is the shape of its parameters and a line or two of PyTorch. Gradients come from autograd. Top
shapes come from running `forward` on tensors without storage, unless the layer says them: for most
operations on such tensors PyTorch loads its compiler, as long a wait as for PyTorch itself.
"""

import torch

from .. import device, net_spec
from ..proto import caffe_pb2

_REGISTRY: dict = {}


class Layer:
    """One layer of a net.

    spec: its LayerParameter; phase: caffe_pb2.TRAIN or TEST. ValueError for settings that Caffe
    refuses or that are not supported here, naming the field.
    """

    type = ""  # Caffe's name, set by `register`
    bottom_count = (1, 1)  # least and most; None: any number
    top_count = (1, 1)
    is_loss = False  # its first top has loss weight 1 unless the prototxt says otherwise
    in_place = False  # whether a top may have the name of the bottom at its place
    no_gradient: tuple = ()  # bottoms that no gradient is sent to: labels, scores to be counted
    options = ""  # the LayerParameter field that holds its settings, if any
    supported: tuple = ()  # the settings it honours; another one set is an error

    def __init__(self, spec: caffe_pb2.LayerParameter, phase: int):
        self.spec, self.phase = spec, phase
        self.blobs: list = []  # its parameters, given by the net
        self.own_blobs: list = []  # those that it makes itself, with their values
        self.blob_shapes: list = []  # those it asked for, whatever a program gave the blobs since
        self.overwrites = False  # set by the net: nothing else needs what the bottom holds
        self.opt = getattr(spec, self.options) if self.options else None
        if self.opt is not None:
            for field, _ in self.opt.ListFields():
                if field.name not in self.supported and field.name != "engine":
                    raise ValueError(f"{self.options}.{field.name} is not supported")
        # What Caffe's log says of its data: where it opens a database, and where it is set up.
        self.opening_lines: list = []
        self.setup_lines: list = []
        self.setup()

    def setup(self) -> None:
        """Read and check the settings."""

    def set_up(self, bottoms: list, tops: list) -> None:
        """Take a first look at the blobs, once, before the parameters are made."""

    def loss_weights(self) -> list:
        """What each top counts for in the loss; ValueError where the settings say another number of them."""
        given = list(self.spec.loss_weight)
        if len(given) not in (0, len(self.spec.top)):
            raise ValueError(f"loss_weight: give one for each of the {len(self.spec.top)} tops")
        return given or [float(self.is_loss and j == 0) for j in range(len(self.spec.top))]

    def param_shapes(self, *bottom_shapes: tuple) -> list:
        """[(shape, FillerParameter), ...] of the parameters, in Caffe's order."""
        return []

    def top_shapes(self, *bottom_shapes: tuple) -> list:
        """The shape of each top; ValueError for bottoms that do not fit."""
        params = [torch.empty(wanted, device="meta") for wanted in self.blob_shapes]
        with torch.no_grad():
            tops = self.run(params, [torch.empty(shape, device="meta") for shape in bottom_shapes])
        return [top.shape for top in tops]

    def params(self) -> list:
        """Its parameters as `forward` takes them."""
        wanted = zip([blob.tensor for blob in self.blobs], self.blob_shapes, strict=True)
        try:
            return [tensor if tensor.shape == dims else tensor.view(dims) for tensor, dims in wanted]
        except RuntimeError:
            given = [blob.shape for blob in self.blobs]
            raise ValueError(
                f"layer {self.spec.name!r} ({self.type}): its parameters have the shapes {given} now, "
                f"which do not fit {self.blob_shapes}"
            ) from None

    def run(self, params: list, bottoms: list) -> tuple:
        """The tops; ValueError where PyTorch finds that the bottoms do not fit."""
        try:
            result = self.forward(params, *bottoms)
        except (RuntimeError, IndexError) as error:
            if device.out_of_memory(error):
                raise
            shapes = ", ".join(str(tuple(x.shape)) for x in bottoms)
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"does not fit bottoms of shape {shapes}: {reason}") from None
        return result if isinstance(result, tuple) else (result,)

    def forward(self, params: list, *bottoms: torch.Tensor):
        """The top, or a tuple of tops, from the parameters and bottoms; differentiable."""
        raise NotImplementedError


class Source(Layer):
    """A layer without bottoms: it brings data into the net."""

    bottom_count = (0, 0)

    def top_shapes(self) -> list:
        """The shape of each top."""
        raise NotImplementedError

    def load(self) -> list:
        """The next batch, a tensor for each top, on the device in force."""
        raise NotImplementedError


def register(name: str):
    """Class decorator: make a layer known under Caffe's type name."""

    def add(cls):
        cls.type = name
        _REGISTRY[name] = cls
        return cls

    return add


def create(spec: caffe_pb2.LayerParameter, phase: int) -> Layer:
    """The layer that `spec.type` names; ValueError for a type that is not supported."""
    if spec.type not in _REGISTRY:
        raise ValueError(f"layer type {spec.type!r} is not supported; supported are {', '.join(type_list())}")
    return _REGISTRY[spec.type](spec, phase)


def type_list() -> list:
    """The supported layer types, sorted (pycaffe's layer_type_list)."""
    return sorted(_REGISTRY)


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor`, in float32 where it had fewer bits: sums over many values need them."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def canonical_axis(axis: int, dims: int) -> int:
    """`axis` counted from the front; ValueError outside -dims .. dims-1."""
    if not -dims <= axis < dims:
        raise ValueError(f"axis {axis} is outside a blob of {dims} axes")
    return axis % dims


def __getattr__(name):
    """caffe.layers is also pycaffe's L: `L.Convolution(bottom, num_output=64)`; see net_spec.py."""
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
