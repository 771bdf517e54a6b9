"""Training iterations as CUDA graphs: what a GPU is to do is recorded once, then asked for in one call.

The kernels of an iteration over a small batch are done sooner than the CPU can ask for them one by one.
"""

import contextlib

import torch

from . import device, parallel

# Iterations before one is recorded: libraries choose algorithms and take memory at their first calls.
WARM_UP = 3


def possible() -> bool:
    """Whether iterations can be recorded: on one GPU alone."""
    return device.device().type == "cuda" and parallel.count == 1


@contextlib.contextmanager
def _recording(graph):
    """Records what is asked for within; raises what fails there, not that the recording cannot be ended."""
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
    """Forward, backward and update of a net, recorded; nothing is computed before `replay`.

    net: a Net with a batch loaded. change: changes the parameters by their gradients; called with a rate for
    each, as 0-d tensors. RuntimeError, or ValueError from a layer, where one of them waits for the GPU.
    """

    def __init__(self, net, change):
        self._net, self._precision = net, device.precision()
        self._weights = [blob.tensor for blob in net.learnable_params]
        self._batch = [blob.tensor.clone() for blob in net.source_blobs]
        for blob, tensor in zip(net.source_blobs, self._batch, strict=True):
            blob.tensor = tensor
        self._rates = torch.zeros(len(self._weights), device=device.device())
        net.clear_param_diffs()
        blobs = dict.fromkeys([*net.blobs.values(), *net.learnable_params])
        for blob in blobs:  # what a program wrote goes to the GPU now
            blob.held()
        self._graph = torch.cuda.CUDAGraph()
        with _recording(self._graph):
            self._loss = net.forward_loss(load=False)
            net.backward_once()
            change(list(self._rates))
        self._held = [(blob, blob.held()) for blob in blobs]
        for blob, tensor in zip(net.source_blobs, self._batch, strict=True):
            blob.tensor = tensor  # a layer in place has given it its top, which nothing is in yet

    def fits(self) -> bool:
        """Whether the net is as it was when this was recorded: shapes, parameters' memory, precision."""
        return (
            self._precision == device.precision()
            and [t.shape for t in self._batch] == [blob.shape for blob in self._net.source_blobs]
            and all(w is b.tensor for w, b in zip(self._weights, self._net.learnable_params, strict=True))
        )

    def replay(self, rates: list) -> torch.Tensor:
        """Do it with the batch that is loaded now, and these rates; the loss as a 0-d tensor.

        The net's blobs then hold what came of it, as after an iteration that was not recorded.
        """
        if self._batch:
            torch._foreach_copy_(self._batch, [blob.tensor for blob in self._net.source_blobs])
        # Pinned memory is given back to PyTorch, which uses it again only after the copy is done.
        rates = torch.tensor(rates, pin_memory=self._rates.is_cuda)
        self._rates.copy_(rates, non_blocking=True)
        self._graph.replay()
        for blob, held in self._held:
            blob.hold(held)
        return self._loss.clone()
