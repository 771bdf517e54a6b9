"""A net: a NetParameter made into layers that run forward and backward over named blobs."""

from __future__ import annotations

import os
from collections import OrderedDict

import numpy as np
import torch

from . import build_log, debug_info, device, fillers, glog, layers, upgrade
from .blob import Blob, Shared
from .net_pycaffe import PycaffeNames
from .net_weights import NetWeights
from .node import Node, Parameter, plan_backward
from .proto import caffe_pb2
from .prototxt import LayerError, build_graph, check_numbers, read_prototxt, with_location
from .python_node import PythonNode

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST
_FILTERS = ("Convolution", "Deconvolution", "InnerProduct")


class Net(NetWeights, PycaffeNames):
    """A network in one phase.

    network_file: path of a prototxt, or a NetParameter. phase: TRAIN or TEST. weights: a .caffemodel or
    .caffemodel.h5 to load. level and stages: what include and exclude rules are held against, with the
    stages of the NetParameter's own state; level None leaves its level too.
    Also pycaffe's older form Net(network_file, weights, phase).

    ValueError names the layer and what is wrong with it; OSError a file that cannot be read.
    """

    def __init__(self, network_file, phase, level=0, stages=None, weights=None):
        if isinstance(phase, (str, os.PathLike)):
            weights, phase, level = phase, level, 0
        param, source = caffe_pb2.NetParameter(), None
        if isinstance(network_file, caffe_pb2.NetParameter):
            param.CopyFrom(network_file)
        else:
            source = os.fspath(network_file)
            read_prototxt(network_file, param)
        param.state.phase = phase
        if level is not None:
            param.state.level = level
        param.state.stage.extend(stages or ())
        self.phase, self.name = phase, param.name
        self.debug_info = param.debug_info  # whether each run logs what every layer makes
        try:
            upgrade.net(param, source)
            self._build(build_graph(param))
        except ValueError as error:
            raise with_location(error, source or "net", source, param.state) from None
        if glog.nets and glog.shows("I"):
            build_log.log(self, param)
        if weights is not None:
            self.copy_from(weights)

    # Building

    def _build(self, param):
        self.nodes: list[Node] = []
        self.blobs: OrderedDict[str, Blob] = OrderedDict()  # by name, in the order the layers make them
        self.loss_weights: OrderedDict[str, float] = OrderedDict()  # of the blobs that have one
        self._parameters: list[Parameter] = []  # each once, in the order of the layers
        self._hooks = {f"{when}_{way}": [] for when in ("before", "after") for way in ("forward", "backward")}
        if not param.layer:
            raise ValueError(f"no layers in phase {caffe_pb2.Phase.Name(self.phase)}")
        unread: dict = {}  # names of tops that no layer has read, in order
        named: dict = {}  # name -> Parameter, of those that layers share
        writers: dict = {}  # blob name -> type of the layer that wrote it last
        for spec in param.layer:
            try:
                self._add_node(spec, unread, named, writers)
            except ValueError as error:
                raise LayerError(spec, error) from None
        self.outputs = sorted(unread)
        self.inputs = [
            top
            for node in self.nodes
            if isinstance(node.layer, layers.input.Input)
            for top in node.layer.spec.top
        ]
        plan_backward(self.nodes, self.loss_weights, param.force_backward)

    def _add_node(self, spec, unread, named, writers):
        # As the file gives them: BatchNorm sets those of its statistics, which does not change the plan.
        rates = [param.lr_mult for param in spec.param]
        if not spec.HasField("phase"):
            spec.phase = self.phase
        check_numbers(spec)
        layer = layers.create(spec, spec.phase)
        automatic = layer.is_loss and not spec.top
        if automatic:
            spec.top.append(f"(automatic) {spec.name}" if "(automatic)" in self.blobs else "(automatic)")
        _check_counts(layer)
        for bottom in spec.bottom:
            unread.pop(bottom, None)
        for j, top in enumerate(spec.top):
            in_place = j < len(spec.bottom) and spec.bottom[j] == top
            if in_place and not layer.in_place:
                raise ValueError(f"cannot work in place: top {top!r} needs another name than the bottom")
            if top in self.blobs and not in_place:
                raise ValueError(f"top {top!r} is already the top of another layer")
            self.blobs.setdefault(top, Blob())
            if not automatic:
                unread[top] = True
        # A filter layer's output is its own memory; others may hand on a view of their bottom.
        in_place = spec.top[:1] == spec.bottom[:1]
        layer.overwrites = in_place and writers.get(spec.bottom[0]) in _FILTERS
        writers.update((top, layer.type) for top in spec.top)
        bottoms, tops = ([self.blobs[name] for name in names] for names in (spec.bottom, spec.top))
        layer.set_up(bottoms, tops)
        expected = layer.param_shapes(*(blob.shape for blob in bottoms))
        parameters = [self._parameter(layer, i, *one, named) for i, one in enumerate(expected)]
        layer.blob_shapes = [tuple(shape) for shape, _ in expected]
        layer.blobs = [
            parameter.blob if parameter.blob.shape == shape else Shared(parameter.blob, shape)
            for parameter, shape in zip(parameters, layer.blob_shapes, strict=True)
        ]
        if len(spec.param) > len(layer.blobs):
            raise ValueError(f"{len(spec.param)} param entries for {len(layer.blobs)} parameters")
        weights = layer.loss_weights()
        if layer.is_loss:
            spec.loss_weight[:] = weights
        self.loss_weights.update((top, w) for top, w in zip(spec.top, weights, strict=True) if w)
        node_class = PythonNode if isinstance(layer, layers.python.Python) else Node
        node = node_class(layer, bottoms, tops, parameters, rates)
        if node.needs_own_name and any(n.name == node.name and n.needs_own_name for n in self.nodes):
            raise ValueError(
                "another layer has the same name, and both have parameters or a place in the data"
            )
        self.nodes.append(node)
        self.nodes[-1].reshape(self.loss_weights)

    def _parameter(self, layer, i, shape, filler, named):
        """The layer's i-th Parameter: a new one, filled, or the one that another layer has by its name."""
        spec = layer.spec.param[i] if i < len(layer.spec.param) else caffe_pb2.ParamSpec()
        if spec.name and spec.name in named:
            _check_shared(spec, named[spec.name], tuple(shape))
            return named[spec.name]
        device.check_room(shape, f"parameter {i}")
        if layer.own_blobs:
            blob = layer.own_blobs[i]
        else:
            blob = Blob(shape)
            blob.tensor = fillers.fill(filler, shape).to(device.device())
        rates = {n: getattr(spec, n) for n in ("lr_mult", "decay_mult") if spec.HasField(n)}
        parameter = Parameter(blob, **rates)
        self._parameters.append(parameter)
        if spec.name:
            named[spec.name] = parameter
        return parameter

    # What a program sees (pycaffe's names)

    @property
    def layers(self) -> list:
        """The layers, in their order; the program's own object where a layer is written in Python."""
        return [getattr(node.layer, "program", node.layer) for node in self.nodes]

    @property
    def params(self) -> OrderedDict:
        """Lists of parameter blobs (weights, bias) by layer name."""
        return OrderedDict((node.name, node.layer.blobs) for node in self.nodes if node.layer.blobs)

    @property
    def layer_names(self) -> list:
        """Names of the layers, in their order."""
        return [node.name for node in self.nodes]

    @property
    def layer_dict(self) -> OrderedDict:
        """Layers by name."""
        return OrderedDict(zip(self.layer_names, self.layers, strict=True))

    @property
    def top_names(self) -> OrderedDict:
        """Names of the top blobs by layer name."""
        return OrderedDict((node.name, list(node.layer.spec.top)) for node in self.nodes)

    @property
    def bottom_names(self) -> OrderedDict:
        """Names of the bottom blobs by layer name."""
        return OrderedDict((node.name, list(node.layer.spec.bottom)) for node in self.nodes)

    @property
    def blob_loss_weights(self) -> OrderedDict:
        """The loss weight of every blob by name (0 for most)."""
        return OrderedDict((name, self.loss_weights.get(name, 0.0)) for name in self.blobs)

    # What the solver sees

    @property
    def needs_backward(self) -> list:
        """For each layer, whether it computes a gradient, `force_backward` apart."""
        return [node.needs_backward for node in self.nodes]

    @property
    def learnable_params(self) -> list:
        """Every parameter once, shared ones too, in the order of the layers."""
        return [parameter.blob for parameter in self._parameters]

    @property
    def params_lr(self) -> list:
        """lr_mult of each learnable parameter."""
        return [1.0 if p.lr_mult is None else p.lr_mult for p in self._parameters]

    @property
    def params_weight_decay(self) -> list:
        """decay_mult of each learnable parameter."""
        return [1.0 if p.decay_mult is None else p.decay_mult for p in self._parameters]

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        for parameter in self._parameters:
            parameter.blob.clear_grad()

    @property
    def source_blobs(self) -> list:
        """The blobs that data is brought into."""
        return [blob for node in self.nodes if node.is_source for blob in node.tops]

    def load(self) -> None:
        """Bring in the next batch, for `forward_loss(load=False)`."""
        for node in self.nodes:
            if node.is_source:
                node.load()

    def forward_loss(self, load=True) -> torch.Tensor:
        """Run every layer; the weighted sum of the losses as a 0-d tensor (nothing is synchronised).

        load: bring in the next batch first.
        """
        self._run(0, len(self.nodes) - 1, load)
        return self._loss(self.loss_weights)

    def _loss(self, names):
        total = torch.zeros((), device=device.device())
        for name in names:
            if name in self.loss_weights:
                total += self.loss_weights[name] * self.blobs[name].tensor.float().sum()
        return total

    def backward_once(self) -> None:
        """Gradients of all parameters, after `forward_loss`; frees what the layers had kept for it."""
        self._backward(len(self.nodes) - 1, 0, keep=False)
        if self.debug_info:
            debug_info.norms(self)

    # Running

    @property
    def has_hooks(self) -> bool:
        """Whether something is to be called between the layers."""
        return any(self._hooks.values()) or any(isinstance(node, PythonNode) for node in self.nodes)

    def before_forward(self, function) -> None:
        """Call `function(index of the layer)` before every layer that runs forward, from now on."""
        self._hooks["before_forward"].append(function)

    def after_forward(self, function) -> None:
        """Call `function(index of the layer)` after every layer that runs forward, from now on."""
        self._hooks["after_forward"].append(function)

    def before_backward(self, function) -> None:
        """Call `function(index of the layer)` before the gradients of every layer, needed or not."""
        self._hooks["before_backward"].append(function)

    def after_backward(self, function) -> None:
        """Call `function(index of the layer)` after the gradients of every layer, needed or not."""
        self._hooks["after_backward"].append(function)

    def _call(self, when, i):
        for function in self._hooks[when]:
            function(i)

    def _run(self, start, end, load=True):
        """Run the layers from number `start` to `end`; `load`: sources bring in their next batch."""
        with device.autocast():
            for i, node in enumerate(self.nodes[start : end + 1], start):
                node.tape = None
                self._call("before_forward", i)
                if not node.is_source:
                    node.forward()
                elif load:
                    node.load()
                if self.debug_info:
                    debug_info.forward(node)
                self._call("after_forward", i)
        for node in self.nodes[start : end + 1]:
            for blob in *node.tops, *node.layer.blobs:
                blob.sync_host()

    def _backward(self, start, end, keep=True):
        """Gradients from layer `start` down to `end`; `keep` lets it be called again."""
        for i in range(start, end - 1, -1):
            node = self.nodes[i]
            self._call("before_backward", i)
            if node.runs_backward:
                node.backward(keep)
                if self.debug_info:
                    debug_info.backward(node)
            self._call("after_backward", i)
        for node in self.nodes[end : start + 1]:
            for blob in *node.bottoms, *node.layer.blobs:
                blob.sync_host(diff=True)

    def _range(self, start, end, backward=False):
        """Layer indices from layer names, pycaffe's way; None stands for the net's own ends."""
        first, last = (len(self.nodes) - 1, 0) if backward else (0, len(self.nodes) - 1)
        names = self.layer_names
        for name in (start, end):
            if name is not None and name not in names:
                raise ValueError(f"the net has no layer {name!r}")
        return first if start is None else names.index(start), last if end is None else names.index(end)

    def forward(self, blobs=None, start=None, end=None, **kwargs):
        """Run the net and return {blob name: array} of its outputs.

        blobs: names of further blobs to return. start, end: names of the first and last layer to
        run. kwargs: arrays for the input blobs, all of them.
        """
        first, last = self._range(start, end)
        names = list(self.top_names[end]) if end is not None else list(self.outputs)
        if kwargs:
            if set(kwargs) != set(self.inputs):
                raise ValueError(f"inputs given: {sorted(kwargs)}; the net's inputs: {self.inputs}")
            for name, array in kwargs.items():
                _check_rows(array, self.blobs[name], f"input {name!r}")
                _assign(array, self.blobs[name].data, f"input {name!r}")
        self._run(first, last)
        return {name: self.blobs[name].data for name in dict.fromkeys([*names, *(blobs or [])])}

    def backward(self, diffs=None, start=None, end=None, **kwargs):
        """Run the net backward and return {blob name: gradient} of its inputs.

        diffs: names of further blobs to return gradients of. start, end: names of the layers to
        begin and stop at. kwargs: gradients for the output blobs (losses have theirs already).
        """
        first, last = self._range(start, end, backward=True)
        names = list(self.bottom_names[end]) if end is not None else list(self.inputs)
        if kwargs:
            outputs = self.outputs if start is None else self.top_names[start]
            if set(kwargs) != set(outputs):
                raise ValueError(f"gradients given: {sorted(kwargs)}; the outputs: {outputs}")
            for name, array in kwargs.items():
                _check_rows(array, self.blobs[name], f"gradient of {name!r}")
                _assign(array, self.blobs[name].diff, f"gradient of {name!r}")
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in dict.fromkeys([*names, *(diffs or [])])}

    def reshape(self) -> None:
        """Work out all shapes anew after input blobs were given others."""
        for node in self.nodes:
            if not node.is_source:
                try:
                    node.reshape(self.loss_weights)
                except ValueError as error:
                    raise node.error(error) from None


