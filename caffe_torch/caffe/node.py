"""A layer in its net: its blobs, its parameters, and its forward and backward pass."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from . import device
from .blob import Blob
from .layers import Layer, Source
from .prototxt import LayerError


@dataclass
class Parameter:
    """A learnable blob, one object for all layers that share it. A multiplier is None unless it is given."""

    blob: Blob
    lr_mult: float | None = None
    decay_mult: float | None = None


@dataclass
class Node:
    """A layer and its place in the net.

    layer: the layer.
    bottoms, tops: the blobs it reads and writes.
    parameters: its parameters, in Caffe's order.
    rates: lr_mult of its param entries in the prototxt.
    bottom_needs, param_needs: for each bottom and parameter, whether its gradient is computed.
    needs_backward: whether the layer takes part in the backward pass, force_backward aside. With
        propagate_down false it may compute no gradient.
    runs_backward: whether `backward` is called, force_backward included.
    tape: (inputs, parameters, results) of the last forward pass, for autograd.
    """

    layer: Layer
    bottoms: list[Blob]
    tops: list[Blob]
    parameters: list[Parameter]
    rates: list[float]
    bottom_needs: list[bool] = field(default_factory=list)
    param_needs: list[bool] = field(default_factory=list)
    needs_backward: bool = False
    runs_backward: bool = False
    tape: tuple | None = None

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.spec.name

    @property
    def is_source(self) -> bool:
        """Whether the layer loads data into the net."""
        return isinstance(self.layer, Source)

    @property
    def needs_own_name(self) -> bool:
        """Whether files hold something under the layer's name: parameters, or its position in the data."""
        return bool(self.parameters) or hasattr(self.layer, "state")

    def error(self, message: object) -> ValueError:
        """Make a ValueError whose message names the layer."""
        return ValueError(f"layer {self.name!r} ({self.layer.type}): {message}")

    def reshape(self, loss_weights: dict) -> None:
        """Set the shapes of the tops, and the gradients of those with a loss weight.

        Args:
            loss_weights: {blob name: weight}.

        Raises:
            ValueError: the bottoms do not fit the layer, or a top is larger than the memory.
        """
        shapes = self.layer.top_shapes(*(blob.shape for blob in self.bottoms))
        for name, blob, shape in zip(self.layer.spec.top, self.tops, shapes, strict=True):
            device.require_memory(shape, f"top {name!r}")
            blob.reshape(*shape)
            if name in loss_weights:
                blob.grad.fill_(loss_weights[name])

    # Forward

    def load(self) -> None:
        """Load the next batch into the tops of a source.

        Raises:
            ValueError: the data cannot be read.
        """
        assert isinstance(self.layer, Source)
        for blob, tensor in zip(self.tops, self.layer.load(), strict=False):  # Input loads nothing
            blob.tensor = tensor

    def forward(self) -> None:
        """Compute the tops of a layer that is not a source.

        Raises:
            ValueError: the layer cannot run on its bottoms.
        """
        if self.runs_backward and torch.is_grad_enabled():
            results = self._forward_with_tape()
        else:
            with torch.no_grad():
                results = self._run_layer(self.layer.params(), [blob.tensor for blob in self.bottoms])
        for blob, result in zip(self.tops, results, strict=True):
            blob.tensor = result

    def _forward_with_tape(self):
        inputs = _leaves([blob.tensor for blob in self.bottoms], self.bottom_needs)
        params = _leaves(self.layer.params(), self.param_needs)
        results = self._run_layer(params, inputs)
        self.tape = inputs, params, results
        return results

    def _run_layer(self, params, inputs):
        try:
            return self.layer.run(params, inputs)
        except ValueError as error:
            raise self.error(error) from None

    # Backward

    def backward(self, keep: bool) -> None:
        """Compute the gradients that are needed.

        Without a forward pass before, they are the gradients at the values that the blobs have.

        Args:
            keep: whether to keep the tape for another backward pass.

        Raises:
            ValueError: the layer has no gradient for a bottom that needs one.
        """
        if self.tape is None:
            self.layer.is_repeated = True
            try:
                with torch.enable_grad():
                    self._forward_with_tape()
            finally:
                self.layer.is_repeated = False
        for j in self.layer.no_gradient:
            if self.bottom_needs[j]:
                raise self._refused_gradient(self.layer.spec.bottom[j])
        inputs, params, results = self.tape
        if not keep:
            self.tape = None
        learned = [pair for pair in zip(params, self.layer.blobs, strict=True) if pair[0].requires_grad]
        passed = [pair for pair in zip(inputs, self.bottoms, strict=True) if pair[0].requires_grad]
        outputs = [(r, top.grad) for r, top in zip(results, self.tops, strict=True) if r.requires_grad]
        above = [grad.to(result.dtype).reshape(result.shape) for result, grad in outputs]
        leaves = [tensor for tensor, _ in learned + passed]
        grads = _gradients([result for result, _ in outputs], leaves, above, keep)
        memory = {grad.untyped_storage().data_ptr() for grad in above}
        for (_, blob), grad in zip(learned, grads, strict=False):
            if grad.untyped_storage().data_ptr() in memory:  # a blob's own: the solver changes grad in place
                grad = grad.clone()
            blob.accumulate_grad(grad)
        for (_, blob), grad in zip(passed, grads[len(learned) :], strict=True):
            blob.grad = grad

    def _refused_gradient(self, bottom):
        return ValueError(
            f"layer {self.name!r} ({self.layer.type}) sends no gradient to "
            f"{bottom!r}, which has parameters below it: say so by propagate_down"
        )


