"""Training iterations as CUDA graphs: the kernels are captured once, then launched by one call.

For a small batch a GPU runs the kernels faster than the CPU can launch them one by one.
"""

import contextlib

import torch

from . import device, parallel

# Iterations before one is captured: libraries choose algorithms and allocate memory at their first calls.
WARM_UP = 3


def can_capture() -> bool:
    """Whether iterations can be captured: on a single GPU."""
    return device.device().type == "cuda" and parallel.count == 1


@contextlib.contextmanager
def _capturing(graph):
    """Capture the kernels launched within; raise what fails there, not that the capture cannot be ended."""
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
        where = device.device()
        if where.type == "cuda":
            random = torch.cuda.default_generators[where.index]
            with contextlib.suppress(RuntimeError):  # what failed matters more
                random.graphsafe_set_state(random.clone_state())  # the old state waits for the end for ever
        raise failed from None


class Iteration:
    """Forward, backward and update of a net, captured; nothing is computed before `replay`.

    net: a Net with a batch loaded. apply_rule: updates the parameters from their gradients; called with
    a rate for each, as 0-d tensors.
    RuntimeError, or ValueError from a layer, where one of them waits for the GPU.
    """

    def __init__(self, net, apply_rule):
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
            apply_rule(list(self._rates))
        self._tensors = [(blob, blob.tensors()) for blob in blobs]
        for blob, tensor in zip(net.source_blobs, self._batch, strict=True):
            blob.tensor = tensor  # a layer in place has given it its top, which nothing is in yet

    def still_valid(self) -> bool:
        """Whether the net is as it was at the capture: shapes, parameters' memory, precision."""
        return (
            self._precision == device.precision()
            and [t.shape for t in self._batch] == [blob.shape for blob in self._net.source_blobs]
            and all(w is b.tensor for w, b in zip(self._weights, self._net.learnable_params, strict=True))
        )

    def replay(self, rates: list) -> torch.Tensor:
        """Run the iteration on the batch that is loaded now, with these rates; the loss as a 0-d tensor.

        The net's blobs then have its results, as after an iteration that was not captured.
        """
        if self._batch:
            torch._foreach_copy_(self._batch, [blob.tensor for blob in self._net.source_blobs])
        # Pinned memory is given back to PyTorch, which uses it again only after the copy is done.
        rates = torch.tensor(rates, pin_memory=self._rates.is_cuda)
        self._rates.copy_(rates, non_blocking=True)
        self._graph.replay()
        for blob, tensors in self._tensors:
            blob.restore(tensors)
        return self._loss.clone()
