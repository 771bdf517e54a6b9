"""Training iterations as CUDA graphs: the kernels are captured once, then launched by one call.

For a small batch a GPU runs the kernels faster than the CPU can launch them one by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch

from . import device, parallel
from .net import Net

# Iterations before the capture: libraries choose algorithms and allocate memory at their first calls.
WARM_UP = 3


def can_capture() -> bool:
    """Whether iterations can be captured: on a single GPU."""
    return device.device().type == "cuda" and parallel.count == 1


@contextlib.contextmanager
def _capturing(graph):
    """Capture the kernels of the block. Its error is raised, not PyTorch's about the broken capture."""
    failed = None
    try:
        # Other threads may read files ahead meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            try:
                yield
            except Exception as error:
                failed = error
                raise
    except Exception:
        if failed is None:
            raise
        current_device = device.device()
        if current_device.type == "cuda":
            random = torch.cuda.default_generators[current_device.index]
            # The old random state would wait for the end of the capture forever.
            with contextlib.suppress(RuntimeError):  # the first error matters more
                random.graphsafe_set_state(random.clone_state())
        raise failed from None


class Iteration:
    """The captured forward pass, backward pass and update of a net. `replay` runs them.

    Args:
        net: a Net with a batch loaded.
        update: a function that updates the parameters from their gradients. It takes a rate for each
            parameter, a list of 0-d tensors, and returns a list of tensors for `replay` to return.

    Raises:
        RuntimeError, ValueError: an operation waits for the GPU, so that it cannot be captured.
    """

    def __init__(self, net: Net, update: Callable[[list], list]):
        self._net, self._precision = net, device.precision()
        self._weights = [blob.tensor for blob in net.learnable_params]
        self._batch = [blob.tensor.clone() for blob in net.source_blobs]
        for blob, tensor in zip(net.source_blobs, self._batch, strict=True):
            blob.tensor = tensor
        self._rates = torch.zeros(len(self._weights), device=device.device())
        net.clear_param_diffs()
        blobs = dict.fromkeys([*net.blobs.values(), *net.learnable_params])
        for blob in blobs:  # copies to the GPU what a program wrote
            blob.tensors()
        self._graph = torch.cuda.CUDAGraph()
        with _capturing(self._graph):
            self._loss = net.forward_loss(load=False)
            net.backward_once()
            self._results = update(list(self._rates))
        self._tensors = [(blob, blob.tensors()) for blob in blobs]
        for blob, tensor in zip(net.source_blobs, self._batch, strict=True):
            blob.tensor = tensor  # a layer in place has replaced it by its top, which has no values yet

    def still_valid(self) -> bool:
        """Whether the batch's shapes, the parameters' memory and the precision are those of the capture."""
        return (
            self._precision == device.precision()
            and [t.shape for t in self._batch] == [blob.shape for blob in self._net.source_blobs]
            and all(w is b.tensor for w, b in zip(self._weights, self._net.learnable_params, strict=True))
        )

    def replay(self, rates: list) -> tuple[torch.Tensor, list]:
        """Run the iteration on the batch that is loaded.

        The net's blobs then have the results, as after an iteration that was not captured.

        Args:
            rates: a float for each parameter.

        Returns:
            The loss, a 0-d tensor, and what `update` returned.
        """
        if self._batch:
            torch._foreach_copy_(self._batch, [blob.tensor for blob in self._net.source_blobs])
        # PyTorch reuses the pinned memory only after the copy is done.
        values = torch.tensor(rates, pin_memory=self._rates.is_cuda)
        self._rates.copy_(values, non_blocking=True)
        self._graph.replay()
        for blob, tensors in self._tensors:
            blob.restore(tensors)
        return self._loss.clone(), [result.clone() for result in self._results]
