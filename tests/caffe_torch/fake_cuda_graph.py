"""What torch.cuda.graph does, on a CPU, so that recorded iterations are tested where there is no GPU.

While recording nothing is computed and what is made holds NaN; a replay does everything again into the same
memory; waiting for a result is an error, and ending the recording then another.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _tensors(values):
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def _memory(tensors):
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


class Graph:
    """Stands for torch.cuda.CUDAGraph."""

    def __init__(self):
        self.calls = []  # (operation, arguments, what it made in memory of its own)

    @torch.no_grad()
    def replay(self):
        for operation, args, kwargs, made in self.calls:
            again = _tensors(operation(*args, **kwargs))
            for i, tensor in made:
                tensor.copy_(again[i])


class Recorded(TorchDispatchMode):
    """Stands for torch.cuda.graph."""

    going_on = False  # whether something is being recorded

    def __init__(self, graph, capture_error_mode):
        super().__init__()
        self.graph, self.before, self.own = graph, {}, set()
        self.broken = False

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten._local_scalar_dense.default:
            self.broken = True
            raise RuntimeError("operation not permitted when stream is capturing")
        given = _tensors((args, kwargs))
        if operation._schema.is_mutable:
            for tensor in given:
                if tensor.untyped_storage().data_ptr() not in self.own:
                    self.before.setdefault(id(tensor), (tensor, tensor.clone()))
        result = operation(*args, **(kwargs or {}))
        known = _memory(given)
        made = [
            (i, tensor)
            for i, tensor in enumerate(_tensors(result))
            if tensor.untyped_storage().data_ptr() not in known
        ]
        self.own |= _memory([tensor for _, tensor in made])
        self.graph.calls.append((operation, args, kwargs or {}, made))
        return result

    def __enter__(self):
        Recorded.going_on = True
        return super().__enter__()

    @torch.no_grad()
    def __exit__(self, *problem):
        super().__exit__(*problem)
        Recorded.going_on = False
        for tensor, values in self.before.values():
            tensor.copy_(values)
        for *_, made in self.graph.calls:
            for _, tensor in made:
                if tensor.is_floating_point():
                    tensor.fill_(torch.nan)
        if self.broken:
            raise RuntimeError("operation failed due to a previous error during capture")


def capture_on_cpu(monkeypatch) -> None:
    """Let iterations be recorded on the CPU."""
    from caffe import blob, cuda_graph

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Recorded)
    monkeypatch.setattr(cuda_graph, "can_capture", lambda: True)
    monkeypatch.setattr(blob, "_is_capturing", lambda tensor: Recorded.going_on)