def _leaves(tensors, needs):
    return [tensor.detach().requires_grad_(need) for tensor, need in zip(tensors, needs, strict=True)]


def _gradients(results, leaves, above, keep):
    """The gradient of each leaf, zeros where the results do not depend on it."""
    grads = [None] * len(leaves)
    if results:
        grads = torch.autograd.grad(results, leaves, above, retain_graph=keep, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, grads, strict=True)]


def plan_backward(nodes: list[Node], loss_weights: dict, force: bool) -> None:
    """Decide which layers and bottoms gradients are computed for, by Caffe's rules.

    Args:
        nodes: all layers of a net, in order; their backward fields are set.
        loss_weights: {blob name: weight}.
        force: `force_backward` of the net.

    Raises:
        LayerError: propagate_down has another length than the bottoms.
    """
    needed: dict = {}  # blob name -> whether something below it learns
    for node in nodes:
        spec = node.layer.spec
        flags = list(spec.propagate_down)
        if len(flags) not in (0, len(spec.bottom)):
            raise LayerError(spec, "propagate_down needs a value for each bottom")
        below = [needed[name] for name in spec.bottom]
        node.bottom_needs = flags or below
        rates = node.rates
        node.param_needs = [i >= len(rates) or rates[i] != 0 for i in range(len(node.layer.blobs))]
        # Whatever propagate_down says, as in Caffe: the tops then have gradients, which go no further.
        node.needs_backward = any(below) or any(node.param_needs)
        for top in spec.top:
            needed[top] = needed.get(top, False) or node.needs_backward
    # Names of blobs: those that a loss depends on, and those whose reader computes no gradient for them.
    under_loss, no_gradient = set(loss_weights), set()
    for node in reversed(nodes):
        spec = node.layer.spec
        matters = not under_loss.isdisjoint(spec.top)
        if not matters or (node.needs_backward and no_gradient.issuperset(spec.top)):
            node.needs_backward = False
            node.bottom_needs = [False] * len(spec.bottom)
        if matters:
            under_loss.update(spec.bottom)
        pairs = zip(spec.bottom, node.bottom_needs, strict=True)
        no_gradient.update(name for name, need in pairs if not need)
    for node in nodes:
        node.runs_backward = node.needs_backward
        if force:
            fixed = node.layer.no_gradient
            node.bottom_needs = [need or j not in fixed for j, need in enumerate(node.bottom_needs)]
            node.param_needs = [True] * len(node.param_needs)
            node.runs_backward = any(node.bottom_needs) or any(node.param_needs)
