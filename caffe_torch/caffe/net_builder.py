"""Builds a net layer by layer: names are checked, blobs made, parameters filled or shared."""

from __future__ import annotations

from collections import OrderedDict

import torch

from . import device, fillers, layers, python_layer
from .blob import Blob, Shared
from .node import Node, Parameter
from .proto import caffe_pb2
from .prototxt import LayerError, check_numbers
from .python_node import PythonNode

_FILTERS = ("Convolution", "Deconvolution", "InnerProduct")


class NetBuilder:
    """The part of a net that is built so far.

    nodes: the layers, in order. blobs: by name, in the order the layers make them. loss_weights: by name, of
    the blobs that have one. parameters: each once, in the order of the layers. unread: names of the tops that
    no layer reads so far.
    """

    def __init__(self, phase: int):
        self.nodes: list[Node] = []
        self.blobs: OrderedDict[str, Blob] = OrderedDict()
        self.loss_weights: OrderedDict[str, float] = OrderedDict()
        self.parameters: list[Parameter] = []
        self.unread: dict[str, bool] = {}  # a dict for its order
        self._phase = phase
        self._named: dict[str, Parameter] = {}  # those that layers may share
        self._writers: dict[str, str] = {}  # blob name -> type of the last layer that wrote it

    def add_layer(self, spec: caffe_pb2.LayerParameter) -> None:
        """Append a layer.

        Args:
            spec: its LayerParameter; missing values are filled in.

        Raises:
            LayerError: the layer does not fit the net, or its settings are wrong.
        """
        try:
            self._add_layer(spec)
        except ValueError as error:
            if python_layer.failure(error):
                raise
            raise LayerError(spec, error) from None

    def _add_layer(self, spec):
        # Read before the layer is made: BatchNorm sets rates, which does not change the plan.
        rates = [param.lr_mult for param in spec.param]
        if not spec.HasField("phase"):
            spec.phase = self._phase
        check_numbers(spec)
        layer = layers.create(spec, spec.phase)
        automatic = layer.is_loss and not spec.top
        if automatic:
            spec.top.append(f"(automatic) {spec.name}" if "(automatic)" in self.blobs else "(automatic)")
        _check_counts(layer)
        for bottom in spec.bottom:
            self.unread.pop(bottom, None)
        self._add_tops(layer, automatic)
        # A filter layer's output has memory of its own; other layers may return a view of their bottom.
        in_place = bool(spec.top) and spec.top[:1] == spec.bottom[:1]
        layer.overwrites = in_place and self._writers.get(spec.bottom[0]) in _FILTERS
        self._writers.update((top, layer.type) for top in spec.top)
        bottoms, tops = ([self.blobs[name] for name in names] for names in (spec.bottom, spec.top))
        layer.set_up(bottoms, tops)
        parameters = self._add_parameters(layer, [blob.shape for blob in bottoms])
        weights = layer.loss_weights()
        if layer.is_loss:
            spec.loss_weight[:] = weights
        self.loss_weights.update((top, w) for top, w in zip(spec.top, weights, strict=True) if w)
        node_class = PythonNode if isinstance(layer, layers.python.Python) else Node
        node = node_class(layer, bottoms, tops, parameters, rates)
        if node.needs_own_name and any(n.name == node.name and n.needs_own_name for n in self.nodes):
            raise ValueError(
                "another layer has the same name, and both have parameters or a position in the data"
            )
        self.nodes.append(node)
        node.reshape(self.loss_weights)

    def _add_tops(self, layer, automatic):
        spec = layer.spec
        for j, top in enumerate(spec.top):
            in_place = j < len(spec.bottom) and spec.bottom[j] == top
            if in_place and not layer.in_place:
                raise ValueError(f"cannot work in place: top {top!r} needs another name than the bottom")
            if top in self.blobs and not in_place:
                raise ValueError(f"top {top!r} is already the top of another layer")
            self.blobs.setdefault(top, Blob())
            if not automatic:
                self.unread[top] = True

    def _add_parameters(self, layer, bottom_shapes):
        """Give the layer its blobs; the Parameter of each."""
        expected = layer.param_shapes(*bottom_shapes)
        parameters = [self._parameter(layer, i, shape, filler) for i, (shape, filler) in enumerate(expected)]
        layer.blob_shapes = [tuple(shape) for shape, _ in expected]
        layer.blobs = [
            parameter.blob if parameter.blob.shape == shape else Shared(parameter.blob, shape)
            for parameter, shape in zip(parameters, layer.blob_shapes, strict=True)
        ]
        if len(layer.spec.param) > len(layer.blobs):
            raise ValueError(f"{len(layer.spec.param)} param entries for {len(layer.blobs)} parameters")
        return parameters

    def _parameter(self, layer, i, shape, filler):
        """The layer's i-th Parameter: a new one, filled, or the one that another layer shares by its name."""
        spec = layer.spec.param[i] if i < len(layer.spec.param) else caffe_pb2.ParamSpec()
        if spec.name and spec.name in self._named:
            _check_shared(spec, self._named[spec.name], tuple(shape))
            return self._named[spec.name]
        device.require_memory(shape, f"parameter {i}")
        if layer.own_blobs:
            blob = layer.own_blobs[i]
        else:
            blob = Blob(shape)
            blob.tensor = fillers.fill(filler, shape).to(device.device())
        rates = {n: getattr(spec, n) for n in ("lr_mult", "decay_mult") if spec.HasField(n)}
        parameter = Parameter(blob, **rates)
        self.parameters.append(parameter)
        if spec.name:
            self._named[spec.name] = parameter
        return parameter


def _check_counts(layer):
    """ValueError where the layer has more or fewer bottoms or tops than its type takes."""
    for end, count, (minimum, maximum) in (
        ("bottom", len(layer.spec.bottom), layer.bottom_count),
        ("top", len(layer.spec.top), layer.top_count),
    ):
        if count < minimum or (maximum is not None and count > maximum):
            needs = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum or 'any number'}"
            raise ValueError(f"has {count} {end}s, needs {needs}")


def _check_shared(spec, parameter, shape):
    """ValueError where `parameter` cannot be shared as a ParamSpec asks; its multipliers are added."""
    permissive = spec.share_mode == caffe_pb2.ParamSpec.PERMISSIVE
    if permissive and parameter.blob.count != torch.Size(shape).numel():
        raise ValueError(f"parameter {spec.name!r} has another count where it is first used")
    if not permissive and parameter.blob.shape != shape:
        raise ValueError(
            f"parameter {spec.name!r} has the shape {shape} here and "
            f"{parameter.blob.shape} where it is first used"
        )
    for name in ("lr_mult", "decay_mult"):
        value, shared_value = getattr(spec, name), getattr(parameter, name)
        if spec.HasField(name) and shared_value is not None and shared_value != value:
            raise ValueError(f"shared parameter {spec.name!r} has two values of {name}")
        if spec.HasField(name):
            setattr(parameter, name, value)
