"""What torch.cuda.graph does, on a CPU, so that captured iterations are tested where there is no GPU.

During a capture nothing is computed, and new tensors hold NaN. A replay computes everything again into the
same memory. Waiting for a result is an error, and so is the end of that capture.
"""

import torch
from caffe import blob, cuda_graph
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _tensors(values):
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def _memory(tensors):
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


class FakeGraph:
    """Stands for torch.cuda.CUDAGraph."""

    def __init__(self):
        self.calls = []  # (operation, arguments, results in memory of their own)

    @torch.no_grad()
    def replay(self):
        for operation, args, kwargs, results in self.calls:
            again = _tensors(operation(*args, **kwargs))
            for i, tensor in results:
                tensor.copy_(again[i])


class FakeCapture(TorchDispatchMode):
    """Stands for torch.cuda.graph."""

    active = False  # whether there is a capture now

    def __init__(self, graph, capture_error_mode):
        super().__init__()
        self.graph = graph
        self.originals = {}  # id -> (tensor from outside, its values before the capture)
        self.own = set()  # memory that was allocated during the capture
        self.failed = False

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten._local_scalar_dense.default:
            self.failed = True
            raise RuntimeError("operation not permitted when stream is capturing")
        inputs = _tensors((args, kwargs))
        if operation._schema.is_mutable:
            for tensor in inputs:
                if tensor.untyped_storage().data_ptr() not in self.own:
                    self.originals.setdefault(id(tensor), (tensor, tensor.clone()))
        result = operation(*args, **(kwargs or {}))
        input_memory = _memory(inputs)
        results = [
            (i, tensor)
            for i, tensor in enumerate(_tensors(result))
            if tensor.untyped_storage().data_ptr() not in input_memory
        ]
        self.own |= _memory([tensor for _, tensor in results])
        self.graph.calls.append((operation, args, kwargs or {}, results))
        return result

    def __enter__(self):
        FakeCapture.active = True
        return super().__enter__()

    @torch.no_grad()
    def __exit__(self, *problem):
        super().__exit__(*problem)
        FakeCapture.active = False
        for tensor, values in self.originals.values():
            tensor.copy_(values)
        for *_, results in self.graph.calls:
            for _, tensor in results:
                if tensor.is_floating_point():
                    tensor.fill_(torch.nan)
        if self.failed:
            raise RuntimeError("operation failed due to a previous error during capture")


def capture_on_cpu(monkeypatch) -> None:
    """Let iterations be captured on the CPU."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", FakeCapture)
    monkeypatch.setattr(cuda_graph, "can_capture", lambda: True)
    monkeypatch.setattr(blob, "_is_capturing", lambda tensor: FakeCapture.active)
