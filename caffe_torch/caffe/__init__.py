"""Caffe's Python module on PyTorch: `import caffe`, as with BVLC Caffe 1.0."""

from . import io, layers
from .device import set_device, set_mode_cpu, set_mode_gpu, set_precision, set_random_seed
from .layers import type_list as layer_type_list
from .net import Net
from .net_spec import NetSpec, params, to_proto
from .proto.caffe_pb2 import TEST, TRAIN
from .training import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "get_solver",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "params",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_precision",
    "set_random_seed",
    "to_proto",
]
__version__ = "1.0.0"  # the Caffe that this follows


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Nothing: the log goes to stderr by itself."""


def set_multiprocess(value: bool) -> None:
    """Nothing: one process drives one device."""
