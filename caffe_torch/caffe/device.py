"""Global state of the computation, as in Caffe: the device, the precision, the random numbers."""

import contextlib
import functools
import math
import os
import random

import numpy as np
import torch

from . import glog

PRECISIONS = ("float32", "tf32", "bfloat16")

_device = torch.device("cpu")
_gpu_index = 0
_precision = "float32"
_rng = np.random.default_rng()

# PyTorch starts every process with the same seed, Caffe with a random one. A seed that the program set before
# it imported this module is kept.
_TORCH_DEFAULT_SEED = 67280421310721
if torch.initial_seed() == _TORCH_DEFAULT_SEED:
    torch.seed()


def device() -> torch.device:
    """The current device: blobs are stored and computed there."""
    return _device


def set_mode_cpu() -> None:
    """Compute on the CPU, the default as in Caffe."""
    global _device
    _device = torch.device("cpu")


def set_mode_gpu() -> None:
    """Compute on the CUDA GPU chosen by `set_device`, 0 by default.

    Raises:
        ValueError: there is no such GPU.
    """
    global _device
    if not torch.cuda.is_available():
        build = "is the CPU build" if torch.version.cuda is None else "sees no CUDA GPU"
        raise ValueError(
            f"no GPU to use: PyTorch {torch.__version__} {build}; leave out -gpu to use the CPU (and set "
            "solver_mode: CPU), or install a CUDA build of PyTorch on a machine with an NVIDIA GPU"
        )
    if not 0 <= _gpu_index < torch.cuda.device_count():
        raise ValueError(f"there is no GPU {_gpu_index}: this machine has {torch.cuda.device_count()}")
    _device = torch.device("cuda", _gpu_index)
    torch.cuda.set_device(_device)
    torch.backends.cudnn.benchmark = True  # an algorithm chosen without a trial can be 30 times slower
    _apply_precision()


def set_device(index: int) -> None:
    """Choose the GPU that `set_mode_gpu` uses; switch to it at once in GPU mode.

    Raises:
        ValueError: in GPU mode, there is no such GPU.
    """
    global _gpu_index
    _gpu_index = int(index)
    if _device.type == "cuda":
        set_mode_gpu()


def set_precision(name: str) -> None:
    """Choose the precision of products.

    float32: as in Caffe. tf32: NVIDIA's 19-bit products; no effect on a CPU. bfloat16: convolutions and inner
    products in bfloat16 with float32 weights and sums. On a CPU without bfloat16 arithmetic that is slower
    than float32, and a warning says so.

    Args:
        name: one of PRECISIONS.

    Raises:
        ValueError: another name.
    """
    global _precision
    if name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}: use one of {', '.join(PRECISIONS)}")
    _precision = name
    _apply_precision()
    if name == "bfloat16" and _device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        glog.warning("this CPU has no bfloat16 arithmetic: float32 is many times as fast here")


def _apply_precision():
    """Set PyTorch's flags: by default its convolutions multiply in TF32."""
    tf32 = _precision != "float32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def precision() -> str:
    """The current precision, one of PRECISIONS."""
    return _precision


def autocast() -> contextlib.AbstractContextManager:
    """A context manager for the layers to run in: it applies the precision bfloat16."""
    if _precision == "bfloat16":
        return torch.autocast(_device.type, torch.bfloat16)
    return contextlib.nullcontext()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory is exhausted; on a CPU PyTorch raises a RuntimeError for it."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def memory() -> int:
    """The total memory of the current device in bytes; for the CPU that of the machine."""
    if _device.type == "cuda":
        return torch.cuda.get_device_properties(_device).total_memory
    return machine_memory()


@functools.lru_cache(None)
def machine_memory() -> int:
    """The total memory of the machine in bytes; 2^62 where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return 2**62


def require_memory(shape: tuple, name: str) -> None:
    """Refuse an array that the current device can never hold.

    Args:
        shape: of the float32 array.
        name: its name, for the error.

    Raises:
        ValueError: the array is larger than the total memory.
    """
    size = 4 * math.prod(shape)
    if size > memory():
        needed, total = (f"{bytes_ / 2**30:.0f}" for bytes_ in (size, memory()))
        raise ValueError(f"{name} of shape {tuple(shape)} takes {needed} GiB; there are {total} in all")


def set_random_seed(seed: int) -> None:
    """Seed the random numbers of fillers, Dropout and shuffling, and Python's own."""
    global _rng
    seed = int(seed) & 0xFFFFFFFF
    random.seed(seed)
    torch.manual_seed(seed)
    _rng = np.random.default_rng(seed)


def rng() -> np.random.Generator:
    """NumPy's generator, which shuffles rows and files."""
    return _rng


def images(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` in the memory order of the fastest convolutions: channels last for N x C x H x W."""
    if tensor.dim() == 4:
        # Not contiguous(): a tensor of one channel is in both orders, and kernels then choose the slow one.
        return tensor.to(memory_format=torch.channels_last)
    return tensor
