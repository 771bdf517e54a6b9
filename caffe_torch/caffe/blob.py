"""Blob: an n-dimensional float32 array and its gradient, as NumPy arrays and PyTorch tensors."""

from __future__ import annotations

import math
import weakref

import numpy as np
import torch

from . import device
from .proto import caffe_pb2

_MAX_COUNT = 2**60  # values: PyTorch counts their bytes in 64 bits


# {memory and form of a tensor: its copy in C order}, for all blobs that share the memory. A copy refers to
# the tensor, so that no other tensor gets its memory.
_copies: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def _form(tensor):
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _no_reference():
    """A weak reference to nothing."""


def _is_capturing(tensor):
    """Whether kernels on the tensor's GPU are being captured, not run (see cuda_graph.py)."""
    return tensor is not None and tensor.is_cuda and torch.cuda.is_current_stream_capturing()


class _Memory:
    """One array, on the device and, on request, on the host. It is Caffe's SyncedMemory.

    A program may write to the host array, so the next use on the device copies it there. On a CPU both share
    their memory and nothing is copied. `sync_host` updates a host array that a program still references.
    """

    def __init__(self, shape):
        self.shape = tuple(shape)
        self._tensor = None  # None: the values of _previous, then zeros
        self._previous = None  # the tensor before a change of shape
        self._kept = None  # the tensor that layers and other blobs share, where `array` had to copy it
        self._capacity = math.prod(self.shape)  # the largest count since memory was last allocated
        self._written = None  # the host array, while it may be newer than the device's
        self._host_ref = _no_reference  # weak reference to the host array

    def reshape(self, shape):
        """Change the shape. As many values as fit are kept, until more memory is needed."""
        if tuple(shape) == self.shape:
            return
        shape, current = tuple(int(n) for n in shape), None
        if self._written is not None or self._previous is None:
            current = self.tensor_or_none()
        previous = current if self._previous is None else self._previous  # the tensor is a view of its start
        if math.prod(shape) > self._capacity:
            self._capacity, previous = math.prod(shape), None
        self.shape, self._tensor, self._previous, self._host_ref = shape, None, previous, _no_reference
        self._kept = None

    def tensor(self):
        current_device = device.device()
        if self._tensor is None and self._previous is None:
            self._tensor = torch.zeros(self.shape, device=current_device)
        elif self._tensor is None:
            self._tensor = self._prefix(math.prod(self.shape))
        if self._tensor.device != current_device:
            self._tensor, self._previous = self._tensor.to(current_device), None
        if self._written is not None:
            # By `data`, which autograd does not track: gradients are those at the written values.
            self._tensor.data.copy_(torch.from_numpy(self._written))
            self._written = None
        return self._tensor

    def _prefix(self, count):
        """The first `count` values of _previous, padded with zeros, in the current shape."""
        self._previous = self._previous.reshape(-1)
        if len(self._previous) < count:
            self._previous = torch.cat(
                [self._previous, self._previous.new_zeros(count - len(self._previous))]
            )
        return self._previous[:count].view(self.shape)

    def tensor_or_none(self):
        """The tensor, including values written to the host array; None where there are no values."""
        nothing = self._tensor is None and self._previous is None
        return None if nothing and self._written is None else self.tensor()

    def set(self, tensor):
        self.shape = tuple(tensor.shape)
        self._capacity = max(self._capacity, tensor.numel())
        self._tensor, self._previous, self._written, self._kept = tensor.detach(), None, None, None

    def clear(self):
        self._tensor, self._previous, self._written, self._kept = None, None, None, None
        self.sync_host()

    def array(self):
        array, tensor = self.sync_host(), self.tensor()
        if array is None and tensor.device.type == "cpu":
            # Of float32, where layers pass on bfloat16, and in C order, where they have channels last.
            tensor = self._replace(self._in_order())
            array = tensor.numpy()
        elif array is None:
            array = tensor.float().contiguous().cpu().numpy()
        if tensor.device.type != "cpu":
            self._written = array
        self._host_ref = weakref.ref(array)
        return array

    def sync_host(self):
        """Copy the values to the host array and return it; None where no program references it."""
        array = self._host_ref()
        if array is None or array.shape != self.shape:
            return None
        if _is_capturing(self._tensor):  # there are no values yet
            return array
        tensor, host = self.tensor(), torch.from_numpy(array)
        if host.data_ptr() != tensor.data_ptr():
            host.copy_(tensor)
            if tensor.device.type == "cpu":  # values written to the array must reach the tensor
                self._replace(host)
        return array

    def _replace(self, tensor):
        """Use another tensor of the same values; `refresh` brings what is written to it to the layers."""
        if tensor is not self._tensor:
            if self._kept is None:
                self._kept = tensor.copied = self._tensor
                _copies[_form(self._kept)] = tensor
            self._tensor, self._previous = tensor, None
        return tensor

    def _in_order(self):
        """The tensor in float32 and C order: itself, or one copy for all blobs that share its memory."""
        tensor = self._tensor
        if tensor.dtype == torch.float32 and tensor.is_contiguous():
            return tensor
        copy = _copies.get(_form(tensor))
        return tensor.float().contiguous() if copy is None else copy

    def refresh(self):
        """Bring values that a program has written to where layers and other blobs share the memory."""
        if self._written is not None:
            self.tensor()
        if self._kept is not None:
            self._kept.data.copy_(self._tensor)


