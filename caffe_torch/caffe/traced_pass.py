"""The forward and backward pass of a small net on a CPU as one TorchScript function.

In a small net most of an iteration is Python between the operations. Here the operations of one pass are
recorded, those of autograd included, and then run by one call. They are the same operations on the same
values in the same order, so the results have the same bits. The first traced pass is compared with one that
is not traced.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from . import device, parallel
from .net import Net

_ATEN = torch.ops.aten
_NOT_TRACEABLE = (_ATEN.convolution_backward.default,)  # TorchScript's tracer cannot take its output_mask
WARM_UP = 50  # passes before the recording, which takes as long as some hundred
MAX_VALUES = 2**22  # in all blobs: a recording holds every intermediate result of a pass


def can_trace(net: Net) -> bool:
    """Whether passes may be traced: in float32, on the CPU of one process, with no calls between layers."""
    return not (
        device.device().type != "cpu"
        or parallel.count > 1
        or device.precision() != "float32"
        or net.debug_info
        or net.has_hooks
    )


class TracedPass:
    """Runs a net forward and backward, by a traced function once it has proven to give the same bits.

    Args:
        net: the net. Its shapes and the memory of its parameters may change.
    """

    def __init__(self, net: Net):
        self._net = net
        self._trace: _Trace | None = None
        self._passes = 0  # since the last change of what is traced
        self._proven = False  # whether the trace has given the bits of an untraced pass

    def run(self) -> torch.Tensor:
        """Load the next batch and compute the loss and all gradients.

        Returns:
            The loss, a 0-d tensor.

        Raises:
            ValueError: a layer cannot run, or the data is wrong.
        """
        self._net.load()
        if self._trace and not self._trace.still_valid():
            self._trace, self._proven, self._passes = None, False, 0
        if self._proven:
            try:
                return self._trace.run()
            except RuntimeError:  # of an operation: the pass below names the layer
                return self._untraced()
        self._passes += 1
        if self._passes == WARM_UP and _is_small(self._net):
            with _Recorder(self._net) as recorder:
                loss = self._untraced()
            self._trace = recorder.trace(loss)
            return loss
        return self._prove() if self._passes == WARM_UP + 1 and self._trace else self._untraced()

    def _untraced(self):
        self._net.clear_param_diffs()
        loss = self._net.forward_loss(load=False)
        self._net.backward_once()
        return loss

    def _prove(self):
        """Run untraced, then traced on the same values; the untraced loss."""
        batch, random_state = self._trace.batch(), torch.get_rng_state()
        loss = self._untraced()
        expected, state_after = [loss, *self._trace.results()], torch.get_rng_state()
        torch.set_rng_state(random_state)
        try:
            actual = self._trace.call(batch)
        except RuntimeError:
            actual = ()
        same_results = len(actual) == len(expected) and all(map(_same_bits, actual, expected))
        self._proven = same_results and torch.equal(torch.get_rng_state(), state_after)
        torch.set_rng_state(state_after)
        return loss


def _is_small(net):
    return sum(blob.count for blob in net.blobs.values()) <= MAX_VALUES


def _same_bits(a, b):
    return _same_form(a, b) and a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()


class _Recorder(TorchDispatchMode):
    """Records the operations of a pass.

    A tensor is known by its memory and form: autograd wraps what it saves in other tensor objects.
    """

    def __init__(self, net):
        super().__init__()
        self._net = net
        self._memories = {m: m._tensor for blob in _blobs(net) for m in blob.memories}
        self._batch = [blob.tensor for blob in net.source_blobs]
        self._calls: list = []  # (operation, arguments, keyword arguments, slots of the results)
        self._slots: dict = {}  # form of a tensor -> its slot
        self._tensors: list = []  # by slot; they are kept, so that no memory is used twice
        self._outside: list = []  # slots of tensors from outside: the batch, parameters, constants
        self._foreign: set = set()  # addresses of the memory of those
        self._is_fixed = True  # whether the operations are the same for all values
        for tensor in self._batch:
            self._slot(tensor)

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # else PyTorch imports its compiler, for seconds

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        arguments = tree_map_only(torch.Tensor, lambda tensor: _Slot(self._slot(tensor)), (args, kwargs))
        if any(_address(tensor) in self._foreign for tensor in _written(operation, args, kwargs)):
            self._is_fixed = False  # a layer that changes its parameters: a proof would change them twice
        results = operation(*args, **kwargs)
        tensors = results if isinstance(results, (tuple, list)) else [results]
        if not all(tensor is None or isinstance(tensor, torch.Tensor) for tensor in tensors):
            # A number that Python may decide by, unless it is about types alone.
            self._is_fixed &= not any(
                isinstance(value, torch.Tensor) for value in tree_leaves((args, kwargs))
            )
        elif operation is not _ATEN.detach.default:  # it has the memory and form of its argument
            self._calls.append((operation, *arguments, list(map(self._append, tensors))))
        return results

    def _append(self, tensor):
        """Number a tensor, or a None among the results of an operation."""
        self._tensors.append(tensor)
        if tensor is not None:
            self._slots[_form(tensor)] = len(self._tensors) - 1
        return len(self._tensors) - 1

    def _slot(self, tensor):
        """The number of a tensor; one that no operation has made is from outside."""
        if _form(tensor) not in self._slots:
            self._outside.append(self._append(tensor))
            self._foreign.add(_address(tensor))
        return self._slots[_form(tensor)]

    def trace(self, loss: torch.Tensor) -> _Trace | None:
        """The recorded pass as a function; None where it depends on more than the values of tensors."""
        if not self._is_fixed or any(call[0] in _NOT_TRACEABLE for call in self._calls):
            return None
        results = {  # tensors that the pass has made
            memory: self._slots.get(_form(memory._tensor))
            for memory, before in self._memories.items()
            if memory._tensor is not None and memory._tensor is not before
        }
        if None in results.values() or _form(loss) not in self._slots:
            return None
        outputs = [self._slots[_form(loss)], *results.values()]
        inputs, random_state = [self._tensors[i] for i in self._outside], torch.get_rng_state()
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                function = torch.jit.trace(self._replay(outputs), tuple(inputs), check_trace=False)
        except RuntimeError:  # an operation that TorchScript cannot say
            return None
        finally:
            torch.set_rng_state(random_state)  # tracing has run the operations
        return _Trace(self._net, function, inputs, list(results))

    def _replay(self, outputs):
        """A function that runs the calls on tensors from outside."""

        def replay(*inputs):
            tensors = dict(zip(self._outside, inputs, strict=True))
            for operation, args, kwargs, slots in self._calls:
                args, kwargs = tree_map_only(_Slot, lambda slot: tensors[slot.index], (args, kwargs))
                results = operation(*args, **kwargs)
                results = results if isinstance(results, (tuple, list)) else [results]
                tensors.update(zip(slots, results, strict=True))
            return tuple(tensors[i] for i in outputs)

        return replay


@dataclass(frozen=True)
class _Slot:
    """The place of a tensor in a recording."""

    index: int


def _written(operation, args, kwargs):
    """The tensors that an operation changes."""
    for i, argument in enumerate(operation._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[i] if i < len(args) else kwargs.get(argument.name)
            yield from (tensor for tensor in tree_leaves(value) if isinstance(tensor, torch.Tensor))


def _address(tensor):
    return tensor.untyped_storage().data_ptr()


def _form(tensor):
    return _address(tensor), tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


class _Trace:
    """A traced pass, and the blobs that have its inputs and results."""

    def __init__(self, net, function, inputs, results):
        self._net, self._function = net, function
        self._results = (
            results  # the blobs' memories that a pass writes, in the order of the function's results
        )
        self._params, self._batch = net.learnable_params, [blob.tensor for blob in net.source_blobs]
        self._constants = inputs[len(self._batch) :]
        by_tensor = {id(tensor): i for i, tensor in enumerate(self._constants)}
        memories = [m for blob in _blobs(net) for m in blob.memories if m not in results]
        self._sources = [(m, by_tensor[id(m._tensor)]) for m in memories if id(m._tensor) in by_tensor]
        self._unused = [p._diff for p in self._params if p._diff not in results]

    def still_valid(self) -> bool:
        """Whether shapes and memory are those of the recording."""
        return (
            all(map(_same_form, self._batch, self.batch()))
            and self._params == self._net.learnable_params
            and all(memory.tensor() is self._constants[i] for memory, i in self._sources)
        )

    def batch(self) -> list:
        """The batch that is loaded, tensors."""
        return [blob.tensor for blob in self._net.source_blobs]

    def results(self) -> list:
        """The tensors of the blobs that a pass writes."""
        return [memory.tensor() for memory in self._results]

    def call(self, batch: list) -> tuple:
        """Run the pass on a batch; the loss and what `results` returns after an untraced pass."""
        with torch.no_grad(), torch.jit.optimized_execution(False):
            return self._function(*batch, *self._constants)

    def run(self) -> torch.Tensor:
        """Run the pass on the batch that is loaded, into the net's blobs; the loss."""
        loss, *tensors = self.call(self.batch())
        for memory, tensor in zip(self._results, tensors, strict=True):
            memory.replace(tensor)
        for memory in self._unused:
            memory.clear()
        return loss


def _same_form(a, b):
    return (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)


def _blobs(net):
    return dict.fromkeys([*net.blobs.values(), *net.learnable_params])
