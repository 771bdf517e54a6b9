"""Blob: an n-dimensional float32 array and its gradient, seen from NumPy and from PyTorch."""

import math
import weakref

import numpy as np
import torch

from . import device
from .proto import caffe_pb2

_MOST = 2**60  # numbers: their bytes must be a number that PyTorch can count to


def _nobody():
    """A weak reference to nothing."""


def _being_recorded(tensor):
    """Whether what is asked for on a tensor's GPU is recorded, not done (see graph.py)."""
    return tensor is not None and tensor.is_cuda and torch.cuda.is_current_stream_capturing()


class _Memory:
    """One array, on the device and, once asked for, on the host.

    As Caffe's SyncedMemory: whoever is given the host array may write to it, so the next use on the
    device copies it up. On a CPU both are the same memory and nothing is copied. An array that a program
    still holds is brought up to date by `show`.
    """

    def __init__(self, shape):
        self.shape = tuple(shape)
        self._tensor = None  # None: it begins with what is kept, the rest are zeros
        self._kept = None  # what there was before a change of shape
        self._capacity = math.prod(self.shape)  # the most numbers there were since memory was last new
        self._written = None  # the array given out, where the device does not have what it holds
        self._given = _nobody  # weak reference to the array given out

    def reshape(self, shape):
        """Take another shape. What is there stays, as far as it goes, until memory must be new."""
        if tuple(shape) == self.shape:
            return
        shape, now = tuple(int(n) for n in shape), None
        if self._written is not None or self._kept is None:
            now = self.settled()
        kept = now if self._kept is None else self._kept  # of which the tensor is the beginning
        if math.prod(shape) > self._capacity:
            self._capacity, kept = math.prod(shape), None
        self.shape, self._tensor, self._kept, self._given = shape, None, kept, _nobody

    def tensor(self):
        where = device.device()
        if self._tensor is None and self._kept is None:
            self._tensor = torch.zeros(self.shape, device=where)
        elif self._tensor is None:
            self._tensor = self._beginning(math.prod(self.shape))
        if self._tensor.device != where:
            self._tensor, self._kept = self._tensor.to(where), None
        if self._written is not None:
            # By `data`: gradients are those at the values written, which autograd need not know of.
            self._tensor.data.copy_(torch.from_numpy(self._written))
            self._written = None
        return self._tensor

    def _beginning(self, count):
        """So many of the numbers kept, zeros behind them, in the shape of now."""
        self._kept = self._kept.reshape(-1)
        if len(self._kept) < count:
            self._kept = torch.cat([self._kept, self._kept.new_zeros(count - len(self._kept))])
        return self._kept[:count].view(self.shape)

    def settled(self):
        """The tensor, with what a program wrote to the array given out; None where there are no values."""
        nothing = self._tensor is None and self._kept is None
        return None if nothing and self._written is None else self.tensor()

    def set(self, tensor):
        self.shape = tuple(tensor.shape)
        self._capacity = max(self._capacity, tensor.numel())
        self._tensor, self._kept, self._written = tensor.detach(), None, None

    def clear(self):
        self._tensor, self._kept, self._written = None, None, None
        self.show()

    def array(self):
        array, tensor = self.show(), self.tensor()
        if array is None and tensor.device.type == "cpu":
            if tensor.dtype != torch.float32:  # bfloat16 between layers
                tensor, self._kept = tensor.float(), None
                self._tensor = tensor
            array = tensor.numpy()
        elif array is None:
            array = tensor.float().cpu().numpy()
        if tensor.device.type != "cpu":
            self._written = array
        self._given = weakref.ref(array)
        return array

    def show(self):
        """The array given out, with the values of now; None where nobody holds it any more."""
        array = self._given()
        if array is None or array.shape != self.shape:
            return None
        if _being_recorded(self._tensor):  # there are no values yet
            return array
        tensor, held = self.tensor(), torch.from_numpy(array)
        if held.data_ptr() != tensor.data_ptr():
            held.copy_(tensor)
            if tensor.device.type == "cpu":  # what is written to it counts
                self._tensor, self._kept = held, None
        return array