class Blob:
    """An array and its gradient.

    data, diff: float32 NumPy arrays in C order, which can be written in place (`blob.data[...] = x`). They
    show the blob's current values until its shape changes.
    tensor, grad: the same as tensors on the current device.

    Args:
        shape: of both.
    """

    def __init__(self, shape: tuple = ()):
        self._data = _Memory(shape)
        self._diff = _Memory(shape)

    @property
    def data(self) -> np.ndarray:
        """The values as a float32 NumPy array."""
        return self._data.array()

    @property
    def diff(self) -> np.ndarray:
        """The gradient as a float32 NumPy array."""
        return self._diff.array()

    @property
    def tensor(self) -> torch.Tensor:
        """The values as a tensor on the current device."""
        return self._data.tensor()

    @tensor.setter
    def tensor(self, value: torch.Tensor):
        self._data.set(value)
        self._diff.reshape(value.shape)

    @property
    def grad(self) -> torch.Tensor:
        """The gradient as a tensor on the current device."""
        return self._diff.tensor()

    @grad.setter
    def grad(self, value: torch.Tensor):
        self._diff.set(value)

    def tensors(self) -> tuple:
        """The current tensor and gradient, None for one without values; for `restore`."""
        return tuple(memory.tensor_or_none() for memory in (self._data, self._diff))

    def restore(self, tensors: tuple) -> None:
        """Use the tensors that `tensors` returned, with the values that they have now."""
        for memory, tensor in zip((self._data, self._diff), tensors, strict=True):
            if tensor is not None and memory._tensor is not tensor:
                memory.shape, memory._tensor, memory._previous = tuple(tensor.shape), tensor, None
                memory._kept = None
            memory._written = None
            memory.sync_host()

    def refresh(self) -> None:
        """Bring values that a program wrote to `data` to where layers and other blobs share the memory."""
        self._data.refresh()

    def clear_grad(self) -> None:
        """Set the gradient to zero. It takes no memory until its next use."""
        self._diff.clear()

    def sync_host(self, diff: bool = False) -> None:
        """Update the array that `data` (or `diff`) returned, if a program still references it."""
        (self._diff if diff else self._data).sync_host()

    def accumulate_grad(self, value: torch.Tensor) -> None:
        """Add `value` to the gradient, as Caffe's layers do for their parameters."""
        if value.shape != self.shape:
            value = value.reshape(self.shape)
        if self._diff.tensor_or_none() is None:
            self._diff.set(value)
        else:
            self.grad.add_(value)

    @property
    def owner(self) -> Blob:
        """The blob that has the memory: another one for a shared parameter."""
        return self

    @property
    def shape(self) -> tuple:
        """The shape of the array and of its gradient."""
        return self._data.shape

    @property
    def count(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape))

    def _legacy_axis(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise ValueError(f"num, channels, height, width do not fit a blob of shape {self.shape}")
        return self.shape[axis] if axis < len(self.shape) else 1

    num = property(lambda self: self._legacy_axis(0))
    channels = property(lambda self: self._legacy_axis(1))
    height = property(lambda self: self._legacy_axis(2))
    width = property(lambda self: self._legacy_axis(3))

    def reshape(self, *shape: int) -> None:
        """Change the shape. The values are kept unless the count is larger than ever before.

        Raises:
            ValueError: a dimension is negative, or the count too large.
        """
        if any(int(n) < 0 for n in shape) or math.prod(map(int, shape)) > _MAX_COUNT:
            raise ValueError(f"a blob cannot have the shape {shape}")
        self._data.reshape(shape)
        self._diff.reshape(shape)

    def to_proto(self, write_diff: bool = False) -> caffe_pb2.BlobProto:
        """Store the blob in a BlobProto, as in a .caffemodel.

        Args:
            write_diff: whether to store the gradient too.
        """
        proto = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=self.shape))
        proto.data.extend(self.data.ravel())
        if write_diff:
            proto.diff.extend(self.diff.ravel())
        return proto

    def from_proto(self, proto: caffe_pb2.BlobProto) -> None:
        """Copy the values of a BlobProto.

        Raises:
            ValueError: its shape is another, or does not fit its number of values.
        """
        values = array_of(proto)
        if not same_shape(values.shape, self.shape):
            raise ValueError(f"stored shape {shown(values.shape)}, the net has {self.shape}")
        self.data[...] = values.reshape(self.shape)


