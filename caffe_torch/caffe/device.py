"""Where and how the arithmetic is done: the device, the precision, the random numbers.

Caffe keeps these in one thread-local object and every layer asks it; so does this package.
"""

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

# PyTorch begins every process with one constant seed, Caffe each with another. A seed that the program set
# before importing this module stays.
_TORCH_CONSTANT = 67280421310721
if torch.initial_seed() == _TORCH_CONSTANT:
    torch.seed()


def device() -> torch.device:
    """The device that blobs live on now."""
    return _device


def set_mode_cpu() -> None:
    """Compute on the CPU (the mode at the start, as in Caffe)."""
    global _device
    _device = torch.device("cpu")


def set_mode_gpu() -> None:
    """Compute on the CUDA GPU chosen by `set_device`; ValueError where there is none."""
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
    torch.backends.cudnn.benchmark = True  # what it chooses untried can be 30 times as slow
    _choose_products()


def set_device(index: int) -> None:
    """Choose the GPU that `set_mode_gpu` uses."""
    global _gpu_index
    _gpu_index = int(index)
    if _device.type == "cuda":
        set_mode_gpu()


def set_precision(name: str) -> None:
    """How float32 products are computed.

    float32: as Caffe does. tf32: NVIDIA's 19-bit products (GPU only; no effect on a CPU).
    bfloat16: convolutions and inner products in bfloat16 with float32 weights and sums; a warning where the
    CPU that computes cannot multiply such numbers, so that the choice costs time instead of saving it.
    """
    global _precision
    if name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}: use one of {', '.join(PRECISIONS)}")
    _precision = name
    _choose_products()
    if name == "bfloat16" and _device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        glog.warning("this CPU has no bfloat16 arithmetic: float32 is many times as fast here")


def _choose_products():
    """PyTorch itself would multiply in TF32 in convolutions, unless told not to."""
    tf32 = _precision != "float32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def precision() -> str:
    """The precision chosen, one of PRECISIONS."""
    return _precision


def autocast() -> contextlib.AbstractContextManager:
    """The context layers run in: bfloat16 products where that precision was chosen."""
    if _precision == "bfloat16":
        return torch.autocast(_device.type, torch.bfloat16)
    return contextlib.nullcontext()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory: on a CPU PyTorch says it by a RuntimeError."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def memory() -> int:
    """The bytes of memory of the device in force; on a CPU those of the machine."""
    if _device.type == "cuda":
        return torch.cuda.get_device_properties(_device).total_memory
    return machine_memory()


@functools.lru_cache(None)
def machine_memory() -> int:
    """The bytes of memory of the machine; a very large number where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return 2**62


def check_room(shape: tuple, what: str) -> None:
    """ValueError where float32 numbers of a shape are more than the device in force can ever hold."""
    size = 4 * math.prod(shape)
    if size > memory():
        needed, there = (f"{bytes_ / 2**30:.0f}" for bytes_ in (size, memory()))
        raise ValueError(f"{what} of shape {tuple(shape)} takes {needed} GiB; there are {there} in all")


def set_random_seed(seed: int) -> None:
    """Seed every random number that fillers, Dropout and shuffling draw."""
    global _rng
    seed = int(seed) & 0xFFFFFFFF
    random.seed(seed)
    torch.manual_seed(seed)
    _rng = np.random.default_rng(seed)


def rng() -> np.random.Generator:
    """The generator for choices made in NumPy (shuffling of rows and files)."""
    return _rng


def images(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` in the memory order convolutions run fastest in: channels last for N x C x H x W."""
    if tensor.dim() == 4:
        # Not contiguous(): one channel is in both orders at once, and kernels then choose the slow one.
        return tensor.to(memory_format=torch.channels_last)
    return tensor