def _check_counts(layer):
    """ValueError where the layer has more or fewer bottoms or tops than its type takes."""
    for what, count, (least, most) in (
        ("bottom", len(layer.spec.bottom), layer.bottom_count),
        ("top", len(layer.spec.top), layer.top_count),
    ):
        if count < least or (most is not None and count > most):
            needs = f"{least}" if least == most else f"{least} to {most or 'any number'}"
            raise ValueError(f"has {count} {what}s, needs {needs}")


def _check_shared(spec, parameter, shape):
    """ValueError where `parameter` cannot be shared as a ParamSpec asks; takes over its multipliers."""
    permissive = spec.share_mode == caffe_pb2.ParamSpec.PERMISSIVE
    if permissive and parameter.blob.count != torch.Size(shape).numel():
        raise ValueError(f"parameter {spec.name!r} has another count where it is first used")
    if not permissive and parameter.blob.shape != shape:
        raise ValueError(
            f"parameter {spec.name!r} has the shape {shape} here and "
            f"{parameter.blob.shape} where it is first used"
        )
    for name in ("lr_mult", "decay_mult"):
        ours, theirs = getattr(spec, name), getattr(parameter, name)
        if spec.HasField(name) and theirs is not None and theirs != ours:
            raise ValueError(f"shared parameter {spec.name!r} has two values of {name}")
        if spec.HasField(name):
            setattr(parameter, name, ours)


def _check_rows(array, blob, what):
    """ValueError where an array has another number of rows than the blob it is for."""
    rows, expected = (shape[:1] or ("no",) for shape in (np.shape(array), blob.shape))
    if rows != expected:
        raise ValueError(f"{what}: {rows[0]} rows given, the net takes {expected[0]}")


def _assign(array, memory, what):
    try:
        memory[...] = array
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