class Blob:
    """An array and its gradient.

    data, diff: float32 NumPy arrays that can be written in place (`blob.data[...] = x`). They go on showing
    what the blob holds, until it is given another shape.
    tensor, grad: the same as tensors on the device in force.
    """

    def __init__(self, shape=()):
        self._data = _Memory(shape)
        self._diff = _Memory(shape)

    @property
    def data(self) -> np.ndarray:
        return self._data.array()

    @property
    def diff(self) -> np.ndarray:
        return self._diff.array()

    @property
    def tensor(self) -> torch.Tensor:
        return self._data.tensor()

    @tensor.setter
    def tensor(self, value: torch.Tensor):
        self._data.set(value)
        self._diff.reshape(value.shape)

    @property
    def grad(self) -> torch.Tensor:
        return self._diff.tensor()

    @grad.setter
    def grad(self, value: torch.Tensor):
        self._diff.set(value)

    def held(self) -> tuple:
        """The tensors that `tensor` and `grad` are now, None for one without values, for `hold`."""
        return tuple(memory.settled() for memory in (self._data, self._diff))

    def hold(self, held: tuple) -> None:
        """Be the tensors that `held` gave, whatever was written to them since."""
        for memory, tensor in zip((self._data, self._diff), held, strict=True):
            if tensor is not None and memory._tensor is not tensor:
                memory.shape, memory._tensor, memory._kept = tuple(tensor.shape), tensor, None
            memory._written = None
            memory.show()

    def clear_grad(self) -> None:
        """Make the gradient zero (it takes no memory until it is next used)."""
        self._diff.clear()

    def show(self, diff=False) -> None:
        """Bring an array that was given out as `data` (or as `diff`) up to date, where it is still held."""
        (self._diff if diff else self._data).show()

    def accumulate_grad(self, value: torch.Tensor) -> None:
        """Add to the gradient, as Caffe's layers do for their parameters."""
        if value.shape != self.shape:
            value = value.reshape(self.shape)
        if self._diff.settled() is None:
            self._diff.set(value)
        else:
            self.grad.add_(value)

    @property
    def owner(self):
        """The blob whose memory this is."""
        return self

    @property
    def shape(self) -> tuple:
        return self._data.shape

    @property
    def count(self) -> int:
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
        """Give the blob another shape. Its contents stay while the count is none that it never had before."""
        if any(int(n) < 0 for n in shape) or math.prod(map(int, shape)) > _MOST:
            raise ValueError(f"a blob cannot have the shape {shape}")
        self._data.reshape(shape)
        self._diff.reshape(shape)

    def to_proto(self, write_diff: bool = False) -> caffe_pb2.BlobProto:
        """The blob as Caffe stores it in a .caffemodel."""
        proto = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=self.shape))
        proto.data.extend(self.data.ravel())
        if write_diff:
            proto.diff.extend(self.diff.ravel())
        return proto

    def from_proto(self, proto: caffe_pb2.BlobProto) -> None:
        """Take the values of a stored blob; ValueError where its shape or size is another."""
        values = array_of(proto)
        if not same_shape(values.shape, self.shape):
            raise ValueError(f"stored shape {shown(values.shape)}, the net has {self.shape}")
        self.data[...] = values.reshape(self.shape)


class Shared(Blob):
    """The memory of another blob, in a shape of its own: a parameter shared by share_mode PERMISSIVE."""

    def __init__(self, owner: Blob, shape: tuple):
        self._owner, self._shape = owner.owner, tuple(shape)

    owner = property(lambda self: self._owner)
    shape = property(lambda self: self._shape)
    data = property(lambda self: self._owner.data.reshape(self._shape))
    diff = property(lambda self: self._owner.diff.reshape(self._shape))
    tensor = property(lambda self: self._owner.tensor.view(self._shape))
    grad = property(lambda self: self._owner.grad.view(self._shape))

    def show(self, diff=False):
        self._owner.show(diff)

    def accumulate_grad(self, value):
        self._owner.accumulate_grad(value)

    def reshape(self, *shape):
        if math.prod(shape) != self.count:
            raise ValueError(f"a shared parameter of {self.count} numbers cannot have the shape {shape}")
        self._shape = tuple(int(n) for n in shape)


def array_of(proto: caffe_pb2.BlobProto) -> np.ndarray:
    """The float32 array in a BlobProto, in its own shape (legacy 4-D shapes too)."""
    if proto.HasField("shape"):
        shape = tuple(proto.shape.dim)
    elif any(proto.HasField(name) for name in ("num", "channels", "height", "width")):
        shape = (proto.num, proto.channels, proto.height, proto.width)
    else:
        shape = (len(proto.data) or len(proto.double_data),)
    with np.errstate(over="ignore"):  # whoever reads them looks for infinite values
        values = np.array(proto.data or proto.double_data, np.float32)
    if values.size != math.prod(shape) or any(n < 0 for n in shape):
        raise ValueError(f"stored shape {shown(shape)} does not fit its {values.size} values")
    return values.reshape(shape)


def shown(shape: tuple) -> str:
    """A shape in words short enough for a line, however many axes a damaged file gives it."""
    return str(tuple(shape)) if len(shape) <= 8 else f"of {len(shape)} axes"


def same_shape(stored: tuple, wanted: tuple) -> bool:
    """Caffe's rule: equal, or equal once legacy 4-D shapes are padded with leading ones."""
    if stored == wanted:
        return True
    return len(stored) == 4 and len(wanted) <= 4 and stored == (1,) * (4 - len(wanted)) + wanted