class Shared(Blob):
    """A view of another blob in its own shape: a parameter shared by share_mode PERMISSIVE.

    Args:
        owner: the blob that has the memory.
        shape: of this view.
    """

    def __init__(self, owner: Blob, shape: tuple):
        self._owner, self._shape = owner.owner, tuple(shape)

    owner = property(lambda self: self._owner)
    shape = property(lambda self: self._shape)
    data = property(lambda self: self._owner.data.reshape(self._shape))
    diff = property(lambda self: self._owner.diff.reshape(self._shape))
    tensor = property(lambda self: self._owner.tensor.view(self._shape))
    grad = property(lambda self: self._owner.grad.view(self._shape))

    def sync_host(self, diff=False):
        self._owner.sync_host(diff)

    def refresh(self):
        self._owner.refresh()

    def accumulate_grad(self, value):
        self._owner.accumulate_grad(value)

    def reshape(self, *shape):
        if math.prod(shape) != self.count:
            raise ValueError(f"a shared parameter of {self.count} values cannot have the shape {shape}")
        self._shape = tuple(int(n) for n in shape)


def array_of(proto: caffe_pb2.BlobProto) -> np.ndarray:
    """Read the array of a BlobProto.

    Returns:
        A float32 array in the stored shape, legacy 4-D shapes included.

    Raises:
        ValueError: the shape does not fit the number of values.
    """
    if proto.HasField("shape"):
        shape = tuple(proto.shape.dim)
    elif any(proto.HasField(name) for name in ("num", "channels", "height", "width")):
        shape = (proto.num, proto.channels, proto.height, proto.width)
    else:
        shape = (len(proto.data) or len(proto.double_data),)
    with np.errstate(over="ignore"):  # the callers check for infinite values
        values = np.array(proto.data or proto.double_data, np.float32)
    if values.size != math.prod(shape) or any(n < 0 for n in shape):
        raise ValueError(f"stored shape {shown(shape)} does not fit its {values.size} values")
    return values.reshape(shape)


def shown(shape: tuple) -> str:
    """Format a shape for an error, briefly where a damaged file has very many axes."""
    return str(tuple(shape)) if len(shape) <= 8 else f"of {len(shape)} axes"


def same_shape(stored: tuple, expected: tuple) -> bool:
    """Caffe's rule: the shapes are equal, or equal once a legacy 4-D shape is padded with leading ones."""
    if stored == expected:
        return True
    return len(stored) == 4 and len(expected) <= 4 and stored == (1,) * (4 - len(expected)) + expected
