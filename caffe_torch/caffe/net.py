"""A net: the layers of a NetParameter, which run forward and backward over named blobs."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import torch

from . import build_log, debug_info, device, glog, layers, python_layer, upgrade
from .net_builder import NetBuilder
from .net_pycaffe import HOOKS, PycaffeNames
from .net_weights import NetWeights
from .node import plan_backward
from .proto import caffe_pb2
from .prototxt import build_graph, read_prototxt, with_location
from .python_node import PythonNode

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST


class Net(NetWeights, PycaffeNames):
    """A network in one phase.

    Args:
        network_file: the path of a prototxt, or a NetParameter.
        phase: TRAIN or TEST.
        level: the level that include and exclude rules test; None keeps that of the NetParameter's own state.
        stages: stages that the rules test, added to those of the NetParameter's own state.
        weights: a .caffemodel or .caffemodel.h5 to load.

    pycaffe's older form Net(network_file, weights, phase) is accepted too.

    Raises:
        ValueError: the net is wrong; the message names the layer and the fault.
        OSError: a file cannot be read.
        Exception: what the program of a Python layer raises.
    """

    def __init__(
        self,
        network_file: str | os.PathLike | caffe_pb2.NetParameter,
        phase: int | str | os.PathLike,
        level: int | None = 0,
        stages: Iterable[str] | None = None,
        weights: str | os.PathLike | None = None,
    ):
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
        self.debug_info = param.debug_info  # whether each run logs the magnitudes of all blobs
        try:
            upgrade.net(param, source)
            self._build(build_graph(param))
        except ValueError as error:
            if python_layer.failure(error):
                raise
            raise with_location(error, source or "net", source, param.state) from None
        if glog.nets and glog.shows("I"):
            build_log.log(self, param)
        if weights is not None:
            self.copy_from(weights)

    def _build(self, param):
        self._hooks = {hook: [] for hook in HOOKS}
        if not param.layer:
            raise ValueError(f"no layers in phase {caffe_pb2.Phase.Name(self.phase)}")
        builder = NetBuilder(self.phase)
        for spec in param.layer:
            builder.add_layer(spec)
        self.nodes, self.blobs, self._parameters = builder.nodes, builder.blobs, builder.parameters
        self.loss_weights = builder.loss_weights
        self.outputs = sorted(builder.unread)
        self.inputs = [
            top
            for node in self.nodes
            if isinstance(node.layer, layers.input.Input)
            for top in node.layer.spec.top
        ]
        self._has_programs = any(isinstance(node, PythonNode) for node in self.nodes)
        plan_backward(self.nodes, self.loss_weights, param.force_backward)

    # For the solver

    @property
    def needs_backward(self) -> list:
        """For each layer, whether it takes part in the backward pass; `force_backward` does not count."""
        return [node.needs_backward for node in self.nodes]

    @property
    def learnable_params(self) -> list:
        """The parameter blobs, each once, in the order of the layers."""
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
        """The tops of the layers that load data."""
        return [blob for node in self.nodes if node.is_source for blob in node.tops]

    def load(self) -> None:
        """Load the next batch, for `forward_loss(load=False)`."""
        for node in self.nodes:
            if node.is_source:
                node.load()

    def forward_loss(self, load: bool = True) -> torch.Tensor:
        """Run every layer forward, without waiting for a GPU.

        Args:
            load: whether to load the next batch first.

        Returns:
            The weighted sum of the losses, a 0-d tensor.

        Raises:
            ValueError: a layer cannot run.
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
        """Compute the gradients of all parameters after `forward_loss`, and free the autograd tapes.

        Raises:
            ValueError: a layer has no gradient for a bottom that needs one.
        """
        self._backward(len(self.nodes) - 1, 0, keep=False)
        if self.debug_info:
            debug_info.norms(self)

    # Running

    @property
    def has_hooks(self) -> bool:
        """Whether there is Python to call between the layers: functions, or layers written in it."""
        return self._has_programs or any(self._hooks.values())

    def _call_hooks(self, hook, i):
        for function in self._hooks[hook]:
            function(i)

    def _refresh(self):
        for blob in self.blobs.values():
            blob.refresh()

    def _run(self, start, end, load=True):
        """Run the layers of index `start` to `end`. `load`: whether sources load their next batch."""
        self._refresh()
        with device.autocast():
            for i, node in enumerate(self.nodes[start : end + 1], start):
                node.tape = None
                self._call_hooks("before_forward", i)
                if not node.is_source:
                    node.forward()
                elif load:
                    node.load()
                if self.debug_info:
                    debug_info.forward(node)
                self._call_hooks("after_forward", i)
        for node in self.nodes[start : end + 1]:
            for blob in *node.tops, *node.layer.blobs:
                blob.sync_host()

    def _backward(self, start, end, keep=True):
        """Run the layers of index `start` down to `end` backward. `keep`: allow another backward pass."""
        self._refresh()
        for i in range(start, end - 1, -1):
            node = self.nodes[i]
            self._call_hooks("before_backward", i)
            if node.runs_backward:
                node.backward(keep)
                if self.debug_info:
                    debug_info.backward(node)
            self._call_hooks("after_backward", i)
        for node in self.nodes[end : start + 1]:
            for blob in *node.bottoms, *node.layer.blobs:
                blob.sync_host(diff=True)

    def _range(self, start, end, backward=False):
        """The indices of the first and last layer to run; None stands for the ends of the net."""
        first, last = (len(self.nodes) - 1, 0) if backward else (0, len(self.nodes) - 1)
        names = self.layer_names
        for name in (start, end):
            if name is not None and name not in names:
                raise ValueError(f"the net has no layer {name!r}")
        return first if start is None else names.index(start), last if end is None else names.index(end)

    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **kwargs: np.ndarray,
    ) -> dict:
        """Run the net forward.

        Args:
            blobs: names of further blobs to return.
            start: the name of the first layer to run.
            end: the name of the last layer to run; its tops are then returned for the outputs.
            kwargs: arrays for the input blobs, all of them or none.

        Returns:
            {blob name: array} of the outputs and of `blobs`.

        Raises:
            ValueError: an input does not fit, no layer has such a name, or a layer cannot run.
            Exception: what the program of a Python layer raises.
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

    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **kwargs: np.ndarray,
    ) -> dict:
        """Run the net backward: after `forward`, or at the values that the blobs have.

        Args:
            diffs: names of further blobs to return the gradients of.
            start: the name of the first layer to run.
            end: the name of the last layer to run; its bottoms are then returned for the inputs.
            kwargs: gradients for the output blobs; losses have theirs already.

        Returns:
            {blob name: gradient} of the inputs and of `diffs`.

        Raises:
            ValueError: a gradient does not fit, no layer has such a name, or a layer has no gradient for a
                bottom that needs one.
            Exception: what the program of a Python layer raises.
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
        """Update the shapes of all blobs after the input blobs were reshaped.

        Raises:
            ValueError: a layer cannot take the new shapes.
        """
        for node in self.nodes:
            if not node.is_source:
                try:
                    node.reshape(self.loss_weights)
                except ValueError as error:
                    if python_layer.failure(error):
                        raise
                    raise node.error(error) from None


def _check_rows(array, blob, name):
    """ValueError where an array has another number of rows than the blob it is for."""
    rows, expected = (shape[:1] or ("no",) for shape in (np.shape(array), blob.shape))
    if rows != expected:
        raise ValueError(f"{name}: {rows[0]} rows given, the net takes {expected[0]}")


def _assign(array, memory, name):
    try:
        memory[...] = array
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
